/* Devices: what they are, what drives them, and what they are doing. */
#ifndef MPTUNE_DEVICE_H
#define MPTUNE_DEVICE_H

#include "mptune/format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a device computes in a format: not at all, with other arithmetic that gives the same rounded
 * values (whose times mean nothing), or with its own. */
typedef enum mpt_standing { MPT_ABSENT, MPT_EMULATED, MPT_NATIVE } mpt_standing;
MPT_API const char *mpt_standing_name(mpt_standing standing); /* "native" */

/* Texts are empty and numbers 0 where something is not known. */
typedef struct mpt_device_info {
  char name[128];       /* "NVIDIA H200" */
  char uuid[48];        /* "GPU-…"; changes with the card, not with the machine's setup */
  char capability[16];  /* compute capability, "9.0" */
  char driver[32];      /* "580.95.05" */
  char driver_cuda[16]; /* the newest CUDA that the driver serves, "13.0" */
  char cuda[16];        /* the runtime that mptune was built with, "13.0" */
  char cublaslt[16];    /* as cuBLASLt counts, "130101"; empty: not found */
  char blas[64];        /* what multiplies on a CPU, and for which processor: "OpenBLAS 0.3.21
                           SkylakeX"; results depend on it */
  bool nvml;            /* found: mpt_device_observe knows more */
  int processors;       /* cores, or multiprocessors */
  int64_t memory_bytes; /* in all */
  mpt_standing standing[MPT_FORMAT_COUNT];
} mpt_device_info;

typedef enum mpt_throttle {
  MPT_THROTTLE_POWER = 1,   /* at the power limit */
  MPT_THROTTLE_THERMAL = 2, /* too hot */
  MPT_THROTTLE_SETTING = 4, /* clocks set below what the card could do */
  MPT_THROTTLE_OTHER = 8    /* slowed by the board or the power supply */
} mpt_throttle;

/* NaN where a number is not known. */
typedef struct mpt_device_activity {
  double energy_joules;      /* since the driver was loaded */
  double clock_hertz;        /* of the multiprocessors, now */
  double memory_clock_hertz; /* now */
  double utilisation;        /* share of the last second or less in which some kernel ran */
  int processes;             /* that have the device open, this one too if it does; -1: not known */
  unsigned throttled;        /* mpt_throttle bits: why clocks are lower now than they could be */
} mpt_device_activity;

/* The backends that were built in, from 0; NULL after the last. */
MPT_API const char *mpt_backend_name(int index);

/* How many devices the backend has. MPT_ERROR_UNSUPPORTED says in a sentence why there is none: not
 * built in, no driver, no GPU. */
MPT_API mpt_status mpt_device_count(const char *backend, int *count, mpt_error *error);

MPT_API mpt_status mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                                       mpt_error *error);

/* What the device is doing at this moment. Takes some milliseconds. MPT_ERROR_UNSUPPORTED where
 * nothing is known: on the CPU, and without NVML. */
MPT_API mpt_status mpt_device_observe(const char *backend, int index, mpt_device_activity *activity,
                                      mpt_error *error);

#ifdef __cplusplus
}
#endif
#endif
