/* Measuring products: the table of a profile, and what those of a training step take over it. */
#ifndef MEASURE_GEMMS_H
#define MEASURE_GEMMS_H

#include "bench/measured.h"
#include "profile/profile.h"

typedef struct measure_gemms {
  int count;
  gemm_row *rows; /* shapes */
  measured (*times)[GEMM_COLUMN_COUNT];
  measured factors[MPT_GEMM_COUNT][GEMM_COLUMN_COUNT]; /* as profile.gemm_factors */
} measure_gemms;
mpt_status measure_gemms_begin(measure_gemms *g, bool quick, mpt_error *error);
void measure_gemms_free(measure_gemms *g);
/* Row `row` in the columns of native `formats`. What the device lacks, what does not fit into its
 * memory and what would take very long is left out. */
mpt_status measure_gemm_row(mpt_queue *queue, measure_gemms *g, int row, uint32_t formats,
                            mpt_error *error);
/* One round of what products of a training step take over the table's. */
mpt_status measure_gemm_factors(mpt_queue *queue, const measure_options *options, measure_gemms *g,
                                uint32_t formats, mpt_error *error);

#endif
