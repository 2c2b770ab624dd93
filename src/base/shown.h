/* Text that people, terminals, JSON and shells are given.
 *
 * Paths, command lines and names are kept as the bytes that they are; only what is shown changes:
 * bytes that are not UTF-8 become U+FFFD, and characters that would move the cursor, end a line or
 * turn the direction of the text are written as escapes (\n, \x1b, \u202e).
 */
#ifndef MPT_BASE_SHOWN_H
#define MPT_BASE_SHOWN_H

#include "base/text.h"
#include <stdio.h>

/* The next character of *text as it is shown, and *text moved behind it; "" at the end. */
typedef struct mpt_shown {
  char bytes[12]; /* NUL-terminated UTF-8 */
} mpt_shown;
mpt_shown mpt_shown_next(const char **text);
/* How many columns a terminal gives it: one for a character, whatever its width, more for an
 * escape. */
int mpt_shown_width(const mpt_shown *shown);

void mpt_text_add_shown(mpt_text *text, const char *string);
/* Without allocating: for messages, also those about memory. */
void mpt_print_shown(FILE *to, const char *string);
int mpt_shown_columns(const char *string);

/* Valid UTF-8, control characters kept: what JSON strings take. */
void mpt_text_add_utf8(mpt_text *text, const char *string);

/* A word of a command that can be copied into a shell: quoted where a shell would read it
 * otherwise, and printable, whatever bytes it has: 'a b', $'l\344tin'. */
void mpt_text_add_shell(mpt_text *text, const char *word);

/* The length of the longest beginning of `string` of at most `most` bytes that ends between
 * characters. */
size_t mpt_utf8_cut(const char *string, size_t most);
/* Takes off the half character that a text ends with which was cut elsewhere. */
void mpt_utf8_trim(char *text);
/* A copy that is cut between characters where it does not fit. */
void mpt_copy_text(char *to, size_t size, const char *string);

#endif
