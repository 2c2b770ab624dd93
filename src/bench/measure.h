/* Measuring the device at hand into a profile, through libmptune's public calls: what is timed is
 * what a training step runs. */
#ifndef MEASURE_H
#define MEASURE_H

#include "bench/measured.h"
#include "profile/profile.h"

/* MPT_ERROR_INTERRUPTED when it was stopped, MPT_ERROR_UNSUPPORTED without a GPU. The caller frees
 * the profile. */
mpt_status profile_measure(const measure_options *options, profile **out,
                           profile_provenance *provenance, mpt_error *error);

#endif
