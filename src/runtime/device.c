#include "mptune/device.h"
#include "base/error.h"
#include "runtime/backends.h"
#include <math.h>

const char *mpt_standing_name(mpt_standing standing) {
  static const char *const names[] = {"absent", "emulated", "native"};
  return names[standing];
}

mpt_status mpt_device_count(const char *backend, int *count, mpt_error *error) {
  const mpt_backend *b = NULL;
  if (backend == NULL || count == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "device_count: an argument is NULL");
  MPT_RETURN_IF_FAILED(mpt_backend_find(backend, &b, error));
  return b->device_count(count, error);
}

static mpt_status find_device(const char *backend, int index, bool room, const mpt_backend **b,
                              mpt_error *error) {
  int count = 0;
  if (backend == NULL || !room)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "an argument is NULL");
  MPT_RETURN_IF_FAILED(mpt_backend_find(backend, b, error));
  MPT_RETURN_IF_FAILED((*b)->device_count(&count, error));
  if (index < 0 || index >= count)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there is no %s device %d, only 0 to %d", backend,
                    index, count - 1);
  return MPT_OK;
}

mpt_status mpt_device_describe(const char *backend, int index, mpt_device_info *info,
                               mpt_error *error) {
  const mpt_backend *b = NULL;
  mpt_device_info found = {.nvml = false};
  MPT_RETURN_IF_FAILED(find_device(backend, index, info != NULL, &b, error));
  MPT_RETURN_IF_FAILED(b->device_describe(index, &found, error));
  *info = found;
  return MPT_OK;
}

mpt_status mpt_device_observe(const char *backend, int index, mpt_device_activity *activity,
                              mpt_error *error) {
  const mpt_backend *b = NULL;
  mpt_device_activity found = {NAN, NAN, NAN, NAN, -1, 0};
  MPT_RETURN_IF_FAILED(find_device(backend, index, activity != NULL, &b, error));
  if (b->device_observe == NULL)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "the %s backend does not observe its devices",
                    backend);
  MPT_RETURN_IF_FAILED(b->device_observe(index, &found, error));
  *activity = found;
  return MPT_OK;
}
