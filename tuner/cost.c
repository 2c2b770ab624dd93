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

static int bits_of(mpt_format format) {
  return (int)mpt_format_get(format)->bits;
}

static double bytes_of(mpt_format format) {
  return bits_of(format) / 8.0;
}

/* ---- passes ---- */

/* What is longer, moving the bytes or the operations at a share of a large GEMM's rate: where the
 * profile has no attention of the format. */
static double attention_by_rate(const profile *p, const graph_pass *pass) {
  static const gemm_column columns[MPT_FORMAT_COUNT] = {[MPT_FP32] = GEMM_FP32,
                                                        [MPT_TF32] = GEMM_TF32,
                                                        [MPT_BF16] = GEMM_BF16,
                                                        [MPT_FP16] = GEMM_FP16};
  const double size = 4096.0;
  const gemm_price large = profile_gemm(p, columns[pass->format], 4096, 4096, 4096);
  const double rate = p->attention_efficiency * 2.0 * size * size * size / large.seconds;
  return fmax(profile_pass(p, pass->kind, bits_of(pass->format), pass->bytes),
              pass->operations / rate);
}

static double attention_seconds(const graph *g, const profile *p, const graph_pass *pass) {
  const graph_layer *l = &g->layers[pass->layer];
  const graph_tensor *y = &g->tensors[l->output];
  const int64_t heads = l->spec->heads, channels = y->shape[2] / heads;
  const double seconds =
      profile_attention(p, pass->format, (double)(y->shape[0] * y->shape[1]), y->shape[1], heads,
                        channels, l->spec->causal, pass->backward);
  return isnan(seconds) ? attention_by_rate(p, pass) : seconds;
}

static double pass_seconds(const graph *g, const profile *p, const graph_pass *pass) {
  const double seconds = pass->operations > 0.0
                             ? attention_seconds(g, p, pass)
                             : profile_pass(p, pass->kind, bits_of(pass->format), pass->bytes);
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
    seconds += pass_seconds(g, p, &passes[i]);
  return seconds;
}

double cost_loss(const graph *g, const profile *p, const mpt_layer_policy *assignment) {
  graph_pass passes[PASS_CAPACITY];
  const int count = graph_loss_passes(g, assignment, passes, PASS_CAPACITY);
  double seconds = 0.0;
  for (int i = 0; i < count; i++)
    seconds += pass_seconds(g, p, &passes[i]);
  return seconds;
}

double cost_optimizer(const graph *g, const profile *p, const optimizer_spec *optimizer) {
  graph_pass passes[PASS_CAPACITY];
  const int count = graph_optimizer_passes(g, optimizer, passes, PASS_CAPACITY);
  double seconds = 0.0;
  for (int i = 0; i < count; i++)
    seconds += pass_seconds(g, p, &passes[i]);
  return seconds;
}

/* ---- GEMMs ---- */

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

/* cuBLASLt adds to 16 bits a bias of 16 bits only: a small pass rounds it. */
static double bias_seconds(const profile *p, const graph_layer *l,
                           const mpt_layer_policy *formats) {
  const mpt_format stored = mpt_layer_policy_storage(formats, l->has_gemm, MPT_FPROP);
  return l->spec->no_bias || bits_of(stored) == 32
             ? 0.0
             : profile_pass(p, PASS_ELEMENTWISE, 32, 6.0 * (double)l->gemm.n);
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
    if (i == MPT_DGRAD && !graph_makes_dgrad(g, layer))
      continue;
    const mpt_gemm_policy *gemm = &formats->gemm[i];
    int64_t size[3];
    for (int d = 0; d < 3; d++)
      size[d] = mpt_format_is_fp8(gemm->operand[0]) ? padded(shapes[i][d]) : shapes[i][d];
    const gemm_price price = profile_gemm(p, column_of(gemm), size[0], size[1], size[2]);
    const double in_step =
        i == MPT_FPROP && l->spec->no_bias
            ? price.seconds
            : profile_gemm_in_step(p, (mpt_gemm_kind)i, column_of(gemm), price.seconds);
    const double corrected = in_step * factor(p->gemm_factor);
    seconds += corrected;
    if (price.extrapolated && extrapolated != NULL)
      *extrapolated += corrected;
  }
  return l->has_gemm ? seconds + bias_seconds(p, l, formats) * factor(p->gemm_factor) : 0.0;
}

/* ---- copies ---- */

/* Bits of a copy_set, beside the format's number. */
enum { PLAIN = 0, TRANSPOSED = 8, CURRENT = 16 };
_Static_assert(MPT_FORMAT_COUNT <= 8, "a copy_set has eight bits of a kind");

static bool needs(copy_set set, int kind, int format) {
  return (set >> (kind + format) & 1) != 0;
}

/* Of one operand. fp8 alone is read transposed: other GEMMs read either way. */
static copy_set copy_of(mpt_format format, bool transposed, const mpt_layer_policy *formats) {
  if (!mpt_format_is_fp8(format))
    return 1u << (PLAIN + (format == MPT_TF32 ? MPT_FP32 : format));
  return 1u << ((transposed ? TRANSPOSED : PLAIN) + format) |
         (formats->scaling.mode == MPT_SCALING_CURRENT ? 1u << (CURRENT + format) : 0);
}

/* What copies are made from. */
typedef struct original {
  mpt_format stored;
  double count, padded; /* elements; in an fp8 copy */
  bool seen;            /* its amax is known: whoever wrote it looked at it */
} original;

/* The passes that make a copy in format `f`: a cast; for fp8 one that writes a byte for each
 * element, and another where the transpose is wanted; with current scaling one before it that reads
 * the tensor, or next to nothing where it was seen. */
static double copy_seconds(const profile *p, copy_set set, mpt_format f, const original *from) {
  const double read = from->count * bytes_of(from->stored);
  const int written = needs(set, PLAIN, f) + needs(set, TRANSPOSED, f),
            bits = bits_of(from->stored);
  if (written == 0 || f == from->stored)
    return 0.0;
  if (!mpt_format_is_fp8(f))
    return profile_pass(p, PASS_ELEMENTWISE, bits, read + from->count * bytes_of(f));
  double seconds = profile_pass(p, needs(set, TRANSPOSED, f) ? PASS_QUANTIZE_PAIR : PASS_QUANTIZE,
                                bits, read + from->padded * written);
  if (needs(set, CURRENT, f))
    seconds += from->seen ? p->pass_floor : profile_pass(p, PASS_REDUCTION, bits, read);
  return seconds;
}

static double copies_seconds(const profile *p, copy_set set, const original *from) {
  double seconds = 0.0;
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    seconds += copy_seconds(p, set, (mpt_format)f, from);
  return seconds * factor(p->copy_factor);
}

static double padded_count(int64_t rows, int64_t columns) {
  return (double)padded(rows) * (double)padded(columns);
}

static bool is_attention(const graph *g, int layer) {
  return strcmp(g->layers[layer].info.kind, "attention") == 0;
}

/* A convolution multiplies columns and rows of its own, which nobody looks at. */
static bool lowers(const graph *g, int layer) {
  return g->layers[layer].has_gemm && g->layers[layer].kind->memory != NULL;
}

bool cost_reads_copies(const graph *g, int layer) {
  return g->layers[layer].has_gemm || is_attention(g, layer);
}

static bool reads(const graph_layer *l, int tensor) {
  for (int k = 0; k < l->input_count; k++)
    if (l->inputs[k] == tensor)
      return true;
  return false;
}

copy_set cost_copies_read(const graph *g, int layer, const mpt_layer_policy *formats) {
  if (!g->layers[layer].has_gemm)
    return copy_of(layer_attention_format(formats), false, formats);
  return copy_of(formats->gemm[MPT_FPROP].operand[0], false, formats) |
         copy_of(formats->gemm[MPT_WGRAD].operand[1], true, formats);
}

bool cost_shares_copies(const graph *g, int layer) {
  return cost_reads_copies(g, layer) && !lowers(g, layer);
}

double cost_shared_copies(const graph *g, const profile *p, int tensor, mpt_format stored,
                          copy_set set) {
  const graph_tensor *t = &g->tensors[tensor];
  const int64_t last = t->shape[t->rank - 1];
  const original from = {.stored = stored,
                         .count = (double)t->count,
                         .padded = padded_count(t->count / last, last),
                         .seen = graph_is_seen(g, tensor, false)};
  return t->ids ? 0.0 : copies_seconds(p, set, &from);
}

double cost_input_copies(const graph *g, const profile *p, int tensor,
                         const mpt_layer_policy *assignment) {
  const graph_tensor *t = &g->tensors[tensor];
  copy_set set = 0;
  for (int i = t->producer + 1; i <= t->last_consumer; i++)
    if (reads(&g->layers[i], tensor) && cost_shares_copies(g, i))
      set |= cost_copies_read(g, i, &assignment[i]);
  return cost_shared_copies(g, p, tensor, graph_tensor_format(g, assignment, tensor), set);
}

double cost_column_copies(const graph *g, const profile *p, int layer,
                          const mpt_layer_policy *assignment) {
  const graph_layer *l = &g->layers[layer];
  const original columns = {.stored = graph_tensor_format(g, assignment, l->inputs[0]),
                            .count = (double)(l->gemm.m * l->gemm.k),
                            .padded = padded_count(l->gemm.m, l->gemm.k)};
  return lowers(g, layer)
             ? copies_seconds(p, cost_copies_read(g, layer, &assignment[layer]), &columns)
             : 0.0;
}

double cost_gradient_copies(const graph *g, const profile *p, int tensor,
                            const mpt_layer_policy *assignment) {
  const graph_tensor *t = &g->tensors[tensor];
  copy_set set = 0;
  if (t->producer < 0 || !t->gradient || !cost_reads_copies(g, t->producer))
    return 0.0;
  const graph_layer *l = &g->layers[t->producer];
  const mpt_layer_policy *formats = &assignment[t->producer];
  if (l->has_gemm) {
    if (graph_makes_dgrad(g, t->producer))
      set |= copy_of(formats->gemm[MPT_DGRAD].operand[0], false, formats);
    set |= copy_of(formats->gemm[MPT_WGRAD].operand[0], true, formats);
  } else {
    set |= copy_of(layer_attention_format(formats), false, formats);
  }
  const original from = {.stored = graph_gradient_format(g, assignment, tensor),
                         .count = (double)t->count,
                         .padded = l->has_gemm ? padded_count(l->gemm.m, l->gemm.n) : 0.0,
                         .seen = !lowers(g, t->producer) && graph_is_seen(g, tensor, true)};
  return copies_seconds(p, set, &from);
}

/* Seconds of a weight and byte of the optimizer's pass, which writes copies as well. */
static double optimizer_rate(const graph *g, const profile *p, pass_kind kind, double bytes) {
  const double all = (double)g->parameters * bytes;
  return profile_pass(p, kind, 32, all) / all;
}

/* What Adam's pass takes longer for a copy that it writes: of a weight of `count`. */
static double copy_by_adam(const graph *g, const profile *p, copy_set set, mpt_format f,
                           double count) {
  const double adam = 28.0; /* bytes of a weight without copies */
  const double rate = optimizer_rate(g, p, PASS_OPTIMIZER, adam);
  if (!mpt_format_is_fp8(f))
    return count * rate * bytes_of(f);
  const double written = adam + needs(set, PLAIN, f) + needs(set, TRANSPOSED, f);
  return count *
         fmax(0.0, optimizer_rate(g, p, PASS_OPTIMIZER_FP8, written) * written - rate * adam);
}

double cost_weight_copies(const graph *g, const profile *p, const optimizer_spec *optimizer,
                          int layer, const mpt_layer_policy *formats) {
  const graph_layer *l = &g->layers[layer];
  const bool adam = optimizer->kind != OPTIMIZER_SGD;
  const original master = {.stored = MPT_FP32,
                           .count = (double)(l->gemm.n * l->gemm.k),
                           .padded = padded_count(l->gemm.n, l->gemm.k),
                           .seen = adam};
  double seconds = 0.0;
  if (!l->has_gemm)
    return 0.0;
  copy_set set = copy_of(formats->gemm[MPT_FPROP].operand[1], false, formats);
  if (graph_makes_dgrad(g, layer))
    set |= copy_of(formats->gemm[MPT_DGRAD].operand[1], true, formats);
  for (int f = 0; f < MPT_FORMAT_COUNT; f++) {
    const bool wanted = f != MPT_FP32 && (needs(set, PLAIN, f) || needs(set, TRANSPOSED, f));
    if (wanted && adam && !needs(set, CURRENT, f))
      seconds += copy_by_adam(g, p, set, (mpt_format)f, master.count);
    else if (wanted)
      seconds += copy_seconds(p, set, (mpt_format)f, &master);
  }
  return seconds * factor(p->copy_factor);
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
    sum.copies += cost_column_copies(g, p, i, assignment);
    weights += cost_weight_copies(g, p, optimizer, i, &assignment[i]);
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
