/* A device profile from the device at hand: passes, then the table of products, then both again
 * while there is time. */
#include "workload/measure.h"
#include "base/error.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double much = 0.05;    /* a spread that is said */
static const double pass_round = 2; /* seconds kept for a round of passes */

/* ---- figures ---- */
void measured_add(measured *m, double value) {
  if (m->count < MEASURE_ROUNDS)
    m->values[m->count++] = value;
}

static void sort(const measured *m, double sorted[MEASURE_ROUNDS]) {
  memcpy(sorted, m->values, sizeof m->values);
  for (int i = 1; i < m->count; i++)
    for (int j = i; j > 0 && sorted[j] < sorted[j - 1]; j--) {
      double swap = sorted[j];
      sorted[j] = sorted[j - 1];
      sorted[j - 1] = swap;
    }
}

double measured_median(const measured *m) {
  double sorted[MEASURE_ROUNDS];
  sort(m, sorted);
  if (m->count == 0)
    return NAN;
  return 0.5 * (sorted[(m->count - 1) / 2] + sorted[m->count / 2]);
}

double measured_spread(const measured *m) {
  double sorted[MEASURE_ROUNDS];
  sort(m, sorted);
  return m->count < 2 ? 0.0 : (sorted[m->count - 1] - sorted[0]) / measured_median(m);
}

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
  int opened; /* processes with the device open once this one has */
  double lowest_clock, highest_clock;
  unsigned throttled;
  bool joined; /* another process came while this one measured */
} session;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_left(const session *s) {
  return s->options->budget - (now() - s->began);
}

static mpt_status go_on(const session *s, const char *what, int done, int total, mpt_error *error) {
  const measure_options *o = s->options;
  if (o->progress == NULL || o->progress(o->context, what, done, total))
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted while measuring %s", what);
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
    if (round > 0 && time_left(s) < pass_round)
      return MPT_OK;
    char what[64];
    snprintf(what, sizeof what, "matrix products, round %d", round + 1);
    MPT_RETURN_IF_FAILED(go_on(s, what, i, s->gemms.count, error));
    MPT_RETURN_IF_FAILED(measure_gemm_row(s->queue, &s->gemms, i, s->p->formats, error));
    look(s);
  }
  return MPT_OK;
}

static mpt_status measure_all(session *s, mpt_error *error) {
  const int rounds = s->options->quick ? 1 : MEASURE_ROUNDS;
  for (int round = 0; round < rounds; round++) {
    MPT_RETURN_IF_FAILED(go_on(s, "passes", round, rounds, error));
    MPT_RETURN_IF_FAILED(measure_pass_round(s->queue, &s->passes, error));
    look(s);
    if (round == 0 || time_left(s) > pass_round)
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

static double share(double part, double whole) {
  return fmin(part / whole, 1.0);
}

static void fill_passes(profile *p, const measure_passes *m) {
  p->copy_bandwidth = measured_median(&m->copy_bandwidth);
  p->pass_floor = measured_median(&m->floor);
  p->pass_efficiency = 0.85;
  if (m->pass_bandwidth.count > 0)
    p->pass_efficiency = share(measured_median(&m->pass_bandwidth), p->copy_bandwidth);
  p->quantize_efficiency = p->pass_efficiency;
  if (m->quantize_bandwidth.count > 0)
    p->quantize_efficiency = share(measured_median(&m->quantize_bandwidth), p->copy_bandwidth);
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

/* Both kinds of heads weigh alike; prices know one figure. */
static void fill_attention(profile *p, const measure_passes *m) {
  const double rate =
      2.0 * 4096 * 4096 * 4096 / profile_gemm(p, GEMM_BF16, 4096, 4096, 4096).seconds;
  p->attention_efficiency = 0.5;
  if (m->attention_rates[0].count > 0 && m->attention_rates[1].count > 0 && isfinite(rate))
    p->attention_efficiency = share(
        sqrt(measured_median(&m->attention_rates[0]) * measured_median(&m->attention_rates[1])),
        rate);
}

/* ---- provenance ---- */
static void say_passes(const session *s, profile_provenance *out) {
  const measure_passes *m = &s->passes;
  snprintf(out->copy, sizeof out->copy,
           "a copy of 1 GiB from device to device, bytes read plus written; median of %d rounds, "
           "spread %.1f%%",
           m->copy_bandwidth.count, 100 * measured_spread(&m->copy_bandwidth));
  snprintf(out->floor, sizeof out->floor,
           "a copy of 4096 elements, one of many in a CUDA graph; spread %.1f%%",
           100 * measured_spread(&m->floor));
  if (m->pass_bandwidth.count == 0)
    snprintf(out->pass, sizeof out->pass, "assumed: the backend lacks some of the passes");
  else
    snprintf(out->pass, sizeof out->pass,
             "additions, layernorms and GELU of a GPT block, forward and backward, width 2048, "
             "16384 tokens, bf16, as a share of the copy; spread %.1f%%",
             100 * measured_spread(&m->pass_bandwidth));
  if (m->quantize_bandwidth.count == 0)
    snprintf(out->quantize, sizeof out->quantize, "assumed: the same as passes");
  else
    snprintf(out->quantize, sizeof out->quantize,
             "amax, then the fp8 copy with its transposed one, of 16384 x 4096 in bf16, as a "
             "session makes them with current scaling, as a share of the copy; spread %.1f%%",
             100 * measured_spread(&m->quantize_bandwidth));
}

static void say_attention(const session *s, profile_provenance *out) {
  const measured *rates = s->passes.attention_rates;
  const double large =
      2.0 * 4096 * 4096 * 4096 / profile_gemm(s->p, GEMM_BF16, 4096, 4096, 4096).seconds;
  if (rates[0].count == 0 || rates[1].count == 0) {
    snprintf(out->attention, sizeof out->attention, "assumed: the backend lacks attention");
    return;
  }
  snprintf(
      out->attention, sizeof out->attention,
      "causal attention, forward and backward, bf16, over the rate of a product of 4096 x 4096 "
      "x 4096: %.2f (%d heads of %d, T %d), %.2f (%d heads of %d, T %d); the geometric mean; "
      "spread %.1f%% and %.1f%%",
      measured_median(&rates[0]) / large, measure_heads[0].heads, measure_heads[0].width,
      measure_heads[0].tokens, measured_median(&rates[1]) / large, measure_heads[1].heads,
      measure_heads[1].width, measure_heads[1].tokens, 100 * measured_spread(&rates[0]),
      100 * measured_spread(&rates[1]));
}

/* How many times were repeated, how many of them spread by much, and the widest. */
typedef struct noise {
  int repeated, wide;
  double worst;
  const gemm_row *where;
  gemm_column column;
} noise;

static noise find_noise(const measure_gemms *g) {
  noise n = {.where = NULL};
  for (int i = 0; i < g->count; i++)
    for (int c = 0; c < GEMM_COLUMN_COUNT; c++) {
      const double spread = measured_spread(&g->times[i][c]);
      n.repeated += g->times[i][c].count > 1;
      n.wide += spread > much;
      if (spread > n.worst) {
        n.worst = spread;
        n.where = &g->rows[i];
        n.column = (gemm_column)c;
      }
    }
  return n;
}

static void say_gemms(const session *s, profile_provenance *out) {
  const noise n = find_noise(&s->gemms);
  int length = snprintf(out->gemm, sizeof out->gemm,
                        "CUDA graphs of products on random operands that are not in cache "
                        "together, the median of replays, with the algorithm that mptune picks; "
                        "fp8 writes bf16; ");
  if (n.repeated == 0)
    snprintf(out->gemm + length, sizeof out->gemm - (size_t)length, "one round");
  else
    snprintf(out->gemm + length, sizeof out->gemm - (size_t)length,
             "%d of the times measured again, up to %d rounds: %d of them spread by more than 5%%, "
             "the widest by %.0f%% (%s, %lld x %lld x %lld)",
             n.repeated, MEASURE_ROUNDS, n.wide, 100 * n.worst,
             n.where == NULL ? "-" : gemm_column_name(n.column),
             n.where == NULL ? 0LL : (long long)n.where->m,
             n.where == NULL ? 0LL : (long long)n.where->n,
             n.where == NULL ? 0LL : (long long)n.where->k);
}

static void add_warning(profile_provenance *out, const char *text) {
  const size_t length = strlen(out->warning);
  snprintf(out->warning + length, sizeof out->warning - length, "%s%s", length > 0 ? "; " : "",
           text);
}

static void warn_of_noise(const session *s, profile_provenance *out) {
  const struct {
    const char *name;
    const measured *m;
  } figures[] = {{"copy_bandwidth", &s->passes.copy_bandwidth},
                 {"pass_floor", &s->passes.floor},
                 {"pass_efficiency", &s->passes.pass_bandwidth},
                 {"quantize_efficiency", &s->passes.quantize_bandwidth},
                 {"attention_efficiency", &s->passes.attention_rates[0]},
                 {"attention_efficiency", &s->passes.attention_rates[1]}};
  char text[160];
  for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
    if (measured_spread(figures[i].m) > much) {
      snprintf(text, sizeof text, "%s spread by %.0f%% between rounds", figures[i].name,
               100 * measured_spread(figures[i].m));
      add_warning(out, text);
    }
  const noise n = find_noise(&s->gemms);
  if (n.wide > 0) {
    snprintf(text, sizeof text, "%d of %d repeated product times spread by more than 5%%", n.wide,
             n.repeated);
    add_warning(out, text);
  }
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
  fill_passes(s->p, &s->passes);
  MPT_RETURN_IF_FAILED(fill_gemms(s->p, &s->gemms, error));
  fill_attention(s->p, &s->passes);
  *provenance = (profile_provenance){.warning = ""};
  say_passes(s, provenance);
  say_attention(s, provenance);
  say_gemms(s, provenance);
  say_conditions(s, provenance);
  warn_of_noise(s, provenance);
  return MPT_OK;
}

mpt_status profile_measure(const measure_options *options, profile **out,
                           profile_provenance *provenance, mpt_error *error) {
  session s = {.options = options, .began = now()};
  mpt_status status = MPT_OK;
  s.p = calloc(1, sizeof *s.p);
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
