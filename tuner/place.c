#include "tuner/place.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static mpt_status open_queue(const char *backend, int index, mpt_queue **queue, mpt_error *error) {
  mpt_queue_config config = mpt_queue_config_default();
  config.backend = backend;
  config.device_index = index;
  return mpt_queue_open(&config, queue, error);
}

mpt_status place_backend(const char *word, int device_index, const char **backend,
                         mpt_error *error) {
  static const char *const known[] = {"auto", "cpu", "cuda"};
  const bool automatic = word == NULL || strcmp(word, known[0]) == 0;
  mpt_queue *queue = NULL;
  *backend = known[1];
  if (!automatic && strcmp(word, known[1]) == 0)
    return MPT_OK;
  if (!automatic && strcmp(word, known[2]) != 0) {
    const char *near = mpt_nearest_word(word, known, 3);
    return mpt_fail(
        error, MPT_ERROR_ARGUMENT, "unknown backend '%s'%s%s%s (known: auto, cpu, cuda)", word,
        near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
  }
  mpt_error why = {0};
  mpt_status status = open_queue(known[2], device_index, &queue, &why);
  mpt_queue_close(queue);
  if (status == MPT_OK)
    *backend = known[2];
  if (status == MPT_OK || automatic)
    return MPT_OK;
  if (error != NULL)
    *error = why;
  return status;
}

static bool is_here(const char *target) {
  return target != NULL && strcmp(target, "here") == 0;
}

/* Whether times of the workload as it is given say something about its target. */
static const char *default_target(const workload *w, const char *backend) {
  return strcmp(backend, "cuda") == 0 && !w->priced.present ? "here" : w->target;
}

static mpt_status check_here(const workload *w, const char *backend, mpt_error *error) {
  if (strcmp(backend, "cuda") != 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "target 'here' on the cpu backend: formats are emulated there, so their step "
                    "times mean nothing; name a device profile (--target nvidia-h200), or train on "
                    "a GPU (--backend cuda)");
  if (w->priced.present)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "target 'here' measures the model as it is given, and '%s' is priced_as a "
                    "larger one; take priced_as out, or name a device profile",
                    w->path);
  return MPT_OK;
}

static mpt_status open_device(const char *target, place *out, profile **p, mpt_error *error) {
  out->fast = true;
  snprintf(out->numerics, sizeof out->numerics, "backend cuda %d", MPTUNE_CUDA_NUMERICS);
  snprintf(out->text, sizeof out->text, "cuda, numerics %d", MPTUNE_CUDA_NUMERICS);
  if (out->measures)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "no device profile");
  return profile_load(target, p, error);
}

static mpt_status open_processor(const workload *w, const char *target, bool here, place *out,
                                 profile **p, mpt_error *error) {
  snprintf(out->backend_key, sizeof out->backend_key, "cpu");
  snprintf(out->numerics, sizeof out->numerics, "backend cpu %d\nthreads %d", MPTUNE_CPU_NUMERICS,
           w->threads);
  snprintf(out->text, sizeof out->text, "cpu, numerics %d, %d threads", MPTUNE_CPU_NUMERICS,
           w->threads);
  if (here)
    snprintf(out->device, sizeof out->device, "emulated on this processor");
  return profile_load(here ? w->target : target, p, error);
}

mpt_status place_open(const workload *w, const tuner_options *options, place *out, profile **p,
                      mpt_error *error) {
  *out = (place){.device_index = options->device_index};
  MPT_RETURN_IF_FAILED(
      place_backend(options->backend, options->device_index, &out->backend, error));
  const char *target = options->target != NULL ? options->target : default_target(w, out->backend);
  out->measures = is_here(target);
  if (out->measures && !options->emulated_times)
    MPT_RETURN_IF_FAILED(check_here(w, out->backend, error));
  return strcmp(out->backend, "cuda") == 0
             ? open_device(target, out, p, error)
             : open_processor(w, target, out->measures, out, p, error);
}
