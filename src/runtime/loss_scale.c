/* Loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2): the loss is
 * multiplied by a scale so that small gradients do not vanish in fp16; a scale that overflows is
 * halved and the step skipped, after a run of good steps it is doubled (kernels/step_rules.h). */
#include "runtime/plan.h"
#include <math.h>

static const float initial_scale = 65536.0f, floor_scale = 1.0f, ceiling_scale = 16777216.0f;
static const int64_t longest_interval = 2000;

/* Whether a gradient may be fp16: an operand of dgrad or wgrad, or the gradient of an activation,
 * which is stored as the layer that makes the activation stores it. */
static bool has_fp16_gradient(const session_layer *layer) {
  for (int gemm = 0; gemm < (layer->has_gemm ? MPT_GEMM_COUNT : 1); gemm++)
    if (layer->policy.gemm[gemm].precision == MPT_PRECISION_FP16)
      return true;
  return false;
}

mpt_status mpt_loss_scale_open(mpt_session *session, mpt_loss_scale_policy policy, int64_t steps,
                               mpt_error *error) {
  mpt_step_state *s = &session->initial;
  float initial = policy.initial == 0.0f ? initial_scale : policy.initial;
  if (!isfinite(initial) || initial <= 0.0f)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the initial loss scale is %g, it must be finite and above 0",
                    (double)policy.initial);
  bool needed = false;
  for (int i = 0; i < session->layer_count && !needed; i++)
    needed = has_fp16_gradient(&session->layers[i]);
  needed = needed && policy.mode != MPT_LOSS_SCALE_NONE;
  s->dynamic = needed && policy.mode == MPT_LOSS_SCALE_DYNAMIC;
  s->loss_scale = needed ? initial : 1.0f;
  s->floor = fminf(initial, floor_scale);
  s->ceiling = fmaxf(initial, ceiling_scale);
  s->interval = steps <= 0 ? longest_interval : steps / 10;
  if (s->interval < 1)
    s->interval = 1;
  if (s->interval > longest_interval)
    s->interval = longest_interval;
  s->clip = 1.0f;
  return MPT_OK;
}
