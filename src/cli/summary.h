/* How tune and eval show what they found. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "cli/cli.h"
#include "tuner/tuner.h"

/* A table on standard output; `metric` heads its column. */
void cli_print_summary(const tuner_summary *summary, const char *metric);
/* One object, "mptune/tune@1" or "mptune/eval@1". */
json_t *cli_summary_json(const tuner_summary *summary);

/* What the command exits with after a search that came to its end. */
int cli_summary_code(const tuner_summary *summary);

#endif
