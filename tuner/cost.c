#include "tuner/cost.h"
#include "base/error.h"
#include "train/layer.h"
#include <math.h>
#include <string.h>

enum { PASS_CAPACITY = 16 };

/* 1 where nothing was measured. */
static double factor(double known) {
  return known > 0.0 ? known : 1.0;
}

/* ---- passes ---- */

static int bits_of(mpt_format format) {
  return (int)mpt_format_get(format)->bits;
}

/* Matrix operations inside a pass (attention) run at a share of the rate of a large GEMM. */
static double operation_rate(const profile *p, mpt_format format) {
  static const gemm_column columns[MPT_FORMAT_COUNT] = {
      [MPT_FP32] = GEMM_FP32, [MPT_TF32] = GEMM_TF32,     [MPT_BF16] = GEMM_BF16,
      [MPT_FP16] = GEMM_FP16, [MPT_FP8_E4M3] = GEMM_BF16, [MPT_FP8_E5M2] = GEMM_BF16};
  const double size = 4096.0;
  const gemm_price large = profile_gemm(p, columns[format], 4096, 4096, 4096);
  return p->attention_efficiency * 2.0 * size * size * size / large.seconds;
}

/* What is longer, moving the bytes or the operations. */
static double pass_seconds(const profile *p, const graph_pass *pass) {
  double seconds = profile_pass(p, PASS_ELEMENTWISE, bits_of(pass->format), pass->bytes);
  if (pass->operations > 0.0)
    seconds = fmax(seconds, pass->operations / operation_rate(p, pass->format));
  return seconds * factor(p->pass_factor);
}

double cost_passes(const graph *g, const profile *p, int layer,
                   const mpt_layer_policy *assignment) {
  graph_pass passes[PASS_CAPACITY];
  pass_list list = {.passes = passes, .capacity = PASS_CAPACITY};
  if (g->layers[layer].kind->passes != NULL)
    g->layers[layer].kind->passes(g, layer, assignment, &list);
  double seconds = 0.0;
  for (int i = 0; i < list.count && i < PASS_CAPACITY; i++)
    seconds += pass_seconds(p, &passes[i]);
  return seconds;
}

double cost_loss(const graph *g, const profile *p, const mpt_layer_policy *assignment) {
  graph_pass passes[PASS_CAPACITY];
  const int count = graph_loss_passes(g, assignment, passes, PASS_CAPACITY);
  double seconds = 0.0;
  for (int i = 0; i < count; i++)
    seconds += pass_seconds(p, &passes[i]);
  return seconds;
}

double cost_optimizer(const graph *g, const profile *p, const optimizer_spec *optimizer) {
  graph_pass passes[PASS_CAPACITY];
  const int count = graph_optimizer_passes(g, optimizer, passes, PASS_CAPACITY);
  double seconds = 0.0;
  for (int i = 0; i < count; i++)
    seconds += pass_seconds(p, &passes[i]);
  return seconds;
}

/* ---- GEMMs ---- */

static bool is_fp8(mpt_format format) {
  return format == MPT_FP8_E4M3 || format == MPT_FP8_E5M2;
}

static int64_t padded(int64_t size) {
  return (size + 15) / 16 * 16;
}

static gemm_column column_of(const mpt_gemm_policy *gemm) {
  switch (gemm->operand[0]) {
  case MPT_FP32:
    return GEMM_FP32;
  case MPT_TF32:
    return GEMM_TF32;
  case MPT_BF16:
    return GEMM_BF16;
  case MPT_FP16:
    return GEMM_FP16;
  default: /* mixed operands are measured without fast accumulation only */
    if (gemm->operand[0] == MPT_FP8_E5M2 || gemm->operand[1] == MPT_FP8_E5M2)
      return GEMM_FP8_MIXED_SPLIT;
    return gemm->accumulate == MPT_ACCUMULATE_FAST ? GEMM_FP8_FAST : GEMM_FP8_SPLIT;
  }
}

static bool makes_dgrad(const graph *g, const graph_layer *layer) {
  return g->tensors[layer->inputs[0]].gradient;
}

double cost_gemms(const graph *g, const profile *p, int layer, const mpt_layer_policy *formats,
                  double *extrapolated) {
  const graph_layer *l = &g->layers[layer];
  const int64_t m = l->gemm.m, n = l->gemm.n, k = l->gemm.k;
  const int64_t shapes[MPT_GEMM_COUNT][3] = {
      [MPT_FPROP] = {m, n, k}, [MPT_DGRAD] = {m, k, n}, [MPT_WGRAD] = {n, k, m}};
  double seconds = 0.0;
  if (extrapolated != NULL)
    *extrapolated = 0.0;
  for (int i = 0; l->has_gemm && i < MPT_GEMM_COUNT; i++) {
    if (i == MPT_DGRAD && !makes_dgrad(g, l))
      continue;
    const mpt_gemm_policy *gemm = &formats->gemm[i];
    int64_t size[3];
    for (int d = 0; d < 3; d++)
      size[d] = is_fp8(gemm->operand[0]) ? padded(shapes[i][d]) : shapes[i][d];
    const gemm_price price = profile_gemm(p, column_of(gemm), size[0], size[1], size[2]);
    const double corrected = price.seconds * factor(p->gemm_factor);
    seconds += corrected;
    if (price.extrapolated && extrapolated != NULL)
      *extrapolated += corrected;
  }
  return seconds;
}

/* ---- copies ---- */

/* Which copies of a tensor are needed. */
typedef struct copies {
  bool plain[MPT_FORMAT_COUNT];
  bool transposed[MPT_FORMAT_COUNT]; /* fp8 only: other GEMMs read either way */
  bool amax;                         /* some fp8 copy has current scaling */
} copies;

static void need(copies *c, mpt_format format, bool transposed, const mpt_layer_policy *formats) {
  if (!is_fp8(format)) {
    c->plain[format == MPT_TF32 ? MPT_FP32 : format] = true;
    return;
  }
  *(transposed ? &c->transposed[format] : &c->plain[format]) = true;
  c->amax = c->amax || formats->scaling.mode == MPT_SCALING_CURRENT;
}

static double bytes_of(mpt_format format) {
  return mpt_format_get(format)->bits / 8.0;
}

/* `count` elements stored in `stored`; `padded_count` in an fp8 copy. */
static double copies_seconds(const profile *p, const copies *c, mpt_format stored, double count,
                             double padded_count) {
  const double stored_bytes = bytes_of(stored);
  double seconds = 0.0;
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    if (is_fp8((mpt_format)f)) {
      const int written = c->plain[f] + c->transposed[f];
      if (written > 0)
        seconds += profile_pass(p, c->transposed[f] ? PASS_QUANTIZE_PAIR : PASS_QUANTIZE,
                                bits_of(stored), count * stored_bytes + padded_count * written);
    } else if (c->plain[f] && bytes_of((mpt_format)f) != stored_bytes) {
      seconds += profile_pass(p, PASS_ELEMENTWISE, bits_of(stored),
                              count * (stored_bytes + bytes_of((mpt_format)f)));
    } else if (c->plain[f] && f != (int)stored && stored_bytes == 2.0) {
      seconds += profile_pass(p, PASS_ELEMENTWISE, bits_of(stored),
                              2.0 * count * stored_bytes); /* bf16 and fp16 */
    }
  }
  if (c->amax)
    seconds += profile_pass(p, PASS_QUANTIZE, bits_of(stored), count * stored_bytes);
  return seconds * factor(p->copy_factor);
}

/* Rows and columns padded to 16; an image as it is. */
static double padded_count(const graph_tensor *tensor) {
  if (tensor->rank == 4)
    return (double)tensor->count;
  const int64_t last = tensor->shape[tensor->rank - 1];
  return (double)padded(tensor->count / last) * (double)padded(last);
}

bool cost_reads_copies(const graph *g, int layer) {
  return g->layers[layer].has_gemm || strcmp(g->layers[layer].info.kind, "attention") == 0;
}

/* What a layer that multiplies without weights (attention) multiplies in. */
static mpt_format attention_format(const mpt_layer_policy *formats) {
  return mpt_precision_storage(formats->gemm[MPT_FPROP].precision);
}

double cost_input_copies(const graph *g, const profile *p, int tensor,
                         const mpt_layer_policy *assignment) {
  const graph_tensor *t = &g->tensors[tensor];
  copies c = {0};
  for (int i = t->producer + 1; !t->ids && i <= t->last_consumer; i++) {
    const graph_layer *l = &g->layers[i];
    bool reads = false;
    for (int k = 0; k < l->input_count; k++)
      reads = reads || l->inputs[k] == tensor;
    if (reads && l->has_gemm) {
      need(&c, assignment[i].gemm[MPT_FPROP].operand[0], false, &assignment[i]);
      need(&c, assignment[i].gemm[MPT_WGRAD].operand[1], true, &assignment[i]);
    } else if (reads && cost_reads_copies(g, i)) {
      need(&c, attention_format(&assignment[i]), false, &assignment[i]);
    }
  }
  return copies_seconds(p, &c, graph_tensor_format(g, assignment, tensor), (double)t->count,
                        padded_count(t));
}

double cost_gradient_copies(const graph *g, const profile *p, int tensor,
                            const mpt_layer_policy *assignment) {
  const graph_tensor *t = &g->tensors[tensor];
  copies c = {0};
  if (t->producer < 0 || !t->gradient)
    return 0.0;
  const graph_layer *l = &g->layers[t->producer];
  const mpt_layer_policy *formats = &assignment[t->producer];
  if (l->has_gemm) {
    if (makes_dgrad(g, l))
      need(&c, formats->gemm[MPT_DGRAD].operand[0], false, formats);
    need(&c, formats->gemm[MPT_WGRAD].operand[0], true, formats);
  } else if (cost_reads_copies(g, t->producer)) {
    need(&c, attention_format(formats), false, formats);
  }
  return copies_seconds(p, &c, graph_gradient_format(g, assignment, tensor), (double)t->count,
                        padded_count(t));
}

double cost_weight_copies(const graph *g, const profile *p, int layer,
                          const mpt_layer_policy *formats) {
  const graph_layer *l = &g->layers[layer];
  copies c = {0};
  if (!l->has_gemm)
    return 0.0;
  need(&c, formats->gemm[MPT_FPROP].operand[1], false, formats);
  if (makes_dgrad(g, l))
    need(&c, formats->gemm[MPT_DGRAD].operand[1], true, formats);
  return copies_seconds(p, &c, MPT_FP32, (double)(l->gemm.n * l->gemm.k),
                        (double)padded(l->gemm.n) * (double)padded(l->gemm.k));
}

/* ---- a step ---- */

double cost_uncorrected(const cost_parts *parts) {
  return parts->gemms + parts->copies + parts->passes;
}

mpt_status cost_predict(const graph *g, const profile *p, const optimizer_spec *optimizer,
                        const mpt_layer_policy *assignment, cost_parts *parts, mpt_error *error) {
  cost_parts sum = {0};
  double weights = 0.0, outside = 0.0;
  for (int i = 0; i < g->layer_count; i++) {
    double extrapolated;
    const double gemms = cost_gemms(g, p, i, &assignment[i], &extrapolated);
    const double passes = cost_passes(g, p, i, assignment);
    if (isnan(gemms) || isnan(passes))
      return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                      "layer '%s': the device profile '%s' has no times for its format",
                      g->layers[i].info.name, p->name);
    sum.gemms += gemms;
    outside += extrapolated;
    sum.passes += passes;
    weights += cost_weight_copies(g, p, i, &assignment[i]);
  }
  for (int t = 0; t < g->tensor_count; t++)
    sum.copies +=
        cost_input_copies(g, p, t, assignment) + cost_gradient_copies(g, p, t, assignment);
  const double batches = (double)optimizer->accumulate;
  sum.extrapolated = sum.gemms > 0.0 ? outside / sum.gemms : 0.0;
  sum.gemms *= batches;
  sum.copies = batches * sum.copies + weights;
  sum.passes =
      batches * (sum.passes + cost_loss(g, p, assignment)) + cost_optimizer(g, p, optimizer);
  sum.total = sum.gemms + sum.copies + sum.passes;
  sum.gemms /= factor(p->gemm_factor);
  sum.copies /= factor(p->copy_factor);
  sum.passes /= factor(p->pass_factor);
  *parts = sum;
  return MPT_OK;
}
