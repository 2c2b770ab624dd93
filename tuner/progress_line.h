/* What the progress line says of a request under way. */
#ifndef PROGRESS_LINE_H
#define PROGRESS_LINE_H

#include "tuner/evaluators/evaluator.h"
#include "tuner/search_clock.h"

/* Of the policy `label`; a request without a purpose shows nothing. */
void progress_show(const search_clock *k, const evaluation_request *r, const char *label,
                   int64_t step, int64_t steps);

#endif
