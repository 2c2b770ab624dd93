#include "tests/bench/tables/played_search.h"
#include <math.h>
#include <stdlib.h>

void played_start(played *s, const world *w, double budget, int first) {
  *s = (played){.w = w, .budget = budget, .first = first, .most = 26};
  for (int i = 0; i <= PLAYED_MOST; i++)
    s->regret[i] = played_regret(s, 0);
}

bool played_may_train(const played *s) {
  return s->trainings - s->references < s->most && s->trainings < PLAYED_MOST - 2;
}

static double metric_of(const played *s, int policy, int index) {
  return world_metric(s->w, policy, (s->first + index) % s->w->seeds);
}

static void count_training(played *s) {
  s->trainings++;
  const double regret = played_regret(s, played_recommended(s));
  for (int i = s->trainings; i <= PLAYED_MOST; i++)
    s->regret[i] = regret;
}

double played_reference(played *s, int index) {
  if (!s->reference[index % PLAYED_SEEDS]) {
    s->reference[index % PLAYED_SEEDS] = true;
    s->references++;
    count_training(s);
  }
  return metric_of(s, 0, index);
}

played_policy *played_find(played *s, int policy) {
  for (int i = 0; i < s->tried_count; i++)
    if (s->tried[i].policy == policy)
      return &s->tried[i];
  return NULL;
}

double played_train_at(played *s, int policy, int index) {
  const double reference = played_reference(s, index), metric = metric_of(s, policy, index);
  played_policy *p = played_find(s, policy);
  if (p == NULL) {
    p = &s->tried[s->tried_count < PLAYED_TRIED ? s->tried_count++ : PLAYED_TRIED - 1];
    *p = (played_policy){.policy = policy};
  }
  const double difference = metric - reference;
  if (p->pairs < PLAYED_SEEDS)
    p->difference[p->pairs++] = difference;
  count_training(s);
  return difference;
}

double played_train(played *s, int policy) {
  const played_policy *p = played_find(s, policy);
  return played_train_at(s, policy, p == NULL ? 0 : p->pairs);
}

double played_mean(const played_policy *p) {
  double sum = 0;
  for (int i = 0; i < p->pairs; i++)
    sum += p->difference[i];
  return sum / p->pairs;
}

int played_recommended(const played *s) {
  int best = 0;
  for (int i = 0; i < s->tried_count; i++)
    if (played_mean(&s->tried[i]) <= s->budget &&
        s->w->seconds[s->tried[i].policy] < s->w->seconds[best])
      best = s->tried[i].policy;
  return best;
}

double played_regret(const played *s, int policy) {
  const int best = world_best(s->w, s->budget);
  const bool meets = world_meets(s->w, policy, s->budget);
  return fmax(0, s->w->seconds[meets ? policy : 0] / s->w->seconds[best] - 1);
}
