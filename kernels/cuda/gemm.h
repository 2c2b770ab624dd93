/* What the files of the matrix product share.
 *
 * gemm.c         mpt_cuda_gemm: which products make it, and what is done before and after them
 * gemm_plan.c    plans: a product's description and its algorithm, found once for each shape
 * gemm_run.c     a plan's product, run by one of its algorithms
 * gemm_tune.c    the choice of an algorithm: candidates are run, timed and checked
 * gemm_choice.c  choices kept: for all queues of the process, and in a file for later processes
 * gemm_kernels.cu  operands packed, outputs finished, numbers to time and check with
 * gemm_time.c    mpt_cuda_gemm_time
 */
#ifndef MPT_KERNELS_CUDA_GEMM_H
#define MPT_KERNELS_CUDA_GEMM_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All that the choice of an algorithm depends on. Integers without gaps: keys are compared as
 * bytes. out[m,n] = op(a)[m,k] op(b)[k,n]; row_x is the distance of rows in elements. */
typedef struct gemm_key {
  int64_t m, n, k;
  int64_t row_a, row_b, row_out;
  int32_t format_a, format_b, format_out;
  int32_t transpose_a, transpose_b;
  int32_t fast;
  int32_t accumulate;                  /* beta is not 0 */
  int32_t bias, format_bias;           /* added in the epilogue */
  int32_t align_a, align_b, align_out; /* bytes, at most 16: what any kernel asks for */
} gemm_key;

/* Where a product's data is, and its factors. */
typedef struct gemm_data {
  const void *a, *b, *bias;
  void *out;
  const float *scale_a, *scale_b; /* fp8's, on the device */
  float alpha, beta;
} gemm_data;

/* A workspace of our own, for products that cuBLASLt does not make as they are. Captured graphs
 * may use one that was outgrown, so all are kept until the queue closes; each is at least twice
 * the one before. */
typedef struct gemm_room {
  void *memory;
  size_t bytes;
  struct gemm_room *before;
} gemm_room;

/* ---- kernels; all run on `stream` ---- */
/* y[i,j] = x[i,j], or x[j,i], as bytes; zero outside of x. y is [y_rows, y_columns], dense. */
void mpt_gemm_pack(cudaStream_t stream, const void *x, int64_t x_row, int64_t rows, int64_t columns,
                   bool transpose, void *y, int64_t y_rows, int64_t y_columns);

/* out[i,j] = round(alpha scale_a scale_b product[i,j] + beta out[i,j] + bias[j]). `product` is
 * fp32 and may be `out`; scales and bias may be NULL. */
typedef struct gemm_finish_args {
  const float *product;
  int64_t product_row;
  const float *scale_a, *scale_b, *bias;
  float alpha, beta;
  void *out;
  int64_t out_row, rows, columns;
} gemm_finish_args;
void mpt_gemm_finish(cudaStream_t stream, mpt_format out, const gemm_finish_args *args);

/* x[i] = draw(i) rounded to `format`: numbers like normal ones, or a constant. */
void mpt_gemm_fill_random(cudaStream_t stream, mpt_format format, void *x, int64_t count,
                          uint32_t seed);
void mpt_gemm_fill_constant(cudaStream_t stream, mpt_format format, void *x, int64_t count,
                            float value);
/* op(b)[k,n] of 1 and -1 by turns, in runs along k; of 0 but for the last and every `every`-th
 * before it. Returns the sum of a column. */
int64_t mpt_gemm_fill_signs(cudaStream_t stream, mpt_format format, void *b, int64_t row, int64_t n,
                            int64_t k, bool transpose, int64_t run, int64_t every);

/* Adds to *wrong how many elements of `out` are not `expected`. */
void mpt_gemm_check_constant(cudaStream_t stream, const gemm_key *key, const void *out,
                             float expected, uint32_t *wrong);
/* Adds to *wrong how many of some elements differ from sums in double by more than
 * tolerance sum|a b| and the rounding of the output. out = op(a) op(b), nothing else. */
void mpt_gemm_check_samples(cudaStream_t stream, const gemm_key *key, const void *a, const void *b,
                            const void *out, float tolerance, uint32_t *wrong);

#ifdef __cplusplus
} /* what follows is for C */
#else
#include "kernels/cuda/cublaslt.h"

enum {
  GEMM_ASKED = 8, /* proposals of the heuristic at a time */
  GEMM_WORKSPACES = 3,
  GEMM_CANDIDATES = 2 * GEMM_WORKSPACES * GEMM_ASKED, /* with and without a bias */
  GEMM_BUCKETS = 256,
  GEMM_PATH = 1024
};

typedef struct gemm_plan {
  gemm_key key;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, out; /* row-major ones of the key */
  cublasLtMatmulAlgo_t algorithm;
  bool supported;       /* cuBLASLt has an algorithm that ran and was right */
  bool untested;        /* there was no memory to run it */
  int candidates, rank; /* of how many it was chosen, and its place among the heuristic's */
  double seconds, first_seconds; /* its time and that of the heuristic's first; 0 when not timed */
  struct gemm_plan *next;
} gemm_plan;

/* What was chosen for a product. Without gaps, as the key: files keep its bytes. */
typedef struct gemm_choice {
  gemm_key key;
  cublasLtMatmulAlgo_t algorithm;
  int32_t candidates, rank;
  double seconds, first_seconds;
} gemm_choice;

struct cuda_gemm {
  cublaslt lt;
  cublasLtHandle_t handle;
  cudaStream_t stream; /* to try algorithms on: the queue's may not be captured for it */
  gemm_plan *plans[GEMM_BUCKETS];
  gemm_room *room;
  float *one; /* device */
  bool tune;
  bool prepared_only;      /* the product at hand: MPT_ERROR_UNPREPARED where no plan is there */
  char choices[GEMM_PATH]; /* file; empty: none */
};

/* The plan of `key`, made when it is first asked for: MPT_ERROR_DEVICE while the queue is being
 * captured. The queue keeps it. A product that cuBLASLt does not make has a plan that is not
 * `supported`. */
mpt_status mpt_gemm_plan_find(cuda_context *c, const gemm_key *key, const gemm_plan **plan,
                              mpt_error *error);
void mpt_gemm_plan_free(struct cuda_gemm *g, gemm_plan *plan);

/* One algorithm of a plan, on a stream; the library's word. */
cublasStatus_t mpt_gemm_run(cuda_context *c, const gemm_plan *plan,
                            const cublasLtMatmulAlgo_t *algorithm, cudaStream_t stream,
                            const gemm_data *data);
/* The chosen one, on the queue's stream. */
mpt_status mpt_gemm_plan_run(cuda_context *c, const gemm_plan *plan, const gemm_data *data,
                             mpt_error *error);

/* Chooses among the heuristic's candidates and sets the plan's algorithm. */
mpt_status mpt_gemm_tune(cuda_context *c, gemm_plan *plan,
                         const cublasLtMatmulHeuristicResult_t *results, int count,
                         mpt_error *error);

/* Sets g->choices: a file for each device, driver and cuBLASLt, none where the choice is not by
 * timing. */
void mpt_gemm_choice_open(cuda_context *c);
/* What was chosen by timing for choice->key, by this process or another. */
bool mpt_gemm_choice_find(const cuda_context *c, gemm_choice *choice);
/* Keeps a choice. Where another process was quicker, `choice` becomes what that one chose. */
void mpt_gemm_choice_keep(const cuda_context *c, gemm_choice *choice);
/* The same in a file alone. What cannot be read or is no choice counts as not there. */
bool mpt_gemm_choice_read(const char *path, gemm_choice *choice);
void mpt_gemm_choice_share(const char *path, gemm_choice *choice);

/* Sets of operands and outputs of a product, several where one would stay in L2. */
enum { GEMM_SETS = 16 };
typedef struct gemm_buffers {
  void *memory;
  int sets;
  gemm_data data[GEMM_SETS]; /* alpha 1, beta 0 or 0.5 */
  size_t bytes_a, bytes_b, bytes_out;
} gemm_buffers;
/* Random operands, filled on g->stream. */
mpt_status mpt_gemm_buffers_make(cuda_context *c, const gemm_key *key, gemm_buffers *buffers,
                                 mpt_error *error);
void mpt_gemm_buffers_free(cuda_context *c, gemm_buffers *buffers);

/* A graph of `products` runs of an algorithm, over all sets in turn. */
mpt_status mpt_gemm_graph_make(cuda_context *c, const gemm_plan *plan,
                               const cublasLtMatmulAlgo_t *algorithm, const gemm_buffers *buffers,
                               int products, cudaGraphExec_t *exec, mpt_error *error);
/* Seconds that a graph takes, between two events on g->stream. */
mpt_status mpt_gemm_graph_time(cuda_context *c, cudaGraphExec_t graph, cudaEvent_t events[2],
                               double *seconds, mpt_error *error);

static inline size_t gemm_element_bytes(int32_t format) {
  return (size_t)mpt_format_get((mpt_format)format)->bits / 8;
}
#endif

#endif
