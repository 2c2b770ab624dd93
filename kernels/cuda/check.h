/* What the CUDA runtime says, as this library's errors. */
#ifndef MPT_KERNELS_CUDA_CHECK_H
#define MPT_KERNELS_CUDA_CHECK_H

#include "base/error.h"
#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* MPT_OK, or MPT_ERROR_DEVICE (memory: MPT_ERROR_DEVICE_MEMORY) with "what: the runtime's words".
 */
mpt_status mpt_cuda_check(cudaError_t result, const char *what, mpt_error *error);

/* The last launch's error, named after the operation. Call it after every launch. */
#define CUDA_LAUNCHED(operation, error) mpt_cuda_check(cudaGetLastError(), operation, error)

#ifdef __cplusplus
}
#endif
#endif
