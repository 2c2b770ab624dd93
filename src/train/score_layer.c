/* Scores of one layer in one batch: its products from rounded operands against those of the
 * operands as they are.
 *
 * The exact product is fp32's, whatever the network runs in. A rounded one is stored as its format
 * has it: fprop's output and dgrad's in the format's 16 bits, wgrad's in fp32. Scales are the best
 * there are: fp8's from the tensor's amax, and for gradients in fp16 the loss scale, less where
 * they would overflow. */
#include "base/error.h"
#include "train/score_run.h"
#include <math.h>
#include <string.h>

/* A layer with its operands as fp32 matrices. */
typedef struct probed {
  int layer;
  int64_t m, n, k;
  mpt_tensor operands[MPT_OPERAND_COUNT]; /* as the network has them */
} probed;

typedef struct rounded {
  mpt_tensor values;
  int exponent;         /* values are 2^exponent too large, ... */
  const float *inverse; /* ... or what to multiply by is there */
} rounded;

static mpt_tensor buffer(const score_run *r, score_buffer which, mpt_format format, int64_t rows,
                         int64_t columns) {
  const int64_t shape[2] = {rows, columns};
  mpt_tensor t = mpt_tensor_of(r->buffers[which], format, 2, shape);
  t.device = mpt_queue_device(r->queue);
  return t;
}

/* ---- operands ---- */

static mpt_status widen(score_run *r, score_buffer into, const mpt_tensor *x, mpt_tensor *wide,
                        mpt_error *error) {
  *wide = *x;
  wide->lite = NULL;
  if (x->format == MPT_FP32)
    return MPT_OK;
  *wide = buffer(r, into, MPT_FP32, x->shape[0], x->shape[1]);
  return mpt_cast(r->queue, x, 0, wide, NULL, error);
}

/* The exponent of the loss scale that a gradient in fp16 may have, at most `most`. */
static mpt_status fp16_exponent(score_run *r, const mpt_tensor *x, int most, int *exponent,
                                mpt_error *error) {
  uint32_t bits;
  MPT_RETURN_IF_FAILED(mpt_amax(r->queue, x, r->t->bits, error));
  MPT_RETURN_IF_FAILED(mpt_memory_download(r->queue, r->t->bits, sizeof bits, &bits, error));
  const int fit = mpt_scale_exponent(MPT_FP16, bits, 0);
  *exponent = fit < most ? fit : most;
  return MPT_OK;
}

static mpt_status round_operand(score_run *r, int index, mpt_operand operand, mpt_format format,
                                const mpt_tensor *x, rounded *out, mpt_error *error) {
  *out = (rounded){.values = buffer(r, (score_buffer)(SCORE_ROUNDED_A + index), format, x->shape[0],
                                    x->shape[1])};
  if (mpt_format_is_fp8(format)) {
    mpt_scale *scale = &r->scales[index];
    const mpt_scale fresh = {.scale = 1.0f,
                             .inverse = 1.0f,
                             .format = (int32_t)format,
                             .max_finite = mpt_format_get(format)->max_finite};
    out->inverse = &scale->inverse;
    MPT_RETURN_IF_FAILED(mpt_memory_upload(r->queue, &fresh, sizeof fresh, scale, error));
    MPT_RETURN_IF_FAILED(mpt_scale_measure(r->queue, x, scale, error));
    return mpt_quantize(r->queue, x, scale, 0, &out->values, NULL, error);
  }
  if (format == MPT_FP16 && operand == MPT_GRAD_OUTPUT)
    MPT_RETURN_IF_FAILED(fp16_exponent(r, x, r->fp16_scale, &out->exponent, error));
  return mpt_cast(r->queue, x, out->exponent, &out->values, NULL, error);
}

/* ---- products ---- */

static mpt_tensor product_of(const score_run *r, const probed *l, mpt_gemm_kind gemm,
                             score_buffer into, mpt_format format) {
  return buffer(r, into, format, gemm == MPT_WGRAD ? l->n : l->m, gemm == MPT_FPROP ? l->n : l->k);
}

/* out = 2^exponent times the product. */
static mpt_status multiply(score_run *r, const probed *l, mpt_gemm_kind gemm, const rounded *a,
                           const rounded *b, int exponent, const mpt_tensor *out,
                           mpt_error *error) {
  const mpt_tensor *bias = &r->net->runs[l->layer].parameters[1];
  const mpt_gemm_args args = {.a = &a->values,
                              .b = &b->values,
                              .out = out,
                              .bias = gemm == MPT_FPROP && bias->data != NULL ? bias : NULL,
                              .transpose_a = gemm == MPT_WGRAD,
                              .transpose_b = gemm == MPT_FPROP,
                              .alpha = ldexpf(1.0f, exponent - a->exponent - b->exponent),
                              .scale_a = a->inverse,
                              .scale_b = b->inverse};
  return mpt_gemm(r->queue, &args, error);
}

/* What the products of rounded operands come to as their format stores it. A gradient in fp16 is
 * stored with its loss scale, and divided by it afterwards, in fp32. */
static mpt_status rounded_product(score_run *r, const probed *l, mpt_gemm_kind gemm, int precision,
                                  const mpt_tensor *exact, const rounded narrow[2], mpt_tensor *y,
                                  mpt_error *error) {
  const mpt_format stored =
      gemm == MPT_WGRAD ? MPT_FP32 : mpt_precision_storage((mpt_precision)precision);
  int exponent = 0;
  *y = product_of(r, l, gemm, SCORE_ROUNDED, stored);
  if (gemm != MPT_DGRAD || stored != MPT_FP16)
    return multiply(r, l, gemm, &narrow[0], &narrow[1], 0, y, error);
  MPT_RETURN_IF_FAILED(fp16_exponent(r, exact, narrow[0].exponent, &exponent, error));
  MPT_RETURN_IF_FAILED(multiply(r, l, gemm, &narrow[0], &narrow[1], exponent, y, error));
  const mpt_tensor scaled = *y;
  *y = product_of(r, l, gemm, SCORE_ROUNDED_A, MPT_FP32); /* the operand has been used */
  return mpt_cast(r->queue, &scaled, -exponent, y, NULL, error);
}

/* change = 2^exponent (y - x): half the gradient of a sum of squares. */
static mpt_status subtract(score_run *r, const mpt_tensor *y, const mpt_tensor *x, int exponent,
                           mpt_tensor *change, mpt_error *error) {
  const float half = 0.5f * (float)mpt_tensor_count(x);
  *change = buffer(r, SCORE_CHANGE, MPT_FP32, x->shape[0], x->shape[1]);
  return mpt_mean_squared_error(r->queue, y, x, ldexpf(half, exponent), NULL, r->loss, change,
                                error);
}

/* ---- what comes of it ---- */

/* A sample is a row, so that the squares of a comparison are those of samples. */
static mpt_tensor by_sample(const score_run *r, const mpt_tensor *x) {
  const int64_t shape[2] = {r->net->samples, mpt_tensor_count(x) / r->net->samples};
  mpt_tensor rows = mpt_tensor_of(x->data, x->format, 2, shape);
  rows.device = x->device;
  return rows;
}

static mpt_status compare(score_run *r, const probed *l, mpt_gemm_kind gemm, int precision,
                          const mpt_tensor *exact, const mpt_tensor *y, mpt_error *error) {
  mpt_comparison *between = &r->between[score_cell(r, gemm, l->layer, precision)];
  if (gemm == MPT_DGRAD)
    return mpt_compare(r->queue, exact, y, NULL, between, error);
  const mpt_tensor x = by_sample(r, exact), z = by_sample(r, y),
                   g = by_sample(r, &l->operands[MPT_GRAD_OUTPUT]);
  return mpt_compare(r->queue, &x, &z, &g, between, error);
}

int score_magnified(int precision) {
  const mpt_gemm_policy policy = mpt_gemm_policy_of(MPT_DGRAD, (mpt_precision)precision);
  return mpt_format_get(policy.operand[0])->mantissa_bits + 1;
}

static mpt_status use(score_run *r, const probed *l, mpt_gemm_kind gemm, int precision,
                      const mpt_tensor *exact, const mpt_tensor *y, mpt_error *error) {
  mpt_tensor change, update;
  if (gemm == MPT_FPROP)
    return compare(r, l, gemm, precision, exact, y, error);
  if (gemm == MPT_DGRAD && r->options->sent != 0)
    MPT_RETURN_IF_FAILED(compare(r, l, gemm, precision, exact, y, error));
  if (gemm == MPT_DGRAD && !score_sends(r, precision))
    return MPT_OK;
  const int slot = *score_slot(r, l->layer, gemm, precision);
  if (gemm == MPT_WGRAD) {
    const float *begin = r->net->all_gradients.data,
                *weight = r->net->runs[l->layer].gradients[0].data;
    MPT_RETURN_IF_FAILED(subtract(r, y, exact, 0, &change, error));
    MPT_RETURN_IF_FAILED(score_update(r, &change, weight - begin, &update, error));
    return score_sketch_make(r, &update, slot, error);
  }
  MPT_RETURN_IF_FAILED(subtract(r, y, exact, score_magnified(precision), &change, error));
  MPT_RETURN_IF_FAILED(network_backward_aside(r->net, l->layer, &change, error));
  MPT_RETURN_IF_FAILED(score_update(r, &r->net->side_gradients, 0, &update, error));
  return score_sketch_make(r, &update, slot, error);
}

static mpt_status score_product(score_run *r, const probed *l, mpt_gemm_kind gemm,
                                mpt_error *error) {
  const mpt_operand of[2] = {mpt_gemm_operand(gemm, 0), mpt_gemm_operand(gemm, 1)};
  rounded wide[2] = {{.exponent = 0}, {.exponent = 0}};
  for (int i = 0; i < 2; i++)
    MPT_RETURN_IF_FAILED(
        widen(r, (score_buffer)(SCORE_OPERAND_A + i), &l->operands[of[i]], &wide[i].values, error));
  const mpt_tensor exact = product_of(r, l, gemm, SCORE_EXACT, MPT_FP32);
  MPT_RETURN_IF_FAILED(multiply(r, l, gemm, &wide[0], &wide[1], 0, &exact, error));
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    if (!score_wants(r, q))
      continue;
    const mpt_gemm_policy policy = mpt_gemm_policy_of(gemm, (mpt_precision)q);
    rounded narrow[2];
    for (int i = 0; i < 2; i++)
      MPT_RETURN_IF_FAILED(
          round_operand(r, i, of[i], policy.operand[i], &wide[i].values, &narrow[i], error));
    mpt_tensor y;
    MPT_RETURN_IF_FAILED(rounded_product(r, l, gemm, q, &exact, narrow, &y, error));
    MPT_RETURN_IF_FAILED(use(r, l, gemm, q, &exact, &y, error));
  }
  return MPT_OK;
}

void score_layer(void *context, mpt_queue *queue, int64_t step, int layer, const mpt_tensor *input,
                 const mpt_tensor *weight, const mpt_tensor *grad_output) {
  score_run *r = context;
  (void)queue, (void)step;
  if (r->error.status != MPT_OK || !r->scored[layer])
    return;
  /* A convolution's weight [out, in, height, width] is the matrix of its lowered product. */
  probed l = {.layer = layer, .m = input->shape[0], .n = weight->shape[0]};
  l.k = mpt_tensor_count(weight) / l.n;
  l.operands[MPT_INPUT] = *input;
  l.operands[MPT_GRAD_OUTPUT] = *grad_output;
  l.operands[MPT_WEIGHT] = mpt_tensor_of(weight->data, MPT_FP32, 2, (int64_t[]){l.n, l.k});
  l.operands[MPT_WEIGHT].device = weight->device;
  mpt_status status = score_product(r, &l, MPT_FPROP, &r->error);
  if (status == MPT_OK && r->phase == SCORE_GRADIENT && graph_makes_dgrad(r->g, layer))
    status = score_product(r, &l, MPT_DGRAD, &r->error);
  if (status == MPT_OK && r->phase == SCORE_GRADIENT)
    status = score_product(r, &l, MPT_WGRAD, &r->error);
  r->error.status = status; /* also where a function set no message */
}

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int64_t score_buffer_elements(const score_run *r, score_buffer which) {
  int64_t most = 0;
  for (int i = 0; i < r->g->layer_count; i++) {
    const graph_gemm *gemm = &r->g->layers[i].gemm;
    if (!r->scored[i])
      continue;
    const int64_t x = gemm->m * gemm->k, w = gemm->n * gemm->k, y = gemm->m * gemm->n;
    if (which == SCORE_EXACT || which == SCORE_ROUNDED)
      most = larger(most, larger(y, larger(x, w)));
    else if (which == SCORE_CHANGE)
      most = larger(most, larger(x, w));
    else if (which >= SCORE_SIGNED)
      most = larger(most, w);
    else if (which == SCORE_OPERAND_A || which == SCORE_ROUNDED_A)
      most = larger(most, larger(x, y)); /* fprop's input, else grad_output */
    else
      most = larger(most, larger(x, w)); /* wgrad's input, else the weight */
  }
  return which >= SCORE_SIGNED ? larger(most, mpt_tensor_count(&r->net->all_gradients)) : most;
}
