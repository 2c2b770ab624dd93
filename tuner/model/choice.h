/* What to do next: train one of the candidates under one more seed, go on to verification, or stop.
 *
 * By expected gain over cost, both counted in trainings of the reference:
 *
 *   gain     P max(0, T_best - T) / T_reference * trainings_ahead
 *   train    T / T_reference, the reference under that seed where it was not trained yet, and
 *            P times what verification takes: it follows only where the training bears it out
 *   verify   the pairs alone, and a policy that misses the budget is found out early:
 *            P + (1 - P) early of their cost
 *
 * P: the chance to meet the budget; T: seconds a step; T_best: of the fastest policy that passed,
 * or of the reference. So a fast policy with a small chance is tried where a training is cheap
 * beside a verification. Where verifying has the best ratio there is an incumbent, and verification
 * will be paid in any case: a policy that may be faster is then trained as long as P (T_incumbent -
 * T) pays for the training alone. Nothing is verified on one pair.
 *
 * A pure function: of candidates that are in flight the chance is the model's, to which their
 * records are known as their expectation (damage.h); they are not asked for again before they are
 * back, and nothing is verified meanwhile. docs/benchmarks/choice.md compares it with other ways.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include <stdbool.h>

typedef struct choice_candidate {
  double seconds; /* a step */
  double chance;  /* that it meets the budget: damage_chance */
  int pairs;      /* that the search has trained */
  bool in_flight; /* a training of it was asked for and is not back */
  bool settled;   /* verification passed, failed or gave it up */
  bool passed;
  bool new_seed; /* its next training needs one of the reference too */
} choice_candidate;

typedef struct choice_rule {
  double reference_seconds;
  double equal_time;         /* a share: closer is no gain; 0.005 */
  double trainings_ahead;    /* what the policy is for, in trainings: 100 */
  double verification_pairs; /* expected for one that passes; 8 */
  double early;              /* share of them for one that fails; 0.6 */
  int least_pairs;           /* of a policy before it is verified; 2 */
  int most_pairs;            /* of one policy before verification; 6 */
} choice_rule;
choice_rule choice_rule_default(double reference_seconds);

typedef enum choice_action { CHOICE_TRAIN, CHOICE_VERIFY, CHOICE_WAIT, CHOICE_STOP } choice_action;

typedef struct choice_decision {
  choice_action action;
  int candidate;     /* -1: none (wait: for what is in flight; stop: nothing pays for itself) */
  double gain, cost; /* in trainings of the reference */
} choice_decision;

/* Ties go to the first. */
choice_decision choice_next(const choice_rule *rule, const choice_candidate *list, int count);

/* The same for verification alone: the order in which candidates are written down for it. */
double choice_verify_ratio(const choice_rule *rule, const choice_candidate *list, int count,
                           int which);

#endif
