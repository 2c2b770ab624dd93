/* The inside of a damage_model, for the files damage*.c. */
#ifndef DAMAGE_FIT_H
#define DAMAGE_FIT_H

#include "tuner/model/damage.h"
#include "tuner/model/nonnegative.h"

#define DAMAGE_MOST_PAIRS 3 /* interactions that are let in */

struct damage_model {
  damage_prior prior;
  damage_data data;       /* borrowed; but the records */
  damage_record *records; /* [all]: copies, runs before forks; those in flight have their
                             expectation once it is known */
  int n, all;             /* the first n are fitted */

  /* Unknowns: the features that some record has, then the interactions that were let in. */
  int unknowns, *unknown_of; /* [feature_count]: -1 is not seen */
  int *feature_of;           /* [unknowns]: -1 is an interaction */
  damage_pair pairs[DAMAGE_MOST_PAIRS];
  int pair_count;
  double pair_deviation[DAMAGE_MOST_PAIRS]; /* of its prior */

  /* The problem that is solved, at the present kappa, factors and sizes. */
  double *x, *mean, *variance, *y; /* [unknowns][n], [unknowns], [unknowns], [n] */
  bool *bounded;
  gsl_matrix *v;     /* [n][n] */
  double *size;      /* [all]: d_p of each record's policy, for the noise that grows with it */
  double (*part)[2]; /* [all]: of that, forward and backward */
  nonnegative_solution fit;

  double kappa[DAMAGE_MECHANISMS], kappa_covariance[DAMAGE_MECHANISMS][DAMAGE_MECHANISMS];
  double *slope; /* [unknowns][mechanisms]: how theta follows kappa */
  double *pull;  /* [n][mechanisms]: how alpha does */
  double *shift; /* [unknowns]: of one that is held at 0, its mean above it */
  double *held;  /* [unknowns]: and its variance; of free ones 0 */

  int points;
  double (*factor)[2];    /* [points]: a_t, b_t */
  double (*uncertain)[3]; /* [points]: their variances and covariance */
  double (*loose)[2];     /* [all]: the variance of `part`, when the factors were fitted */
};

static inline const damage_feature *damage_feature_at(const damage_model *m, int unknown) {
  return &m->data.features[m->feature_of[unknown]];
}

static inline int damage_part(damage_mechanism mechanism) {
  return mechanism == DAMAGE_FORWARD ? 0 : 1;
}

/* What a record sees of a unit of damage of a mechanism: 1, a_t or b_t. */
double damage_weight(const damage_model *m, const damage_record *r, damage_mechanism mechanism);
bool damage_has(damage_policy policy, int feature);

/* damage_rows.c */
void damage_fill_rows(damage_model *m);  /* x, y: from records and fork factors */
void damage_fill_prior(damage_model *m); /* mean, variance, bounded: from kappa */
void damage_fill_noise(damage_model *m); /* v: from sizes */
void damage_fill_sizes(damage_model *m); /* size, part of all records: from theta */
/* damage_kappa.c: kappa and its covariance, by integration over a grid */
mpt_status damage_fit_kappa(damage_model *m, mpt_error *error);
/* damage_belief.c: the variance of what forward rounding, or the rest, does to a policy */
double damage_part_variance(const damage_model *m, damage_policy policy, int part);
/* damage_forks.c: factor, uncertain, loose: from a fit to the runs alone */
void damage_fit_factors(damage_model *m);
/* damage_pairs.c: lets in the interaction that explains a residual above 2 deviations best */
mpt_status damage_add_pair(damage_model *m, bool *added, mpt_error *error);
/* damage_spread.c: slope, pull, shift, held: after a fit */
mpt_status damage_fill_spread(damage_model *m, mpt_error *error);

#endif
