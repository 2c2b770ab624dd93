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
  const json_t *rows = json_object_get(d->winner, "rows");
  if (json_array_size(rows) == 0)
    return;
  table_begin(page);
  html_add(page,
           "<thead><tr><th>policy<th>step (%s)%h<th>of reference<th>%s<th>worse by<th>memory"
           "<th class=\"word\">verdict</tr></thead><tbody>",
           report_times(d), d->predicted ? "" : "<th>predicted",
           member_text(d->definition, "metric", "metric"));
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) {
    char time[FIGURE_SIZE], ratio[FIGURE_SIZE], metric[FIGURE_SIZE], worse[FIGURE_SIZE],
        memory[FIGURE_SIZE];
    static const char column[] = "<td>";
    char predicted[sizeof column + FIGURE_SIZE] = "<td>";
    figure_time(member_number(row, "step_seconds"), time);
    figure_time(member_number(row, "predicted_seconds"), predicted + strlen(column));
    if (!d->predicted && !member_true(row, "measured"))
      snprintf(time, sizeof time, "not measured");
    figure_percent(member_number(row, "ratio"), 1, ratio);
    figure_value(member_number(row, "metric"), metric);
    figure_worse(d, member_number(row, "worse_by"), worse);
    figure_bytes(member_number(row, "memory_bytes"), memory);
    html_add(page, "<tr%h><th>%s<td>%s%h<td>%s<td>%s<td>%s<td>%s<td class=\"word\">%s</tr>",
             member_true(row, "winner") ? " class=\"winner\"" : "", member_text(row, "label", "?"),
             time, d->predicted ? "" : predicted, ratio, metric, worse, memory,
             report_row_verdict(d, row));
  }
  table_end(page);
}

static void add_looks(const report_data *d, const json_t *policy, mpt_text *page) {
  size_t i;
  json_t *look;
  const json_t *looks = json_object_get(policy, "looks");
  json_array_foreach(looks, i, look) {
    char mean[FIGURE_SIZE], lower[FIGURE_SIZE], upper[FIGURE_SIZE], alpha[FIGURE_SIZE];
    const bool last = i + 1 == json_array_size(looks);
    figure_worse(d, member_number(look, "mean") + d->margin, mean);
    figure_worse(d, member_number(look, "lower") + d->margin, lower);
    figure_worse(d, member_number(look, "upper") + d->margin, upper);
    snprintf(alpha, sizeof alpha, "%.3g", member_number(look, "alpha"));
    html_add(page, "<tr><th>%s<td>%d<td>%s<td>%s<td>%s<td>%s<td class=\"word\">%s</tr>",
             i == 0 ? member_text(policy, "label", "?") : "", (int)member_number(look, "n"), mean,
             lower, upper, isfinite(member_number(look, "alpha")) ? alpha : "–",
             last ? member_text(policy, "verdict", "") : "go on");
  }
}

void html_verification(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<section id=\"verification\"><h2>Verification</h2>");
  if (json_array_size(d->verification) == 0) {
    mpt_text_add(page, "<p>No policy was verified.</p></section>");
    return;
  }
  html_add(page,
           "<p>Measured in fresh training runs of full length, each paired with one of the "
           "reference by seed: the same initial weights, the same batches. A policy passes when "
           "the upper bound is below the budget of %s, fails when the lower bound is above it.</p>",
           report_budget(d));
  table_begin(page);
  mpt_text_add(page, "<thead><tr><th>policy<th>pairs<th>worse by<th>lower bound<th>upper bound"
                     "<th>alpha<th class=\"word\">verdict</tr></thead><tbody>");
  size_t i;
  json_t *policy;
  json_array_foreach(d->verification, i, policy) {
    add_looks(d, policy, page);
  }
  table_end(page);
  mpt_text_add(page, "</section>");
}

void html_trajectory(const report_data *d, mpt_text *page) {
  size_t i;
  json_t *step;
  if (json_array_size(d->trajectory) == 0)
    return;
  html_add(page,
           "<section id=\"search\"><h2>The search</h2><p>What was tried, in this order: what was "
           "predicted of it, and what was measured over its seeds so far.</p>");
  table_begin(page);
  html_add(page,
           "<thead><tr><th>#<th class=\"word\">policy<th>step (%s)<th>worse by (predicted)"
           "<th>worse by (measured)<th class=\"word\">result</tr></thead><tbody>",
           report_times(d));
  json_array_foreach(d->trajectory, i, step) {
    char time[FIGURE_SIZE], predicted[FIGURE_SIZE], measured[FIGURE_SIZE];
    const char *known = d->predicted ? "predicted_seconds" : "seconds";
    figure_time(member_number(step, known), time);
    figure_worse(d, member_number(step, "predicted_increase"), predicted);
    figure_worse(d, member_number(step, "measured_increase"), measured);
    html_add(page, "<tr><td>%d<td class=\"word\">%s<td>%s<td>%s<td>%s<td class=\"word\">%s</tr>",
             (int)i + 1, member_text(step, "label", "?"), time, predicted, measured,
             member_text(step, "verdict_text", ""));
  }
  table_end(page);
  mpt_text_add(page, "</section>");
}

static void add_evaluation(const report_data *d, const store_evaluation *e, mpt_text *page) {
  const report_point *p = report_find(d, e->policy);
  char seed[24], steps[48], metric[FIGURE_SIZE], worse[FIGURE_SIZE], plain[FIGURE_SIZE],
      outputs[FIGURE_SIZE] = "–", host[FIGURE_SIZE], total[FIGURE_SIZE], outcome[512];
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)e->seed);
  if (e->steps_done == e->steps)
    snprintf(steps, sizeof steps, "%lld", (long long)e->steps);
  else
    snprintf(steps, sizeof steps, "%lld of %lld", (long long)e->steps_done, (long long)e->steps);
  figure_value(e->metric, metric);
  figure_value(e->metric_plain, plain);
  figure_worse(d, report_difference(d, e), worse);
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
           member_text(d->definition, "metric", "metric"),
           report_on_gpu(d)
               ? ""
               : ", where narrow formats are emulated: they say nothing about the target");
  table_begin(page);
  html_add(page,
           "<thead><tr><th>#<th class=\"word\">policy<th class=\"word\">for<th>seed<th>steps<th>%s"
           "<th>worse by<th>fp32 forward<th>output difference<th>step here<th>total"
           "<th class=\"word\">result</tr></thead><tbody>",
           member_text(d->definition, "metric", "metric"));
  for (int i = 0; i < d->evaluation_count; i++)
    add_evaluation(d, &d->evaluations[i], page);
  table_end(page);
  mpt_text_add(page, "</section>");
}
