/* From formats, one for each layer, to a policy that people can read: the default and the rules
 * that say it with the fewest rules and globs found. */
#include "base/error.h"
#include "policy/legal.h"
#include "policy/policy_data.h"
#include "policy/rule_cover.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY_LAYERS 400 /* beyond, fewer defaults are tried */

typedef struct compression {
  const mpt_layer_info *layers;
  int count, words;
  mpt_arena arena;
  mpt_layer_policy *meant;   /* [count] what each layer must get */
  mpt_layer_policy *classes; /* [class_count] the distinct ones */
  int class_count;
  uint64_t **accepts;                             /* [class_count][words] */
  uint64_t *accepts_default[MPT_PRECISION_COUNT]; /* [words] */
} compression;

/* ---- checks ---- */
static mpt_status check_layer(const mpt_layer_info *layer, const mpt_layer_policy *formats,
                              mpt_error *error) {
  if (memchr(layer->name, '\0', sizeof layer->name) == NULL || layer->name[0] == '\0' ||
      memchr(layer->kind, '\0', sizeof layer->kind) == NULL || layer->rank < 0 || layer->rank > 4 ||
      layer->rows < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "layer '%.*s' needs a name, a rank of 0 to 4 and rows of 0 or more",
                    MPT_MAX_NAME - 1, layer->name);
  if (!mpt_utf8_valid(layer->name) || !mpt_utf8_valid(layer->kind))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the name of layer '%s' is not UTF-8", layer->name);
  for (int i = 0; i < layer->rank; i++)
    if (layer->shape[i] < 1)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s' has a dimension below 1", layer->name);
  bool fp8 = false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_gemm_policy *gemm = &formats->gemm[g];
    mpt_precision pair = MPT_PRECISION_COUNT;
    if (mpt_policy_operands_precision(gemm->operand, &pair, NULL) != MPT_OK ||
        pair != gemm->precision)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "layer '%s' has operands that are no %s GEMM",
                      layer->name, mpt_precision_name(gemm->precision));
    fp8 = fp8 || pair == MPT_PRECISION_FP8;
    if (pair != MPT_PRECISION_FP8 && gemm->accumulate == MPT_ACCUMULATE_FAST)
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "layer '%s' accumulates fast, which is a choice of fp8 alone", layer->name);
  }
  return fp8 ? mpt_policy_check_scaling(layer->name, &formats->scaling, error) : MPT_OK;
}

static mpt_status check(const char *name, const mpt_layer_info *layers,
                        const mpt_layer_policy *assignment, int count,
                        mpt_loss_scale_policy loss_scale, mpt_error *error) {
  int twice, exponent;
  if (count < 0 || (count > 0 && (layers == NULL || assignment == NULL)))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "layers or their formats are NULL");
  if (name != NULL && (strlen(name) >= MPT_MAX_NAME || !mpt_utf8_valid(name)))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy's name is UTF-8 of at most %d bytes",
                    MPT_MAX_NAME - 1);
  const double initial = (double)loss_scale.initial;
  if ((unsigned)loss_scale.mode > MPT_LOSS_SCALE_NONE ||
      (initial != 0 &&
       (frexp(initial, &exponent) != 0.5 || initial < 0x1p-24 || initial > 0x1p100)))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a loss scale of %g is no power of two", initial);
  for (int i = 0; i < count; i++)
    MPT_RETURN_IF_FAILED(check_layer(&layers[i], &assignment[i], error));
  MPT_RETURN_IF_FAILED(mpt_policy_find_duplicate(layers, count, &twice, error));
  if (twice >= 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "two layers are named '%s'", layers[twice].name);
  return MPT_OK;
}

/* ---- classes ---- */
static bool suits(const compression *c, int layer, const mpt_layer_policy *formats) {
  const mpt_layer_policy meant = mpt_layer_policy_for(c->layers[layer].kind, formats);
  return mpt_layer_policy_equal(&meant, &c->meant[layer]);
}

static uint64_t *suited(compression *c, const mpt_layer_policy *formats) {
  uint64_t *set = mpt_arena_take(&c->arena, (size_t)c->words * sizeof *set);
  for (int i = 0; set != NULL && i < c->count; i++)
    if (suits(c, i, formats))
      layer_set_add(set, i);
  return set;
}

static mpt_status classify(compression *c, const mpt_layer_policy *assignment, mpt_error *error) {
  const size_t bytes = ((size_t)c->count + 1) * sizeof *c->meant;
  c->words = LAYER_SET_WORDS(c->count);
  c->meant = mpt_arena_take(&c->arena, bytes);
  c->classes = mpt_arena_take(&c->arena, bytes);
  c->accepts = mpt_arena_take(&c->arena, ((size_t)c->count + 1) * sizeof *c->accepts);
  if (c->meant == NULL || c->classes == NULL || c->accepts == NULL)
    return mpt_fail_memory(error, "the layers' formats", bytes);
  for (int i = 0; i < c->count; i++) {
    c->meant[i] = mpt_layer_policy_for(c->layers[i].kind, &assignment[i]);
    int k = 0;
    while (k < c->class_count && !mpt_layer_policy_equal(&c->classes[k], &c->meant[i]))
      k++;
    if (k == c->class_count)
      c->classes[c->class_count++] = c->meant[i];
  }
  for (int k = 0; k < c->class_count; k++)
    if ((c->accepts[k] = suited(c, &c->classes[k])) == NULL)
      return mpt_fail_memory(error, "sets of layers", 0);
  for (int p = 0; p < MPT_PRECISION_COUNT; p++) {
    const mpt_layer_policy formats = mpt_layer_policy_of((mpt_precision)p);
    if ((c->accepts_default[p] = suited(c, &formats)) == NULL)
      return mpt_fail_memory(error, "sets of layers", 0);
  }
  return MPT_OK;
}

/* ---- the best default with its rules ---- */
static int size_of(const uint64_t *set, int words) {
  int size = 0;
  for (int w = 0; w < words; w++)
    size += __builtin_popcountll(set[w]);
  return size;
}

/* The defaults, those that suit most layers first. */
static void order_defaults(const compression *c, mpt_precision order[MPT_PRECISION_COUNT]) {
  for (int p = 0; p < MPT_PRECISION_COUNT; p++) {
    const int size = size_of(c->accepts_default[p], c->words);
    int i = p;
    for (; i > 0 && size_of(c->accepts_default[order[i - 1]], c->words) < size; i--)
      order[i] = order[i - 1];
    order[i] = (mpt_precision)p;
  }
}

static bool is_smaller(const rule_cover *a, const rule_cover *b) {
  const int x = a->rule_count + a->glob_count, y = b->rule_count + b->glob_count;
  return x != y ? x < y : a->rule_count < b->rule_count;
}

static mpt_status find_cover(const compression *c, const glob_candidates *candidates,
                             mpt_precision *base, rule_cover *best, mpt_error *error) {
  mpt_precision order[MPT_PRECISION_COUNT];
  order_defaults(c, order);
  bool found = false;
  const int tried = c->count > MANY_LAYERS ? 2 : MPT_PRECISION_COUNT;
  for (int i = 0; i < tried; i++) {
    const uint64_t *accepts_default = c->accepts_default[order[i]];
    if (i > 0 && size_of(accepts_default, c->words) == 0)
      break;
    for (int style = COVER_HARMLESS; style <= COVER_EXCEPTIONS; style++) {
      rule_cover cover;
      mpt_status status =
          mpt_rule_cover_find(candidates, c->accepts, c->class_count, accepts_default, c->count,
                              (cover_style)style, &cover, error);
      if (status != MPT_OK) {
        mpt_rule_cover_free(&cover);
        return status;
      }
      if (found && !is_smaller(&cover, best)) {
        mpt_rule_cover_free(&cover);
        continue;
      }
      mpt_rule_cover_free(best);
      *best = cover;
      *base = order[i];
      found = true;
    }
  }
  return MPT_OK;
}

/* ---- rules as they are written ---- */
static bool gemm_is(const mpt_gemm_policy *gemm, mpt_gemm_kind kind, mpt_precision precision) {
  const mpt_gemm_policy standard = mpt_gemm_policy_of(kind, precision);
  return memcmp(gemm->operand, standard.operand, sizeof gemm->operand) == 0 &&
         gemm->accumulate == standard.accumulate;
}

/* `format` is what two GEMMs or all agree on; the others have entries of their own. */
static void write_formats(const mpt_layer_policy *formats, policy_rule *rule) {
  int most = 1;
  for (int p = 0; p < MPT_PRECISION_COUNT; p++) {
    int agree = 0;
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      agree += gemm_is(&formats->gemm[g], (mpt_gemm_kind)g, (mpt_precision)p);
    if (agree > most) {
      most = agree;
      rule->has_format = true;
      rule->format = (mpt_precision)p;
    }
  }
  bool fp8 = false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_gemm_policy *gemm = &formats->gemm[g];
    fp8 = fp8 || gemm->precision == MPT_PRECISION_FP8;
    rule->gemm[g] = *gemm;
    if (rule->has_format && gemm_is(gemm, (mpt_gemm_kind)g, rule->format))
      continue;
    rule->form[g] =
        gemm_is(gemm, (mpt_gemm_kind)g, gemm->precision) ? GEMM_FORM_SHORT : GEMM_FORM_LONG;
  }
  rule->has_scaling = fp8 && formats->scaling.mode == MPT_SCALING_DELAYED;
  rule->scaling = formats->scaling;
}

static bool write_rules(const compression *c, const glob_candidates *candidates,
                        const rule_cover *cover, mpt_policy *policy) {
  policy->rules = mpt_arena_take(&policy->arena, (size_t)cover->rule_count * sizeof *policy->rules);
  if (policy->rules == NULL)
    return false;
  for (int r = 0; r < cover->rule_count; r++) {
    const cover_rule *from = &cover->rules[r];
    policy_rule *rule = &policy->rules[r];
    rule->glob_count = (size_t)from->glob_count;
    rule->globs = mpt_arena_take(&policy->arena, rule->glob_count * sizeof *rule->globs);
    if (rule->globs == NULL)
      return false;
    for (int g = 0; g < from->glob_count; g++) {
      const char *glob = candidates->list[from->globs[g]].glob;
      rule->globs[g] = mpt_arena_text(&policy->arena, glob, strlen(glob));
      if (rule->globs[g] == NULL)
        return false;
    }
    write_formats(&c->classes[from->group], rule);
  }
  policy->rule_count = cover->rule_count;
  return true;
}

static bool write_layers(const compression *c, mpt_policy *policy) {
  const size_t bytes = (size_t)c->count * sizeof *policy->layers;
  policy->layers = mpt_arena_take(&policy->arena, bytes);
  if (policy->layers != NULL && bytes > 0)
    memcpy(policy->layers, c->layers, bytes);
  policy->layer_count = c->count;
  return policy->layers != NULL;
}

/* The search works on sets; what counts is what the policy resolves to. */
static mpt_status check_resolves(const compression *c, const mpt_policy *policy, mpt_error *error) {
  mpt_layer_policy *resolved = calloc((size_t)c->count + 1, sizeof *resolved);
  mpt_status status = MPT_OK;
  if (resolved == NULL)
    return mpt_fail_memory(error, "the layers' formats", (size_t)c->count * sizeof *resolved);
  MPT_TRY(mpt_policy_resolve(policy, c->layers, c->count, NULL, resolved, error));
  for (int i = 0; i < c->count && status == MPT_OK; i++)
    if (!mpt_layer_policy_equal(&resolved[i], &c->meant[i]))
      status = mpt_fail(error, MPT_ERROR_INTERNAL, "the rules give layer '%s' other formats",
                        c->layers[i].name);
fail:
  free(resolved);
  return status;
}

mpt_status mpt_policy_from_assignment(const char *name, const mpt_layer_info *layers,
                                      const mpt_layer_policy *assignment, int count,
                                      mpt_loss_scale_policy loss_scale, mpt_policy **out,
                                      mpt_error *error) {
  compression c = {.layers = layers, .count = count};
  glob_candidates candidates = {0};
  rule_cover cover = {0};
  mpt_policy *policy = NULL;
  mpt_status status = MPT_OK;
  if (out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the place of the policy is NULL");
  MPT_RETURN_IF_FAILED(check(name, layers, assignment, count, loss_scale, error));
  policy = mpt_policy_new();
  if (policy == NULL)
    return mpt_fail_memory(error, "a policy", sizeof *policy);
  snprintf(policy->name, sizeof policy->name, "%s", name == NULL ? "" : name);
  policy->has_loss_scale = true;
  policy->loss_scale.mode = loss_scale.mode;
  if (loss_scale.initial != 0 && loss_scale.mode != MPT_LOSS_SCALE_NONE)
    policy->loss_scale.initial = loss_scale.initial;
  MPT_TRY(classify(&c, assignment, error));
  MPT_TRY(mpt_glob_candidates_make(layers, count, c.accepts, c.class_count, &candidates, error));
  MPT_TRY(find_cover(&c, &candidates, &policy->base, &cover, error));
  if (!write_rules(&c, &candidates, &cover, policy) || !write_layers(&c, policy)) {
    status = mpt_fail_memory(error, "a policy", 0);
    goto fail;
  }
  MPT_TRY(check_resolves(&c, policy, error));
  *out = policy;
  policy = NULL;
fail:
  mpt_policy_free(policy);
  mpt_rule_cover_free(&cover);
  mpt_arena_free(&candidates.arena);
  mpt_arena_free(&c.arena);
  return status;
}
