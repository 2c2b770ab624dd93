#include "bench/measured.h"
#include "base/error.h"
#include "base/median.h"
#include <math.h>
#include <string.h>

mpt_status measure_go_on(const measure_options *o, const char *what, int done, int total,
                         mpt_error *error) {
  if (o->progress == NULL || o->progress(o->context, what, done, total))
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_INTERRUPTED, "interrupted while measuring %s", what);
}

void measured_add(measured *m, double value) {
  if (m->count < MEASURE_ROUNDS)
    m->values[m->count++] = value;
}

double measured_median(const measured *m) {
  double values[MEASURE_ROUNDS];
  memcpy(values, m->values, sizeof values);
  return mpt_median(values, m->count);
}

double measured_spread(const measured *m) {
  double least = INFINITY, most = -INFINITY;
  for (int i = 0; i < m->count; i++) {
    least = fmin(least, m->values[i]);
    most = fmax(most, m->values[i]);
  }
  return m->count < 2 ? 0.0 : (most - least) / measured_median(m);
}
