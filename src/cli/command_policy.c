/* mptune policy show | check | diff | resolve. */
#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "train/graph.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option check_options[] = {
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept a policy made for other layers or shapes", 0, 0},
    {"lenient", 0, CLI_FLAG, CLI_OFFSET(lenient), NULL, "a rule that matches no layer only warns",
     0, 0},
};

typedef struct layer_list {
  mpt_layer_info *layers; /* owned */
  int count;
} layer_list;

/* The layers of a workload's model; the data is opened, because shapes begin with it. */
static mpt_status workload_layers(const char *path, layer_list *list, mpt_error *error) {
  workload *w = NULL;
  dataset *data = NULL;
  graph *g = NULL;
  mpt_status status = MPT_OK;
  MPT_TRY(workload_load(path, &w, error));
  MPT_TRY(dataset_open(&w->data, &data, error));
  MPT_TRY(graph_build(w, &w->model, w->batch, w->data.sequence, dataset_get_info(data), &g, error));
  list->layers = graph_layer_infos(g);
  list->count = g->layer_count;
  if (list->layers == NULL)
    status = mpt_fail_memory(error, "the layers' names", 0);
fail:
  graph_free(g);
  dataset_close(data);
  workload_free(w);
  return status;
}

/* Of the workload when one is given, else those that the policy was made for. */
static mpt_status find_layers(const char *path, const mpt_policy *policy, layer_list *list,
                              mpt_error *error) {
  if (path != NULL)
    return workload_layers(path, list, error);
  const mpt_layer_info *own = mpt_policy_layers(policy, &list->count);
  if (list->count == 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the policy does not say for which layers it was made; give a WORKLOAD");
  list->layers = malloc((size_t)list->count * sizeof *list->layers);
  if (list->layers == NULL)
    return mpt_fail_memory(error, "the layers' names", 0);
  memcpy(list->layers, own, (size_t)list->count * sizeof *list->layers);
  return MPT_OK;
}

static void warn(void *context, const char *message) {
  ++*(int *)context;
  mpt_log_warning("%s", message);
}

static mpt_status resolve(const cli_values *values, const mpt_policy *policy,
                          const layer_list *list, mpt_layer_policy **assignment, int *warnings,
                          mpt_error *error) {
  mpt_resolve_options options = mpt_resolve_options_default();
  options.strict = !values->lenient;
  options.force = values->force;
  options.on_warning = warn;
  options.context = warnings;
  *assignment = calloc((size_t)list->count + 1, sizeof **assignment);
  if (*assignment == NULL)
    return mpt_fail_memory(error, "the layers' formats", 0);
  return mpt_policy_resolve(policy, list->layers, list->count, &options, *assignment, error);
}

static const char *argument(const cli_values *values, int i) {
  return i < values->argument_count ? values->arguments[i] : NULL;
}

/* ---- the loss scale ---- */
/* "dynamic 65536"; "unset": the workload's. */
static void scale_text(const mpt_policy *policy, char *text, size_t size) {
  const mpt_loss_scale_policy scale = mpt_policy_loss_scale(policy);
  if (!mpt_policy_has_loss_scale(policy))
    snprintf(text, size, "unset");
  else if (scale.mode == MPT_LOSS_SCALE_NONE)
    snprintf(text, size, "none");
  else
    snprintf(text, size, "%s %.9g", mpt_loss_scale_mode_name(scale.mode), (double)scale.initial);
}

static json_t *scale_json(const mpt_policy *policy) {
  const mpt_loss_scale_policy scale = mpt_policy_loss_scale(policy);
  if (!mpt_policy_has_loss_scale(policy))
    return json_null();
  json_t *json = mpt_json_pack("{s:s}", "mode", mpt_loss_scale_mode_name(scale.mode));
  if (scale.mode != MPT_LOSS_SCALE_NONE)
    mpt_json_set(&json, "initial", mpt_json_real((double)scale.initial));
  return json;
}

static void show_scale(const mpt_policy *policy) {
  const mpt_loss_scale_policy scale = mpt_policy_loss_scale(policy);
  if (!mpt_policy_has_loss_scale(policy))
    printf("loss     scaled as the workload says\n");
  else if (scale.mode == MPT_LOSS_SCALE_NONE)
    printf("loss     not scaled\n");
  else
    printf("loss     scaled by %.9g%s\n", (double)scale.initial,
           scale.mode == MPT_LOSS_SCALE_DYNAMIC ? " at first, dynamically" : "");
}

/* ---- show ---- */
static void show_result(const mpt_policy_result *r) {
  printf("verdict  %s", mpt_verdict_name(r->verdict));
  if (isfinite(r->upper_bound))
    printf(", %s %.3g%% at %.3g%% confidence",
           r->upper_bound < 0 ? "better by at least" : "worse by at most",
           100 * fabs(r->upper_bound), 100 * r->confidence);
  putchar('\n');
  if (isfinite(r->step_time_ratio))
    printf("time     %.1f%% of the reference's step (%s)\n", 100 * r->step_time_ratio,
           r->time_measured ? "measured" : "predicted");
  if (r->steps > 0)
    printf("horizon  %s for %lld steps\n",
           r->verdict == MPT_VERDICT_UNVERIFIED ? "trained" : "verified", (long long)r->steps);
}

static int run_show(const cli_values *values) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  if (mpt_policy_load(values->arguments[0], &policy, &error) != MPT_OK)
    return cli_failed(&error);
  const mpt_policy_result result = mpt_policy_get_result(policy);
  int layers = 0;
  mpt_policy_layers(policy, &layers);
  if (values->json) {
    cli_print_json(mpt_json_pack(
        "{s:s,s:s,s:i,s:i,s:o,s:s,s:o,s:o,s:o,s:b}", "name", mpt_policy_name(policy), "default",
        mpt_precision_name(mpt_policy_default(policy)), "rules", mpt_policy_rule_count(policy),
        "layers", layers, "loss_scale", scale_json(policy), "verdict",
        mpt_verdict_name(result.verdict), "worse_by", mpt_json_real(result.worse_by), "upper_bound",
        mpt_json_real(result.upper_bound), "step_time_ratio", mpt_json_real(result.step_time_ratio),
        "time_measured", result.time_measured));
  } else {
    printf("policy   ");
    cli_print_shown(mpt_policy_name(policy)[0] != '\0' ? mpt_policy_name(policy) : "(no name)", 0);
    printf("\ndefault  %s, %d rules, made for %d layers\n",
           mpt_precision_name(mpt_policy_default(policy)), mpt_policy_rule_count(policy), layers);
    show_scale(policy);
    show_result(&result);
  }
  mpt_policy_free(policy);
  return EXIT_DONE;
}

/* ---- check and resolve ---- */
static void print_layer(const char *name, const char *formats) {
  cli_print_shown(name, 32);
  printf(" %s\n", formats);
}

static int with_assignment(const cli_values *values, bool print) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  layer_list list = {0};
  mpt_layer_policy *assignment = NULL;
  int warnings = 0;
  mpt_status status = mpt_policy_load(values->arguments[0], &policy, &error);
  if (status == MPT_OK)
    status = find_layers(argument(values, 1), policy, &list, &error);
  if (status == MPT_OK)
    status = resolve(values, policy, &list, &assignment, &warnings, &error);
  json_t *rows = json_object();
  for (int i = 0; status == MPT_OK && print && i < list.count; i++) {
    char text[160];
    mpt_layer_policy_text(&assignment[i], text, sizeof text);
    if (values->json)
      mpt_json_set(&rows, list.layers[i].name, mpt_json_text(text));
    else
      print_layer(list.layers[i].name, text);
  }
  if (status == MPT_OK && !print && !values->json) {
    cli_print_shown(values->arguments[0], 0);
    printf(": good for %d layers, %d warnings\n", list.count, warnings);
  }
  if (status == MPT_OK && values->json)
    cli_print_json(print ? mpt_json_pack("{s:O}", "layers", rows)
                         : mpt_json_pack("{s:b,s:i,s:i}", "good", true, "layers", list.count,
                                         "warnings", warnings));
  json_decref(rows);
  free(assignment);
  free(list.layers);
  mpt_policy_free(policy);
  return status == MPT_OK ? EXIT_DONE : cli_failed(&error);
}

static int run_check(const cli_values *values) {
  return with_assignment(values, false);
}
static int run_resolve(const cli_values *values) {
  return with_assignment(values, true);
}

/* ---- diff ---- */
static int print_difference(const cli_values *values, const layer_list *list,
                            mpt_policy *const policy[2], const mpt_layer_policy *a,
                            const mpt_layer_policy *b) {
  json_t *rows = json_array();
  char from[48], to[48];
  scale_text(policy[0], from, sizeof from);
  scale_text(policy[1], to, sizeof to);
  const bool scales = strcmp(from, to) != 0;
  int different = scales;
  for (int i = 0; i < list->count; i++) {
    char left[160], right[160];
    if (mpt_layer_policy_equal(&a[i], &b[i]))
      continue;
    different++;
    mpt_layer_policy_text(&a[i], left, sizeof left);
    mpt_layer_policy_text(&b[i], right, sizeof right);
    if (!values->json) {
      cli_print_shown(list->layers[i].name, 32);
      printf(" %s -> %s\n", left, right);
    }
    mpt_json_append(&rows, mpt_json_pack("{s:s,s:s,s:s}", "layer", list->layers[i].name, "from",
                                         left, "to", right));
  }
  if (scales && !values->json)
    printf("%-32s %s -> %s\n", "loss_scale", from, to);
  if (values->json)
    cli_print_json(
        mpt_json_pack("{s:O,s:o*}", "different", rows, "loss_scale",
                      scales ? mpt_json_pack("{s:s,s:s}", "from", from, "to", to) : NULL));
  else if (different == 0)
    printf("the policies give every layer the same formats\n");
  json_decref(rows);
  return EXIT_DONE;
}

static int run_diff(const cli_values *values) {
  mpt_error error = {0};
  mpt_policy *policy[2] = {0};
  mpt_layer_policy *assignment[2] = {0};
  layer_list list = {0};
  int warnings = 0, code = EXIT_DONE;
  mpt_status status = MPT_OK;
  for (int i = 0; i < 2 && status == MPT_OK; i++)
    status = mpt_policy_load(values->arguments[i], &policy[i], &error);
  if (status == MPT_OK)
    status = find_layers(argument(values, 2), policy[0], &list, &error);
  for (int i = 0; i < 2 && status == MPT_OK; i++)
    status = resolve(values, policy[i], &list, &assignment[i], &warnings, &error);
  if (status == MPT_OK)
    code = print_difference(values, &list, policy, assignment[0], assignment[1]);
  else
    code = cli_failed(&error);
  for (int i = 0; i < 2; i++) {
    free(assignment[i]);
    mpt_policy_free(policy[i]);
  }
  free(list.layers);
  return code;
}

const cli_command command_policy_show = {
    .name = "show",
    .parent = "policy",
    .arguments = "FILE",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "what a policy says, and its verdict",
    .examples = "  mptune policy show runs/text-gpt/policy.yaml\n",
    .run = run_show,
};
const cli_command command_policy_check = {
    .name = "check",
    .parent = "policy",
    .arguments = "FILE [WORKLOAD]",
    .argument_low = 1,
    .argument_high = 2,
    .summary = "whether a policy is good for a model",
    .examples = "  mptune policy check policy.yaml net.yaml\n",
    .text = "Without WORKLOAD it is checked against the layers that it was made for.\n",
    .options = check_options,
    .option_count = sizeof check_options / sizeof check_options[0],
    .run = run_check,
};
const cli_command command_policy_diff = {
    .name = "diff",
    .parent = "policy",
    .arguments = "FILE FILE [WORKLOAD]",
    .argument_low = 2,
    .argument_high = 3,
    .summary = "the layers to which two policies give other formats",
    .examples = "  mptune policy diff old.yaml new.yaml\n",
    .options = check_options,
    .option_count = sizeof check_options / sizeof check_options[0],
    .run = run_diff,
};
const cli_command command_policy_resolve = {
    .name = "resolve",
    .parent = "policy",
    .arguments = "FILE [WORKLOAD]",
    .argument_low = 1,
    .argument_high = 2,
    .summary = "the formats that each layer gets",
    .examples = "  mptune policy resolve policy.yaml net.yaml\n",
    .options = check_options,
    .option_count = sizeof check_options / sizeof check_options[0],
    .run = run_resolve,
};
