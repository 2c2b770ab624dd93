/* The choice of an algorithm for a product.
 *
 * cuBLASLt's heuristic proposes; some of what it proposes is refused when it is executed, some is
 * slower than another proposal by a half, and algorithms that drop the tail of k have been seen.
 * So candidates are run, timed by replays of graphs on random operands past L2, interleaved so
 * that clocks and temperature meet all alike, the best of them again for longer, and the one to be
 * used is checked. The heuristic's first is kept unless another is faster by more than noise,
 * twice. MPTUNE_GEMM_TUNE=0 leaves out the timing: the first that is right is used. */
#include "base/median.h"
#include "kernels/cuda/gemm.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  ROUNDS = 15,
  FINALISTS = 3, /* beside the heuristic's first */
  EVENTS = GEMM_CANDIDATES * ROUNDS + 1,
  MOST_PRODUCTS = 30,    /* in a graph */
  MEMORY_CAP = 256 << 20 /* of more than one set */
};
static const double graph_seconds = 300e-6, /* a graph's length, for short products */
    first_seconds = 10e-3,                  /* of all candidates: fewer rounds for long products */
    final_seconds = 20e-3,                  /* of the best of them, and of the last two */
    noise = 0.01;                           /* shorter by less is not shorter */

/* ---- buffers ---- */
static size_t whole(size_t bytes) {
  return (bytes + 255) / 256 * 256 + 256; /* room to shift it to its alignment */
}

static size_t offset_of(int32_t align) {
  return align < 16 ? (size_t)align : 0;
}

static int64_t rows_of(int64_t plain, int64_t transposed, int32_t transpose) {
  return transpose ? transposed : plain;
}

mpt_status mpt_gemm_buffers_make(cuda_context *c, const gemm_key *k, gemm_buffers *buffers,
                                 mpt_error *error) {
  int64_t count_a = rows_of(k->m, k->k, k->transpose_a) * k->row_a;
  int64_t count_b = rows_of(k->k, k->n, k->transpose_b) * k->row_b;
  *buffers =
      (gemm_buffers){.bytes_a = (size_t)count_a * gemm_element_bytes(k->format_a),
                     .bytes_b = (size_t)count_b * gemm_element_bytes(k->format_b),
                     .bytes_out = (size_t)(k->m * k->row_out) * gemm_element_bytes(k->format_out)};
  size_t bias = whole((size_t)k->n * sizeof(float));
  size_t set = whole(buffers->bytes_a) + whole(buffers->bytes_b) + whole(buffers->bytes_out);
  size_t most = MEMORY_CAP / set, wanted = 2 * c->l2_bytes / set + 2;
  size_t sets = most < 1 ? 1 : most < wanted ? most : wanted;
  buffers->sets = (int)(sets < GEMM_SETS ? sets : GEMM_SETS);
  mpt_status status = mpt_cuda_take(c, bias + (size_t)buffers->sets * set, &buffers->memory,
                                    "trying matrix products", error);
  if (status != MPT_OK) {
    buffers->sets = 0;
    return status;
  }
  char *place = (char *)buffers->memory + bias;
  cudaStream_t stream = c->gemm->stream;
  mpt_gemm_fill_constant(stream, (mpt_format)k->format_bias, buffers->memory, k->n, 0.5f);
  for (int i = 0; i < buffers->sets; i++) {
    gemm_data *d = &buffers->data[i];
    char *a = place + offset_of(k->align_a), *b = place + whole(buffers->bytes_a);
    char *out = b + whole(buffers->bytes_b) + offset_of(k->align_out);
    b += offset_of(k->align_b);
    *d = (gemm_data){.a = a, .b = b, .out = out, .bias = buffers->memory, .alpha = 1};
    d->beta = k->accumulate ? 0.5f : 0.0f; /* stays bounded when it is repeated */
    mpt_gemm_fill_random(stream, (mpt_format)k->format_a, a, count_a, (uint32_t)(2 * i + 1));
    mpt_gemm_fill_random(stream, (mpt_format)k->format_b, b, count_b, (uint32_t)(2 * i + 2));
    cudaMemsetAsync(out, 0, buffers->bytes_out, stream);
    place += set;
  }
  return CUDA_LAUNCHED("trying matrix products", error);
}

void mpt_gemm_buffers_free(cuda_context *c, gemm_buffers *buffers) {
  mpt_cuda_give(c, buffers->memory);
  buffers->memory = NULL;
}

/* ---- graphs ---- */
mpt_status mpt_gemm_graph_make(cuda_context *c, const gemm_plan *plan,
                               const cublasLtMatmulAlgo_t *algorithm, const gemm_buffers *buffers,
                               int products, cudaGraphExec_t *exec, mpt_error *error) {
  cudaStream_t stream = c->gemm->stream;
  const char *what = "timing a matrix product";
  cudaGraph_t graph = NULL;
  cublasStatus_t result = CUBLAS_STATUS_SUCCESS;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), what, error));
  for (int i = 0; i < products && result == CUBLAS_STATUS_SUCCESS; i++)
    result = mpt_gemm_run(c, plan, algorithm, stream, &buffers->data[i % buffers->sets]);
  cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  mpt_status status = mpt_cublaslt_check(&c->gemm->lt, result, what, error);
  if (status == MPT_OK)
    status = mpt_cuda_check(ended, what, error);
  if (status == MPT_OK)
    status = mpt_cuda_check(cudaGraphInstantiate(exec, graph, 0), what, error);
  if (graph != NULL)
    cudaGraphDestroy(graph);
  return status;
}

mpt_status mpt_gemm_graph_time(cuda_context *c, cudaGraphExec_t graph, cudaEvent_t events[2],
                               double *seconds, mpt_error *error) {
  cudaStream_t stream = c->gemm->stream;
  const char *what = "timing a matrix product";
  float milliseconds = 0;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventRecord(events[0], stream), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaGraphLaunch(graph, stream), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventRecord(events[1], stream), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventSynchronize(events[1]), what, error));
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaEventElapsedTime(&milliseconds, events[0], events[1]), what, error));
  *seconds = 1e-3 * (double)milliseconds;
  return MPT_OK;
}

/* ---- a search ---- */
typedef struct candidate {
  const cublasLtMatmulAlgo_t *algorithm;
  int rank; /* among the heuristic's */
  int products;
  cudaGraphExec_t graph;
  double seconds; /* of a product */
} candidate;

typedef struct search {
  cuda_context *c;
  gemm_plan *plan;
  gemm_buffers buffers;
  cudaEvent_t events[EVENTS];
  uint32_t *wrong; /* device */
  candidate candidates[GEMM_CANDIDATES];
  int count;
} search;

/* Single runs are wrong by some 10 us: what is at most so long may be the fastest. */
static double near_to(double fastest) {
  return 1.15 * fastest + 20e-6;
}

/* Seconds of a run, or less than 0 where the library or the device refuses it. The first one may
 * load the kernel, for 3 ms and more, so there is a second unless the first was short or is out of
 * the question. What a refusal leaves behind on the device ends the queue, so that is an error. */
static mpt_status run_once(search *s, candidate *x, double fastest, mpt_error *error) {
  cudaStream_t stream = s->c->gemm->stream;
  float milliseconds = 0;
  x->seconds = -1;
  for (int run = 0; run < 2; run++) {
    cudaEventRecord(s->events[0], stream);
    if (mpt_gemm_run(s->c, s->plan, x->algorithm, stream, &s->buffers.data[0]) !=
        CUBLAS_STATUS_SUCCESS) {
      cudaGetLastError();
      x->seconds = -1;
      return MPT_OK;
    }
    cudaEventRecord(s->events[1], stream);
    MPT_RETURN_IF_FAILED(
        mpt_cuda_check(cudaStreamSynchronize(stream), "trying a matrix product", error));
    cudaEventElapsedTime(&milliseconds, s->events[0], s->events[1]);
    x->seconds = 1e-3 * (double)milliseconds;
    if (x->seconds <= near_to(fastest) || x->seconds > 1.5 * fastest + 10e-3)
      break;
  }
  return MPT_OK;
}

/* Medians of interleaved graphs, one after the other without a pause, in which clocks would rise.
 */
static mpt_status time_rounds(search *s, const int *which, int count, int rounds,
                              mpt_error *error) {
  const char *what = "timing a matrix product";
  double times[GEMM_CANDIDATES][ROUNDS] = {0};
  cudaStream_t stream = s->c->gemm->stream;
  int graphs = rounds * count;
  for (int i = -1; i < graphs; i++) { /* the first is not counted */
    cudaGraphExec_t graph = s->candidates[which[(i + count) % count]].graph;
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaGraphLaunch(graph, stream), what, error));
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventRecord(s->events[i + 1], stream), what, error));
  }
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventSynchronize(s->events[graphs]), what, error));
  for (int i = 0; i < graphs; i++) {
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, s->events[i], s->events[i + 1]);
    times[i % count][i / count] = 1e-3 * (double)milliseconds;
  }
  for (int i = 0; i < count; i++)
    s->candidates[which[i]].seconds =
        mpt_median(times[i], rounds) / s->candidates[which[i]].products;
  return MPT_OK;
}

static int by_seconds(const void *a, const void *b) {
  double x = ((const candidate *)a)->seconds, y = ((const candidate *)b)->seconds;
  return (x > y) - (x < y);
}

/* An odd number of rounds that take about so long, from `least` to ROUNDS. */
static int rounds_in(const search *s, const int *which, int count, double seconds, int least) {
  double round = 0;
  for (int i = 0; i < count; i++)
    round += s->candidates[which[i]].seconds * s->candidates[which[i]].products;
  double rounds = seconds / round;
  return rounds < least ? least : rounds < ROUNDS ? (int)rounds | 1 : ROUNDS;
}

/* Graphs of the candidates that single runs leave. */
static mpt_status shortlist(search *s, int which[GEMM_CANDIDATES], int *near, mpt_error *error) {
  double fastest = s->candidates[0].seconds;
  for (int i = 0; i < s->count; i++)
    if (s->candidates[i].seconds < fastest)
      fastest = s->candidates[i].seconds;
  *near = 0;
  for (int i = 0; i < s->count; i++) {
    candidate *x = &s->candidates[i];
    if (i > 0 && x->seconds > near_to(fastest))
      continue;
    double fit = graph_seconds / x->seconds;
    x->products = fit < 1 ? 1 : fit < MOST_PRODUCTS ? (int)fit : MOST_PRODUCTS;
    MPT_RETURN_IF_FAILED(mpt_gemm_graph_make(s->c, s->plan, x->algorithm, &s->buffers, x->products,
                                             &x->graph, error));
    which[(*near)++] = i;
  }
  return MPT_OK;
}

/* Leaves the heuristic's first and the FINALISTS fastest of the others. */
static int finalists(const search *s, int which[GEMM_CANDIDATES], int near) {
  for (int i = 2; i < near; i++)
    for (int j = i; j > 1 && s->candidates[which[j]].seconds < s->candidates[which[j - 1]].seconds;
         j--) {
      int swap = which[j];
      which[j] = which[j - 1];
      which[j - 1] = swap;
    }
  return near < 1 + FINALISTS ? near : 1 + FINALISTS;
}

/* Puts the candidate to use first, the others behind by time. */
static mpt_status rank(search *s, mpt_error *error) {
  int which[GEMM_CANDIDATES], near;
  MPT_RETURN_IF_FAILED(shortlist(s, which, &near, error));
  if (near < 2)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(time_rounds(s, which, near, 1, error)); /* warms up */
  MPT_RETURN_IF_FAILED(
      time_rounds(s, which, near, rounds_in(s, which, near, first_seconds, 3), error));
  near = finalists(s, which, near);
  MPT_RETURN_IF_FAILED(
      time_rounds(s, which, near, rounds_in(s, which, near, final_seconds, 3), error));
  int best = 0;
  for (int i = 1; i < near; i++)
    if (s->candidates[which[i]].seconds < s->candidates[which[best]].seconds)
      best = i;
  candidate *first = &s->candidates[0], *winner = &s->candidates[which[best]];
  bool better = winner->seconds < (1 - noise) * first->seconds;
  if (better) {
    const int pair[] = {0, which[best]};
    MPT_RETURN_IF_FAILED(time_rounds(s, pair, 2, rounds_in(s, pair, 2, final_seconds, 7), error));
    better = winner->seconds < (1 - noise) * first->seconds;
  }
  s->plan->first_seconds = first->seconds;
  s->plan->seconds = better ? winner->seconds : first->seconds;
  candidate chosen = better ? *winner : *first;
  if (better)
    *winner = *first;
  s->candidates[0] = chosen;
  qsort(s->candidates + 1, (size_t)s->count - 1, sizeof *s->candidates, by_seconds);
  return MPT_OK;
}

/* ---- checks ---- */
/* How far sums may be from the exact one, in units of sum|a b|. fp8's products are added with 13
 * fraction bits on Hopper, in groups that are added in fp32 unless `fast`. */
static float tolerance_of(const gemm_key *k) {
  return mpt_format_is_fp8((mpt_format)k->format_a) ? 0x1p-9f : 0x1p-16f;
}

/* One run on what is in set 0, after the output was set to NaN, or to 1 to be added to. */
static bool run_for_check(search *s, const candidate *x, float alpha) {
  gemm_data data = s->buffers.data[0];
  const gemm_key *k = &s->plan->key;
  cudaStream_t stream = s->c->gemm->stream;
  data.alpha = alpha;
  data.beta = k->accumulate ? 1.0f : 0.0f;
  if (k->accumulate)
    mpt_gemm_fill_constant(stream, (mpt_format)k->format_out, data.out, k->m * k->row_out, 1.0f);
  else
    cudaMemsetAsync(data.out, 0xFF, s->buffers.bytes_out, stream);
  return mpt_gemm_run(s->c, s->plan, x->algorithm, stream, &data) == CUBLAS_STATUS_SUCCESS;
}

/* One run on ones in a and signs in b, which must be exact. */
static bool run_on_signs(search *s, const candidate *x, int64_t run, int64_t every, float alpha) {
  const gemm_key *k = &s->plan->key;
  cudaStream_t stream = s->c->gemm->stream;
  void *b = (void *)s->buffers.data[0].b; /* ours, so not constant */
  float extra = (k->accumulate ? 1.0f : 0.0f) + (k->bias ? 0.5f : 0.0f);
  int64_t sum = mpt_gemm_fill_signs(stream, (mpt_format)k->format_b, b, k->row_b, k->n, k->k,
                                    k->transpose_b, run, every);
  bool ran = run_for_check(s, x, alpha);
  mpt_gemm_check_constant(stream, k, s->buffers.data[0].out, alpha * (float)sum + extra, s->wrong);
  return ran;
}

/* Products of ones count all of k, products of ones with runs of 1 and -1 show in any format what
 * is left out at either end, and random ones are compared with sums in double. Fast sums cannot
 * count beyond 2^14: ones are sparse then, and runs short. */
static mpt_status check(search *s, const candidate *x, bool *right, mpt_error *error) {
  const gemm_key *k = &s->plan->key;
  gemm_data *d = &s->buffers.data[0];
  cudaStream_t stream = s->c->gemm->stream;
  int64_t count_a = (int64_t)(s->buffers.bytes_a / gemm_element_bytes(k->format_a));
  int64_t count_b = (int64_t)(s->buffers.bytes_b / gemm_element_bytes(k->format_b));
  int64_t most = k->fast ? 4096 : k->k, run = k->k / 2 < most ? k->k / 2 : most;
  float unit = ldexpf(1.0f, -(int)ceil(log2((double)k->k))); /* keeps sums in fp16's range */
  uint32_t wrong = 0;
  bool ran = true;
  cudaMemsetAsync(s->wrong, 0, sizeof *s->wrong, stream);
  if (!k->accumulate && !k->bias) {
    mpt_gemm_fill_random(stream, (mpt_format)k->format_a, (void *)d->a, count_a, 1);
    mpt_gemm_fill_random(stream, (mpt_format)k->format_b, (void *)d->b, count_b, 2);
    ran = run_for_check(s, x, 1.0f);
    mpt_gemm_check_samples(stream, k, d->a, d->b, d->out, tolerance_of(k), s->wrong);
  }
  mpt_gemm_fill_constant(stream, (mpt_format)k->format_a, (void *)d->a, count_a, 1.0f);
  ran = ran && run_on_signs(s, x, k->k, (k->k + most - 1) / most, unit);
  ran = ran && run_on_signs(s, x, run > 0 ? run : 1, 1, 1.0f);
  MPT_RETURN_IF_FAILED(CUDA_LAUNCHED("checking a matrix product", error));
  cudaMemcpyAsync(&wrong, s->wrong, sizeof wrong, cudaMemcpyDeviceToHost, stream);
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaStreamSynchronize(stream), "checking a matrix product", error));
  *right = ran && wrong == 0;
  return MPT_OK;
}

static mpt_status choose(search *s, const cublasLtMatmulHeuristicResult_t *results, int count,
                         mpt_error *error) {
  const char *what = "trying matrix products";
  for (size_t i = 0; i < EVENTS; i++)
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventCreate(&s->events[i]), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_take(s->c, sizeof *s->wrong, (void **)&s->wrong, what, error));
  double fastest = 0; /* of those that ran */
  for (int i = 0; i < count; i++) {
    candidate *x = &s->candidates[s->count];
    *x = (candidate){.algorithm = &results[i].algo, .rank = i};
    MPT_RETURN_IF_FAILED(run_once(s, x, fastest, error));
    if (x->seconds < 0)
      continue;
    fastest = s->count++ == 0 || x->seconds < fastest ? x->seconds : fastest;
  }
  s->plan->candidates = s->count;
  if (s->c->gemm->tune && s->count > 1)
    MPT_RETURN_IF_FAILED(rank(s, error));
  for (int i = 0; i < s->count && !s->plan->supported; i++) {
    MPT_RETURN_IF_FAILED(check(s, &s->candidates[i], &s->plan->supported, error));
    s->plan->algorithm = *s->candidates[i].algorithm;
    s->plan->rank = s->candidates[i].rank;
  }
  return MPT_OK;
}

mpt_status mpt_gemm_tune(cuda_context *c, gemm_plan *plan,
                         const cublasLtMatmulHeuristicResult_t *results, int count,
                         mpt_error *error) {
  search s = {.c = c, .plan = plan};
  /* The workspace is the queue's: what uses it now ends first. */
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaStreamSynchronize(c->stream), "trying matrix products", error));
  mpt_status status = mpt_gemm_buffers_make(c, &plan->key, &s.buffers, error);
  if (status == MPT_ERROR_DEVICE_MEMORY) { /* the heuristic's word has to do */
    plan->algorithm = results[0].algo;
    plan->supported = plan->untested = true;
    return MPT_OK;
  }
  if (status == MPT_OK)
    status = choose(&s, results, count, error);
  for (int i = 0; i < s.count; i++)
    if (s.candidates[i].graph != NULL)
      cudaGraphExecDestroy(s.candidates[i].graph);
  for (size_t i = 0; i < EVENTS; i++)
    if (s.events[i] != NULL)
      cudaEventDestroy(s.events[i]);
  mpt_cuda_give(c, s.wrong);
  mpt_gemm_buffers_free(c, &s.buffers);
  return status;
}
