/* mean_squared_error: loss = mean of (x - t)^2, gradient 2 scale / count (x - t). */
#include "kernels/cuda/element_loss.cuh"

struct SquaredError {
  static __device__ __forceinline__ double value(float x, float t) {
    double d = (double)x - (double)t;
    return d * d;
  }
  static __device__ __forceinline__ float slope(float x, float t) { return x - t; }
};

mpt_status mpt_cuda_mean_squared_error(mpt_queue *queue, mpt_t outputs, mpt_t targets, float scale,
                                       const mpt_step_state *state, double *loss,
                                       mpt_t grad_outputs, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  loss_task t = loss_task_of(c, TICKET_MEAN_SQUARED, 2.0f * scale, mpt_tensor_count(outputs), state,
                             loss, NULL);
  run_element_loss<SquaredError>(c, outputs, targets, grad_outputs, t);
  return CUDA_LAUNCHED("mean_squared_error", error);
}
