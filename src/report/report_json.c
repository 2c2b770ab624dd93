/* The report as JSON: for programs, and what the page's charts are drawn from. Times in seconds. */
#include "base/json.h"
#include "report/report_data.h"
#include "tuner/formats_json.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <string.h>

static json_t *verified_json(const evidence *e) {
  const verify_result *v = &e->verified;
  json_t *interval = mpt_json_pack("{s:f,s:f,s:b,s:f}", "lower", v->bound.lower, "upper",
                                   v->bound.upper, "relative", (int)e->relative, "level", v->level);
  return mpt_json_pack("{s:i,s:i,s:i,s:i,s:f,s:o,s:i,s:f,s:f,s:f}", "tried", v->tried, "finished",
                       v->finished, "diverged", v->candidate_diverged, "reference_diverged",
                       v->reference_diverged, "diverged_at_most", v->diverged_bound, "interval",
                       interval, "within_budget", v->within, "within_share_at_least",
                       v->within_share, "worse_by_absolute", v->worse, "worse_by_relative",
                       v->worse / fabs(v->reference));
}

static json_t *points_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->policy_count; i++) {
    const report_point *p = &d->points[i];
    json_t *json = mpt_json_pack(
        "{s:s,s:s,s:f,s:f,s:s,s:b,s:b,s:b,s:b,s:b,s:s,s:o}", "policy", p->policy->hash, "label",
        p->policy->label, "step_seconds", p->seconds, "predicted_seconds", p->predicted_seconds,
        "times", report_times_of(p), "uniform", (int)p->uniform, "reference", (int)p->reference,
        "written", (int)p->written, "winner", (int)p->winner, "frontier", (int)p->frontier,
        "verdict", p->verdict, "assignment",
        assignment_json(p->policy->assignment, &d->layers_note));
    mpt_json_set(&json, "accuracy", evidence_json(&p->seen));
    mpt_json_append(&all, json);
  }
  return all;
}

static json_t *attempts_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->records.attempt_count; i++) {
    const store_attempt *a = &d->records.attempts[i];
    const report_point *p = report_find(d, a->policy);
    if (strcmp(a->condition, d->records.condition) != 0)
      continue;
    mpt_json_append(&all, mpt_json_pack("{s:s,s:i,s:f,s:I,s:s,s:o}", "policy", a->policy,
                                        "position", a->position, "weight", a->weight, "first_seed",
                                        (json_int_t)a->first_seed, "verdict",
                                        p == NULL ? "unverified" : p->verdict, "result",
                                        p == NULL ? json_null() : verified_json(&p->seen)));
  }
  return all;
}

static json_t *evaluations_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->evaluation_count; i++) {
    const store_evaluation *e = &d->evaluations[i];
    json_t *losses = json_array();
    for (int64_t j = 0; j < e->loss_count; j++)
      mpt_json_append(&losses, mpt_json_real(e->losses[j]));
    mpt_json_append(
        &all,
        mpt_json_pack(
            "{s:s,s:s,s:s,s:I,s:I,s:I,s:b,s:b,s:o,s:o,s:o,s:f,s:f,s:o,s:o,s:o,s:I,s:o,s:I,s:o}",
            "key", e->key, "policy", e->policy, "purpose", e->purpose, "seed", (json_int_t)e->seed,
            "steps", (json_int_t)e->steps, "steps_done", (json_int_t)e->steps_done, "diverged",
            e->diverged, "stopped", e->stopped, "metric", mpt_json_real(e->metric), "metric_plain",
            mpt_json_real(e->metric_plain), "held_out_loss", mpt_json_real(e->held_out_loss),
            "worse_by_absolute", evidence_difference(&d->records, e), "worse_by_relative",
            evidence_difference_share(&d->records, e), "output_difference",
            mpt_json_real(e->output_difference), "host_seconds", mpt_json_real(e->host_seconds),
            "total_seconds", mpt_json_real(e->total_seconds), "memory_bytes",
            (json_int_t)e->memory_bytes, "failure", mpt_json_text(e->failure), "time",
            (json_int_t)e->time, "losses", losses));
  }
  return all;
}

static json_t *histogram_json(const mpt_statistics *x) {
  json_t *bins = json_array();
  for (int b = 0; b < MPT_EXPONENT_BINS; b++)
    mpt_json_append(&bins, json_integer((json_int_t)x->histogram[b]));
  return mpt_json_pack("{s:I,s:I,s:I,s:I,s:o,s:f,s:o}", "count", (json_int_t)x->count, "zeros",
                       (json_int_t)x->zeros, "nans", (json_int_t)x->nans, "infinities",
                       (json_int_t)x->infinities, "amax",
                       mpt_json_real((double)mpt_statistics_amax(x)), "binades",
                       mpt_statistics_dynamic_range(x), "histogram", bins);
}

static json_t *layers_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->layer_count; i++) {
    const report_layer *layer = &d->layers[i];
    json_t *seen = json_object();
    for (int o = 0; o < MPT_OPERAND_COUNT; o++)
      if (layer->seen[o].count > 0)
        mpt_json_set(&seen, mpt_operand_name((mpt_operand)o), histogram_json(&layer->seen[o]));
    mpt_json_append(&all, mpt_json_pack("{s:s,s:s,s:s,s:b,s:b,s:o,s:o,s:o,s:o}", "name",
                                        layer->name, "kind", layer->kind, "shape", layer->shape,
                                        "unit", layer->unit, "gemm", layer->gemm, "formats",
                                        formats_json_of(layer->formats_text, layer->gemm), "reason",
                                        mpt_json_text(layer->reason), "flip",
                                        mpt_json_text(layer->flip), "statistics", seen));
  }
  return all;
}

static json_t *verdict_json(const report_data *d) {
  report_verdict v;
  report_verdict_make(d, &v);
  mpt_text plain = {0};
  for (const char *c = v.sentence.data; c != NULL && *c != '\0'; c++)
    if (*c != NUMBER_BEGIN && *c != NUMBER_END)
      mpt_text_add_bytes(&plain, c, 1);
  const bool failed = plain.failed || v.sentence.failed || v.notes.failed;
  json_t *json = failed ? NULL
                        : mpt_json_pack("{s:s,s:s,s:s}", "word", v.word, "sentence", plain.data,
                                        "notes", v.notes.data);
  mpt_text_free(&plain);
  report_verdict_clear(&v);
  return json;
}

static json_t *reasons_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->winner.reason_count; i++) {
    const store_reason *r = &d->winner.reasons[i];
    const bool gemm = store_layers_has_gemm(&d->layers_note, r->layer);
    mpt_json_append(&all, mpt_json_pack("{s:s,s:o,s:s*,s:s*}", "layer", r->layer, "formats",
                                        formats_json_of(r->formats, gemm), "reason", r->reason,
                                        "flip", r->flip));
  }
  return all;
}

/* What the search left, with formats as everywhere. */
static json_t *winner_json(const report_data *d) {
  if (!d->has_winner)
    return json_object();
  json_t *winner = store_winner_json(&d->winner);
  const report_point *p = report_find(d, text_or(d->winner.policy, ""));
  if (d->winner.assignment != NULL)
    mpt_json_set(&winner, "assignment",
                 p == NULL ? json_null() : assignment_json(p->policy->assignment, &d->layers_note));
  if (d->winner.reasons != NULL)
    mpt_json_set(&winner, "reasons", reasons_json(d));
  return winner;
}

static json_t *trajectory_json(const report_data *d) {
  json_t *all = json_array();
  for (int i = 0; i < d->trajectory.count; i++) {
    const store_step *step = &d->trajectory.steps[i];
    mpt_json_append(&all,
                    mpt_json_pack("{s:i,s:s*,s:s*,s:f,s:f,s:f,s:f,s:f,s:s*}", "evaluation",
                                  step->evaluation, "policy", step->policy, "label", step->label,
                                  "predicted_seconds", step->predicted_seconds, "seconds",
                                  step->seconds, "predicted_increase", step->predicted_increase,
                                  "measured_increase", step->measured_increase, "measured_change",
                                  step->measured_change, "verdict_text", step->verdict_text));
  }
  return all;
}

json_t *report_json(const report_data *d) {
  return mpt_json_pack(
      "{s:s,s:o,s:o,s:o,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "schema", "mptune/report@2", "verdict",
      verdict_json(d), "definition",
      d->has_definition ? store_definition_json(&d->definition) : json_object(), "reference",
      d->has_reference ? store_reference_json(&d->reference) : json_object(), "reference_metric",
      d->reference_mean, "winner", winner_json(d), "policies", points_json(d), "evaluations",
      evaluations_json(d), "layers", layers_json(d), "trajectory", trajectory_json(d),
      "verification", attempts_json(d), "sensitivity", store_sensitivity_json(&d->sensitivity));
}

/* ---- charts ---- */

/* Differences in the chart are those of the page: percent, or the metric's units. */
static double shown(const report_data *d, double change) {
  return d->records.rule.relative ? 100 * change : change;
}

static json_t *frontier_chart(const report_data *d) {
  json_t *points = json_array();
  for (int i = 0; i < d->policy_count; i++) {
    const report_point *p = &d->points[i];
    char time[FIGURE_SIZE], worse[FIGURE_SIZE];
    const double y = shown(d, report_change(d, &p->seen));
    if (!isfinite(y) || !isfinite(p->seconds))
      continue;
    figure_time(p->seconds, time);
    figure_change(d, report_change(d, &p->seen), worse);
    mpt_json_append(&points,
                    mpt_json_pack("{s:s,s:f,s:f,s:s,s:s,s:i,s:b,s:b,s:b,s:b,s:b}", "label",
                                  p->policy->label, "x", 1e3 * p->seconds, "y", y, "time", time,
                                  "worse", worse, "pairs", p->seen.pairs, "uniform", p->uniform,
                                  "reference", p->reference, "winner", p->winner, "frontier",
                                  p->frontier, "failed", p->seen.diverged + p->seen.given_up > 0));
  }
  return mpt_json_pack("{s:o,s:o,s:s,s:s,s:s,s:b}", "points", points, "budget",
                       mpt_json_real(shown(d, d->records.rule.budget)), "budget_text",
                       report_budget(d), "times", report_times(d), "metric", report_metric(d),
                       "relative", d->records.rule.relative);
}

#define CURVE_POINTS 300

/* Means of stretches of equal length: as many points as a screen can show. */
static json_t *curve(const store_evaluation *e, const char *label, int64_t stretch) {
  json_t *points = json_array();
  for (int64_t from = 0; from < e->loss_count; from += stretch) {
    const int64_t to = from + stretch < e->loss_count ? from + stretch : e->loss_count;
    const double mean = gsl_stats_mean(e->losses + from, 1, (size_t)(to - from));
    mpt_json_append(&points,
                    mpt_json_pack("[f,o]", (double)(from + to + 1) / 2, mpt_json_real(mean)));
  }
  return mpt_json_pack("{s:s,s:I,s:o}", "label", label, "seed", (json_int_t)e->seed, "points",
                       points);
}

static const char *label_of(const report_data *d, const store_evaluation *e) {
  const report_point *p = report_find(d, e->policy);
  return p == NULL ? "unnamed" : p->policy->label;
}

static json_t *loss_chart(const report_data *d) {
  json_t *curves = json_array();
  int64_t stretch = 1;
  if (d->reference_curve != NULL) {
    stretch = (d->reference_curve->loss_count + CURVE_POINTS - 1) / CURVE_POINTS;
    mpt_json_append(&curves, curve(d->reference_curve, label_of(d, d->reference_curve), stretch));
  }
  if (d->winner_curve != NULL)
    mpt_json_append(&curves, curve(d->winner_curve, label_of(d, d->winner_curve), stretch));
  return mpt_json_pack("{s:o,s:I}", "curves", curves, "stretch", (json_int_t)stretch);
}

json_t *report_charts(const report_data *d) {
  return mpt_json_pack("{s:o,s:o}", "frontier", frontier_chart(d), "losses", loss_chart(d));
}
