#include "store/record.h"
#include "base/json.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

typedef struct reader {
  mpt_arena *memory;
  char place[200];   /* of what is wrong: "[3].operands.input.amax" */
  const char *wrong; /* what it is not; NULL: nothing was wrong so far */
  bool no_memory;
} reader;

static bool failed(const reader *r) {
  return r->wrong != NULL || r->no_memory;
}

static void fail_at(reader *r, const char *place, const char *what) {
  snprintf(r->place, sizeof r->place, "%s", place[0] == '\0' ? "the whole" : place);
  r->wrong = what;
}

static void *take(reader *r, size_t bytes) {
  void *memory = mpt_arena_take(r->memory, bytes + 1);
  r->no_memory = r->no_memory || memory == NULL;
  return memory;
}

static const char *take_text(reader *r, const char *text) {
  const char *copy = mpt_arena_text(r->memory, text, strlen(text));
  r->no_memory = r->no_memory || copy == NULL;
  return copy;
}

/* Where the length of the member stands, or NULL where it has none. */
static int *length_of(const record_member *m, char *in) {
  const bool counted = m->type->kind == RECORD_LIST || m->type->kind == RECORD_MAP;
  return counted ? (int *)(void *)(in + m->count) : NULL;
}

static void set_none(const record_type *t, void *out, int *count);

static void set_members_none(const record_type *t, char *out) {
  for (int i = 0; i < t->member_count; i++) {
    const record_member *m = &t->members[i];
    set_none(m->type, out + m->offset, length_of(m, out));
  }
}

static void set_none(const record_type *t, void *out, int *count) {
  switch (t->kind) {
  case RECORD_TEXT:
    *(const char **)out = NULL;
    break;
  case RECORD_NUMBER:
    *(double *)out = NAN;
    break;
  case RECORD_WHOLE:
    *(int64_t *)out = -1;
    break;
  case RECORD_FLAG:
    *(bool *)out = t->otherwise;
    break;
  case RECORD_WORD:
    *(int *)out = -1;
    break;
  case RECORD_OBJECT:
    set_members_none(t, out);
    break;
  case RECORD_LIST:
  case RECORD_MAP:
    assert(count != NULL);
    *(const void **)out = NULL;
    *count = 0;
    break;
  }
}

static void read_value(reader *r, const record_type *t, const json_t *json, const char *place,
                       void *out, int *count);

static void read_text(reader *r, const record_type *t, const json_t *json, const char *place,
                      const char **out) {
  const char *text = json_string_value(json);
  if (text == NULL || (t->known != NULL && !t->known(text)))
    fail_at(r, place, t->what);
  else
    *out = take_text(r, text);
}

static bool in_range(const record_type *t, const json_t *json) {
  const double value = json_number_value(json);
  return value >= t->low && value <= t->high;
}

static void read_flag(reader *r, const record_type *t, const json_t *json, const char *place,
                      bool *out) {
  const char *text = json_string_value(json);
  if (t->flag_words[1] == NULL && json_is_boolean(json))
    *out = json_is_true(json);
  else if (t->flag_words[1] != NULL && text != NULL && strcmp(text, t->flag_words[1]) == 0)
    *out = true;
  else if (t->flag_words[0] != NULL && text != NULL && strcmp(text, t->flag_words[0]) == 0)
    *out = false;
  else
    fail_at(r, place, t->what);
}

static void read_word(reader *r, const record_type *t, const json_t *json, const char *place,
                      int *out) {
  const char *text = json_string_value(json);
  for (int i = 0; text != NULL && i < t->word_count; i++)
    if (strcmp(text, t->word(i)) == 0) {
      *out = i;
      return;
    }
  fail_at(r, place, t->what);
}

static void read_object(reader *r, const record_type *t, const json_t *json, const char *place,
                        char *out) {
  if (!json_is_object(json)) {
    fail_at(r, place, "an object");
    return;
  }
  for (int i = 0; i < t->member_count && !failed(r); i++) {
    const record_member *m = &t->members[i];
    const json_t *value = json_object_get(json, m->name);
    char here[200];
    snprintf(here, sizeof here, "%.150s%s%s", place, place[0] == '\0' ? "" : ".", m->name);
    if (value != NULL && !json_is_null(value))
      read_value(r, m->type, value, here, out + m->offset, length_of(m, out));
    else if (m->need == RECORD_REQUIRED)
      fail_at(r, here, m->type->what != NULL ? m->type->what : "there");
  }
}

static void read_list(reader *r, const record_type *t, const json_t *json, const char *place,
                      const void **out, int *count) {
  if (!json_is_array(json)) {
    fail_at(r, place, "a list");
    return;
  }
  const size_t length = json_array_size(json);
  assert(count != NULL);
  if (length > INT32_MAX) {
    fail_at(r, place, "a list of this length");
    return;
  }
  char *elements = take(r, length * t->size);
  for (size_t i = 0; i < length && !failed(r); i++) {
    char here[200];
    snprintf(here, sizeof here, "%.150s[%zu]", place, i);
    set_none(t->of, elements + i * t->size, NULL);
    read_value(r, t->of, json_array_get(json, i), here, elements + i * t->size, NULL);
  }
  *out = elements;
  *count = (int)length;
}

static void read_map(reader *r, const record_type *t, json_t *json, const char *place,
                     const void **out, int *count) {
  const char *name;
  json_t *value;
  int i = 0;
  assert(count != NULL);
  if (!json_is_object(json)) {
    fail_at(r, place, "an object");
    return;
  }
  store_pair *pairs = take(r, json_object_size(json) * sizeof *pairs);
  json_object_foreach(json, name, value) {
    char here[200];
    snprintf(here, sizeof here, "%.90s.%.90s", place, name);
    if (failed(r))
      return;
    pairs[i].name = take_text(r, name);
    read_text(r, t->of, value, here, &pairs[i++].text);
  }
  *out = pairs;
  *count = i;
}

static void read_value(reader *r, const record_type *t, const json_t *json, const char *place,
                       void *out, int *count) {
  switch (t->kind) {
  case RECORD_TEXT:
    read_text(r, t, json, place, out);
    break;
  case RECORD_NUMBER:
    if (!json_is_number(json) || !in_range(t, json))
      fail_at(r, place, t->what);
    else
      *(double *)out = json_number_value(json);
    break;
  case RECORD_WHOLE:
    if (!json_is_integer(json) || !in_range(t, json))
      fail_at(r, place, t->what);
    else
      *(int64_t *)out = json_integer_value(json);
    break;
  case RECORD_FLAG:
    read_flag(r, t, json, place, out);
    break;
  case RECORD_WORD:
    read_word(r, t, json, place, out);
    break;
  case RECORD_OBJECT:
    read_object(r, t, json, place, out);
    break;
  case RECORD_LIST:
    read_list(r, t, json, place, out, count);
    break;
  case RECORD_MAP:
    read_map(r, t, (json_t *)json, place, out, count);
    break;
  }
}

static void begin(const record *r, char *out) {
  memset(out, 0, r->size);
  set_none(r->whole.type, out + r->whole.offset, length_of(&r->whole, out));
}

mpt_status record_read(const record *r, const char *what, const char *text, void *out,
                       char why[RECORD_WHY]) {
  json_t *json = NULL;
  mpt_error error = {0};
  char *at = out;
  begin(r, out);
  if (text == NULL)
    return MPT_OK;
  const mpt_status status = mpt_json_parse(text, strlen(text), what, &json, &error);
  if (status == MPT_ERROR_MEMORY)
    return status;
  if (status != MPT_OK) {
    snprintf(why, RECORD_WHY, "%.200s", error.message);
    return MPT_ERROR_DAMAGED;
  }
  reader read = {.memory = out};
  read_value(&read, r->whole.type, json, "", at + r->whole.offset, length_of(&r->whole, at));
  json_decref(json);
  if (!failed(&read))
    return MPT_OK;
  record_clear(out, r->size);
  begin(r, out);
  if (read.no_memory)
    return MPT_ERROR_MEMORY;
  snprintf(why, RECORD_WHY, "in %.100s %s is not %s", what, read.place, read.wrong);
  return MPT_ERROR_DAMAGED;
}

void record_clear(void *out, size_t size) {
  mpt_arena_free(out);
  memset(out, 0, size);
}

/* ---- writing ---- */

static json_t *member_json(const record_member *m, const char *in);

static bool is_empty(const record_type *t, const char *in);

static bool is_none(const record_type *t, const void *in) {
  switch (t->kind) {
  case RECORD_TEXT:
  case RECORD_LIST:
  case RECORD_MAP:
    return *(const void *const *)in == NULL;
  case RECORD_NUMBER:
    return isnan(*(const double *)in);
  case RECORD_WHOLE:
    return *(const int64_t *)in < 0;
  case RECORD_WORD:
    return *(const int *)in < 0;
  case RECORD_FLAG:
    return t->flag_words[1] != NULL ? t->flag_words[*(const bool *)in] == NULL
                                    : *(const bool *)in == t->otherwise;
  case RECORD_OBJECT:
    return is_empty(t, in);
  }
  return false;
}

/* Nothing of it is known. */
static bool is_empty(const record_type *t, const char *in) {
  for (int i = 0; i < t->member_count; i++) {
    const record_member *m = &t->members[i];
    const void *at = in + m->offset;
    const bool flag = m->type->kind == RECORD_FLAG;
    if (flag ? *(const bool *)at != m->type->otherwise : !is_none(m->type, at))
      return false;
  }
  return true;
}

static json_t *object_json(const record_type *t, const char *in) {
  json_t *object = json_object();
  for (int i = 0; i < t->member_count; i++) {
    const record_member *m = &t->members[i];
    const bool none = is_none(m->type, in + m->offset);
    const bool null =
        none && m->type->kind != RECORD_OBJECT && m->type->kind != RECORD_FLAG; /* have a value */
    assert(!null || m->need != RECORD_REQUIRED);
    if (!none || m->need != RECORD_LEFT_OUT)
      mpt_json_set(&object, m->name, null ? json_null() : member_json(m, in));
  }
  return object;
}

static json_t *value_json(const record_type *t, const void *in) {
  switch (t->kind) {
  case RECORD_TEXT:
    return mpt_json_text(*(const char *const *)in);
  case RECORD_NUMBER:
    return mpt_json_real(*(const double *)in);
  case RECORD_WHOLE:
    return json_integer(*(const int64_t *)in);
  case RECORD_FLAG:
    return t->flag_words[1] == NULL ? json_boolean(*(const bool *)in)
                                    : mpt_json_text(t->flag_words[*(const bool *)in]);
  case RECORD_WORD:
    return mpt_json_text(t->word(*(const int *)in));
  case RECORD_OBJECT:
    return object_json(t, in);
  case RECORD_LIST:
  case RECORD_MAP:
    break; /* have a length: member_json */
  }
  return NULL;
}

static json_t *list_json(const record_type *t, const char *elements, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    mpt_json_append(&list, value_json(t->of, elements + (size_t)i * t->size));
  return list;
}

static json_t *map_json(const store_pair *pairs, int count) {
  json_t *map = json_object();
  for (int i = 0; i < count; i++)
    mpt_json_set(&map, pairs[i].name, mpt_json_text(pairs[i].text));
  return map;
}

static json_t *member_json(const record_member *m, const char *in) {
  const void *at = in + m->offset;
  const int *length = length_of(m, (char *)in);
  if (m->type->kind == RECORD_LIST)
    return list_json(m->type, *(const char *const *)at, *length);
  if (m->type->kind == RECORD_MAP)
    return map_json(*(const store_pair *const *)at, *length);
  return value_json(m->type, at);
}

json_t *record_json(const record *r, const void *in) {
  return member_json(&r->whole, in);
}

mpt_status record_print(const record *r, const void *in, char **text, mpt_error *error) {
  return mpt_json_dump(record_json(r, in), JSON_ENCODE_ANY | (r->spaced ? 0 : JSON_COMPACT),
                       r->name, text, error);
}
