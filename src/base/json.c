#include "base/json.h"
#include "base/error.h"
#include "base/shown.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

json_t *mpt_json_text(const char *text) {
  if (text == NULL)
    return json_null();
  if (mpt_utf8_valid(text))
    return json_string(text);
  mpt_text valid = {0};
  mpt_text_add_utf8(&valid, text);
  json_t *made = valid.failed ? NULL : json_string(valid.data);
  mpt_text_free(&valid);
  return made;
}

json_t *mpt_json_real(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

void mpt_json_append(json_t **array, json_t *value) {
  if (*array != NULL && json_array_append_new(*array, value) == 0)
    return;
  if (*array == NULL)
    json_decref(value);
  json_decref(*array);
  *array = NULL;
}

void mpt_json_set(json_t **object, const char *name, json_t *value) {
  json_t *valid = mpt_json_text(name);
  if (*object == NULL || valid == NULL)
    json_decref(value);
  else if (json_object_set_new(*object, json_string_value(valid), value) == 0) {
    json_decref(valid);
    return;
  }
  json_decref(valid);
  json_decref(*object);
  *object = NULL;
}

json_t *mpt_json_copy(json_t *object) {
  json_t *copy = json_object(), *value;
  const char *name;
  json_object_foreach(object, name, value) {
    mpt_json_set(&copy, name, json_incref(value));
  }
  return copy;
}

/* ---- packing ---- */

typedef struct packer {
  const char *at;
  va_list arguments;
} packer;

static char next(packer *p) {
  while (*p->at == ' ' || *p->at == ':' || *p->at == ',')
    p->at++;
  return *p->at++;
}

static json_t *pack_value(packer *p, char kind, bool *absent);

/* All arguments are read though something failed, so that all references are taken. */
static json_t *pack_object(packer *p) {
  json_t *object = json_object();
  for (char kind = next(p); kind != '}'; kind = next(p)) {
    assert(kind == 's');
    const char *name = va_arg(p->arguments, const char *);
    bool absent = false;
    json_t *value = pack_value(p, next(p), &absent);
    if (!absent)
      mpt_json_set(&object, name, value);
  }
  return object;
}

static json_t *pack_array(packer *p) {
  json_t *array = json_array();
  for (char kind = next(p); kind != ']'; kind = next(p)) {
    bool absent = false;
    json_t *value = pack_value(p, kind, &absent);
    if (!absent)
      mpt_json_append(&array, value);
  }
  return array;
}

static bool optional(packer *p) {
  if (*p->at != '*')
    return false;
  p->at++;
  return true;
}

static json_t *pack_value(packer *p, char kind, bool *absent) {
  switch (kind) {
  case '{':
    return pack_object(p);
  case '[':
    return pack_array(p);
  case 's': {
    const char *text = va_arg(p->arguments, const char *);
    *absent = optional(p) && text == NULL;
    return *absent ? NULL : mpt_json_text(text);
  }
  case 'o':
  case 'O': {
    json_t *value = va_arg(p->arguments, json_t *);
    *absent = optional(p) && value == NULL;
    return kind == 'O' ? json_incref(value) : value;
  }
  case 'i':
    return json_integer(va_arg(p->arguments, int));
  case 'I':
    return json_integer(va_arg(p->arguments, json_int_t));
  case 'f':
    return mpt_json_real(va_arg(p->arguments, double));
  case 'b':
    return json_boolean(va_arg(p->arguments, int));
  case 'n':
    return json_null();
  default:
    assert(!"a letter that mpt_json_pack does not know");
    return NULL;
  }
}

json_t *mpt_json_pack(const char *format, ...) {
  packer p = {.at = format};
  bool absent = false;
  va_start(p.arguments, format);
  json_t *made = pack_value(&p, next(&p), &absent);
  va_end(p.arguments);
  return made;
}

/* ---- as text ---- */

static _Thread_local bool allocation_failed;

static void *watched_malloc(size_t size) {
  void *memory = malloc(size);
  allocation_failed = allocation_failed || memory == NULL;
  return memory;
}

void mpt_json_watch_memory(void) {
  json_set_alloc_funcs(watched_malloc, free);
}

mpt_status mpt_json_dump(json_t *json, size_t flags, const char *what, char **text,
                         mpt_error *error) {
  if ((flags & JSON_REAL_PRECISION(31)) == 0)
    flags |= JSON_REAL_PRECISION(17);
  allocation_failed = false;
  *text = json == NULL ? NULL : json_dumps(json, flags);
  json_decref(json);
  if (allocation_failed) { /* it may have gone on without a colon */
    free(*text);
    *text = NULL;
  }
  return *text == NULL ? mpt_fail_memory(error, what, 0) : MPT_OK;
}

mpt_status mpt_json_parse(const char *text, size_t length, const char *what, json_t **json,
                          mpt_error *error) {
  json_error_t where = {0};
  allocation_failed = false;
  *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
  if (allocation_failed || json_error_code(&where) == json_error_out_of_memory) {
    json_decref(*json);
    *json = NULL;
    return mpt_fail_memory(error, what, length);
  }
  if (*json != NULL)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_SYNTAX, "%s is no JSON: line %d, column %d: %s", what,
                  where.line, where.column, where.text);
}
