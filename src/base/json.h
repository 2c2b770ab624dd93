/* Making and reading JSON through Jansson, so that nothing vanishes on the way.
 *
 * Jansson refuses a whole object for one string that is not UTF-8 or one number that is not finite,
 * and an array takes no notice of an element that could not be made. Here strings are made valid
 * (base/shown.h), numbers that are not finite are null, and whatever fails for lack of memory makes
 * all that it would have been part of NULL, which mpt_json_dump reports.
 */
#ifndef MPT_BASE_JSON_H
#define MPT_BASE_JSON_H

#include "mptune/status.h"
#include <jansson.h>

/* As json_pack, of { } [ ] s o O i I f b n, and s* and o*, which leave a NULL out. s: NULL is null;
 * f: null where it is not finite. The references of `o` are taken, also on failure. NULL when there
 * is no memory. */
json_t *mpt_json_pack(const char *format, ...);
json_t *mpt_json_text(const char *text); /* NULL is null */
json_t *mpt_json_real(double value);     /* null where it is not finite */

/* Takes `value`. When it is NULL or there is no memory, *array (*object) becomes NULL and stays it.
 */
void mpt_json_append(json_t **array, json_t *value);
void mpt_json_set(json_t **object, const char *name, json_t *value);

/* As json_copy, which leaves out what it has no memory for: NULL then. */
json_t *mpt_json_copy(json_t *object);

/* Jansson 2.14 drops characters when a buffer cannot grow, and goes on, reading and writing. From
 * this call on, which the command makes first, its allocations are watched, and mpt_json_parse and
 * mpt_json_dump fail where one did. It is for a program of one's own: a host's Jansson is left as
 * it is. */
void mpt_json_watch_memory(void);

/* The text of `json`, which is taken; the caller frees *text with free(). MPT_ERROR_MEMORY names
 * `what` when `json` is NULL. Numbers have 17 digits unless `flags` says otherwise. */
mpt_status mpt_json_dump(json_t *json, size_t flags, const char *what, char **text,
                         mpt_error *error);

/* MPT_ERROR_SYNTAX when `text` is no JSON (duplicate keys included), MPT_ERROR_MEMORY when there
 * was no memory to read it. `what` names it in messages. */
mpt_status mpt_json_parse(const char *text, size_t length, const char *what, json_t **json,
                          mpt_error *error);

#endif
