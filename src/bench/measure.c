/* A device profile from the device at hand: passes, then the table of products, then both again
 * while there is time. */
#include "bench/measure.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "bench/measure_gemms.h"
#include "bench/measure_passes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double much = 0.05; /* a spread that is said */
static const double little = 2;  /* seconds: what is not begun with less left */

/* ---- the session ---- */
typedef struct session {
  const measure_options *options;
  mpt_device_info info;
  mpt_device_activity before; /* the queue was opened */
  mpt_queue *queue;
  profile *p;
  measure_passes passes;
  measure_gemms gemms;
  double began;
  double pass_seconds; /* that a round of passes and factors took */
  int opened;          /* processes with the device open once this one has */
  double lowest_clock, highest_clock;
  unsigned throttled;
  bool joined; /* another process came while this one measured */
} session;

static double time_left(const session *s) {
  return s->options->budget - (mpt_clock_seconds() - s->began);
}

/* While the device is at work: its clocks, what holds them down, who else is there. */
static void look(session *s) {
  mpt_device_activity a;
  if (mpt_device_observe("cuda", s->options->device_index, &a, NULL) != MPT_OK)
    return;
  s->throttled |= a.throttled;
  s->lowest_clock = fmin(s->lowest_clock, a.clock_hertz);
  s->highest_clock = fmax(s->highest_clock, a.clock_hertz);
  if (s->opened < 0)
    s->opened = a.processes;
  s->joined = s->joined || a.processes > s->opened;
}

static mpt_status open_device(session *s, mpt_error *error) {
  const int index = s->options->device_index;
  mpt_queue_config config = mpt_queue_config_default();
  config.backend = "cuda";
  config.device_index = index;
  s->lowest_clock = INFINITY;
  s->opened = -1;
  MPT_RETURN_IF_FAILED(mpt_device_describe("cuda", index, &s->info, error));
  if (mpt_device_observe("cuda", index, &s->before, NULL) != MPT_OK)
    s->before = (mpt_device_activity){NAN, NAN, NAN, NAN, -1, 0};
  MPT_RETURN_IF_FAILED(mpt_queue_open(&config, &s->queue, error));
  look(s);
  return MPT_OK;
}

static mpt_status measure_gemm_round(session *s, int round, mpt_error *error) {
  for (int i = 0; i < s->gemms.count; i++) {
    if (round > 0 && time_left(s) < little)
      return MPT_OK;
    char what[64];
    snprintf(what, sizeof what, "matrix products, round %d", round + 1);
    MPT_RETURN_IF_FAILED(measure_go_on(s->options, what, i, s->gemms.count, error));
    MPT_RETURN_IF_FAILED(measure_gemm_row(s->queue, &s->gemms, i, s->p->formats, error));
    look(s);
  }
  return MPT_OK;
}

static mpt_status measure_small_round(session *s, mpt_error *error) {
  const double began = mpt_clock_seconds();
  MPT_RETURN_IF_FAILED(measure_pass_round(s->queue, s->options, &s->passes, s->p->formats, error));
  look(s);
  MPT_RETURN_IF_FAILED(measure_gemm_factors(s->queue, s->options, &s->gemms, s->p->formats, error));
  look(s);
  s->pass_seconds = mpt_clock_seconds() - began;
  return MPT_OK;
}

static mpt_status measure_all(session *s, mpt_error *error) {
  const int rounds = s->options->quick ? 1 : MEASURE_ROUNDS;
  for (int round = 0; round < rounds; round++) {
    if (round > 0 && time_left(s) < s->pass_seconds + little)
      return MPT_OK;
    MPT_RETURN_IF_FAILED(measure_small_round(s, error));
    MPT_RETURN_IF_FAILED(measure_gemm_round(s, round, error));
  }
  return MPT_OK;
}

/* ---- the profile ---- */
static void describe(profile *p, const mpt_device_info *info) {
  time_t today = time(NULL);
  struct tm utc;
  profile_name_of(info->name, p->name, sizeof p->name);
  snprintf(p->device, sizeof p->device, "%s", info->name);
  snprintf(p->compute_capability, sizeof p->compute_capability, "%s", info->capability);
  snprintf(p->driver, sizeof p->driver, "%s", info->driver);
  snprintf(p->cuda, sizeof p->cuda, "%s", info->cuda);
  snprintf(p->cublaslt, sizeof p->cublaslt, "%s", info->cublaslt);
  strftime(p->measured, sizeof p->measured, "%Y-%m-%d", gmtime_r(&today, &utc));
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    if (info->standing[f] == MPT_NATIVE)
      p->formats |= 1u << f;
}

static mpt_status fill_passes(profile *p, const measure_passes *m, mpt_error *error) {
  p->copy_bandwidth = measured_median(&m->copy_bandwidth);
  p->pass_floor = measured_median(&m->floor);
  p->passes = calloc(PASS_KIND_COUNT * 2 * MEASURE_SIZES, sizeof *p->passes);
  if (p->passes == NULL)
    return mpt_fail_memory(error, "a profile", PASS_KIND_COUNT * 2 * sizeof *p->passes);
  for (int kind = 0; kind < PASS_KIND_COUNT; kind++)
    for (int wide = 0; wide < 2; wide++)
      for (int i = 0; i < MEASURE_SIZES; i++)
        if (m->seconds[kind][wide][i].count > 0)
          p->passes[p->pass_count++] =
              (pass_row){.kind = (pass_kind)kind,
                         .bits = wide ? 32 : 16,
                         .bytes = measure_pass_bytes((pass_kind)kind, wide, measure_sizes[i]),
                         .seconds = measured_median(&m->seconds[kind][wide][i])};
  return MPT_OK;
}

static mpt_status fill_attention(profile *p, const measure_passes *m, mpt_error *error) {
  p->attention = calloc(MEASURE_ATTENTION_FORMATS * MEASURE_HEADS, sizeof *p->attention);
  if (p->attention == NULL)
    return mpt_fail_memory(error, "a profile", MEASURE_HEADS * sizeof *p->attention);
  for (int f = 0; f < MEASURE_ATTENTION_FORMATS; f++)
    for (int head = 0; head < MEASURE_HEADS; head++) {
      const measured *m2 = m->attention[f][head];
      if (m2[0].count > 0 && m2[1].count > 0)
        p->attention[p->attention_count++] =
            (attention_row){.format = measure_attention_formats[f],
                            .channels = measure_heads[head].channels,
                            .tokens = measure_heads[head].tokens,
                            .forward = measured_median(&m2[0]),
                            .backward = measured_median(&m2[1])};
    }
  return MPT_OK;
}

static mpt_status fill_gemms(profile *p, measure_gemms *g, mpt_error *error) {
  for (int i = 0; i < g->count; i++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      g->rows[i].seconds[c] = measured_median(&g->times[i][c]);
  p->gemm = malloc((size_t)g->count * sizeof *p->gemm);
  if (p->gemm == NULL)
    return mpt_fail_memory(error, "a profile", (size_t)g->count * sizeof *p->gemm);
  memcpy(p->gemm, g->rows, (size_t)g->count * sizeof *p->gemm);
  p->gemm_count = g->count;
  MPT_RETURN_IF_FAILED(profile_make_grid(p, error));
  for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      if (g->factors[gemm][c].count > 0)
        p->gemm_factors[gemm][c] = measured_median(&g->factors[gemm][c]);
  /* A format without a single product is none that a layer could have. */
  static const gemm_column needed[MPT_FORMAT_COUNT] = {
      [MPT_FP32] = GEMM_FP32,          [MPT_TF32] = GEMM_TF32,
      [MPT_BF16] = GEMM_BF16,          [MPT_FP16] = GEMM_FP16,
      [MPT_FP8_E4M3] = GEMM_FP8_SPLIT, [MPT_FP8_E5M2] = GEMM_FP8_MIXED_SPLIT};
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    if (isnan(profile_gemm(p, needed[f], 128, 128, 128).seconds))
      p->formats &= ~(1u << f);
  if ((p->formats & 1u << MPT_FP32) == 0)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "no matrix product in fp32 could be timed on %s; mptune doctor says whether "
                    "cuBLASLt was found",
                    p->device);
  return MPT_OK;
}

/* ---- provenance ---- */
/* Of many figures: how many were repeated, how many of those spread by much, and the widest. */
typedef struct noise {
  int repeated, wide;
  double worst;
} noise;

/* Whether `m` is the widest so far. */
static bool add_noise(noise *n, const measured *m) {
  const double spread = measured_spread(m);
  n->repeated += m->count > 1;
  n->wide += spread > much;
  if (spread <= n->worst)
    return false;
  n->worst = spread;
  return true;
}

static noise noise_of(const void *figures, size_t bytes) {
  noise n = {0};
  const measured *m = figures;
  for (size_t i = 0; i < bytes / sizeof *m; i++)
    add_noise(&n, &m[i]);
  return n;
}
#define NOISE_OF(figures) noise_of(figures, sizeof(figures))

/* "; 40 of them measured again, 3 spread by more than 5%, the widest by 9%" */
static void say_noise(noise n, char *text, size_t size) {
  const size_t length = strlen(text);
  if (n.repeated == 0)
    snprintf(text + length, size - length, "; one round");
  else
    snprintf(text + length, size - length,
             "; %d of the times measured again, up to %d rounds: %d of them spread by more than "
             "5%%, the widest by %.0f%%",
             n.repeated, MEASURE_ROUNDS, n.wide, 100 * n.worst);
}

static void say_passes(const session *s, profile_provenance *out) {
  const measure_passes *m = &s->passes;
  snprintf(out->copy, sizeof out->copy,
           "a copy of 1 GiB from device to device, bytes read plus written; median of %d rounds, "
           "spread %.1f%%",
           m->copy_bandwidth.count, 100 * measured_spread(&m->copy_bandwidth));
  snprintf(out->floor, sizeof out->floor,
           "a copy of 4096 elements, one of many in a CUDA graph; spread %.1f%%",
           100 * measured_spread(&m->floor));
  snprintf(out->passes, sizeof out->passes,
           "CUDA graphs of one pass again and again, on tensors that are not in cache together, "
           "of 2^14 to 2^26 elements in rows of 1024 or 4096, losses of 32768 classes; the median "
           "of replays");
  say_noise(NOISE_OF(m->seconds), out->passes, sizeof out->passes);
  snprintf(out->attention, sizeof out->attention,
           "causal attention over %d tokens of width %d, queries, keys and values packed",
           ATTENTION_TOKENS, ATTENTION_WIDTH);
  say_noise(NOISE_OF(m->attention), out->attention, sizeof out->attention);
}

static noise noise_of_gemms(const measure_gemms *g, int *row, int *column) {
  noise n = {0};
  for (int i = 0; i < g->count; i++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
      if (add_noise(&n, &g->times[i][c])) {
        *row = i;
        *column = c;
      }
  return n;
}

static void say_gemms(const session *s, profile_provenance *out) {
  int row = 0, column = 0;
  const noise n = noise_of_gemms(&s->gemms, &row, &column);
  snprintf(out->gemm, sizeof out->gemm,
           "CUDA graphs of products on random operands that are not in cache together, the median "
           "of replays after 30 ms of the same, with the algorithm that mptune picks; fp8 writes "
           "bf16");
  say_noise(n, out->gemm, sizeof out->gemm);
  const size_t length = strlen(out->gemm);
  if (n.repeated > 0)
    snprintf(out->gemm + length, sizeof out->gemm - length, " (%s, %lld x %lld x %lld)",
             gemm_column_name((gemm_column)column), (long long)s->gemms.rows[row].m,
             (long long)s->gemms.rows[row].n, (long long)s->gemms.rows[row].k);
  snprintf(
      out->factors, sizeof out->factors,
      "the products of GPT-2 large, 16384 tokens, over plain ones of the same shape: fprop with "
      "a bias, dgrad, wgrad added to an fp32 gradient, in their layouts; the geometric mean of "
      "four layers");
  say_noise(NOISE_OF(s->gemms.factors), out->factors, sizeof out->factors);
}

static void add_warning(profile_provenance *out, const char *text) {
  const size_t length = strlen(out->warning);
  snprintf(out->warning + length, sizeof out->warning - length, "%s%s", length > 0 ? "; " : "",
           text);
}

static void warn_of(const char *what, noise n, profile_provenance *out) {
  char text[160];
  if (n.wide == 0)
    return;
  snprintf(text, sizeof text, "%d of %d repeated times of %s spread by more than 5%%", n.wide,
           n.repeated, what);
  add_warning(out, text);
}

static void warn_of_noise(const session *s, profile_provenance *out) {
  int row, column;
  const measure_passes *m = &s->passes;
  warn_of("copies", noise_of(&m->copy_bandwidth, sizeof m->copy_bandwidth), out);
  warn_of("the smallest pass", noise_of(&m->floor, sizeof m->floor), out);
  warn_of("passes", NOISE_OF(m->seconds), out);
  warn_of("attention", NOISE_OF(m->attention), out);
  warn_of("products", noise_of_gemms(&s->gemms, &row, &column), out);
  warn_of("products in a step", NOISE_OF(s->gemms.factors), out);
}

static void say_conditions(const session *s, profile_provenance *out) {
  static const char *const reasons[] = {"the power limit", "heat", "a setting",
                                        "the board or its power supply"};
  if (s->opened < 0 && !isfinite(s->lowest_clock)) {
    snprintf(out->conditions, sizeof out->conditions,
             "not known: NVML was not found, or does not know the device");
    return;
  }
  int length =
      snprintf(out->conditions, sizeof out->conditions, "%s before; clocks from %.0f to %.0f MHz",
               s->before.processes > 0    ? "in use by others"
               : s->before.processes == 0 ? "no other process"
                                          : "other processes not known",
               1e-6 * s->lowest_clock, 1e-6 * s->highest_clock);
  for (int i = 0; i < 4; i++)
    if ((s->throttled & 1u << i) != 0)
      length += snprintf(out->conditions + length, sizeof out->conditions - (size_t)length, "%s%s",
                         length > 0 ? ", at times held down by " : "", reasons[i]);
  if (s->before.processes > 0 || s->before.utilisation > 0.05)
    add_warning(out, "another process uses the GPU");
  else if (s->joined)
    add_warning(out, "another process came to use the GPU while it was measured");
}

static mpt_status make_profile(session *s, profile_provenance *provenance, mpt_error *error) {
  MPT_RETURN_IF_FAILED(fill_passes(s->p, &s->passes, error));
  MPT_RETURN_IF_FAILED(fill_attention(s->p, &s->passes, error));
  MPT_RETURN_IF_FAILED(fill_gemms(s->p, &s->gemms, error));
  MPT_RETURN_IF_FAILED(profile_sort_tables(s->p, error));
  *provenance = (profile_provenance){.warning = ""};
  say_passes(s, provenance);
  say_gemms(s, provenance);
  say_conditions(s, provenance);
  warn_of_noise(s, provenance);
  return MPT_OK;
}

mpt_status profile_measure(const measure_options *options, profile **out,
                           profile_provenance *provenance, mpt_error *error) {
  session s = {.options = options, .began = mpt_clock_seconds()};
  mpt_status status = MPT_OK;
  s.p = profile_new();
  if (s.p == NULL)
    return mpt_fail_memory(error, "a profile", sizeof *s.p);
  MPT_TRY(open_device(&s, error));
  describe(s.p, &s.info);
  MPT_TRY(measure_gemms_begin(&s.gemms, options->quick, error));
  MPT_TRY(measure_all(&s, error));
  MPT_TRY(make_profile(&s, provenance, error));
  *out = s.p;
  s.p = NULL;
fail:
  mpt_queue_close(s.queue);
  measure_gemms_free(&s.gemms);
  profile_free(s.p);
  return status;
}
