#include "cli/commands.h"
#include "cli/summary.h"

static const cli_option options[] = {
    {"policy", 'p', CLI_POLICY, 0, "FILE", "policy to evaluate, or all-FORMAT; may be given again",
     0, 0},
    {"output", 'o', CLI_TEXT, CLI_OFFSET(run), "RUN", "directory of the run (runs/NAME)", 0, 0},
    CLI_BACKEND_OPTIONS,
    CLI_TARGET_OPTION,
    {"seeds", 0, CLI_INTEGER, CLI_OFFSET(seeds), "N", "seeds, paired with the reference (3)", 1,
     WORKLOAD_MAX_SEEDS},
    {"seed", 0, CLI_INTEGER, CLI_OFFSET(seed), "N", "the first of them (1)", 0, 1000000000},
    {"steps", 0, CLI_INTEGER, CLI_OFFSET(steps), "N",
     "train this long instead of the workload's steps", 1, 1000000000},
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept this GPU's profile though made with other versions", 0, 0},
};

static int evaluate(const cli_values *values, const workload *w, const tuner_policy *policies) {
  static const char *const metrics[] = {"loss", "accuracy", "f1"};
  mpt_error error = {0};
  tuner_summary summary = {0};
  char directory[CLI_PATH];
  if (cli_run_directory(values, w->name, directory, &error) != MPT_OK)
    return cli_failed(&error);
  tuner_options o = tuner_options_default();
  o.run = directory;
  o.target = values->target;
  o.backend = values->backend;
  o.force = values->force;
  o.device_index = (int)values->device;
  o.command = values->typed;
  o.seed = (uint64_t)values->seed;
  o.evaluation_steps = values->steps;
  o.interrupted = &cli_interrupted;
  cli_catch_signals();
  const int seeds = values->seeds > 0 ? (int)values->seeds : 3;
  if (tuner_evaluate(w, &o, policies, values->policy_count, seeds, &summary, &error) != MPT_OK)
    return cli_failed(&error);
  if (values->json)
    cli_print_json("mptune/eval@1", cli_summary_json(&summary));
  else
    cli_print_summary(&summary, metrics[w->metric]);
  tuner_summary_clear(&summary);
  return EXIT_DONE;
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  workload *w = NULL;
  mpt_policy *loaded[CLI_MAX_WORDS] = {0};
  tuner_policy policies[CLI_MAX_WORDS];
  int code = EXIT_DONE;
  if (values->policy_count == 0)
    return cli_mistake("no policy to evaluate; give --policy FILE");
  if (workload_load(values->arguments[0], &w, &error) != MPT_OK)
    return cli_failed(&error);
  for (int i = 0; i < values->policy_count && code == EXIT_DONE; i++) {
    bool uniform;
    if (cli_load_policy(values->policies[i], &loaded[i], &uniform, &error) != MPT_OK)
      code = cli_failed(&error);
    policies[i] = (tuner_policy){values->policies[i], loaded[i], uniform};
  }
  if (code == EXIT_DONE)
    code = evaluate(values, w, policies);
  for (int i = 0; i < values->policy_count; i++)
    mpt_policy_free(loaded[i]);
  workload_free(w);
  return code;
}

const cli_command command_eval = {
    .name = "eval",
    .arguments = "WORKLOAD",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "evaluate policies, compare them with the reference",
    .examples = "  mptune eval net.yaml --policy mine.yaml --policy all-bf16 --seeds 5\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
