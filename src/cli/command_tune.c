#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/summary.h"
#include "report/report.h"
#include <math.h>

static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, CLI_OFFSET(run), "RUN",
     "directory of the run (runs/NAME); the same command continues it", 0, 0},
    {"fresh", 0, CLI_FLAG, CLI_OFFSET(fresh), NULL, "start anew, in a directory beside it", 0, 0},
    CLI_BACKEND_OPTIONS,
    CLI_TARGET_OPTION,
    {"seed", 0, CLI_INTEGER, CLI_OFFSET(seed), "N", "seed of the search (1)", 0, 1000000000},
    {"evaluations", 0, CLI_INTEGER, CLI_OFFSET(evaluations), "N",
     "candidate trainings before verification, at most (26)", 1, 100000},
    {"pairs", 0, CLI_INTEGER, CLI_OFFSET(pairs), "N",
     "pairs of trainings for a verdict, at most: 4, 6, 9, 13, 18 or 24 (13)", 1, 1000},
    {"max-time", 0, CLI_NUMBER, CLI_OFFSET(max_time), "SECONDS",
     "propose nothing new after this long", 0, 0},
    {"steps", 0, CLI_INTEGER, CLI_OFFSET(steps), "N",
     "train this long instead of the workload's steps", 1, 1000000000},
    {"alpha", 0, CLI_NUMBER, CLI_OFFSET(alpha), "A",
     "chance of passing a policy that misses the budget (0.05)", 0, 0},
    {"baselines", 0, CLI_FLAG, CLI_OFFSET(baselines), NULL,
     "torchao's rule is evaluated too (on a GPU always)", 0, 0},
    {"command", 0, CLI_TEXT, CLI_OFFSET(program), "COMMAND",
     "program that trains: docs/contract.md; WORKLOAD may then be left out", 0, 0},
    {"metric", 0, CLI_TEXT, CLI_OFFSET(metric), "NAME",
     "the program's metric that counts; NAME:max where larger is better", 0, 0},
    {"budget", 0, CLI_TEXT, CLI_OFFSET(budget), "B",
     "how much worse it may be, with --command: 0.5%, or 0.005 in its units", 0, 0},
    {"limit", 0, CLI_NUMBER, CLI_OFFSET(limit), "SECONDS",
     "end a run of the program after this long (ten times the reference's)", 0, 0},
    {"dry-run", 'n', CLI_FLAG, CLI_OFFSET(dry_run), NULL,
     "say what would be evaluated and about how long it takes", 0, 0},
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept this GPU's profile though made with other versions", 0, 0},
};

static json_t *plan_json(const tuner_summary *summary) {
  const tuner_plan *p = &summary->plan;
  return mpt_json_pack("{s:i,s:i,s:I,s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:s}", "layers", p->layers,
                       "layers_to_choose", p->units, "steps", (json_int_t)p->steps,
                       "reference_trainings", p->references, "candidate_trainings_at_most",
                       p->candidates, "pairs_at_least", p->least_pairs, "pairs_at_most",
                       p->most_pairs, "training_seconds", p->training_seconds, "seconds_at_least",
                       p->least_seconds, "seconds_at_most", p->most_seconds, "message",
                       summary->message == NULL ? "" : summary->message);
}

static int finish(const cli_values *values, const workload *w, const tuner_summary *summary) {
  if (values->json) {
    cli_print_json("mptune/tune@1", cli_summary_json(summary));
  } else {
    char cost[32], payback[32];
    cli_print_summary(summary, w->metric_name);
    cli_duration(summary->tuning_seconds, cost, sizeof cost);
    putchar('\n');
    cli_print_shown(summary->message == NULL ? "" : summary->message, 0);
    printf("\ntuning took %s", cost);
    if (isfinite(summary->payback_seconds)) {
      cli_duration(summary->payback_seconds, payback, sizeof payback);
      printf(" and pays back after %s of training on the target, beside %s", payback,
             summary->otherwise);
    }
    if (summary->policy_path[0] != '\0') {
      printf("\npolicy: ");
      cli_print_shown(summary->policy_path, 0);
    }
    printf("\nreport: ");
    cli_print_shown(summary->report_path, 0);
    putchar('\n');
  }
  return cli_summary_code(summary);
}

/* What would be found out only after hours of training. */
static mpt_status check_values(const cli_values *values, mpt_error *error) {
  bool look = values->pairs == 0;
  for (int i = 0; i < VERIFY_LOOKS; i++)
    look = look || values->pairs == verify_look_sizes[i];
  if (!look)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--pairs %lld: a verdict is looked for after 4, 6, 9, 13, 18 and 24 pairs; "
                    "give one of these",
                    (long long)values->pairs);
  if (values->alpha != 0 && !(values->alpha >= 1e-4 && values->alpha <= 0.5))
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--alpha %g: the chance of passing a policy that misses the budget is between "
                    "0.0001 and 0.5",
                    values->alpha);
  return MPT_OK;
}

static mpt_status load_program(const cli_values *values, const char *name, workload **w,
                               mpt_error *error) {
  const workload_given given = {.command = values->program,
                                .metric = values->metric,
                                .budget = values->budget,
                                .steps = values->steps};
  const char *foreign = values->device > 0 ? "device" : NULL;
  if (values->backend != NULL)
    foreign = "backend";
  if (foreign != NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--%s is of the built-in trainer; where a program runs is its own to say "
                    "(CUDA_VISIBLE_DEVICES chooses a GPU)",
                    foreign);
  return workload_load_program(name, &given, w, error);
}

/* Of the file, of a program's that the command line names, or of both. */
static mpt_status load_workload(const cli_values *values, workload **w, mpt_error *error) {
  const char *name = values->argument_count > 0 ? values->arguments[0] : NULL;
  if (values->program != NULL || (name != NULL && workload_is_program(name)))
    return load_program(values, name, w, error);
  if (name == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "missing argument: WORKLOAD, or --command (see mptune tune --help)");
  if (values->metric != NULL || values->budget != NULL || values->limit > 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "--%s goes with a program (--command); '%s' has a model, and says it itself",
                    values->metric != NULL   ? "metric"
                    : values->budget != NULL ? "budget"
                                             : "limit",
                    name);
  return workload_load(name, w, error);
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  workload *w = NULL;
  char directory[CLI_PATH];
  if (check_values(values, &error) != MPT_OK || load_workload(values, &w, &error) != MPT_OK)
    return cli_failed(&error);
  if (cli_run_directory(values, w->name, directory, &error) != MPT_OK) {
    workload_free(w);
    return cli_failed(&error);
  }
  tuner_options o = tuner_options_default();
  o.run = directory;
  o.target = values->target;
  o.backend = values->backend;
  o.force = values->force;
  o.device_index = (int)values->device;
  o.command = values->typed;
  o.seed = (uint64_t)values->seed;
  o.evaluation_steps =
      w->command[0] != '\0' ? 0 : values->steps; /* a program's are the workload's */
  o.limit = values->limit;
  o.max_seconds = values->max_time;
  o.interrupted = &cli_interrupted;
  o.dry_run = values->dry_run;
  o.baselines = values->baselines;
  if (values->evaluations > 0)
    o.max_evaluations = (int)values->evaluations;
  if (values->alpha > 0)
    o.alpha = values->alpha;
  if (values->pairs > 0)
    o.pairs = (int)values->pairs;
  tuner_summary summary = {0};
  int code;
  cli_catch_signals();
  if (tuner_run(w, &o, &summary, &error) != MPT_OK)
    code = cli_failed(&error);
  else if (values->dry_run) {
    if (values->json)
      cli_print_json("mptune/tune-dry-run@1", plan_json(&summary));
    else
      printf("%s\n", summary.message);
    code = EXIT_DONE;
  } else if (report_write(directory, REPORT_HTML, &error) != MPT_OK)
    code = cli_failed(&error);
  else
    code = finish(values, w, &summary);
  tuner_summary_clear(&summary);
  workload_free(w);
  return code;
}

const cli_command command_tune = {
    .name = "tune",
    .arguments = "[WORKLOAD]",
    .argument_low = 0,
    .argument_high = 1,
    .summary = "search; writes RUN/policy.yaml and RUN/report.html",
    .examples = "  mptune tune profiles/workloads/text-gpt.yaml\n"
                "  mptune tune net.yaml -o runs/net --target nvidia-h200\n"
                "  mptune tune gpt2-124m.yaml --backend cuda\n"
                "  mptune tune --command 'python train.py' --metric val_loss --budget 0.5% --steps "
                "2000\n",
    .text =
        "WORKLOAD is a file, or the name of one that comes with mptune.\n"
        "The search is saved as it goes: killed or interrupted, the same command continues it.\n"
        "policy.yaml holds the best policy so far from the moment there is one.\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
