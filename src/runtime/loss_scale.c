/* Loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2): the loss is
 * multiplied by a scale so that small gradients do not vanish in fp16; a scale that overflows is
 * halved and the step skipped, after a run of good steps it is doubled. */
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

mpt_status loss_scale_open(mpt_session *session, mpt_loss_scale_policy policy, int64_t steps,
                           mpt_error *error) {
  loss_scale_state *s = &session->loss_scale;
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
  s->scale = needed ? initial : 1.0f;
  s->floor = fminf(initial, floor_scale);
  s->ceiling = fmaxf(initial, ceiling_scale);
  s->interval = steps <= 0 ? longest_interval : steps / 10;
  if (s->interval < 1)
    s->interval = 1;
  if (s->interval > longest_interval)
    s->interval = longest_interval;
  return MPT_OK;
}

void loss_scale_move(mpt_session *session, bool overflow) {
  loss_scale_state *s = &session->loss_scale;
  if (!overflow) {
    session->report.loss_scale_at_floor = false;
    if (s->dynamic && ++s->good_steps >= s->interval) {
      s->scale = fminf(2.0f * s->scale, s->ceiling);
      s->good_steps = 0;
    }
    return;
  }
  s->good_steps = 0;
  if (!s->dynamic)
    return;
  session->report.loss_scale_at_floor = s->scale <= s->floor;
  s->scale = fmaxf(0.5f * s->scale, s->floor);
}

/* The first layer, in the order of the backward pass, with a parameter gradient that is not finite;
 * -1 when it is in none of them. Looks at gradients only after an overflow. */
int loss_scale_blame(mpt_session *session) {
  for (int i = 0; i < session->backward_count; i++) {
    int layer = session->backward_order[i];
    const mpt_tensor *gradient = &session->layers[layer].gradient;
    uint32_t bits = 0;
    if (gradient->data != NULL && mpt_amax(session->queue, gradient, &bits, NULL) == MPT_OK &&
        bits >= 0x7f800000u)
      return layer;
  }
  return -1;
}
