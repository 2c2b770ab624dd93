/* Increases by Bayesian linear regression on what was measured. */
#ifndef PREDICTOR_H
#define PREDICTOR_H

#include "tuner/space.h"

typedef struct predictor predictor;
/* Prior mean of each (unit, gemm, precision) and its deviation; observations y = sum + noise. */
mpt_status predictor_open(const space *s, predictor **out, mpt_error *error);
void predictor_close(predictor *p); /* NULL is allowed */
void predictor_prior(predictor *p, int unit, mpt_gemm_kind gemm, mpt_precision precision,
                     double mean, double deviation);
/* Replaces what was observed of the assignment `choice`: the mean of n paired differences. */
mpt_status predictor_observe(predictor *p, const int *choice, double mean, double noise_deviation,
                             mpt_error *error);
/* Posterior means, at least 0, of every choice of every unit, shifted down by `optimism` posterior
 * deviations. increase[unit][choice] keeps INFINITY. */
mpt_status predictor_increases(const predictor *p, double optimism, double *const *increase,
                               mpt_error *error);

#endif
