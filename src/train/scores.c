#include "train/scores.h"
#include "base/error.h"
#include "train/score_run.h"
#include <math.h>
#include <stdlib.h>

double score_forward(const forward_score *score) {
  return score->second + fmax(0, score->first - 2 * score->first_error);
}

void network_scores_clear(network_scores *scores) {
  free(scores->layers);
  *scores = (network_scores){0};
}

/* ---- opening ---- */

static mpt_status check_options(const score_options *o, mpt_error *error) {
  if ((o->sent & ~o->precisions) != 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "only formats that are scored can be sent down");
  if (o->batches < 2 || o->batches > SCORE_MAX_BATCHES || o->first_step < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "scores are taken from 2 to %d batches, beginning with a step of at least 0",
                    SCORE_MAX_BATCHES);
  return MPT_OK;
}

static void choose_layers(score_run *r) {
  for (int i = 0; i < r->g->layer_count; i++)
    r->scored[i] = r->g->layers[i].has_gemm &&
                   (r->options->layers == NULL || r->options->layers[i]) &&
                   r->g->tensors[r->g->layers[i].output].gradient;
  for (int i = 0; i < r->g->layer_count; i++)
    for (int gemm = MPT_DGRAD; gemm <= MPT_WGRAD; gemm++)
      for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
        const bool wanted =
            gemm == MPT_WGRAD ? score_wants(r, q) : score_sends(r, q) && graph_makes_dgrad(r->g, i);
        *score_slot(r, i, (mpt_gemm_kind)gemm, q) = r->scored[i] && wanted ? r->slot_count++ : -1;
      }
}

static mpt_status take_host_memory(score_run *r, mpt_error *error) {
  const size_t layers = (size_t)r->g->layer_count, cells = layers * MPT_PRECISION_COUNT;
  r->scored = calloc(layers, sizeof *r->scored);
  r->slots = calloc(2 * cells, sizeof *r->slots);
  r->orders = calloc(cells * SCORE_ORDERS, sizeof *r->orders);
  r->changes = calloc(cells, sizeof *r->changes);
  r->between_read = calloc(2 * cells, sizeof *r->between_read);
  if (r->scored == NULL || r->slots == NULL || r->orders == NULL || r->changes == NULL ||
      r->between_read == NULL)
    return mpt_fail_memory(error, "scores", cells * sizeof *r->orders);
  choose_layers(r);
  const size_t slots = (size_t)r->slot_count + 1;
  r->pairs = calloc(slots, sizeof *r->pairs);
  r->sketches_read = calloc(slots, sizeof *r->sketches_read);
  if (r->pairs == NULL || r->sketches_read == NULL)
    return mpt_fail_memory(error, "scores", slots * sizeof *r->pairs);
  return MPT_OK;
}

static mpt_status take(score_run *r, size_t bytes, void **data, mpt_error *error) {
  mpt_error why = {0};
  const mpt_status status = mpt_memory_allocate(r->queue, bytes > 0 ? bytes : 1, data, &why);
  return status == MPT_OK ? MPT_OK : mpt_fail(error, status, "for scores: %s", why.message);
}

static mpt_status take_device_memory(score_run *r, mpt_error *error) {
  const size_t cells = (size_t)r->g->layer_count * MPT_PRECISION_COUNT;
  void *data = NULL;
  for (int b = 0; b < SCORE_BUFFER_COUNT; b++)
    MPT_RETURN_IF_FAILED(take(r, (size_t)score_buffer_elements(r, (score_buffer)b) * sizeof(float),
                              &r->buffers[b], error));
  MPT_RETURN_IF_FAILED(take(r, ((size_t)r->slot_count + 1) * sizeof *r->sketches, &data, error));
  r->sketches = data;
  MPT_RETURN_IF_FAILED(take(r, 2 * cells * sizeof *r->between, &data, error));
  r->between = data;
  MPT_RETURN_IF_FAILED(take(r, 2 * sizeof *r->scales, &data, error));
  r->scales = data;
  MPT_RETURN_IF_FAILED(take(r, sizeof *r->loss, &data, error));
  r->loss = data;
  MPT_RETURN_IF_FAILED(take(r, sizeof *r->update, &data, error));
  r->update = data;
  const mpt_step_state no_step = {.loss_scale = 1, .clip = 1, .applied = INT64_C(1) << 50};
  return mpt_memory_upload(r->queue, &no_step, sizeof no_step, r->update, error);
}

static void score_run_close(score_run *r) {
  for (int b = 0; b < SCORE_BUFFER_COUNT && r->queue != NULL; b++)
    mpt_memory_free(r->queue, r->buffers[b]);
  if (r->queue != NULL) {
    mpt_memory_free(r->queue, r->sketches);
    mpt_memory_free(r->queue, r->between);
    mpt_memory_free(r->queue, r->scales);
    mpt_memory_free(r->queue, r->loss);
    mpt_memory_free(r->queue, r->update);
  }
  free(r->scored);
  free(r->slots);
  free(r->pairs);
  free(r->orders);
  free(r->changes);
  free(r->sketches_read);
  free(r->between_read);
}

/* ---- a batch ---- */

static mpt_curvature curvature_of(loss_kind loss) {
  switch (loss) {
  case LOSS_NLL:
    return MPT_CURVATURE_NLL;
  case LOSS_BINARY:
    return MPT_CURVATURE_BINARY;
  case LOSS_MSE:
    return MPT_CURVATURE_SQUARED;
  case LOSS_CROSS_ENTROPY:
    break;
  }
  return MPT_CURVATURE_CROSS_ENTROPY;
}

/* What mpt_curvature_signs divides by: the rows of labels, else the elements. */
static double divisor_of(const score_run *r) {
  const mpt_tensor *output = network_output(r->net);
  const int64_t count = mpt_tensor_count(output);
  const bool labels = r->g->loss == LOSS_CROSS_ENTROPY || r->g->loss == LOSS_NLL;
  return (double)(labels ? count / output->shape[output->rank - 1] : count);
}

static mpt_status begin_pass(score_run *r, score_phase phase, mpt_error *error) {
  r->phase = phase;
  return mpt_fill(r->queue, &r->net->all_gradients, 0.0f, error);
}

static mpt_status end_pass(score_run *r, mpt_error *error) {
  const size_t cells = 2 * (size_t)r->g->layer_count * MPT_PRECISION_COUNT;
  if (r->error.status != MPT_OK) {
    if (error != NULL)
      *error = r->error;
    return r->error.status;
  }
  return mpt_memory_download(r->queue, r->between, cells * sizeof *r->between, r->between_read,
                             error);
}

static void add_orders(score_run *r, double first, double second) {
  const int cells = r->g->layer_count * MPT_PRECISION_COUNT;
  for (int i = 0; i < cells; i++) {
    const mpt_comparison *c = &r->between_read[i];
    double *o = &r->orders[i * SCORE_ORDERS];
    if (!r->scored[i / MPT_PRECISION_COUNT] || !score_wants(r, i % MPT_PRECISION_COUNT))
      continue;
    if (r->phase == SCORE_GRADIENT) {
      r->changes[i] += r->between_read[cells + i].difference_squared;
      o[SCORE_FIRST] += first * c->slope;
      o[SCORE_FIRST_SQUARED] += first * first * c->slope_squared;
    } else {
      const double order = second * c->slope_squared;
      o[SCORE_SECOND] += order;
      o[SCORE_SECOND_SQUARED] += order * order;
    }
  }
}

/* The gradient, and what rounding does to it and to the loss to first order. */
static mpt_status gradient_pass(score_run *r, double *loss, mpt_error *error) {
  double values[SCORE_SKETCH];
  mpt_tensor update;
  MPT_RETURN_IF_FAILED(begin_pass(r, SCORE_GRADIENT, error));
  MPT_RETURN_IF_FAILED(train_loss(r->t, 1.0f, r->t->device_losses, error));
  MPT_RETURN_IF_FAILED(network_backward(r->net, 0, score_layer, r, error));
  MPT_RETURN_IF_FAILED(train_read_loss(r->t, r->t->device_losses, loss, error));
  MPT_RETURN_IF_FAILED(score_update(r, &r->net->all_gradients, 0, &update, error));
  MPT_RETURN_IF_FAILED(score_sketch_make(r, &update, r->slot_count, error));
  MPT_RETURN_IF_FAILED(end_pass(r, error));
  add_orders(r, 1.0 / r->loss_scale, 0);
  MPT_RETURN_IF_FAILED(mpt_memory_download(r->queue, r->sketches,
                                           ((size_t)r->slot_count + 1) * sizeof *r->sketches,
                                           r->sketches_read, error));
  for (int i = 0; i < r->g->layer_count; i++)
    for (int gemm = MPT_DGRAD; gemm <= MPT_WGRAD; gemm++)
      for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
        const int slot = *score_slot(r, i, (mpt_gemm_kind)gemm, q);
        if (slot < 0)
          continue;
        score_sketch_values(&r->sketches_read[slot],
                            gemm == MPT_DGRAD ? ldexp(1, -score_magnified(q)) : 1, values);
        score_pairs_add(&r->pairs[slot], values);
      }
  score_sketch_values(&r->sketches_read[r->slot_count], 1, values);
  score_pairs_add(&r->pairs[r->slot_count], values);
  return MPT_OK;
}

/* The curvature along what rounding does to each layer's output. */
static mpt_status curvature_pass(score_run *r, uint64_t pass, mpt_error *error) {
  const mpt_dropout_key key = {r->options->seed, pass, (uint32_t)r->g->layer_count};
  const mpt_tensor outputs = layer_rows(network_output(r->net));
  const mpt_tensor whole = network_output_gradient(r->net), gradient = layer_rows(&whole);
  MPT_RETURN_IF_FAILED(begin_pass(r, SCORE_CURVATURE, error));
  MPT_RETURN_IF_FAILED(mpt_curvature_signs(r->queue, curvature_of(r->g->loss), &outputs, 1.0f,
                                           mpt_session_state(r->net->session), key, &gradient,
                                           error));
  MPT_RETURN_IF_FAILED(network_backward(r->net, 0, score_layer, r, error));
  MPT_RETURN_IF_FAILED(end_pass(r, error));
  add_orders(r, 0, 0.5 * divisor_of(r) / (r->loss_scale * r->loss_scale));
  return MPT_OK;
}

/* The mean squares of the gradients, where the optimizer divides by them. */
static mpt_status squares_pass(score_run *r, mpt_error *error) {
  for (int b = 0; b < r->options->batches; b++) {
    MPT_RETURN_IF_FAILED(train_pass_begin(r->t, r->options->first_step, b, error));
    MPT_RETURN_IF_FAILED(mpt_fill(r->queue, &r->net->all_gradients, 0.0f, error));
    MPT_RETURN_IF_FAILED(network_forward(r->net, error));
    MPT_RETURN_IF_FAILED(train_loss(r->t, 1.0f, r->t->device_losses, error));
    MPT_RETURN_IF_FAILED(network_backward(r->net, 0, NULL, NULL, error));
    MPT_RETURN_IF_FAILED(score_squares_add(r, b, error));
  }
  return mpt_session_microbatch(r->net->session, error);
}

static mpt_status score_batches(score_run *r, network_scores *scores, mpt_error *error) {
  const score_options *o = r->options;
  MPT_RETURN_IF_FAILED(mpt_session_step_begin(r->net->session, r->t->step, error));
  r->loss_scale = (double)mpt_session_loss_scale(r->net->session);
  const int scale = ilogb((double)r->t->options->loss_scale.initial);
  r->fp16_scale =
      r->t->options->loss_scale.mode == MPT_LOSS_SCALE_NONE ? 0 : scale - ilogb(r->loss_scale);
  if (score_is_scaled(r))
    MPT_RETURN_IF_FAILED(squares_pass(r, error));
  for (int b = 0; b < o->batches; b++) {
    double loss;
    /* batch b of the micro-batches of `step` */
    MPT_RETURN_IF_FAILED(train_pass_begin(r->t, o->first_step, b, error));
    MPT_RETURN_IF_FAILED(network_forward(r->net, error));
    MPT_RETURN_IF_FAILED(gradient_pass(r, &loss, error));
    MPT_RETURN_IF_FAILED(
        curvature_pass(r, (uint64_t)(o->first_step * r->t->w->optimizer.accumulate + b), error));
    scores->loss += loss / o->batches;
  }
  return mpt_session_step_end(r->net->session, NULL, 0, 0.0f, NULL, error);
}

/* ---- what it came to ---- */

static double finite_or_nan(double value) {
  return isfinite(value) ? value : NAN;
}

static forward_score forward_of(const score_run *r, int layer, int precision) {
  const double *o = &r->orders[(layer * MPT_PRECISION_COUNT + precision) * SCORE_ORDERS];
  const double n = r->options->batches;
  const double second = o[SCORE_SECOND] / n;
  const double scatter = fmax(0, o[SCORE_SECOND_SQUARED] / n - second * second);
  return (forward_score){.first = finite_or_nan(o[SCORE_FIRST] / n),
                         .first_error = finite_or_nan(sqrt(o[SCORE_FIRST_SQUARED]) / n),
                         .second = finite_or_nan(second),
                         .second_error = finite_or_nan(sqrt(scatter / (n - 1)))};
}

static backward_score backward_of(const score_run *r, const network_scores *scores, int slot) {
  if (slot < 0)
    return (backward_score){0};
  /* a gradient that is lost in its noise is no smaller than what that leaves open */
  const score_pairs *p = &r->pairs[slot];
  const double signal = fmax(scores->signal, scores->signal_error);
  return (backward_score){.bias = finite_or_nan(score_pairs_mean_squared(p) / signal),
                          .bias_error = finite_or_nan(score_pairs_error(p) / signal),
                          .variance = finite_or_nan(score_pairs_variance(p) / signal)};
}

/* Of a format whose dgrad was not sent down: what came of the one that changes the most, in
 * proportion. */
static backward_score in_proportion(const score_run *r, const layer_scores *s, int layer,
                                    int precision) {
  const double *changes = &r->changes[layer * MPT_PRECISION_COUNT];
  int most = -1;
  for (int q = 0; q < MPT_PRECISION_COUNT; q++)
    if (score_sends(r, q) && (most < 0 || changes[q] > changes[most]))
      most = q;
  if (most < 0)
    return (backward_score){NAN, NAN, NAN};
  const double share = changes[precision] == 0 ? 0 : changes[precision] / changes[most];
  const backward_score *of = &s->dgrad[most];
  return (backward_score){finite_or_nan(share * of->bias), finite_or_nan(share * of->bias_error),
                          finite_or_nan(share * of->variance)};
}

static void fill_scores(const score_run *r, network_scores *scores) {
  const score_pairs *gradient = &r->pairs[r->slot_count];
  scores->signal = finite_or_nan(score_pairs_mean_squared(gradient));
  scores->signal_error = finite_or_nan(score_pairs_error(gradient));
  scores->noise = finite_or_nan(score_pairs_variance(gradient));
  for (int i = 0; i < r->g->layer_count; i++) {
    layer_scores *s = &scores->layers[i];
    s->scored = r->scored[i];
    s->scored_dgrad = r->scored[i] && graph_makes_dgrad(r->g, i);
    for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
      if (!s->scored || !score_wants(r, q))
        continue;
      s->forward[q] = forward_of(r, i, q);
      s->dgrad[q] = backward_of(r, scores, *score_slot(r, i, MPT_DGRAD, q));
      s->wgrad[q] = backward_of(r, scores, *score_slot(r, i, MPT_WGRAD, q));
    }
    for (int q = 0; s->scored_dgrad && q < MPT_PRECISION_COUNT; q++)
      if (score_wants(r, q) && !score_sends(r, q))
        s->dgrad[q] = in_proportion(r, s, i, q);
  }
}

static mpt_status score_training(training *t, const score_options *options, network_scores *scores,
                                 mpt_error *error) {
  mpt_status status = MPT_OK;
  score_run r = {.t = t, .net = t->net, .queue = t->net->queue, .g = t->g, .options = options};
  scores->layer_count = t->g->layer_count;
  scores->layers = calloc((size_t)t->g->layer_count, sizeof *scores->layers);
  if (scores->layers == NULL)
    return mpt_fail_memory(error, "scores", (size_t)t->g->layer_count * sizeof *scores->layers);
  MPT_TRY(take_host_memory(&r, error));
  MPT_TRY(take_device_memory(&r, error));
  MPT_TRY(score_batches(&r, scores, error));
  fill_scores(&r, scores);
fail:
  score_run_close(&r);
  return status;
}

/* With batches of that many samples, in a graph of its own where that is not the workload's. */
static mpt_status score_with(const train_options *options, const score_options *score,
                             int64_t samples, network_scores *scores, mpt_error *error) {
  mpt_status status = MPT_OK;
  training t = {0};
  train_options with_room = *options;
  const graph *g = options->graph;
  graph *smaller = NULL;
  with_room.side_pass = true;
  scores->samples = samples;
  if (samples != g->batch)
    MPT_RETURN_IF_FAILED(graph_build(options->workload, &g->model, samples, g->sequence,
                                     dataset_get_info(options->data), &smaller, error));
  if (smaller != NULL)
    with_room.graph = smaller;
  MPT_TRY(training_open(&t, &with_room, error));
  if (score->at != NULL)
    MPT_TRY(train_snapshot_restore(&t, score->at, error));
  MPT_TRY(score_training(&t, score, scores, error));
fail:
  training_close(&t);
  graph_free(smaller);
  return status;
}

mpt_status train_score(const train_options *options, const score_options *score,
                       network_scores *scores, mpt_error *error) {
  int64_t samples = options->graph->batch;
  *scores = (network_scores){0};
  MPT_RETURN_IF_FAILED(check_options(score, error));
  for (;;) {
    const mpt_status status = score_with(options, score, samples, scores, error);
    if ((status != MPT_ERROR_MEMORY && status != MPT_ERROR_DEVICE_MEMORY) || samples == 1)
      return status;
    network_scores_clear(scores);
    samples /= 2;
  }
}
