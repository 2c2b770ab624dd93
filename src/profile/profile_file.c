/* Device profile files, and where they are looked for. */
#include "base/error.h"
#include "profile/profile_tables.h"
#include "profile/shipped.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_LIMIT = 16 << 20, DEPTH_LIMIT = 8, MAX_ROWS = 100000 };

#define TEXT(key, required)                                                                        \
  {                                                                                                \
#key, MPT_FIELD_TEXT, required, offsetof(profile, key), sizeof(((profile *)0)->key), 0, 0,     \
        NULL                                                                                       \
  }
#define ABOVE_ZERO(key, required)                                                                  \
  { #key, MPT_FIELD_ABOVE, required, offsetof(profile, key), 0, 0, 1e18, NULL }
#define SECTION(key, required)                                                                     \
  { key, MPT_FIELD_OTHER, required, 0, 0, 0, 0, NULL }

static const mpt_field profile_fields[] = {
    SECTION("schema", true),
    TEXT(name, true),
    TEXT(device, true),
    TEXT(compute_capability, false),
    TEXT(driver, false),
    TEXT(cuda, false),
    TEXT(cublaslt, false),
    TEXT(measured, false),
    {"synthetic", MPT_FIELD_BOOLEAN, false, offsetof(profile, synthetic), 0, 0, 0, NULL},
    SECTION("provenance", false),
    SECTION("formats", true),
    ABOVE_ZERO(copy_bandwidth, true),
    {"pass_floor", MPT_FIELD_NUMBER, false, offsetof(profile, pass_floor), 0, 0, 1, NULL},
    {"pass_efficiency", MPT_FIELD_ABOVE, false, offsetof(profile, pass_efficiency), 0, 0, 1, NULL},
    {"quantize_efficiency", MPT_FIELD_ABOVE, false, offsetof(profile, quantize_efficiency), 0, 0, 1,
     NULL},
    {"attention_efficiency", MPT_FIELD_ABOVE, false, offsetof(profile, attention_efficiency), 0, 0,
     1, NULL},
    SECTION("passes", false),
    SECTION("attention", false),
    SECTION("gemm", true),
};

static mpt_status check_schema(const mpt_yaml_node *root, mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(root, "schema");
  const char *schema;
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(root, MPT_YAML_MAP, "a device profile", error));
  if (node == NULL)
    return mpt_yaml_fail(root, error,
                         "no 'schema'; a device profile begins with 'schema: mptune/device@1'");
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, "schema", &schema, error));
  if (strcmp(schema, "mptune/device@1") != 0)
    return mpt_yaml_fail(node, error, "schema is '%s'; this mptune reads mptune/device@1", schema);
  return MPT_OK;
}

static mpt_status read_formats(const mpt_yaml_node *list, profile *p, mpt_error *error) {
  const char *words[MPT_FORMAT_COUNT + 1] = {NULL};
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    words[f] = mpt_format_get((mpt_format)f)->name;
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "formats", error));
  for (size_t i = 0; i < list->count; i++) {
    int format;
    MPT_RETURN_IF_FAILED(mpt_fields_word(list->items[i], "format", words, &format, error));
    p->formats |= 1u << format;
  }
  if ((p->formats & 1u << MPT_FP32) == 0)
    return mpt_yaml_fail(list, error, "formats lacks fp32, which every layer falls back to");
  return MPT_OK;
}

/* ---- GEMM times: a table, or rates of a synthetic device ---- */

/* columns[i] is the gemm_column of the table's column i + 3. */
static mpt_status read_columns(const mpt_yaml_node *list, int *columns, size_t *count,
                               mpt_error *error) {
  static const char *const shape[] = {"m", "n", "k"};
  const char *words[GEMM_COLUMN_COUNT + 1] = {NULL};
  bool seen[GEMM_COLUMN_COUNT] = {false};
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    words[c] = gemm_column_name((gemm_column)c);
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "columns", error));
  if (list->count < 4 || list->count > 3 + GEMM_COLUMN_COUNT)
    return mpt_yaml_fail(list, error, "columns are m, n, k and 1 to %d formats", GEMM_COLUMN_COUNT);
  for (size_t i = 0; i < list->count; i++) {
    const char *name;
    MPT_RETURN_IF_FAILED(mpt_yaml_string(list->items[i], "columns", &name, error));
    if (i < 3 && strcmp(name, shape[i]) != 0)
      return mpt_yaml_fail(list->items[i], error, "column %zu is '%s'; the first three are m, n, k",
                           i + 1, name);
    if (i < 3)
      continue;
    MPT_RETURN_IF_FAILED(mpt_fields_word(list->items[i], "column", words, &columns[i - 3], error));
    if (seen[columns[i - 3]])
      return mpt_yaml_fail(list->items[i], error, "column '%s' is there twice", name);
    seen[columns[i - 3]] = true;
  }
  *count = list->count - 3;
  return MPT_OK;
}

static mpt_status read_row(const mpt_yaml_node *list, const int *columns, size_t count,
                           gemm_row *row, mpt_error *error) {
  int64_t *const sizes[] = {&row->m, &row->n, &row->k};
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "a row of the table", error));
  if (list->count != count + 3)
    return mpt_yaml_fail(list, error, "the row has %zu values; there are %zu columns", list->count,
                         count + 3);
  for (int i = 0; i < 3; i++)
    MPT_RETURN_IF_FAILED(mpt_yaml_integer(list->items[i], "a size", 1, 1 << 30, sizes[i], error));
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    row->seconds[c] = NAN;
  for (size_t i = 0; i < count; i++) {
    const mpt_yaml_node *item = list->items[i + 3];
    double microseconds;
    if (profile_is_null(item))
      continue;
    MPT_RETURN_IF_FAILED(mpt_yaml_number(item, "a time", 0.0, 1e12, &microseconds, error));
    if (microseconds <= 0.0)
      return mpt_yaml_fail(item, error, "a time is %s; it must be above 0, or null", item->scalar);
    row->seconds[columns[i]] = 1e-6 * microseconds;
  }
  return MPT_OK;
}

static mpt_status read_table(const mpt_yaml_node *map, profile *p, mpt_error *error) {
  const char *const keys[] = {"columns", "step_factors", "microseconds"};
  int columns[GEMM_COLUMN_COUNT];
  size_t count = 0;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "gemm", keys, 3, error));
  const mpt_yaml_node *header = mpt_yaml_get(map, "columns");
  const mpt_yaml_node *rows = mpt_yaml_get(map, "microseconds");
  const mpt_yaml_node *factors = mpt_yaml_get(map, "step_factors");
  if (header == NULL || rows == NULL)
    return mpt_yaml_fail(map, error, "gemm has no '%s'; a table needs columns and microseconds",
                         header == NULL ? "columns" : "microseconds");
  MPT_RETURN_IF_FAILED(read_columns(header, columns, &count, error));
  if (factors != NULL)
    MPT_RETURN_IF_FAILED(profile_read_factors(factors, columns, count, p, error));
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(rows, MPT_YAML_LIST, "microseconds", error));
  if (rows->count == 0 || rows->count > MAX_ROWS)
    return mpt_yaml_fail(rows, error, "the table has %zu rows; 1 to %d are taken", rows->count,
                         MAX_ROWS);
  p->gemm = calloc(rows->count, sizeof *p->gemm);
  if (p->gemm == NULL)
    return mpt_fail_memory(error, "a profile", rows->count * sizeof *p->gemm);
  p->gemm_count = (int)rows->count;
  for (int i = 0; i < p->gemm_count; i++)
    MPT_RETURN_IF_FAILED(read_row(rows->items[i], columns, count, &p->gemm[i], error));
  mpt_error why = {.status = MPT_OK};
  mpt_status status = profile_make_grid(p, &why);
  return status == MPT_ERROR_SYNTAX ? mpt_yaml_fail(rows, error, "%s", why.message)
         : status == MPT_OK         ? MPT_OK
                                    : mpt_fail(error, status, "%s", why.message);
}

static mpt_status read_rates(const mpt_yaml_node *map, profile *p, mpt_error *error) {
  const char *const gemm_keys[] = {"rates"};
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "gemm", gemm_keys, 1, error));
  const mpt_yaml_node *rates = mpt_yaml_get(map, "rates");
  if (!p->synthetic)
    return mpt_yaml_fail(rates, error,
                         "rates are for made-up devices; say 'synthetic: true', or give a measured "
                         "table");
  mpt_field fields[GEMM_COLUMN_COUNT];
  for (int c = 0; c < GEMM_COLUMN_COUNT; c++)
    fields[c] = (mpt_field){gemm_column_name((gemm_column)c),
                            MPT_FIELD_ABOVE,
                            false,
                            offsetof(profile, gemm_rate) + (size_t)c * sizeof(double),
                            0,
                            0.0,
                            1e18,
                            NULL};
  return mpt_fields_read(rates, "rates", fields, GEMM_COLUMN_COUNT, p, error);
}

/* Every native format must have a price, or the search would choose among unknown times. */
static mpt_status check_prices(const mpt_yaml_node *gemm, const profile *p, mpt_error *error) {
  static const struct {
    gemm_column column;
    uint32_t formats;
  } needs[] = {
      {GEMM_FP32, 1u << MPT_FP32},
      {GEMM_TF32, 1u << MPT_TF32},
      {GEMM_BF16, 1u << MPT_BF16},
      {GEMM_FP16, 1u << MPT_FP16},
      {GEMM_FP8_SPLIT, 1u << MPT_FP8_E4M3},
      {GEMM_FP8_MIXED_SPLIT, 1u << MPT_FP8_E4M3 | 1u << MPT_FP8_E5M2},
  };
  for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
    if ((p->formats & needs[i].formats) == needs[i].formats &&
        isnan(profile_gemm(p, needs[i].column, 128, 128, 128).seconds))
      return mpt_yaml_fail(gemm, error,
                           "the device has the format but no time for '%s'; add it, or take the "
                           "format out of formats",
                           gemm_column_name(needs[i].column));
  return MPT_OK;
}

static mpt_status read_profile(const mpt_yaml_node *root, profile *p, mpt_error *error) {
  MPT_RETURN_IF_FAILED(check_schema(root, error));
  MPT_RETURN_IF_FAILED(mpt_fields_read(root, "a device profile", profile_fields,
                                       MPT_FIELD_COUNT(profile_fields), p, error));
  if (mpt_yaml_get(root, "quantize_efficiency") == NULL) /* as passes do */
    p->quantize_efficiency = p->pass_efficiency;
  MPT_RETURN_IF_FAILED(read_formats(mpt_yaml_get(root, "formats"), p, error));
  const mpt_yaml_node *gemm = mpt_yaml_get(root, "gemm"), *passes = mpt_yaml_get(root, "passes");
  const mpt_yaml_node *attention = mpt_yaml_get(root, "attention");
  if (passes != NULL)
    MPT_RETURN_IF_FAILED(profile_read_passes(passes, p, error));
  if (attention != NULL)
    MPT_RETURN_IF_FAILED(profile_read_attention(attention, p, error));
  if (mpt_yaml_get(gemm, "rates") != NULL)
    MPT_RETURN_IF_FAILED(read_rates(gemm, p, error));
  else
    MPT_RETURN_IF_FAILED(read_table(gemm, p, error));
  return check_prices(gemm, p, error);
}

mpt_status profile_load(const char *name, profile **out, mpt_error *error) {
  mpt_yaml *yaml = NULL;
  mpt_status status = MPT_OK;
  profile *p = profile_new();
  if (p == NULL)
    return mpt_fail_memory(error, "a profile", sizeof *p);
  MPT_TRY(shipped_find(SHIPPED_PROFILE, name, p->path, error));
  MPT_TRY(mpt_yaml_load(p->path, SIZE_LIMIT, DEPTH_LIMIT, &yaml, error));
  MPT_TRY(read_profile(mpt_yaml_root(yaml), p, error));
  mpt_yaml_free(yaml);
  *out = p;
  return MPT_OK;
fail:
  mpt_yaml_free(yaml);
  profile_free(p);
  return status;
}
