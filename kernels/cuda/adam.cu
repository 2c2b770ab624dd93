/* adam_step and adam_steps: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 * w -= learning_rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
 * with weight decay in g, or, decoupled, w *= 1 - learning_rate weight_decay beforehand. After an
 * overflow nothing is updated, but copies are made: their scales may have moved.
 *
 * 28 bytes a weight are read and written, so one pass does everything: all parameters in one
 * launch, and copies in narrow formats from the registers that hold the new weights. The table of
 * parameters travels as the kernel's parameter, so that a graph captures it; blocks take chunks
 * in turn. */
#include "kernels/cuda/any_format.cuh"

enum { THREADS = 256, WIDTH = 4, CHUNK = 4 * THREADS * WIDTH };

struct adam_copy {
  void *data; /* NULL: none */
  mpt_scale *scale;
};

struct adam_entry {
  float *weight, *first, *second;
  const float *gradient;
  adam_copy copies[2];
  int64_t count;
  float weight_decay;
  int32_t first_chunk; /* of all chunks of the launch */
  uint8_t formats[2];  /* mpt_format, of copies */
  bool vectors;        /* everything is aligned for WIDTH elements */
};

/* FEW parameters fit into 4 KB of a kernel's parameters, MANY into 32 KB. */
template <int MOST> struct adam_table {
  int count, chunks;
  mpt_adam_args args;
  const mpt_step_state *state;
  adam_entry entries[MOST];
};
enum { FEW = 40, MANY = 330 };

/* What is the same for all parameters; in double, as far as the CPU has it so. */
struct adam_constants {
  double rate; /* the learning rate */
  float gradient_scale, complement1, complement2;
  float step_size, inverse_root; /* rate / (1 - b1^t), 1 / sqrt(1 - b2^t) */
  int overflow;
};

static __device__ adam_constants constants_of(const mpt_adam_args &a, const mpt_step_state *s) {
  double b1 = (double)a.beta1, b2 = (double)a.beta2, t = (double)s->applied + 1;
  adam_constants k;
  k.rate = (double)a.learning_rate *
           (a.learning_rate_factor != NULL ? (double)*a.learning_rate_factor : 1.0);
  k.gradient_scale = s->clip / s->loss_scale;
  k.complement1 = (float)(1 - b1);
  k.complement2 = (float)(1 - b2);
  k.step_size = (float)(k.rate / (1 - pow(b1, t)));
  k.inverse_root = (float)(1 / sqrt(1 - pow(b2, t)));
  k.overflow = s->overflow;
  return k;
}

/* Of one parameter. */
struct adam_rule {
  float gradient_scale, decay_gradient, keep_weight, beta1, beta2, complement1, complement2;
  float step_size, inverse_root, epsilon;
  __device__ __forceinline__ void operator()(float &w, float g, float &m, float &v) const {
    g = gradient_scale * g + decay_gradient * w;
    m = beta1 * m + complement1 * g;
    v = beta2 * v + complement2 * (g * g);
    w = w * keep_weight - step_size * (m / (sqrtf(v) * inverse_root + epsilon));
  }
};

static __device__ __forceinline__ adam_rule rule_of(const mpt_adam_args &a, const adam_constants &k,
                                                    float decay) {
  return {k.gradient_scale,
          a.decoupled ? 0.0f : decay,
          a.decoupled ? (float)(1 - k.rate * (double)decay) : 1.0f,
          a.beta1,
          a.beta2,
          k.complement1,
          k.complement2,
          k.step_size,
          k.inverse_root,
          a.epsilon};
}

template <int N>
static __device__ __forceinline__ uint32_t update(const adam_entry &e, const adam_rule &rule,
                                                  bool overflow, const float scales[2],
                                                  int64_t at) {
  float w[N], g[N], m[N], v[N];
  load_vector<Fp32, N>(e.weight + at, w);
  if (!overflow) {
    load_vector<Fp32, N>(e.gradient + at, g);
    load_vector<Fp32, N>(e.first + at, m);
    load_vector<Fp32, N>(e.second + at, v);
#pragma unroll
    for (int i = 0; i < N; i++)
      rule(w[i], g[i], m[i], v[i]);
    store_vector<Fp32, N>(e.weight + at, w);
    store_vector<Fp32, N>(e.first + at, m);
    store_vector<Fp32, N>(e.second + at, v);
  }
  uint32_t amax = 0;
#pragma unroll
  for (int i = 0; i < N; i++)
    amax = max(amax, __float_as_uint(w[i]) & 0x7FFFFFFFu);
#pragma unroll
  for (int c = 0; c < 2; c++)
    if (e.copies[c].data != NULL) {
      float scaled[N];
#pragma unroll
      for (int i = 0; i < N; i++)
        scaled[i] = w[i] * scales[c];
      store_any<N>((mpt_format)e.formats[c], e.copies[c].data, at, scaled);
    }
  return amax;
}

/* Looks first: most chunks raise nothing, and reads of one place do not queue as atomics do. */
static __device__ __forceinline__ void raise_amax(const adam_entry &e, uint32_t amax) {
  if (e.copies[0].scale == NULL && e.copies[1].scale == NULL)
    return;
  amax = __reduce_max_sync(0xFFFFFFFFu, amax);
  if (threadIdx.x % 32 != 0)
    return;
  for (int c = 0; c < 2; c++) {
    mpt_scale *scale = e.copies[c].scale;
    if (scale != NULL && *(volatile uint32_t *)&scale->amax_bits < amax)
      atomicMax(&scale->amax_bits, amax);
  }
}

static __device__ __forceinline__ void update_chunk(const adam_entry &e, const adam_rule &rule,
                                                    bool overflow, int64_t begin) {
  float scales[2];
  uint32_t amax = 0;
  int64_t end = begin + CHUNK < e.count ? begin + CHUNK : e.count;
#pragma unroll
  for (int c = 0; c < 2; c++)
    scales[c] = e.copies[c].scale != NULL ? e.copies[c].scale->scale : 1.0f;
  int64_t whole = e.vectors ? begin + (end - begin) / WIDTH * WIDTH : begin;
#pragma unroll 2
  for (int64_t i = begin + (int64_t)threadIdx.x * WIDTH; i < whole; i += THREADS * WIDTH)
    amax = max(amax, update<WIDTH>(e, rule, overflow, scales, i));
  for (int64_t i = whole + threadIdx.x; i < end; i += THREADS)
    amax = max(amax, update<1>(e, rule, overflow, scales, i));
  raise_amax(e, amax);
}

template <int MOST>
static __global__ void __launch_bounds__(THREADS) adam(const __grid_constant__ adam_table<MOST> t) {
  __shared__ adam_constants constants;
  if (threadIdx.x == 0)
    constants = constants_of(t.args, t.state);
  __syncthreads();
  for (int chunk = blockIdx.x; chunk < t.chunks; chunk += gridDim.x) {
    int low = 0, high = t.count;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (t.entries[middle].first_chunk <= chunk)
        low = middle;
      else
        high = middle;
    }
    const adam_entry &e = t.entries[low];
    if (constants.overflow && e.copies[0].data == NULL && e.copies[1].data == NULL)
      continue;
    update_chunk(e, rule_of(t.args, constants, e.weight_decay), constants.overflow != 0,
                 (int64_t)(chunk - e.first_chunk) * CHUNK);
  }
}

static bool is_aligned(const void *data, size_t bytes) {
  return (uintptr_t)data % bytes == 0;
}

static adam_entry entry_of(const mpt_adam_parameter *p) {
  adam_entry e = {};
  e.weight = (float *)p->weight->data;
  e.gradient = (const float *)p->gradient->data;
  e.first = (float *)p->first_moment->data;
  e.second = (float *)p->second_moment->data;
  e.count = mpt_tensor_count(p->weight);
  e.weight_decay = p->weight_decay;
  e.vectors = is_aligned(e.weight, 16) && is_aligned(e.gradient, 16) && is_aligned(e.first, 16) &&
              is_aligned(e.second, 16);
  for (int c = 0; c < 2; c++) {
    mpt_t copy = p->copies[c].tensor;
    if (copy == NULL)
      continue;
    e.copies[c] = {copy->data, p->copies[c].scale};
    e.formats[c] = (uint8_t)copy->format;
    e.vectors = e.vectors && is_aligned(copy->data, (size_t)mpt_format_get(copy->format)->bits / 2);
  }
  return e;
}

template <int MOST>
static mpt_status run(cuda_context *c, const mpt_adam_parameter *parameters, int count,
                      const mpt_adam_args *args, const mpt_step_state *state, mpt_error *error) {
  adam_table<MOST> t;
  t.args = *args;
  t.state = state;
  for (int done = 0; done < count; done += t.count) {
    t.count = t.chunks = 0;
    for (; t.count < MOST && done + t.count < count; t.count++) {
      adam_entry e = entry_of(&parameters[done + t.count]);
      int64_t chunks = divide_up(e.count, CHUNK);
      if (chunks > INT32_MAX - t.chunks)
        return mpt_fail(error, MPT_ERROR_ARGUMENT, "adam_steps: too many elements");
      e.first_chunk = t.chunks;
      t.chunks += (int)chunks;
      t.entries[t.count] = e;
    }
    int most = 32 * c->multiprocessors; /* late blocks fill gaps that early ones leave */
    int blocks = t.chunks < most ? t.chunks : most;
    adam<MOST><<<blocks, THREADS, 0, c->stream>>>(t);
    MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("adam_steps", error));
  }
  return MPT_OK;
}

mpt_status mpt_cuda_adam_steps(mpt_queue *queue, const mpt_adam_parameter *parameters, int count,
                               const mpt_adam_args *args, const mpt_step_state *state,
                               mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  return count <= FEW ? run<FEW>(c, parameters, count, args, state, error)
                      : run<MANY>(c, parameters, count, args, state, error);
}

mpt_status mpt_cuda_adam_step(mpt_queue *queue, mpt_t weight, mpt_t gradient, mpt_t first_moment,
                              mpt_t second_moment, const mpt_adam_args *args,
                              const mpt_step_state *state, mpt_error *error) {
  mpt_adam_parameter p = {};
  p.weight = weight;
  p.gradient = gradient;
  p.first_moment = first_moment;
  p.second_moment = second_moment;
  p.weight_decay = args->weight_decay;
  return run<FEW>(cuda_of(queue), &p, 1, args, state, error);
}
