/* mptune policy show | check | diff | resolve. */
#include "base/error.h"
#include "cli/commands.h"
#include "cli/policy_layers.h"
#include "tuner/formats_json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option check_options[] = {
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept a policy made for other layers or shapes", 0, 0},
    {"lenient", 0, CLI_FLAG, CLI_OFFSET(lenient), NULL, "a rule that matches no layer only warns",
     0, 0},
};

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
  return mpt_policy_has_loss_scale(policy) ? loss_scale_json(mpt_policy_loss_scale(policy))
                                           : json_null();
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

static json_t *result_json(const mpt_policy_result *r) {
  return mpt_json_pack("{s:s,s:f,s:f,s:f,s:f,s:b,s:o}", "verdict", mpt_verdict_name(r->verdict),
                       "worse_by_relative", r->worse_by, "upper_bound", r->upper_bound,
                       "confidence", isfinite(r->upper_bound) ? r->confidence : NAN,
                       "step_time_ratio", r->step_time_ratio, "time_measured",
                       (int)r->time_measured, "steps",
                       r->steps > 0 ? json_integer((json_int_t)r->steps) : json_null());
}

static json_t *policy_json(const mpt_policy *policy, int layers) {
  const mpt_policy_result result = mpt_policy_get_result(policy);
  const mpt_layer_policy formats = mpt_layer_policy_of(mpt_policy_default(policy));
  return mpt_json_pack("{s:s,s:o,s:i,s:i,s:o,s:o}", "name", mpt_policy_name(policy), "default",
                       formats_json(&formats, true), "rules", mpt_policy_rule_count(policy),
                       "layers", layers, "loss_scale", scale_json(policy), "result",
                       result_json(&result));
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
    cli_print_json("mptune/policy-show@1", policy_json(policy, layers));
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
static void print_layers(const policy_layers *list, const mpt_layer_policy *assignment) {
  for (int i = 0; i < list->count; i++) {
    char text[160];
    mpt_layer_policy_text(&assignment[i], text, sizeof text);
    cli_print_shown(list->layers[i].name, 32);
    printf(" %s\n", text);
  }
}

static json_t *layer_json(const mpt_layer_info *layer, const mpt_layer_policy *formats) {
  return formats_json(formats, mpt_layer_has_gemm(layer->kind));
}

static json_t *resolved_json(const mpt_policy *policy, const policy_layers *list,
                             const mpt_layer_policy *assignment) {
  json_t *layers = json_object();
  for (int i = 0; i < list->count; i++)
    mpt_json_set(&layers, list->layers[i].name, layer_json(&list->layers[i], &assignment[i]));
  return mpt_json_pack("{s:o,s:o}", "layers", layers, "loss_scale", scale_json(policy));
}

static void print_checked(const cli_values *values, const policy_layers *list, int warnings) {
  if (values->json) {
    cli_print_json("mptune/policy-check@1", mpt_json_pack("{s:b,s:i,s:i}", "good", true, "layers",
                                                          list->count, "warnings", warnings));
    return;
  }
  cli_print_shown(values->arguments[0], 0);
  printf(": good for %d layers, %d warnings\n", list->count, warnings);
}

static int with_assignment(const cli_values *values, bool print) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  policy_layers list = {0};
  mpt_layer_policy *assignment = NULL;
  int warnings = 0;
  mpt_status status = MPT_OK;
  MPT_TRY(mpt_policy_load(values->arguments[0], &policy, &error));
  MPT_TRY(policy_layers_find(argument(values, 1), policy, &list, &error));
  MPT_TRY(policy_layers_resolve(values, policy, &list, &assignment, &warnings, &error));
  if (!print)
    print_checked(values, &list, warnings);
  else if (values->json)
    cli_print_json("mptune/policy-resolve@1", resolved_json(policy, &list, assignment));
  else
    print_layers(&list, assignment);
fail:
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
static void print_difference(const mpt_layer_info *layer, const mpt_layer_policy *a,
                             const mpt_layer_policy *b) {
  char left[160], right[160];
  mpt_layer_policy_text(a, left, sizeof left);
  mpt_layer_policy_text(b, right, sizeof right);
  cli_print_shown(layer->name, 32);
  printf(" %s -> %s\n", left, right);
}

static void print_differences(const cli_values *values, const policy_layers *list,
                              mpt_policy *const policy[2], const mpt_layer_policy *a,
                              const mpt_layer_policy *b) {
  json_t *rows = json_array();
  char from[48], to[48];
  scale_text(policy[0], from, sizeof from);
  scale_text(policy[1], to, sizeof to);
  const bool scales = strcmp(from, to) != 0;
  int different = scales;
  for (int i = 0; i < list->count; i++) {
    const mpt_layer_info *layer = &list->layers[i];
    if (mpt_layer_policy_equal(&a[i], &b[i]))
      continue;
    different++;
    if (!values->json)
      print_difference(layer, &a[i], &b[i]);
    mpt_json_append(&rows, mpt_json_pack("{s:s,s:o,s:o}", "layer", layer->name, "from",
                                         layer_json(layer, &a[i]), "to", layer_json(layer, &b[i])));
  }
  if (values->json) {
    json_t *scale = scales ? mpt_json_pack("{s:o,s:o}", "from", scale_json(policy[0]), "to",
                                           scale_json(policy[1]))
                           : json_null();
    cli_print_json("mptune/policy-diff@1",
                   mpt_json_pack("{s:O,s:o}", "different", rows, "loss_scale", scale));
  } else if (scales) {
    printf("%-32s %s -> %s\n", "loss_scale", from, to);
  } else if (different == 0) {
    printf("the policies give every layer the same formats\n");
  }
  json_decref(rows);
}

static int run_diff(const cli_values *values) {
  mpt_error error = {0};
  mpt_policy *policy[2] = {0};
  mpt_layer_policy *assignment[2] = {0};
  policy_layers list = {0};
  int warnings = 0, code = EXIT_DONE;
  mpt_status status = MPT_OK;
  for (int i = 0; i < 2 && status == MPT_OK; i++)
    status = mpt_policy_load(values->arguments[i], &policy[i], &error);
  if (status == MPT_OK)
    status = policy_layers_find(argument(values, 2), policy[0], &list, &error);
  for (int i = 0; i < 2 && status == MPT_OK; i++)
    status = policy_layers_resolve(values, policy[i], &list, &assignment[i], &warnings, &error);
  if (status == MPT_OK)
    print_differences(values, &list, policy, assignment[0], assignment[1]);
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
