/* The time of a product, for whoever prices networks: the algorithm that a queue would use, on
 * random operands in turn that are not in cache together, replayed as a graph. */
#include "kernels/cuda/gemm.h"

enum { REPLAYS = 5, MOST_PRODUCTS = 50 };
static const double graph_seconds = 500e-6;

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
    MPT_TRY(gemm_graph_make(c, plan, &plan->algorithm, buffers, products, &graph, error));
    for (int warm = 0; warm < 2; warm++)
      MPT_TRY(gemm_graph_time(c, graph, events, &once, error));
    once /= products;
  }
  for (int i = 0; i < REPLAYS; i++)
    MPT_TRY(gemm_graph_time(c, graph, events, &times[i], error));
  *seconds = gemm_median(times, REPLAYS) / products;
fail:
  if (graph != NULL)
    cudaGraphExecDestroy(graph);
  return status;
}

mpt_status cuda_gemm_time_layout(mpt_queue *queue, int64_t m, int64_t n, int64_t k, mpt_format a,
                                 mpt_format b, mpt_format out, bool transpose_a, bool transpose_b,
                                 bool accumulate, bool fast, double *seconds, mpt_error *error) {
  cuda_context *c = cuda_of(queue);
  gemm_key key = {.m = m,
                  .n = n,
                  .k = k,
                  .row_a = transpose_a ? m : k,
                  .row_b = transpose_b ? k : n,
                  .row_out = n,
                  .format_a = (int32_t)a,
                  .format_b = (int32_t)b,
                  .format_out = (int32_t)out,
                  .transpose_a = transpose_a,
                  .transpose_b = transpose_b,
                  .fast = fast && (a == MPT_FP8_E4M3 || a == MPT_FP8_E5M2),
                  .accumulate = accumulate};
  const size_t elements[3] = {gemm_element_bytes(key.format_a), gemm_element_bytes(key.format_b),
                              gemm_element_bytes(key.format_out)};
  const int64_t rows[3] = {key.row_a, key.row_b, key.row_out};
  int32_t *const aligns[3] = {&key.align_a, &key.align_b, &key.align_out};
  for (int i = 0; i < 3; i++) {
    uint64_t bits = (uint64_t)rows[i] * elements[i] | 16;
    *aligns[i] = (int32_t)(bits & (~bits + 1));
  }
  const gemm_plan *plan;
  MPT_RETURN_IF_FAILED(gemm_plan_find(c, &key, &plan, error));
  if (!plan->supported)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "cuBLASLt on %s has no product %lld x %lld x %lld of %s and %s into %s",
                    c->name, (long long)m, (long long)n, (long long)k, mpt_format_get(a)->name,
                    mpt_format_get(b)->name, mpt_format_get(out)->name);
  gemm_buffers buffers;
  MPT_RETURN_IF_FAILED(cuda_check(cudaStreamSynchronize(c->stream), "timing a product", error));
  MPT_RETURN_IF_FAILED(gemm_buffers_make(c, &key, &buffers, error));
  cudaEvent_t events[2] = {NULL, NULL};
  mpt_status status = MPT_OK;
  for (int i = 0; i < 2; i++)
    MPT_TRY(cuda_check(cudaEventCreate(&events[i]), "timing a product", error));
  MPT_TRY(time_plan(c, plan, &buffers, events, seconds, error));
fail:
  for (int i = 0; i < 2; i++)
    if (events[i] != NULL)
      cudaEventDestroy(events[i]);
  gemm_buffers_free(&buffers);
  return status;
}

mpt_status cuda_gemm_time(mpt_queue *queue, int64_t m, int64_t n, int64_t k, mpt_format a,
                          mpt_format b, mpt_format out, bool fast, double *seconds,
                          mpt_error *error) {
  return cuda_gemm_time_layout(queue, m, n, k, a, b, out, false, true, false, fast, seconds, error);
}
