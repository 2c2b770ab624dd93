/* The clock that intervals are measured by. */
#ifndef MPT_BASE_CLOCK_H
#define MPT_BASE_CLOCK_H

/* Seconds since some moment before the program began; never goes back, whatever sets the time. */
double mpt_clock_seconds(void);

#endif
