#include "workload/fields.h"
#include "base/error.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FIELDS = 48 };

static mpt_status read_text(const mpt_yaml_node *node, const field *f, char *out,
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

static mpt_status read_open_range(const mpt_yaml_node *node, const field *f, double *out,
                                  mpt_error *error) {
  double value;
  MPT_RETURN_IF_FAILED(mpt_yaml_number(node, f->key, -HUGE_VAL, HUGE_VAL, &value, error));
  bool above = f->type == FIELD_ABOVE;
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

mpt_status fields_word(const mpt_yaml_node *node, const char *what, const char *const *words,
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

static mpt_status read_field(const mpt_yaml_node *node, const field *f, void *out,
                             mpt_error *error) {
  switch (f->type) {
  case FIELD_TEXT:
    return read_text(node, f, out, error);
  case FIELD_INTEGER:
    return mpt_yaml_integer(node, f->key, (int64_t)f->low, (int64_t)f->high, out, error);
  case FIELD_INT: {
    int64_t value;
    MPT_RETURN_IF_FAILED(
        mpt_yaml_integer(node, f->key, (int64_t)f->low, (int64_t)f->high, &value, error));
    *(int *)out = (int)value;
    return MPT_OK;
  }
  case FIELD_NUMBER:
    return mpt_yaml_number(node, f->key, f->low, f->high, out, error);
  case FIELD_ABOVE:
  case FIELD_BELOW:
    return read_open_range(node, f, out, error);
  case FIELD_BOOLEAN:
  case FIELD_NOT: {
    bool value;
    MPT_RETURN_IF_FAILED(mpt_yaml_boolean(node, f->key, &value, error));
    *(bool *)out = value != (f->type == FIELD_NOT);
    return MPT_OK;
  }
  case FIELD_WORD:
    return fields_word(node, f->key, f->words, out, error);
  case FIELD_OTHER:
    break;
  }
  return MPT_OK;
}

mpt_status fields_read(const mpt_yaml_node *map, const char *what, const field *fields,
                       size_t count, void *out, mpt_error *error) {
  const char *keys[MAX_FIELDS] = {0};
  if (count > MAX_FIELDS)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "%s has more than %d keys", what, MAX_FIELDS);
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

void fields_text(mpt_text *text, const char *prefix, const field *fields, size_t count,
                 const void *in) {
  for (size_t i = 0; i < count; i++) {
    const void *value = (const char *)in + fields[i].offset;
    if (fields[i].type == FIELD_OTHER)
      continue;
    mpt_text_addf(text, "%s%s=", prefix, fields[i].key);
    switch (fields[i].type) {
    case FIELD_TEXT:
      mpt_text_add(text, value);
      break;
    case FIELD_INTEGER:
      mpt_text_addf(text, "%lld", (long long)*(const int64_t *)value);
      break;
    case FIELD_INT:
      mpt_text_addf(text, "%d", *(const int *)value);
      break;
    case FIELD_BOOLEAN:
    case FIELD_NOT:
      mpt_text_add(text, *(const bool *)value != (fields[i].type == FIELD_NOT) ? "true" : "false");
      break;
    case FIELD_WORD:
      mpt_text_add(text, fields[i].words[*(const int *)value]);
      break;
    default:
      mpt_text_add_number(text, *(const double *)value);
    }
    mpt_text_add(text, "\n");
  }
}
