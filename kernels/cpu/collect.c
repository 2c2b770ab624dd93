/* The statistics of a tensor in one pass over memory: each chunk is looked at while it is in
 * cache, first for counts and extremes, then, when full, for sums and the histogram. */
#include "format/rounding.h"
#include "kernels/cpu/cpu.h"

enum {
  LANES = 128,   /* of sums: element i of a chunk is added to i modulo LANES, on any vectors */
  HISTOGRAMS = 4 /* in turn, since an increment waits for the last one of the same bin */
};

typedef struct partial {
  mpt_statistics statistics;
  double sum[LANES], sum_of_squares[LANES];
  uint64_t histograms[HISTOGRAMS][MPT_EXPONENT_BINS];
} partial;

typedef struct collect_task {
  mpt_t x;
  bool full;
  int tasks;
  char *scratch; /* a `partial` for each task */
  size_t stride;
} collect_task;

/* count <= MPT_CPU_CHUNK, so that 32-bit counters do. The smallest non-zero magnitude is found as
 * the smallest magnitude - 1, where zero comes last. */
MPT_VECTOR_CLONES
static void collect_lite(const float *x, int64_t count, mpt_statistics *s) {
  int32_t zeros = 0, nans = 0, infinities = 0, amax = 0;
  uint32_t amin_less_1 = s->amin_bits - 1;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits = mpt_float_bits(x[i]) & MPT_FP32_MAGNITUDE;
    int32_t magnitude = (int32_t)bits;
    zeros += magnitude == 0;
    nans += magnitude > MPT_FP32_INFINITY;
    infinities += magnitude == MPT_FP32_INFINITY;
    amax = magnitude > amax ? magnitude : amax;
    amin_less_1 = bits - 1 < amin_less_1 ? bits - 1 : amin_less_1;
  }
  s->count += (uint64_t)count;
  s->zeros += (uint64_t)zeros;
  s->nans += (uint64_t)nans;
  s->infinities += (uint64_t)infinities;
  s->amax_bits = (uint32_t)amax > s->amax_bits ? (uint32_t)amax : s->amax_bits;
  s->amin_bits = amin_less_1 + 1;
}

MPT_VECTOR_CLONES
static void collect_sums(const float *x, int64_t count, double *restrict sum,
                         double *restrict sum_of_squares) {
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t lanes = count - i < LANES ? count - i : LANES;
    for (int64_t lane = 0; lane < lanes; lane++) {
      double value = mpt_finite_part(x[i + lane]);
      sum[lane] += value;
      sum_of_squares[lane] += value * value;
    }
  }
}

static void collect_histogram(const float *x, int64_t count,
                              uint64_t histograms[HISTOGRAMS][MPT_EXPONENT_BINS]) {
  int64_t whole = count / HISTOGRAMS * HISTOGRAMS;
  for (int64_t i = 0; i < whole; i += HISTOGRAMS)
    for (int h = 0; h < HISTOGRAMS; h++)
      histograms[h][mpt_float_bits(x[i + h]) >> 23 & 0xFF]++;
  for (int64_t i = whole; i < count; i++)
    histograms[0][mpt_float_bits(x[i]) >> 23 & 0xFF]++;
}

static void collect_part(void *context, int task) {
  const collect_task *t = context;
  partial *p = (partial *)(t->scratch + (size_t)task * t->stride);
  if (t->full)
    memset(p, 0, sizeof *p);
  else
    memset(&p->statistics, 0, sizeof p->statistics);
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    const float *x = mpt_cpu_at(t->x, &s);
    collect_lite(x, s.count, &p->statistics);
    if (!t->full)
      continue;
    collect_sums(x, s.count, p->sum, p->sum_of_squares);
    collect_histogram(x, s.count, p->histograms);
  }
}

/* Puts lanes and histograms together. */
static void finish_full(partial *p) {
  mpt_statistics *s = &p->statistics;
  s->full = true;
  for (int lane = 0; lane < LANES; lane++) {
    s->sum += p->sum[lane];
    s->sum_of_squares += p->sum_of_squares[lane];
  }
  for (int h = 0; h < HISTOGRAMS; h++)
    for (int bin = 0; bin < MPT_EXPONENT_BINS; bin++)
      s->histogram[bin] += p->histograms[h][bin];
}

mpt_status mpt_cpu_collect(mpt_queue *queue, mpt_t x, bool full, mpt_statistics *statistics,
                           mpt_error *error) {
  collect_task t = {.x = x, .full = full, .tasks = mpt_cpu_tasks(queue, mpt_tensor_count(x))};
  MPT_RETURN_IF_FAILED(
      mpt_cpu_scratch(queue, t.tasks, sizeof(partial), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, collect_part, &t);
  memset(statistics, 0, sizeof *statistics);
  for (int task = 0; task < t.tasks; task++) {
    partial *p = (partial *)(t.scratch + (size_t)task * t.stride);
    if (full)
      finish_full(p);
    mpt_statistics_merge(statistics, &p->statistics);
  }
  return MPT_OK;
}

mpt_status mpt_cpu_collect_lite(mpt_queue *queue, mpt_t x, mpt_lite *lite, mpt_error *error) {
  mpt_statistics seen;
  MPT_RETURN_IF_FAILED(mpt_cpu_collect(queue, x, false, &seen, error));
  lite->count += seen.count;
  lite->zeros += seen.zeros;
  lite->nans += seen.nans;
  lite->infinities += seen.infinities;
  lite->amax_bits = seen.amax_bits > lite->amax_bits ? seen.amax_bits : lite->amax_bits;
  const uint32_t amin_negated = ~seen.amin_bits + 1; /* 0 where there is none */
  lite->amin_negated = amin_negated > lite->amin_negated ? amin_negated : lite->amin_negated;
  return MPT_OK;
}

mpt_status mpt_cpu_collect_all(mpt_queue *queue, const mpt_collection *collections, int count,
                               mpt_error *error) {
  for (int i = 0; i < count; i++) {
    const mpt_collection *c = &collections[i];
    mpt_tensor row = *c->x;
    row.rank = 2;
    row.shape[0] = 1, row.shape[1] = row.strides[0] = mpt_tensor_count(c->x);
    row.strides[1] = 1;
    MPT_RETURN_IF_FAILED(c->lite != NULL ? mpt_cpu_collect_lite(queue, &row, c->lite, error)
                                         : mpt_cpu_collect(queue, &row, true, c->full, error));
  }
  return MPT_OK;
}
