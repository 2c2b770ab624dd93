#include "base/error.h"
#include "contract/answer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- layers ---- */

static void shape_text(const mpt_layer_info *layer, char *text, size_t size) {
  int used = snprintf(text, size, "%s [", layer->kind);
  for (int i = 0; i < layer->rank; i++)
    used += snprintf(text + used, size - (size_t)used, "%s%" PRId64, i > 0 ? ", " : "",
                     layer->shape[i]);
  snprintf(text + used, size - (size_t)used, "]");
}

static bool same_layer(const mpt_layer_info *a, const mpt_layer_info *b) {
  return strcmp(a->kind, b->kind) == 0 && a->rank == b->rank &&
         memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) == 0;
}

mpt_status layers_check(const mpt_layer_info *before, int before_count, const event_layers *now,
                        mpt_error *error) {
  static const char remedy[] = "the model must be the same in every run; another model is another "
                               "search (--fresh)";
  for (int i = 0; i < before_count && i < now->count; i++) {
    const mpt_layer_info *a = &before[i], *b = &now->layers[i];
    char was[160], is[160];
    if (strcmp(a->name, b->name) != 0)
      return mpt_fail(error, MPT_ERROR_MISMATCH,
                      "layer %d is '%s', and was '%s' in the first run; %s", i, b->name, a->name,
                      remedy);
    if (same_layer(a, b))
      continue;
    shape_text(a, was, sizeof was);
    shape_text(b, is, sizeof is);
    return mpt_fail(error, MPT_ERROR_MISMATCH, "layer '%s' is %s, and was %s in the first run; %s",
                    b->name, is, was, remedy);
  }
  if (now->count != before_count)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "there are %d layers, and were %d in the first run; %s", now->count,
                    before_count, remedy);
  return MPT_OK;
}

/* ---- formats ---- */

static const char *gemm_difference(const mpt_layer_policy *asked, const applied_layer *got,
                                   int gemm) {
  const mpt_gemm_policy *a = &asked->gemm[gemm], *b = &got->formats.gemm[gemm];
  if (a->precision != b->precision)
    return "";
  if (a->operand[0] != b->operand[0] || a->operand[1] != b->operand[1])
    return "with other operands than ";
  if (got->accumulate_given[gemm] && a->precision == MPT_PRECISION_FP8 &&
      a->accumulate != b->accumulate)
    return "with another accumulation than ";
  return NULL;
}

static bool has_fp8(const mpt_layer_policy *formats) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if (formats->gemm[g].precision == MPT_PRECISION_FP8)
      return true;
  return false;
}

static bool same_scaling(const mpt_scaling *a, const mpt_scaling *b) {
  return a->mode == b->mode &&
         (a->mode == MPT_SCALING_CURRENT || (a->history == b->history && a->margin == b->margin));
}

/* In what the layer differs; "" where it does not. */
static void difference(const mpt_layer_info *layer, const mpt_layer_policy *asked,
                       const applied_layer *got, char *text, size_t size) {
  const bool gemm = mpt_layer_has_gemm(layer->kind);
  text[0] = '\0';
  for (int g = 0; g < (gemm ? MPT_GEMM_COUNT : 1); g++) {
    const char *how = gemm_difference(asked, got, g);
    if (how == NULL)
      continue;
    snprintf(text, size, "layer '%s' got %s%s%s, %sthe policy's %s", layer->name,
             mpt_precision_name(got->formats.gemm[g].precision), gemm ? " in " : "",
             gemm ? mpt_gemm_name((mpt_gemm_kind)g) : "", how,
             mpt_precision_name(asked->gemm[g].precision));
    if (*how == '\0')
      snprintf(text, size, "layer '%s' got %s%s%s, and the policy says %s", layer->name,
               mpt_precision_name(got->formats.gemm[g].precision), gemm ? " in " : "",
               gemm ? mpt_gemm_name((mpt_gemm_kind)g) : "",
               mpt_precision_name(asked->gemm[g].precision));
    return;
  }
  if (got->scaling_given && has_fp8(asked) && !same_scaling(&asked->scaling, &got->formats.scaling))
    snprintf(text, size, "layer '%s' has another scaling than the policy says", layer->name);
}

typedef struct named {
  const char *name;
  int index;
} named;

static int by_name(const void *a, const void *b) {
  return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* The program's layers in the order of their names. */
static named *sorted(const event_applied *applied) {
  named *all = malloc(((size_t)applied->count + 1) * sizeof *all);
  for (int i = 0; all != NULL && i < applied->count; i++)
    all[i] = (named){applied->layers[i].name, i};
  if (all != NULL)
    qsort(all, (size_t)applied->count, sizeof *all, by_name);
  return all;
}

mpt_status applied_check(const mpt_layer_info *layers, const mpt_layer_policy *asked, int count,
                         const event_applied *applied, mpt_error *error) {
  static const char remedy[] = "apply the file that MPTUNE_POLICY names to each product, or leave "
                               "what you cannot apply out of hello's formats";
  char first[400] = "", each[400];
  int differ = 0, found = 0;
  named *all = sorted(applied);
  if (all == NULL)
    return mpt_fail_memory(error, "applied formats", (size_t)applied->count * sizeof *all);
  for (int i = 0; i < count; i++) {
    const named key = {layers[i].name, 0};
    const named *is = bsearch(&key, all, (size_t)applied->count, sizeof *all, by_name);
    if (is == NULL)
      snprintf(each, sizeof each, "layer '%s' is not among them", layers[i].name);
    else
      difference(&layers[i], &asked[i], &applied->layers[is->index], each, sizeof each);
    found += is != NULL;
    if (each[0] == '\0')
      continue;
    if (differ++ == 0)
      memcpy(first, each, sizeof first);
  }
  free(all);
  if (differ > 0)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "the formats that were applied are not those that were asked: %s%s; %s", first,
                    differ > 1 ? ", and it is not the only one" : "", remedy);
  if (found < applied->count)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "formats were applied to %d layers that the event 'layers' does not name; name "
                    "every layer that has a format",
                    applied->count - found);
  return MPT_OK;
}
