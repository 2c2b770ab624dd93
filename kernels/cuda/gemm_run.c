/* A product run by one algorithm of its plan. */
#include "kernels/cuda/gemm.h"

static cublasStatus_t point(const cublaslt *lt, const gemm_plan *plan,
                            cublasLtMatmulDescAttributes_t attribute, const void *pointer) {
  return lt->MatmulDescSetAttribute(plan->operation, attribute, &pointer, sizeof pointer);
}

/* The pointers in a description are copied into the launch, so it may be used again at once. */
cublasStatus_t mpt_gemm_run(cuda_context *c, const gemm_plan *plan,
                            const cublasLtMatmulAlgo_t *algorithm, cudaStream_t stream,
                            const gemm_data *data) {
  const struct cuda_gemm *g = c->gemm;
  cublasStatus_t result = CUBLAS_STATUS_SUCCESS;
  if (mpt_format_is_fp8((mpt_format)plan->key.format_a)) {
    result = point(&g->lt, plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                   data->scale_b != NULL ? data->scale_b : g->one);
    if (result == CUBLAS_STATUS_SUCCESS)
      result = point(&g->lt, plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                     data->scale_a != NULL ? data->scale_a : g->one);
  }
  if (plan->key.bias && result == CUBLAS_STATUS_SUCCESS)
    result = point(&g->lt, plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, data->bias);
  if (result != CUBLAS_STATUS_SUCCESS)
    return result;
  return g->lt.Matmul(g->handle, plan->operation, &data->alpha, data->b, plan->b, data->a, plan->a,
                      &data->beta, data->out, plan->out, data->out, plan->out, algorithm,
                      c->gemm_workspace, CUDA_GEMM_BYTES, stream);
}

mpt_status mpt_gemm_plan_run(cuda_context *c, const gemm_plan *plan, const gemm_data *data,
                             mpt_error *error) {
  return mpt_cublaslt_check(&c->gemm->lt, mpt_gemm_run(c, plan, &plan->algorithm, c->stream, data),
                            "gemm", error);
}
