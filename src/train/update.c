/* Learning rates, and the optimizer's step. */
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

static mpt_status update(network *n, const network_parameter *p, const optimizer_spec *o,
                         const float *rate, const mpt_step_state *state, mpt_error *error) {
  float decay = (float)decay_of(o, p);
  if (o->kind == OPTIMIZER_SGD)
    return mpt_sgd_step(n->queue, &p->weight, &p->gradient, n->moments > 0 ? &p->moments[0] : NULL,
                        1.0f, rate, (float)o->momentum, decay, state, error);
  mpt_adam_args args = {.learning_rate = 1.0f,
                        .learning_rate_factor = rate,
                        .beta1 = (float)o->beta1,
                        .beta2 = (float)o->beta2,
                        .epsilon = (float)o->epsilon,
                        .weight_decay = decay,
                        .decoupled = o->kind == OPTIMIZER_ADAMW};
  return mpt_adam_step(n->queue, &p->weight, &p->gradient, &p->moments[0], &p->moments[1], &args,
                       state, error);
}

mpt_status train_update(training *t, double learning_rate, const mpt_step_state *state,
                        mpt_error *error) {
  float rate = (float)learning_rate;
  mpt_status status = mpt_memory_upload(t->net->queue, &rate, sizeof rate, t->learning_rate, error);
  for (int i = 0; i < t->net->parameter_count && status == MPT_OK; i++)
    status =
        update(t->net, &t->net->parameters[i], &t->w->optimizer, t->learning_rate, state, error);
  return status;
}
