/* What a number format is. Each format is one file, src/format/<name>.c, with one descriptor;
 * everything else is derived from it. */
#ifndef MPT_FORMAT_DESCRIPTOR_H
#define MPT_FORMAT_DESCRIPTOR_H

#include "mptune/format.h"

typedef struct mpt_format_descriptor {
  mpt_format_info info;
  bool saturates;    /* whether the argument `saturate` means anything */
  bool keeps_nan;    /* NaN keeps its sign and payload */
  uint32_t nan;      /* otherwise: the encoding that every NaN becomes */
  uint32_t nan_fp32; /* and the fp32 bits that it decodes to */
} mpt_format_descriptor;

#define MPT_FORMAT_DECLARE(enumerator, name) extern const mpt_format_descriptor mpt_format_##name;
MPT_FORMAT_LIST(MPT_FORMAT_DECLARE)
#undef MPT_FORMAT_DECLARE

/* NULL when `format` is not one. */
const mpt_format_descriptor *mpt_format_describe(mpt_format format);

#endif
