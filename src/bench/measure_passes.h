/* Measuring passes over tensors, and attention. */
#ifndef MEASURE_PASSES_H
#define MEASURE_PASSES_H

#include "bench/measured.h"
#include "profile/profile.h"

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

#endif
