/* u = c B s, where B B' is the Hessian of a loss in its outputs and s are random signs: s_i is bit
 * i % 128 of the i / 128-th block of Philox numbers. c is scale / rows, or scale / elements.
 *   cross-entropy    B s = r s - p <r, s>   p = softmax(x), r = sqrt(p); B B' = diag(p) - p p'
 *   nll              B s = s / sqrt(p)
 *   binary           B s = sqrt(q (1 - q)) s   q = 1 / (1 + e^-x)
 *   squared          B s = sqrt(2) s
 * A block takes rows in turn, or elements where a row is nothing of its own. For a handful of
 * batches in a training, so it is short instead of fast. */
#include "base/random.h"
#include "kernels/cuda/array.cuh"

enum { THREADS = 256, BLOCKS_OF_EACH = 8 };

struct signs_task {
  Array<Any> x, u;
  int64_t x_row, u_row, rows, columns;
  mpt_dropout_key key;
  float scale; /* over rows or elements */
  const mpt_step_state *state;
  __device__ float factor() const { return state != NULL ? scale * state->loss_scale : scale; }
  __device__ float sign(int64_t i) const {
    uint32_t words[4];
    mpt_philox(key.seed, (uint64_t)(i / 128) | (uint64_t)key.layer << 40, key.step, words);
    const int word = (int)(i % 128 / 32);
    const uint32_t low = word & 1 ? words[1] : words[0], high = word & 1 ? words[3] : words[2];
    return (word & 2 ? high : low) >> (int)(i % 32) & 1 ? 1.0f : -1.0f;
  }
};

/* u may be x: a thread reads its elements of a row before it writes them. */
static __global__ void __launch_bounds__(THREADS) sign_rows(signs_task t) {
  __shared__ float shared[32];
  const float scale = t.factor();
  for (int64_t row = blockIdx.x; row < t.rows; row += gridDim.x) {
    const int64_t from = row * t.x_row, first = row * t.columns;
    float largest = -INFINITY, sum = 0.0f, mean = 0.0f;
    for (int64_t i = threadIdx.x; i < t.columns; i += THREADS)
      largest = fmaxf(largest, t.x.get(from + i)); /* NaN is passed over, and makes the sum NaN */
    largest = block_all(largest, Max(), -INFINITY, shared);
    for (int64_t i = threadIdx.x; i < t.columns; i += THREADS) {
      const float r = expf(0.5f * (t.x.get(from + i) - largest));
      sum += r * r;
      mean += r * t.sign(first + i);
    }
    sum = block_all(sum, Sum(), 0.0f, shared);
    mean = block_all(mean, Sum(), 0.0f, shared);
    const float factor = 1.0f / sqrtf(sum);
    mean *= factor;
    for (int64_t i = threadIdx.x; i < t.columns; i += THREADS) {
      const float r = factor * expf(0.5f * (t.x.get(from + i) - largest));
      t.u.set(row * t.u_row + i, scale * (r * t.sign(first + i) - r * r * mean));
    }
  }
}

static __global__ void __launch_bounds__(THREADS) sign_elements(mpt_curvature kind, signs_task t) {
  const float scale = t.factor();
  const int64_t step = (int64_t)gridDim.x * THREADS;
  for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < t.rows * t.columns; i += step) {
    const int64_t row = i / t.columns, column = i - row * t.columns;
    const float x = t.x.get(row * t.x_row + column), signed_scale = scale * t.sign(i);
    float u = signed_scale * 1.41421356f;
    if (kind == MPT_CURVATURE_NLL) { /* where the loss is clamped it has no slope */
      u = x < 0x1p-126f ? 0.0f : signed_scale / sqrtf(x);
    } else if (kind == MPT_CURVATURE_BINARY) {
      const float e = expf(-0.5f * fabsf(x)); /* sqrt(q (1 - q)) is e / (1 + e^2) */
      u = signed_scale * (e / (1.0f + e * e));
    }
    t.u.set(row * t.u_row + column, u);
  }
}

mpt_status mpt_cuda_curvature_signs(mpt_queue *queue, mpt_curvature kind, mpt_t x, float scale,
                                    const mpt_step_state *state, mpt_dropout_key key, mpt_t u,
                                    mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  const int64_t rows = x->shape[0], columns = x->shape[1];
  const bool by_row = kind == MPT_CURVATURE_CROSS_ENTROPY;
  const int64_t divisor = by_row || kind == MPT_CURVATURE_NLL ? rows : rows * columns;
  const int64_t wanted = by_row ? rows : divide_up(rows * columns, THREADS);
  const int64_t most = BLOCKS_OF_EACH * (int64_t)c->multiprocessors;
  const unsigned blocks = (unsigned)(wanted < most ? wanted : most);
  const signs_task t = {array_of<Any>(x),
                        array_of<Any>(u),
                        row_distance(x),
                        row_distance(u),
                        rows,
                        columns,
                        key,
                        scale / (float)divisor,
                        state};
  if (by_row)
    sign_rows<<<blocks, THREADS, 0, c->stream>>>(t);
  else
    sign_elements<<<blocks, THREADS, 0, c->stream>>>(kind, t);
  return CUDA_LAUNCHED("curvature_signs", error);
}
