/* What a search believes: the reference's figures and noise, corrected prices, predicted increases.
 * Made from the ledger alone. */
#ifndef MODEL_H
#define MODEL_H

#include "tuner/sensitivity.h"

#define SEARCH_EQUAL_TIME 0.005 /* times within this share are the same, or within noise */

typedef struct model {
  double reference_mean, reference_deviation;
  double margin;  /* the budget in metric units */
  double noise;   /* deviation of a paired difference, metric units */
  double ceiling; /* predicted increase that the next policy to be verified may have: the margin at
                     first, less after every policy that did not pass */
  double equal_time; /* a share: times closer than this are the same */
  profile prices;    /* the problem's, corrected by what was measured; shares its tables */
  predictor *predictor;
  sensitivity *sensitivity;
} model;

void model_open(model *m, const problem *p);
void model_close(model *m);

/* cost_predict with the model's prices. */
mpt_status model_price(const model *m, const problem *p, const mpt_layer_policy *assignment,
                       cost_parts *parts, mpt_error *error);
/* Fits the scores to what was trained so far, gives the predictor its priors, and notes them. */
mpt_status model_fit(model *m, const ledger *l, mpt_error *error);

/* Stage 3, which asks for nothing: vetoes, scores and priors from what was observed. */
mpt_status stage_sensitivity(const problem *p, const ledger *l, model *m, mpt_error *error);

/* ---- increases.c ---- */
/* Predicted increases, metric units: of[unit][choice]; INFINITY where the choice is vetoed. */
typedef struct increases {
  double **of;
  int unit_count;
} increases;
/* `optimism`: kinder by so many deviations to what is uncertain. The caller frees it, also after a
 * failure. */
mpt_status model_increases(const model *m, const problem *p, double optimism, increases *out,
                           mpt_error *error);
void increases_free(increases *all);
/* Of a policy as a whole; its choice may be NULL where it is not in the space: 0. */
double increases_total(const increases *all, const int *choice);
/* Its increase as predicted from all that was measured so far; INFINITY when vetoed. */
mpt_status model_predict(const model *m, const problem *p, const candidate *c, double *increase,
                         mpt_error *error);

#endif
