#include "tuner/evaluators/command_trust.h"
#include "base/error.h"
#include <math.h>
#include <string.h>

void command_trust_begin(command_trust *t) {
  t->count = 0;
  t->repeats = -1;
}

static trusted_run run_of(const evaluation_request *r, const answer *a) {
  trusted_run run = {.seed = r->seed,
                     .steps = r->steps,
                     .metric = a->metric,
                     .larger_is_better = a->larger_is_better};
  memcpy(run.policy, r->policy, sizeof run.policy);
  while (run.loss_count < TRUST_LOSSES && run.loss_count < a->loss_count) {
    run.losses[run.loss_count] = a->losses[run.loss_count];
    run.loss_count++;
  }
  return run;
}

static bool same(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

typedef enum likeness { NOT_COMPARABLE, ALIKE, DIFFERENT } likeness;

/* By the losses that both have, and the metric where both have one. */
static likeness compare(const trusted_run *a, const trusted_run *b) {
  int numbers = 0;
  for (int i = 0; i < a->loss_count && i < b->loss_count; i++) {
    if (!same(a->losses[i], b->losses[i]))
      return DIFFERENT;
    numbers += isfinite(a->losses[i]);
  }
  if (isfinite(a->metric) && isfinite(b->metric)) {
    if (!same(a->metric, b->metric))
      return DIFFERENT;
    numbers++;
  }
  return numbers > 0 ? ALIKE : NOT_COMPARABLE;
}

/* The first losses of two seeds can be the same: those of a head that begins at zero. So can two
 * accuracies, of few samples. */
static bool says_much(const trusted_run *a, const trusted_run *b) {
  const int losses = a->loss_count < b->loss_count ? a->loss_count : b->loss_count;
  return losses >= 3 || (losses == 0 && !a->larger_is_better);
}

mpt_status command_trust_note(command_trust *t, const evaluation_request *request, const answer *a,
                              mpt_error *error) {
  const trusted_run run = run_of(request, a);
  for (int i = 0; i < t->count; i++) {
    const trusted_run *other = &t->runs[i];
    if (strcmp(other->policy, run.policy) != 0 || other->steps != run.steps)
      continue;
    const likeness how = compare(other, &run);
    if (other->seed == run.seed && how != NOT_COMPARABLE) {
      const bool repeats = how == ALIKE && t->repeats != 0;
      if (!repeats)
        t->repeated_seed = run.seed;
      t->repeats = repeats;
    }
    if (other->seed != run.seed && how == ALIKE && says_much(other, &run))
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "the seeds %llu and %llu gave the very same losses: the program does not "
                      "heed MPTUNE_SEED, and pairs of runs would prove nothing; draw initial "
                      "weights, the order of the data and dropout by it",
                      (unsigned long long)other->seed, (unsigned long long)run.seed);
  }
  if (t->count < TRUST_RUNS)
    t->runs[t->count++] = run;
  return MPT_OK;
}
