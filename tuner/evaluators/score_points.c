#include "tuner/evaluators/score_points.h"
#include "base/error.h"
#include "train/scores.h"
#include <math.h>
#include <string.h>

enum { BATCHES = 4 }; /* at each point */

static const double shares[SCORE_POINTS] = {0.1, 0.5, 1};

void score_points_plan(score_points *points, int64_t steps) {
  *points = (score_points){.count = 0};
  for (int i = 0; i < SCORE_POINTS; i++) {
    const int64_t step = (int64_t)(shares[i] * (double)steps);
    if (points->count == 0 || step > points->at[points->count - 1].step)
      points->at[points->count++].step = step;
  }
}

void score_points_clear(score_points *points) {
  for (int i = 0; i < points->count; i++)
    train_snapshot_clear(&points->at[i]);
}

/* The format in which a dgrad's change is sent through the layers below, for all others: the
 * coarsest. */
static const unsigned sent = 1u << MPT_PRECISION_FP8;
static const unsigned below_fp32 = (1u << MPT_PRECISION_COUNT) - (1u << MPT_PRECISION_TF32);

static double bias_of(const backward_score *score) {
  return isnan(score->bias) ? NAN : fmax(0, score->bias);
}

static void add_scores(const graph *g, const network_scores *at, double share, store_score *scores,
                       int count) {
  for (int i = 0; i < count; i++) {
    store_score *s = &scores[i];
    const layer_scores *l = &at->layers[graph_find(g, s->layer)];
    s->forward += share * score_forward(&l->forward[s->precision]);
    s->dgrad += share * bias_of(&l->dgrad[s->precision]);
    s->wgrad += share * bias_of(&l->wgrad[s->precision]);
  }
}

mpt_status score_points_measure(const score_points *points, const train_options *training,
                                store_scores *scores, mpt_error *error) {
  train_options o = train_options_default();
  int reached = 0;
  o.workload = training->workload, o.graph = training->graph, o.data = training->data;
  o.assignment = training->assignment, o.loss_scale = training->loss_scale;
  o.seed = training->seed, o.steps = training->steps, o.threads = training->threads;
  o.backend = training->backend, o.device_index = training->device_index;
  for (int i = 0; i < points->count; i++)
    reached += points->at[i].weights != NULL;
  if (reached == 0)
    return MPT_OK;
  store_score *rows = mpt_arena_take(&scores->memory, ((size_t)scores->count + 1) * sizeof *rows);
  if (rows == NULL)
    return mpt_fail_memory(error, "scores", (size_t)scores->count * sizeof *rows);
  memcpy(rows, scores->scores, (size_t)scores->count * sizeof *rows);
  for (int i = 0; i < scores->count; i++)
    rows[i].forward = rows[i].dgrad = rows[i].wgrad = 0;
  for (int i = 0; i < points->count; i++) {
    network_scores at;
    const score_options so = {.at = &points->at[i],
                              .batches = BATCHES,
                              .first_step = points->at[i].step,
                              .precisions = below_fp32,
                              .sent = sent,
                              .seed = o.seed};
    if (points->at[i].weights == NULL)
      continue;
    const mpt_status status = train_score(&o, &so, &at, error);
    if (status == MPT_OK)
      add_scores(o.graph, &at, 1.0 / reached, rows, scores->count);
    network_scores_clear(&at);
    MPT_RETURN_IF_FAILED(status);
  }
  scores->scores = rows;
  return MPT_OK;
}
