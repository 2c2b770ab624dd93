/* Events as they come: reads the complete lines of a file that a program appends to. Memory is that
 * of the longest line, at most EVENT_LINE_LIMIT. */
#ifndef EVENT_READER_H
#define EVENT_READER_H

#include "contract/event.h"

typedef struct event_reader event_reader;

/* The file is there, and is read from its beginning. The caller closes *out. */
mpt_status event_reader_open(const char *path, event_reader **out, mpt_error *error);
void event_reader_close(event_reader *r); /* NULL is allowed */

/* The next event that this version knows; *found is false when no further line is complete yet. The
 * caller clears *out where it is true. After an error, which names file and line, nothing more is
 * read. */
mpt_status event_reader_next(event_reader *r, bool *found, event *out, mpt_error *error);

int64_t event_reader_lines(const event_reader *r); /* complete ones so far */

#endif
