/* A search whose trainings somebody's program runs: who it is, then the search with it. */
#include "tuner/tune_program.h"
#include "base/error.h"
#include "base/progress.h"
#include "tuner/evaluators/command.h"

static command_options options_of(const workload *w, const tuner_options *options) {
  command_options o = command_options_default();
  o.command = w->command;
  o.run = options->run;
  o.metric = w->metric_name;
  o.larger_is_better = w->metric_larger;
  o.reference = w->reference;
  o.steps = w->steps;
  o.limit = options->limit;
  return o;
}

static mpt_status check_program(const command_program *program, const workload *w,
                                mpt_error *error) {
  if ((program->formats >> w->reference & 1) != 0)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "the reference is %s, which is not among the formats that the program can apply "
                  "(hello's formats); choose another 'reference' in the workload",
                  mpt_precision_name(w->reference));
}

/* What the search will have to do without. */
static void note_program(const command_program *program) {
  if ((program->capabilities >> CAPABILITY_TIME & 1) == 0)
    mpt_log_note("%s has no capability 'time': step times are predicted", program->program);
  for (int i = 0; i < program->uncovered.count; i++)
    mpt_log_detail("%s can give no format to '%s'", program->program, program->uncovered.names[i]);
}

mpt_status tune_program(const workload *w, const tuner_options *options, tuner_summary *summary,
                        mpt_error *error) {
  const command_options o = options_of(w, options);
  command_program program = {0};
  evaluator *e = NULL;
  mpt_status status = MPT_OK;
  if (options->dry_run)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--dry-run does not run a program, and so knows none of its layers; a search "
                    "with --evaluations 1 shows what one takes");
  MPT_TRY(command_first_run(&o, options->interrupted, &program, error));
  MPT_TRY(check_program(&program, w, error));
  note_program(&program);
  MPT_TRY(command_open(&o, &program, &e, error));
  tuner_options with = *options;
  with.evaluator = e;
  with.program = &program;
  status = tuner_run(w, &with, summary, error);
fail:
  evaluator_close(e);
  command_program_clear(&program);
  return status;
}
