/* The search's notes and the JSON in rows, read back: each kind by one reader, which checks types
 * and ranges before anyone uses what is in it. Whoever reads a run uses these. */
#ifndef NOTES_H
#define NOTES_H

#include "store/store.h"
#include <jansson.h>

/* The note of that name ("definition", "scores KEY", ...), which the caller gives back with
 * json_decref; NULL when there is none. MPT_ERROR_DAMAGED says what is wrong with it, and where.
 * Members that are not there, or null, are for the caller to do without. */
mpt_status store_read_note(store *s, const char *name, json_t **note, mpt_error *error);

/* What saturated and vanished in an evaluation; NULL when it has none. */
mpt_status store_read_counters(store *s, const store_evaluation *evaluation, json_t **counters,
                               mpt_error *error);
/* The runs, or the parts, that a step time is made of; NULL when it has none. */
mpt_status store_read_parts(store *s, const store_time *time, json_t **parts, mpt_error *error);

#endif
