#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "train/trainer.h"
#include "tuner/place.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"policy", 'p', CLI_POLICY, 0, "FILE",
     "policy to train under, or all-FORMAT (default: the workload's reference)", 0, 0},
    CLI_BACKEND_OPTIONS,
    {"seed", 0, CLI_INTEGER, CLI_OFFSET(seed), "N", "seed of weights, batches and dropout (1)", 0,
     1000000000},
    {"steps", 0, CLI_INTEGER, CLI_OFFSET(steps), "N",
     "train this long instead of the workload's steps", 1, 1000000000},
    {"save", 's', CLI_TEXT, CLI_OFFSET(save), "FILE",
     "checkpoint to write, at the end and when interrupted", 0, 0},
    {"save-every", 0, CLI_INTEGER, CLI_OFFSET(checkpoint_every), "STEPS",
     "write the checkpoint this often as well", 1, 1000000000},
    {"resume", 0, CLI_FLAG, CLI_OFFSET(resume), NULL,
     "continue from the checkpoint of --save when it is there", 0, 0},
    {"save-init", 0, CLI_TEXT, CLI_OFFSET(save_initial), "FILE", "write the initial weights", 0, 0},
    {"save-batches", 0, CLI_TEXT, CLI_OFFSET(save_batches), "FILE",
     "write every batch of the run, to train on them elsewhere", 0, 0},
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept a policy made for other layers or shapes, and a checkpoint of another training", 0, 0},
    {"lenient", 0, CLI_FLAG, CLI_OFFSET(lenient), NULL, "a rule that matches no layer only warns",
     0, 0},
};

static void warn(void *context, const char *message) {
  (void)context;
  mpt_log_warning("%s", message);
}

static mpt_status load_policy(const cli_values *values, const workload *w, mpt_policy **policy,
                              bool *uniform, mpt_error *error) {
  *uniform = true;
  if (values->policy_count == 0)
    return mpt_policy_uniform(w->reference, policy, error);
  return cli_load_policy(values->policies[0], policy, uniform, error);
}

static bool differs(const mpt_policy *policy, const char *key, const char *here) {
  const char *there = mpt_policy_get_provenance(policy, key);
  return there != NULL && strcmp(there, here) != 0;
}

/* A file may be taken for one that was verified; a uniform policy by its name claims nothing. */
static mpt_status warn_of_verdict(const char *file, const mpt_policy *policy, const workload *w,
                                  const dataset *data, int64_t steps, mpt_error *error) {
  char here[65];
  const mpt_policy_result result = mpt_policy_get_result(policy);
  if (result.verdict == MPT_VERDICT_REFERENCE) /* it claims nothing */
    return MPT_OK;
  if (result.verdict != MPT_VERDICT_PASS) {
    mpt_log_warning("%s: this policy's verdict is '%s': it was not shown to meet a budget", file,
                    mpt_verdict_name(result.verdict));
    return MPT_OK;
  }
  MPT_RETURN_IF_FAILED(workload_training_hash(w, here, error));
  const char *name = mpt_policy_get_provenance(policy, "workload");
  if (differs(policy, "workload_hash", here))
    mpt_log_warning("%s: this policy passed with another model, data, optimizer, batch or steps "
                    "(workload '%s'): it was not shown to meet a budget with these",
                    file, name == NULL ? "" : name);
  else if (differs(policy, "data_hash", dataset_get_info(data)->hash))
    mpt_log_warning("%s: this policy passed on other data: it was not shown to meet a budget on "
                    "these",
                    file);
  else if (result.steps > 0 && result.steps != steps)
    mpt_log_warning("%s: this policy passed in trainings of %lld steps: it was not shown to meet a "
                    "budget in one of %lld",
                    file, (long long)result.steps, (long long)steps);
  return MPT_OK;
}

typedef struct watched {
  bool lines; /* a line for each step on standard output */
} watched;

static bool on_step(void *context, const train_step *step) {
  const watched *w = context;
  if (w->lines) {
    printf("%lld %.9g\n", (long long)step->step, step->loss);
    cli_flush(); /* so that a reader has each, and one that is gone ends the training */
  }
  char time[32] = ""; /* of a GPU's first step nothing is known */
  if (isfinite(step->seconds))
    snprintf(time, sizeof time, ", %.3g ms", 1e3 * step->seconds);
  mpt_progress_update("training", "step %lld of %lld, loss %.4f%s", (long long)step->step + 1,
                      (long long)step->steps, step->loss, time);
  return !cli_interrupted;
}

static json_t *result_json(const train_result *r) {
  json_t *losses = json_array();
  for (int64_t i = 0; i < r->steps_done; i++)
    mpt_json_append(&losses, mpt_json_real(r->losses[i]));
  return mpt_json_pack(
      "{s:I,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:s,s:o}", "steps", (json_int_t)r->steps_done,
      "diverged", r->diverged, "stopped", r->stopped, "metric", mpt_json_real(r->metric),
      "metric_plain", mpt_json_real(r->metric_plain), "held_out_loss",
      mpt_json_real(r->held_out_loss), "output_difference", mpt_json_real(r->output_difference),
      "step_seconds", mpt_json_real(r->step_seconds), "total_seconds",
      mpt_json_real(r->total_seconds), "memory_bytes", (json_int_t)r->memory_bytes, "skipped",
      (json_int_t)r->report.skipped, "failure", r->failure[0] == '\0' ? NULL : r->failure, "losses",
      losses);
}

static void print_result(const workload *w, const train_result *r) {
  static const char *const metrics[] = {"loss", "accuracy", "f1"};
  char step[32], total[32], memory[32];
  cli_duration(r->step_seconds, step, sizeof step);
  cli_duration(r->total_seconds, total, sizeof total);
  cli_bytes((double)r->memory_bytes, memory, sizeof memory);
  printf("held-out %s %.6g (the same weights in fp32: %.6g)\n", metrics[w->metric], r->metric,
         r->metric_plain);
  printf("%lld steps in %s, %s a step on this machine, %s of memory", (long long)r->steps_done,
         total, step, memory);
  if (r->report.skipped > 0)
    printf(", %lld skipped for overflow", (long long)r->report.skipped);
  putchar('\n');
}

static int finish(const cli_values *values, const workload *w, const train_result *r) {
  if (values->json)
    cli_print_json("mptune/train@1", result_json(r));
  if (r->diverged) {
    const mpt_error failed = {.status = MPT_ERROR_NONFINITE};
    mpt_error error = failed;
    snprintf(error.message, sizeof error.message, "training diverged: %s", r->failure);
    return cli_failed(&error);
  }
  if (r->stopped) {
    if (!cli_reader_gone())
      mpt_log_note("interrupted; %s", values->save == NULL ? "nothing is saved without --save"
                                      : values->resume
                                          ? "the checkpoint is saved, the same command continues"
                                          : "the checkpoint is saved, the same command with "
                                            "--resume continues");
    return EXIT_INTERRUPTED;
  }
  if (!values->json)
    print_result(w, r);
  return EXIT_DONE;
}

static mpt_status train(const cli_values *values, const workload *w, train_result *result,
                        mpt_error *error) {
  dataset *data = NULL;
  graph *g = NULL;
  mpt_policy *policy = NULL;
  mpt_layer_info *layers = NULL;
  mpt_layer_policy *assignment = NULL;
  mpt_status status = MPT_OK;
  bool uniform, fast;
  watched context = {.lines = values->verbose && !values->json};
  train_options o = train_options_default();
  mpt_resolve_options resolve = mpt_resolve_options_default();
  MPT_TRY(place_backend(values->backend, (int)values->device, &o.backend, error));
  MPT_TRY(place_formats(o.backend, (int)values->device, &resolve.device_formats, &fast, error));
  MPT_TRY(load_policy(values, w, &policy, &uniform, error));
  MPT_TRY(dataset_open(&w->data, &data, error));
  o.steps = values->steps > 0 ? values->steps : w->steps;
  if (!uniform)
    MPT_TRY(warn_of_verdict(values->policies[0], policy, w, data, o.steps, error));
  MPT_TRY(graph_build(w, &w->model, w->batch, w->data.sequence, dataset_get_info(data), &g, error));
  layers = graph_layer_infos(g);
  assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  if (layers == NULL || assignment == NULL) {
    status = mpt_fail_memory(error, "the layers' formats", 0);
    goto fail;
  }
  resolve.force = values->force;
  resolve.strict = !values->lenient;
  resolve.on_warning = warn;
  MPT_TRY(mpt_policy_resolve(policy, layers, g->layer_count, &resolve, assignment, error));
  if (uniform)
    graph_uniform(w, g, mpt_policy_default(policy), fast, assignment);
  o.workload = w;
  o.graph = g;
  o.data = data;
  o.assignment = assignment;
  o.loss_scale = train_loss_scale(w, policy);
  o.seed = (uint64_t)values->seed;
  o.threads = w->threads;
  o.device_index = (int)values->device;
  o.on_step = on_step;
  o.context = &context;
  o.save_checkpoint = values->save;
  o.save_initial = values->save_initial;
  o.save_batches = values->save_batches;
  o.checkpoint_every = values->checkpoint_every;
  o.resume = values->resume;
  o.force = values->force;
  if (w->checkpoint[0] != '\0')
    o.load_checkpoint = w->checkpoint;
  MPT_TRY(train_run(&o, result, error));
fail:
  mpt_progress_end();
  free(assignment);
  free(layers);
  graph_free(g);
  dataset_close(data);
  mpt_policy_free(policy);
  return status;
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  workload *w = NULL;
  train_result result = {0};
  if (values->policy_count > 1)
    return cli_mistake("train takes one --policy");
  if (values->save == NULL && (values->resume || values->checkpoint_every > 0))
    return cli_mistake("--%s is about the checkpoint of --save; give --save FILE",
                       values->resume ? "resume" : "save-every");
  if (workload_load(values->arguments[0], &w, &error) != MPT_OK)
    return cli_failed(&error);
  cli_catch_signals();
  const int code =
      train(values, w, &result, &error) == MPT_OK ? finish(values, w, &result) : cli_failed(&error);
  train_result_clear(&result);
  workload_free(w);
  return code;
}

const cli_command command_train = {
    .name = "train",
    .arguments = "WORKLOAD",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "train under a policy; saves checkpoints",
    .examples =
        "  mptune train net.yaml --policy runs/net/policy.yaml --save net.ckpt\n"
        "  mptune train net.yaml -p policy.yaml --save net.ckpt --save-every 500 --resume\n",
    .text = "With -v every step's number and loss goes to standard output.\n"
            "--resume continues the training that the checkpoint is of: another model, data, "
            "optimizer,\n"
            "batch, length, seed or policy is refused by name, and taken with a warning under "
            "--force.\n"
            "Skipped steps and seconds are those of the whole training.\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
