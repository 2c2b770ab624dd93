/* cross_entropy: loss = mean over rows of log(sum exp(x - max)) - (x[label] - max), and its
 * gradient scale / rows (softmax(x) - onehot(label)).
 *
 * The floor is bytes: each logit read once, each gradient written once. So a row stays in shared
 * memory between the pass that finds its maximum and sum and the pass that writes its gradient (a
 * row of 50304 bf16 is 98 KiB: two blocks, each with a row, fit on a multiprocessor). Every thread
 * owns the same vectors of every row. As soon as it has written the gradient of one, it asks for
 * the same vector of the block's next row, in the same place: reads are always under way, and no
 * barrier separates rows. What of a row does not fit is read twice, the second time with luck from
 * the L2. The maximum and the sum are found in one pass: when the maximum rises, the sum so far is
 * scaled down (Milakov and Gimelshein 2018).
 *
 * The order of sums depends on the format and place of the logits and the shape, not on the
 * gradient's format, so the gradient in any format is the fp32 one rounded. */
#include "kernels/cuda/loss.cuh"
#include <float.h>

enum { MOST_THREADS = 512 };

struct rows_task {
  const void *logits;
  int64_t logits_row;
  any_matrix grad;
  bool grad_vectors; /* the gradient can be written in vectors, in the format of the logits */
  const int32_t *labels;
  int64_t rows;
  int classes;
  int vectors; /* of a row; vectors * N == classes */
  int kept;    /* of them, in shared memory */
  cuda_fault *fault;
  loss_task loss;
};

/* e^x to 2^-22, zero where it would be subnormal */
static __device__ __forceinline__ float fast_exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}

static __device__ __forceinline__ void copy_16_bytes(void *shared, const void *global) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(shared)),
      "l"(global)
      : "memory");
}

static __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

/* Row r's vectors: the kept ones from shared memory, others from where they are. */
template <class X, int N> struct row_reader {
  const typename X::stored *row;
  const uint4 *kept_row;
  int kept;
  __device__ __forceinline__ void get(int v, float (&x)[N]) const {
    if (v < kept)
      load_vector<X, N>((const typename X::stored *)kept_row + (int64_t)v * N, x);
    else
      load_vector<X, N>(row + (int64_t)v * N, x);
  }
};

template <class X, int N>
static __device__ __forceinline__ void prefetch(const rows_task &t, uint4 *kept_row, int64_t r,
                                                int v) {
  const typename X::stored *row = (const typename X::stored *)t.logits + r * t.logits_row;
  if (v < t.kept && r < t.rows)
    copy_16_bytes(kept_row + v, row + (int64_t)v * N);
}

/* This thread's vectors: their largest element, and the sum of exp(x - largest). The largest begins
 * at the lowest float, so that elements of -infinity are e^-infinity = 0 from the start. NaN is
 * passed over by the maximum and makes the sum NaN. */
template <class X, int N>
static __device__ __forceinline__ void
largest_and_sum(const rows_task &t, const row_reader<X, N> &reader, float *largest, float *sum) {
  float m = -FLT_MAX, s = 0;
#pragma unroll 2
  for (int v = threadIdx.x; v < t.vectors; v += blockDim.x) {
    float x[N];
    reader.get(v, x);
    float top = x[0];
#pragma unroll
    for (int i = 1; i < N; i++)
      top = fmaxf(top, x[i]);
    top = fmaxf(m, top);
    float part = 0;
#pragma unroll
    for (int i = 0; i < N; i++)
      part += fast_exp(x[i] - top);
    s = s * fast_exp(m - top) + part;
    m = top;
  }
  *largest = m;
  *sum = s;
}

/* Whether an element before the label is as large: then the label is not the first of them. */
template <class X, int N>
static __device__ __forceinline__ bool
comes_earlier(const rows_task &t, const row_reader<X, N> &reader, int label, float largest) {
  bool found = false;
  for (int v = threadIdx.x; v < t.vectors && v * N < label; v += blockDim.x) {
    float x[N];
    reader.get(v, x);
#pragma unroll
    for (int i = 0; i < N; i++)
      found |= v * N + i < label && x[i] == largest;
  }
  return __syncthreads_or(found) != 0;
}

/* The gradient of row r; asks for the block's next row. */
template <class X, int N>
static __device__ __forceinline__ void gradient(const rows_task &t, const row_reader<X, N> &reader,
                                                uint4 *kept_row, int64_t r, int label,
                                                float largest, float sum, float scale) {
  float factor = scale / sum;
  char *grad = (char *)t.grad.data;
#pragma unroll 2
  for (int v = threadIdx.x; v < t.vectors; v += blockDim.x) {
    float x[N];
    reader.get(v, x);
    if (grad != NULL) {
      int at = label - v * N;
#pragma unroll
      for (int i = 0; i < N; i++)
        x[i] = fast_exp(x[i] - largest) * factor;
      if (at >= 0 && at < N) {
#pragma unroll
        for (int i = 0; i < N; i++)
          x[i] -= i == at ? scale : 0.0f;
      }
      int64_t index = r * t.grad.row + (int64_t)v * N;
      if (t.grad_vectors) {
        store_vector<X, N>((typename X::stored *)grad + index, x);
      } else {
#pragma unroll
        for (int i = 0; i < N; i++)
          store_any<1>(t.grad.format, grad, index + i, {x[i]});
      }
    }
    prefetch<X, N>(t, kept_row, r + gridDim.x, v);
  }
}

/* N elements of X in 16 bytes, or 1 where rows are not so aligned. */
template <class X, int N>
static __global__ void __launch_bounds__(MOST_THREADS, 2)
    cross_entropy(const __grid_constant__ rows_task t) {
  extern __shared__ uint4 kept_row[];
  __shared__ float shared[32];
  loss_part part = {0, 0};
  float scale = loss_gradient_scale(t.loss);
  for (int v = threadIdx.x; v < t.kept; v += blockDim.x)
    prefetch<X, N>(t, kept_row, blockIdx.x, v);
  for (int64_t r = blockIdx.x; r < t.rows; r += gridDim.x) {
    row_reader<X, N> reader = {(const typename X::stored *)t.logits + r * t.logits_row, kept_row,
                               t.kept};
    /* The gradient may overwrite the row: the barriers of the sums lie between. */
    int label = t.labels[r];
    bool known = label >= 0 && label < t.classes;
    float x_label = known ? X::load(reader.row[label]) : NAN, m, s;
    wait_for_copies();
    largest_and_sum<X, N>(t, reader, &m, &s);
    float largest = block_all(m, Max(), -FLT_MAX, shared);
    float sum = block_all(s * fast_exp(m - largest), Sum(), 0.0f, shared);
    bool correct = x_label == largest;
    if (correct) /* the same for all threads */
      correct = !comes_earlier<X, N>(t, reader, label, largest);
    if (threadIdx.x == 0) {
      part.loss += log((double)sum) - ((double)x_label - (double)largest);
      part.correct += correct;
      if (!known)
        report_fault(t.fault, CUDA_FAULT_LABEL, r, label, t.classes);
    }
    gradient<X, N>(t, reader, kept_row, r, label, largest, sum, scale);
  }
  loss_finish(t.loss, part);
}

static int threads_for(int vectors) {
  int threads = 32;
  while (threads < MOST_THREADS && threads * 2 < vectors)
    threads *= 2;
  return threads;
}

/* As much of a row in shared memory as lets two blocks run beside each other, or one where the row
 * is longer than that. */
static int keep(int vectors, int bytes_per_multiprocessor) {
  const int reserved = 2048; /* of each block: its own sums, and what the system takes */
  int two = (bytes_per_multiprocessor / 2 - reserved) / 16;
  int one = (bytes_per_multiprocessor - reserved) / 16;
  return vectors <= two ? vectors : vectors < one ? vectors : one;
}

template <class X, int N> static mpt_status run(cuda_context *c, rows_task t, mpt_error *error) {
  int bytes = 0, blocks = 0;
  t.vectors = t.classes / N;
  int threads = threads_for(t.vectors);
  if (N > 1) {
    MPT_RETURN_IF_FAILED(cuda_check(
        cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, c->device),
        "cross_entropy", error));
    t.kept = keep(t.vectors, bytes);
  }
  bytes = t.kept * 16;
  MPT_RETURN_IF_FAILED(cuda_check(
      cudaFuncSetAttribute(cross_entropy<X, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
      "cross_entropy", error));
  MPT_RETURN_IF_FAILED(cuda_check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                                      &blocks, cross_entropy<X, N>, threads, (size_t)bytes),
                                  "cross_entropy", error));
  int64_t grid = (int64_t)blocks * c->multiprocessors;
  cross_entropy<X, N><<<(unsigned)(grid < t.rows ? grid : t.rows), threads, bytes, c->stream>>>(t);
  return CUDA_LAUNCHED("cross_entropy", error);
}

template <class X>
static mpt_status run_rows(cuda_context *c, mpt_t logits, mpt_t grad, rows_task t,
                           mpt_error *error) {
  constexpr int N = 16 / (int)sizeof(typename X::stored);
  bool same = grad == NULL || grad->format == X::format;
  if (sizeof(typename X::stored) > 1 && vectors_fit(logits, N)) {
    t.grad_vectors = same && (grad == NULL || vectors_fit(grad, N));
    return run<X, N>(c, t, error);
  }
  t.grad_vectors = same;
  return run<X, 1>(c, t, error);
}

mpt_status mpt_cuda_cross_entropy(mpt_queue *queue, mpt_t logits, const int32_t *labels,
                                  float scale, const mpt_step_state *state, double *loss,
                                  int64_t *correct, mpt_t grad_logits, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  int64_t rows = logits->shape[0], classes = logits->shape[1];
  if (classes > INT32_MAX)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "cross_entropy: more than 2^31 classes");
  rows_task t = {};
  t.logits = logits->data;
  t.logits_row = logits->strides[0];
  t.grad = any_matrix_of(grad_logits);
  t.labels = labels;
  t.rows = rows;
  t.classes = (int)classes;
  t.fault = c->fault;
  t.loss = loss_task_of(c, TICKET_CROSS_ENTROPY, scale, rows, state, loss, correct);
  switch (logits->format) {
  case MPT_BF16:
    return run_rows<Bf16>(c, logits, grad_logits, t, error);
  case MPT_FP16:
    return run_rows<Fp16>(c, logits, grad_logits, t, error);
  case MPT_FP8_E4M3:
    return run<E4m3, 1>(c, t, error);
  case MPT_FP8_E5M2:
    return run<E5m2, 1>(c, t, error);
  default: /* tf32 is stored as fp32 */
    return run_rows<Fp32>(c, logits, grad_logits, t, error);
  }
}
