/* A map of a YAML file read into a struct by a table: one line for each key. The table says the
 * type, the range and the place; so do the check for unknown keys and the canonical text. */
#ifndef MPT_BASE_FIELDS_H
#define MPT_BASE_FIELDS_H

#include "base/text.h"
#include "base/word_list.h"
#include "base/yaml.h"

typedef enum mpt_field_type {
  MPT_FIELD_TEXT,  /* char[size], not empty */
  MPT_FIELD_WORDS, /* mpt_word_list: a text or a list of texts, none empty; whoever owns it frees it
                    */
  MPT_FIELD_INTEGER, /* int64_t in [low, high] */
  MPT_FIELD_INT,     /* int in [low, high] */
  MPT_FIELD_NUMBER,  /* double in [low, high] */
  MPT_FIELD_ABOVE,   /* double in (low, high] */
  MPT_FIELD_BELOW,   /* double in [low, high) */
  MPT_FIELD_BOOLEAN, /* bool */
  MPT_FIELD_NOT,     /* bool, stored inverted: `bias: false` sets no_bias */
  MPT_FIELD_WORD,    /* int or enum: the index among `words` */
  MPT_FIELD_OTHER    /* read by the caller */
} mpt_field_type;

typedef struct mpt_field {
  const char *key;
  mpt_field_type type;
  bool required;
  size_t offset, size;
  double low, high;
  const char *const *words; /* ends with NULL */
} mpt_field;

#define MPT_FIELD_MAX 48 /* keys of a map */

/* Reads the keys that are there and leaves the rest of `out` as it was. MPT_ERROR_SYNTAX at the
 * place of an unknown key, a wrong type, a value out of range, or at the map when a required key is
 * missing. `what` names the map: "the optimizer". */
mpt_status mpt_fields_read(const mpt_yaml_node *map, const char *what, const mpt_field *fields,
                           size_t count, void *out, mpt_error *error);

/* The same for some of the table's keys, those that one kind of thing takes: "!key" where it is
 * required; the list ends with NULL. A key of another kind is refused whatever its value. */
mpt_status mpt_fields_read_kind(const mpt_yaml_node *map, const char *what, const mpt_field *fields,
                                size_t count, const char *const *keys, void *out, mpt_error *error);

/* The index of the map's `kind` among `words`. */
mpt_status mpt_fields_kind(const mpt_yaml_node *map, const char *what, const char *const *words,
                           int *kind, mpt_error *error);

/* Which fields are there, bit i for fields[i]: given is given, though the value be 0, false or the
 * default. */
uint64_t mpt_fields_given(const mpt_yaml_node *map, const mpt_field *fields, size_t count);

/* Which fields differ between two structs; MPT_FIELD_OTHER never does. */
uint64_t mpt_fields_different(const mpt_field *fields, size_t count, const void *a, const void *b);

/* "key=value" of every field but MPT_FIELD_OTHER, one a line behind `prefix`. */
void mpt_fields_text(mpt_text *text, const char *prefix, const mpt_field *fields, size_t count,
                     const void *in);

/* The index of `word` among `words`; fails at `node` with the known ones and a hint. */
mpt_status mpt_fields_word(const mpt_yaml_node *node, const char *what, const char *const *words,
                           int *index, mpt_error *error);

#define MPT_FIELD_COUNT(table) (sizeof(table) / sizeof *(table))

#endif
