/* Statistics of a step, and the first value that was not finite. */
#include "kernels/step_rules.h"
#include "runtime/plan.h"
#include <stdlib.h>

/* Layers in the order in which a step comes to them: forward for inputs and weights, then backward
 * for gradients. */
static int place_in_step(const mpt_session *session, int layer, mpt_operand operand) {
  return operand == MPT_GRAD_OUTPUT ? 2 * session->layer_count - layer : layer;
}

static void note_nonfinite(mpt_session *session, int64_t step, int layer, mpt_operand operand) {
  mpt_session_report *r = &session->report;
  if (r->nonfinite_step >= 0 &&
      (r->nonfinite_step < step ||
       (r->nonfinite_step == step &&
        place_in_step(session, r->nonfinite_layer, r->nonfinite_operand) <=
            place_in_step(session, layer, operand))))
    return;
  r->nonfinite_step = step;
  r->nonfinite_layer = layer;
  r->nonfinite_operand = operand;
}

/* ---- statistics ---- */

/* What is collected of a source, and of all: lite ones are small. */
static bool collects_lite(const mpt_session *session) {
  return session->statistics == MPT_STATISTICS_LITE;
}

static size_t bytes_of_step(const mpt_session *session) {
  return (size_t)session->source_count *
         (collects_lite(session) ? sizeof(mpt_lite) : sizeof(mpt_statistics));
}

static void *of_this_step(const mpt_session *session) {
  return collects_lite(session) ? (void *)session->source_lite : session->source_statistics;
}

static char *in_ring(const mpt_session *session, int place) {
  return session->ring + (size_t)place * bytes_of_step(session);
}

/* Memory of the device as a row of words, to be cleared or moved: bits, not numbers. */
static mpt_tensor words_at(const mpt_session *session, void *data, size_t bytes) {
  int64_t words = (int64_t)(bytes / sizeof(float));
  mpt_tensor view = mpt_tensor_of(data, MPT_FP32, 1, &words);
  view.device = mpt_queue_device(session->queue);
  return view;
}

static mpt_status clear(mpt_session *session, void *data, size_t bytes, mpt_error *error) {
  mpt_tensor all = words_at(session, data, bytes);
  return mpt_fill(session->queue, &all, 0.0f, error);
}

static bool is_scaled(const mpt_session *session) {
  for (int i = 0; i < session->source_count; i++)
    if (session->sources[i].scaled && session->sources[i].operand != MPT_WEIGHT)
      return true;
  return false;
}

static size_t lite_bytes(const mpt_session *session) {
  return (size_t)session->source_count * sizeof(mpt_lite);
}

static mpt_status clear_lite(mpt_session *session, mpt_error *error) {
  session->lite_is_of_microbatch = session->lite_is_clear = true;
  return clear(session, session->source_lite, lite_bytes(session), error);
}

static bool forget_coming_lite(mpt_session *session) {
  bool any = false;
  for (int i = 0; i < session->source_count; i++) {
    any = any || session->sources[i].lite_comes;
    session->sources[i].lite_comes = false;
  }
  return any;
}

/* The optimizer may see more before the step begins. */
mpt_status mpt_watch_forget_new_weights(mpt_session *session, mpt_error *error) {
  return forget_coming_lite(session)
             ? clear(session, session->coming_lite, lite_bytes(session), error)
             : MPT_OK;
}

/* The step begins with what the optimizer saw of the weights, in place of zeros. */
static mpt_status take_coming_lite(mpt_session *session, mpt_error *error) {
  for (int i = 0; i < session->source_count; i++) {
    operand_source *source = &session->sources[i];
    source->collected = source->collected_here = source->lite_comes;
  }
  if (forget_coming_lite(session)) {
    mpt_tensor from = words_at(session, session->coming_lite, lite_bytes(session));
    mpt_tensor to = words_at(session, session->source_lite, lite_bytes(session));
    MPT_RETURN_IF_FAILED(mpt_copy(session->queue, &from, &to, error));
    session->lite_is_of_microbatch = session->lite_is_clear = true;
  } else {
    MPT_RETURN_IF_FAILED(clear_lite(session, error));
  }
  return clear(session, session->coming_lite, lite_bytes(session), error);
}

/* A recording of a step that collects is followed by itself only where every step collects. */
mpt_lite *mpt_watch_lite_of_new_weight(mpt_session *session, const mpt_tensor *weight) {
  if (!session->collecting || !collects_lite(session) || session->statistics_every != 1)
    return NULL;
  for (int i = 0; i < session->source_count; i++) {
    operand_source *source = &session->sources[i];
    if (source->operand != MPT_WEIGHT || source->data != weight->data || source->lite_comes ||
        source->rows * source->columns != mpt_tensor_count(weight))
      continue;
    source->comes = source->lite_comes = true;
    return &session->coming_lite[i];
  }
  return NULL;
}

mpt_status mpt_watch_begin(mpt_session *session, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_watch_to_ring(session, error));
  session->lite_is_of_microbatch = false;
  for (int i = 0; session->collecting && i < session->source_count; i++)
    session->sources[i].collected = session->sources[i].due = false;
  if (session->collecting && !collects_lite(session))
    MPT_RETURN_IF_FAILED(clear(session, session->source_statistics, bytes_of_step(session), error));
  if (session->collecting && collects_lite(session))
    return take_coming_lite(session, error);
  return is_scaled(session) ? clear_lite(session, error) : MPT_OK;
}

/* Statistics add up the micro-batches of a step, a scale is of one: where both are wanted, scales
 * of all but the first are measured. */
mpt_status mpt_watch_microbatch(mpt_session *session, mpt_error *error) {
  if (session->lite_is_clear || !is_scaled(session))
    return MPT_OK;
  if (!session->collecting || !collects_lite(session))
    return clear_lite(session, error);
  session->lite_is_of_microbatch = false;
  return MPT_OK;
}

mpt_lite *mpt_watch_lite(mpt_session *session, int source) {
  const operand_source *s = &session->sources[source];
  bool collected = session->collecting && collects_lite(session) && !s->collected_here;
  bool scaled = session->lite_is_of_microbatch && s->scaled && s->data == NULL;
  if (!session->in_step || session->mode != MPT_RUN_TRAIN || (!collected && !scaled))
    return NULL;
  session->lite_is_clear = false;
  return &session->source_lite[source];
}

static bool in_one_piece(const mpt_tensor *matrix) {
  return matrix->shape[0] == 1 || matrix->strides[0] == matrix->shape[1];
}

/* Once for each tensor: an input that layers share counts for all of them, micro-batches of a step
 * are added up, a weight is the same in all and stays so until the step ends. */
mpt_status mpt_watch_operand(mpt_session *session, int layer, mpt_operand operand,
                             const mpt_tensor *tensor, mpt_error *error) {
  int index = session->layers[layer].sources[operand];
  operand_source *source = &session->sources[index];
  if (!session->collecting || source->collected_here)
    return MPT_OK;
  if (tensor->lite == &session->source_lite[index] && collects_lite(session)) {
    /* its writer has looked at it */
  } else if (operand == MPT_WEIGHT && in_one_piece(tensor)) {
    source->weight = *tensor;
    source->due = true;
  } else if (collects_lite(session)) {
    MPT_RETURN_IF_FAILED(
        mpt_collect_lite(session->queue, tensor, &session->source_lite[index], error));
  } else {
    mpt_statistics *of_source = &session->source_statistics[index];
    mpt_statistics *scratch = &session->source_statistics[session->source_count];
    MPT_RETURN_IF_FAILED(
        mpt_collect(session->queue, tensor, true, source->collected ? scratch : of_source, error));
    if (source->collected)
      MPT_RETURN_IF_FAILED(mpt_merge_statistics(session->queue, of_source, scratch, error));
  }
  source->collected = source->collected_here = true;
  return MPT_OK;
}

mpt_status mpt_watch_weights(mpt_session *session, mpt_error *error) {
  int count = 0;
  for (int i = 0; i < session->source_count; i++) {
    operand_source *source = &session->sources[i];
    if (!source->due)
      continue;
    source->due = false;
    session->collections[count++] =
        (mpt_collection){.x = &source->weight,
                         .lite = collects_lite(session) ? &session->source_lite[i] : NULL,
                         .full = collects_lite(session) ? NULL : &session->source_statistics[i]};
  }
  return count > 0 ? mpt_collect_all(session->queue, session->collections, count, error) : MPT_OK;
}

/* On a GPU they stay where the step left them, so that it is not waited for; the next step's begin
 * takes them away. */
mpt_status mpt_watch_keep(mpt_session *session, int64_t step, mpt_error *error) {
  session->kept = true;
  session->kept_step = step;
  return session->ring_length > 1 ? MPT_OK : mpt_watch_deliver(session, error);
}

mpt_status mpt_watch_to_ring(mpt_session *session, mpt_error *error) {
  if (!session->kept)
    return MPT_OK;
  if (session->ring_length == 1 || session->ring_used == session->ring_length)
    return mpt_watch_deliver(session, error);
  size_t bytes = bytes_of_step(session);
  mpt_tensor from = words_at(session, of_this_step(session), bytes);
  mpt_tensor to = words_at(session, in_ring(session, session->ring_used), bytes);
  MPT_RETURN_IF_FAILED(mpt_copy(session->queue, &from, &to, error));
  session->ring_steps[session->ring_used++] = session->kept_step;
  session->kept = false;
  return MPT_OK;
}

/* Of the `place`-th step among those that have arrived. */
static mpt_statistics arrived(const mpt_session *session, int place, int source) {
  const char *of_step = (const char *)session->delivered + (size_t)place * bytes_of_step(session);
  if (collects_lite(session))
    return mpt_lite_statistics((const mpt_lite *)of_step + source);
  return ((const mpt_statistics *)of_step)[source];
}

static void deliver_step(mpt_session *session, int64_t step, int place) {
  for (int layer = 0; layer < session->layer_count; layer++) {
    const session_layer *l = &session->layers[layer];
    for (int operand = 0; l->has_gemm && operand < MPT_OPERAND_COUNT; operand++) {
      mpt_statistics seen = arrived(session, place, l->sources[operand]);
      if (seen.count == 0) /* not met in that step */
        continue;
      if (seen.nans > 0 || seen.infinities > 0)
        note_nonfinite(session, step, layer, (mpt_operand)operand);
      if (session->on_statistics != NULL)
        session->on_statistics(session->context, step, layer, (mpt_operand)operand, &seen);
    }
  }
}

mpt_status mpt_watch_deliver(mpt_session *session, mpt_error *error) {
  int used = session->ring_used;
  if (used > 0) {
    MPT_RETURN_IF_FAILED(mpt_memory_download(session->queue, session->ring,
                                             (size_t)used * bytes_of_step(session),
                                             session->delivered, error));
    session->ring_used = 0;
    for (int i = 0; i < used; i++)
      deliver_step(session, session->ring_steps[i], i);
  }
  if (!session->kept)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_memory_download(session->queue, of_this_step(session),
                                           bytes_of_step(session), session->delivered, error));
  session->kept = false;
  deliver_step(session, session->kept_step, 0);
  return MPT_OK;
}

/* ---- gradients ---- */

static int layer_of(const mpt_session *session, const void *gradient) {
  for (int i = 0; i < session->backward_count; i++)
    if (session->layers[session->backward_order[i]].gradient.data == gradient)
      return session->backward_order[i];
  return -1;
}

void mpt_watch_gradients(mpt_session *session, const mpt_tensor *const *gradients, int count) {
  for (int i = 0; i < session->gradient_capacity && i < count; i++) {
    if (session->gradient_data[i] == gradients[i]->data)
      continue;
    session->gradient_data[i] = gradients[i]->data;
    session->gradient_layer[i] = layer_of(session, gradients[i]->data);
  }
}

static int place_in_backward(const mpt_session *session, int layer) {
  for (int i = 0; i < session->backward_count; i++)
    if (session->backward_order[i] == layer)
      return i;
  return session->backward_count;
}

/* The first layer, in the order of the backward pass, whose parameter gradient was not finite in
 * the last step that was skipped; *step is that step, counted from the session's first. */
static mpt_status blame(mpt_session *session, int *layer, int64_t *step, mpt_error *error) {
  size_t bytes = (size_t)session->gradient_capacity * sizeof(int64_t);
  int64_t *overflows = malloc(bytes);
  *layer = -1;
  *step = -1;
  if (overflows == NULL)
    return mpt_fail_memory(error, "a report", bytes);
  mpt_status status =
      mpt_memory_download(session->queue, session->overflows, bytes, overflows, error);
  for (int i = 0; status == MPT_OK && i < session->gradient_capacity; i++)
    if (overflows[i] - 1 > *step)
      *step = overflows[i] - 1;
  for (int i = 0; status == MPT_OK && *step >= 0 && i < session->gradient_capacity; i++) {
    int of = session->gradient_layer[i];
    if (overflows[i] - 1 == *step && of >= 0 &&
        (*layer < 0 || place_in_backward(session, of) < place_in_backward(session, *layer)))
      *layer = of;
  }
  free(overflows);
  return status;
}

/* ---- the report ---- */

mpt_status mpt_watch_state(const mpt_session *session, mpt_step_state *state, mpt_error *error) {
  if (session->workspace == NULL) {
    *state = session->initial;
    return MPT_OK;
  }
  MPT_RETURN_IF_FAILED(
      mpt_memory_download(session->queue, session->state, sizeof *state, state, error));
  if (!session->in_step)
    rule_state_step(state);
  return MPT_OK;
}

static mpt_status refresh_scales(mpt_session *session, mpt_error *error) {
  size_t bytes = (size_t)session->copy_count * sizeof(mpt_scale);
  mpt_scale *scales = malloc(bytes + 1);
  if (scales == NULL)
    return mpt_fail_memory(error, "a report", bytes);
  mpt_status status = mpt_memory_download(session->queue, session->scales, bytes, scales, error);
  if (status == MPT_OK)
    mpt_session_scales_learn(session, scales);
  for (int i = 0; status == MPT_OK && i < session->copy_count; i++) {
    const operand_source *source = &session->sources[session->copies[i].source];
    if (scales[i].nonfinite)
      note_nonfinite(session, scales[i].nonfinite_step, source->layer, source->operand);
    else if (session->pending && !session->in_step && scales[i].amax_bits >= RULE_INFINITY_BITS)
      note_nonfinite(session, session->step, source->layer, source->operand);
  }
  free(scales);
  return status;
}

mpt_status mpt_watch_refresh(mpt_session *session, mpt_error *error) {
  mpt_step_state state;
  if (!session->in_step)
    MPT_RETURN_IF_FAILED(mpt_watch_deliver(session, error));
  MPT_RETURN_IF_FAILED(mpt_watch_state(session, &state, error));
  mpt_session_report *r = &session->report;
  r->loss_scale = state.loss_scale;
  r->loss_scale_at_floor = state.at_floor != 0;
  r->steps = state.steps;
  if (session->workspace == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(refresh_scales(session, error));
  if (state.skipped == r->skipped)
    return MPT_OK;
  r->skipped = state.skipped;
  int64_t step;
  MPT_RETURN_IF_FAILED(blame(session, &r->blamed_layer, &step, error));
  if (!state.dynamic && r->blamed_layer >= 0)
    note_nonfinite(session, session->first_step + step, r->blamed_layer, MPT_GRAD_OUTPUT);
  return MPT_OK;
}
