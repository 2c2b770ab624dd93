#include "base/fields.h"
#include "base/error.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static mpt_status read_text(const mpt_yaml_node *node, const mpt_field *f, char *out,
                            mpt_error *error) {
  const char *value;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, f->key, &value, error));
  if (*value == '\0')
    return mpt_yaml_fail(node, error, "%s is empty; leave the key out or give a value", f->key);
  if (strlen(value) >= f->size)
    return mpt_yaml_fail(node, error, "%s is too long: at most %zu characters", f->key,
                         f->size - 1);
  strcpy(out, value);
  return MPT_OK;
}

static mpt_status read_open_range(const mpt_yaml_node *node, const mpt_field *f, double *out,
                                  mpt_error *error) {
  double value;
  MPT_RETURN_IF_FAILED(mpt_yaml_number(node, f->key, -HUGE_VAL, HUGE_VAL, &value, error));
  bool above = f->type == MPT_FIELD_ABOVE;
  if (above ? value > f->low && value <= f->high : value >= f->low && value < f->high) {
    *out = value;
    return MPT_OK;
  }
  if (above && isinf(f->high))
    return mpt_yaml_fail(node, error, "%s is %s; it must be above %g", f->key, node->scalar,
                         f->low);
  return mpt_yaml_fail(node, error, "%s is %s; it must be %s %g and %s %g", f->key, node->scalar,
                       above ? "above" : "at least", f->low, above ? "at most" : "below", f->high);
}

mpt_status mpt_fields_word(const mpt_yaml_node *node, const char *what, const char *const *words,
                           int *index, mpt_error *error) {
  const char *value;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, what, &value, error));
  size_t count = 0;
  char known[400] = "";
  for (; words[count] != NULL; count++) {
    if (strcmp(words[count], value) == 0) {
      *index = (int)count;
      return MPT_OK;
    }
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", count > 0 ? ", " : "", words[count]);
  }
  const char *near = mpt_nearest_word(value, words, count);
  if (near != NULL)
    return mpt_yaml_fail(node, error, "unknown %s '%s'; did you mean '%s'? (known: %s)", what,
                         value, near, known);
  return mpt_yaml_fail(node, error, "unknown %s '%s' (known: %s)", what, value, known);
}

static mpt_status read_field(const mpt_yaml_node *node, const mpt_field *f, void *out,
                             mpt_error *error) {
  switch (f->type) {
  case MPT_FIELD_TEXT:
    return read_text(node, f, out, error);
  case MPT_FIELD_WORDS:
    return mpt_word_list_read(node, f->key, out, error);
  case MPT_FIELD_INTEGER:
    return mpt_yaml_integer(node, f->key, (int64_t)f->low, (int64_t)f->high, out, error);
  case MPT_FIELD_INT: {
    int64_t value;
    MPT_RETURN_IF_FAILED(
        mpt_yaml_integer(node, f->key, (int64_t)f->low, (int64_t)f->high, &value, error));
    *(int *)out = (int)value;
    return MPT_OK;
  }
  case MPT_FIELD_NUMBER:
    return mpt_yaml_number(node, f->key, f->low, f->high, out, error);
  case MPT_FIELD_ABOVE:
  case MPT_FIELD_BELOW:
    return read_open_range(node, f, out, error);
  case MPT_FIELD_BOOLEAN:
  case MPT_FIELD_NOT: {
    bool value;
    MPT_RETURN_IF_FAILED(mpt_yaml_boolean(node, f->key, &value, error));
    *(bool *)out = value != (f->type == MPT_FIELD_NOT);
    return MPT_OK;
  }
  case MPT_FIELD_WORD:
    return mpt_fields_word(node, f->key, f->words, out, error);
  case MPT_FIELD_OTHER:
    break;
  }
  return MPT_OK;
}

mpt_status mpt_fields_read(const mpt_yaml_node *map, const char *what, const mpt_field *fields,
                           size_t count, void *out, mpt_error *error) {
  const char *keys[MPT_FIELD_MAX] = {0};
  if (count > MPT_FIELD_MAX)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "%s has more than %d keys", what, MPT_FIELD_MAX);
  for (size_t i = 0; i < count; i++)
    keys[i] = fields[i].key;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, what, keys, count, error));
  for (size_t i = 0; i < count; i++) {
    const mpt_yaml_node *node = mpt_yaml_get(map, fields[i].key);
    if (node != NULL)
      MPT_RETURN_IF_FAILED(read_field(node, &fields[i], (char *)out + fields[i].offset, error));
    else if (fields[i].required)
      return mpt_yaml_fail(map, error, "%s has no '%s'; it is required", what, fields[i].key);
  }
  return MPT_OK;
}

static const mpt_field *find_field(const mpt_field *fields, size_t count, const char *key) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(fields[i].key, key) == 0)
      return &fields[i];
  return NULL;
}

mpt_status mpt_fields_read_kind(const mpt_yaml_node *map, const char *what, const mpt_field *fields,
                                size_t count, const char *const *keys, void *out,
                                mpt_error *error) {
  mpt_field taken[MPT_FIELD_MAX];
  size_t taken_count = 0;
  for (; keys[taken_count] != NULL; taken_count++) {
    const bool required = *keys[taken_count] == '!';
    const mpt_field *f = find_field(fields, count, keys[taken_count] + required);
    if (f == NULL || taken_count == MPT_FIELD_MAX)
      return mpt_fail(error, MPT_ERROR_INTERNAL, "%s: no field '%s'", what, keys[taken_count]);
    taken[taken_count] = *f;
    taken[taken_count].required = required;
  }
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(map, MPT_YAML_MAP, what, error));
  for (size_t i = 0; i < map->count; i++) {
    const char *key = map->keys[i]->scalar;
    if (find_field(fields, count, key) != NULL && find_field(taken, taken_count, key) == NULL)
      return mpt_yaml_fail(map->keys[i], error, "%s takes no '%s'", what, key);
  }
  return mpt_fields_read(map, what, taken, taken_count, out, error);
}

mpt_status mpt_fields_kind(const mpt_yaml_node *map, const char *what, const char *const *words,
                           int *kind, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(map, MPT_YAML_MAP, what, error));
  const mpt_yaml_node *word = mpt_yaml_get(map, "kind");
  if (word != NULL)
    return mpt_fields_word(word, "kind", words, kind, error);
  mpt_text known = {0};
  for (size_t i = 0; words[i] != NULL; i++)
    mpt_text_addf(&known, "%s%s", i > 0 ? ", " : "", words[i]);
  mpt_status status = mpt_yaml_fail(map, error, "%s has no 'kind'; it is required (%s)", what,
                                    known.data != NULL ? known.data : "");
  mpt_text_free(&known);
  return status;
}

uint64_t mpt_fields_given(const mpt_yaml_node *map, const mpt_field *fields, size_t count) {
  uint64_t given = 0;
  for (size_t i = 0; i < count; i++)
    if (mpt_yaml_get(map, fields[i].key) != NULL)
      given |= (uint64_t)1 << i;
  return given;
}

static bool different(const mpt_field *f, const void *a, const void *b) {
  switch (f->type) {
  case MPT_FIELD_TEXT:
    return strcmp(a, b) != 0;
  case MPT_FIELD_WORDS:
    return !mpt_word_list_equal(a, b);
  case MPT_FIELD_INTEGER:
    return *(const int64_t *)a != *(const int64_t *)b;
  case MPT_FIELD_INT:
  case MPT_FIELD_WORD:
    return *(const int *)a != *(const int *)b;
  case MPT_FIELD_NUMBER:
  case MPT_FIELD_ABOVE:
  case MPT_FIELD_BELOW:
    return *(const double *)a != *(const double *)b;
  case MPT_FIELD_BOOLEAN:
  case MPT_FIELD_NOT:
    return *(const bool *)a != *(const bool *)b;
  case MPT_FIELD_OTHER:
    break;
  }
  return false;
}

uint64_t mpt_fields_different(const mpt_field *fields, size_t count, const void *a, const void *b) {
  uint64_t bits = 0;
  for (size_t i = 0; i < count; i++)
    if (different(&fields[i], (const char *)a + fields[i].offset,
                  (const char *)b + fields[i].offset))
      bits |= (uint64_t)1 << i;
  return bits;
}

void mpt_fields_text(mpt_text *text, const char *prefix, const mpt_field *fields, size_t count,
                     const void *in) {
  for (size_t i = 0; i < count; i++) {
    const void *value = (const char *)in + fields[i].offset;
    if (fields[i].type == MPT_FIELD_OTHER)
      continue;
    mpt_text_addf(text, "%s%s=", prefix, fields[i].key);
    switch (fields[i].type) {
    case MPT_FIELD_TEXT:
      mpt_text_add(text, value);
      break;
    case MPT_FIELD_WORDS:
      mpt_word_list_text(value, text);
      break;
    case MPT_FIELD_INTEGER:
      mpt_text_addf(text, "%lld", (long long)*(const int64_t *)value);
      break;
    case MPT_FIELD_INT:
      mpt_text_addf(text, "%d", *(const int *)value);
      break;
    case MPT_FIELD_BOOLEAN:
    case MPT_FIELD_NOT:
      mpt_text_add(text,
                   *(const bool *)value != (fields[i].type == MPT_FIELD_NOT) ? "true" : "false");
      break;
    case MPT_FIELD_WORD:
      mpt_text_add(text, fields[i].words[*(const int *)value]);
      break;
    default:
      mpt_text_add_number(text, *(const double *)value);
    }
    mpt_text_add(text, "\n");
  }
}
