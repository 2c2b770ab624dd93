/* merge_statistics: adds statistics to others, as mpt_statistics_merge does, and empties them. */
#include "kernels/cuda/device.cuh"

/* One block, a thread for each bin. */
static __global__ void merge_statistics(mpt_statistics *into, mpt_statistics *from) {
  int bin = threadIdx.x;
  uint64_t added = from->count, there = into->count;
  bool was_full = into->full, from_full = from->full;
  __syncthreads(); /* all have read what thread 0 writes */
  if (added == 0)
    return;
  if (there == 0)
    into->histogram[bin] = from->histogram[bin];
  else if (was_full)
    into->histogram[bin] = from_full ? into->histogram[bin] + from->histogram[bin] : 0;
  from->histogram[bin] = 0;
  if (bin != 0)
    return;
  into->count += from->count;
  into->zeros += from->zeros;
  into->nans += from->nans;
  into->infinities += from->infinities;
  into->amax_bits = max(into->amax_bits, from->amax_bits);
  if (into->amin_bits - 1u > from->amin_bits - 1u) /* 0, none, comes last */
    into->amin_bits = from->amin_bits;
  bool full = from_full && (was_full || there == 0);
  into->full = full;
  into->sum = full ? into->sum + from->sum : 0.0;
  into->sum_of_squares = full ? into->sum_of_squares + from->sum_of_squares : 0.0;
  from->count = from->zeros = from->nans = from->infinities = 0;
  from->amax_bits = from->amin_bits = 0;
  from->full = false;
  from->sum = from->sum_of_squares = 0.0;
}

mpt_status mpt_cuda_merge_statistics(mpt_queue *queue, mpt_statistics *into, mpt_statistics *from,
                                     mpt_error *error) {
  merge_statistics<<<1, MPT_EXPONENT_BINS, 0, cuda_of(queue)->stream>>>(into, from);
  return CUDA_LAUNCHED("merge_statistics", error);
}
