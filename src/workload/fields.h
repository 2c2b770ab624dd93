/* A map of a YAML file read into a struct by a table: one line for each key. The table says the
 * type, the range and the place; so do the check for unknown keys and the canonical text. */
#ifndef FIELDS_H
#define FIELDS_H

#include "base/text.h"
#include "base/yaml.h"
#include "workload/word_list.h"

typedef enum field_type {
  FIELD_TEXT,    /* char[size], not empty */
  FIELD_WORDS,   /* word_list: a text or a list of texts, none empty; whoever owns it frees it */
  FIELD_INTEGER, /* int64_t in [low, high] */
  FIELD_INT,     /* int in [low, high] */
  FIELD_NUMBER,  /* double in [low, high] */
  FIELD_ABOVE,   /* double in (low, high] */
  FIELD_BELOW,   /* double in [low, high) */
  FIELD_BOOLEAN, /* bool */
  FIELD_NOT,     /* bool, stored inverted: `bias: false` sets no_bias */
  FIELD_WORD,    /* int or enum: the index among `words` */
  FIELD_OTHER    /* read by the caller */
} field_type;

typedef struct field {
  const char *key;
  field_type type;
  bool required;
  size_t offset, size;
  double low, high;
  const char *const *words; /* ends with NULL */
} field;

#define FIELD_MAX 48 /* keys of a map */

/* Reads the keys that are there and leaves the rest of `out` as it was. MPT_ERROR_SYNTAX at the
 * place of an unknown key, a wrong type, a value out of range, or at the map when a required key is
 * missing. `what` names the map: "the optimizer". */
mpt_status fields_read(const mpt_yaml_node *map, const char *what, const field *fields,
                       size_t count, void *out, mpt_error *error);

/* The same for some of the table's keys, those that one kind of thing takes: "!key" where it is
 * required; the list ends with NULL. A key of another kind is refused whatever its value. */
mpt_status fields_read_kind(const mpt_yaml_node *map, const char *what, const field *fields,
                            size_t count, const char *const *keys, void *out, mpt_error *error);

/* The index of the map's `kind` among `words`. */
mpt_status fields_kind(const mpt_yaml_node *map, const char *what, const char *const *words,
                       int *kind, mpt_error *error);

/* Which fields are there, bit i for fields[i]: given is given, though the value be 0, false or the
 * default. */
uint64_t fields_given(const mpt_yaml_node *map, const field *fields, size_t count);

/* Which fields differ between two structs; FIELD_OTHER never does. */
uint64_t fields_different(const field *fields, size_t count, const void *a, const void *b);

/* "key=value" of every field but FIELD_OTHER, one a line behind `prefix`. */
void fields_text(mpt_text *text, const char *prefix, const field *fields, size_t count,
                 const void *in);

/* The index of `word` among `words`; fails at `node` with the known ones and a hint. */
mpt_status fields_word(const mpt_yaml_node *node, const char *what, const char *const *words,
                       int *index, mpt_error *error);

#define FIELD_COUNT(table) (sizeof(table) / sizeof *(table))

#endif
