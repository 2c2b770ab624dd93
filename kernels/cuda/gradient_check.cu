/* gradient_check: the norm of all gradients together, in double, where squares of floats can't
 * overflow: the sum is finite exactly when every gradient is.
 *
 * One launch for up to MOST tensors, which travel as the kernel's parameter, so that a graph
 * captures them. They are cut into chunks; block b takes chunks b, b + blocks, ... and leaves its
 * sum in scratch. The last block of the last launch adds them in a fixed order and judges. */
#include "kernels/cuda/any_format.cuh"

enum { TICKET = 24, THREADS = 512, WIDTH = 4, CHUNK = 8 * THREADS * WIDTH };

struct gradient_entry {
  const void *data;
  int64_t count;
  int32_t first_chunk; /* of all chunks of the launch */
  int32_t format;      /* mpt_format */
};

/* MOST is such that the table is within the 4 KB of every device's parameters, or 32 KB. */
template <int MOST> struct gradient_table {
  int count, first; /* in this launch; index of the first among all */
  int chunks;
  bool last; /* launch */
  int parts; /* of the launches before */
  float max_norm;
  mpt_step_state *state;
  int64_t *overflows; /* NULL: none */
  double *sums;
  uint32_t *ticket;
  gradient_entry entries[MOST];
};
enum { FEW = 160, MANY = 1300 };

/* The entry that `chunk` is of. */
static __device__ __forceinline__ int find_entry(const gradient_entry *entries, int count,
                                                 int chunk) {
  int low = 0, high = count;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (entries[middle].first_chunk <= chunk)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static __device__ __forceinline__ double square(float x) {
  return (double)x * (double)x;
}

/* A thread's share of the sum over [begin, end). */
template <class T>
static __device__ __forceinline__ double chunk_sum(const typename T::stored *x, int64_t begin,
                                                   int64_t end) {
  double sum = 0;
  int64_t i = begin + (int64_t)threadIdx.x * WIDTH;
  if ((uintptr_t)x % (WIDTH * sizeof *x) != 0) {
    for (i = begin + threadIdx.x; i < end; i += THREADS)
      sum += square(T::load(x[i]));
    return sum;
  }
  if (end - begin == CHUNK) { /* all loads on their way before the first is used */
    float v[8][WIDTH];
#pragma unroll
    for (int k = 0; k < 8; k++)
      load_vector<T, WIDTH>(x + i + k * THREADS * WIDTH, v[k]);
#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += square(v[k][0]) + square(v[k][1]) + (square(v[k][2]) + square(v[k][3]));
    return sum;
  }
  for (; i < end; i += THREADS * WIDTH)
    for (int k = 0; k < WIDTH && i + k < end; k++)
      sum += square(T::load(x[i + k]));
  return sum;
}

template <int MOST> static __device__ void judge(const gradient_table<MOST> &t, double sum) {
  mpt_step_state *s = t.state;
  double norm = sqrt(sum) / (double)s->loss_scale;
  s->overflow = !isfinite(sum);
  s->pending = 1;
  s->gradient_norm = (float)norm;
  s->clip = t.max_norm > 0 && norm > (double)t.max_norm ? (float)((double)t.max_norm / norm) : 1.0f;
}

template <int MOST>
static __global__ void __launch_bounds__(THREADS)
    gradient_check(const __grid_constant__ gradient_table<MOST> t) {
  __shared__ double shared[32];
  double sum = 0;
  for (int chunk = blockIdx.x; chunk < t.chunks; chunk += gridDim.x) {
    int e = find_entry(t.entries, t.count, chunk);
    const gradient_entry &entry = t.entries[e];
    int64_t begin = (int64_t)(chunk - entry.first_chunk) * CHUNK;
    int64_t end = begin + CHUNK < entry.count ? begin + CHUNK : entry.count;
    double part = 0;
    DISPATCH_ALL((mpt_format)entry.format, T,
                 (part = chunk_sum<T>((const typename T::stored *)entry.data, begin, end)))
    if (t.overflows != NULL && !isfinite(part)) /* who comes writes the same */
      t.overflows[t.first + e] = t.state->steps + 1;
    sum += part;
  }
  sum = block_all(sum, Sum(), 0.0, shared);
  if (threadIdx.x == 0)
    t.sums[t.parts + blockIdx.x] = sum;
  if (!is_last_block(t.ticket) || !t.last)
    return;
  double total = 0;
  for (int i = threadIdx.x; i < t.parts + (int)gridDim.x; i += THREADS)
    total += __ldcg(&t.sums[i]);
  total = block_all(total, Sum(), 0.0, shared);
  if (threadIdx.x == 0)
    judge(t, total);
}

/* The chunks that one block may be given at most: few enough that the last come at one time. */
template <int MOST>
static mpt_status launch(cuda_context *c, gradient_table<MOST> *t, mpt_t const *gradients,
                         int count, int *done, mpt_error *error) {
  t->count = count - *done < MOST ? count - *done : MOST;
  t->first = *done;
  t->last = *done + t->count == count;
  t->chunks = 0;
  for (int i = 0; i < t->count; i++) {
    mpt_t g = gradients[*done + i];
    int64_t elements = mpt_tensor_count(g), chunks = divide_up(elements, CHUNK);
    if (chunks > INT32_MAX - t->chunks)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "gradient_check: too many elements");
    t->entries[i] = {g->data, elements, t->chunks, (int32_t)g->format};
    t->chunks += (int)chunks;
  }
  int most = 4 * c->multiprocessors, blocks = t->chunks < most ? t->chunks : most;
  if ((size_t)(t->parts + blocks) * sizeof(double) > CUDA_SCRATCH_BYTES)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "gradient_check: too many gradients");
  gradient_check<MOST><<<blocks, THREADS, 0, c->stream>>>(*t);
  t->parts += blocks;
  *done += t->count;
  return CUDA_LAUNCHED("gradient_check", error);
}

template <int MOST>
static mpt_status run(cuda_context *c, mpt_t const *gradients, int count, float max_norm,
                      mpt_step_state *state, int64_t *overflows, mpt_error *error) {
  gradient_table<MOST> t;
  t.parts = 0;
  t.max_norm = max_norm;
  t.state = state;
  t.overflows = overflows;
  t.sums = (double *)c->scratch;
  t.ticket = c->tickets + TICKET;
  for (int done = 0; done < count;)
    MPT_RETURN_IF_FAILED(launch(c, &t, gradients, count, &done, error));
  return MPT_OK;
}

mpt_status mpt_cuda_gradient_check(mpt_queue *queue, mpt_t const *gradients, int count,
                                   float max_norm, mpt_step_state *state, int64_t *overflows,
                                   mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  return count <= FEW ? run<FEW>(c, gradients, count, max_norm, state, overflows, error)
                      : run<MANY>(c, gradients, count, max_norm, state, overflows, error);
}
