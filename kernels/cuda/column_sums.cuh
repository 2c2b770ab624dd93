/* Sums of columns, in an order that depends on shapes alone: many blocks each sum some rows and
 * leave a row of partial sums in scratch, and a second kernel adds these. */
#ifndef MPT_KERNELS_CUDA_COLUMN_SUMS_CUH
#define MPT_KERNELS_CUDA_COLUMN_SUMS_CUH

#include "kernels/cuda/device.cuh"

enum { SUM_SIDE = 32 };

/* out[i] = sum of partial[p][i] over `parts` (+ out[i]); blockIdx.y picks one of two such sums,
 * whose partial sums lie `apart` from each other. One block: 32 columns, 32 runs of parts. */
static __global__ void add_partial_sums(const float *partial, int64_t apart, int parts, int64_t n,
                                        float *out0, float *out1, bool accumulate) {
  __shared__ float runs[SUM_SIDE][SUM_SIDE + 1];
  int64_t column = (int64_t)blockIdx.x * SUM_SIDE + threadIdx.x;
  const float *from = partial + blockIdx.y * apart;
  float sum = 0.0f;
  if (column < n)
#pragma unroll 4
    for (int p = threadIdx.y; p < parts; p += SUM_SIDE)
      sum += from[p * n + column];
  runs[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  float total = warp_all(runs[threadIdx.x][threadIdx.y], Sum());
  column = (int64_t)blockIdx.x * SUM_SIDE + threadIdx.y;
  float *out = blockIdx.y == 0 ? out0 : out1;
  if (threadIdx.x == 0 && column < n)
    out[column] = accumulate ? out[column] + total : total;
}

static inline void launch_partial_sums(cuda_context *c, const float *partial, int64_t apart,
                                       int parts, int64_t n, float *out0, float *out1,
                                       bool accumulate) {
  dim3 grid((unsigned)divide_up(n, SUM_SIDE), out1 != NULL ? 2 : 1), block(SUM_SIDE, SUM_SIDE);
  add_partial_sums<<<grid, block, 0, c->stream>>>(partial, apart, parts, n, out0, out1, accumulate);
}

#endif
