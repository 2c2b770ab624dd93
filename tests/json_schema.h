/* Whether a value is what a JSON Schema says (draft 2020-12): the keywords that
 * docs/contract.schema.json uses. One that is not known fails the test, so that none is taken for
 * fulfilled. */
#ifndef JSON_SCHEMA_H
#define JSON_SCHEMA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static bool schema_holds(const json_t *root, const json_t *schema, const json_t *value);

static inline const json_t *schema_reference(const json_t *root, const char *path) {
  static const char prefix[] = "#/$defs/";
  assert_memory_equal(path, prefix, strlen(prefix));
  const json_t *found = json_object_get(json_object_get(root, "$defs"), path + strlen(prefix));
  assert_non_null(found);
  return found;
}

static inline bool schema_is_type(const char *type, const json_t *value) {
  const double number = json_number_value(value);
  if (strcmp(type, "integer") == 0)
    return json_is_number(value) && number == floor(number);
  return (strcmp(type, "object") == 0 && json_is_object(value)) ||
         (strcmp(type, "array") == 0 && json_is_array(value)) ||
         (strcmp(type, "string") == 0 && json_is_string(value)) ||
         (strcmp(type, "number") == 0 && json_is_number(value)) ||
         (strcmp(type, "null") == 0 && json_is_null(value));
}

static inline bool schema_type(const json_t *types, const json_t *value) {
  if (json_is_string(types))
    return schema_is_type(json_string_value(types), value);
  for (size_t i = 0; i < json_array_size(types); i++)
    if (schema_is_type(json_string_value(json_array_get(types, i)), value))
      return true;
  return false;
}

static inline bool schema_any_of(const json_t *root, const json_t *list, const json_t *value) {
  for (size_t i = 0; i < json_array_size(list); i++)
    if (schema_holds(root, json_array_get(list, i), value))
      return true;
  return false;
}

static inline bool schema_enum(const json_t *words, const json_t *value) {
  for (size_t i = 0; i < json_array_size(words); i++)
    if (json_equal(json_array_get(words, i), value))
      return true;
  return false;
}

static inline bool schema_required(const json_t *names, const json_t *value) {
  for (size_t i = 0; json_is_object(value) && i < json_array_size(names); i++)
    if (json_object_get(value, json_string_value(json_array_get(names, i))) == NULL)
      return false;
  return true;
}

static inline bool schema_properties(const json_t *root, const json_t *schema,
                                     const json_t *value) {
  const json_t *properties = json_object_get(schema, "properties"),
               *others = json_object_get(schema, "additionalProperties");
  const char *name;
  json_t *member;
  json_object_foreach((json_t *)value, name, member) {
    const json_t *own = json_object_get(properties, name);
    if (own == NULL)
      own = others;
    if (own != NULL && !schema_holds(root, own, member))
      return false;
  }
  return true;
}

static inline bool schema_items(const json_t *root, const json_t *schema, const json_t *value) {
  for (size_t i = 0; i < json_array_size(value); i++)
    if (!schema_holds(root, schema, json_array_get(value, i)))
      return false;
  return true;
}

/* minItems, maximum, ...: of a value of another type they say nothing. */
static inline bool schema_limit(const char *keyword, double limit, const json_t *value) {
  const double length = json_is_string(value) ? (double)json_string_length(value) : -1,
               items = json_is_array(value) ? (double)json_array_size(value) : -1,
               number = json_number_value(value);
  if (strcmp(keyword, "minimum") == 0)
    return !json_is_number(value) || number >= limit;
  if (strcmp(keyword, "maximum") == 0)
    return !json_is_number(value) || number <= limit;
  if (strcmp(keyword, "minLength") == 0)
    return length < 0 || length >= limit;
  if (strcmp(keyword, "maxLength") == 0)
    return length <= limit;
  if (strcmp(keyword, "minItems") == 0)
    return items < 0 || items >= limit;
  if (strcmp(keyword, "maxItems") == 0)
    return items <= limit;
  fail_msg("the schema has '%s', which tests/json_schema.h does not know", keyword);
  return false;
}

static inline bool schema_keyword(const json_t *root, const json_t *schema, const char *keyword,
                                  const json_t *rule, const json_t *value) {
  static const char *const words[] = {"description", "title", "$schema", "$id", "$defs"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp(keyword, words[i]) == 0)
      return true;
  if (strcmp(keyword, "$ref") == 0)
    return schema_holds(root, schema_reference(root, json_string_value(rule)), value);
  if (strcmp(keyword, "type") == 0)
    return schema_type(rule, value);
  if (strcmp(keyword, "enum") == 0)
    return schema_enum(rule, value);
  if (strcmp(keyword, "const") == 0)
    return json_equal(rule, value);
  if (strcmp(keyword, "anyOf") == 0)
    return schema_any_of(root, rule, value);
  if (strcmp(keyword, "required") == 0)
    return schema_required(rule, value);
  if (strcmp(keyword, "properties") == 0 || strcmp(keyword, "additionalProperties") == 0)
    return schema_properties(root, schema, value);
  if (strcmp(keyword, "items") == 0)
    return schema_items(root, rule, value);
  return schema_limit(keyword, json_number_value(rule), value);
}

static bool schema_holds(const json_t *root, const json_t *schema, const json_t *value) {
  const char *keyword;
  json_t *rule;
  json_object_foreach((json_t *)schema, keyword, rule) {
    if (!schema_keyword(root, schema, keyword, rule, value))
      return false;
  }
  return true;
}

#endif
