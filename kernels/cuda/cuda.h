/* What the files of the CUDA backend share on the host. Everything runs on the queue's stream;
 * nothing here allocates or waits once a queue is open, so that a step can be captured in a graph.
 */
#ifndef MPT_KERNELS_CUDA_H
#define MPT_KERNELS_CUDA_H

#include "kernels/cuda/check.h"
#include "kernels/kernels.h"
#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  CUDA_SCRATCH_BYTES = 16 << 20, /* partial results of one operation, rewritten by the next */
  CUDA_GEMM_BYTES = 32 << 20,    /* cuBLASLt's workspace */
  CUDA_STAGING_BYTES = 16 << 20  /* pinned: small uploads on their way */
};

/* What a kernel found wrong with the data it was given; the first is reported when the queue is
 * next synchronised. In device memory. */
typedef struct cuda_fault {
  int32_t kind; /* cuda_fault_kind; 0: none */
  int32_t value;
  int64_t row;
  int64_t limit; /* values must be in [0, limit) */
} cuda_fault;
typedef enum cuda_fault_kind { CUDA_FAULT_NONE, CUDA_FAULT_LABEL, CUDA_FAULT_ID } cuda_fault_kind;

struct cuda_gemm; /* gemm.h: handle, plans by shape */

typedef struct cuda_context {
  int device;
  cudaStream_t stream;
  bool owns_stream;
  mpt_allocator allocator; /* without functions: CUDA's own */
  int multiprocessors;
  int capability; /* 90 for compute capability 9.0 */
  size_t l2_bytes;
  char name[256];
  void *scratch;        /* [CUDA_SCRATCH_BYTES], 256-byte aligned, contents undefined */
  uint32_t *tickets;    /* [CUDA_TICKETS] zero between operations: "am I the last block?" */
  uint64_t *bins;       /* [MPT_EXPONENT_BINS] zero between operations: blocks add to them */
  void *gemm_workspace; /* [CUDA_GEMM_BYTES] */
  cuda_fault *fault;    /* device */
  char *staging;        /* pinned host [CUDA_STAGING_BYTES], a ring */
  size_t staging_used;
  cudaEvent_t staging_free;             /* recorded when the ring begins again */
  cudaEvent_t stream_order;             /* recorded where one stream follows another */
  char *fetched;                        /* pinned host [MPT_FETCH_SLOTS][MPT_FETCH_BYTES] */
  cudaEvent_t fetches[MPT_FETCH_SLOTS]; /* timed */
  int last_fetched;                     /* slot, -1: none */
  struct cuda_gemm *gemm;
} cuda_context;

enum { CUDA_TICKETS = 64 };

static inline cuda_context *cuda_of(const mpt_queue *queue) {
  return (cuda_context *)queue->context;
}

/* memory.c: device memory, from the host's allocator where there is one; not zeroed. */
mpt_status mpt_cuda_take(cuda_context *context, size_t bytes, void **memory, const char *what,
                         mpt_error *error);
void mpt_cuda_give(cuda_context *context, void *memory); /* NULL is allowed */

/* device_info.c: without a context on the device */
mpt_status mpt_cuda_device_count(int *count, mpt_error *error);
mpt_status mpt_cuda_device_describe(int index, mpt_device_info *info, mpt_error *error);
mpt_status mpt_cuda_device_observe(int index, mpt_device_activity *activity, mpt_error *error);

/* gemm: everything of cuBLASLt's that lives as long as the queue. */
mpt_status mpt_cuda_gemm_open(cuda_context *context, mpt_error *error);
void mpt_cuda_gemm_close(cuda_context *context);

/* The time of a product: the median over replays of a graph of products of random operands that are
 * not in cache. MPT_ERROR_UNSUPPORTED where cuBLASLt has no such product. */
mpt_status mpt_cuda_gemm_time(mpt_queue *queue, const mpt_gemm_shape *product, double *seconds,
                              mpt_error *error);

/* Every operation of the table, each in its own file: mpt_cuda_fill, mpt_cuda_copy, ... */
#define CUDA_DECLARE(name, arguments) mpt_status mpt_cuda_##name arguments;
MPT_OPERATIONS(CUDA_DECLARE)
#undef CUDA_DECLARE

#ifdef __cplusplus
}
#endif
#endif
