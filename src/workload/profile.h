/* Device profiles: measured times of GEMMs and copies on one device. */
#ifndef PROFILE_H
#define PROFILE_H

#include "mptune/mptune.h"

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

typedef struct profile {
  char path[512], name[64], device[128], compute_capability[16], driver[64], cuda[32], cublaslt[32];
  char measured[32]; /* date */
  bool synthetic;
  uint32_t formats; /* native ones, 1 << mpt_format */
  gemm_row *gemm;   /* a grid in m, n, k, where shapes may be missing */
  int gemm_count;
  gemm_grid *grid;                     /* of gemm, NULL without a table */
  double gemm_rate[GEMM_COLUMN_COUNT]; /* operations per second; synthetic devices, else 0 */
  double copy_bandwidth;               /* bytes read plus written per second */
  double pass_floor;                   /* seconds a pass takes at least */
  double pass_efficiency;              /* share of copy_bandwidth that a pass reaches */
  double quantize_efficiency;  /* and that fp8 casts, transpositions and their amax passes reach */
  double attention_efficiency; /* share of a large GEMM's rate that fused attention reaches */
  /* What measured step times taught about GEMMs, copies and passes as priced here: factors, 0 for
   * none; set by a search, in no file. */
  double gemm_factor, copy_factor, pass_factor;
} profile;

/* `name` is a file (it has a '/' or ends in .yaml), or a name in the profile folders: those of
 * MPTUNE_PROFILES (separated by ':'), the source tree's profiles/devices, the installed ones. */
mpt_status profile_load(const char *name, profile **out, mpt_error *error);
void profile_free(profile *p);

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

/* max(pass_floor, bytes / (efficiency * bandwidth)) for bytes read plus written. */
double profile_pass(const profile *p, double bytes);

#endif
