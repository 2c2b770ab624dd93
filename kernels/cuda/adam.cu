/* adam_step and adam_steps: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 * w -= learning_rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
 * with weight decay in g, or, decoupled, w *= 1 - learning_rate weight_decay beforehand. After an
 * overflow nothing is updated, but copies are made: their scales may have moved.
 *
 * 28 bytes a weight are read and written, so one pass does everything: all parameters in one
 * launch, and copies in narrow formats, counts and extremes from the registers that hold the new
 * weights. The table of parameters travels as the kernel's parameter, so that a graph captures it;
 * blocks take pieces in turn: PIECE elements in a row, or, where a copy is wanted transposed, tiles
 * of SIDE x SIDE that turn in shared memory. */
#include "kernels/cuda/any_format.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/tally.cuh"
#include "kernels/step_rules.h"

enum { THREADS = 256, WIDTH = 4, PIECE = 4 * THREADS * WIDTH, SIDE = 64 };
enum { RESIDENT = 4 }; /* blocks on a multiprocessor: with 3, a tenth of the rate is lost */
enum { TILE_ROW = SIDE + WIDTH, UNIT = 16 }; /* bytes of shared memory, and of a store */

struct adam_copy {
  void *data, *transposed; /* NULL: none */
  mpt_scale *scale;
};

struct adam_entry {
  float *weight, *first, *second;
  const float *gradient;
  adam_copy copies[2];
  mpt_lite *lite;         /* or NULL */
  int64_t count, columns; /* columns of a tiled one */
  float weight_decay;
  int32_t first_piece;          /* of all pieces of the launch */
  uint8_t formats[2], flags[2]; /* of copies: mpt_format, MPT_QUANTIZE_ */
  bool vectors;                 /* everything is aligned for WIDTH elements */
  bool units;                   /* rows of transposed copies are for UNIT bytes */
};

/* FEW parameters fit into 4 KB of a kernel's parameters, MANY into 32 KB. */
template <int MOST> struct adam_table {
  int count, pieces;
  mpt_adam_args args;
  const mpt_step_state *state;
  adam_entry entries[MOST];
};
enum { FEW = 33, MANY = 272 };
static_assert(sizeof(adam_table<FEW>) <= 4096 && sizeof(adam_table<MANY>) <= 32764,
              "a kernel's parameters");

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

/* What is done with the weights of a piece, and what became of them. */
struct copy_rule {
  float scale, saturates, vanishes;
  uint32_t saturated, vanished;
};

struct piece_copies {
  copy_rule rule[2];
  uint32_t amax;
};

/* The scale of the next step, by a warp. */
static __device__ __forceinline__ float coming_scale(const mpt_scale *s) {
  uint32_t largest = 0;
  for (int i = threadIdx.x % 32; i < rule_history_filled(s); i += 32)
    largest = max(largest, rule_history_entry(s, i, s->amax_bits));
  return rule_scale_coming(s, __reduce_max_sync(0xFFFFFFFFu, largest));
}

static __device__ __forceinline__ piece_copies copies_begin(const adam_entry &e) {
  piece_copies p = {};
#pragma unroll
  for (int c = 0; c < 2; c++) {
    copy_rule &r = p.rule[c];
    r.scale = e.copies[c].scale != NULL ? coming_scale(e.copies[c].scale) : 1.0f;
    if (e.flags[c] & MPT_QUANTIZE_COUNT)
      DISPATCH_ALL(e.formats[c], T,
                   (r.saturates = Limits<T>::saturates, r.vanishes = Limits<T>::vanishes))
  }
  return p;
}

/* Looks first: most pieces raise nothing, and reads of one place do not queue as atomics do. */
static __device__ __forceinline__ void copies_end(const adam_entry &e, const piece_copies &p,
                                                  bool first) {
#pragma unroll
  for (int c = 0; c < 2; c++) {
    mpt_scale *scale = e.copies[c].scale;
    if (scale == NULL)
      continue;
    uint32_t amax = __reduce_max_sync(0xFFFFFFFFu, p.amax);
    uint32_t saturated = __reduce_add_sync(0xFFFFFFFFu, p.rule[c].saturated);
    uint32_t vanished = __reduce_add_sync(0xFFFFFFFFu, p.rule[c].vanished);
    if (threadIdx.x % 32 != 0)
      continue;
    if (e.flags[c] & MPT_QUANTIZE_AMAX && *(volatile uint32_t *)&scale->coming_bits < amax)
      atomicMax(&scale->coming_bits, amax);
    if (saturated != 0)
      atomicAdd((unsigned long long *)&scale->counts.saturated, (unsigned long long)saturated);
    if (vanished != 0)
      atomicAdd((unsigned long long *)&scale->counts.vanished, (unsigned long long)vanished);
    if (!first || threadIdx.x != 0)
      continue;
    if (e.flags[c] & MPT_QUANTIZE_AMAX)
      scale->comes = 1;
    if (e.flags[c] & MPT_QUANTIZE_COUNT)
      atomicAdd((unsigned long long *)&scale->counts.count, (unsigned long long)e.count);
  }
}

/* What a thread saw of a piece's new weights. */
struct piece_lite {
  tally seen = EMPTY_TALLY;
  lane_extremes lanes = {0, 0xFFFFFFFFu};

  template <int N> __device__ __forceinline__ void see(const float (&w)[N]) {
    uint32_t m[N];
#pragma unroll
    for (int i = 0; i < N; i++)
      m[i] = __float_as_uint(w[i]) & 0x7FFFFFFFu;
    tally_magnitudes<Fp32>(seen, m, lanes);
  }
};

/* By warps, which do not wait for each other. */
static __device__ __forceinline__ void lite_end(const adam_entry &e, piece_lite &p, bool first) {
  mpt_lite *s = e.lite;
  tally &t = p.seen;
  if (s == NULL)
    return;
  take_extremes<Fp32>(t, p.lanes);
  t.most = __reduce_max_sync(0xFFFFFFFFu, t.most);
  t.least = __reduce_min_sync(0xFFFFFFFFu, t.least);
  if (__any_sync(0xFFFFFFFFu, (t.zeros | t.nans | t.infinities) != 0)) {
    t.zeros = __reduce_add_sync(0xFFFFFFFFu, t.zeros);
    t.nans = __reduce_add_sync(0xFFFFFFFFu, t.nans);
    t.infinities = __reduce_add_sync(0xFFFFFFFFu, t.infinities);
  }
  if (threadIdx.x % 32 != 0)
    return;
  const uint64_t counts[4] = {first && threadIdx.x == 0 ? (uint64_t)e.count : 0, t.zeros, t.nans,
                              t.infinities};
  uint64_t *const places[4] = {&s->count, &s->zeros, &s->nans, &s->infinities};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (counts[i] != 0)
      atomicAdd((unsigned long long *)places[i], (unsigned long long)counts[i]);
  if (*(volatile uint32_t *)&s->amax_bits < t.most)
    atomicMax(&s->amax_bits, t.most);
  if (*(volatile uint32_t *)&s->amin_negated < ~t.least) /* -(least + 1) */
    atomicMax(&s->amin_negated, ~t.least);
}

/* N weights from element `at` on. What is wanted transposed goes to `tile` too, from byte `to` on.
 */
template <int N, bool TILES, bool LITE>
static __device__ __forceinline__ void
update(const adam_entry &e, const adam_rule &rule, bool overflow, int64_t at, piece_copies &p,
       piece_lite &seen, uint8_t (*tile)[SIDE * TILE_ROW], int to) {
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
  if (LITE)
    seen.see(w);
#pragma unroll
  for (int i = 0; !LITE && i < N; i++)
    p.amax = max(p.amax, __float_as_uint(w[i]) & 0x7FFFFFFFu);
#pragma unroll
  for (int c = 0; c < 2; c++) {
    const adam_copy &copy = e.copies[c];
    if (copy.data == NULL && (!TILES || copy.transposed == NULL))
      continue;
    copy_rule &r = p.rule[c];
    float scaled[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      scaled[i] = w[i] * r.scale;
      if (e.flags[c] & MPT_QUANTIZE_COUNT) {
        r.saturated += fabsf(scaled[i]) >= r.saturates;
        r.vanished += fabsf(scaled[i]) <= r.vanishes && w[i] != 0.0f;
      }
    }
    if (copy.data != NULL)
      store_any<N>((mpt_format)e.formats[c], copy.data, at, scaled);
    if (TILES && copy.transposed != NULL) {
      if (e.formats[c] == MPT_FP8_E4M3)
        store_vector<E4m3, N>(tile[c] + to, scaled);
      else
        store_vector<E5m2, N>(tile[c] + to, scaled);
    }
  }
}

template <bool LITE>
static __device__ __forceinline__ void update_row(const adam_entry &e, const adam_rule &rule,
                                                  bool overflow, int piece) {
  int64_t begin = (int64_t)piece * PIECE;
  int64_t end = begin + PIECE < e.count ? begin + PIECE : e.count;
  int64_t whole = e.vectors ? begin + (end - begin) / WIDTH * WIDTH : begin;
  piece_copies p = copies_begin(e);
  piece_lite seen;
#pragma unroll 2
  for (int64_t i = begin + (int64_t)threadIdx.x * WIDTH; i < whole; i += THREADS * WIDTH)
    update<WIDTH, false, LITE>(e, rule, overflow, i, p, seen, NULL, 0);
  for (int64_t i = whole + threadIdx.x; i < end; i += THREADS)
    update<1, false, LITE>(e, rule, overflow, i, p, seen, NULL, 0);
  if (LITE) {
    p.amax = seen.lanes.most;
    lite_end(e, seen, piece == 0);
  }
  copies_end(e, p, piece == 0);
}

/* Row `row` of the transpose, from column `column` on: UNIT elements of a tile's column. */
static __device__ __forceinline__ void write_transposed(uint8_t *transposed, const uint8_t *tile,
                                                        int64_t row, int64_t column, int64_t rows,
                                                        int j, int unit, bool units) {
  uint32_t word[UNIT / 4];
  uint8_t *bytes = (uint8_t *)word, *out = transposed + row * rows + column;
#pragma unroll
  for (int i = 0; i < UNIT; i++)
    bytes[i] = tile[(unit * UNIT + i) * TILE_ROW + j];
  if (units && column < rows)
    *(uint4 *)out = make_uint4(word[0], word[1], word[2], word[3]);
  for (int i = 0; !units && i < UNIT && column + i < rows; i++)
    out[i] = bytes[i];
}

template <bool LITE>
static __device__ __forceinline__ void update_tile(const adam_entry &e, const adam_rule &rule,
                                                   bool overflow, int piece) {
  __shared__ alignas(16) uint8_t tile[2][SIDE * TILE_ROW];
  constexpr int lanes = SIDE / WIDTH;
  int across = (int)((e.columns + SIDE - 1) / SIDE);
  int64_t rows = e.count / e.columns, row0 = (int64_t)(piece / across) * SIDE;
  int64_t column0 = (int64_t)(piece % across) * SIDE;
  int64_t column = column0 + threadIdx.x % lanes * WIDTH;
  piece_copies p = copies_begin(e);
  piece_lite seen;
#pragma unroll 4
  for (int i = threadIdx.x / lanes; i < SIDE; i += THREADS / lanes) {
    int64_t at = (row0 + i) * e.columns + column;
    int to = i * TILE_ROW + threadIdx.x % lanes * WIDTH;
    if (row0 + i >= rows)
      break;
    if (e.vectors && column < e.columns)
      update<WIDTH, true, LITE>(e, rule, overflow, at, p, seen, tile, to);
    for (int k = 0; !e.vectors && k < WIDTH && column + k < e.columns; k++)
      update<1, true, LITE>(e, rule, overflow, at + k, p, seen, tile, to + k);
  }
  if (LITE) {
    p.amax = seen.lanes.most;
    lite_end(e, seen, piece == 0);
  }
  copies_end(e, p, piece == 0);
  __syncthreads();
  int unit = threadIdx.x % (SIDE / UNIT), j = threadIdx.x / (SIDE / UNIT);
#pragma unroll
  for (int c = 0; c < 2; c++)
    if (e.copies[c].transposed != NULL && column0 + j < e.columns)
      write_transposed((uint8_t *)e.copies[c].transposed, tile[c], column0 + j, row0 + unit * UNIT,
                       rows, j, unit, e.units);
  __syncthreads();
}

/* Whether there is something to do with weights that stay as they are. */
static __device__ __forceinline__ bool is_looked_at(const adam_entry &e) {
  return e.lite != NULL || e.copies[0].data != NULL || e.copies[0].transposed != NULL ||
         e.copies[0].scale != NULL || e.copies[1].data != NULL || e.copies[1].transposed != NULL ||
         e.copies[1].scale != NULL;
}

template <int MOST, bool TILES, bool LITE>
static __global__ void __launch_bounds__(THREADS, RESIDENT)
    adam(const __grid_constant__ adam_table<MOST> t) {
  __shared__ adam_constants constants;
  if (threadIdx.x == 0)
    constants = constants_of(t.args, t.state);
  __syncthreads();
  for (int piece = blockIdx.x; piece < t.pieces; piece += gridDim.x) {
    int low = 0, high = t.count;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (t.entries[middle].first_piece <= piece)
        low = middle;
      else
        high = middle;
    }
    const adam_entry &e = t.entries[low];
    adam_rule rule = rule_of(t.args, constants, e.weight_decay);
    if (constants.overflow && !is_looked_at(e))
      continue;
    if constexpr (TILES)
      update_tile<LITE>(e, rule, constants.overflow != 0, piece - e.first_piece);
    else
      update_row<LITE>(e, rule, constants.overflow != 0, piece - e.first_piece);
  }
}

static bool is_aligned(const void *data, size_t bytes) {
  return (uintptr_t)data % bytes == 0;
}

static bool is_tiled(const mpt_adam_parameter *p) {
  return p->copies[0].transposed != NULL || p->copies[1].transposed != NULL;
}

static adam_entry entry_of(const mpt_adam_parameter *p) {
  adam_entry e = {};
  e.weight = (float *)p->weight->data;
  e.gradient = (const float *)p->gradient->data;
  e.first = (float *)p->first_moment->data;
  e.second = (float *)p->second_moment->data;
  e.lite = p->lite;
  e.count = mpt_tensor_count(p->weight);
  e.weight_decay = p->weight_decay;
  int64_t rows = p->weight->shape[0], columns = e.count / rows;
  e.columns = columns;
  e.units = rows % UNIT == 0;
  e.vectors = is_aligned(e.weight, 16) && is_aligned(e.gradient, 16) && is_aligned(e.first, 16) &&
              is_aligned(e.second, 16) && (!is_tiled(p) || columns % WIDTH == 0);
  for (int c = 0; c < 2; c++) {
    mpt_t copy = p->copies[c].tensor, transposed = p->copies[c].transposed;
    mpt_t either = copy != NULL ? copy : transposed;
    e.copies[c].scale = p->copies[c].scale;
    e.flags[c] = (uint8_t)p->copies[c].flags;
    if (either == NULL)
      continue;
    e.formats[c] = (uint8_t)either->format;
    e.copies[c].data = copy != NULL ? copy->data : NULL;
    e.copies[c].transposed = transposed != NULL ? transposed->data : NULL;
    e.units = e.units && is_aligned(e.copies[c].transposed, UNIT);
    e.vectors =
        e.vectors && is_aligned(e.copies[c].data, (size_t)mpt_format_get(either->format)->bits / 2);
  }
  return e;
}

static int64_t pieces_of(const adam_entry *e, bool tiles) {
  if (!tiles)
    return divide_up(e->count, PIECE);
  return divide_up(e->columns, SIDE) * divide_up(e->count / e->columns, SIDE);
}

/* The parameters that are tiled, or those that are not. */
template <int MOST, bool TILES>
static mpt_status run(cuda_context *c, const mpt_adam_parameter *parameters, int count,
                      const mpt_adam_args *args, const mpt_step_state *state, mpt_error *error) {
  adam_table<MOST> t;
  t.args = *args;
  t.state = state;
  for (int done = 0; done < count;) {
    bool lite = false;
    t.count = t.pieces = 0;
    for (; t.count < MOST && done < count; done++) {
      if (is_tiled(&parameters[done]) != TILES)
        continue;
      adam_entry e = entry_of(&parameters[done]);
      int64_t pieces = pieces_of(&e, TILES);
      if (pieces > INT32_MAX - t.pieces)
        return mpt_fail(error, MPT_ERROR_ARGUMENT, "adam_steps: too many elements");
      e.first_piece = t.pieces;
      t.pieces += (int)pieces;
      t.entries[t.count++] = e;
      lite = lite || e.lite != NULL;
    }
    int most = 32 * c->multiprocessors; /* late blocks fill gaps that early ones leave */
    int blocks = t.pieces < most ? t.pieces : most;
    if (blocks == 0)
      continue;
    if (lite)
      adam<MOST, TILES, true><<<blocks, THREADS, 0, c->stream>>>(t);
    else
      adam<MOST, TILES, false><<<blocks, THREADS, 0, c->stream>>>(t);
    MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("adam_steps", error));
  }
  return MPT_OK;
}

mpt_status mpt_cuda_adam_steps(mpt_queue *queue, const mpt_adam_parameter *parameters, int count,
                               const mpt_adam_args *args, const mpt_step_state *state,
                               mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  if (count <= FEW) {
    MPT_RETURN_IF_FAILED((run<FEW, false>(c, parameters, count, args, state, error)));
    return run<FEW, true>(c, parameters, count, args, state, error);
  }
  MPT_RETURN_IF_FAILED((run<MANY, false>(c, parameters, count, args, state, error)));
  return run<MANY, true>(c, parameters, count, args, state, error);
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
  return run<FEW, false>(cuda_of(queue), &p, 1, args, state, error);
}
