#include "base/struct_size.h"
#include "mptune/version.h"
#include "runtime/plan.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_CALLS = 65536 };

mpt_session_config mpt_session_config_default(void) {
  return (mpt_session_config){.struct_size = sizeof(mpt_session_config),
                              .loss_scale = {MPT_LOSS_SCALE_DYNAMIC, 65536.0f},
                              .statistics = MPT_STATISTICS_OFF,
                              .statistics_every = 1};
}

static mpt_status check_config(const mpt_session_config *given, mpt_session_config *config,
                               mpt_error *error) {
  if (given == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the session's configuration is NULL");
  *config = mpt_session_config_default();
  MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_session_config",
                                        MPT_END_OF(mpt_session_config, context), config,
                                        sizeof *config, error));
  if (config->queue == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the session's configuration has no queue");
  if ((config->policy == NULL) == (config->assignment == NULL))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a session takes a policy or an assignment, and not both");
  if ((unsigned)config->statistics > MPT_STATISTICS_FULL || config->statistics_every < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "statistics are off, lite or full, every 1 or more steps");
  return MPT_OK;
}

/* What a newer header would ask for stands where this one has zeros. */
static mpt_status check_layers(const mpt_session_layer *layers, int count, mpt_error *error) {
  for (int i = 0; i < count; i++) {
    const mpt_session_layer *layer = &layers[i];
    for (size_t j = 0; j < sizeof layer->reserved / sizeof *layer->reserved; j++)
      if (layer->reserved[j] != 0)
        return mpt_fail(error, MPT_ERROR_VERSION,
                        "layer %d of the session asks for what libmptune %s does not know: set "
                        "`reserved` to zeros",
                        i, MPTUNE_VERSION);
    if (layer->calls < 0 || layer->calls > MAX_CALLS)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%.*s' says %d calls, 0 to %d are known",
                      MPT_MAX_NAME - 1, layer->info.name, layer->calls, MAX_CALLS);
    if (layer->weight_format != MPT_FP32 && layer->weight_format != MPT_BF16 &&
        layer->weight_format != MPT_FP16)
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "layer '%.*s': weights are stored as fp32, bf16 or fp16", MPT_MAX_NAME - 1,
                      layer->info.name);
  }
  return MPT_OK;
}

static mpt_status check_names(const mpt_session_layer *layers, int count, mpt_error *error) {
  for (int i = 0; i < count; i++) {
    const char *name = layers[i].info.name;
    if (memchr(name, '\0', MPT_MAX_NAME) == NULL || name[0] == '\0')
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer %d of the session has no name", i);
    for (int j = 0; j < i; j++)
      if (strcmp(name, layers[j].info.name) == 0)
        return mpt_fail(error, MPT_ERROR_ARGUMENT, "two layers of the session are named '%s'",
                        name);
  }
  return MPT_OK;
}

static mpt_status set_policies(mpt_session *session, const mpt_session_config *config,
                               mpt_error *error) {
  int count = session->layer_count;
  if (config->assignment != NULL) {
    for (int i = 0; i < count; i++)
      session->layers[i].policy = config->assignment[i];
    return MPT_OK;
  }
  mpt_layer_info *infos = calloc((size_t)count, sizeof *infos);
  mpt_layer_policy *policies = calloc((size_t)count, sizeof *policies);
  mpt_status status;
  if (infos == NULL || policies == NULL) {
    status = mpt_fail_memory(error, "the policy's layers", (size_t)count * sizeof *infos);
    goto fail;
  }
  for (int i = 0; i < count; i++)
    infos[i] = session->layers[i].given.info;
  MPT_TRY(mpt_policy_resolve(config->policy, infos, count, config->resolve, policies, error));
  for (int i = 0; i < count; i++)
    session->layers[i].policy = policies[i];
fail:
  free(infos);
  free(policies);
  return status;
}

mpt_status mpt_session_open(const mpt_session_config *given, const mpt_session_layer *layers,
                            int count, mpt_session **out, mpt_error *error) {
  mpt_session_config config = {0};
  MPT_RETURN_IF_FAILED(check_config(given, &config, error));
  if (layers == NULL || count < 1 || out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a session needs at least one layer");
  MPT_RETURN_IF_FAILED(check_names(layers, count, error));
  MPT_RETURN_IF_FAILED(check_layers(layers, count, error));

  mpt_status status = MPT_OK;
  mpt_session *session = calloc(1, sizeof *session);
  if (session == NULL)
    return mpt_fail_memory(error, "a session", sizeof *session);
  session->queue = config.queue;
  session->statistics = config.statistics;
  session->statistics_every = config.statistics_every;
  session->on_statistics = config.on_statistics;
  session->context = config.context;
  session->report.blamed_layer = session->report.nonfinite_layer = -1;
  session->report.nonfinite_step = -1;
  session->layers = calloc((size_t)count, sizeof *session->layers);
  if (session->layers == NULL) {
    status = mpt_fail_memory(error, "a session", (size_t)count * sizeof *session->layers);
    goto fail;
  }
  session->layer_count = count;
  for (int i = 0; i < count; i++)
    session->layers[i].given = layers[i];
  MPT_TRY(set_policies(session, &config, error));
  MPT_TRY(mpt_session_plan(session, error));
  if (config.policy != NULL && mpt_policy_has_loss_scale(config.policy))
    config.loss_scale = mpt_policy_loss_scale(config.policy);
  MPT_TRY(mpt_loss_scale_open(session, config.loss_scale, config.steps, error));
  *out = session;
  return MPT_OK;
fail:
  mpt_session_release(session);
  return status;
}

void mpt_session_close(mpt_session *session) {
  if (session != NULL)
    mpt_session_release(session);
}

size_t mpt_session_workspace_bytes(const mpt_session *session) {
  return session->workspace_bytes;
}

/* What lies in the workspace besides copies begins with these values. */
mpt_status mpt_session_start_workspace(mpt_session *session, mpt_error *error) {
  size_t bytes = (size_t)session->gradient_capacity * sizeof(int64_t);
  int64_t *zeros = calloc(1, bytes);
  if (zeros == NULL)
    return mpt_fail_memory(error, "a session", bytes);
  mpt_status status = mpt_memory_upload(session->queue, zeros, bytes, session->overflows, error);
  free(zeros);
  MPT_RETURN_IF_FAILED(status);
  MPT_RETURN_IF_FAILED(mpt_memory_upload(session->queue, &session->initial, sizeof session->initial,
                                         session->state, error));
  return mpt_session_scales_start(session, error);
}

mpt_status mpt_session_set_workspace(mpt_session *session, void *workspace, size_t bytes,
                                     mpt_error *error) {
  if (session->workspace != NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the session has its workspace already");
  if (workspace == NULL || (uintptr_t)workspace % 256 != 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the workspace must be aligned to 256 bytes");
  if (bytes < session->workspace_bytes)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the workspace has %zu bytes, the session needs %zu",
                    bytes, session->workspace_bytes);
  char *base = workspace;
  session->workspace = base;
  session->state = workspace;
  session->scales = (mpt_scale *)(base + session->scales_offset);
  session->source_statistics = (mpt_statistics *)(base + session->statistics_offset);
  session->source_lite = (mpt_lite *)(base + session->lite_offset);
  session->coming_lite = (mpt_lite *)(base + session->coming_lite_offset);
  session->ring = base + session->ring_offset;
  session->overflows = (int64_t *)(base + session->overflows_offset);
  return mpt_session_start_workspace(session, error);
}

int mpt_session_find(const mpt_session *session, const char *name) {
  for (int i = 0; i < session->layer_count; i++)
    if (strcmp(session->layers[i].given.info.name, name) == 0)
      return i;
  return -1;
}

const mpt_layer_policy *mpt_session_layer_policy(const mpt_session *session, int layer) {
  return layer < 0 || layer >= session->layer_count ? NULL : &session->layers[layer].policy;
}

static mpt_format storage(const mpt_session *session, int layer, mpt_gemm_kind gemm) {
  if (session->mode == MPT_RUN_PLAIN || layer < 0 || layer >= session->layer_count)
    return MPT_FP32;
  const session_layer *l = &session->layers[layer];
  return mpt_layer_policy_storage(&l->policy, l->has_gemm, gemm);
}

mpt_format mpt_session_output_format(const mpt_session *session, int layer) {
  return storage(session, layer, MPT_FPROP);
}

mpt_format mpt_session_grad_input_format(const mpt_session *session, int layer) {
  return storage(session, layer, MPT_DGRAD);
}

mpt_status mpt_session_set_mode(mpt_session *session, mpt_run_mode mode, mpt_error *error) {
  if ((unsigned)mode > MPT_RUN_PLAIN)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there is no run mode %d", (int)mode);
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the mode changes between steps only");
  /* The step that ended last is counted before anything else uses the scales. */
  if (session->pending && mode != MPT_RUN_TRAIN) {
    MPT_RETURN_IF_FAILED(mpt_step_begin(session->queue, session->state, session->scales,
                                        session->copy_count, error));
    mpt_session_scales_step_begin(session);
    session->pending = false;
  }
  session->mode = mode;
  return mpt_session_forget_weights(session, error);
}

mpt_status mpt_session_set_statistics(mpt_session *session, mpt_statistics_mode mode, int64_t every,
                                      mpt_error *error) {
  if ((unsigned)mode > MPT_STATISTICS_FULL || every < 1)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "statistics are off, lite or full, every 1 or more steps");
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "statistics change between steps only");
  MPT_RETURN_IF_FAILED(mpt_watch_deliver(session, error));
  /* What the optimizer saw of the weights may be of older ones when it is asked for again, and what
   * it is about to see was not asked for by the step that ended. */
  if (mode != session->statistics || every != session->statistics_every) {
    MPT_RETURN_IF_FAILED(mpt_session_forget_weights(session, error));
    session->collecting = false;
  }
  session->statistics = mode;
  session->statistics_every = every;
  return MPT_OK;
}

bool mpt_session_collects(const mpt_session *session, int64_t step) {
  return session->statistics != MPT_STATISTICS_OFF && step % session->statistics_every == 0;
}

mpt_lite *mpt_session_lite(mpt_session *session, int layer, mpt_operand operand) {
  if (layer < 0 || layer >= session->layer_count || !session->layers[layer].has_gemm)
    return NULL;
  return mpt_watch_lite(session, session->layers[layer].sources[operand]);
}

mpt_status mpt_session_deliver(mpt_session *session, mpt_error *error) {
  if (session->in_step)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "statistics are delivered between steps only");
  MPT_RETURN_IF_FAILED(mpt_session_scales_read(session, error));
  return mpt_watch_deliver(session, error);
}

mpt_status mpt_session_counters(const mpt_session *session, int layer, mpt_layer_counters *counters,
                                mpt_error *error) {
  if (layer < 0 || layer >= session->layer_count)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there is no layer %d in the session", layer);
  *counters = (mpt_layer_counters){0};
  const session_layer *l = &session->layers[layer];
  if (!l->has_gemm)
    return MPT_OK;
  for (int i = 0; i < session->copy_count; i++) {
    const operand_copy *copy = &session->copies[i];
    bool used = false;
    for (int slot = 0; slot < MPT_GEMM_COUNT * 2; slot++)
      used = used || l->copies[slot / 2][slot % 2] == i;
    if (!used)
      continue;
    mpt_operand operand = session->sources[copy->source].operand;
    mpt_scale scale = {0};
    if (session->workspace != NULL)
      MPT_RETURN_IF_FAILED(
          mpt_memory_download(session->queue, &session->scales[i], sizeof scale, &scale, error));
    counters->saturated[operand] += scale.counts.saturated;
    counters->vanished[operand] += scale.counts.vanished;
    counters->cast[operand] += copy->cast;
  }
  return MPT_OK;
}

mpt_session_report mpt_session_get_report(mpt_session *session) {
  (void)mpt_watch_refresh(session, NULL);
  return session->report;
}
