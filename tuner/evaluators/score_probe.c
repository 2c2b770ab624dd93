/* Stage 3, the measuring half: what rounding a layer's operands does to its three products, taken
 * from operands of the reference run at several points of training.
 *
 * For a layer Y = X W' with gradient g of the (mean) loss at Y, and the rounded product Y + D:
 *   forward   E<g, D> + E<g, D>^2 / 2, the expected increase of the loss to second order, with the
 *             squared gradient in place of the curvature (the Fisher approximation), row by row; of
 *             the first term only what is more than its noise
 *   backward  the variance of the parameter gradient that rounding adds, over its variance across
 *             batches; for dgrad the relative error of grad_input stands for that of the gradients
 *             below it
 * Scores rank layers. They prove nothing: what a policy costs is measured by training.
 */
#include "tuner/evaluators/score_probe.h"
#include "base/error.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct operand_seen {
  double saturated, vanished, cast; /* counts over all probes */
  uint32_t amax_bits;
} operand_seen;

typedef struct unit_sums {
  double first[MPT_PRECISION_COUNT], second[MPT_PRECISION_COUNT]; /* sums over rows and probes */
  double wgrad_error[MPT_PRECISION_COUNT], dgrad_error[MPT_PRECISION_COUNT];
  double grad_input_squared, grad_weight_squared;
  float *grad_weight_sum; /* [n*k], for the variance across batches */
  int64_t weight_count, rows;
  int probes;
  uint32_t output_amax_bits;
  operand_seen seen[MPT_OPERAND_COUNT][MPT_PRECISION_COUNT];
} unit_sums;

enum {
  SCRATCH_INPUT, /* rounded operands, in the order of mpt_operand */
  SCRATCH_WEIGHT,
  SCRATCH_GRADIENT,
  SCRATCH_EXACT, /* and the unrounded ones */
  SCRATCH_EXACT_PRODUCT = SCRATCH_EXACT + MPT_OPERAND_COUNT,
  SCRATCH_PRODUCT,
  SCRATCH_FINDINGS,
  SCRATCH_COUNT
};

/* What operations on the device leave there. */
typedef struct findings {
  uint32_t amax_bits;
  mpt_cast_counts counts;
  mpt_comparison comparison;
} findings;

struct score_probe {
  const graph *graph;
  const int *layers; /* [unit_count] */
  int unit_count;
  int gradient_scale; /* exponent of the loss scale that fp16 gradients may have */
  unit_sums *units;
  void *scratch[SCRATCH_COUNT]; /* device */
  size_t scratch_bytes[SCRATCH_COUNT];
  mpt_queue *queue; /* that scratch belongs to */
  findings *device; /* in SCRATCH_FINDINGS */
  float *gradient;  /* host: a weight's gradient */
  int64_t host_count;
  mpt_error error; /* the first that a probe met; reported by score_probe_scores */
};

mpt_status score_probe_open(const graph *g, const int *layers, int layer_count,
                            const mpt_loss_scale_policy *loss_scale, score_probe **out,
                            mpt_error *error) {
  score_probe *p = calloc(1, sizeof *p);
  if (p != NULL)
    p->units = calloc((size_t)layer_count + 1, sizeof *p->units);
  if (p == NULL || p->units == NULL) {
    free(p);
    return mpt_fail_memory(error, "sensitivity measurements", sizeof *p);
  }
  p->graph = g;
  p->layers = layers;
  p->unit_count = layer_count;
  p->gradient_scale =
      loss_scale->mode == MPT_LOSS_SCALE_NONE ? 0 : ilogb((double)loss_scale->initial);
  *out = p;
  return MPT_OK;
}

static void release_scratch(score_probe *p) {
  for (int i = 0; i < SCRATCH_COUNT; i++) {
    if (p->scratch[i] != NULL)
      mpt_memory_free(p->queue, p->scratch[i]);
    p->scratch[i] = NULL;
    p->scratch_bytes[i] = 0;
  }
}

void score_probe_close(score_probe *p) {
  if (p == NULL)
    return;
  for (int u = 0; u < p->unit_count; u++)
    free(p->units[u].grad_weight_sum);
  free(p->units);
  free(p->gradient);
  free(p);
}

static mpt_status scratch(score_probe *p, int which, int64_t rows, int64_t columns,
                          mpt_format format, mpt_tensor *tensor, mpt_error *error) {
  const int64_t shape[2] = {rows, columns};
  *tensor = mpt_tensor_of(NULL, MPT_FP32, 2, shape);
  tensor->device = mpt_queue_device(p->queue);
  const size_t bytes = mpt_tensor_bytes(tensor); /* fp32 is the widest */
  if (bytes > p->scratch_bytes[which]) {
    mpt_memory_free(p->queue, p->scratch[which]);
    p->scratch[which] = NULL;
    p->scratch_bytes[which] = 0;
    MPT_RETURN_IF_FAILED(mpt_memory_allocate(p->queue, bytes, &p->scratch[which], error));
    p->scratch_bytes[which] = bytes;
  }
  tensor->data = p->scratch[which];
  tensor->format = format;
  return MPT_OK;
}

static mpt_status open_findings(score_probe *p, mpt_error *error) {
  mpt_tensor memory;
  MPT_RETURN_IF_FAILED(
      scratch(p, SCRATCH_FINDINGS, 1, (int64_t)sizeof(findings), MPT_FP32, &memory, error));
  p->device = memory.data;
  return MPT_OK;
}

static mpt_status read_findings(score_probe *p, findings *found, mpt_error *error) {
  return mpt_memory_download(p->queue, p->device, sizeof *found, found, error);
}

/* The scale that serves an operand best: fp8's own; for fp16 gradients the workload's loss scale,
 * less where it would overflow. */
static int best_scale(const score_probe *p, mpt_precision precision, mpt_operand operand,
                      mpt_format format, uint32_t amax_bits) {
  const int fit = mpt_scale_exponent(format, amax_bits, 0);
  if (precision == MPT_PRECISION_FP8)
    return fit;
  if (precision == MPT_PRECISION_FP16 && operand == MPT_GRAD_OUTPUT && p->gradient_scale != 0)
    return fit < p->gradient_scale ? fit : p->gradient_scale;
  return 0;
}

/* A rounded copy of one operand, and what was lost in making it. */
static mpt_status round_operand(score_probe *p, unit_sums *sums, mpt_operand operand,
                                mpt_precision precision, const mpt_tensor *x, mpt_tensor *copy,
                                int *scale, mpt_error *error) {
  const mpt_gemm_kind gemm = operand == MPT_GRAD_OUTPUT ? MPT_DGRAD : MPT_FPROP;
  const mpt_format format =
      mpt_gemm_policy_of(gemm, precision).operand[operand == MPT_WEIGHT ? 1 : 0];
  operand_seen *seen = &sums->seen[operand][precision];
  findings found = {0};
  MPT_RETURN_IF_FAILED(
      mpt_memory_upload(p->queue, &found, sizeof found, p->device, error)); /* counts begin at 0 */
  MPT_RETURN_IF_FAILED(mpt_amax(p->queue, x, &p->device->amax_bits, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  if (found.amax_bits > seen->amax_bits)
    seen->amax_bits = found.amax_bits;
  *scale = best_scale(p, precision, operand, format, found.amax_bits);
  MPT_RETURN_IF_FAILED(scratch(p, (int)operand, x->shape[0], x->shape[1], format, copy, error));
  MPT_RETURN_IF_FAILED(mpt_cast(p->queue, x, *scale, copy, &p->device->counts, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  seen->cast += (double)found.counts.count;
  seen->saturated += (double)found.counts.saturated;
  seen->vanished += (double)found.counts.vanished;
  return MPT_OK;
}

static mpt_status product(score_probe *p, int into, const mpt_tensor *a, bool transpose_a,
                          const mpt_tensor *b, bool transpose_b, int scale, int64_t rows,
                          int64_t columns, mpt_format format, mpt_tensor *out, mpt_error *error) {
  MPT_RETURN_IF_FAILED(scratch(p, into, rows, columns, format, out, error));
  mpt_gemm_args args = {.a = a,
                        .b = b,
                        .out = out,
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .alpha = ldexpf(1, -scale),
                        .beta = 0};
  return mpt_gemm(p->queue, &args, error);
}

/* The product of rounded operands against the exact one. */
static mpt_status compare(score_probe *p, const mpt_tensor *exact, const mpt_tensor *rounded,
                          const mpt_tensor *gradient, mpt_comparison *comparison,
                          mpt_error *error) {
  findings found;
  MPT_RETURN_IF_FAILED(
      mpt_compare(p->queue, exact, rounded, gradient, &p->device->comparison, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  *comparison = found.comparison;
  return MPT_OK;
}

static double squared(const float *a, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++)
    sum += (double)a[i] * a[i];
  return sum;
}

/* E<g, D> + E<g, D>^2 / 2, where a row's own gradient is rows times that of the mean. Rounding
 * errors have either sign: of the first term counts what stands out of its own noise, whose
 * variance is the sum of squares. Otherwise one format would beat a better one by luck. */
static double forward_score(const unit_sums *s, int q) {
  const double first = s->first[q] - 2 * sqrt(s->second[q]);
  return (fmax(0, first) + 0.5 * (double)s->rows * s->second[q]) / s->probes;
}

typedef struct probed_layer {
  unit_sums *sums;
  const mpt_tensor *input, *weight, *grad_output;
  int64_t m, n, k;
} probed_layer;

static mpt_status probe_fprop(score_probe *p, const probed_layer *l, mpt_error *error) {
  mpt_tensor exact, rounded;
  findings found;
  mpt_comparison between;
  MPT_RETURN_IF_FAILED(product(p, SCRATCH_EXACT_PRODUCT, l->input, false, l->weight, true, 0, l->m,
                               l->n, MPT_FP32, &exact, error));
  MPT_RETURN_IF_FAILED(mpt_amax(p->queue, &exact, &p->device->amax_bits, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  if (found.amax_bits > l->sums->output_amax_bits)
    l->sums->output_amax_bits = found.amax_bits;
  for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT; q++) {
    mpt_tensor x, w;
    int ex, ew;
    MPT_RETURN_IF_FAILED(
        round_operand(p, l->sums, MPT_INPUT, (mpt_precision)q, l->input, &x, &ex, error));
    MPT_RETURN_IF_FAILED(
        round_operand(p, l->sums, MPT_WEIGHT, (mpt_precision)q, l->weight, &w, &ew, error));
    MPT_RETURN_IF_FAILED(product(p, SCRATCH_PRODUCT, &x, false, &w, true, ex + ew, l->m, l->n,
                                 mpt_precision_storage((mpt_precision)q), &rounded, error));
    MPT_RETURN_IF_FAILED(compare(p, &exact, &rounded, l->grad_output, &between, error));
    l->sums->first[q] += between.slope;
    l->sums->second[q] += between.slope_squared;
  }
  return MPT_OK;
}

static mpt_status probe_dgrad(score_probe *p, const probed_layer *l, mpt_error *error) {
  mpt_tensor exact, rounded;
  mpt_comparison between = {0};
  MPT_RETURN_IF_FAILED(product(p, SCRATCH_EXACT_PRODUCT, l->grad_output, false, l->weight, false, 0,
                               l->m, l->k, MPT_FP32, &exact, error));
  for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT; q++) {
    mpt_tensor g, w;
    int eg, ew;
    MPT_RETURN_IF_FAILED(round_operand(p, l->sums, MPT_GRAD_OUTPUT, (mpt_precision)q,
                                       l->grad_output, &g, &eg, error));
    MPT_RETURN_IF_FAILED(
        round_operand(p, l->sums, MPT_WEIGHT, (mpt_precision)q, l->weight, &w, &ew, error));
    MPT_RETURN_IF_FAILED(product(p, SCRATCH_PRODUCT, &g, false, &w, false, eg + ew, l->m, l->k,
                                 MPT_FP32, &rounded, error));
    MPT_RETURN_IF_FAILED(compare(p, &exact, &rounded, NULL, &between, error));
    l->sums->dgrad_error[q] += between.difference_squared;
  }
  l->sums->grad_input_squared += between.signal_squared;
  return MPT_OK;
}

/* The sum of the gradients so far stays on the host: the device has no memory between probes. */
static mpt_status add_gradient(score_probe *p, const probed_layer *l, const mpt_tensor *exact,
                               mpt_error *error) {
  const int64_t count = l->n * l->k;
  unit_sums *s = l->sums;
  if (count > p->host_count) {
    free(p->gradient);
    p->gradient = malloc((size_t)count * sizeof(float));
    p->host_count = p->gradient != NULL ? count : 0;
  }
  if (s->grad_weight_sum == NULL)
    s->grad_weight_sum = calloc((size_t)count, sizeof(float));
  if (s->grad_weight_sum == NULL || p->gradient == NULL)
    return mpt_fail_memory(error, "a layer's mean gradient", (size_t)count * sizeof(float));
  s->weight_count = count;
  MPT_RETURN_IF_FAILED(mpt_tensor_download(p->queue, exact, p->gradient, error));
  for (int64_t i = 0; i < count; i++)
    s->grad_weight_sum[i] += p->gradient[i];
  return MPT_OK;
}

static mpt_status probe_wgrad(score_probe *p, const probed_layer *l, mpt_error *error) {
  mpt_tensor exact, rounded;
  mpt_comparison between = {0};
  MPT_RETURN_IF_FAILED(product(p, SCRATCH_EXACT_PRODUCT, l->grad_output, true, l->input, false, 0,
                               l->n, l->k, MPT_FP32, &exact, error));
  MPT_RETURN_IF_FAILED(add_gradient(p, l, &exact, error));
  for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT; q++) {
    mpt_tensor g, x;
    int eg, ex;
    MPT_RETURN_IF_FAILED(round_operand(p, l->sums, MPT_GRAD_OUTPUT, (mpt_precision)q,
                                       l->grad_output, &g, &eg, error));
    MPT_RETURN_IF_FAILED(
        round_operand(p, l->sums, MPT_INPUT, (mpt_precision)q, l->input, &x, &ex, error));
    MPT_RETURN_IF_FAILED(product(p, SCRATCH_PRODUCT, &g, true, &x, false, eg + ex, l->n, l->k,
                                 MPT_FP32, &rounded, error));
    MPT_RETURN_IF_FAILED(compare(p, &exact, &rounded, NULL, &between, error));
    l->sums->wgrad_error[q] += between.difference_squared;
  }
  l->sums->grad_weight_squared += between.signal_squared;
  return MPT_OK;
}

/* The reference may store in 16 bits what it multiplies: in fp32 all operands go together. */
static mpt_status widen(score_probe *p, mpt_operand operand, const mpt_tensor *x, mpt_tensor *wide,
                        mpt_error *error) {
  *wide = *x;
  if (x->format == MPT_FP32)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(
      scratch(p, SCRATCH_EXACT + (int)operand, x->shape[0], x->shape[1], MPT_FP32, wide, error));
  return mpt_cast(p->queue, x, 0, wide, NULL, error);
}

void score_probe_layer(score_probe *p, mpt_queue *queue, int64_t step, int layer,
                       const mpt_tensor *input, const mpt_tensor *weight,
                       const mpt_tensor *grad_output) {
  (void)step;
  if (p->error.status != MPT_OK)
    return;
  int unit = 0;
  while (unit < p->unit_count && p->layers[unit] != layer)
    unit++;
  if (unit == p->unit_count)
    return;
  p->queue = queue;
  mpt_tensor wide[MPT_OPERAND_COUNT];
  /* A convolution's weight [out, in, height, width] is the matrix of its lowered product. */
  const int64_t n = weight->shape[0], k = mpt_tensor_count(weight) / n;
  mpt_tensor matrix = mpt_tensor_of(weight->data, weight->format, 2, (int64_t[]){n, k});
  matrix.device = weight->device;
  const probed_layer l = {.sums = &p->units[unit],
                          .input = &wide[MPT_INPUT],
                          .weight = &wide[MPT_WEIGHT],
                          .grad_output = &wide[MPT_GRAD_OUTPUT],
                          .m = input->shape[0],
                          .n = n,
                          .k = k};
  l.sums->rows = l.m;
  mpt_status status = open_findings(p, &p->error);
  if (status == MPT_OK)
    status = widen(p, MPT_INPUT, input, &wide[MPT_INPUT], &p->error);
  if (status == MPT_OK)
    status = widen(p, MPT_WEIGHT, &matrix, &wide[MPT_WEIGHT], &p->error);
  if (status == MPT_OK)
    status = widen(p, MPT_GRAD_OUTPUT, grad_output, &wide[MPT_GRAD_OUTPUT], &p->error);
  if (status == MPT_OK)
    status = probe_fprop(p, &l, &p->error);
  if (status == MPT_OK)
    status = probe_dgrad(p, &l, &p->error);
  if (status == MPT_OK)
    status = probe_wgrad(p, &l, &p->error);
  p->error.status = status; /* also where a function set no message */
  if (status == MPT_OK)
    l.sums->probes++;
  /* The queue may not outlive this call. */
  release_scratch(p);
}

/* Var(gradient) across probes, per batch: E|g|^2 - |E g|^2, with the unbiased factor. */
static double gradient_variance(const unit_sums *s) {
  if (s->probes < 2)
    return 0;
  const double n = s->probes;
  const double mean_squared = squared(s->grad_weight_sum, s->weight_count) / (n * n);
  return fmax(0, (s->grad_weight_squared / n - mean_squared) * n / (n - 1));
}

static double from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return isfinite(value) ? (double)value : NAN;
}

static store_operand_seen operand_of(const operand_seen *seen) {
  const double cast = seen->cast > 0 ? seen->cast : 1;
  return (store_operand_seen){.saturated = seen->saturated / cast,
                              .vanished = seen->vanished / cast,
                              .amax = from_bits(seen->amax_bits)};
}

static store_score score_of(const score_probe *p, int unit, int q) {
  const unit_sums *s = &p->units[unit];
  const double n = s->probes;
  const double variance = gradient_variance(s);
  const double signal = s->grad_weight_squared / n;
  const double relative = s->grad_input_squared > 0 ? s->dgrad_error[q] / s->grad_input_squared : 0;
  const double noise = variance > 0 ? variance : (signal > 0 ? signal : 1);
  store_score score = {.layer = p->graph->layers[p->layers[unit]].info.name,
                       .precision = (mpt_precision)q,
                       .forward = forward_score(s, q),
                       .dgrad = relative * signal / noise,
                       .wgrad = s->wgrad_error[q] / n / noise,
                       .output_amax = from_bits(s->output_amax_bits)};
  for (int o = 0; o < MPT_OPERAND_COUNT; o++)
    score.operands[o] = operand_of(&s->seen[o][q]);
  return score;
}

mpt_status score_probe_scores(const score_probe *p, store_scores *scores, mpt_error *error) {
  *scores = (store_scores){.count = 0};
  if (p->error.status != MPT_OK) {
    if (error != NULL)
      *error = p->error;
    return p->error.status;
  }
  store_score *all = mpt_arena_take(&scores->memory, ((size_t)p->unit_count + 1) *
                                                         MPT_PRECISION_COUNT * sizeof *all);
  if (all == NULL)
    return mpt_fail_memory(error, "sensitivity measurements", 0);
  scores->scores = all;
  for (int u = 0; u < p->unit_count; u++)
    for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT && p->units[u].probes > 0; q++)
      all[scores->count++] = score_of(p, u, q);
  return MPT_OK;
}
