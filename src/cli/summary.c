/* The table and the JSON object that tune and eval end with. */
#include "cli/summary.h"
#include <math.h>
#include <string.h>

static const char *verdict_words(const tuner_row *row) {
  if (row->reference)
    return "reference";
  if (row->excluded)
    return "excluded";
  if (isinf(row->worse_by))
    return "diverged";
  if (isnan(row->worse_by))
    return "timed only";
  return mpt_verdict_name(row->verdict);
}

/* Beside a measured time stands what was predicted of it. */
static void print_row(cli_table *table, bool measured, const char *const cells[7],
                      const char *predicted) {
  const char *row[CLI_MAX_COLUMNS] = {cells[0], cells[1], predicted};
  for (int i = 2; i < 7; i++)
    row[i + 1] = cells[i];
  cli_table_row(table, measured ? row : cells);
}

void cli_print_summary(const tuner_summary *summary, double reference_metric, const char *metric) {
  const bool measured = !summary->predicted;
  cli_table table = {.columns = measured ? 8 : 7};
  const char *head[] = {"policy",       measured ? "step (measured)" : "step (predicted)",
                        "of reference", metric,
                        "worse by",     "memory",
                        "verdict"};
  print_row(&table, measured, head, "predicted");
  for (int i = 0; i < summary->row_count; i++) {
    const tuner_row *row = &summary->rows[i];
    char label[96], seconds[48], predicted[32], ratio[32], value[32] = "-", worse[32] = "-",
                                                           memory[32] = "-";
    snprintf(label, sizeof label, "%s%s", row->winner ? "* " : "  ", row->label);
    cli_duration(row->step_seconds, seconds, sizeof seconds);
    cli_duration(row->predicted_seconds, predicted, sizeof predicted);
    if (measured && !row->measured)
      snprintf(seconds, sizeof seconds, "not measured");
    snprintf(ratio, sizeof ratio, "%.1f%%", 100 * row->ratio);
    if (isfinite(row->metric))
      snprintf(value, sizeof value, "%.5g", row->metric);
    if (isfinite(row->worse_by))
      snprintf(worse, sizeof worse, "%+.3f%%", 100 * row->worse_by / fabs(reference_metric));
    if (row->memory_bytes > 0)
      cli_bytes((double)row->memory_bytes, memory, sizeof memory);
    const char *cells[] = {label, seconds, ratio, value, worse, memory, verdict_words(row)};
    print_row(&table, measured, cells, predicted);
  }
  cli_table_print(&table);
}

double cli_reference_metric(const tuner_summary *summary) {
  for (int i = 0; i < summary->row_count; i++)
    if (summary->rows[i].reference)
      return summary->rows[i].metric;
  return NAN;
}

json_t *cli_summary_json(const tuner_summary *summary) {
  json_t *rows = json_array();
  for (int i = 0; i < summary->row_count; i++) {
    const tuner_row *row = &summary->rows[i];
    mpt_json_append(
        &rows,
        mpt_json_pack("{s:s,s:o,s:o,s:b,s:o,s:o,s:o,s:s,s:b,s:b,s:b,s:I}", "label", row->label,
                      "step_seconds", mpt_json_real(row->step_seconds), "predicted_seconds",
                      mpt_json_real(row->predicted_seconds), "measured", row->measured, "ratio",
                      mpt_json_real(row->ratio), "metric", mpt_json_real(row->metric), "worse_by",
                      mpt_json_real(row->worse_by), "verdict", mpt_verdict_name(row->verdict),
                      "winner", row->winner, "reference", row->reference, "excluded", row->excluded,
                      "memory_bytes", (json_int_t)row->memory_bytes));
  }
  return mpt_json_pack("{s:o,s:b,s:b,s:b,s:b,s:o,s:o,s:i,s:s,s:s,s:s}", "policies", rows, "gain",
                       summary->gain, "found", summary->found, "predicted", summary->predicted,
                       "proxy", summary->proxy, "tuning_seconds",
                       mpt_json_real(summary->tuning_seconds), "payback_seconds",
                       mpt_json_real(summary->payback_seconds), "evaluations", summary->evaluations,
                       "policy", summary->policy_path, "report", summary->report_path, "message",
                       summary->message == NULL ? "" : summary->message);
}
