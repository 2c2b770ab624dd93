#include "tuner/place.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *const backend_words[] = {"auto", "cpu", "cuda"};

static mpt_status unknown_backend(const char *word, mpt_error *error) {
  const char *near = strcasecmp(word, "gpu") == 0 ? "cuda" : NULL;
  for (int i = 0; i < 3 && near == NULL; i++)
    if (strcasecmp(word, backend_words[i]) == 0)
      near = backend_words[i];
  if (near == NULL)
    near = mpt_nearest_word(word, backend_words, 3);
  return mpt_fail(error, MPT_ERROR_ARGUMENT, "unknown backend '%s'%s%s%s (known: auto, cpu, cuda)",
                  word, near == NULL ? "" : "; did you mean '", near == NULL ? "" : near,
                  near == NULL ? "" : "'?");
}

static mpt_status describe_gpu(int device_index, mpt_device_info *info, mpt_error *error) {
  const mpt_status status = mpt_device_describe("cuda", device_index, info, error);
  if (status != MPT_OK && mpt_backend_name(1) == NULL)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "the cuda backend is not built in (./mptune builds it where there are nvcc and "
                    "a GPU, or with MPTUNE_CUDA=ON); use --backend cpu");
  return status;
}

mpt_status place_backend(const char *word, int device_index, const char **backend,
                         mpt_error *error) {
  mpt_device_info info;
  mpt_error why = {0};
  const bool automatic = word == NULL || strcmp(word, "auto") == 0;
  *backend = "cpu";
  if (!automatic && strcmp(word, "cpu") == 0) {
    if (device_index == 0)
      return MPT_OK;
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--device %d names a GPU, and the cpu backend has none; leave it out, or use "
                    "--backend cuda",
                    device_index);
  }
  if (!automatic && strcmp(word, "cuda") != 0)
    return unknown_backend(word, error);
  const mpt_status status = describe_gpu(device_index, &info, &why);
  const bool old = status == MPT_OK && info.standing[MPT_BF16] != MPT_NATIVE;
  /* A GPU by its number was asked for, too. */
  const bool asked = !automatic || device_index != 0;
  if (old && asked)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "%s has compute capability %s, the cuda backend needs 8.0 or later; use "
                    "--backend cpu",
                    info.name, info.capability);
  if (status == MPT_OK && !old)
    *backend = "cuda";
  if (status == MPT_OK || !asked)
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

static void append(mpt_error *error, const char *advice) {
  const size_t length = strlen(error->message);
  snprintf(error->message + length, sizeof error->message - length, "%s", advice);
}

/* The profile of the device at hand, which ranks what was not measured yet: where mptune bench
 * writes it, else among the others. */
static mpt_status load_own(const mpt_device_info *info, bool force, profile **p, mpt_error *error) {
  char name[64], file[80];
  profile_name_of(info->name, name, sizeof name);
  snprintf(file, sizeof file, "./%s.yaml", name);
  mpt_error why = {0};
  mpt_status status = profile_load(access(file, R_OK) == 0 ? file : name, p, &why);
  if (status == MPT_ERROR_NOT_FOUND)
    return mpt_fail(
        error, status,
        "no device profile of this %s ('%s'), from which a search ranks what it has not "
        "measured yet; mptune bench makes one in a few minutes, or name another device "
        "to predict for (--target)",
        info->name, name);
  if (status == MPT_OK)
    status = profile_check_device(*p, info, &why);
  if (status == MPT_ERROR_MISMATCH && force) { /* its prices rank only; times are measured */
    mpt_log_warning("%s; it is taken all the same, to rank what is not measured yet (mptune bench "
                    "measures this device)",
                    why.message);
    return MPT_OK;
  }
  if (status == MPT_ERROR_MISMATCH)
    append(&why, "; measure this device (mptune bench), or --force it");
  if (status != MPT_OK && error != NULL)
    *error = why;
  if (status != MPT_OK) {
    profile_free(*p);
    *p = NULL;
  }
  return status;
}

static uint32_t native_formats(const mpt_device_info *info) {
  uint32_t formats = 0;
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    if (info->standing[f] == MPT_NATIVE)
      formats |= 1u << f;
  return formats;
}

static bool sums_fast(const mpt_device_info *info) {
  return info->standing[MPT_FP8_E4M3] == MPT_NATIVE;
}

mpt_status place_formats(const char *backend, int device_index, uint32_t *formats, bool *fast,
                         mpt_error *error) {
  mpt_device_info info;
  *formats = MPT_ALL_FORMATS;
  *fast = false;
  if (strcmp(backend, "cpu") == 0)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_device_describe(backend, device_index, &info, error));
  *formats = native_formats(&info);
  *fast = sums_fast(&info);
  return MPT_OK;
}

static mpt_status open_device(const char *target, bool force, place *out, profile **p,
                              mpt_error *error) {
  mpt_device_info info;
  MPT_RETURN_IF_FAILED(mpt_device_describe(out->backend, out->device_index, &info, error));
  out->fast = sums_fast(&info);
  snprintf(out->backend_key, sizeof out->backend_key, "cuda on %s", info.name);
  snprintf(out->numerics, sizeof out->numerics, "backend cuda %d\n%s, %s", MPTUNE_CUDA_NUMERICS,
           info.name, info.capability);
  snprintf(out->text, sizeof out->text, "cuda, numerics %d, %s, compute capability %s",
           MPTUNE_CUDA_NUMERICS, info.name, info.capability);
  if (out->measures)
    snprintf(out->device, sizeof out->device,
             "measured on %.90s, compute capability %s, driver %s, CUDA %s, cuBLASLt %s", info.name,
             info.capability, info.driver, info.cuda, info.cublaslt);
  MPT_RETURN_IF_FAILED(out->measures ? load_own(&info, force, p, error)
                                     : profile_load(target, p, error));
  /* What the device lacks is not trained, whatever the profile's device has. */
  (*p)->formats &= native_formats(&info);
  return MPT_OK;
}

static mpt_status open_processor(const workload *w, const char *target, bool here, place *out,
                                 profile **p, mpt_error *error) {
  mpt_device_info info;
  MPT_RETURN_IF_FAILED(mpt_device_describe("cpu", 0, &info, error));
  snprintf(out->backend_key, sizeof out->backend_key, "cpu");
  snprintf(out->numerics, sizeof out->numerics, "backend cpu %d\nthreads %d\nblas %s",
           MPTUNE_CPU_NUMERICS, w->threads, info.blas);
  snprintf(out->text, sizeof out->text, "cpu, numerics %d, %d thread%s, %s", MPTUNE_CPU_NUMERICS,
           w->threads, w->threads == 1 ? "" : "s", info.blas);
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
             ? open_device(target, options->force, out, p, error)
             : open_processor(w, target, out->measures, out, p, error);
}
