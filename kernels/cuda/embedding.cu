/* y[r,:] = table[ids[r],:] + position[r % T,:].
 *
 * Backward, rows are sorted by id, stably, by counting for each how many come before it: all pairs
 * are compared, which for a step's rows takes less time than the passes of a faster sort. Sorted
 * rows are cut into chunks of CHUNK. A chunk sums each run of one id and adds it to that row of
 * grad_table, which no other block touches: all but a run that began in the chunk before, whose sum
 * it leaves in scratch as its head. A second kernel adds up the heads of each run. So every sum is
 * taken in an order that ids alone decide. */
#include "kernels/cuda/array.cuh"

enum { WIDTH = 4, CHUNK = 16, TOGETHER = 4, THREADS = 256, SEGMENT = 1024, SLICE = 1 << 15 };

static __device__ __forceinline__ bool id_is_good(const int32_t *ids, int64_t row,
                                                  int64_t vocabulary, cuda_fault *fault) {
  if (ids[row] >= 0 && ids[row] < vocabulary)
    return true;
  report_fault(fault, CUDA_FAULT_ID, row, ids[row], vocabulary);
  return false;
}

struct embedding_shape {
  int64_t rows, columns, vocabulary, positions; /* positions 0: none */
  int64_t y, table, position;                   /* row distances */
};

/* ---- forward: blockIdx.x is the row ---- */
template <class P, class Y, int W>
static __global__ void look_up(const int32_t *ids, Array<P> table, Array<P> position, Array<Y> y,
                               embedding_shape s, cuda_fault *fault) {
  int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= s.rows)
    return;
  bool good = id_is_good(ids, row, s.vocabulary, fault);
  int64_t word = good ? ids[row] * s.table : 0;
  int64_t place = s.positions > 0 ? row % s.positions * s.position : 0;
  for (int64_t column = threadIdx.x * W; column < s.columns; column += blockDim.x * W) {
    float values[W] = {}, more[W] = {};
    if (good)
      table.load(word + column, values);
    if (s.positions > 0) {
      position.load(place + column, more);
#pragma unroll
      for (int i = 0; i < W; i++)
        values[i] += more[i];
    }
    y.store(row * s.y + column, values);
  }
}

/* ---- backward ---- */
/* Rows whose id is out of range are sorted behind all others. */
static __global__ void list_rows(const int32_t *ids, int64_t first, int count, int64_t vocabulary,
                                 uint32_t *keys, uint32_t *ranks, cuda_fault *fault) {
  int i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= count)
    return;
  bool good = id_is_good(ids, first + i, vocabulary, fault);
  keys[i] = good ? (uint32_t)ids[first + i] : (uint32_t)vocabulary;
  ranks[i] = 0;
}

/* below -= x < bound, in two instructions: the borrow of a subtraction. */
static __device__ __forceinline__ void count_below(uint32_t &below, uint32_t x, uint32_t bound) {
  asm("{ .reg .u32 rest; sub.cc.u32 rest, %1, %2; subc.u32 %0, %0, 0; }"
      : "+r"(below)
      : "r"(x), "r"(bound));
}

/* ranks[i] += keys of segment blockIdx.y that come before key i: smaller ones, and equal ones of
 * smaller index. */
static __global__ void __launch_bounds__(THREADS)
    rank_rows(const uint32_t *keys, int count, uint32_t *ranks) {
  __shared__ uint4 segment[SEGMENT / 4];
  int begin = blockIdx.y * SEGMENT, first = blockIdx.x * THREADS, i = first + threadIdx.x;
  for (int j = threadIdx.x; j < SEGMENT; j += THREADS)
    ((uint32_t *)segment)[j] = begin + j < count ? keys[begin + j] : 0xFFFFFFFFu;
  __syncthreads();
  if (i >= count)
    return;
  uint32_t key = keys[i], below = 0;
  if (begin + SEGMENT <= first || begin > first + THREADS - 1) {
    uint32_t bound = begin > i ? key : key + 1;
#pragma unroll 8
    for (int j = 0; j < SEGMENT / 4; j++) {
      uint4 k = segment[j];
      count_below(below, k.x, bound);
      count_below(below, k.y, bound);
      count_below(below, k.z, bound);
      count_below(below, k.w, bound);
    }
  } else {
    for (int j = 0; j < SEGMENT; j++)
      count_below(below, ((const uint32_t *)segment)[j], key + (begin + j < i));
  }
  atomicAdd(&ranks[i], 0u - below);
}

static __global__ void sort_rows(const uint32_t *keys, const uint32_t *ranks, int count,
                                 uint32_t *sorted_keys, uint32_t *sorted_rows) {
  int i = blockIdx.x * THREADS + threadIdx.x;
  if (i < count) {
    sorted_keys[ranks[i]] = keys[i];
    sorted_rows[ranks[i]] = (uint32_t)i;
  }
}

template <int W> static __device__ __forceinline__ void add_to(float *out, const float (&sum)[W]) {
  float old[W];
  load_vector<Fp32>(out, old);
#pragma unroll
  for (int i = 0; i < W; i++)
    old[i] += sum[i];
  store_vector<Fp32>(out, old);
}

/* heads has shape [chunks, columns]; blockIdx.x is the chunk, blockIdx.y a strip of columns. */
template <class T, int W>
static __global__ void sum_chunks(const uint32_t *keys, const uint32_t *rows, int count,
                                  Array<T> grad_y, float *grad_table, float *heads,
                                  embedding_shape s) {
  __shared__ uint32_t key[CHUNK + 2], row[CHUNK];
  int begin = blockIdx.x * CHUNK;
  const uint32_t none = 0xFFFFFFFFu;
  for (int i = threadIdx.x; i < CHUNK + 2; i += blockDim.x) { /* and its neighbours' keys */
    int at = begin + i - 1;
    uint32_t k = at >= 0 && at < count ? keys[at] : none;
    key[i] = k < s.vocabulary ? k : none;
    if (i >= 1 && i <= CHUNK)
      row[i - 1] = k == none ? 0 : rows[at];
  }
  __syncthreads();
  int64_t column = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * W;
  if (column >= s.columns)
    return;
  float x[CHUNK][W] = {};
#pragma unroll
  for (int i = 0; i < CHUNK; i++)
    if (key[i + 1] != none)
      grad_y.load(row[i] * s.y + column, x[i]);
#pragma unroll
  for (int i = 1; i < CHUNK; i++) /* so that the last row of a run gets its sum */
    if (key[i + 1] == key[i])
#pragma unroll
      for (int e = 0; e < W; e++)
        x[i][e] += x[i - 1][e];
#pragma unroll
  for (int first = 0; first < CHUNK; first += TOGETHER) {
    float old[TOGETHER][W];
    bool ends[TOGETHER];
#pragma unroll
    for (int j = 0; j < TOGETHER; j++) {
      int i = first + j;
      ends[j] = key[i + 1] != none && (i + 1 == CHUNK || key[i + 2] != key[i + 1]);
      if (ends[j] && key[i + 1] == key[0]) { /* the run began in the chunk before */
        store_vector<Fp32>(heads + blockIdx.x * s.columns + column, x[i]);
        ends[j] = false;
      }
      if (ends[j])
        load_vector<Fp32>(grad_table + key[i + 1] * s.table + column, old[j]);
    }
#pragma unroll
    for (int j = 0; j < TOGETHER; j++)
      if (ends[j]) {
#pragma unroll
        for (int e = 0; e < W; e++)
          old[j][e] += x[first + j][e];
        store_vector<Fp32>(grad_table + key[first + j + 1] * s.table + column, old[j]);
      }
  }
}

/* A block whose chunk is the first with a head of its run adds all heads of that run. */
template <int W>
static __global__ void add_heads(const uint32_t *keys, int count, const float *heads,
                                 float *grad_table, embedding_shape s) {
  int begin = blockIdx.x * CHUNK;
  uint32_t key = keys[begin];
  if (begin == 0 || keys[begin - 1] != key || key >= s.vocabulary ||
      (begin > CHUNK && keys[begin - CHUNK - 1] == key))
    return;
  int64_t column = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * W;
  if (column >= s.columns)
    return;
  int last = blockIdx.x, beyond = (count + CHUNK - 1) / CHUNK;
  while (beyond - last > 1) { /* keys ascend: where does the run end? */
    int middle = (last + beyond) / 2;
    if (keys[middle * CHUNK] == key)
      last = middle;
    else
      beyond = middle;
  }
  float sum[W] = {};
#pragma unroll 8
  for (int chunk = blockIdx.x; chunk <= last; chunk++) {
    float x[W];
    load_vector<Fp32>(heads + chunk * s.columns + column, x);
#pragma unroll
    for (int i = 0; i < W; i++)
      sum[i] += x[i];
  }
  add_to(grad_table + key * s.table + column, sum);
}

template <class T, int W>
static __global__ void sum_positions(Array<T> grad_y, float *grad_position, embedding_shape s) {
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, strips = s.columns / W;
  if (i >= s.positions * strips)
    return;
  int64_t place = i / strips, column = i % strips * W;
  float sum[W] = {};
#pragma unroll 8
  for (int64_t row = place; row < s.rows; row += s.positions) {
    float x[W];
    grad_y.load(row * s.y + column, x);
#pragma unroll
    for (int e = 0; e < W; e++)
      sum[e] += x[e];
  }
  add_to(grad_position + place * s.position + column, sum);
}

/* ---- launches ---- */
static embedding_shape shape_of(mpt_t y, mpt_t table, mpt_t position) {
  return {y->shape[0],
          y->shape[1],
          table->shape[0],
          position == NULL ? 0 : position->shape[0],
          row_distance(y),
          row_distance(table),
          position == NULL ? 0 : row_distance(position)};
}

/* Threads over the columns of a row, at most 256. */
static unsigned threads_for(int64_t columns, int width) {
  int64_t threads = divide_up(columns, width * 32) * 32;
  return (unsigned)(threads < THREADS ? threads : THREADS);
}

template <class P, class Y, int W>
static void forward(cuda_context *c, const int32_t *ids, mpt_t table, mpt_t position, mpt_t y,
                    embedding_shape s) {
  unsigned threads = threads_for(s.columns, W), rows = THREADS / threads;
  dim3 block(threads, rows);
  look_up<P, Y, W><<<(unsigned)divide_up(s.rows, rows), block, 0, c->stream>>>(
      ids, array_of<P>(table), array_of<P>(position == NULL ? table : position), array_of<Y>(y), s,
      c->fault);
}

mpt_status mpt_cuda_embedding_forward(mpt_queue *queue, const int32_t *ids, mpt_t table,
                                      mpt_t position, mpt_t y, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  embedding_shape s = shape_of(y, table, position);
  bool vectors = vectors_fit(table, WIDTH) && vectors_fit(y, WIDTH) &&
                 (position == NULL || vectors_fit(position, WIDTH));
  bool floats = table->format == MPT_FP32 && (position == NULL || position->format == MPT_FP32);
  if (vectors && floats)
    DISPATCH_COMMON(y->format, Y, (forward<Fp32, Y, WIDTH>(c, ids, table, position, y, s)))
  else
    forward<Any, Any, 1>(c, ids, table, position, y, s);
  return CUDA_LAUNCHED("embedding_forward", error);
}

/* Scratch of the backward pass; heads have what is left. */
struct sort_memory {
  uint32_t *keys, *ranks, *sorted_keys, *sorted_rows;
  float *heads;
  int64_t chunks; /* for which heads have room */
};

static sort_memory divide_scratch(cuda_context *c, int64_t rows, int64_t columns) {
  sort_memory m;
  rows = divide_up(rows, 64) * 64;
  m.keys = (uint32_t *)c->scratch;
  m.ranks = m.keys + rows;
  m.sorted_keys = m.ranks + rows;
  m.sorted_rows = m.sorted_keys + rows;
  m.heads = (float *)(m.sorted_rows + rows);
  int64_t left = (char *)c->scratch + CUDA_SCRATCH_BYTES - (char *)m.heads;
  m.chunks = left / (columns * (int64_t)sizeof(float));
  return m;
}

template <class T, int W>
static void add_slice(cuda_context *c, const int32_t *ids, int64_t first, int rows, mpt_t y,
                      float *grad_table, sort_memory m, embedding_shape s) {
  unsigned blocks = (unsigned)divide_up(rows, THREADS), threads = threads_for(s.columns, W);
  mpt_tensor slice = *y;
  slice.data = (char *)y->data + first * s.y * (mpt_format_get(y->format)->bits / 8);
  list_rows<<<blocks, THREADS, 0, c->stream>>>(ids, first, rows, s.vocabulary, m.keys, m.ranks,
                                               c->fault);
  rank_rows<<<dim3(blocks, (unsigned)divide_up(rows, SEGMENT)), THREADS, 0, c->stream>>>(
      m.keys, rows, m.ranks);
  sort_rows<<<blocks, THREADS, 0, c->stream>>>(m.keys, m.ranks, rows, m.sorted_keys, m.sorted_rows);
  dim3 grid((unsigned)divide_up(rows, CHUNK), (unsigned)divide_up(s.columns, threads * W));
  sum_chunks<T, W><<<grid, threads, 0, c->stream>>>(m.sorted_keys, m.sorted_rows, rows,
                                                    array_of<T>(&slice), grad_table, m.heads, s);
  add_heads<W><<<grid, threads, 0, c->stream>>>(m.sorted_keys, rows, m.heads, grad_table, s);
}

/* A slice is as many rows as scratch has heads for. */
template <class T, int W>
static void backward(cuda_context *c, const int32_t *ids, mpt_t grad_y, mpt_t grad_table,
                     mpt_t grad_position, embedding_shape s) {
  int64_t rows = s.rows < SLICE ? s.rows : SLICE;
  sort_memory m = divide_scratch(c, rows, s.columns);
  while (divide_up(rows, CHUNK) > m.chunks && rows > 1) {
    rows = divide_up(rows, 2);
    m = divide_scratch(c, rows, s.columns);
  }
  for (int64_t first = 0; first < s.rows; first += rows) {
    int64_t left = s.rows - first;
    add_slice<T, W>(c, ids, first, (int)(left < rows ? left : rows), grad_y,
                    (float *)grad_table->data, m, s);
  }
  int64_t threads = s.positions * (s.columns / W);
  if (threads > 0)
    sum_positions<T, W><<<(unsigned)divide_up(threads, THREADS), THREADS, 0, c->stream>>>(
        array_of<T>(grad_y), (float *)grad_position->data, s);
}

mpt_status mpt_cuda_embedding_backward(mpt_queue *queue, const int32_t *ids, mpt_t grad_y,
                                       mpt_t grad_table, mpt_t grad_position, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  embedding_shape s = shape_of(grad_y, grad_table, grad_position);
  bool vectors = vectors_fit(grad_table, WIDTH) && vectors_fit(grad_y, WIDTH) &&
                 (grad_position == NULL || vectors_fit(grad_position, WIDTH));
  if (s.columns > CUDA_SCRATCH_BYTES / 8)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "embedding_backward: rows of %lld are longer than the cuda backend takes, %d",
                    (long long)s.columns, CUDA_SCRATCH_BYTES / 8);
  if (vectors)
    DISPATCH_COMMON(grad_y->format, T,
                    (backward<T, WIDTH>(c, ids, grad_y, grad_table, grad_position, s)))
  else
    backward<Any, 1>(c, ids, grad_y, grad_table, grad_position, s);
  return CUDA_LAUNCHED("embedding_backward", error);
}
