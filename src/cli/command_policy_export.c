#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/policy_layers.h"
#include "export/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RULES = 1000, LARGEST_FILE = 1 << 20 };

/* Rules of --rename, and the lines of --rename-file that are not empty and do not begin with '#'.
 */
typedef struct rules {
  const char *list[MOST_RULES];
  int count;
  char *text; /* of the file */
} rules;

static mpt_status add_rule(rules *r, const char *rule, mpt_error *error) {
  if (r->count == MOST_RULES)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "more than %d rules to rename by", MOST_RULES);
  r->list[r->count++] = rule;
  return MPT_OK;
}

static mpt_status read_rules(const cli_values *values, rules *r, mpt_error *error) {
  size_t length = 0;
  if (values->rename_file != NULL) {
    MPT_RETURN_IF_FAILED(
        mpt_file_read(values->rename_file, LARGEST_FILE, &r->text, &length, error));
    for (char *line = r->text; line != NULL && *line != '\0';) {
      char *end = line + strcspn(line, "\r\n");
      const bool last = *end == '\0';
      *end = '\0';
      if (*line != '\0' && *line != '#')
        MPT_RETURN_IF_FAILED(add_rule(r, line, error));
      line = last ? NULL : end + 1;
    }
  }
  for (int i = 0; i < values->rename_count; i++)
    MPT_RETURN_IF_FAILED(add_rule(r, values->renames[i], error));
  return MPT_OK;
}

static mpt_status find_target(const char *name, const export_target **target, mpt_error *error) {
  char known[200] = "";
  for (int i = 0; i < export_target_count; i++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i > 0 ? ", " : "",
             export_targets[i]->name);
  if (name == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "--to says for whom: %s", known);
  *target = export_find(name);
  return *target != NULL
             ? MPT_OK
             : mpt_fail(error, MPT_ERROR_ARGUMENT, "unknown target '%s' (known: %s)", name, known);
}

static json_t *lines_json(const char *lines) {
  json_t *list = json_array();
  while (lines != NULL && *lines != '\0') {
    const size_t length = strcspn(lines, "\n");
    char *line = strndup(lines, length);
    mpt_json_append(&list, line == NULL ? NULL : mpt_json_text(line));
    free(line);
    lines += length + (lines[length] == '\n');
  }
  return list;
}

static mpt_status put_out(const cli_values *values, const export_target *target,
                          const mpt_text *text, const mpt_text *differences, mpt_error *error) {
  if (values->output != NULL)
    MPT_RETURN_IF_FAILED(mpt_file_write(values->output, text->data, text->length, error));
  if (values->json)
    cli_print_json("mptune/policy-export@1",
                   mpt_json_pack("{s:s,s:s,s:s,s:o}", "target", target->name, "file",
                                 values->output, "text", text->data, "differences",
                                 lines_json(differences->data)));
  else if (values->output == NULL)
    fwrite(text->data, 1, text->length, stdout);
  return MPT_OK;
}

static int run(const cli_values *values) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  policy_layers list = {0};
  mpt_layer_policy *assignment = NULL;
  const export_target *target = NULL;
  char **names = NULL;
  mpt_text text = {0}, differences = {0};
  rules r = {0};
  int warnings = 0;
  mpt_status status = MPT_OK;
  MPT_TRY(find_target(values->to, &target, &error));
  MPT_TRY(read_rules(values, &r, &error));
  MPT_TRY(mpt_policy_load(values->arguments[0], &policy, &error));
  MPT_TRY(policy_layers_find(values->argument_count > 1 ? values->arguments[1] : NULL, policy,
                             &list, &error));
  MPT_TRY(policy_layers_resolve(values, policy, &list, &assignment, &warnings, &error));
  if ((names = calloc((size_t)list.count + 1, sizeof *names)) == NULL) {
    status = mpt_fail_memory(&error, "the layers' names", 0);
    goto fail;
  }
  MPT_TRY(export_rename(list.layers, list.count, r.list, r.count, names, &error));
  MPT_TRY(export_policy(target, policy, list.layers, assignment, names, list.count,
                        values->approximate, &text, &differences, &error));
  MPT_TRY(put_out(values, target, &text, &differences, &error));
fail:
  for (int i = 0; names != NULL && i < list.count; i++)
    free(names[i]);
  free(names);
  free(r.text);
  free(assignment);
  free(list.layers);
  mpt_text_free(&text);
  mpt_text_free(&differences);
  mpt_policy_free(policy);
  return status == MPT_OK ? EXIT_DONE : cli_failed(&error);
}

static const cli_option options[] = {
    {"to", 0, CLI_TEXT, CLI_OFFSET(to), "TARGET",
     "torchao, megatron, transformer-engine, qwix or keras", 0, 0},
    {"approximate", 0, CLI_FLAG, CLI_OFFSET(approximate), NULL,
     "what the target cannot say is written as what comes nearest", 0, 0},
    {"rename", 0, CLI_RENAME, 0, "RULE",
     "layers' names there: s/REGEX/REPLACEMENT/; again for more", 0, 0},
    {"rename-file", 0, CLI_TEXT, CLI_OFFSET(rename_file), "FILE", "such rules, one on each line", 0,
     0},
    {"output", 'o', CLI_TEXT, CLI_OFFSET(output), "FILE", "where to write it (standard output)", 0,
     0},
    {"force", 0, CLI_FLAG, CLI_OFFSET(force), NULL,
     "accept a policy made for other layers or shapes", 0, 0},
    {"lenient", 0, CLI_FLAG, CLI_OFFSET(lenient), NULL, "a rule that matches no layer only warns",
     0, 0},
};

const cli_command command_policy_export = {
    .name = "export",
    .parent = "policy",
    .arguments = "FILE [WORKLOAD]",
    .argument_low = 1,
    .argument_high = 2,
    .summary = "a policy in the words of another trainer",
    .examples = "  mptune policy export policy.yaml --to torchao -o apply_policy.py\n"
                "  mptune policy export policy.yaml --to megatron --rename "
                "'s/^blocks[.]/decoder.layers./'\n",
    .text = "What the target cannot say is refused, naming the layers; --approximate writes what "
            "comes\n"
            "nearest and lists what differs. The policy's verdict is not carried over.\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
