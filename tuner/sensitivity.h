/* What rounding costs each layer, from what evaluators/operand_probe.c saw and score_points.c
 * measured: vetoes, and scores that become the predictor's priors. */
#ifndef SENSITIVITY_H
#define SENSITIVITY_H

#include "tuner/ledger.h"
#include "tuner/predictor.h"

typedef struct layer_score {
  double forward;  /* expected increase of the training loss; fprop only */
  double backward; /* bias of the gradient by rounding, over its square; the others */
  char veto[160];  /* why this precision cannot work here, or "" */
} layer_score;
typedef layer_score unit_scores[MPT_GEMM_COUNT][MPT_PRECISION_COUNT];
typedef struct sensitivity {
  int unit_count;
  unit_scores *unit;
  double forward_weight, backward_weight; /* c1, c2: metric units for each unit of score */
  double first_weights[2];                /* before anything was measured */
  const space *space;                     /* borrowed, like what follows */
  const mpt_layer_policy *reference;      /* [graph layers]: its own formats are never vetoed */
} sensitivity;

/* Of the observed run; `metric` is the reference's. */
mpt_status sensitivity_load(const problem *p, const ledger *l, double metric, sensitivity **out,
                            mpt_error *error);
void sensitivity_free(sensitivity *s); /* NULL is allowed */

/* Fits c1 and c2 to the uniform policies trained so far. `noise`: of a paired difference. */
void sensitivity_fit(sensitivity *s, const ledger *l, double margin, double noise);
/* Gives the predictor its priors. */
void sensitivity_priors(const sensitivity *s, double margin, predictor *into);
/* The scores and vetoes, in the store. */
mpt_status sensitivity_note(const sensitivity *s, const ledger *l, mpt_error *error);

/* Predicted from the scores alone, whatever was measured since. */
double sensitivity_score(const sensitivity *s, int unit, const mpt_layer_policy *formats);
/* Why the unit cannot have these formats, or NULL. What the reference has works; what is pinned is
 * not for the search to refuse. */
const char *sensitivity_veto(const sensitivity *s, int unit, const mpt_layer_policy *formats);
/* Whether the policy has a format that is vetoed where it has it; why, or NULL. */
const char *sensitivity_veto_of(const sensitivity *s, const candidate *c);
/* Why a unit should not have one of its choices, though nothing else may be permitted; or NULL. */
const char *sensitivity_choice_veto(const sensitivity *s, int unit, int choice);

#endif
