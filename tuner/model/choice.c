#include "tuner/model/choice.h"
#include <math.h>

choice_rule choice_rule_default(double reference_seconds) {
  return (choice_rule){.reference_seconds = reference_seconds,
                       .equal_time = 0.005,
                       .trainings_ahead = 100,
                       .verification_pairs = 8,
                       .early = 0.6,
                       .most_pairs = 6};
}

static double best_seconds(const choice_rule *rule, const choice_candidate *list, int count) {
  double best = rule->reference_seconds;
  for (int i = 0; i < count; i++)
    if (list[i].passed && list[i].seconds < best)
      best = list[i].seconds;
  return best;
}

static double gain_of(const choice_rule *rule, const choice_candidate *c, double best) {
  if (c->settled || !(c->seconds < best * (1 - rule->equal_time)))
    return 0;
  return c->chance * (best - c->seconds) / rule->reference_seconds * rule->trainings_ahead;
}

static double pairs_cost(const choice_rule *rule, const choice_candidate *c) {
  return rule->verification_pairs * (1 + c->seconds / rule->reference_seconds);
}

static double train_cost(const choice_rule *rule, const choice_candidate *c) {
  return c->seconds / rule->reference_seconds + (c->new_seed ? 1 : 0) +
         c->chance * pairs_cost(rule, c);
}

static double verify_cost(const choice_rule *rule, const choice_candidate *c) {
  return pairs_cost(rule, c) * (c->chance + (1 - c->chance) * rule->early);
}

double choice_verify_ratio(const choice_rule *rule, const choice_candidate *list, int count,
                           int which) {
  const choice_candidate *c = &list[which];
  return gain_of(rule, c, best_seconds(rule, list, count)) / verify_cost(rule, c);
}

/* Takes it where its ratio is higher. */
static void offer(choice_decision *d, choice_action action, int candidate, double gain,
                  double cost) {
  if (gain <= cost || gain / cost <= d->gain / d->cost)
    return;
  *d = (choice_decision){.action = action, .candidate = candidate, .gain = gain, .cost = cost};
}

choice_decision choice_next(const choice_rule *rule, const choice_candidate *list, int count) {
  choice_decision d = {.action = CHOICE_STOP, .candidate = -1, .gain = 0, .cost = 1};
  const double best = best_seconds(rule, list, count);
  bool waits = false;
  for (int i = 0; i < count; i++) {
    const choice_candidate *c = &list[i];
    const double gain = gain_of(rule, c, best);
    waits = waits || c->in_flight;
    if (c->in_flight)
      continue;
    if (c->pairs < rule->most_pairs)
      offer(&d, CHOICE_TRAIN, i, gain, train_cost(rule, c));
    offer(&d, CHOICE_VERIFY, i, gain, verify_cost(rule, c));
  }
  /* Verification is in an order that is written down once: not while a training may change it. */
  if (waits && d.action != CHOICE_TRAIN)
    d = (choice_decision){.action = CHOICE_WAIT, .candidate = -1, .gain = 0, .cost = 1};
  return d;
}
