#include "tuner/evaluators/hopeless.h"
#include <math.h>

bool hopeless_at(hopeless *h, const request_limit *limit, int64_t steps, int64_t step,
                 double loss) {
  if (limit->losses == NULL)
    return false;
  const double rate = 2.0 / (1.0 + fmax(8.0, 0.1 * (double)steps));
  const double excess = loss - limit->losses[step];
  if (isfinite(excess)) /* one that is not known says nothing */
    h->excess += rate * (excess - h->excess);
  /* Only late: a bad start is often made up for. */
  return step * 2 >= steps && h->excess > limit->hopeless;
}
