#include "base/progress.h"
#include "bench/measure.h"
#include "cli/commands.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, CLI_OFFSET(output), "FILE",
     "the profile (DEVICE.yaml, in this folder)", 0, 0},
    {"device", 0, CLI_INTEGER, CLI_OFFSET(device), "N", "which GPU (0)", 0, 1023},
    {"quick", 0, CLI_FLAG, CLI_OFFSET(quick), NULL, "26 shapes, each measured once", 0, 0},
};

/* Seconds of measuring; with what opening and writing take, under 3 minutes. */
static const double budget = 150;

static bool on_progress(void *context, const char *what, int done, int total) {
  (void)context;
  mpt_progress_update("measuring", "%s, %d of %d", what, done, total);
  return !cli_interrupted;
}

/* Operations per second at the shape where they are most; NaN: not measured. */
static double best_rate(const profile *p, gemm_column column) {
  double rate = NAN;
  for (int i = 0; i < p->gemm_count; i++) {
    const gemm_row *row = &p->gemm[i];
    rate =
        fmax(rate, 2.0 * (double)row->m * (double)row->n * (double)row->k / row->seconds[column]);
  }
  return rate;
}

/* Of the copy's rate, where tensors are large. */
static double pass_share(const profile *p, pass_kind kind, int bits) {
  double share = NAN, largest = 0.0;
  for (int i = 0; i < p->pass_count; i++) {
    const pass_row *row = &p->passes[i];
    if (row->kind == kind && row->bits == bits && row->bytes > largest) {
      largest = row->bytes;
      share = row->bytes / row->seconds / p->copy_bandwidth;
    }
  }
  return share;
}

static json_t *passes_json(const profile *p) {
  json_t *passes = json_object();
  for (int k = 0; k < PASS_KIND_COUNT; k++)
    mpt_json_set(&passes, pass_kind_name((pass_kind)k),
                 mpt_json_pack("[o,o]", mpt_json_real(pass_share(p, (pass_kind)k, 16)),
                               mpt_json_real(pass_share(p, (pass_kind)k, 32))));
  return passes;
}

static void print_pass(const profile *p, pass_kind kind) {
  const double narrow = 100 * pass_share(p, kind, 16), wide = 100 * pass_share(p, kind, 32);
  printf("  %-20s %4.0f%% of the copy's rate", pass_kind_name(kind), wide);
  if (isfinite(narrow))
    printf(", %4.0f%% in 16 bits", narrow);
  printf("\n");
}

static void print_result(const profile *p, const char *path) {
  cli_print_shown(path, 0);
  printf("\n\n");
  printf("copy       %.3g TB/s\n", 1e-12 * p->copy_bandwidth);
  printf("a pass     at least %.3g us\n", 1e6 * p->pass_floor);
  for (int k = 0; k < PASS_KIND_COUNT; k++)
    print_pass(p, (pass_kind)k);
  for (int i = 0; i < p->attention_count; i++)
    printf("  attention in %s, heads of %3lld, %4lld tokens: %.4g us forward, %.4g backward\n",
           mpt_format_get(p->attention[i].format)->name, (long long)p->attention[i].channels,
           (long long)p->attention[i].tokens, 1e6 * p->attention[i].forward,
           1e6 * p->attention[i].backward);
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    if (isfinite(best_rate(p, (gemm_column)c)))
      printf("%-16s at most %.4g TFLOP/s\n", gemm_column_name((gemm_column)c),
             1e-12 * best_rate(p, (gemm_column)c));
}

json_t *cli_bench_json(const profile *p, const profile_provenance *provenance, const char *path) {
  json_t *rates = json_object();
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    mpt_json_set(&rates, gemm_column_name((gemm_column)c),
                 mpt_json_real(best_rate(p, (gemm_column)c)));
  return mpt_json_pack("{s:s,s:s,s:s,s:s,s:s,s:f,s:f,s:o,s:o,s:s}", "profile", path, "device",
                       p->device, "driver", p->driver, "cuda", p->cuda, "cublaslt", p->cublaslt,
                       "copy_bandwidth", p->copy_bandwidth, "pass_floor", p->pass_floor,
                       "pass_shares", passes_json(p), "largest_rates", rates, "warning",
                       provenance->warning);
}

static int bench_failed(const mpt_error *error) {
  mpt_progress_end();
  if (error->status != MPT_ERROR_INTERRUPTED)
    return cli_failed(error);
  mpt_log_note("interrupted; no profile was written");
  return EXIT_INTERRUPTED;
}

/* Minutes of measuring are not for a file that has no place: why not, or NULL. The folder decides:
 * files are replaced whole. */
static const char *no_place(const char *path) {
  char folder[CLI_PATH];
  struct stat there;
  const char *slash = strrchr(path, '/');
  const int length = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
  if (path[0] == '\0' || strlen(path) >= sizeof folder)
    return path[0] == '\0' ? "it has no name" : "its path is too long";
  if ((slash != NULL && slash[1] == '\0') || (stat(path, &there) == 0 && S_ISDIR(there.st_mode)))
    return "it is a directory";
  snprintf(folder, sizeof folder, "%.*s", length, slash == NULL ? "." : path);
  return access(folder, W_OK | X_OK) == 0 ? NULL : strerror(errno);
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  profile *p = NULL;
  profile_provenance provenance;
  int count = 0;
  const char *why = values->output == NULL ? NULL : no_place(values->output);
  if (why != NULL)
    return cli_mistake("--output '%s' cannot be written: %s", values->output, why);
  if (mpt_device_count("cuda", &count, &error) == MPT_ERROR_UNSUPPORTED)
    return cli_mistake("there is no GPU to measure: on a CPU formats are emulated, and their times "
                       "mean nothing (mptune doctor says what is missing)");
  cli_catch_signals();
  const measure_options o = {.device_index = (int)values->device,
                             .quick = values->quick,
                             .budget = budget,
                             .progress = on_progress};
  if (profile_measure(&o, &p, &provenance, &error) != MPT_OK)
    return bench_failed(&error);
  mpt_progress_end();
  char path[CLI_PATH];
  snprintf(path, sizeof path, "%s.yaml", p->name);
  if (values->output != NULL)
    snprintf(path, sizeof path, "%s", values->output);
  int code = EXIT_DONE;
  if (profile_save(p, &provenance, path, &error) != MPT_OK)
    code = cli_failed(&error);
  else if (values->json)
    cli_print_json(CLI_BENCH_SCHEMA, cli_bench_json(p, &provenance, path));
  else
    print_result(p, path);
  if (provenance.warning[0] != '\0')
    mpt_log_warning("%s", provenance.warning);
  profile_free(p);
  return code;
}

const cli_command command_bench = {
    .name = "bench",
    .arguments = "",
    .argument_low = 0,
    .argument_high = 0,
    .summary = "measure this GPU; writes a device profile",
    .examples = "  mptune bench\n  mptune bench -o profiles/devices/my-gpu.yaml\n",
    .text = "Takes under 3 minutes: matrix products of 124 shapes in every format that the device "
            "has,\n"
            "passes over memory and attention. The profile is what --target takes; it is written\n"
            "whole, at the end. Leave the GPU to it: noise and other processes are said in the "
            "profile.\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
