/* Device memory: the host's allocator's where it gave one, else CUDA's. */
#include "kernels/cuda/cuda.h"

static mpt_status no_memory(const cuda_context *c, size_t bytes, const char *what,
                            mpt_error *error) {
  size_t left = 0, total = 0;
  cudaMemGetInfo(&left, &total);
  return mpt_fail(error, MPT_ERROR_DEVICE_MEMORY,
                  "%s%sout of memory on %s: %.2f GiB wanted%s, %.2f of %.2f GiB are free",
                  what != NULL ? what : "", what != NULL ? ": " : "", c->name,
                  (double)bytes / 1073741824.0,
                  c->allocator.allocate != NULL ? " of the program's allocator" : "",
                  (double)left / 1073741824.0, (double)total / 1073741824.0);
}

mpt_status mpt_cuda_take(cuda_context *c, size_t bytes, void **memory, const char *what,
                         mpt_error *error) {
  size_t some = bytes > 0 ? bytes : 1;
  *memory = NULL;
  if (c->allocator.allocate != NULL) {
    void *given = c->allocator.allocate(c->allocator.context, some, c->device, c->stream);
    if (given == NULL)
      return no_memory(c, bytes, what, error);
    if ((uintptr_t)given % 256 != 0) {
      c->allocator.release(c->allocator.context, given, c->device, c->stream);
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "the program's allocator gave memory that is not aligned to 256 bytes");
    }
    *memory = given;
    return MPT_OK;
  }
  cudaError_t result = cudaMalloc(memory, some);
  if (result != cudaErrorMemoryAllocation)
    return mpt_cuda_check(result, what, error);
  cudaGetLastError();
  return no_memory(c, bytes, what, error);
}

void mpt_cuda_give(cuda_context *c, void *memory) {
  if (memory == NULL)
    return;
  if (c->allocator.release != NULL)
    c->allocator.release(c->allocator.context, memory, c->device, c->stream);
  else
    cudaFree(memory);
}
