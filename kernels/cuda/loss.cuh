/* What the losses share: the scale of the gradient, and a sum over blocks in a fixed order. */
#ifndef MPT_KERNELS_CUDA_LOSS_CUH
#define MPT_KERNELS_CUDA_LOSS_CUH

#include "kernels/cuda/any_format.cuh"

enum { TICKET_CROSS_ENTROPY = 8, TICKET_NLL, TICKET_BINARY_CROSS_ENTROPY, TICKET_MEAN_SQUARED };

struct loss_part {
  double loss;
  int64_t correct;
};

/* What every loss kernel is given beside its tensors. */
struct loss_task {
  float scale;                 /* of the gradient */
  float divisor;               /* what its mean divides by */
  int64_t count;               /* the same, of the loss */
  const mpt_step_state *state; /* NULL: a loss scale of 1 */
  double *loss;                /* NULL: none */
  int64_t *correct;            /* NULL: none */
  loss_part *parts;            /* [blocks] */
  uint32_t *ticket;
};

static __device__ __forceinline__ float loss_gradient_scale(const loss_task &t) {
  return t.state != NULL ? t.scale * t.state->loss_scale / t.divisor : t.scale / t.divisor;
}

/* Every thread of every block comes here once with its own part. A block's parts are added in a
 * tree, the blocks' by the last one: each thread every blockDim-th, then in a tree. */
static __device__ __forceinline__ void loss_finish(const loss_task &t, loss_part part) {
  __shared__ double losses[32];
  __shared__ long long counts[32];
  part.loss = block_all(part.loss, Sum(), 0.0, losses);
  part.correct = block_all((long long)part.correct, Sum(), 0LL, counts);
  if (threadIdx.x == 0)
    t.parts[blockIdx.x] = part;
  if (!is_last_block(t.ticket))
    return;
  loss_part total = {0, 0};
  for (unsigned b = threadIdx.x; b < gridDim.x; b += blockDim.x) {
    total.loss += __ldcg(&t.parts[b].loss);
    total.correct += __ldcg((const long long *)&t.parts[b].correct);
  }
  total.loss = block_all(total.loss, Sum(), 0.0, losses);
  total.correct = block_all((long long)total.correct, Sum(), 0LL, counts);
  if (threadIdx.x != 0)
    return;
  if (t.loss != NULL)
    *t.loss = total.loss / (double)t.count;
  if (t.correct != NULL)
    *t.correct = total.correct;
}

static inline loss_task loss_task_of(cuda_context *c, int ticket, float scale, int64_t count,
                                     const mpt_step_state *state, double *loss, int64_t *correct) {
  loss_task t = {scale,
                 (float)count,
                 count,
                 state,
                 loss,
                 correct,
                 (loss_part *)c->scratch,
                 c->tickets + ticket};
  return t;
}

#endif
