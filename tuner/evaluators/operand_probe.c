/* What the formats would lose of a layer's operands and output, from the operands of an
 * instrumented run at several points of it: vetoes. What that costs is score_points.c's. */
#include "tuner/evaluators/operand_probe.h"
#include "base/error.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct operand_seen {
  double saturated, vanished, cast; /* counts over all probes */
  uint32_t amax_bits;
} operand_seen;

typedef struct unit_seen {
  int probes;
  uint32_t output_amax_bits;
  operand_seen seen[MPT_OPERAND_COUNT][MPT_PRECISION_COUNT];
} unit_seen;

enum {
  SCRATCH_ROUNDED, /* an operand, rounded */
  SCRATCH_WIDE,    /* the operands in fp32, in the order of mpt_operand */
  SCRATCH_PRODUCT = SCRATCH_WIDE + MPT_OPERAND_COUNT,
  SCRATCH_FINDINGS,
  SCRATCH_COUNT
};

/* What operations on the device leave there. */
typedef struct findings {
  uint32_t amax_bits;
  mpt_cast_counts counts;
} findings;

struct operand_probe {
  const graph *graph;
  const int *layers; /* [unit_count] */
  int unit_count;
  int gradient_scale; /* exponent of the loss scale that fp16 gradients may have */
  unit_seen *units;
  void *scratch[SCRATCH_COUNT]; /* device */
  size_t scratch_bytes[SCRATCH_COUNT];
  mpt_queue *queue; /* that scratch belongs to */
  findings *device; /* in SCRATCH_FINDINGS */
  mpt_error error;  /* the first that a probe met; reported by operand_probe_scores */
};

mpt_status operand_probe_open(const graph *g, const int *layers, int layer_count,
                              const mpt_loss_scale_policy *loss_scale, operand_probe **out,
                              mpt_error *error) {
  operand_probe *p = calloc(1, sizeof *p);
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

static void release_scratch(operand_probe *p) {
  for (int i = 0; i < SCRATCH_COUNT; i++) {
    if (p->scratch[i] != NULL)
      mpt_memory_free(p->queue, p->scratch[i]);
    p->scratch[i] = NULL;
    p->scratch_bytes[i] = 0;
  }
}

void operand_probe_close(operand_probe *p) {
  if (p == NULL)
    return;
  free(p->units);
  free(p);
}

static mpt_status scratch(operand_probe *p, int which, int64_t rows, int64_t columns,
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

static mpt_status open_findings(operand_probe *p, mpt_error *error) {
  mpt_tensor memory;
  MPT_RETURN_IF_FAILED(
      scratch(p, SCRATCH_FINDINGS, 1, (int64_t)sizeof(findings), MPT_FP32, &memory, error));
  p->device = memory.data;
  return MPT_OK;
}

static mpt_status read_findings(operand_probe *p, findings *found, mpt_error *error) {
  return mpt_memory_download(p->queue, p->device, sizeof *found, found, error);
}

/* The scale that serves an operand best: fp8's own; for fp16 gradients the workload's loss scale,
 * less where it would overflow. */
static int best_scale(const operand_probe *p, mpt_precision precision, mpt_operand operand,
                      mpt_format format, uint32_t amax_bits) {
  const int fit = mpt_scale_exponent(format, amax_bits, 0);
  if (precision == MPT_PRECISION_FP8)
    return fit;
  if (precision == MPT_PRECISION_FP16 && operand == MPT_GRAD_OUTPUT && p->gradient_scale != 0)
    return fit < p->gradient_scale ? fit : p->gradient_scale;
  return 0;
}

/* What is lost in making a rounded copy of one operand. */
static mpt_status round_operand(operand_probe *p, unit_seen *unit, mpt_operand operand,
                                mpt_precision precision, const mpt_tensor *x, mpt_error *error) {
  const mpt_gemm_kind gemm = operand == MPT_GRAD_OUTPUT ? MPT_DGRAD : MPT_FPROP;
  const mpt_format format =
      mpt_gemm_policy_of(gemm, precision).operand[operand == MPT_WEIGHT ? 1 : 0];
  operand_seen *seen = &unit->seen[operand][precision];
  mpt_tensor copy;
  findings found = {0};
  MPT_RETURN_IF_FAILED(
      mpt_memory_upload(p->queue, &found, sizeof found, p->device, error)); /* counts begin at 0 */
  MPT_RETURN_IF_FAILED(mpt_amax(p->queue, x, &p->device->amax_bits, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  if (found.amax_bits > seen->amax_bits)
    seen->amax_bits = found.amax_bits;
  const int scale = best_scale(p, precision, operand, format, found.amax_bits);
  MPT_RETURN_IF_FAILED(scratch(p, SCRATCH_ROUNDED, x->shape[0], x->shape[1], format, &copy, error));
  MPT_RETURN_IF_FAILED(mpt_cast(p->queue, x, scale, &copy, &p->device->counts, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  seen->cast += (double)found.counts.count;
  seen->saturated += (double)found.counts.saturated;
  seen->vanished += (double)found.counts.vanished;
  return MPT_OK;
}

static mpt_status see_output(operand_probe *p, unit_seen *unit, const mpt_tensor *input,
                             const mpt_tensor *weight, mpt_error *error) {
  findings found;
  mpt_tensor output;
  MPT_RETURN_IF_FAILED(
      scratch(p, SCRATCH_PRODUCT, input->shape[0], weight->shape[0], MPT_FP32, &output, error));
  const mpt_gemm_args args = {
      .a = input, .b = weight, .out = &output, .transpose_b = true, .alpha = 1.0f};
  MPT_RETURN_IF_FAILED(mpt_gemm(p->queue, &args, error));
  MPT_RETURN_IF_FAILED(mpt_amax(p->queue, &output, &p->device->amax_bits, error));
  MPT_RETURN_IF_FAILED(read_findings(p, &found, error));
  if (found.amax_bits > unit->output_amax_bits)
    unit->output_amax_bits = found.amax_bits;
  return MPT_OK;
}

/* The reference may store in 16 bits what it multiplies: in fp32 all operands go together. */
static mpt_status widen(operand_probe *p, mpt_operand operand, const mpt_tensor *x,
                        mpt_tensor *wide, mpt_error *error) {
  *wide = *x;
  if (x->format == MPT_FP32)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(
      scratch(p, SCRATCH_WIDE + (int)operand, x->shape[0], x->shape[1], MPT_FP32, wide, error));
  return mpt_cast(p->queue, x, 0, wide, NULL, error);
}

/* In fp32 all operands go together. A convolution's weight [out, in, height, width] is the matrix
 * of its lowered product. */
static mpt_status probe(operand_probe *p, unit_seen *unit, const mpt_tensor operands[],
                        mpt_error *error) {
  mpt_tensor wide[MPT_OPERAND_COUNT];
  for (int o = 0; o < MPT_OPERAND_COUNT; o++)
    MPT_RETURN_IF_FAILED(widen(p, (mpt_operand)o, &operands[o], &wide[o], error));
  MPT_RETURN_IF_FAILED(see_output(p, unit, &wide[MPT_INPUT], &wide[MPT_WEIGHT], error));
  for (int q = MPT_PRECISION_TF32; q < MPT_PRECISION_COUNT; q++)
    for (int o = 0; o < MPT_OPERAND_COUNT; o++)
      MPT_RETURN_IF_FAILED(
          round_operand(p, unit, (mpt_operand)o, (mpt_precision)q, &wide[o], error));
  unit->probes++;
  return MPT_OK;
}

void operand_probe_layer(operand_probe *p, mpt_queue *queue, int64_t step, int layer,
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
  const int64_t n = weight->shape[0], k = mpt_tensor_count(weight) / n;
  mpt_tensor matrix = mpt_tensor_of(weight->data, weight->format, 2, (int64_t[]){n, k});
  matrix.device = weight->device;
  const mpt_tensor operands[MPT_OPERAND_COUNT] = {
      [MPT_INPUT] = *input, [MPT_WEIGHT] = matrix, [MPT_GRAD_OUTPUT] = *grad_output};
  mpt_status status = open_findings(p, &p->error);
  if (status == MPT_OK)
    status = probe(p, &p->units[unit], operands, &p->error);
  p->error.status = status; /* also where a function set no message */
  /* The queue may not outlive this call. */
  release_scratch(p);
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

static store_score score_of(const operand_probe *p, int unit, int q) {
  const unit_seen *s = &p->units[unit];
  store_score score = {.layer = p->graph->layers[p->layers[unit]].info.name,
                       .precision = (mpt_precision)q,
                       .forward = NAN,
                       .dgrad = NAN,
                       .wgrad = NAN,
                       .output_amax = from_bits(s->output_amax_bits)};
  for (int o = 0; o < MPT_OPERAND_COUNT; o++)
    score.operands[o] = operand_of(&s->seen[o][q]);
  return score;
}

mpt_status operand_probe_scores(const operand_probe *p, store_scores *scores, mpt_error *error) {
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
