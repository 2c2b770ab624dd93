/* Measuring the device at hand into a profile, through libmptune's public calls: what is timed is
 * what a training step runs. */
#ifndef MEASURE_H
#define MEASURE_H

#include "workload/profile.h"

/* How each figure came about, for people; kept in the profile's file. */
typedef struct profile_provenance {
  char gemm[768], copy[256], floor[256], pass[512], quantize[512], attention[512];
  char conditions[768]; /* clocks, noise, other processes */
  char warning[768];    /* of them, what speaks against the figures; empty: nothing */
} profile_provenance;

typedef struct measure_options {
  int device_index;
  bool quick;    /* fewer shapes, each measured once */
  double budget; /* seconds that it may take; shapes are measured again while there is time */
  /* Called often: what is measured, and how much of it is done. False stops. May be NULL. */
  bool (*progress)(void *context, const char *what, int done, int total);
  void *context;
} measure_options;

/* MPT_ERROR_INTERRUPTED when it was stopped, MPT_ERROR_UNSUPPORTED without a GPU. The caller frees
 * the profile. */
mpt_status profile_measure(const measure_options *options, profile **out,
                           profile_provenance *provenance, mpt_error *error);

/* The file of a profile that has a table; written whole or not at all. */
mpt_status profile_save(const profile *p, const profile_provenance *provenance, const char *path,
                        mpt_error *error);

/* ---- what the files of the measurement share ---- */
enum { MEASURE_ROUNDS = 3 };

/* One quantity, measured in several rounds that lie minutes apart: clocks, temperature and other
 * processes show as a spread. */
typedef struct measured {
  double values[MEASURE_ROUNDS];
  int count; /* 0: the backend lacks what would be measured */
} measured;
void measured_add(measured *m, double value);
double measured_median(const measured *m); /* NaN without values */
double measured_spread(const measured *m); /* (largest - smallest) / median; 0 of one value */

/* ---- passes: measure_passes.c ---- */
typedef struct measure_passes {
  measured copy_bandwidth;     /* bytes read plus written per second */
  measured floor;              /* seconds of a kernel that does next to nothing */
  measured pass_bandwidth;     /* of a GPT block's additions, norms and activations */
  measured quantize_bandwidth; /* of amax and cast to fp8 with its transposed copy */
  measured attention_rates[2]; /* operations per second, forward and backward: measure_heads */
} measure_passes;
typedef struct measure_head {
  int batch, tokens, heads, width; /* of a head */
} measure_head;
extern const measure_head measure_heads[2];
/* One round, added to `passes`. */
mpt_status measure_pass_round(mpt_queue *queue, measure_passes *passes, mpt_error *error);

/* ---- products: measure_gemms.c ---- */
typedef struct measure_gemms {
  int count;
  gemm_row *rows; /* shapes */
  measured (*times)[GEMM_COLUMN_COUNT];
} measure_gemms;
mpt_status measure_gemms_begin(measure_gemms *g, bool quick, mpt_error *error);
void measure_gemms_free(measure_gemms *g);
/* Row `row` in the columns of native `formats`. What the device lacks, what does not fit into its
 * memory and what would take very long is left out. */
mpt_status measure_gemm_row(mpt_queue *queue, measure_gemms *g, int row, uint32_t formats,
                            mpt_error *error);

#endif
