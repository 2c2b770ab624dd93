/* Whether an object has the members that docs/json.md gives its schema, of their types, and no
 * others. The document is read as people read it: a heading with the object's name, below it a
 * table of members and types. A type is text, number, integer, flag, a link to another heading,
 * "list of" or "map of" a type; "or null" (of the elements, where there are many) and "or absent"
 * may stand behind it. */
#ifndef JSON_DOCUMENT_H
#define JSON_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct document_row {
  char object[64], member[64], type[128];
} document_row;

typedef struct json_document {
  document_row rows[512];
  int count, faults;
} json_document;

static inline bool document_read(const char *path, json_document *d) {
  char line[1024], object[64] = "";
  FILE *file = fopen(path, "r");
  *d = (json_document){0};
  while (file != NULL && fgets(line, sizeof line, file) != NULL && d->count < 512) {
    document_row *row = &d->rows[d->count];
    if (sscanf(line, "## %63[^\n]", object) == 1)
      continue;
    if (sscanf(line, "| `%63[^`]` | %127[^|]", row->member, row->type) != 2)
      continue;
    memcpy(row->object, object, sizeof object);
    row->type[strcspn(row->type, "\n")] = '\0';
    while (row->type[0] != '\0' && row->type[strlen(row->type) - 1] == ' ')
      row->type[strlen(row->type) - 1] = '\0';
    d->count++;
  }
  if (file != NULL)
    fclose(file);
  return file != NULL;
}

static inline void document_fault(json_document *d, const char *place, const char *what,
                                  const char *more) {
  printf("%s: %s%s\n", place, what, more);
  d->faults++;
}

/* Takes the ending off `type`. */
static inline bool document_ends(char *type, const char *ending) {
  const size_t length = strlen(type), end = strlen(ending);
  if (length < end || strcmp(type + length - end, ending) != 0)
    return false;
  type[length - end] = '\0';
  return true;
}

static inline void document_check_object(json_document *d, const char *object, const json_t *json,
                                         const char *place);

static inline void document_check(json_document *d, const char *as, const json_t *json,
                                  const char *place) {
  char type[128], object[64], below[600];
  snprintf(type, sizeof type, "%s", as);
  const bool many = strncmp(type, "list of ", 8) == 0 || strncmp(type, "map of ", 7) == 0;
  const bool nullable = !many && document_ends(type, " or null");
  size_t i;
  const char *key;
  json_t *value;
  if (nullable && json_is_null(json))
    return;
  if (strncmp(type, "list of ", 8) == 0 && json_is_array(json)) {
    json_array_foreach(json, i, value) {
      snprintf(below, sizeof below, "%s[%zu]", place, i);
      document_check(d, type + 8, value, below);
    }
  } else if (strncmp(type, "map of ", 7) == 0 && json_is_object(json)) {
    json_object_foreach((json_t *)json, key, value) {
      snprintf(below, sizeof below, "%s.%s", place, key);
      document_check(d, type + 7, value, below);
    }
  } else if (sscanf(type, "[%63[^]]](#", object) == 1) {
    document_check_object(d, object, json, place);
  } else if (!((strcmp(type, "text") == 0 && json_is_string(json)) ||
               (strcmp(type, "flag") == 0 && json_is_boolean(json)) ||
               (strcmp(type, "integer") == 0 && json_is_integer(json)) ||
               (strcmp(type, "text or number") == 0 &&
                (json_is_string(json) || json_is_number(json))) ||
               (strcmp(type, "number") == 0 && json_is_number(json)))) {
    document_fault(d, place, "is not of the type ", as);
  }
}

static inline void document_check_object(json_document *d, const char *object, const json_t *json,
                                         const char *place) {
  bool known = false;
  char below[600], type[128];
  const char *key;
  json_t *value;
  if (!json_is_object(json)) {
    document_fault(d, place, "is not the object ", object);
    return;
  }
  for (int i = 0; i < d->count; i++) {
    if (strcmp(d->rows[i].object, object) != 0)
      continue;
    known = true;
    snprintf(below, sizeof below, "%s.%s", place, d->rows[i].member);
    snprintf(type, sizeof type, "%s", d->rows[i].type);
    const bool optional = document_ends(type, " or absent");
    value = json_object_get(json, d->rows[i].member);
    if (value != NULL)
      document_check(d, type, value, below);
    else if (!optional)
      document_fault(d, below, "is absent", "");
  }
  if (!known) {
    document_fault(d, place, "there is no table for ", object);
    return;
  }
  json_object_foreach((json_t *)json, key, value) {
    bool named = false;
    for (int i = 0; i < d->count; i++)
      named =
          named || (strcmp(d->rows[i].object, object) == 0 && strcmp(d->rows[i].member, key) == 0);
    if (!named)
      document_fault(d, place, "the document does not name ", key);
  }
}

/* Prints what does not agree, or the object's schema. */
static inline int document_compare(const char *path, const json_t *root) {
  json_document d;
  const char *schema = json_string_value(json_object_get(root, "schema"));
  if (!document_read(path, &d))
    document_fault(&d, path, "cannot be read", "");
  else if (schema == NULL)
    document_fault(&d, "the object", "has no schema", "");
  else
    document_check_object(&d, schema, root, schema);
  if (d.faults == 0)
    puts(schema);
  return d.faults > 0;
}

#endif
