/* Stage 3, the judging half: vetoes from what was seen, and the increase that each layer, GEMM and
 * format is predicted to cost:
 *
 *   increase = c1 * forward + c2 * backward + delta
 *
 * in the metric's own units, c >= 0. c1 and c2 are fitted to the measured increases of the uniform
 * policies; the deltas are the predictor's, whose prior this is.
 */
#include "base/error.h"
#include "base/json.h"
#include "tuner/search.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above this share of non-zero values flushed to zero a format is not tried. Half is late on
 * purpose: what a smaller share costs is measured, not assumed. */
#define VANISH_LIMIT 0.5

static void veto_operand(layer_score *score, mpt_precision precision, mpt_operand operand,
                         const json_t *seen) {
  if (score->veto[0] != '\0')
    return;
  const char *format = mpt_precision_name(precision);
  const json_t *amax = json_object_get(seen, "amax");
  const double vanished = json_number_value(json_object_get(seen, "vanished"));
  const double saturated = json_number_value(json_object_get(seen, "saturated"));
  if (json_is_null(amax)) {
    snprintf(score->veto, sizeof score->veto, "%s is not finite", mpt_operand_name(operand));
  } else if (precision == MPT_PRECISION_FP16 && saturated > 0) {
    snprintf(score->veto, sizeof score->veto,
             "%s overflows fp16: its amax is %.3g, the limit 65504", mpt_operand_name(operand),
             json_number_value(amax));
  } else if (vanished > VANISH_LIMIT) {
    snprintf(score->veto, sizeof score->veto, "%.0f%% of %s vanishes in %s at its best scale",
             100 * vanished, mpt_operand_name(operand), format);
  }
}

static void read_scores(unit_scores *unit, mpt_precision precision, const json_t *row) {
  const json_t *operands = json_object_get(row, "operands");
  static const char *const names[MPT_GEMM_COUNT] = {"forward", "dgrad", "wgrad"};
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    layer_score *score = &(*unit)[g][precision];
    const json_t *value = json_object_get(row, names[g]);
    for (int i = 0; i < 2; i++) {
      const mpt_operand operand = mpt_gemm_operand((mpt_gemm_kind)g, i);
      veto_operand(score, precision, operand, json_object_get(operands, mpt_operand_name(operand)));
    }
    const json_t *output = json_object_get(row, "output_amax");
    if (g == MPT_FPROP && precision == MPT_PRECISION_FP16 && score->veto[0] == '\0' &&
        json_number_value(output) > 65504)
      snprintf(score->veto, sizeof score->veto, "output overflows fp16: its amax is %.3g",
               json_number_value(output));
    if (json_is_null(value) && score->veto[0] == '\0')
      snprintf(score->veto, sizeof score->veto, "%s is not finite in %s",
               mpt_gemm_name((mpt_gemm_kind)g), mpt_precision_name(precision));
    const double number = fmax(0, json_number_value(value));
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

static int unit_named(const search *s, const char *layer) {
  for (int u = 0; u < s->space->unit_count; u++)
    if (strcmp(s->graph->layers[s->space->units[u].layer].info.name, layer) == 0)
      return u;
  return -1;
}

/* A unit was measured in every precision below fp32, or in none. seen[unit] has a bit for each. */
static mpt_status check_whole(const search *s, const char *note, const unsigned *seen,
                              mpt_error *error) {
  const unsigned all = (1u << MPT_PRECISION_COUNT) - (1u << MPT_PRECISION_TF32);
  for (int u = 0; u < s->space->unit_count; u++)
    if (seen[u] != 0 && seen[u] != all)
      return store_damaged(s->store, error, "the note '%.16s...' has not all of the layer '%.64s'",
                           note, s->graph->layers[s->space->units[u].layer].info.name);
  return MPT_OK;
}

mpt_status sensitivity_load(search *s, mpt_error *error) {
  json_t *rows = NULL;
  char own[80];
  snprintf(own, sizeof own, "scores %s", s->observed_key);
  MPT_RETURN_IF_FAILED(store_read_note(s->store, own, &rows, error));
  if (rows == NULL)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the run store has no sensitivity measurements");
  sensitivity *made = calloc(1, sizeof *made);
  unsigned *seen = calloc((size_t)s->space->unit_count + 1, sizeof *seen);
  mpt_status status = MPT_OK;
  if (made != NULL)
    made->unit = calloc((size_t)s->space->unit_count + 1, sizeof *made->unit);
  if (made == NULL || seen == NULL || made->unit == NULL) {
    sensitivity_free(made);
    free(seen);
    json_decref(rows);
    return mpt_fail_memory(error, "sensitivities", sizeof *made);
  }
  made->unit_count = s->space->unit_count;
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) {
    const char *layer = json_string_value(json_object_get(row, "layer"));
    const int u = unit_named(s, layer);
    mpt_precision precision;
    if (u < 0 || mpt_precision_parse(json_string_value(json_object_get(row, "precision")),
                                     &precision, NULL) != MPT_OK) {
      status =
          store_damaged(s->store, error, "the note '%.16s...' names the layer '%.64s'", own, layer);
      break;
    }
    read_scores(&made->unit[u], precision, row);
    seen[u] |= 1u << precision;
  }
  if (status == MPT_OK)
    status = check_whole(s, own, seen, error);
  if (status != MPT_OK) {
    sensitivity_free(made);
    free(seen);
    json_decref(rows);
    return status;
  }
  fill_unseen(made, seen);
  made->forward_weight = 1;
  made->backward_weight = s->margin;
  free(seen);
  json_decref(rows);
  s->sensitivity = made;
  return MPT_OK;
}

void sensitivity_free(sensitivity *s) {
  if (s == NULL)
    return;
  free(s->unit);
  free(s);
}

/* Why the unit cannot have these formats, or NULL. What the reference has works; what is pinned is
 * not for the search to refuse. */
static const char *unit_veto(const search *s, int unit, const mpt_layer_policy *formats) {
  const mpt_layer_policy *reference = &s->reference.assignment[s->space->units[unit].layer];
  if (s->space->units[unit].choice_count == 1)
    return NULL;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = formats->gemm[g].precision;
    const layer_score *score = &s->sensitivity->unit[unit][g][q];
    if (q != reference->gemm[g].precision && score->veto[0] != '\0')
      return score->veto;
  }
  return NULL;
}

void sensitivity_vetoes(search *s) {
  for (int u = 0; u < s->space->unit_count; u++) {
    const space_unit *unit = &s->space->units[u];
    for (int c = 0; c < unit->choice_count; c++)
      s->increase[u][c] = unit_veto(s, u, &unit->choices[c]) != NULL ? INFINITY : 0;
  }
}

const char *sensitivity_veto_of(const search *s, const candidate *c) {
  for (int u = 0; u < s->space->unit_count; u++) {
    const char *veto = unit_veto(s, u, &c->assignment[s->space->units[u].layer]);
    if (veto != NULL)
      return veto;
  }
  return NULL;
}

const char *sensitivity_choice_veto(const search *s, int unit, int choice) {
  const mpt_layer_policy *formats = &s->space->units[unit].choices[choice];
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const layer_score *score = &s->sensitivity->unit[unit][g][formats->gemm[g].precision];
    if (score->veto[0] != '\0')
      return score->veto;
  }
  return NULL;
}

double sensitivity_score(const search *s, int unit, const mpt_layer_policy *formats) {
  const mpt_layer_policy *reference = &s->reference.assignment[s->space->units[unit].layer];
  double sum = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision q = formats->gemm[g].precision;
    const layer_score *score = &s->sensitivity->unit[unit][g][q];
    if (q != reference->gemm[g].precision)
      sum += s->sensitivity->forward_weight * score->forward +
             s->sensitivity->backward_weight * score->backward;
  }
  return sum;
}

/* The sums of both scores over a policy. */
static void policy_scores(const search *s, const candidate *c, double *forward, double *backward) {
  *forward = *backward = 0;
  for (int u = 0; u < s->space->unit_count; u++) {
    const mpt_layer_policy *formats = &c->assignment[s->space->units[u].layer];
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      const layer_score *score = &s->sensitivity->unit[u][g][formats->gemm[g].precision];
      *forward += score->forward;
      *backward += score->backward;
    }
  }
}

/* Least squares for c1, c2 >= 0, drawn to their first values (1, and one budget for a doubled
 * gradient variance) with the weight of one observation at the noise of a budget. */
static void fit_weights(search *s) {
  const double first[2] = {1, s->margin};
  double a[2][2] = {{0}}, b[2] = {0};
  for (int i = 0; i < 2; i++) {
    const double weight = 1 / (first[i] * first[i]);
    a[i][i] += weight;
    b[i] += weight * first[i];
  }
  for (int i = 0; i < s->candidate_count; i++) {
    const candidate *c = s->candidates[i];
    const double mean = candidate_mean(c);
    if (!c->uniform || !isfinite(mean) || sensitivity_veto_of(s, c) != NULL)
      continue;
    double x[2];
    policy_scores(s, c, &x[0], &x[1]);
    const double deviation = fmax(s->noise, 0.1 * s->margin) + 0.3 * fabs(mean);
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
  s->sensitivity->forward_weight = c1;
  s->sensitivity->backward_weight = c2;
}

static mpt_status note_sensitivity(search *s, mpt_error *error) {
  json_t *rows = json_array();
  for (int u = 0; u < s->space->unit_count; u++) {
    const space_unit *unit = &s->space->units[u];
    for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
      for (int g = 0; g < MPT_GEMM_COUNT; g++) {
        const layer_score *score = &s->sensitivity->unit[u][g][q];
        if (score->forward == 0 && score->backward == 0 && score->veto[0] == '\0')
          continue;
        const double predicted = s->sensitivity->forward_weight * score->forward +
                                 s->sensitivity->backward_weight * score->backward;
        mpt_json_append(
            &rows,
            mpt_json_pack("{s:s,s:s,s:s,s:f,s:f,s:f,s:o}", "layer",
                          s->graph->layers[unit->layer].info.name, "precision",
                          mpt_precision_name((mpt_precision)q), "gemm",
                          mpt_gemm_name((mpt_gemm_kind)g), "forward", score->forward, "backward",
                          score->backward, "predicted", predicted, "veto",
                          score->veto[0] == '\0' ? json_null() : mpt_json_text(score->veto)));
      }
    }
  }
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(rows, JSON_COMPACT, "sensitivities", &text, error));
  mpt_status status = store_set(s->store, "sensitivity", text, error);
  free(text);
  return status;
}

mpt_status sensitivity_fit(search *s, mpt_error *error) {
  fit_weights(s);
  /* Every feature may surprise: together, all units at half a budget. */
  const int n = s->space->unit_count * MPT_GEMM_COUNT;
  const double floor = 0.5 * s->margin / sqrt(n);
  for (int u = 0; u < s->space->unit_count; u++) {
    const mpt_layer_policy *reference = &s->reference.assignment[s->space->units[u].layer];
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
        const layer_score *score = &s->sensitivity->unit[u][g][q];
        const double mean = s->sensitivity->forward_weight * score->forward +
                            s->sensitivity->backward_weight * score->backward;
        const bool same = reference->gemm[g].precision == (mpt_precision)q;
        predictor_prior(s->predictor, u, (mpt_gemm_kind)g, (mpt_precision)q, same ? 0 : mean,
                        same ? 0 : mean + floor);
      }
    }
  }
  return note_sensitivity(s, error);
}

mpt_status stage_sensitivity(search *s, mpt_error *error) {
  MPT_RETURN_IF_FAILED(predictor_open(s->space, &s->predictor, error));
  MPT_RETURN_IF_FAILED(sensitivity_load(s, error));
  return sensitivity_fit(s, error);
}
