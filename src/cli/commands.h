/* Every command's descriptor; each is defined in command_NAME.c. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

extern const cli_command command_tune, command_observe, command_eval, command_train;
extern const cli_command command_policy_show, command_policy_check, command_policy_diff,
    command_policy_resolve;
extern const cli_command command_frontier, command_bench, command_report, command_doctor,
    command_formats;

#endif
