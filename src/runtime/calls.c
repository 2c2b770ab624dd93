/* Passes of a layer that runs more than once in a micro-batch. */
#include "runtime/plan.h"
#include <stddef.h>

bool mpt_session_runs_again(const mpt_session *session, int source) {
  for (int i = 0; i < session->layer_count; i++) {
    const session_layer *l = &session->layers[i];
    if (l->has_gemm && l->call_count > 1 && l->sources[MPT_INPUT] == source)
      return true;
  }
  return false;
}

static layer_call *find(session_layer *l, mpt_call token) {
  for (int i = 0; i < l->call_count; i++)
    if (l->calls[i].token == token)
      return &l->calls[i];
  return NULL;
}

/* The source gets other values: no copy of those before is read any more. */
static void begin_generation(mpt_session *session, int index, bool again) {
  operand_source *source = &session->sources[index];
  if (source->generation != 0) {
    mpt_session_forget(session, index);
    session->lite_is_of_microbatch = false;
    if (!again)
      source->collected_here = false;
  }
  source->generation = ++session->generations;
  source->passed = false;
}

/* The layers of an input name read one generation, each once. */
static bool reads_on(const mpt_session *session, const session_layer *l, const mpt_tensor *input) {
  const operand_source *source = &session->sources[l->sources[MPT_INPUT]];
  if (source->generation == 0 || source->passed || l->read_generation == source->generation)
    return false;
  return source->data == input->data || !mpt_session_runs_again(session, l->sources[MPT_INPUT]);
}

mpt_status mpt_session_call_begin(mpt_session *session, int layer, const mpt_tensor *input,
                                  mpt_call *call, mpt_error *error) {
  session_layer *l = &session->layers[layer];
  const bool again = *call != 0, waits = session->mode == MPT_RUN_TRAIN;
  layer_call *slot = find(l, *call);
  if (waits && slot == NULL && again)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s' runs again as pass %llu, and no such pass waits in this "
                    "micro-batch",
                    l->given.info.name, (unsigned long long)*call);
  if (waits && slot == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s': %d of its forward passes wait for their backward pass already: "
                    "say how many may in mpt_session_layer.calls",
                    l->given.info.name, l->call_count);
  if (!reads_on(session, l, input))
    begin_generation(session, l->sources[MPT_INPUT], again);
  l->read_generation = session->sources[l->sources[MPT_INPUT]].generation;
  if (!waits)
    return MPT_OK;
  if (!again)
    slot->token = ++session->tokens;
  slot->generation = l->read_generation;
  *call = slot->token;
  return MPT_OK;
}

void mpt_session_call_drop(mpt_session *session, int layer, mpt_call call) {
  layer_call *slot = call == 0 ? NULL : find(&session->layers[layer], call);
  if (slot != NULL)
    slot->token = 0;
}

mpt_status mpt_session_call_return(mpt_session *session, int layer, mpt_call call,
                                   mpt_error *error) {
  session_layer *l = &session->layers[layer];
  operand_source *source = &session->sources[l->sources[MPT_INPUT]];
  layer_call *slot = find(l, call);
  if (slot == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%s': no forward pass %llu waits for a backward pass in this "
                    "micro-batch",
                    l->given.info.name, (unsigned long long)call);
  if (source->generation != slot->generation) {
    mpt_session_forget(session, l->sources[MPT_INPUT]);
    source->generation = slot->generation;
  }
  source->passed = mpt_session_runs_again(session, l->sources[MPT_INPUT]);
  if (call != l->only)
    slot->token = 0;
  return MPT_OK;
}

void mpt_session_calls_forget(mpt_session *session) {
  for (int i = 0; i < session->layer_count; i++) {
    session_layer *l = &session->layers[i];
    for (int j = 0; j < l->call_count; j++)
      l->calls[j].token = 0;
    l->ran_alone = false;
    l->only = 0;
    l->read_generation = 0;
    l->backward_passes = 0;
  }
}

void mpt_session_forget_activations(mpt_session *session) {
  mpt_session_forget_operands(session);
  mpt_session_calls_forget(session);
}
