#include "tuner/evidence.h"
#include "base/error.h"
#include "store/run_definition.h"
#include "store/run_reference.h"
#include "workload/workload.h"
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two-sided: 2.5% at each end. */
#define SHOWN_LEVEL 0.025
/* Of the deviation of the search's own pairs, the share below which that of fresh pairs is not
 * believed: a few pairs can lie close together by chance. */
#define BELIEVED_SHARE 0.5
#define BELIEVED_PAIRS 3

void evidence_clear(evidence_records *r) {
  for (int i = 0; i < r->evaluation_count; i++)
    store_evaluation_clear(&r->evaluations[i]);
  free(r->evaluations);
  free(r->attempts);
  *r = (evidence_records){0};
}

static bool is_right(const store_evaluation *e, int64_t sample) {
  return (e->right[sample / 8] >> sample % 8 & 1) != 0;
}

/* What a sample contributed to the number that is compared, the metric or the error, by a record as
 * it was stored. */
static double stored_contribution(const evidence_records *r, const store_evaluation *e,
                                  int64_t sample) {
  const double own =
      e->right != NULL ? (double)is_right(e, sample) : (double)e->contributions[sample];
  return r->of_error ? 1 - own : own;
}

/* Where samples stand for others, the verdict needs them one by one: as numbers that are compared.
 */
static mpt_status lay_out_samples(const evidence_records *r, store_evaluation *e,
                                  mpt_error *error) {
  if (e->judged == 0)
    return MPT_OK;
  float *numbers = malloc((size_t)e->judged * sizeof *numbers);
  if (numbers == NULL)
    return mpt_fail_memory(error, "held-out samples", (size_t)e->judged * sizeof *numbers);
  for (int64_t i = 0; i < e->judged; i++)
    numbers[i] = (float)stored_contribution(r, e, i);
  free(e->right);
  free(e->contributions);
  e->right = NULL;
  e->contributions = numbers;
  return MPT_OK;
}

mpt_status evidence_load_records(store *s, evidence_records *r, mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_all_evaluations(s, &r->evaluations, &r->evaluation_count, error));
  for (int i = 0; i < r->evaluation_count && r->rule.population; i++)
    MPT_RETURN_IF_FAILED(lay_out_samples(r, &r->evaluations[i], error));
  r->laid_out = r->rule.population;
  r->evaluation_capacity = r->evaluation_count;
  return store_all_attempts(s, &r->attempts, &r->attempt_count, error);
}

mpt_status evidence_add(evidence_records *r, store_evaluation *e, mpt_error *error) {
  if (r->evaluation_count == r->evaluation_capacity) {
    const int capacity = 2 * r->evaluation_capacity + 16;
    store_evaluation *grown = realloc(r->evaluations, (size_t)capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(error, "evaluations", (size_t)capacity * sizeof *grown);
    r->evaluations = grown;
    r->evaluation_capacity = capacity;
  }
  r->laid_out = r->rule.population;
  if (r->laid_out)
    MPT_RETURN_IF_FAILED(lay_out_samples(r, e, error));
  const int last = r->evaluation_count - 1;
  e->id = last < 0 ? 1 : r->evaluations[last].id + 1;
  r->evaluations[r->evaluation_count++] = *e;
  *e = (store_evaluation){0};
  return MPT_OK;
}

mpt_status evidence_add_attempts(evidence_records *r, const store_attempt *attempts, int count,
                                 mpt_error *error) {
  const size_t all = (size_t)r->attempt_count + (size_t)count;
  store_attempt *grown = realloc(r->attempts, (all + 1) * sizeof *grown);
  if (grown == NULL)
    return mpt_fail_memory(error, "attempts", all * sizeof *grown);
  r->attempts = grown;
  memcpy(r->attempts + r->attempt_count, attempts, (size_t)count * sizeof *attempts);
  r->attempt_count += count;
  return MPT_OK;
}

bool evidence_has(const evidence_records *r, const char *key) {
  for (int i = 0; i < r->evaluation_count; i++)
    if (strcmp(r->evaluations[i].key, key) == 0)
      return true;
  return false;
}

/* ---- pairs ---- */

static bool is_like(const evidence_records *r, const store_evaluation *e, const char *policy) {
  return e->condition[0] != '\0' && strcmp(e->condition, r->condition) == 0 &&
         strcmp(e->policy, policy) == 0;
}

static const store_evaluation *find(const evidence_records *r, const char *policy, uint64_t seed) {
  for (int i = 0; i < r->evaluation_count; i++)
    if (r->evaluations[i].seed == seed && is_like(r, &r->evaluations[i], policy))
      return &r->evaluations[i];
  return NULL;
}

const store_evaluation *evidence_pair(const evidence_records *r, const store_evaluation *e) {
  return strcmp(e->condition, r->condition) == 0 ? find(r, r->reference, e->seed) : NULL;
}

static bool finished(const store_evaluation *e) {
  return !e->diverged && !e->stopped && isfinite(e->metric);
}

static double sign(const evidence_records *r) {
  return r->rule.higher_is_better ? -1 : 1;
}

/* What is compared is the metric; of an accuracy whose budget is of the error, the error. */
static double compared(const evidence_records *r, const store_evaluation *e) {
  if (!finished(e))
    return NAN;
  return r->of_error ? 1 - e->metric : e->metric;
}

double evidence_difference(const evidence_records *r, const store_evaluation *e) {
  const store_evaluation *pair = evidence_pair(r, e);
  return pair != NULL ? sign(r) * (compared(r, e) - compared(r, pair)) : NAN;
}

double evidence_difference_share(const evidence_records *r, const store_evaluation *e) {
  const store_evaluation *pair = evidence_pair(r, e);
  return pair != NULL ? evidence_difference(r, e) / fabs(compared(r, pair)) : NAN;
}

static double contribution(const evidence_records *r, const store_evaluation *e, int64_t sample) {
  return r->laid_out ? (double)e->contributions[sample] : stored_contribution(r, e, sample);
}

static void add_samples(const evidence_records *r, const store_evaluation *reference,
                        const store_evaluation *candidate, verify_pair *pair) {
  if (reference->judged == 0 || reference->judged != candidate->judged)
    return;
  pair->samples = candidate->judged;
  pair->unit = fmax(reference->unit, candidate->unit);
  pair->x = r->laid_out ? reference->contributions : NULL;
  pair->y = r->laid_out ? candidate->contributions : NULL;
  for (int64_t i = 0; i < pair->samples; i++) {
    const double x = contribution(r, reference, i), y = contribution(r, candidate, i);
    pair->xx += x * x;
    pair->xy += x * y;
    pair->yy += y * y;
  }
}

static verify_pair pair_of(const evidence_records *r, const store_evaluation *reference,
                           const store_evaluation *candidate) {
  verify_pair pair = {.reference = compared(r, reference), .candidate = compared(r, candidate)};
  add_samples(r, reference, candidate, &pair);
  return pair;
}

/* ---- verification ---- */

static double difference_of(const verify_rule *rule, const verify_pair *pair) {
  return (rule->higher_is_better ? -1 : 1) * (pair->candidate - pair->reference);
}

static bool is_planned(const store_attempt *attempt, uint64_t seed, int tried) {
  return attempt != NULL && seed >= attempt->first_seed &&
         seed < attempt->first_seed + (uint64_t)tried;
}

/* The deviation of D in the pairs that the search had trained before the attempt's first one; those
 * that came later must not change a verdict that was given, nor the attempt's own, of which the
 * first may not be the first to end. */
static double earlier_deviation(const evidence_records *r, const store_attempt *attempt) {
  const store_evaluation *first = find(r, attempt->policy, attempt->first_seed);
  const verify_rule rule = r->rule;
  double sum = 0, squares = 0;
  int n = 0;
  for (int i = 0; i < r->evaluation_count && first != NULL; i++) {
    const store_evaluation *e = &r->evaluations[i];
    if (e->id >= first->id || !is_like(r, e, attempt->policy) ||
        is_planned(attempt, e->seed, VERIFY_MOST_TRIED))
      continue;
    const store_evaluation *reference = find(r, r->reference, e->seed);
    if (reference == NULL || !finished(reference) || !finished(e))
      continue;
    const verify_pair pair = pair_of(r, reference, e);
    const double d = difference_of(&rule, &pair) -
                     (rule.relative ? rule.budget * fabs(pair.reference) : rule.budget);
    sum += d;
    squares += d * d;
    n++;
  }
  return n < BELIEVED_PAIRS ? 0 : sqrt(fmax(0, (squares - sum * sum / n) / (n - 1)));
}

verify_rule evidence_rule(const evidence_records *r, const store_attempt *attempt) {
  verify_rule rule = r->rule;
  rule.alpha *= attempt->weight;
  rule.least_deviation = BELIEVED_SHARE * earlier_deviation(r, attempt);
  return rule;
}

const store_attempt *evidence_attempt(const evidence_records *r, const char *policy) {
  for (int i = 0; i < r->attempt_count; i++)
    if (strcmp(r->attempts[i].condition, r->condition) == 0 &&
        strcmp(r->attempts[i].policy, policy) == 0)
      return &r->attempts[i];
  return NULL;
}

int evidence_fresh_pairs(const evidence_records *r, const store_attempt *attempt,
                         verify_pair *pairs) {
  int count = 0;
  while (count < VERIFY_MOST_TRIED) {
    const uint64_t seed = attempt->first_seed + (uint64_t)count;
    const store_evaluation *reference = find(r, r->reference, seed);
    const store_evaluation *candidate = find(r, attempt->policy, seed);
    if (reference == NULL || candidate == NULL)
      break;
    pairs[count++] = pair_of(r, reference, candidate);
  }
  return count;
}

/* ---- one policy ---- */

/* Of a metric that moves in steps, pairs whose samples are not known have a mean and no bound. One
 * that diverged has none to know. */
static bool is_bounded(const evidence_records *r, const verify_pair *pairs, int count) {
  for (int i = 0; i < count; i++)
    if (r->in_steps && pairs[i].samples == 0 && isfinite(pairs[i].reference) &&
        isfinite(pairs[i].candidate))
      return false;
  return count > 0;
}

/* `values` is room for one of each pair. */
static void take_means(const evidence_records *r, const verify_pair *pairs, double *values,
                       evidence *out) {
  const size_t n = (size_t)out->pairs;
  if (n == 0)
    return;
  for (size_t i = 0; i < n; i++)
    values[i] = pairs[i].reference;
  const double reference = gsl_stats_mean(values, 1, n);
  for (size_t i = 0; i < n; i++)
    values[i] = pairs[i].candidate;
  const double candidate = gsl_stats_mean(values, 1, n);
  for (size_t i = 0; i < n; i++)
    values[i] = pairs[i].candidate - pairs[i].reference;
  out->worse = sign(r) * (candidate - reference) + 0.0; /* no -0 */
  out->deviation = n < 2 ? NAN : gsl_stats_sd(values, 1, n);
  out->worse_share = reference == 0 ? NAN : out->worse / fabs(reference);
  out->metric = r->of_error ? 1 - candidate : candidate;
  out->reference_metric = r->of_error ? 1 - reference : reference;
}

static void judge(const evidence_records *r, const store_attempt *attempt, int most,
                  evidence *out) {
  verify_pair pairs[VERIFY_MOST_TRIED];
  const int there = evidence_fresh_pairs(r, attempt, pairs);
  const int tried = there < most ? there : most;
  const verify_rule rule = evidence_rule(r, attempt);
  out->attempted = tried > 0;
  out->weight = attempt->weight;
  out->first_seed = attempt->first_seed;
  out->verified = verify_pairs(&rule, pairs, tried, r->most_pairs);
  if (is_bounded(r, pairs, tried) || tried == 0)
    return;
  out->verified.verdict = MPT_VERDICT_INCONCLUSIVE;
  out->verified.bound = (verify_interval){-INFINITY, INFINITY};
}

static void count_failures(const store_evaluation *reference, const store_evaluation *e,
                           evidence *out) {
  out->diverged += e->diverged || (!e->stopped && !isfinite(e->metric));
  out->given_up += e->stopped && !e->diverged;
  out->reference_diverged += !finished(reference);
}

/* In the order of their seeds, whatever the order in which they ended: sums depend on it. */
static void insert_pair(verify_pair *pairs, uint64_t *seeds, int count, const verify_pair *pair,
                        uint64_t seed) {
  int i = count;
  for (; i > 0 && seeds[i - 1] > seed; i--) {
    seeds[i] = seeds[i - 1];
    pairs[i] = pairs[i - 1];
  }
  seeds[i] = seed;
  pairs[i] = *pair;
}

mpt_status evidence_after(const evidence_records *r, const char *policy, int most, evidence *out,
                          mpt_error *error) {
  const store_attempt *attempt = evidence_attempt(r, policy);
  const double level = SHOWN_LEVEL;
  *out = (evidence){.metric = NAN,
                    .reference_metric = NAN,
                    .worse = NAN,
                    .deviation = NAN,
                    .worse_share = NAN,
                    .relative = r->rule.relative,
                    .interval = {-INFINITY, INFINITY},
                    .confidence = 1 - level};
  verify_pair *pairs = calloc((size_t)r->evaluation_count + 1, sizeof *pairs);
  double *values = calloc((size_t)r->evaluation_count + 1, sizeof *values);
  uint64_t *seeds = calloc((size_t)r->evaluation_count + 1, sizeof *seeds);
  if (pairs == NULL || values == NULL || seeds == NULL) {
    free(pairs);
    free(values);
    free(seeds);
    return mpt_fail_memory(error, "pairs of trainings", 0);
  }
  if (attempt != NULL)
    judge(r, attempt, most, out);
  /* Pairs beyond the look that decided were not trained for it; those up to it are. */
  const int tried = out->attempted ? out->verified.tried : 0;
  out->fresh = out->attempted && out->verified.finished > 0;
  for (int i = 0; i < r->evaluation_count; i++) {
    const store_evaluation *e = &r->evaluations[i];
    const store_evaluation *reference =
        is_like(r, e, policy) ? find(r, r->reference, e->seed) : NULL;
    if (reference == NULL || (out->fresh && !is_planned(attempt, e->seed, tried)) ||
        (is_planned(attempt, e->seed, VERIFY_MOST_TRIED) && !is_planned(attempt, e->seed, most)))
      continue;
    count_failures(reference, e, out);
    if (!finished(reference) || !finished(e))
      continue;
    const verify_pair pair = pair_of(r, reference, e);
    insert_pair(pairs, seeds, out->pairs++, &pair, e->seed);
  }
  take_means(r, pairs, values, out);
  if (strcmp(policy, r->reference) == 0) {
    out->interval = (verify_interval){0, 0};
  } else if (out->fresh) {
    out->interval = out->verified.bound;
    out->confidence = 1 - r->rule.alpha;
  } else if (is_bounded(r, pairs, out->pairs)) {
    out->interval = verify_mean_interval(&r->rule, pairs, out->pairs, level);
  }
  free(pairs);
  free(values);
  free(seeds);
  return MPT_OK;
}

mpt_status evidence_of(const evidence_records *r, const char *policy, evidence *out,
                       mpt_error *error) {
  return evidence_after(r, policy, VERIFY_MOST_TRIED, out, error);
}

/* ---- the run that a store is about ---- */

static void read_rule(const store_definition *d, evidence_records *r) {
  r->rule = (verify_rule){
      .budget = d->budget.worse_by,
      .relative = d->budget.relative,
      .population = d->over_population,
      .alpha = isnan(d->alpha) ? 0.05 : d->alpha,
      .most_diverged = d->budget.max_diverged,
  };
  r->of_error = d->budget.of_error;
  r->rule.higher_is_better = !r->of_error && d->metric_higher_is_better;
  r->in_steps = metric_moves_in_steps(d->metric);
  r->most_pairs =
      d->pairs >= 4 && d->pairs <= VERIFY_MOST_PAIRS ? (int)d->pairs : VERIFY_DEFAULT_PAIRS;
  snprintf(r->condition, sizeof r->condition, "%s", d->condition == NULL ? "" : d->condition);
}

/* As the search noted it, or, before it did, the policy that was trained as the reference. */
static void find_reference(const store_reference *note, evidence_records *r) {
  snprintf(r->reference, sizeof r->reference, "%s", note->policy == NULL ? "" : note->policy);
  for (int i = 0; i < r->evaluation_count && r->reference[0] == '\0'; i++)
    if (strcmp(r->evaluations[i].purpose, "reference") == 0)
      memcpy(r->reference, r->evaluations[i].policy, sizeof r->reference);
}

mpt_status evidence_load(store *s, evidence_records *r, mpt_error *error) {
  store_definition definition = {0};
  store_reference reference = {0};
  bool found;
  mpt_status status = MPT_OK;
  *r = (evidence_records){0};
  MPT_TRY(store_get_definition(s, &definition, &found, error));
  MPT_TRY(store_get_reference(s, &reference, &found, error));
  read_rule(&definition, r);
  MPT_TRY(evidence_load_records(s, r, error));
  find_reference(&reference, r);
fail:
  store_definition_clear(&definition);
  store_reference_clear(&reference);
  return status;
}
