/* Learning rates, and the optimizer's step. */
#include "base/error.h"
#include "train/training.h"
#include <math.h>

/* Step i of n stands where step i (full-1)/(n-1) of the full schedule stands, so that first and
 * last steps are the same however short the run is. */
double train_learning_rate(const optimizer_spec *o, int64_t step, int64_t steps,
                           int64_t full_steps) {
  double full = (double)full_steps, warmup = (double)o->warmup;
  double at = steps > 1 ? (double)step * (full - 1.0) / ((double)steps - 1.0) : 0.0;
  if (at < warmup)
    return o->learning_rate * fmin(1.0, (at + 1.0) / warmup);
  double left = full - 1.0 - warmup;
  double progress = left > 0.0 ? fmin(1.0, (at - warmup) / left) : 1.0;
  double share = 1.0;
  if (o->schedule == SCHEDULE_LINEAR)
    share = 1.0 - progress;
  if (o->schedule == SCHEDULE_COSINE)
    share = 0.5 * (1.0 + cos(M_PI * progress));
  if (o->schedule == SCHEDULE_CONSTANT)
    return o->learning_rate;
  return o->learning_rate * (o->final_fraction + (1.0 - o->final_fraction) * share);
}

/* AdamW decays matrices (weights and embeddings) and leaves biases and norms alone, as GPT training
 * does; sgd and adam add the decay to the gradient of every parameter, as PyTorch does. */
static double decay_of(const optimizer_spec *o, const network_parameter *p) {
  return o->kind == OPTIMIZER_ADAMW && p->what.rank < 2 ? 0.0 : o->weight_decay;
}

static mpt_status update_sgd(network *n, const optimizer_spec *o, const float *rate,
                             const mpt_step_state *state, mpt_error *error) {
  mpt_status status = MPT_OK;
  for (int i = 0; i < n->parameter_count && status == MPT_OK; i++) {
    const network_parameter *p = &n->parameters[i];
    status =
        mpt_sgd_step(n->queue, &p->weight, &p->gradient, n->moments > 0 ? &p->moments[0] : NULL,
                     1.0f, rate, (float)o->momentum, (float)decay_of(o, p), state, error);
  }
  return status;
}

static mpt_status update_adam(network *n, const optimizer_spec *o, const float *rate,
                              const mpt_step_state *state, mpt_error *error) {
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    n->updates[i] = (mpt_adam_parameter){.weight = &p->weight,
                                         .gradient = &p->gradient,
                                         .first_moment = &p->moments[0],
                                         .second_moment = &p->moments[1],
                                         .weight_decay = (float)decay_of(o, p)};
  }
  mpt_adam_args args = {.learning_rate = 1.0f,
                        .learning_rate_factor = rate,
                        .beta1 = (float)o->beta1,
                        .beta2 = (float)o->beta2,
                        .epsilon = (float)o->epsilon,
                        .decoupled = o->kind == OPTIMIZER_ADAMW};
  MPT_RETURN_IF_FAILED(mpt_session_offer_copies(n->session, n->updates, n->parameter_count, error));
  return mpt_adam_steps(n->queue, n->updates, n->parameter_count, &args, state, error);
}

mpt_status train_update(training *t, const mpt_step_state *state, mpt_error *error) {
  const optimizer_spec *o = &t->w->optimizer;
  return o->kind == OPTIMIZER_SGD ? update_sgd(t->net, o, t->learning_rate, state, error)
                                  : update_adam(t->net, o, t->learning_rate, state, error);
}
