/* Every command's descriptor; each is defined in command_NAME.c. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

extern const cli_command command_tune, command_observe, command_eval, command_train;
extern const cli_command command_policy_show, command_policy_check, command_policy_diff,
    command_policy_resolve, command_policy_export;
extern const cli_command command_frontier, command_bench, command_report, command_doctor,
    command_formats;

/* What bench says of the profile that it wrote: for tests, where there is no GPU. */
#define CLI_BENCH_SCHEMA "mptune/bench@1"
struct profile;
struct profile_provenance;
json_t *cli_bench_json(const struct profile *p, const struct profile_provenance *provenance,
                       const char *path);

#endif
