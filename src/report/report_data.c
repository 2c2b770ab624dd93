/* Reading a run store, and what follows from its records. */
#include "report/report_data.h"
#include "base/error.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const report_point *report_find(const report_data *data, const char *hash) {
  for (int i = 0; i < data->policy_count; i++)
    if (strcmp(data->points[i].policy->hash, hash) == 0)
      return &data->points[i];
  return NULL;
}

double report_change(const report_data *data, const evidence *seen) {
  return data->records.rule.relative ? seen->worse_share : seen->worse;
}

double report_change_of(const report_data *data, const store_evaluation *e) {
  return data->records.rule.relative ? evidence_difference_share(&data->records, e)
                                     : evidence_difference(&data->records, e);
}

static const store_condition *find_condition(const report_data *d, const char *hash) {
  for (int i = 0; i < d->condition_count; i++)
    if (strcmp(d->conditions[i].hash, hash) == 0)
      return &d->conditions[i];
  return NULL;
}

void report_condition(const report_data *d, const store_evaluation *e, char *text, size_t size) {
  const store_condition *here = find_condition(d, d->records.condition);
  const store_condition *c = find_condition(d, e->condition);
  if (e->steps_done == e->steps)
    snprintf(text, size, "%lld", (long long)e->steps);
  else
    snprintf(text, size, "%lld of %lld", (long long)e->steps_done, (long long)e->steps);
  const size_t used = strlen(text);
  const char *why = "";
  if (c == NULL)
    why = ", conditions not known";
  else if (here == NULL || strcmp(c->hash, here->hash) == 0 || c->steps != here->steps)
    why = "";
  else if (strcmp(c->training, here->training) != 0)
    why = ", another training";
  else if (strcmp(c->data, here->data) != 0)
    why = ", other data";
  else
    why = ", other numerics";
  snprintf(text + used, size - used, "%s", why);
}

static mpt_status load_notes(store *s, report_data *d, mpt_error *error) {
  bool found;
  MPT_RETURN_IF_FAILED(store_get_definition(s, &d->definition, &d->has_definition, error));
  MPT_RETURN_IF_FAILED(store_get_layers(s, &d->layers_note, &found, error));
  MPT_RETURN_IF_FAILED(store_get_reference(s, &d->reference, &d->has_reference, error));
  MPT_RETURN_IF_FAILED(store_get_sensitivity(s, &d->sensitivity, &found, error));
  MPT_RETURN_IF_FAILED(store_get_trajectory(s, &d->trajectory, error));
  return store_get_winner(s, &d->winner, &d->has_winner, error);
}

/* The mean and deviation of the reference: as the search noted them, or, before it did, from its
 * evaluations. */
static mpt_status find_reference(report_data *d, mpt_error *error) {
  double *metrics = calloc((size_t)d->evaluation_count + 1, sizeof *metrics);
  size_t count = 0;
  if (metrics == NULL)
    return mpt_fail_memory(error, "the reference's metrics", 0);
  for (int i = 0; i < d->evaluation_count; i++) {
    const store_evaluation *e = &d->evaluations[i];
    const bool here = strcmp(e->condition, d->records.condition) == 0;
    d->elsewhere += !here;
    if (!here || strcmp(e->purpose, "reference") != 0 || !isfinite(e->metric))
      continue;
    metrics[count++] = e->metric;
  }
  d->reference_mean = count > 0 ? gsl_stats_mean(metrics, 1, count) : d->reference.metric_mean;
  d->reference_deviation =
      count > 1 ? gsl_stats_sd(metrics, 1, count) : d->reference.metric_deviation;
  free(metrics);
  d->predicted = d->definition.target.predicted;
  return MPT_OK;
}

static const char *verdict_of(const report_point *p) {
  if (p->reference)
    return mpt_verdict_name(MPT_VERDICT_REFERENCE);
  return mpt_verdict_name(p->seen.attempted ? p->seen.verified.verdict : MPT_VERDICT_UNVERIFIED);
}

static int by_time(const void *a, const void *b) {
  const report_point *x = a, *y = b;
  if (x->seconds != y->seconds) /* unknown ones last */
    return isnan(x->seconds) ? 1 : isnan(y->seconds) || x->seconds < y->seconds ? -1 : 1;
  return strcmp(x->policy->hash, y->policy->hash);
}

static bool placed(const report_point *p) {
  return isfinite(p->seen.worse) && isfinite(p->seconds) &&
         p->seen.diverged + p->seen.given_up == 0;
}

static mpt_status make_points(report_data *d, mpt_error *error) {
  d->points = calloc((size_t)d->policy_count + 1, sizeof *d->points);
  if (d->points == NULL)
    return mpt_fail_memory(error, "the policies", 0);
  const char *written = text_or(d->winner.policy, "");
  for (int i = 0; i < d->policy_count; i++) {
    report_point *p = &d->points[i];
    p->policy = &d->policies[i];
    p->predicted_seconds = p->policy->predicted_seconds;
    p->measured = isfinite(d->measured[i]);
    p->seconds = p->measured ? d->measured[i] : p->predicted_seconds;
    p->uniform =
        strncmp(p->policy->label, "all-", 4) == 0 || strcmp(p->policy->label, "torchao rule") == 0;
    p->reference = strcmp(p->policy->hash, d->records.reference) == 0;
    MPT_RETURN_IF_FAILED(evidence_of(&d->records, p->policy->hash, &p->seen, error));
    p->verdict = verdict_of(p);
    p->written = strcmp(p->policy->hash, written) == 0;
    p->winner = p->written && (p->reference || strcmp(p->verdict, "pass") == 0);
  }
  qsort(d->points, (size_t)d->policy_count, sizeof *d->points, by_time);
  double least = INFINITY; /* of all that are faster */
  for (int i = 0; i < d->policy_count; i++) {
    report_point *p = &d->points[i];
    p->frontier = placed(p) && report_change(d, &p->seen) < least;
    if (p->frontier)
      least = report_change(d, &p->seen);
  }
  return MPT_OK;
}

static const store_reason *reason_of(const report_data *d, const char *layer) {
  for (int i = 0; i < d->winner.reason_count; i++)
    if (strcmp(d->winner.reasons[i].layer, layer) == 0)
      return &d->winner.reasons[i];
  return NULL;
}

static const char *formats_of(const report_data *d, const char *layer) {
  for (int i = 0; i < d->winner.assignment_count; i++)
    if (strcmp(d->winner.assignment[i].name, layer) == 0)
      return d->winner.assignment[i].text;
  return NULL;
}

static void shape_text(const store_layer *layer, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; i < layer->rank; i++) {
    const int n = snprintf(text + used, size - used, "%s%lld", i == 0 ? "" : " × ",
                           (long long)layer->shape[i]);
    if (n < 0 || (size_t)n >= size - used)
      return;
    used += (size_t)n;
  }
  if (layer->rows > 0)
    snprintf(text + used, size - used, "%s%lld rows", used > 0 ? ", " : "", (long long)layer->rows);
}

static mpt_status make_layers(report_data *d, mpt_error *error) {
  d->layers = calloc((size_t)d->layers_note.count + 1, sizeof *d->layers);
  if (d->layers == NULL)
    return mpt_fail_memory(error, "the layers", 0);
  d->layer_count = d->layers_note.count;
  for (int i = 0; i < d->layer_count; i++) {
    const store_layer *row = &d->layers_note.layers[i];
    report_layer *layer = &d->layers[i];
    layer->name = row->name;
    layer->kind = text_or(row->kind, "");
    layer->unit = row->unit;
    layer->gemm = row->gemm;
    shape_text(row, layer->shape, sizeof layer->shape);
    const store_reason *reason = reason_of(d, layer->name);
    layer->reason = reason == NULL ? NULL : reason->reason;
    layer->flip = reason == NULL ? NULL : reason->flip;
    layer->formats_text = formats_of(d, layer->name);
    layer->chosen = layer->formats_text != NULL &&
                    mpt_layer_policy_parse(layer->formats_text, &layer->formats, NULL) == MPT_OK;
  }
  return MPT_OK;
}

/* Of the reference, merged over the steps that were sampled. */
static mpt_status load_statistics(store *s, report_data *d, mpt_error *error) {
  const char *key = NULL;
  for (int i = d->evaluation_count - 1; i >= 0; i--)
    if (strcmp(d->evaluations[i].policy, d->records.reference) == 0 &&
        strcmp(d->evaluations[i].condition, d->records.condition) == 0)
      key = d->evaluations[i].key; /* the first of them, where no note says which was observed */
  if (d->reference.observed != NULL && d->reference.observed[0] != '\0')
    key = d->reference.observed;
  if (key == NULL)
    return MPT_OK;
  store_statistics *rows = NULL;
  int count = 0;
  MPT_RETURN_IF_FAILED(store_all_statistics(s, key, &rows, &count, error));
  for (int i = 0; i < count; i++) {
    for (int l = 0; l < d->layer_count; l++) {
      if (strcmp(d->layers[l].name, rows[i].layer) != 0 || rows[i].operand >= MPT_OPERAND_COUNT ||
          !rows[i].statistics.full)
        continue;
      mpt_statistics *into = &d->layers[l].seen[rows[i].operand];
      if (into->count == 0)
        *into = rows[i].statistics;
      else
        mpt_statistics_merge(into, &rows[i].statistics);
      break;
    }
  }
  free(rows);
  return MPT_OK;
}

/* A seed that both the reference and the winner were trained under. */
static void find_curves(report_data *d) {
  const char *winner = text_or(d->winner.policy, "");
  for (int i = 0; i < d->evaluation_count && d->winner_curve == NULL; i++) {
    const store_evaluation *e = &d->evaluations[i];
    if (strcmp(e->condition, d->records.condition) != 0)
      continue;
    const bool is_reference = strcmp(e->policy, d->records.reference) == 0;
    if (d->reference_curve == NULL && is_reference && e->loss_count > 0)
      d->reference_curve = e;
    if (is_reference || e->loss_count == 0 || strcmp(e->policy, winner) != 0)
      continue;
    const store_evaluation *pair = evidence_pair(&d->records, e);
    if (pair == NULL || pair->loss_count == 0)
      continue;
    d->winner_curve = e;
    d->reference_curve = pair;
  }
}

/* On the device that the definition names, where step times were measured at all. */
static mpt_status load_times(store *s, report_data *d, mpt_error *error) {
  const char *device = d->definition.target.times;
  d->measured = calloc((size_t)d->policy_count + 1, sizeof *d->measured);
  if (d->measured == NULL)
    return mpt_fail_memory(error, "the step times", 0);
  for (int i = 0; i < d->policy_count; i++) {
    store_time time = {0};
    bool found = false;
    if (device != NULL && device[0] != '\0')
      MPT_RETURN_IF_FAILED(store_find_time(s, d->policies[i].hash, device, &found, &time, error));
    d->measured[i] = found && time.measured ? time.seconds : NAN;
    store_time_clear(&time);
  }
  return MPT_OK;
}

static mpt_status load(store *s, report_data *d, mpt_error *error) {
  MPT_RETURN_IF_FAILED(load_notes(s, d, error));
  MPT_RETURN_IF_FAILED(store_all_policies(s, &d->policies, &d->policy_count, error));
  MPT_RETURN_IF_FAILED(store_all_conditions(s, &d->conditions, &d->condition_count, error));
  MPT_RETURN_IF_FAILED(evidence_load(s, &d->records, error));
  d->evaluations = d->records.evaluations;
  d->evaluation_count = d->records.evaluation_count;
  MPT_RETURN_IF_FAILED(find_reference(d, error));
  MPT_RETURN_IF_FAILED(load_times(s, d, error));
  MPT_RETURN_IF_FAILED(make_points(d, error));
  MPT_RETURN_IF_FAILED(make_layers(d, error));
  MPT_RETURN_IF_FAILED(load_statistics(s, d, error));
  find_curves(d);
  return MPT_OK;
}

/* In one transaction, so that a search that goes on meanwhile is seen at one moment. */
mpt_status report_data_load(const char *run, report_data *data, mpt_error *error) {
  store *s = NULL;
  *data = (report_data){.run = run};
  mpt_status status = store_open(run, STORE_READ, &s, error);
  if (status == MPT_OK)
    status = store_begin(s, error);
  if (status == MPT_OK)
    status = load(s, data, error);
  store_close(s);
  if (status != MPT_OK)
    report_data_clear(data);
  return status;
}

void report_data_clear(report_data *data) {
  for (int i = 0; i < data->policy_count; i++)
    free(data->policies[i].assignment);
  store_definition_clear(&data->definition);
  store_layers_clear(&data->layers_note);
  store_reference_clear(&data->reference);
  store_sensitivity_clear(&data->sensitivity);
  store_trajectory_clear(&data->trajectory);
  evidence_clear(&data->records);
  free(data->policies);
  free(data->conditions);
  free(data->points);
  free(data->measured);
  free(data->layers);
  store_winner_clear(&data->winner);
  *data = (report_data){0};
}
