/* How tune and eval show what they found. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include "cli/cli.h"
#include "tuner/tuner.h"

/* A table on standard output. `reference_metric` makes differences relative; `metric` heads its
 * column. */
void cli_print_summary(const tuner_summary *summary, double reference_metric, const char *metric);
double cli_reference_metric(const tuner_summary *summary); /* NaN when there is none */
json_t *cli_summary_json(const tuner_summary *summary);

#endif
