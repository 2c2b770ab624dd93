/* A step of a session, and what it carries to the next. */
#include "base/hash.h"
#include "kernels/step_rules.h"
#include "policy/legal.h"
#include "runtime/plan.h"
#include <string.h>

/* Steps are counted on the device; the host tells it which number the count begins at. */
static mpt_status number_steps(mpt_session *session, int64_t step, mpt_error *error) {
  int64_t first = step - session->ended;
  if (first == session->first_step)
    return MPT_OK;
  session->first_step = first;
  return mpt_memory_upload(session->queue, &first, sizeof first, &session->state->first_step,
                           error);
}

mpt_status mpt_session_step_begin(mpt_session *session, int64_t step, mpt_error *error) {
  if (session->workspace == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the session has no workspace: call mpt_session_set_workspace first");
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "step %lld begins before step %lld ended",
                    (long long)step, (long long)session->step);
  mpt_session_forget_activations(session);
  mpt_session_weights_begin(session);
  session->collecting = false;
  if (session->mode == MPT_RUN_TRAIN) {
    MPT_RETURN_IF_FAILED(mpt_step_begin(session->queue, session->state, session->scales,
                                        session->copy_count, error));
    mpt_session_scales_step_begin(session);
    MPT_RETURN_IF_FAILED(number_steps(session, step, error));
    session->pending = false;
    session->collecting = mpt_session_collects(session, step);
    MPT_RETURN_IF_FAILED(mpt_watch_begin(session, error));
    for (int i = 0; i < session->copy_count; i++)
      session->copies[i].cast_in_step = 0;
    for (int i = 0; i < session->backward_count; i++)
      session->layers[session->backward_order[i]].gradient.data = NULL;
    session->backward_count = 0;
  }
  session->step = step;
  session->in_step = true;
  return MPT_OK;
}

mpt_status mpt_session_microbatch(mpt_session *session, mpt_error *error) {
  if (!session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a micro-batch outside a step: call mpt_session_step_begin first");
  mpt_session_forget_activations(session);
  return session->mode == MPT_RUN_TRAIN ? mpt_watch_microbatch(session, error) : MPT_OK;
}

const mpt_step_state *mpt_session_state(const mpt_session *session) {
  return session->state;
}

float mpt_session_loss_scale(const mpt_session *session) {
  mpt_step_state state;
  return mpt_watch_state(session, &state, NULL) == MPT_OK ? state.loss_scale
                                                          : session->initial.loss_scale;
}

/* As a fill, which a graph that is captured may hold: an upload may not. */
static mpt_status end_without_gradients(mpt_session *session, mpt_error *error) {
  const int32_t without = 2;
  float bits;
  memcpy(&bits, &without, sizeof bits);
  mpt_tensor pending = mpt_tensor_of(&session->state->pending, MPT_FP32, 1, (int64_t[]){1});
  pending.device = mpt_queue_device(session->queue);
  return mpt_fill(session->queue, &pending, bits, error);
}

/* Looks at the gradients; a step without any is only counted. */
static mpt_status check_gradients(mpt_session *session, const mpt_tensor *const *gradients,
                                  int count, float max_norm, mpt_error *error) {
  if (count == 0)
    return end_without_gradients(session, error);
  int64_t *overflows = count <= session->gradient_capacity ? session->overflows : NULL;
  MPT_RETURN_IF_FAILED(mpt_gradient_check(session->queue, gradients, count, max_norm,
                                          session->state, overflows, error));
  mpt_watch_gradients(session, gradients, count);
  return MPT_OK;
}

mpt_status mpt_session_step_end(mpt_session *session, const mpt_tensor *const *gradients, int count,
                                float max_norm, const mpt_step_state **state, mpt_error *error) {
  if (!session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a step ends that has not begun: call mpt_session_step_begin first");
  if (session->mode == MPT_RUN_TRAIN) {
    MPT_RETURN_IF_FAILED(check_gradients(session, gradients, count, max_norm, error));
    session->ended++;
    session->pending = true;
    if (session->collecting) {
      MPT_RETURN_IF_FAILED(mpt_watch_weights(session, error));
      MPT_RETURN_IF_FAILED(mpt_watch_keep(session, session->step, error));
    }
  }
  session->in_step = false;
  if (state != NULL)
    *state = session->state;
  /* The processor's memory is the host's: nothing is waited for. */
  return mpt_queue_device(session->queue).kind == MPT_DEVICE_CPU
             ? mpt_session_scales_read(session, error)
             : MPT_OK;
}

mpt_status mpt_session_step_again(mpt_session *session, int64_t step, mpt_error *error) {
  if (session->in_step || !session->pending || session->mode != MPT_RUN_TRAIN)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "step %lld cannot be run again from a recording: no training step has ended "
                    "before it",
                    (long long)step);
  if (session->began_with_copies && !mpt_session_weights_come(session))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "step %lld cannot be run again from a recording: the copies of weights that it "
                    "reads have been forgotten",
                    (long long)step);
  MPT_RETURN_IF_FAILED(mpt_watch_to_ring(session, error));
  if (mpt_session_collects(session, step))
    MPT_RETURN_IF_FAILED(mpt_watch_keep(session, step, error));
  MPT_RETURN_IF_FAILED(number_steps(session, step, error));
  for (int i = 0; i < session->copy_count; i++)
    session->copies[i].cast += session->copies[i].cast_in_step;
  session->step = step;
  session->ended++;
  return MPT_OK;
}

/* ---- checkpoints ---- */

typedef struct saved_state {
  char magic[8];
  uint64_t plan; /* of what was planned: layers, copies, scaling */
  int64_t applied, good_steps;
  float loss_scale;
  uint32_t reserved; /* no byte of a file is left to chance */
} saved_state;

static const char magic[8] = "mptses1";

static uint64_t plan_hash(const mpt_session *session) {
  uint64_t hash = MPT_HASH_START;
  for (int i = 0; i < session->layer_count; i++) {
    const char *name = session->layers[i].given.info.name;
    hash = mpt_hash_bytes(hash, name, strlen(name) + 1);
  }
  for (int i = 0; i < session->copy_count; i++) {
    const operand_copy *copy = &session->copies[i];
    int32_t facts[] = {copy->source, (int32_t)copy->format, (int32_t)copy->scaling.mode,
                       copy->scaling.history, copy->scaling.margin};
    hash = mpt_hash_bytes(hash, facts, sizeof facts);
  }
  return hash;
}

static size_t history_bytes(const operand_copy *copy) {
  return (size_t)copy->scaling.history * sizeof(uint32_t);
}

static bool is_delayed(const operand_copy *copy) {
  return copy->scaling.mode == MPT_SCALING_DELAYED;
}

size_t mpt_session_state_bytes(const mpt_session *session) {
  size_t bytes = sizeof(saved_state);
  for (int i = 0; i < session->copy_count; i++)
    if (is_delayed(&session->copies[i]))
      bytes += 2 * sizeof(uint32_t) + history_bytes(&session->copies[i]);
  return bytes;
}

static mpt_status check_moment(const mpt_session *session, mpt_error *error) {
  if (session->in_step || session->workspace == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a session's state is read and set between steps, once it has a workspace");
  return MPT_OK;
}

static mpt_status check_transfer(const mpt_session *session, const void *bytes, size_t size,
                                 mpt_error *error) {
  if (bytes == NULL || size != mpt_session_state_bytes(session))
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "a session's state of %zu bytes where this session's has %zu", size,
                    mpt_session_state_bytes(session));
  return check_moment(session, error);
}

/* The history of a copy and its place, as after the step that ended last. */
static mpt_status get_history(const mpt_session *session, int index, char *to, mpt_error *error) {
  const operand_copy *copy = &session->copies[index];
  mpt_scale scale;
  uint32_t bits[POLICY_MAX_HISTORY];
  MPT_RETURN_IF_FAILED(
      mpt_memory_download(session->queue, &session->scales[index], sizeof scale, &scale, error));
  MPT_RETURN_IF_FAILED(
      mpt_memory_download(session->queue, scale.history, history_bytes(copy), bits, error));
  scale.history = bits;
  rule_scale_step(&scale, session->step, session->pending);
  uint32_t head[2] = {(uint32_t)scale.filled, (uint32_t)scale.next};
  memcpy(to, head, sizeof head);
  memcpy(to + sizeof head, bits, history_bytes(copy));
  return MPT_OK;
}

mpt_status mpt_session_get_state(const mpt_session *session, void *bytes, size_t size,
                                 mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_transfer(session, bytes, size, error));
  mpt_step_state state;
  MPT_RETURN_IF_FAILED(mpt_watch_state(session, &state, error));
  saved_state saved = {.plan = plan_hash(session),
                       .applied = state.applied,
                       .good_steps = state.good_steps,
                       .loss_scale = state.loss_scale};
  memcpy(saved.magic, magic, sizeof magic);
  memcpy(bytes, &saved, sizeof saved);
  char *at = (char *)bytes + sizeof saved;
  for (int i = 0; i < session->copy_count; i++) {
    if (!is_delayed(&session->copies[i]))
      continue;
    MPT_RETURN_IF_FAILED(get_history(session, i, at, error));
    at += 2 * sizeof(uint32_t) + history_bytes(&session->copies[i]);
  }
  return MPT_OK;
}

/* Whether every ring's place is inside it: bytes from a file are not to be trusted. */
static bool histories_valid(const mpt_session *session, const char *at) {
  for (int i = 0; i < session->copy_count; i++) {
    const operand_copy *copy = &session->copies[i];
    uint32_t length = (uint32_t)copy->scaling.history, head[2];
    if (!is_delayed(copy))
      continue;
    memcpy(head, at, sizeof head);
    if (head[0] > length || head[1] >= length)
      return false;
    at += sizeof head + history_bytes(copy);
  }
  return true;
}

static mpt_status set_history(mpt_session *session, int index, const char *from, mpt_error *error) {
  operand_copy *copy = &session->copies[index];
  uint32_t head[2], largest = 0;
  memcpy(head, from, sizeof head);
  const char *bits = from + sizeof head;
  for (uint32_t i = 0; i < head[0]; i++) {
    uint32_t amax_bits;
    memcpy(&amax_bits, bits + i * sizeof amax_bits, sizeof amax_bits);
    largest = amax_bits > largest ? amax_bits : largest;
  }
  mpt_scale scale;
  MPT_RETURN_IF_FAILED(
      mpt_memory_download(session->queue, &session->scales[index], sizeof scale, &scale, error));
  scale.filled = (int32_t)head[0];
  scale.next = (int32_t)head[1];
  scale.amax_bits = 0;
  rule_scale_set(&scale, largest);
  copy->has_history = copy->will_have_history = head[0] > 0;
  MPT_RETURN_IF_FAILED(
      mpt_memory_upload(session->queue, bits, history_bytes(copy), scale.history, error));
  return mpt_memory_upload(session->queue, &scale, sizeof scale, &session->scales[index], error);
}

static bool state_valid(const saved_state *saved) {
  return memcmp(saved->magic, magic, sizeof magic) == 0 && saved->applied >= 0 &&
         saved->loss_scale > 0.0f;
}

static mpt_status set_histories(mpt_session *session, const char *at, mpt_error *error) {
  for (int i = 0; i < session->copy_count; i++) {
    if (!is_delayed(&session->copies[i]))
      continue;
    MPT_RETURN_IF_FAILED(set_history(session, i, at, error));
    at += 2 * sizeof(uint32_t) + history_bytes(&session->copies[i]);
  }
  return MPT_OK;
}

static mpt_status set_counts(mpt_session *session, const saved_state *saved, bool same_policy,
                             mpt_error *error) {
  mpt_step_state state;
  MPT_RETURN_IF_FAILED(mpt_watch_state(session, &state, error));
  const bool had_one = saved->loss_scale != 1.0f; /* without an fp16 gradient it is 1 */
  if (same_policy || (had_one && state.dynamic != 0)) {
    state.loss_scale = saved->loss_scale;
    state.good_steps = saved->good_steps;
  }
  state.applied = saved->applied;
  session->pending = false;
  return mpt_memory_upload(session->queue, &state, sizeof state, session->state, error);
}

mpt_status mpt_session_set_state(mpt_session *session, const void *bytes, size_t size,
                                 mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_transfer(session, bytes, size, error));
  saved_state saved;
  memcpy(&saved, bytes, sizeof saved);
  const char *at = (const char *)bytes + sizeof saved;
  if (!state_valid(&saved) || saved.plan != plan_hash(session) || !histories_valid(session, at))
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "the session's state was saved for other layers or another policy");
  MPT_RETURN_IF_FAILED(mpt_session_forget_weights(session, error));
  MPT_RETURN_IF_FAILED(set_histories(session, at, error));
  return set_counts(session, &saved, true, error);
}

mpt_status mpt_session_adopt_state(mpt_session *session, const void *bytes, size_t size,
                                   mpt_error *error) {
  saved_state saved = {.applied = -1};
  MPT_RETURN_IF_FAILED(check_moment(session, error));
  if (bytes != NULL && size >= sizeof saved)
    memcpy(&saved, bytes, sizeof saved);
  if (!state_valid(&saved))
    return mpt_fail(error, MPT_ERROR_MISMATCH, "%zu bytes that are no session's state", size);
  const char *at = (const char *)bytes + sizeof saved;
  const bool same = saved.plan == plan_hash(session) && size == mpt_session_state_bytes(session) &&
                    histories_valid(session, at);
  MPT_RETURN_IF_FAILED(mpt_session_forget_weights(session, error));
  if (same)
    MPT_RETURN_IF_FAILED(set_histories(session, at, error));
  return set_counts(session, &saved, false, error);
}
