/* Tables of a device profile, read: passes, attention, and what products take in a step. */
#include "profile/profile_tables.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 10000 };

bool profile_is_null(const mpt_yaml_node *node) {
  return node->kind == MPT_YAML_SCALAR && !node->quoted &&
         (*node->scalar == '\0' || strcmp(node->scalar, "null") == 0 ||
          strcmp(node->scalar, "~") == 0);
}

/* Whether it is a list of rows of `values` values each. */
static mpt_status check_table(const mpt_yaml_node *list, const char *what, size_t values,
                              mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, what, error));
  if (list->count == 0 || list->count > MAX_ROWS)
    return mpt_yaml_fail(list, error, "%s has %zu rows; 1 to %d are taken", what, list->count,
                         MAX_ROWS);
  for (size_t i = 0; i < list->count; i++) {
    MPT_RETURN_IF_FAILED(mpt_yaml_expect(list->items[i], MPT_YAML_LIST, "a row", error));
    if (list->items[i]->count != values)
      return mpt_yaml_fail(list->items[i], error, "the row of %s has %zu values, not %zu", what,
                           list->items[i]->count, values);
  }
  return MPT_OK;
}

static mpt_status read_above(const mpt_yaml_node *node, const char *what, double unit,
                             double *value, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_number(node, what, 0.0, 1e18, value, error));
  if (*value <= 0.0)
    return mpt_yaml_fail(node, error, "%s is %s; it must be above 0", what, node->scalar);
  *value *= unit;
  return MPT_OK;
}

static mpt_status sorted(const mpt_yaml_node *list, profile *p, mpt_error *error) {
  mpt_error why = {.status = MPT_OK};
  return profile_sort_tables(p, &why) == MPT_OK ? MPT_OK
                                                : mpt_yaml_fail(list, error, "%s", why.message);
}

mpt_status profile_read_passes(const mpt_yaml_node *list, profile *p, mpt_error *error) {
  const char *words[PASS_KIND_COUNT + 1] = {NULL};
  for (int k = 0; k < PASS_KIND_COUNT; k++)
    words[k] = pass_kind_name((pass_kind)k);
  MPT_RETURN_IF_FAILED(check_table(list, "passes", 4, error));
  p->passes = calloc(list->count, sizeof *p->passes);
  if (p->passes == NULL)
    return mpt_fail_memory(error, "a profile", list->count * sizeof *p->passes);
  p->pass_count = (int)list->count;
  for (size_t i = 0; i < list->count; i++) {
    const mpt_yaml_node *const *values = list->items[i]->items;
    pass_row *row = &p->passes[i];
    int kind;
    int64_t bits;
    MPT_RETURN_IF_FAILED(mpt_fields_word(values[0], "pass", words, &kind, error));
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(values[1], "bits", 16, 32, &bits, error));
    if (bits != 16 && bits != 32)
      return mpt_yaml_fail(values[1], error, "bits is %s; elements have 16 or 32",
                           values[1]->scalar);
    row->kind = (pass_kind)kind;
    row->bits = (int)bits;
    MPT_RETURN_IF_FAILED(read_above(values[2], "bytes", 1.0, &row->bytes, error));
    MPT_RETURN_IF_FAILED(read_above(values[3], "a time", 1e-6, &row->seconds, error));
  }
  return sorted(list, p, error);
}

mpt_status profile_read_attention(const mpt_yaml_node *list, profile *p, mpt_error *error) {
  static const char *const words[] = {"fp32", "tf32", "bf16", "fp16", NULL};
  static const mpt_format formats[] = {MPT_FP32, MPT_TF32, MPT_BF16, MPT_FP16};
  MPT_RETURN_IF_FAILED(check_table(list, "attention", 5, error));
  p->attention = calloc(list->count, sizeof *p->attention);
  if (p->attention == NULL)
    return mpt_fail_memory(error, "a profile", list->count * sizeof *p->attention);
  p->attention_count = (int)list->count;
  for (size_t i = 0; i < list->count; i++) {
    const mpt_yaml_node *const *values = list->items[i]->items;
    attention_row *row = &p->attention[i];
    int word = 0;
    MPT_RETURN_IF_FAILED(mpt_fields_word(values[0], "format", words, &word, error));
    row->format = formats[word];
    MPT_RETURN_IF_FAILED(
        mpt_yaml_integer(values[1], "channels", 1, 1 << 20, &row->channels, error));
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(values[2], "tokens", 1, 1 << 30, &row->tokens, error));
    MPT_RETURN_IF_FAILED(read_above(values[3], "a time", 1e-6, &row->forward, error));
    MPT_RETURN_IF_FAILED(read_above(values[4], "a time", 1e-6, &row->backward, error));
  }
  return sorted(list, p, error);
}

mpt_status profile_read_factors(const mpt_yaml_node *map, const int *columns, size_t count,
                                profile *p, mpt_error *error) {
  const char *const keys[MPT_GEMM_COUNT] = {"fprop", "dgrad", "wgrad"};
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "step_factors", keys, MPT_GEMM_COUNT, error));
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_yaml_node *list = mpt_yaml_get(map, keys[g]);
    if (list == NULL)
      continue;
    MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, keys[g], error));
    if (list->count != count)
      return mpt_yaml_fail(list, error, "%s has %zu factors; there are %zu columns", keys[g],
                           list->count, count);
    for (size_t i = 0; i < count; i++)
      if (!profile_is_null(list->items[i]))
        MPT_RETURN_IF_FAILED(
            read_above(list->items[i], "a factor", 1.0, &p->gemm_factors[g][columns[i]], error));
  }
  return MPT_OK;
}
