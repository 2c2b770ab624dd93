/* step_begin: what moves between steps, on the device, by the same rules as on the processor. */
#include "kernels/cuda/device.cuh"
#include "kernels/step_rules.h"

enum { THREADS = 256 };

/* One block: what the scales need of the state is read before the state moves. */
static __global__ void step_begin(mpt_step_state *state, mpt_scale *scales, int count) {
  int64_t step = state->first_step + state->steps;
  bool ended = state->pending != 0;
  for (int i = threadIdx.x; i < count; i += THREADS)
    rule_scale_step(&scales[i], step, ended);
  __syncthreads();
  if (threadIdx.x == 0) {
    rule_state_step(state);
    rule_state_begin(state);
  }
}

mpt_status mpt_cuda_step_begin(mpt_queue *queue, mpt_step_state *state, mpt_scale *scales,
                               int count, mpt_error *error) {
  step_begin<<<1, THREADS, 0, cuda_of(queue)->stream>>>(state, scales, count);
  return CUDA_LAUNCHED("step_begin", error);
}
