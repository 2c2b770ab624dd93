/* Messages of the command on standard error: progress lines, warnings, colour. */
#ifndef MPT_BASE_PROGRESS_H
#define MPT_BASE_PROGRESS_H

#include "mptune/status.h"
#include <stdbool.h>

typedef enum mpt_color { MPT_COLOR_AUTO, MPT_COLOR_ALWAYS, MPT_COLOR_NEVER } mpt_color;

/* Process-wide, set once by the command: 0 quiet (errors only), 1 normal, 2 verbose. */
void mpt_log_configure(int level, mpt_color color);

void mpt_log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));    /* normal */
void mpt_log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* verbose */
void mpt_log_warning(const char *format, ...) __attribute__((format(printf, 1, 2))); /* always */
/* "error: file:line:column: message" */
void mpt_log_error(const mpt_error *error);

/* The one live line of a terminal, redrawn at most ten times a second; without a terminal a plain
 * line at most every ten seconds and at every change of stage. */
void mpt_progress_update(const char *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether an update would draw now: what it says need not be made otherwise. */
bool mpt_progress_due(const char *stage);
void mpt_progress_end(void);

/* Whether standard output takes colour, by flag, NO_COLOR and terminal. */

#endif
