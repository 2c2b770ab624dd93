#include "store/shape.h"
#include <stdio.h>

static void wrong(shape_fault *f, const char *place, const char *what) {
  snprintf(f->place, sizeof f->place, "%s", place[0] == '\0' ? "the whole" : place);
  f->what = what;
}

static void check(const shape *s, const json_t *json, const char *place, shape_fault *f);

static void check_number(const shape *s, const json_t *json, const char *place, shape_fault *f) {
  const double value = json_number_value(json);
  if (!(s->whole ? json_is_integer(json) : json_is_number(json)) || !(value >= s->low) ||
      !(value <= s->high))
    wrong(f, place, s->what);
}

static void check_list(const shape *s, const json_t *json, const char *place, shape_fault *f) {
  size_t i;
  json_t *element;
  if (!json_is_array(json))
    wrong(f, place, "a list");
  json_array_foreach(json, i, element) {
    char here[200];
    snprintf(here, sizeof here, "%.150s[%zu]", place, i);
    check(s->of, element, here, f);
    if (f->what != NULL)
      return;
  }
}

static void check_map(const shape *s, json_t *json, const char *place, shape_fault *f) {
  const char *key;
  json_t *value;
  if (!json_is_object(json))
    wrong(f, place, "an object");
  json_object_foreach(json, key, value) {
    char here[200];
    snprintf(here, sizeof here, "%.90s.%.90s", place, key);
    check(s->of, value, here, f);
    if (f->what != NULL)
      return;
  }
}

static void check_object(const shape *s, const json_t *json, const char *place, shape_fault *f) {
  if (!json_is_object(json))
    wrong(f, place, "an object");
  for (size_t i = 0; i < s->member_count && f->what == NULL; i++) {
    const shape_member *m = &s->members[i];
    const json_t *value = json_object_get(json, m->name);
    char here[200];
    snprintf(here, sizeof here, "%.150s%s%s", place, place[0] == '\0' ? "" : ".", m->name);
    if (value == NULL || json_is_null(value)) {
      if (m->required)
        wrong(f, here, m->is->what != NULL ? m->is->what : "there");
    } else {
      check(m->is, value, here, f);
    }
  }
}

static void check(const shape *s, const json_t *json, const char *place, shape_fault *f) {
  switch (s->kind) {
  case TEXT:
    if (!json_is_string(json))
      wrong(f, place, s->what);
    break;
  case WORD:
    if (!json_is_string(json) || !s->known(json_string_value(json)))
      wrong(f, place, s->what);
    break;
  case NUMBER:
    check_number(s, json, place, f);
    break;
  case FLAG:
    if (!json_is_boolean(json))
      wrong(f, place, s->what);
    break;
  case LIST:
    check_list(s, json, place, f);
    break;
  case MAP:
    check_map(s, (json_t *)json, place, f);
    break;
  case OBJECT:
    check_object(s, json, place, f);
    break;
  case ANYTHING:
    break;
  }
}

bool shape_fits(const shape *s, const json_t *json, shape_fault *fault) {
  *fault = (shape_fault){0};
  check(s, json, "", fault);
  return fault->what == NULL;
}
