/* The table and the JSON object that tune and eval end with. */
#include "cli/summary.h"
#include "tuner/change.h"
#include <math.h>
#include <string.h>

/* Beside a measured time stands what was predicted of it. */
static void print_row(cli_table *table, bool measured, const char *const cells[9],
                      const char *predicted) {
  const char *row[CLI_MAX_COLUMNS] = {cells[0], cells[1], predicted};
  for (int i = 2; i < 9; i++)
    row[i + 1] = cells[i];
  cli_table_row(table, measured ? row : cells);
}

/* The bounds of what it may be worse by: those of its verdict, or 95% of an unverified mean. */
static void interval_text(const tuner_summary *summary, const evidence *e, char *text,
                          size_t size) {
  char lower[CHANGE_SIZE], upper[CHANGE_SIZE];
  if (!isfinite(e->interval.lower) || !isfinite(e->interval.upper) || e->pairs == 0)
    return;
  change_lower_text(summary->relative, e->interval.lower, lower);
  change_upper_text(summary->relative, e->interval.upper, upper);
  snprintf(text, size, "%s to %s", lower, upper);
}

static bool has_memory(const tuner_summary *summary) {
  for (int i = 0; i < summary->row_count; i++)
    if (summary->rows[i].memory_bytes > 0)
      return true;
  return false;
}

void cli_print_summary(const tuner_summary *summary, const char *metric) {
  const bool measured = !summary->predicted, memory_known = has_memory(summary);
  cli_table table = {.columns = 8 + measured};
  const char *head[] = {"policy",       measured ? "step (measured)" : "step (predicted)",
                        "of reference", metric,
                        "worse by",     "between",
                        "pairs",        "verdict",
                        "memory"};
  table.columns += memory_known;
  print_row(&table, measured, head, "predicted");
  for (int i = 0; i < summary->row_count; i++) {
    const tuner_row *row = &summary->rows[i];
    const evidence *e = &row->seen;
    char label[96], seconds[48], predicted[32], ratio[32],
        value[32] = "-", worse[CHANGE_SIZE] = "-", between[2 * CHANGE_SIZE + 4] = "-",
        pairs[16] = "-", memory[32] = "-";
    snprintf(label, sizeof label, "%s%s", row->winner ? "* " : "  ", row->label);
    cli_duration(row->step_seconds, seconds, sizeof seconds);
    cli_duration(row->predicted_seconds, predicted, sizeof predicted);
    if (measured && !row->measured)
      snprintf(seconds, sizeof seconds, "not measured");
    snprintf(ratio, sizeof ratio, "%.1f%%", 100 * row->ratio);
    if (isfinite(e->metric))
      snprintf(value, sizeof value, "%.5g", e->metric);
    if (!row->reference) {
      change_text(summary->relative, summary->relative ? e->worse_share : e->worse, worse);
      interval_text(summary, e, between, sizeof between);
      if (e->pairs > 0)
        snprintf(pairs, sizeof pairs, "%d", e->pairs);
    }
    if (row->memory_bytes > 0)
      cli_bytes((double)row->memory_bytes, memory, sizeof memory);
    const char *cells[] = {
        label, seconds, ratio, value, worse, between, pairs, tuner_row_verdict(row), memory};
    print_row(&table, measured, cells, predicted);
  }
  cli_table_print(&table);
}

json_t *cli_summary_json(const tuner_summary *summary) {
  json_t *rows = json_array();
  for (int i = 0; i < summary->row_count; i++)
    mpt_json_append(&rows, tuner_row_json(&summary->rows[i]));
  return mpt_json_pack(
      "{s:o,s:b,s:b,s:b,s:b,s:f,s:f,s:s,s:i,s:s,s:s,s:s}", "policies", rows, "gain",
      (int)summary->gain, "found", (int)summary->found, "predicted", (int)summary->predicted,
      "proxy", (int)summary->proxy, "tuning_seconds", summary->tuning_seconds, "payback_seconds",
      summary->payback_seconds, "otherwise", summary->otherwise, "evaluations",
      summary->evaluations, "policy", summary->policy_path[0] == '\0' ? NULL : summary->policy_path,
      "report", summary->report_path, "message", summary->message == NULL ? "" : summary->message);
}

int cli_summary_code(const tuner_summary *summary) {
  return summary->found ? EXIT_DONE : EXIT_NO_POLICY;
}
