/* Strict YAML: a tree of maps, lists and scalars with the place of each node.
 *
 * Refused, with file, line and column: anchors, aliases, tags, several documents, duplicate keys,
 * non-scalar keys, text that is not UTF-8, more than the size and depth given.
 */
#ifndef MPT_BASE_YAML_H
#define MPT_BASE_YAML_H

#include "mptune/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mpt_yaml_kind { MPT_YAML_SCALAR, MPT_YAML_LIST, MPT_YAML_MAP } mpt_yaml_kind;

typedef struct mpt_yaml_node {
  mpt_yaml_kind kind;
  const char *file;                   /* the document's name, for messages */
  int line, column;                   /* from 1 */
  const char *scalar;                 /* NUL-terminated; "" for null */
  bool quoted;                        /* a quoted scalar is always a string */
  size_t count;                       /* items of a list, entries of a map */
  const struct mpt_yaml_node **keys;  /* maps: keys[i] is a scalar */
  const struct mpt_yaml_node **items; /* lists and maps */
} mpt_yaml_node;

typedef struct mpt_yaml mpt_yaml; /* owns every node */

mpt_status mpt_yaml_load(const char *path, size_t size_limit, int depth_limit, mpt_yaml **yaml,
                         mpt_error *error);
mpt_status mpt_yaml_parse(const char *text, size_t length, const char *name, int depth_limit,
                          mpt_yaml **yaml, mpt_error *error);
void mpt_yaml_free(mpt_yaml *yaml); /* NULL is allowed */
const mpt_yaml_node *mpt_yaml_root(const mpt_yaml *yaml);

/* The value of a key of a map, NULL when absent or not a map. */
const mpt_yaml_node *mpt_yaml_get(const mpt_yaml_node *map, const char *key);

/* Fails at the first key of `map` that is not among `known`, with a hint for a near miss; keys
 * that begin with "x-" pass. Fails when `map` is not a map. `what` is "a rule". */
mpt_status mpt_yaml_check_keys(const mpt_yaml_node *map, const char *what, const char *const *known,
                               size_t known_count, mpt_error *error);

/* Typed reading. MPT_ERROR_SYNTAX at the node's place when it is of another kind or out of range;
 * numbers must be finite. `what` names the value in the message: "batch". */
mpt_status mpt_yaml_string(const mpt_yaml_node *node, const char *what, const char **value,
                           mpt_error *error);
mpt_status mpt_yaml_integer(const mpt_yaml_node *node, const char *what, int64_t low, int64_t high,
                            int64_t *value, mpt_error *error);
mpt_status mpt_yaml_number(const mpt_yaml_node *node, const char *what, double low, double high,
                           double *value, mpt_error *error);
mpt_status mpt_yaml_boolean(const mpt_yaml_node *node, const char *what, bool *value,
                            mpt_error *error);
mpt_status mpt_yaml_expect(const mpt_yaml_node *node, mpt_yaml_kind kind, const char *what,
                           mpt_error *error);

/* mpt_fail_at the node's place. */
mpt_status mpt_yaml_fail(const mpt_yaml_node *node, mpt_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
