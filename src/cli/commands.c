/* The table of commands, in the order of the help. */
#include "cli/commands.h"

const cli_command *const cli_commands[] = {
    &command_tune,          &command_observe,      &command_eval,        &command_train,
    &command_policy_show,   &command_policy_check, &command_policy_diff, &command_policy_resolve,
    &command_policy_export, &command_frontier,     &command_bench,       &command_report,
    &command_doctor,        &command_formats,
};
const int cli_command_count = sizeof cli_commands / sizeof cli_commands[0];
