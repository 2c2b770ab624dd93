/* Where a search trains, and whose times it is about. */
#ifndef PLACE_H
#define PLACE_H

#include "profile/profile.h"
#include "tuner/tuner.h"

/* The backend that a word of --backend means: "cpu", "cuda", or "auto" (NULL): cuda where it is
 * built in and a device answers, otherwise cpu. A device other than 0 asks for cuda.
 * MPT_ERROR_ARGUMENT for another word, and the queue's own words when a backend that was asked for
 * cannot run. `*backend` is a constant. */
mpt_status place_backend(const char *word, int device_index, const char **backend,
                         mpt_error *error);

/* The formats that may be trained there: all where they are emulated, else the native ones; and
 * whether fp8 has tensor cores, whose sums fprop then takes (graph_uniform). */
mpt_status place_formats(const char *backend, int device_index, uint32_t *formats, bool *fast,
                         mpt_error *error);

typedef struct place {
  const char *backend; /* "cpu", "cuda" */
  int device_index;
  bool fast;             /* fp8 fprop accumulates as the tensor cores prefer */
  bool measures;         /* target `here`: step times are measured, on this device */
  char backend_key[192]; /* "cpu", "cuda on NVIDIA H200": runs of two do not share a directory */
  char numerics[320];    /* what results depend on, for their key: backend, its version, device */
  char text[320];        /* the same for people */
  char device[256]; /* what times depend on: device, driver, libraries; "" unless it measures */
} place;

/* Chooses the backend and finds the profile that prices. A target of NULL is `here` on a GPU,
 * unless the workload is priced as a larger one, otherwise the workload's. `here` on the CPU is
 * refused: formats are emulated there. The caller frees *p with profile_free. */
mpt_status place_open(const workload *w, const tuner_options *options, place *out, profile **p,
                      mpt_error *error);

/* The same of a workload that a program trains (options->program): place_program.c. `here`, where
 * the program times its steps, unless a target is named. */
mpt_status place_of_program(const workload *w, const tuner_options *options, place *out,
                            profile **p, mpt_error *error);

#endif
