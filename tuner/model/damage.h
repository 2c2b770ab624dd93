/* How much worse a policy will train than the reference: a model that learns from scores, full runs
 * and forks, and says how sure it is. docs/model.md derives everything here; the search's use of it
 * is in proposals.h and choice.h.
 *
 * A policy is a set of features; a feature is one (layer, GEMM, precision) that differs from the
 * reference's. Damage is nonnegative and adds up:
 *
 *   d_p = sum of theta_g over the policy's features,   theta_g = kappa_m s_g + eta_g >= 0
 *   eta_g ~ N(0, (spread kappa_m s_g)^2 + tau^2),      kappa_m half-normal
 *
 * with s_g the feature's score and m its mechanism. What was seen:
 *
 *   a full run   y ~ N(d_p + gamma_p, noise^2 / pairs + (run_share d_p)^2)
 *   a fork       f ~ N(a_t d_forward + b_t d_backward + delta_p, noise^2)
 *
 * gamma_p ~ N(0, (interaction_share d_p)^2) is the policy's own: what does not add up; it belongs
 * to the damage. delta_p, of deviation fork_share times what the fork should see, is shared by the
 * forks of one policy, and does not. a_t and b_t belong to a point of the trajectory, and are
 * learned.
 */
#ifndef DAMAGE_H
#define DAMAGE_H

#include "mptune/status.h"
#include <stdbool.h>

/* What rounding does wrong, each with a factor of its own between score and damage. */
typedef enum damage_mechanism {
  DAMAGE_FORWARD,  /* noise of the forward pass: all fprops */
  DAMAGE_BACKWARD, /* biased or noisy gradients: dgrad and wgrad, but the head's */
  DAMAGE_HEAD,     /* the same where the network ends: its gradient sums to 0 over the classes, and
                      rounding breaks that the same way at every step */
  DAMAGE_MECHANISMS
} damage_mechanism;

typedef struct damage_feature {
  damage_mechanism mechanism;
  double score; /* s_g >= 0, of one unit within a mechanism */
} damage_feature;

/* A policy: indices of its features, each once. Borrowed. */
typedef struct damage_policy {
  const int *features;
  int count;
} damage_policy;

typedef enum damage_record_kind { DAMAGE_RUN, DAMAGE_FORK } damage_record_kind;

/* What was seen of a policy. Of one policy there is at most one DAMAGE_RUN, the mean of all its
 * pairs, whatever budget they were trained for. */
typedef struct damage_record {
  damage_policy policy;
  int identity; /* equal for the records of one policy */
  damage_record_kind kind;
  int pairs;     /* of a run: `damage` is the mean of so many */
  int point;     /* of a fork: of the trajectory, from 0 */
  double damage; /* paired difference, worse is positive. NaN: in flight, taken as its expectation,
                    so that what is asked for next does not ask for the same again */
  double deviation; /* of one pair, or of a fork: pair_noise.h. > 0 */
} damage_record;

typedef struct damage_prior {
  double kappa[DAMAGE_MECHANISMS]; /* scales of the half-normals: damage for a unit of score, > 0 */
  double spread;                   /* 0.7 */
  double tau;                      /* what every feature may do beside its score, > 0 */
  double run_share, interaction_share, fork_share; /* 0.1, 0.15, 0.3 */
  double fork_mean, fork_deviation; /* of a_t and b_t before a fork was seen: 0.2, 0.2 */
} damage_prior;
/* For a budget in metric units and that many (layer, GEMM)s. Forward scores are of the loss,
 * backward ones shares of a gradient's variance, of which a doubled one is taken for a budget; both
 * were off by up to 150 times, so kappa is 30 wide. All features beside their scores: a quarter of
 * the budget. */
damage_prior damage_prior_of(double budget, int gemms);

/* Features of which an interaction is thinkable: of adjacent or tied layers. */
typedef struct damage_pair {
  int first, second;
} damage_pair;

typedef struct damage_data {
  const damage_feature *features;
  int feature_count;
  const damage_record *records;
  int record_count;
  const damage_pair *pairs; /* may be NULL */
  int pair_count;
} damage_data;

typedef struct damage_model damage_model;
/* Deterministic. What `data` points to must outlive the model. Work: n^2 (features seen) and 1000
 * n^3 / 3 for n records. MPT_ERROR_ARGUMENT for a number that is not finite or has the wrong sign.
 */
mpt_status damage_fit(const damage_prior *prior, const damage_data *data, damage_model **out,
                      mpt_error *error);
void damage_free(damage_model *m); /* NULL is allowed */

/* A normal distribution; the policy's own gamma_p included, known where it has a run. */
typedef struct damage_belief {
  double mean, deviation;
} damage_belief;
/* `identity`: that of its records, or -1. */
damage_belief damage_of(const damage_model *m, damage_policy policy, int identity);
double damage_chance(damage_belief belief, double budget); /* that damage <= budget */

/* One feature: its mean, at least 0, and its marginal deviation. */
damage_belief damage_of_feature(const damage_model *m, int feature);
/* The covariance of two features' damages. */
double damage_covariance(const damage_model *m, int first, int second);

/* What it learned, for reports and tests. */
typedef struct damage_summary {
  double kappa[DAMAGE_MECHANISMS], kappa_deviation[DAMAGE_MECHANISMS];
  int bound;           /* features that are held at 0 */
  double kkt_residual; /* of the nonnegative fit, in deviations of the prior: 0 is optimal */
  int interactions;    /* pairs that were let in */
  int fork_points;
} damage_summary;
damage_summary damage_summarize(const damage_model *m);
/* Pair `which` of summary.interactions, and its size. */
damage_pair damage_interaction(const damage_model *m, int which, damage_belief *size);
/* a_t and b_t of a point. */
void damage_fork_factors(const damage_model *m, int point, double *forward, double *backward);

#endif
