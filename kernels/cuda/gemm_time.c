/* The time of a product, for whoever prices networks: the algorithm that a queue would use, on
 * random operands in turn that are not in cache together, replayed as a graph for so long that
 * clocks are those of long work. */
#include "base/median.h"
#include "kernels/cuda/gemm.h"

enum { REPLAYS = 5, MOST_PRODUCTS = 50 };
static const double graph_seconds = 500e-6,
                    load_seconds = 30e-3, /* as in a step: power is limited over time */
    short_seconds = 10e-6;                /* a product that does not come near that limit */

static mpt_status time_plan(cuda_context *c, const gemm_plan *plan, const gemm_buffers *buffers,
                            cudaEvent_t events[2], double *seconds, mpt_error *error) {
  double times[REPLAYS], once = plan->seconds;
  cudaGraphExec_t graph = NULL;
  mpt_status status = MPT_OK;
  int products = 1;
  for (int pass = 0; pass < 2; pass++) { /* a first, short graph says how many fill the time */
    if (once > 0.0 && graph_seconds / once > 1.0)
      products = graph_seconds / once < MOST_PRODUCTS ? (int)(graph_seconds / once) : MOST_PRODUCTS;
    else if (pass == 1)
      break;
    if (graph != NULL)
      cudaGraphExecDestroy(graph);
    graph = NULL;
    MPT_TRY(mpt_gemm_graph_make(c, plan, &plan->algorithm, buffers, products, &graph, error));
    for (int warm = 0; warm < 2; warm++)
      MPT_TRY(mpt_gemm_graph_time(c, graph, events, &once, error));
    once /= products;
  }
  for (double spent = once > short_seconds ? 0.0 : load_seconds; spent < load_seconds;) {
    MPT_TRY(mpt_gemm_graph_time(c, graph, events, &times[0], error));
    spent += times[0];
  }
  for (int i = 0; i < REPLAYS; i++)
    MPT_TRY(mpt_gemm_graph_time(c, graph, events, &times[i], error));
  *seconds = mpt_median(times, REPLAYS) / products;
fail:
  if (graph != NULL)
    cudaGraphExecDestroy(graph);
  return status;
}

static gemm_key key_of(const mpt_gemm_shape *p) {
  gemm_key key = {.m = p->m,
                  .n = p->n,
                  .k = p->k,
                  .row_a = p->transpose_a ? p->m : p->k,
                  .row_b = p->transpose_b ? p->k : p->n,
                  .row_out = p->n,
                  .format_a = (int32_t)p->a,
                  .format_b = (int32_t)p->b,
                  .format_out = (int32_t)p->out,
                  .transpose_a = p->transpose_a,
                  .transpose_b = p->transpose_b,
                  .fast = p->fast && mpt_format_is_fp8(p->a),
                  .accumulate = p->accumulate,
                  .bias = p->bias,
                  .format_bias = p->bias ? MPT_FP32 : 0};
  const int32_t formats[3] = {key.format_a, key.format_b, key.format_out};
  const int64_t rows[3] = {key.row_a, key.row_b, key.row_out};
  int32_t *const aligns[3] = {&key.align_a, &key.align_b, &key.align_out};
  for (int i = 0; i < 3; i++) {
    uint64_t bits = (uint64_t)rows[i] * gemm_element_bytes(formats[i]) | 16;
    *aligns[i] = (int32_t)(bits & (~bits + 1));
  }
  return key;
}

/* As mpt_cuda_gemm finds it: a bias in fp32, else in the format of the output. */
static mpt_status find_plan(cuda_context *c, gemm_key *key, const gemm_plan **plan,
                            mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_gemm_plan_find(c, key, plan, error));
  if ((*plan)->supported || !key->bias || key->format_out == MPT_FP32)
    return MPT_OK;
  key->format_bias = key->format_out;
  return mpt_gemm_plan_find(c, key, plan, error);
}

mpt_status mpt_cuda_gemm_time(mpt_queue *queue, const mpt_gemm_shape *product, double *seconds,
                              mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  gemm_key key = key_of(product);
  const gemm_plan *plan;
  c->gemm->prepared_only = false;
  MPT_RETURN_IF_FAILED(find_plan(c, &key, &plan, error));
  if (!plan->supported)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "cuBLASLt on %s has no product %lld x %lld x %lld of %s and %s into %s",
                    c->name, (long long)key.m, (long long)key.n, (long long)key.k,
                    mpt_format_get(product->a)->name, mpt_format_get(product->b)->name,
                    mpt_format_get(product->out)->name);
  gemm_buffers buffers;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamSynchronize(c->stream), "timing a product", error));
  MPT_RETURN_IF_FAILED(mpt_gemm_buffers_make(c, &key, &buffers, error));
  cudaEvent_t events[2] = {NULL, NULL};
  mpt_status status = MPT_OK;
  for (int i = 0; i < 2; i++)
    MPT_TRY(mpt_cuda_check(cudaEventCreate(&events[i]), "timing a product", error));
  MPT_TRY(time_plan(c, plan, &buffers, events, seconds, error));
fail:
  for (int i = 0; i < 2; i++)
    if (events[i] != NULL)
      cudaEventDestroy(events[i]);
  mpt_gemm_buffers_free(c, &buffers);
  return status;
}
