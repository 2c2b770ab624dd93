/* Readers of a profile's tables, private to this room. */
#ifndef PROFILE_TABLES_H
#define PROFILE_TABLES_H

#include "base/fields.h"
#include "profile/profile.h"

/* `null`, `~` or nothing: not measured. */
bool profile_is_null(const mpt_yaml_node *node);

/* A list of rows [pass, bits, bytes, microseconds]. */
mpt_status profile_read_passes(const mpt_yaml_node *list, profile *p, mpt_error *error);
/* A list of rows [format, channels, tokens, forward, backward], in microseconds. */
mpt_status profile_read_attention(const mpt_yaml_node *list, profile *p, mpt_error *error);
/* {fprop: [...], dgrad: [...], wgrad: [...]}, of the table's columns. */
mpt_status profile_read_factors(const mpt_yaml_node *map, const int *columns, size_t count,
                                profile *p, mpt_error *error);

#endif
