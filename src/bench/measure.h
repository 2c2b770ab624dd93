/* Measuring the device at hand into a profile, through libmptune's public calls: what is timed is
 * what a training step runs. */
#ifndef MEASURE_H
#define MEASURE_H

#include "mptune/ops.h"
#include "profile/profile.h"

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

/* ---- what the files of the measurement share ---- */
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

/* ---- passes: measure_passes.c ---- */
enum { MEASURE_SIZES = 5, MEASURE_HEADS = 9, MEASURE_ATTENTION_FORMATS = 4 };
extern const int64_t measure_sizes[MEASURE_SIZES]; /* elements of a pass */
typedef struct measure_head {
  int channels, tokens;
} measure_head;
extern const measure_head measure_heads[MEASURE_HEADS];
extern const mpt_format measure_attention_formats[MEASURE_ATTENTION_FORMATS];

typedef struct measure_passes {
  measured copy_bandwidth; /* bytes read plus written per second */
  measured floor;          /* seconds of a kernel that does next to nothing */
  measured seconds[PASS_KIND_COUNT][2][MEASURE_SIZES]; /* of elements of 16 and 32 bits */
  /* forward and backward */
  measured attention[MEASURE_ATTENTION_FORMATS][MEASURE_HEADS][2];
} measure_passes;
/* One round, added to `passes`; attention in the native `formats`. */
mpt_status measure_pass_round(mpt_queue *queue, const measure_options *options,
                              measure_passes *passes, uint32_t formats, mpt_error *error);
/* Bytes that a pass over so many elements of 16 bits (`wide`: 32) reads and writes. */
double measure_pass_bytes(pass_kind kind, int wide, int64_t elements);
/* What a round times, once each at the smallest size and untimed, on any backend: whether the queue
 * has each pass, of elements of 16 and 32 bits, and attention, forward and backward. */
mpt_status measure_pass_once(mpt_queue *queue, bool ran[PASS_KIND_COUNT][2], bool attended[2],
                             mpt_error *error);

/* ---- products: measure_gemms.c ---- */
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
