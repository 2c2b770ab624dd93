/* Device profiles: measured times of GEMMs, passes over memory and attention on one device. */
#ifndef PROFILE_H
#define PROFILE_H

#include "mptune/mptune.h"
#include "profile/pass_kind.h"

/* Columns of the table: how a GEMM runs. */
typedef enum gemm_column {
  GEMM_FP32,
  GEMM_TF32,
  GEMM_BF16,
  GEMM_FP16,
  GEMM_FP8_FAST,
  GEMM_FP8_SPLIT,
  GEMM_FP8_MIXED_SPLIT,
  GEMM_COLUMN_COUNT
} gemm_column;

typedef struct gemm_row {
  int64_t m, n, k;
  double seconds[GEMM_COLUMN_COUNT]; /* NaN: not measured */
} gemm_row;

typedef struct gemm_grid gemm_grid; /* the table made ready for interpolation */

typedef struct pass_row {
  pass_kind kind;
  int bits;     /* of an element that it reads: 16 or 32 */
  double bytes; /* read plus written */
  double seconds;
} pass_row;

/* Causal attention over ATTENTION_TOKENS tokens of width ATTENTION_WIDTH, in sequences of `tokens`
 * and heads of `channels`. */
enum { ATTENTION_TOKENS = 16384, ATTENTION_WIDTH = 1024 };
typedef struct attention_row {
  mpt_format format; /* of its products: fp32, tf32, bf16, fp16 */
  int64_t channels, tokens;
  double forward, backward; /* seconds */
} attention_row;

typedef struct profile {
  char path[512], name[64], device[128], compute_capability[16], driver[64], cuda[32], cublaslt[32];
  char measured[32]; /* date */
  bool synthetic;
  uint32_t formats; /* native ones, 1 << mpt_format */
  gemm_row *gemm;   /* a grid in m, n, k, where shapes may be missing */
  int gemm_count;
  gemm_grid *grid; /* of gemm, NULL without a table */
  /* What a product of a training step takes over what the table says: fprop with its bias, dgrad,
   * wgrad that adds to an fp32 gradient, in their layouts. 0: not measured, taken as 1. */
  double gemm_factors[MPT_GEMM_COUNT][GEMM_COLUMN_COUNT];
  double gemm_rate[GEMM_COLUMN_COUNT]; /* operations per second; synthetic devices, else 0 */
  double copy_bandwidth;               /* bytes read plus written per second */
  double pass_floor;                   /* seconds a pass takes at least */
  pass_row *passes;                    /* by kind, bits and bytes */
  int pass_count;
  attention_row *attention; /* by format, channels and tokens */
  int attention_count;
  /* Where the tables have nothing: shares of copy_bandwidth that a pass reaches, and fp8 casts, and
   * of a large GEMM's rate that fused attention reaches. */
  double pass_efficiency, quantize_efficiency, attention_efficiency;
  /* What measured step times taught about GEMMs, copies and passes as priced here: factors, 0 for
   * none; set by a search, in no file. */
  double gemm_factor, copy_factor, pass_factor;
} profile;

/* `name` is a file (it has a '/' or ends in .yaml), or a profile's name: profile/shipped.h. */
mpt_status profile_load(const char *name, profile **out, mpt_error *error);
/* One without measurements, and the defaults; NULL when out of memory. */
profile *profile_new(void);
void profile_free(profile *p); /* NULL is allowed */

/* The name that a device's profile has: "NVIDIA H200" gives "nvidia-h200". */
void profile_name_of(const char *device, char *name, size_t size);

/* Whether prices of `p` are those of the device at hand: MPT_ERROR_MISMATCH names what differs (the
 * device, its compute capability, the versions of driver, CUDA and cuBLASLt). What the profile does
 * not say differs from nothing. A made-up device is never at hand. */
mpt_status profile_check_device(const profile *p, const mpt_device_info *here, mpt_error *error);

/* Makes p->grid from p->gemm, which must come from a grid: at least half of the shapes that its
 * values of m, n and k combine to, none twice. profile_load has done it. */
mpt_status profile_make_grid(profile *p, mpt_error *error);
void profile_free_grid(profile *p);

/* "fp8_split" */
const char *gemm_column_name(gemm_column column);

typedef struct gemm_price {
  double seconds;
  bool extrapolated; /* outside the measured shapes */
} gemm_price;

/* D[m,n] = A[m,k] B[n,k]^T: trilinear interpolation of the time in m, n, k. A dimension below the
 * table costs what the smallest measured one does; above it the efficiency is that of the largest,
 * so time grows with the operations; both are labelled extrapolated. A shape missing from the table
 * has the mean efficiency of its neighbours, and counts as extrapolated. A column that the device
 * lacks gives NaN. */
gemm_price profile_gemm(const profile *p, gemm_column column, int64_t m, int64_t n, int64_t k);

/* What a product that takes the table's `seconds` takes in a training step, by gemm_factors: the
 * factor is of what it takes beyond the smallest product measured, which is mostly a launch. */
double profile_gemm_in_step(const profile *p, mpt_gemm_kind gemm, gemm_column column,
                            double seconds);

/* ---- profile_passes.c ---- */
/* Sorts passes and attention. MPT_ERROR_SYNTAX when a row is there twice. profile_load has done it.
 */
mpt_status profile_sort_tables(profile *p, mpt_error *error);

/* Seconds of a pass that reads and writes `bytes`, its elements read of `bits` (16 or 32; 8 counts
 * as 16): on a line between the measured sizes, and beyond them on the last one, unless it falls.
 * Without a table bytes / (efficiency * bandwidth). At least pass_floor. */
double profile_pass(const profile *p, pass_kind kind, int bits, double bytes);

/* Seconds of attention, forward or backward: by the measured time of a token and a channel, on a
 * line between the sequences measured, growing with the sequence beyond them; a head costs what the
 * next larger measured one does, above the largest by its channels. Without causal mask twice that.
 * NaN where the format has no rows. */
double profile_attention(const profile *p, mpt_format format, double total_tokens, int64_t sequence,
                         int64_t heads, int64_t channels, bool causal, bool backward);

/* ---- profile_save.c ---- */
/* How each figure came about, for people; kept in the profile's file. */
typedef struct profile_provenance {
  char gemm[768], factors[512], copy[256], floor[256], passes[768], attention[512];
  char conditions[768]; /* clocks, noise, other processes */
  char warning[768];    /* of them, what speaks against the figures; empty: nothing */
} profile_provenance;

/* The file of a profile that has a table; written whole or not at all. */
mpt_status profile_save(const profile *p, const profile_provenance *provenance, const char *path,
                        mpt_error *error);

#endif
