/* binary_cross_entropy: loss = mean of max(x, 0) - x t + log(1 + e^-|x|), gradient scale / count
 * (sigmoid(x) - t). */
#include "kernels/cuda/element_loss.cuh"

struct BinaryCrossEntropy {
  static __device__ __forceinline__ double value(float x, float t) {
    return (x < 0 ? 0.0 : (double)x) - (double)x * (double)t + (double)log1pf(expf(-fabsf(x)));
  }
  /* the sigmoid from e^-|x|, so that neither end loses digits */
  static __device__ __forceinline__ float slope(float x, float t) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e) - t;
  }
};

mpt_status mpt_cuda_binary_cross_entropy(mpt_queue *queue, mpt_t logits, mpt_t targets, float scale,
                                         const mpt_step_state *state, double *loss,
                                         mpt_t grad_logits, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  loss_task t = loss_task_of(c, TICKET_BINARY_CROSS_ENTROPY, scale, mpt_tensor_count(logits), state,
                             loss, NULL);
  run_element_loss<BinaryCrossEntropy>(c, logits, targets, grad_logits, t);
  return CUDA_LAUNCHED("binary_cross_entropy", error);
}
