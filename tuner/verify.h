/* The verdict on one policy, as a pure function of its pairs of trainings: sequential, with exact
 * levels. docs/verification.md derives everything here. */
#ifndef VERIFY_H
#define VERIFY_H

#include "mptune/policy.h"

#define VERIFY_LOOKS         6
#define VERIFY_DEFAULT_PAIRS 13
#define VERIFY_MOST_PAIRS    24
#define VERIFY_LEAST_ALPHA   1e-6
#define VERIFY_LARGEST_ALPHA 0.5
#define VERIFY_MOST_TRIED                                                                          \
  48 /* pairs for 24 that finish: who diverges more often gets no verdict                          \
      */
extern const int verify_look_sizes[VERIFY_LOOKS]; /* 4 6 9 13 18 24: pairs that finished */

typedef struct verify_rule {
  double budget;          /* a share of the reference's metric (relative), or metric units */
  bool relative;          /* D = s(c - r) - budget * sign(r) * r, else D = s(c - r) - budget */
  bool higher_is_better;  /* s = -1 */
  bool population;        /* held-out samples stand for others like them: metric_over */
  double alpha;           /* one-sided, of this policy: the search's alpha times its weight */
  double most_diverged;   /* share of trainings that may diverge; NaN: not asked for */
  double least_deviation; /* of D: the deviation that is used is not below it; 0: none known */
} verify_rule;

/* Two trainings that differ in their formats alone. */
typedef struct verify_pair {
  double reference, candidate; /* the metric; not finite: that training diverged */
  /* A metric that moves in steps is the mean of contributions x (reference) and y (candidate) of
   * `samples` held-out samples, 0 or 1 for accuracy: sums of products over the samples, and the
   * most that one sample's judgement can change its contribution. samples 0: no such metric. */
  int64_t samples;
  double xx, xy, yy, unit;
  const float *x, *y; /* [samples] themselves: make a rule with `population` exact. NULL: bounded */
} verify_pair;

typedef struct verify_interval {
  double lower, upper; /* of the mean of s(c - r): as the budget is given (relative: a share of the
                          mean of the reference); -Inf, Inf where nothing bounds it */
} verify_interval;

typedef struct verify_result {
  mpt_verdict verdict; /* pass, fail, inconclusive: undecided at the last look taken */
  int tried;           /* pairs looked at, those that diverged included */
  int finished;        /* of them, pairs in which both trainings finished: a look's size; another
                          number before the first look, and where divergence alone fails it */
  int reference_diverged, candidate_diverged;
  double diverged_bound; /* the candidate's chance to diverge is at most this (95%) */
  double reference;      /* mean metric over the finished pairs, NaN: none */
  double candidate;
  double worse;           /* mean of s(c - r) over them, metric units, worse is positive */
  double worse_as_budget; /* the same as the budget is given: relative, over the mean reference */
  verify_interval bound;  /* the budgets at which the verdict of this look would flip: passes below
                             none smaller than `upper`, fails above none larger than `lower` */
  double level;           /* one-sided, of each end of `bound`; NaN: there is none */
  int within;             /* finished pairs with D <= 0 */
  double within_share;    /* at least this share of such pairs is within the budget (95%) */
  bool no_share;          /* relative, and the reference's mean may be 0: no share of it bounds */
  bool may_still_pass;    /* undecided, and more pairs can be expected to help */
} verify_result;

/* Levels of the looks, one-sided, whose sequence of Student's t passes a policy exactly at its
 * limit with probability alpha, spent linearly in n / 24. alpha in [1e-6, 0.5]; right to 2e-5 of
 * themselves. */
void verify_levels(double alpha, double levels[VERIFY_LOOKS]);

/* The verdict after `tried` pairs in the order of their seeds: the first look that decides, else
 * the last one that is complete. Looks above `most` pairs are not taken (4, 6, 9, 13, 18 or 24).
 * The mean is looked at when a look's number of pairs finished in both trainings; divergence then,
 * and when that many were tried. A verdict never changes by pairs that come after it. */
verify_result verify_pairs(const verify_rule *rule, const verify_pair *pairs, int tried, int most);

/* The interval of the mean over pairs that both finished, at one-sided `level` at each end, without
 * any sequence: what is said of a policy that was not verified. Fewer than two: nothing bounds it.
 */
verify_interval verify_mean_interval(const verify_rule *rule, const verify_pair *pairs, int count,
                                     double level);

/* The smallest budget that an equal policy could pass under this rule with `pairs` pairs of
 * `samples` held-out samples: what the held-out set cannot resolve. 0 where samples is 0. */
double verify_resolution(const verify_rule *rule, int64_t samples, int pairs);

#endif
