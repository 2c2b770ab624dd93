/* When a training is given up before its end: request_limit. */
#ifndef HOPELESS_H
#define HOPELESS_H

#include "tuner/evaluators/evaluator.h"

typedef struct hopeless {
  double excess; /* running mean of loss - reference loss */
} hopeless;

/* Whether it is hopeless after this step of `steps`, whose loss is given in turn. */
bool hopeless_at(hopeless *h, const request_limit *limit, int64_t steps, int64_t step, double loss);

#endif
