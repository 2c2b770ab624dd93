/* What measured step times teach the prediction: corrections of it by what was measured on the same
 * device.
 *
 *   step = a GEMMs + b copies + c passes
 *
 * with a, b, c the posterior means of a Bayesian linear regression on relative errors: a priori
 * independent, normal around the ratio of the measured times to the predicted ones, with deviation
 * 0.3 of it; a policy's own deviation from such a sum is taken as 1%. One measurement thus scales
 * everything alike, and policies that differ in their parts tell the parts apart.
 */
#ifndef CALIBRATION_H
#define CALIBRATION_H

#include "tuner/cost.h"

typedef struct calibration_point {
  const cost_parts *parts; /* as the profile has them */
  double seconds;          /* measured */
} calibration_point;

/* Factors of 1 without a point. */
typedef struct calibration {
  double gemms, copies, passes;
  int points;
} calibration;
mpt_status calibration_fit(const calibration_point *points, int count, calibration *c,
                           mpt_error *error);

#endif
