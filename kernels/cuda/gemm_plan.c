/* Plans: what cuBLASLt has to be told about a product, and the algorithm that makes it.
 *
 * cuBLASLt's matrices are column-major, ours row-major. A row-major matrix read as column-major is
 * its transpose, and out^T = op(b)^T op(a)^T: so cuBLASLt's A is our b, its B our a, m and n change
 * places, and a transposition that we ask for is one that it is asked for. */
#include "base/hash.h"
#include "kernels/cuda/gemm.h"
#include <stdlib.h>
#include <string.h>

static cudaDataType_t data_type(int32_t format) {
  switch ((mpt_format)format) {
  case MPT_BF16:
    return CUDA_R_16BF;
  case MPT_FP16:
    return CUDA_R_16F;
  case MPT_FP8_E4M3:
    return CUDA_R_8F_E4M3;
  case MPT_FP8_E5M2:
    return CUDA_R_8F_E5M2;
  default:
    return CUDA_R_32F;
  }
}

mpt_status mpt_cuda_gemm_open(cuda_context *c, mpt_error *error) {
  struct cuda_gemm *g = c->gemm = calloc(1, sizeof *g);
  if (g == NULL)
    return mpt_fail_memory(error, "matrix products", sizeof *g);
  const char *tune = getenv("MPTUNE_GEMM_TUNE"), *what = "opening cuBLASLt";
  g->tune = tune == NULL || strcmp(tune, "0") != 0;
  MPT_RETURN_IF_FAILED(mpt_cublaslt_load(&g->lt, error));
  MPT_RETURN_IF_FAILED(mpt_cublaslt_check(&g->lt, g->lt.Create(&g->handle), what, error));
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, sizeof(float), (void **)&g->one, what, error));
  mpt_gemm_fill_constant(c->stream, MPT_FP32, g->one, 1, 1.0f);
  mpt_gemm_choice_open(c);
  return CUDA_LAUNCHED(what, error);
}

void mpt_gemm_plan_free(struct cuda_gemm *g, gemm_plan *plan) {
  if (plan == NULL)
    return;
  if (plan->operation != NULL)
    g->lt.MatmulDescDestroy(plan->operation);
  if (plan->a != NULL)
    g->lt.MatrixLayoutDestroy(plan->a);
  if (plan->b != NULL)
    g->lt.MatrixLayoutDestroy(plan->b);
  if (plan->out != NULL)
    g->lt.MatrixLayoutDestroy(plan->out);
  free(plan);
}

void mpt_cuda_gemm_close(cuda_context *c) {
  struct cuda_gemm *g = c->gemm;
  if (g == NULL)
    return;
  for (int i = 0; i < GEMM_BUCKETS; i++)
    while (g->plans[i] != NULL) {
      gemm_plan *plan = g->plans[i];
      g->plans[i] = plan->next;
      mpt_gemm_plan_free(g, plan);
    }
  while (g->room != NULL) {
    gemm_room *room = g->room;
    g->room = room->before;
    mpt_cuda_give(c, room->memory);
    free(room);
  }
  mpt_cuda_give(c, g->one);
  if (g->stream != NULL)
    cudaStreamDestroy(g->stream);
  if (g->handle != NULL)
    g->lt.Destroy(g->handle);
  mpt_cublaslt_unload(&g->lt);
  free(g);
  c->gemm = NULL;
}

/* ---- descriptions ---- */
static cublasStatus_t set(const cublaslt *lt, const gemm_plan *plan,
                          cublasLtMatmulDescAttributes_t attribute, int32_t value) {
  return lt->MatmulDescSetAttribute(plan->operation, attribute, &value, sizeof value);
}

static mpt_status describe(const cublaslt *lt, gemm_plan *plan, mpt_error *error) {
  const gemm_key *k = &plan->key;
  const char *what = "describing a matrix product";
  cublasComputeType_t compute =
      k->format_a == MPT_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  uint64_t rows_a = (uint64_t)(k->transpose_a ? k->m : k->k); /* of column-major ones */
  uint64_t rows_b = (uint64_t)(k->transpose_b ? k->k : k->n);
#define LT_TRY(call) MPT_RETURN_IF_FAILED(mpt_cublaslt_check(lt, call, what, error))
  LT_TRY(lt->MatmulDescCreate(&plan->operation, compute, CUDA_R_32F));
  LT_TRY(set(lt, plan, CUBLASLT_MATMUL_DESC_TRANSA, k->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
  LT_TRY(set(lt, plan, CUBLASLT_MATMUL_DESC_TRANSB, k->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
  if (mpt_format_is_fp8((mpt_format)k->format_a)) {
    int8_t fast = (int8_t)k->fast;
    LT_TRY(lt->MatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast,
                                      sizeof fast));
  }
  if (k->bias) {
    LT_TRY(set(lt, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS));
    LT_TRY(set(lt, plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)data_type(k->format_bias)));
  }
  LT_TRY(lt->MatrixLayoutCreate(&plan->a, data_type(k->format_a), rows_a,
                                (uint64_t)(k->transpose_a ? k->k : k->m), k->row_a));
  LT_TRY(lt->MatrixLayoutCreate(&plan->b, data_type(k->format_b), rows_b,
                                (uint64_t)(k->transpose_b ? k->n : k->k), k->row_b));
  LT_TRY(lt->MatrixLayoutCreate(&plan->out, data_type(k->format_out), (uint64_t)k->n,
                                (uint64_t)k->m, k->row_out));
#undef LT_TRY
  return MPT_OK;
}

/* ---- candidates ---- */
static cublasStatus_t prefer(const cublaslt *lt, cublasLtMatmulPreference_t preference,
                             const gemm_key *k, size_t workspace) {
  /* no partial sums in the output's format */
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  const struct {
    cublasLtMatmulPreferenceAttributes_t attribute;
    uint32_t value;
  } attributes[] = {
      {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)k->align_b},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)k->align_a},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)k->align_out},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)k->align_out},
  };
  cublasStatus_t result = lt->MatmulPreferenceSetAttribute(
      preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    if (result == CUBLAS_STATUS_SUCCESS)
      result = lt->MatmulPreferenceSetAttribute(preference, attributes[i].attribute,
                                                &attributes[i].value, sizeof(uint32_t));
  return result;
}

/* Adds the heuristic's candidates for what `operation` says, but those that are there. */
static void ask(const struct cuda_gemm *g, const gemm_plan *plan,
                cublasLtMatmulPreference_t preference, cublasLtMatmulHeuristicResult_t *results,
                int *count) {
  cublasLtMatmulHeuristicResult_t found[GEMM_ASKED];
  int number = 0;
  if (g->lt.MatmulAlgoGetHeuristic(g->handle, plan->operation, plan->b, plan->a, plan->out,
                                   plan->out, preference, GEMM_ASKED, found,
                                   &number) != CUBLAS_STATUS_SUCCESS)
    return; /* it has none: no error */
  for (int i = 0; i < number; i++) {
    bool skip = found[i].state != CUBLAS_STATUS_SUCCESS || found[i].workspaceSize > CUDA_GEMM_BYTES;
    for (int j = 0; j < *count && !skip; j++)
      skip = memcmp(&found[i].algo, &results[j].algo, sizeof found[i].algo) == 0;
    if (!skip)
      results[(*count)++] = found[i];
  }
}

/* What the heuristic proposes depends on the workspace it may use: with much of it, it fills its
 * list with algorithms that split k, also where one that does not is faster. So it is asked again.
 */
static cublasStatus_t ask_with_workspaces(const struct cuda_gemm *g, const gemm_plan *plan,
                                          cublasLtMatmulPreference_t preference,
                                          cublasLtMatmulHeuristicResult_t *results, int *count) {
  static const size_t workspaces[GEMM_WORKSPACES] = {CUDA_GEMM_BYTES, 1 << 20, 0};
  for (int i = 0; i < (g->tune ? GEMM_WORKSPACES : 1); i++) {
    cublasStatus_t result = prefer(&g->lt, preference, &plan->key, workspaces[i]);
    if (result != CUBLAS_STATUS_SUCCESS)
      return result;
    ask(g, plan, preference, results, count);
    if (*count == 0) /* nor would it with less */
      break;
  }
  return CUBLAS_STATUS_SUCCESS;
}

/* The heuristic knows fewer fast algorithms with a bias than without, and those without are able to
 * add one: they are candidates too. */
static mpt_status candidates_of(const struct cuda_gemm *g, const gemm_plan *plan,
                                cublasLtMatmulHeuristicResult_t results[GEMM_CANDIDATES],
                                int *count, mpt_error *error) {
  cublasLtMatmulPreference_t preference;
  const char *what = "choosing an algorithm";
  *count = 0;
  MPT_RETURN_IF_FAILED(
      mpt_cublaslt_check(&g->lt, g->lt.MatmulPreferenceCreate(&preference), what, error));
  cublasStatus_t result = ask_with_workspaces(g, plan, preference, results, count);
  if (result == CUBLAS_STATUS_SUCCESS && plan->key.bias && *count > 0 && g->tune) {
    result = set(&g->lt, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
    if (result == CUBLAS_STATUS_SUCCESS)
      result = ask_with_workspaces(g, plan, preference, results, count);
    if (result == CUBLAS_STATUS_SUCCESS)
      result = set(&g->lt, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  }
  g->lt.MatmulPreferenceDestroy(preference);
  return mpt_cublaslt_check(&g->lt, result, what, error);
}

/* ---- the table ---- */
static size_t bucket_of(const gemm_key *key) {
  return mpt_hash_bytes(MPT_HASH_START, key, sizeof *key) % GEMM_BUCKETS;
}

/* A step that is prepared takes what is there. */
static mpt_status refuse_unprepared(const cuda_context *c, const gemm_key *k, mpt_error *error) {
  if (!c->gemm->prepared_only)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_UNPREPARED,
                  "gemm %lld x %lld x %lld of %s was not prepared with rows of %lld, %lld and %lld "
                  "elements at addresses that %d, %d and %d divide; mpt_session_prepare expects "
                  "contiguous tensors at multiples of 16",
                  (long long)k->m, (long long)k->n, (long long)k->k,
                  mpt_format_get((mpt_format)k->format_a)->name, (long long)k->row_a,
                  (long long)k->row_b, (long long)k->row_out, k->align_a, k->align_b, k->align_out);
}

static mpt_status refuse_capture(cuda_context *c, const gemm_key *k, mpt_error *error) {
  enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamIsCapturing(c->stream, &capture), "gemm", error));
  if (capture == cudaStreamCaptureStatusNone)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_DEVICE,
                  "gemm %lld x %lld x %lld of %s has no plan yet and none is made while a graph is "
                  "captured; run the step once before",
                  (long long)k->m, (long long)k->n, (long long)k->k,
                  mpt_format_get((mpt_format)k->format_a)->name);
}

static void take(gemm_plan *plan, const gemm_choice *x) {
  plan->algorithm = x->algorithm;
  plan->candidates = x->candidates;
  plan->rank = x->rank;
  plan->seconds = x->seconds;
  plan->first_seconds = x->first_seconds;
  plan->supported = true;
}

/* A choice of before is used where the library still takes it. */
static bool recall(const cuda_context *c, gemm_plan *plan) {
  const struct cuda_gemm *g = c->gemm;
  cublasLtMatmulHeuristicResult_t result;
  gemm_choice x = {.key = plan->key};
  if (!mpt_gemm_choice_find(c, &x) ||
      g->lt.MatmulAlgoCheck(g->handle, plan->operation, plan->b, plan->a, plan->out, plan->out,
                            &x.algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
      result.workspaceSize > CUDA_GEMM_BYTES)
    return false;
  take(plan, &x);
  return true;
}

static void remember(const cuda_context *c, gemm_plan *plan) {
  if (!plan->supported || plan->untested)
    return;
  gemm_choice x = {.key = plan->key,
                   .algorithm = plan->algorithm,
                   .candidates = plan->candidates,
                   .rank = plan->rank,
                   .seconds = plan->seconds,
                   .first_seconds = plan->first_seconds};
  mpt_gemm_choice_keep(c, &x);
  take(plan, &x);
}

static mpt_status choose(cuda_context *c, gemm_plan *plan, mpt_error *error) {
  cublasLtMatmulHeuristicResult_t candidates[GEMM_CANDIDATES];
  int count;
  if (recall(c, plan))
    return MPT_OK;
  MPT_RETURN_IF_FAILED(candidates_of(c->gemm, plan, candidates, &count, error));
  if (count > 0)
    MPT_RETURN_IF_FAILED(mpt_gemm_tune(c, plan, candidates, count, error));
  remember(c, plan);
  return MPT_OK;
}

static mpt_status make(cuda_context *c, const gemm_key *key, gemm_plan **out, mpt_error *error) {
  struct cuda_gemm *g = c->gemm;
  mpt_status status = MPT_OK;
  gemm_plan *plan = calloc(1, sizeof *plan);
  if (plan == NULL)
    return mpt_fail_memory(error, "a matrix product", sizeof *plan);
  plan->key = *key;
  MPT_TRY(describe(&g->lt, plan, error));
  MPT_TRY(choose(c, plan, error));
  *out = plan;
  return MPT_OK;
fail:
  mpt_gemm_plan_free(g, plan);
  return status;
}

mpt_status mpt_gemm_plan_find(cuda_context *c, const gemm_key *key, const gemm_plan **plan,
                              mpt_error *error) {
  gemm_plan **bucket = &c->gemm->plans[bucket_of(key)], *made;
  for (made = *bucket; made != NULL; made = made->next)
    if (memcmp(&made->key, key, sizeof *key) == 0) {
      *plan = made;
      return MPT_OK;
    }
  MPT_RETURN_IF_FAILED(refuse_unprepared(c, key, error));
  MPT_RETURN_IF_FAILED(refuse_capture(c, key, error));
  MPT_RETURN_IF_FAILED(make(c, key, &made, error));
  made->next = *bucket;
  *bucket = made;
  *plan = made;
  return MPT_OK;
}
