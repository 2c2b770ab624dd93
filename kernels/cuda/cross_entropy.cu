/* cross_entropy: loss = mean over rows of log(sum exp(x - max)) - (x[label] - max), and its
 * gradient scale / rows (softmax(x) - onehot(label)).
 *
 * The floor is bytes: each logit read once, each gradient written once. So a row stays in shared
 * memory between the pass that finds its maximum and sum and the pass that writes its gradient (a
 * row of 50304 bf16 is 98 KiB: two blocks, each with a row, fit on a multiprocessor). Every thread
 * owns the same vectors of every row. As soon as it has written the gradient of one, it asks for
 * the same vector of the block's next row, in the same place: reads are always under way, and one
 * barrier separates rows. What of a row does not fit is read twice. The maximum and the sum are
 * found in one pass: when the maximum rises, the sum so far is scaled down (Milakov and Gimelshein
 * 2018).
 *
 * Rows may begin anywhere: the elements before the first whole vector and after the last, the
 * edges, are a thread's each. The order of sums depends on the format and place of the logits and
 * the shape, not on the gradient's format, so the gradient in any format is the fp32 one rounded.
 */
#include "kernels/cuda/lite.cuh"
#include "kernels/cuda/loss.cuh"
#include <float.h>

enum { MOST_THREADS = 1024, USUAL_THREADS = 512 }; /* 64 registers a thread for both */

struct rows_task {
  const void *logits;
  int64_t logits_row;
  any_matrix grad;
  bool grad_vectors; /* the gradient is in the format of the logits, and aligned as they are */
  const int32_t *labels;
  int64_t rows;
  int classes;
  int kept; /* vectors of a row that shared memory holds */
  cuda_fault *fault;
  loss_task loss;
  mpt_lite *lite; /* of the gradient, where its vectors are written: what they hold is looked at */
};

/* e^x to 2^-22, zero where it would be subnormal */
static __device__ __forceinline__ float fast_exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}

/* ---- a row in vectors of 16 bytes, the first of them in shared memory ---- */
static __device__ __forceinline__ void copy_16_bytes(void *shared, const void *global) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(shared)),
      "l"(global)
      : "memory");
}

static __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

template <class X> struct row_reader {
  typedef typename X::stored stored;
  static constexpr int N = 16 / (int)sizeof(stored);
  const stored *row;
  uint4 *shared;
  int head;    /* elements before the first whole vector */
  int vectors; /* whole ones */
  int tail;    /* elements after them */
  int kept;    /* of the vectors, in shared memory */

  __device__ __forceinline__ row_reader(const rows_task &t, uint4 *memory, int64_t r) {
    row = (const stored *)t.logits + r * t.logits_row;
    shared = memory;
    int misplaced = (int)((uintptr_t)row % 16);
    head = min((16 - misplaced) % 16 / (int)sizeof(stored), t.classes);
    vectors = (t.classes - head) / N;
    tail = (t.classes - head) % N;
    kept = min(vectors, t.kept);
  }
  __device__ __forceinline__ int first_of(int v) const { return head + v * N; }
  __device__ __forceinline__ void get_kept(int v, float (&x)[N]) const {
    load_vector<X, N>((const stored *)(shared + v), x);
  }
  __device__ __forceinline__ void get(int v, float (&x)[N]) const {
    if (v < kept)
      get_kept(v, x);
    else
      load_vector<X, N>(row + first_of(v), x);
  }
  __device__ __forceinline__ void prefetch(int v) const {
    copy_16_bytes(shared + v, row + first_of(v));
  }
  /* This thread's edge, -1: none. A block has more threads than a row edges. */
  __device__ __forceinline__ int edge() const {
    int i = (int)threadIdx.x;
    return i < head ? i : i < head + tail ? vectors * N + i : -1;
  }
  __device__ __forceinline__ float at(int i) const { return X::load(row[i]); }
};

/* ---- maximum and sum ---- */
struct row_sum {
  float largest, sum; /* of exp(x - largest) */
};

static __device__ __forceinline__ row_sum warp_merge(row_sum s) {
  float largest = warp_all(s.largest, Max());
  return {largest, warp_all(s.sum * fast_exp(s.largest - largest), Sum())};
}

/* Over the block, for all its threads. `shared` has 32 elements and must not be in use by the call
 * before: two take turns, so that one barrier does. */
static __device__ __forceinline__ row_sum block_merge(row_sum s, row_sum *shared) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  s = warp_merge(s);
  if (lane == 0)
    shared[warp] = s;
  __syncthreads();
  return warp_merge(lane < warps ? shared[lane] : row_sum{-FLT_MAX, 0});
}

template <int N> static __device__ __forceinline__ void add_to(row_sum &s, const float (&x)[N]) {
  float top = s.largest, part = 0;
#pragma unroll
  for (int i = 0; i < N; i++)
    top = fmaxf(top, x[i]);
#pragma unroll
  for (int i = 0; i < N; i++)
    part += fast_exp(x[i] - top);
  s.sum = s.sum * fast_exp(s.largest - top) + part;
  s.largest = top;
}

/* Of this thread's elements. The largest begins at the lowest float, so that elements of -infinity
 * are e^-infinity = 0 from the start. NaN is passed over by the maximum and makes the sum NaN. */
template <class X> static __device__ __forceinline__ row_sum sum_of(const row_reader<X> &row) {
  row_sum s = {-FLT_MAX, 0};
  int edge = row.edge();
  if (edge >= 0) {
    float one[1] = {row.at(edge)};
    add_to(s, one);
  }
  float x[row_reader<X>::N];
#pragma unroll 2
  for (int v = row.kept + (int)threadIdx.x; v < row.vectors; v += blockDim.x) {
    row.get(v, x);
    add_to(s, x);
  }
  wait_for_copies();
#pragma unroll 2
  for (int v = threadIdx.x; v < row.kept; v += blockDim.x) {
    row.get_kept(v, x);
    add_to(s, x);
  }
  return s;
}

/* Whether an element before the label is as large: then the label is not the first of them. */
template <class X>
static __device__ __forceinline__ bool comes_earlier(const row_reader<X> &row, int label,
                                                     float largest) {
  constexpr int N = row_reader<X>::N;
  int edge = row.edge();
  bool found = edge >= 0 && edge < label && row.at(edge) == largest;
  for (int v = threadIdx.x; v < row.vectors && row.first_of(v) < label; v += blockDim.x) {
    float x[N];
    row.get(v, x);
#pragma unroll
    for (int i = 0; i < N; i++)
      found |= row.first_of(v) + i < label && x[i] == largest;
  }
  return __syncthreads_or(found) != 0;
}

/* ---- gradient ---- */
struct row_gradient {
  float largest, factor; /* factor exp(x - largest) is scale softmax(x) */
  float scale;
};

template <int N>
static __device__ __forceinline__ void differentiate(const row_gradient &g, float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++)
    x[i] = fast_exp(x[i] - g.largest) * g.factor;
}

/* Vector v of row r, as if no label were in it. Streamed: a step's logits are more than a cache
 * holds. */
template <class X, bool SEEN>
static __device__ __forceinline__ void write_vector(const rows_task &t, const row_reader<X> &row,
                                                    int64_t r, int v, int label,
                                                    const row_gradient &g, output_tally<X> &seen) {
  typedef typename X::stored stored;
  constexpr int N = row_reader<X>::N;
  int64_t index = r * t.grad.row + row.first_of(v);
  float x[N];
  row.get(v, x);
  differentiate(g, x);
  if (t.grad_vectors) {
    uint4 word;
    store_vector<X, N>((stored *)&word, x);
    __stcs((uint4 *)((stored *)t.grad.data + index), word);
    if (SEEN) {
      int at = label - row.first_of(v);
      if (at >= 0 && at < N) {
#pragma unroll
        for (int i = 0; i < N; i++)
          x[i] -= i == at ? g.scale : 0.0f;
        store_vector<X, N>((stored *)&word, x);
      }
      seen.see_word(word);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++)
      store_any<1>(t.grad.format, t.grad.data, index + i, {x[i]});
  }
}

/* The vectors of row r's gradient; asks for the block's next row if there are more. */
template <class X, bool SEEN>
static __device__ __forceinline__ void
write_row(const rows_task &t, const row_reader<X> &row, const row_reader<X> &next, int64_t r,
          bool more, int label, const row_gradient &g, output_tally<X> &seen) {
  int written = t.grad.data != NULL ? row.vectors : 0, asked = more ? next.kept : 0;
  int most = max(written, asked);
#pragma unroll 2
  for (int v = threadIdx.x; v < most; v += blockDim.x) {
    if (v < written)
      write_vector<X, SEEN>(t, row, r, v, label, g, seen);
    if (v < asked)
      next.prefetch(v);
  }
}

/* A row's label and the logit there, NaN when there is none. */
struct row_label {
  int label;
  bool known;
  float logit;
};

template <class X>
static __device__ __forceinline__ row_label label_of(const rows_task &t, const row_reader<X> &row,
                                                     int64_t r) {
  int label = t.labels[r];
  bool known = label >= 0 && label < t.classes;
  return {label, known, known ? row.at(label) : NAN};
}

/* One element of the gradient, and what was written. */
static __device__ __forceinline__ float
write_element(const rows_task &t, int64_t r, int i, float logit, int label, const row_gradient &g) {
  float x[1] = {logit};
  differentiate(g, x);
  x[0] -= i == label ? g.scale : 0;
  store_any<1>(t.grad.format, t.grad.data, r * t.grad.row + i, {x[0]});
  return x[0];
}

/* The edges, and the label's element where a vector holds it: by the thread that wrote that. */
template <class X, bool SEEN>
static __device__ __forceinline__ void
write_elements(const rows_task &t, const row_reader<X> &row, int64_t r, row_label at,
               const row_gradient &g, output_tally<X> &seen) {
  int edge = row.edge(), v = (at.label - row.head) / row_reader<X>::N;
  if (edge >= 0) {
    float written = write_element(t, r, edge, row.at(edge), at.label, g);
    if (SEEN)
      tally_value(seen.seen, X::load(X::store(written)));
  }
  if (at.known && at.label >= row.head && v < row.vectors && v % blockDim.x == threadIdx.x)
    write_element(t, r, at.label, at.logit, at.label, g);
}

template <class X, bool SEEN>
static __global__ void __launch_bounds__(MOST_THREADS, 1)
    cross_entropy(const __grid_constant__ rows_task t) {
  extern __shared__ uint4 memory[];
  __shared__ row_sum shared[2][32];
  loss_part part = {0, 0};
  float scale = loss_gradient_scale(t.loss);
  row_reader<X> row(t, memory, blockIdx.x);
  for (int v = threadIdx.x; v < row.kept; v += blockDim.x)
    row.prefetch(v);
  output_tally<X> seen(X::format);
  int turn = 0;
  for (int64_t r = blockIdx.x; r < t.rows; r += gridDim.x, turn ^= 1) {
    row_label at = label_of(t, row, r); /* before the gradient, which may overwrite it */
    row_sum sum = block_merge(sum_of(row), shared[turn]);
    bool correct = at.logit == sum.largest;
    if (correct) /* the same for all threads */
      correct = !comes_earlier(row, at.label, sum.largest);
    if (threadIdx.x == blockDim.x - 1) { /* whose share of a row is smallest */
      part.loss += log((double)sum.sum) - ((double)at.logit - (double)sum.largest);
      part.correct += correct;
      if (!at.known)
        report_fault(t.fault, CUDA_FAULT_LABEL, r, at.label, t.classes);
    }
    bool more = r + gridDim.x < t.rows;
    row_reader<X> next(t, memory, more ? r + gridDim.x : r);
    row_gradient g = {sum.largest, scale / sum.sum, scale};
    write_row<X, SEEN>(t, row, next, r, more, at.label, g, seen);
    if (t.grad.data != NULL)
      write_elements<X, SEEN>(t, row, r, at, g, seen);
    row = next;
  }
  if (SEEN)
    seen.add(t.rows * t.classes, t.lite);
  loss_finish(t.loss, part);
}

/* ---- launches ---- */
/* Vectors of a row in shared memory: such that two blocks run beside each other, or, where a row is
 * longer than that, as many as one block may have. */
static int keep(int vectors, int bytes_per_multiprocessor) {
  const int reserved = 3072; /* of each block: its own sums, and what the system takes */
  int two = (bytes_per_multiprocessor / 2 - reserved) / 16;
  int one = (bytes_per_multiprocessor - reserved) / 16;
  return vectors <= two ? vectors : vectors < one ? vectors : one;
}

/* A block alone on its multiprocessor has more threads. */
static int threads_for(int vectors, bool alone) {
  int threads = 32;
  while (threads < USUAL_THREADS && threads * 2 < vectors)
    threads *= 2;
  return alone ? MOST_THREADS : threads;
}

/* Whether the gradient can be written as the logits are read. tf32 is stored as fp32. */
static bool writes_vectors(mpt_t logits, mpt_t grad, const rows_task &t) {
  if (grad == NULL)
    return false;
  mpt_format as = logits->format == MPT_TF32 ? MPT_FP32 : logits->format;
  return grad->format == as && (uintptr_t)grad->data % 16 == (uintptr_t)logits->data % 16 &&
         (t.grad.row - t.logits_row) * (mpt_format_get(as)->bits / 8) % 16 == 0;
}

template <class X, bool SEEN>
static mpt_status launch(cuda_context *c, const rows_task &t, int threads, mpt_error *error) {
  const char *what = "cross_entropy";
  int bytes = t.kept * 16, blocks = 0;
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaFuncSetAttribute(cross_entropy<X, SEEN>,
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                     what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                                          &blocks, cross_entropy<X, SEEN>, threads, (size_t)bytes),
                                      what, error));
  int64_t grid = (int64_t)blocks * c->multiprocessors;
  unsigned used = (unsigned)(grid < t.rows ? grid : t.rows);
  cross_entropy<X, SEEN><<<used, threads, bytes, c->stream>>>(t);
  return CUDA_LAUNCHED(what, error);
}

template <class X>
static mpt_status run(cuda_context *c, mpt_t logits, mpt_t grad, rows_task t, mpt_error *error) {
  int bytes = 0, vectors = t.classes / row_reader<X>::N;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, c->device),
      "cross_entropy", error));
  t.kept = keep(vectors, bytes);
  int threads = threads_for(vectors, t.kept * 16 > bytes / 2);
  t.grad_vectors = writes_vectors(logits, grad, t);
  t.lite = t.grad_vectors ? grad->lite : NULL;
  return t.lite != NULL ? launch<X, true>(c, t, threads, error)
                        : launch<X, false>(c, t, threads, error);
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
  t.logits_row = rows > 1 ? logits->strides[0] : 0;
  t.grad = any_matrix_of(grad_logits);
  t.labels = labels;
  t.rows = rows;
  t.classes = (int)classes;
  t.fault = c->fault;
  t.loss = loss_task_of(c, TICKET_CROSS_ENTROPY, scale, rows, state, loss, correct);
  mpt_status status;
  switch (logits->format) {
  case MPT_BF16:
    status = run<Bf16>(c, logits, grad_logits, t, error);
    break;
  case MPT_FP16:
    status = run<Fp16>(c, logits, grad_logits, t, error);
    break;
  case MPT_FP8_E4M3:
    status = run<E4m3>(c, logits, grad_logits, t, error);
    break;
  case MPT_FP8_E5M2:
    status = run<E5m2>(c, logits, grad_logits, t, error);
    break;
  default: /* tf32 is stored as fp32 */
    status = run<Fp32>(c, logits, grad_logits, t, error);
  }
  bool apart =
      grad_logits != NULL && grad_logits->lite != NULL && !writes_vectors(logits, grad_logits, t);
  return status == MPT_OK && apart
             ? mpt_cuda_collect_lite(queue, grad_logits, grad_logits->lite, error)
             : status;
}
