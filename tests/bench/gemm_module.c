/* mpt_gemm for a Python program, which brings the operands and the stream: pytorch_gemm.py times it
 * beside torch.mm on the same memory. */
#include "mptune/ops.h"
#include <stddef.h>
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default")))

/* out[m,n] = op(a) op(b), dense. Formats by name. `accumulate` adds to out. */
typedef struct module_product {
  int64_t m, n, k;
  const char *format_a, *format_b, *format_out;
  void *a, *b, *out, *bias; /* bias: fp32, or NULL */
  int32_t transpose_a, transpose_b, accumulate, fast;
} module_product;

EXPORTED const char *module_error(void);
EXPORTED mpt_queue *module_open(void *stream, const char *tune);
EXPORTED int module_run(mpt_queue *queue, const module_product *p);

static mpt_error error;

const char *module_error(void) {
  return error.message;
}

/* A queue on that stream; `tune` is MPTUNE_GEMM_TUNE for it. NULL: module_error says why. */
mpt_queue *module_open(void *stream, const char *tune) {
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue = NULL;
  config.backend = "cuda";
  config.stream = stream;
  config.owns_stream = false;
  setenv("MPTUNE_GEMM_TUNE", tune, 1);
  return mpt_queue_open(&config, &queue, &error) == MPT_OK ? queue : NULL;
}

static mpt_tensor matrix(const mpt_queue *queue, mpt_format format, void *data, int64_t rows,
                         int64_t columns) {
  mpt_tensor t = mpt_tensor_of(data, format, 2, (int64_t[]){rows, columns});
  t.device = mpt_queue_device(queue);
  return t;
}

int module_run(mpt_queue *queue, const module_product *p) {
  mpt_format a_format, b_format, out_format;
  if (mpt_format_parse(p->format_a, &a_format, &error) != MPT_OK ||
      mpt_format_parse(p->format_b, &b_format, &error) != MPT_OK ||
      mpt_format_parse(p->format_out, &out_format, &error) != MPT_OK)
    return 1;
  int64_t rows_a = p->transpose_a ? p->k : p->m, rows_b = p->transpose_b ? p->n : p->k;
  mpt_tensor a = matrix(queue, a_format, p->a, rows_a, p->m + p->k - rows_a);
  mpt_tensor b = matrix(queue, b_format, p->b, rows_b, p->n + p->k - rows_b);
  mpt_tensor out = matrix(queue, out_format, p->out, p->m, p->n);
  mpt_tensor bias = mpt_tensor_of(p->bias, MPT_FP32, 1, &p->n);
  bias.device = out.device;
  mpt_gemm_args args = {.a = &a,
                        .b = &b,
                        .out = &out,
                        .bias = p->bias != NULL ? &bias : NULL,
                        .transpose_a = p->transpose_a,
                        .transpose_b = p->transpose_b,
                        .fast = p->fast,
                        .alpha = 1.0f,
                        .beta = p->accumulate ? 1.0f : 0.0f};
  return mpt_gemm(queue, &args, &error) != MPT_OK;
}
