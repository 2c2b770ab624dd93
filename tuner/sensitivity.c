/* Stage 3, the judging half: vetoes from what was seen, and the increase that each layer, GEMM and
 * format is predicted to cost:
 *
 *   increase = c1 * forward + c2 * backward + delta
 *
 * in the metric's own units, c >= 0. c1 and c2 are fitted to the measured increases of the uniform
 * policies; the deltas are the predictor's, whose prior this is.
 */
#include "tuner/sensitivity.h"
#include "base/error.h"
#include "store/run_scores.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above this share of non-zero values flushed to zero a format is not tried. Half is late on
 * purpose: what a smaller share costs is measured, not assumed. */
#define VANISH_LIMIT 0.5

/* What a bias as large as the gradient is taken to cost, of the metric, until something is known:
 * trainings with one product in fp8 lost 0.1 to 0.7 times their bias (docs/benchmarks/scores.md).
 */
#define BIAS_WEIGHT 0.3

static void veto_operand(layer_score *score, mpt_precision precision, mpt_operand operand,
                         const store_operand_seen *seen) {
  if (score->veto[0] != '\0')
    return;
  const char *format = mpt_precision_name(precision);
  if (!isfinite(seen->amax)) {
    snprintf(score->veto, sizeof score->veto, "%s is not finite", mpt_operand_name(operand));
  } else if (precision == MPT_PRECISION_FP16 && seen->saturated > 0) {
    snprintf(score->veto, sizeof score->veto,
             "%s overflows fp16: its amax is %.3g, the limit 65504", mpt_operand_name(operand),
             seen->amax);
  } else if (seen->vanished > VANISH_LIMIT) {
    snprintf(score->veto, sizeof score->veto, "%.0f%% of %s vanishes in %s at its best scale",
             100 * seen->vanished, mpt_operand_name(operand), format);
  }
}

static void read_scores(unit_scores *unit, const store_score *row) {
  const double values[MPT_GEMM_COUNT] = {
      [MPT_FPROP] = row->forward, [MPT_DGRAD] = row->dgrad, [MPT_WGRAD] = row->wgrad};
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    layer_score *score = &(*unit)[g][row->precision];
    for (int i = 0; i < 2; i++) {
      const mpt_operand operand = mpt_gemm_operand((mpt_gemm_kind)g, i);
      veto_operand(score, row->precision, operand, &row->operands[operand]);
    }
    if (g == MPT_FPROP && row->precision == MPT_PRECISION_FP16 && score->veto[0] == '\0' &&
        row->output_amax > 65504)
      snprintf(score->veto, sizeof score->veto, "output overflows fp16: its amax is %.3g",
               row->output_amax);
    if (!isfinite(values[g]) && score->veto[0] == '\0')
      snprintf(score->veto, sizeof score->veto, "%s is not finite in %s",
               mpt_gemm_name((mpt_gemm_kind)g), mpt_precision_name(row->precision));
    const double number = isfinite(values[g]) ? fmax(0, values[g]) : 0;
    if (g == MPT_FPROP)
      score->forward = number;
    else
      score->backward = number;
  }
}

/* Units whose products the probe does not see (attention, embeddings) get the mean of the others
 * at the same storage: the prior is wide, training corrects it. */
static void fill_unseen(sensitivity *into, const unsigned *seen) {
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    double sum = 0;
    int count = 0;
    for (int u = 0; u < into->unit_count; u++) {
      if (!seen[u])
        continue;
      sum += into->unit[u][MPT_FPROP][q].forward;
      count++;
    }
    for (int u = 0; u < into->unit_count && count > 0; u++)
      if (!seen[u])
        into->unit[u][MPT_FPROP][q].forward = sum / count;
  }
}

static int unit_named(const problem *p, const char *layer) {
  for (int u = 0; u < p->space->unit_count; u++)
    if (strcmp(p->graph->layers[p->space->units[u].layer].info.name, layer) == 0)
      return u;
  return -1;
}

/* A unit was measured in every precision below fp32, or in none. seen[unit] has a bit for each. */
static mpt_status check_whole(const problem *p, const ledger *l, const unsigned *seen,
                              mpt_error *error) {
  const unsigned all = (1u << MPT_PRECISION_COUNT) - (1u << MPT_PRECISION_TF32);
  for (int u = 0; u < p->space->unit_count; u++)
    if (seen[u] != 0 && seen[u] != all)
      return store_damaged(l->store, error,
                           "the note 'scores@2 %.9s...' has not all of the layer '%.64s'",
                           l->observed_key, p->graph->layers[p->space->units[u].layer].info.name);
  return MPT_OK;
}

static mpt_status read_rows(const problem *p, const ledger *l, const store_scores *rows,
                            sensitivity *into, unsigned *seen, mpt_error *error) {
  for (int i = 0; i < rows->count; i++) {
    const store_score *row = &rows->scores[i];
    const int u = unit_named(p, row->layer);
    if (u < 0)
      return store_damaged(l->store, error, "the note 'scores@2 %.9s...' names the layer '%.64s'",
                           l->observed_key, row->layer);
    read_scores(&into->unit[u], row);
    seen[u] |= 1u << row->precision;
  }
  return check_whole(p, l, seen, error);
}

mpt_status sensitivity_load(const problem *p, const ledger *l, double metric, sensitivity **out,
                            mpt_error *error) {
  const int units = p->space->unit_count;
  sensitivity *made = calloc(1, sizeof *made);
  unsigned *seen = calloc((size_t)units + 1, sizeof *seen);
  mpt_status status = MPT_OK;
  if (made != NULL)
    made->unit = calloc((size_t)units + 1, sizeof *made->unit);
  if (made == NULL || seen == NULL || made->unit == NULL) {
    status = mpt_fail_memory(error, "sensitivities", sizeof *made);
    goto fail;
  }
  made->unit_count = units;
  made->forward_weight = made->first_weights[0] = 1;
  made->backward_weight = made->first_weights[1] = BIAS_WEIGHT * (metric != 0 ? fabs(metric) : 1);
  made->space = p->space;
  made->reference = l->reference.assignment;
  MPT_TRY(read_rows(p, l, &l->scores, made, seen, error));
  fill_unseen(made, seen);
  *out = made;
  made = NULL;
fail:
  sensitivity_free(made);
  free(seen);
  return status;
}

void sensitivity_free(sensitivity *s) {
  if (s == NULL)
    return;
  free(s->unit);
  free(s);
}

const char *sensitivity_veto(const sensitivity *s, int unit, const mpt_layer_policy *formats) {
  const mpt_layer_policy *reference = &s->reference[s->space->units[unit].layer];
  if (s->space->units[unit].choice_count == 1)
    return NULL;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = formats->gemm[g].precision;
    const layer_score *score = &s->unit[unit][g][q];
    if (q != reference->gemm[g].precision && score->veto[0] != '\0')
      return score->veto;
  }
  return NULL;
}

const char *sensitivity_veto_of(const sensitivity *s, const candidate *c) {
  for (int u = 0; u < s->unit_count; u++) {
    const char *veto = sensitivity_veto(s, u, &c->assignment[s->space->units[u].layer]);
    if (veto != NULL)
      return veto;
  }
  return NULL;
}

const char *sensitivity_choice_veto(const sensitivity *s, int unit, int choice) {
  const mpt_layer_policy *formats = &s->space->units[unit].choices[choice];
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const layer_score *score = &s->unit[unit][g][formats->gemm[g].precision];
    if (score->veto[0] != '\0')
      return score->veto;
  }
  return NULL;
}

static double predicted(const sensitivity *s, const layer_score *score) {
  return s->forward_weight * score->forward + s->backward_weight * score->backward;
}

double sensitivity_score(const sensitivity *s, int unit, const mpt_layer_policy *formats) {
  const mpt_layer_policy *reference = &s->reference[s->space->units[unit].layer];
  double sum = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = formats->gemm[g].precision;
    if (q != reference->gemm[g].precision)
      sum += predicted(s, &s->unit[unit][g][q]);
  }
  return sum;
}

/* The sums of both scores over a policy. */
static void policy_scores(const sensitivity *s, const candidate *c, double *forward,
                          double *backward) {
  *forward = *backward = 0;
  for (int u = 0; u < s->unit_count; u++) {
    const mpt_layer_policy *formats = &c->assignment[s->space->units[u].layer];
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      const layer_score *score = &s->unit[u][g][formats->gemm[g].precision];
      *forward += score->forward;
      *backward += score->backward;
    }
  }
}

/* Least squares for c1, c2 >= 0, drawn to their first values with the weight of one observation at
 * the noise of a budget. */
void sensitivity_fit(sensitivity *s, const ledger *l, double margin, double noise) {
  const double *first = s->first_weights;
  double a[2][2] = {{0}}, b[2] = {0};
  for (int i = 0; i < 2; i++) {
    const double weight = 1 / (first[i] * first[i]);
    a[i][i] += weight;
    b[i] += weight * first[i];
  }
  for (int i = 0; i < l->candidate_count; i++) {
    const candidate *c = l->candidates[i];
    const double mean = candidate_mean(c);
    if (!c->uniform || !isfinite(mean) || sensitivity_veto_of(s, c) != NULL)
      continue;
    double x[2];
    policy_scores(s, c, &x[0], &x[1]);
    const double deviation = fmax(noise, 0.1 * margin) + 0.3 * fabs(mean);
    const double weight = c->seed_count / (deviation * deviation);
    for (int j = 0; j < 2; j++) {
      for (int k = 0; k < 2; k++)
        a[j][k] += weight * x[j] * x[k];
      b[j] += weight * x[j] * mean;
    }
  }
  const double determinant = a[0][0] * a[1][1] - a[0][1] * a[1][0];
  double c1 = (b[0] * a[1][1] - b[1] * a[0][1]) / determinant;
  double c2 = (b[1] * a[0][0] - b[0] * a[1][0]) / determinant;
  if (c1 < 0)
    c1 = 0, c2 = fmax(0, b[1] / a[1][1]);
  if (c2 < 0)
    c2 = 0, c1 = fmax(0, b[0] / a[0][0]);
  s->forward_weight = c1;
  s->backward_weight = c2;
}

mpt_status sensitivity_note(const sensitivity *s, const ledger *l, mpt_error *error) {
  enum { EACH = MPT_PRECISION_COUNT * MPT_GEMM_COUNT };
  store_sensitivity_row *rows = malloc(((size_t)s->unit_count * EACH + 1) * sizeof *rows);
  int count = 0;
  if (rows == NULL)
    return mpt_fail_memory(error, "sensitivities", 0);
  for (int u = 0; u < s->unit_count; u++) {
    const char *layer = s->space->graph->layers[s->space->units[u].layer].info.name;
    for (int i = 0; i < EACH; i++) {
      const int q = i / MPT_GEMM_COUNT, g = i % MPT_GEMM_COUNT;
      const layer_score *score = &s->unit[u][g][q];
      if (score->forward == 0 && score->backward == 0 && score->veto[0] == '\0')
        continue;
      rows[count++] = (store_sensitivity_row){.layer = layer,
                                              .precision = (mpt_precision)q,
                                              .gemm = (mpt_gemm_kind)g,
                                              .forward = score->forward,
                                              .backward = score->backward,
                                              .predicted = predicted(s, score),
                                              .veto = score->veto[0] == '\0' ? NULL : score->veto};
    }
  }
  const store_sensitivity note = {.rows = rows, .count = count};
  const mpt_status status = store_put_sensitivity(l->store, &note, error);
  free(rows);
  return status;
}

void sensitivity_priors(const sensitivity *s, double margin, predictor *into) {
  /* Every feature may surprise: together, all units at half a budget. */
  const int n = s->unit_count * MPT_GEMM_COUNT;
  const double floor = 0.5 * margin / sqrt(n);
  for (int u = 0; u < s->unit_count; u++) {
    const mpt_layer_policy *reference = &s->reference[s->space->units[u].layer];
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
        const double mean = predicted(s, &s->unit[u][g][q]);
        const bool same = reference->gemm[g].precision == (mpt_precision)q;
        predictor_prior(into, u, (mpt_gemm_kind)g, (mpt_precision)q, same ? 0 : mean,
                        same ? 0 : mean + floor);
      }
    }
  }
}
