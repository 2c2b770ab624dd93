#include "base/error.h"
#include "cli/commands.h"
#include "store/store.h"
#include "tuner/tuner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, CLI_OFFSET(run), "RUN", "directory of the run (runs/NAME)", 0, 0},
    CLI_BACKEND_OPTIONS,
    {"seed", 0, CLI_INTEGER, CLI_OFFSET(seed), "N", "seed of the run (1)", 0, 1000000000},
    {"steps", 0, CLI_INTEGER, CLI_OFFSET(steps), "N",
     "train this long instead of the workload's steps", 1, 1000000000},
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept this GPU's profile though made with other versions", 0, 0},
};

#define ALWAYS_SHOWN (1u << MPT_FP16 | 1u << MPT_FP8_E4M3 | 1u << MPT_FP8_E5M2)

typedef struct observed {
  char layer[MPT_MAX_NAME];
  mpt_operand operand;
  mpt_statistics statistics;
} observed;

/* Rows of the store merged over steps, in the order of first sight. */
static observed *merge_rows(const store_statistics *rows, int count, int *merged) {
  observed *all = calloc((size_t)count + 1, sizeof *all);
  *merged = 0;
  for (int i = 0; i < count && all != NULL; i++) {
    int j = 0;
    while (j < *merged &&
           (strcmp(all[j].layer, rows[i].layer) != 0 || all[j].operand != rows[i].operand))
      j++;
    if (j < *merged) {
      mpt_statistics_merge(&all[j].statistics, &rows[i].statistics);
      continue;
    }
    memcpy(all[j].layer, rows[i].layer, sizeof all[j].layer);
    all[j].operand = rows[i].operand;
    all[j].statistics = rows[i].statistics;
    ++*merged;
  }
  return all;
}

/* What of the non-zero values overflows, is subnormal, vanishes: upper bounds, exact outside the
 * binades that hold a limit. fp8 at its own best scale, the others as they are. */
static bool shares(const observed *o, mpt_format format, double share[3]) {
  const mpt_statistics *x = &o->statistics;
  const int scale = mpt_format_is_fp8(format) ? mpt_scale_exponent(format, x->amax_bits, 0) : 0;
  mpt_range_counts counts;
  const double nonzero = (double)(x->count - x->zeros);
  if (nonzero <= 0 || mpt_statistics_range(x, format, scale, &counts, NULL) != MPT_OK)
    return false;
  share[0] = (double)counts.overflow_high / nonzero;
  share[1] = (double)counts.subnormal_high / nonzero;
  share[2] = (double)counts.vanish_high / nonzero;
  return true;
}

/* The formats with a column: those that lose nothing anywhere share a line below the table. */
static unsigned shown_formats(const observed *all, int count) {
  unsigned shown = ALWAYS_SHOWN;
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    for (int i = 0; i < count; i++) {
      double share[3];
      if (shares(&all[i], (mpt_format)f, share) && share[0] + share[1] + share[2] > 0)
        shown |= 1u << f;
    }
  }
  return shown;
}

static void print_left_out(unsigned shown) {
  const char *separator = "";
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    if ((shown >> f & 1) != 0)
      continue;
    printf("%s%s", separator, mpt_format_get((mpt_format)f)->name);
    separator = ", ";
  }
  if (separator[0] != '\0')
    puts(": nothing overflows, is subnormal or vanishes");
}

/* "12%", and never "1e+02%". */
static void percent(double share, char text[24]) {
  snprintf(text, 24, share >= 0.0995 ? "%.0f%%" : "%.2g%%", 100 * share);
}

static void print_table(const observed *all, int count) {
  const unsigned shown = shown_formats(all, count);
  cli_table table = {.columns = 5};
  const char *head[CLI_MAX_COLUMNS] = {"layer", "operand", "amax", "binades", "zeros"};
  char titles[MPT_FORMAT_COUNT][64];
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    if ((shown >> f & 1) == 0)
      continue;
    snprintf(titles[f], sizeof titles[f], "%s over/sub/vanish",
             mpt_format_get((mpt_format)f)->name);
    head[table.columns++] = titles[f];
  }
  cli_table_row(&table, head);
  for (int i = 0; i < count; i++) {
    const mpt_statistics *x = &all[i].statistics;
    char amax[24], range[24], zeros[24], cells[MPT_FORMAT_COUNT][96];
    const char *row[CLI_MAX_COLUMNS] = {all[i].layer, mpt_operand_name(all[i].operand), amax, range,
                                        zeros};
    snprintf(amax, sizeof amax, "%.4g", (double)mpt_statistics_amax(x));
    snprintf(range, sizeof range, "%.0f", mpt_statistics_dynamic_range(x));
    percent((double)x->zeros / (double)x->count, zeros);
    for (int f = 0, column = 5; f < MPT_FORMAT_COUNT; f++) {
      double share[3];
      char part[3][24];
      if ((shown >> f & 1) == 0)
        continue;
      snprintf(cells[f], sizeof cells[f], "-");
      if (shares(&all[i], (mpt_format)f, share)) {
        for (int k = 0; k < 3; k++)
          percent(share[k], part[k]);
        snprintf(cells[f], sizeof cells[f], "%s %s %s", part[0], part[1], part[2]);
      }
      row[column++] = cells[f];
    }
    cli_table_row(&table, row);
  }
  cli_table_print(&table);
  print_left_out(shown);
}

static void print_json(const observed *all, int count) {
  json_t *rows = json_array();
  for (int i = 0; i < count; i++) {
    const mpt_statistics *x = &all[i].statistics;
    json_t *formats = json_object();
    for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
      double share[3];
      if (!shares(&all[i], (mpt_format)f, share))
        continue;
      mpt_json_set(&formats, mpt_format_get((mpt_format)f)->name,
                   mpt_json_pack("{s:f,s:f,s:f}", "overflow", share[0], "subnormal", share[1],
                                 "vanish", share[2]));
    }
    mpt_json_append(&rows,
                    mpt_json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:o,s:f,s:o}", "layer", all[i].layer,
                                  "operand", mpt_operand_name(all[i].operand), "count",
                                  (json_int_t)x->count, "zeros", (json_int_t)x->zeros, "nans",
                                  (json_int_t)x->nans, "infinities", (json_int_t)x->infinities,
                                  "amax", mpt_json_real((double)mpt_statistics_amax(x)), "binades",
                                  mpt_statistics_dynamic_range(x), "formats", formats));
  }
  cli_print_json("mptune/observe@1", mpt_json_pack("{s:o}", "statistics", rows));
}

static mpt_status show(const cli_values *values, const char *directory,
                       const tuner_observation *seen, mpt_error *error) {
  store *s = NULL;
  store_statistics *rows = NULL;
  observed *all = NULL;
  int count = 0, merged = 0;
  mpt_status status = MPT_OK;
  MPT_TRY(store_open(directory, STORE_READ, &s, error));
  MPT_TRY(store_all_statistics(s, seen->key, &rows, &count, error));
  all = merge_rows(rows, count, &merged);
  if (all == NULL)
    status = mpt_fail_memory(error, "statistics", (size_t)count * sizeof *all);
  else if (values->json)
    print_json(all, merged);
  else
    print_table(all, merged);
fail:
  free(all);
  free(rows);
  store_close(s);
  return status;
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  workload *w = NULL;
  char directory[CLI_PATH];
  if (workload_load(values->arguments[0], &w, &error) != MPT_OK)
    return cli_failed(&error);
  if (cli_run_directory(values, w->name, directory, &error) != MPT_OK) {
    workload_free(w);
    return cli_failed(&error);
  }
  tuner_options o = tuner_options_default();
  o.run = directory;
  o.command = values->typed;
  o.backend = values->backend;
  o.force = values->force;
  o.device_index = (int)values->device;
  o.seed = (uint64_t)values->seed;
  o.evaluation_steps = values->steps;
  o.interrupted = &cli_interrupted;
  cli_catch_signals();
  tuner_observation seen;
  mpt_status status = tuner_observe(w, &o, &seen, &error);
  if (status == MPT_OK)
    status = show(values, directory, &seen, &error);
  if (status == MPT_OK && seen.failure[0] != '\0')
    status = mpt_fail(&error, MPT_ERROR_NONFINITE, "the reference diverged: %s", seen.failure);
  workload_free(w);
  return status == MPT_OK ? EXIT_DONE : cli_failed(&error);
}

const cli_command command_observe = {
    .name = "observe",
    .arguments = "WORKLOAD",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "statistics of every layer in one run of the reference",
    .examples = "  mptune observe profiles/workloads/text-gpt.yaml\n",
    .text =
        "Of the non-zero values over all sampled steps: the shares that overflow, are subnormal,\n"
        "vanish (round to zero), as upper bounds. fp8 is at its best power-of-two scale, fp16\n"
        "as it is, without a loss scale.\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
