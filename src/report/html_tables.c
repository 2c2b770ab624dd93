/* The tables of the page. */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void table_begin(mpt_text *page) {
  mpt_text_add(page, "<div class=\"scroll\"><table>");
}

static void table_end(mpt_text *page) {
  mpt_text_add(page, "</tbody></table></div>");
}

void html_policies(const report_data *d, mpt_text *page) {
  const bool memory = report_has_memory(d);
  if (d->winner.row_count == 0)
    return;
  table_begin(page);
  html_add(page,
           "<thead><tr><th>policy<th>step (%s)%h<th>of reference<th>%s<th>worse by<th>between"
           "<th>pairs%h<th class=\"word\">verdict</tr></thead><tbody>",
           report_times(d), d->predicted ? "" : "<th>predicted", report_metric(d),
           memory ? "<th>memory" : "");
  for (int i = 0; i < d->winner.row_count; i++) {
    report_row row;
    report_row_make(d, &d->winner.rows[i], &row);
    html_add(page,
             "<tr%h><th>%s<td>%s%h%s<td>%s<td>%s<td>%s<td>%s<td>%s%h%s<td class=\"word\">%s</tr>",
             row.winner ? " class=\"winner\"" : "", row.label, row.time, d->predicted ? "" : "<td>",
             d->predicted ? "" : row.predicted, row.ratio, row.metric, row.worse, row.interval,
             row.pairs, memory ? "<td>" : "", memory ? row.memory : "", row.verdict);
  }
  table_end(page);
  html_add(
      page,
      "<p class=\"beside\">The %s is the mean over a policy’s own pairs, which need not have "
      "the seeds of another’s; <em>worse by</em> compares it with the reference under the same "
      "ones.</p>",
      report_metric(d));
}

/* One look, as verification saw it: over the pairs that there were then. */
static void add_look(const report_data *d, const char *label, const verify_result *v, bool last,
                     mpt_text *page) {
  char mean[FIGURE_SIZE], lower[FIGURE_SIZE], upper[FIGURE_SIZE], level[FIGURE_SIZE];
  figure_change(d, v->worse_as_budget, mean);
  figure_lower(d, v->bound.lower, lower);
  figure_upper(d, v->bound.upper, upper);
  snprintf(level, sizeof level, "%.2g%%", 100 * v->level);
  html_add(page, "<tr><th>%s<td>%d<td>%s<td>%s<td>%s<td>%s<td>%d<td class=\"word\">%s</tr>", label,
           v->finished, mean, lower, upper, isfinite(v->level) ? level : "–", v->within,
           last ? mpt_verdict_name(v->verdict) : "go on");
}

static void add_looks(const report_data *d, const store_attempt *attempt, mpt_text *page) {
  verify_pair pairs[VERIFY_MOST_TRIED];
  const report_point *p = report_find(d, attempt->policy);
  const int tried = evidence_fresh_pairs(&d->records, attempt, pairs);
  const verify_rule rule = evidence_rule(&d->records, attempt);
  const char *label = p == NULL ? attempt->policy : p->policy->label;
  int looks = 0, finished = 0;
  if (tried == 0)
    html_add(page, "<tr><th>%s<td>0<td>–<td>–<td>–<td>–<td>–<td class=\"word\">not begun</tr>",
             label);
  for (int n = 1; n <= tried; n++) {
    const verify_result v = verify_pairs(&rule, pairs, n, d->records.most_pairs);
    const bool last = n == tried || v.verdict != MPT_VERDICT_INCONCLUSIVE;
    if (last || (v.tried == n && isfinite(v.level) && v.finished > finished)) {
      add_look(d, looks++ == 0 ? label : "", &v, last, page);
      finished = v.finished;
    }
    if (last)
      break;
  }
}

static void add_attempts(const report_data *d, mpt_text *page) {
  for (int i = 0; i < d->records.attempt_count; i++)
    if (strcmp(d->records.attempts[i].condition, d->records.condition) == 0)
      add_looks(d, &d->records.attempts[i], page);
}

static bool has_attempts(const report_data *d) {
  for (int i = 0; i < d->records.attempt_count; i++)
    if (strcmp(d->records.attempts[i].condition, d->records.condition) == 0)
      return true;
  return false;
}

void html_verification(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<section id=\"verification\"><h2>Verification</h2>");
  if (!has_attempts(d)) {
    mpt_text_add(page, "<p>No policy was verified.</p></section>");
    return;
  }
  const long long steps = d->definition.evaluation_steps;
  char length[40] = "";
  if (steps >= 0)
    snprintf(length, sizeof length, " of %lld steps", steps);
  html_add(
      page,
      "<p>Measured in fresh training runs%s, each paired with one of the "
      "reference by seed: the same initial weights, the same batches. The list of policies and "
      "their shares of the error were written down before the first of these runs. A policy "
      "passes when the upper bound is below the budget of %s, fails when the lower bound is "
      "above it; the level is that of a look’s bound. Bounds assume that the differences of "
      "pairs are near normal.</p>",
      length, report_budget(d));
  table_begin(page);
  mpt_text_add(page, "<thead><tr><th>policy<th>pairs<th>worse by<th>lower bound<th>upper bound"
                     "<th>level<th>within budget<th class=\"word\">verdict</tr></thead><tbody>");
  add_attempts(d, page);
  table_end(page);
  report_words(d, page);
  mpt_text_add(page, "</section>");
}

void html_trajectory(const report_data *d, mpt_text *page) {
  if (d->trajectory.count == 0)
    return;
  html_add(page,
           "<section id=\"search\"><h2>The search</h2><p>What was tried, in this order: what was "
           "predicted of it, and what was measured over its seeds so far.</p>");
  table_begin(page);
  html_add(page,
           "<thead><tr><th>#<th class=\"word\">policy<th>step (%s)<th>worse by (predicted)"
           "<th>worse by (measured)<th class=\"word\">result</tr></thead><tbody>",
           report_times(d));
  for (int i = 0; i < d->trajectory.count; i++) {
    const store_step *step = &d->trajectory.steps[i];
    char time[FIGURE_SIZE], predicted[FIGURE_SIZE], measured[FIGURE_SIZE];
    figure_time(d->predicted ? step->predicted_seconds : step->seconds, time);
    figure_increase(d, step->predicted_increase, predicted);
    figure_change(d, step->measured_change, measured);
    html_add(page, "<tr><td>%d<td class=\"word\">%s<td>%s<td>%s<td>%s<td class=\"word\">%s</tr>",
             i + 1, text_or(step->label, "?"), time, predicted, measured,
             text_or(step->verdict_text, ""));
  }
  table_end(page);
  mpt_text_add(page, "</section>");
}

static void add_evaluation(const report_data *d, const store_evaluation *e, mpt_text *page) {
  const report_point *p = report_find(d, e->policy);
  char seed[24], steps[96], metric[FIGURE_SIZE], worse[FIGURE_SIZE], plain[FIGURE_SIZE],
      outputs[FIGURE_SIZE] = "–", host[FIGURE_SIZE], total[FIGURE_SIZE], outcome[512];
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)e->seed);
  report_condition(d, e, steps, sizeof steps);
  figure_value(e->metric, metric);
  figure_value(e->metric_plain, plain);
  figure_change(d, report_change_of(d, e), worse);
  if (isfinite(e->output_difference))
    snprintf(outputs, sizeof outputs, "%.2e", e->output_difference);
  figure_time(e->host_seconds, host);
  figure_duration(e->total_seconds, total);
  report_outcome(e, outcome, sizeof outcome);
  html_add(page, "<tr%h><td>%d<td class=\"word\">%s<td class=\"word\">%s<td>%s<td>%s<td>%s<td>%s",
           e->diverged || e->stopped ? " class=\"failed\"" : "", (int)e->id,
           p == NULL ? e->policy : p->policy->label, e->purpose, seed, steps, metric, worse);
  html_add(page, "<td>%s<td>%s<td>%s<td>%s<td class=\"word\">%s</tr>", plain, outputs, host, total,
           outcome);
}

void html_evaluations(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<section id=\"evaluations\"><h2>Every evaluation</h2>");
  if (d->evaluation_count == 0) {
    mpt_text_add(page, "<p>None yet.</p></section>");
    return;
  }
  html_add(page,
           "<p>All measured. The %s is taken after the last step on data held out, in the policy’s "
           "formats; “fp32 forward” is the same weights without them. Output difference: how far "
           "the outputs are from the reference’s on a fixed batch. Step and total are times of the "
           "machine that trained%s.</p>",
           report_metric(d),
           report_on_gpu(d)
               ? ""
               : ", where narrow formats are emulated: they say nothing about the target");
  table_begin(page);
  html_add(page,
           "<thead><tr><th>#<th class=\"word\">policy<th class=\"word\">for<th>seed<th>steps<th>%s"
           "<th>worse by<th>fp32 forward<th>output difference<th>step here<th>total"
           "<th class=\"word\">result</tr></thead><tbody>",
           report_metric(d));
  for (int i = 0; i < d->evaluation_count; i++)
    add_evaluation(d, &d->evaluations[i], page);
  table_end(page);
  mpt_text_add(page, "</section>");
}
