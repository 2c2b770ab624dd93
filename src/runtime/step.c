/* A step of a session, and what it carries to the next. */
#include "runtime/plan.h"
#include <stdlib.h>
#include <string.h>

mpt_status mpt_session_step_begin(mpt_session *session, int64_t step, mpt_error *error) {
  if (session->workspace == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the session has no workspace: call mpt_session_set_workspace first");
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "step %lld begins before step %lld ended",
                    (long long)step, (long long)session->step);
  session_forget_all(session);
  session->step = step;
  session->in_step = true;
  session->collecting = false;
  if (session->mode != MPT_RUN_TRAIN)
    return MPT_OK;
  session->collecting =
      session->statistics != MPT_STATISTICS_OFF && step % session->statistics_every == 0;
  for (int i = 0; i < session->source_count; i++)
    session->sources[i].collected = false;
  for (int i = 0; i < session->backward_count; i++)
    session->layers[session->backward_order[i]].gradient.data = NULL;
  session->backward_count = 0;
  *session->state = (mpt_step_state){.loss_scale = session->loss_scale.scale,
                                     .clip = 1.0f,
                                     .applied = session->state->applied + session->update_pending};
  session->update_pending = false;
  return MPT_OK;
}

mpt_status mpt_session_microbatch(mpt_session *session, mpt_error *error) {
  if (!session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a micro-batch outside a step: call mpt_session_step_begin first");
  session_forget_activations(session);
  return MPT_OK;
}

float mpt_session_loss_scale(const mpt_session *session) {
  return session->in_step ? session->state->loss_scale : session->loss_scale.scale;
}

mpt_status mpt_session_step_end(mpt_session *session, const mpt_tensor *const *gradients, int count,
                                float max_norm, const mpt_step_state **state, mpt_error *error) {
  if (!session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a step ends that has not begun: call mpt_session_step_begin first");
  if (session->mode == MPT_RUN_TRAIN) {
    if (count > 0)
      MPT_RETURN_IF_FAILED(mpt_gradient_check(session->queue, gradients, count, max_norm,
                                              session->state, NULL, error));
    bool overflow = session->state->overflow != 0;
    session->report.steps++;
    if (overflow) {
      session->report.skipped++;
      int layer = session->report.blamed_layer = loss_scale_blame(session);
      if (!session->loss_scale.dynamic && layer >= 0)
        watch_nonfinite(session, layer, MPT_GRAD_OUTPUT);
    }
    loss_scale_move(session, overflow);
    session_scales_step_end(session);
    session->update_pending = !overflow && count > 0;
    watch_deliver(session);
  }
  session->in_step = false;
  if (state != NULL)
    *state = session->state;
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

/* FNV-1a (Fowler, Noll, Vo). */
static void hash_bytes(uint64_t *hash, const void *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    /* The bytes of an integer are defined. NOLINTNEXTLINE(clang-analyzer-core.*) */
    *hash = (*hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

static uint64_t plan_hash(const mpt_session *session) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (int i = 0; i < session->layer_count; i++)
    hash_bytes(&hash, session->layers[i].given.info.name,
               strlen(session->layers[i].given.info.name) + 1);
  for (int i = 0; i < session->copy_count; i++) {
    const operand_copy *copy = &session->copies[i];
    int32_t facts[] = {copy->source, (int32_t)copy->format, (int32_t)copy->scaling.mode,
                       copy->scaling.history, copy->scaling.margin};
    hash_bytes(&hash, facts, sizeof facts);
  }
  return hash;
}

size_t mpt_session_state_bytes(const mpt_session *session) {
  size_t bytes = sizeof(saved_state);
  for (int i = 0; i < session->copy_count; i++)
    if (session->copies[i].history.length > 0)
      bytes += (2 + (size_t)session->copies[i].history.length) * sizeof(uint32_t);
  return bytes;
}

static mpt_status check_transfer(const mpt_session *session, const void *bytes, size_t size,
                                 mpt_error *error) {
  if (bytes == NULL || size != mpt_session_state_bytes(session))
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "a session's state of %zu bytes where this session's has %zu", size,
                    mpt_session_state_bytes(session));
  if (session->in_step || session->workspace == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a session's state is read and set between steps, once it has a workspace");
  return MPT_OK;
}

mpt_status mpt_session_get_state(const mpt_session *session, void *bytes, size_t size,
                                 mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_transfer(session, bytes, size, error));
  saved_state saved = {.plan = plan_hash(session),
                       .applied = session->state->applied + session->update_pending,
                       .good_steps = session->loss_scale.good_steps,
                       .loss_scale = session->loss_scale.scale};
  memcpy(saved.magic, magic, sizeof magic);
  memcpy(bytes, &saved, sizeof saved);
  char *at = (char *)bytes + sizeof saved;
  for (int i = 0; i < session->copy_count; i++) {
    const amax_history *h = &session->copies[i].history;
    if (h->length == 0)
      continue;
    uint32_t head[2] = {(uint32_t)h->filled, (uint32_t)h->next};
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, h->bits, (size_t)h->length * sizeof(uint32_t));
    at += sizeof head + (size_t)h->length * sizeof(uint32_t);
  }
  return MPT_OK;
}

/* Whether every ring's place is inside it: bytes from a file are not to be trusted. */
static bool histories_valid(const mpt_session *session, const char *at) {
  for (int i = 0; i < session->copy_count; i++) {
    uint32_t length = (uint32_t)session->copies[i].history.length, head[2];
    if (length == 0)
      continue;
    memcpy(head, at, sizeof head);
    if (head[0] > length || head[1] >= length)
      return false;
    at += sizeof head + length * sizeof(uint32_t);
  }
  return true;
}

mpt_status mpt_session_set_state(mpt_session *session, const void *bytes, size_t size,
                                 mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_transfer(session, bytes, size, error));
  saved_state saved;
  memcpy(&saved, bytes, sizeof saved);
  const char *at = (const char *)bytes + sizeof saved;
  if (memcmp(saved.magic, magic, sizeof magic) != 0 || saved.plan != plan_hash(session) ||
      saved.applied < 0 || !(saved.loss_scale > 0.0f) || !histories_valid(session, at))
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "the session's state was saved for other layers or another policy");
  for (int i = 0; i < session->copy_count; i++) {
    amax_history *h = &session->copies[i].history;
    if (h->length == 0)
      continue;
    uint32_t head[2];
    memcpy(head, at, sizeof head);
    h->filled = (int)head[0], h->next = (int)head[1];
    memcpy(h->bits, at + sizeof head, (size_t)h->length * sizeof(uint32_t));
    at += sizeof head + (size_t)h->length * sizeof(uint32_t);
  }
  session->loss_scale.scale = saved.loss_scale;
  session->loss_scale.good_steps = saved.good_steps;
  session->state->applied = saved.applied;
  session->update_pending = false;
  return MPT_OK;
}
