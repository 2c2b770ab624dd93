/* What a measurement is told, and a quantity that it measures. */
#ifndef MEASURED_H
#define MEASURED_H

#include "mptune/mptune.h"

typedef struct measure_options {
  int device_index;
  bool quick;    /* fewer shapes, each measured once */
  double budget; /* seconds that it may take; shapes are measured again while there is time */
  /* Called often: what is measured, and how much of it is done. False stops. May be NULL. */
  bool (*progress)(void *context, const char *what, int done, int total);
  void *context;
} measure_options;

enum { MEASURE_ROUNDS = 3 };

/* Tells what comes next; MPT_ERROR_INTERRUPTED when it shall not. */
mpt_status measure_go_on(const measure_options *options, const char *what, int done, int total,
                         mpt_error *error);

/* One quantity, measured in several rounds that lie minutes apart: clocks, temperature and other
 * processes show as a spread. */
typedef struct measured {
  double values[MEASURE_ROUNDS];
  int count; /* 0: the backend lacks what would be measured */
} measured;
void measured_add(measured *m, double value);
double measured_median(const measured *m); /* NaN without values */
double measured_spread(const measured *m); /* (largest - smallest) / median; 0 of one value */

#endif
