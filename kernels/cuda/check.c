#include "kernels/cuda/check.h"

mpt_status mpt_cuda_check(cudaError_t result, const char *what, mpt_error *error) {
  if (result == cudaSuccess)
    return MPT_OK;
  if (result == cudaErrorMemoryAllocation)
    return mpt_fail(error, MPT_ERROR_DEVICE_MEMORY, "%s: out of device memory", what);
  return mpt_fail(error, MPT_ERROR_DEVICE, "%s: %s (%s)", what, cudaGetErrorString(result),
                  cudaGetErrorName(result));
}
