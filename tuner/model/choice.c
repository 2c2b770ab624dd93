#include "tuner/model/choice.h"
#include <math.h>

choice_rule choice_rule_default(double reference_seconds) {
  return (choice_rule){.reference_seconds = reference_seconds,
                       .equal_time = 0.005,
                       .trainings_ahead = 100,
                       .verification_pairs = 8,
                       .early = 0.6,
                       .least_pairs = 2,
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

static double training_cost(const choice_rule *rule, const choice_candidate *c) {
  return c->seconds / rule->reference_seconds + (c->new_seed ? 1 : 0);
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

/* What would be verified now: -1 where nothing was trained that could be. */
static int find_incumbent(const choice_rule *rule, const choice_candidate *list, int count) {
  int best = -1;
  for (int i = 0; i < count; i++)
    if (list[i].pairs > 0 && !list[i].in_flight && choice_verify_ratio(rule, list, count, i) > 1 &&
        (best < 0 ||
         choice_verify_ratio(rule, list, count, i) > choice_verify_ratio(rule, list, count, best)))
      best = i;
  return best;
}

/* A training of what may be faster than the incumbent, whose verification would take the place of
 * the incumbent's. */
static void offer_instead(const choice_rule *rule, const choice_candidate *list, int count,
                          int incumbent, choice_decision *d) {
  for (int i = 0; i < count; i++)
    if (list[i].pairs < rule->most_pairs && !list[i].in_flight && !list[i].settled)
      offer(d, CHOICE_TRAIN, i, gain_of(rule, &list[i], list[incumbent].seconds),
            training_cost(rule, &list[i]));
}

choice_decision choice_next(const choice_rule *rule, const choice_candidate *list, int count) {
  const choice_decision nothing = {.action = CHOICE_STOP, .candidate = -1, .gain = 0, .cost = 1};
  choice_decision d = nothing;
  const double best = best_seconds(rule, list, count);
  const int incumbent = find_incumbent(rule, list, count);
  bool waits = false;
  for (int i = 0; i < count; i++) {
    const choice_candidate *c = &list[i];
    waits = waits || c->in_flight;
    if (c->pairs < rule->most_pairs && !c->in_flight)
      offer(&d, CHOICE_TRAIN, i, gain_of(rule, c, best),
            training_cost(rule, c) + c->chance * pairs_cost(rule, c));
  }
  if (incumbent >= 0) {
    const choice_candidate *c = &list[incumbent];
    offer(&d, CHOICE_VERIFY, incumbent, gain_of(rule, c, best), verify_cost(rule, c));
    if (d.action == CHOICE_VERIFY) {
      choice_decision other = nothing;
      offer_instead(rule, list, count, incumbent, &other);
      d = other.action == CHOICE_TRAIN ? other : d;
    }
  }
  /* One pair alone may be lucky; the second costs less than a verification that fails. */
  if (d.action == CHOICE_VERIFY && list[d.candidate].pairs < rule->least_pairs)
    d.action = CHOICE_TRAIN;
  /* Verification is in an order that is written down once: not while a training may change it. */
  if (waits && d.action != CHOICE_TRAIN)
    return (choice_decision){.action = CHOICE_WAIT, .candidate = -1, .gain = 0, .cost = 1};
  return d;
}
