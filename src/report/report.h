/* Reports, made from a run store alone. */
#ifndef REPORT_H
#define REPORT_H

#include "mptune/mptune.h"

typedef enum report_kind { REPORT_HTML, REPORT_MARKDOWN, REPORT_JSON } report_kind;

/* The whole report as text; the caller frees it with free(). */
mpt_status report_text(const char *run, report_kind kind, char **text, mpt_error *error);
/* Writes RUN/report.html (.md, .json); atomic. */
mpt_status report_write(const char *run, report_kind kind, mpt_error *error);

#endif
