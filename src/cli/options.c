/* Reading options by their tables. */
#include "base/number.h"
#include "base/text.h"
#include "cli/cli.h"
#include <string.h>

const cli_option cli_common_options[] = {
    {"json", 0, CLI_FLAG, CLI_OFFSET(json), NULL,
     "one JSON object on standard output, times in seconds", 0, 0},
    {"quiet", 'q', CLI_FLAG, CLI_OFFSET(quiet), NULL, "errors and warnings only", 0, 0},
    {"verbose", 'v', CLI_FLAG, CLI_OFFSET(verbose), NULL, "say more", 0, 0},
    {"color", 0, CLI_TEXT, CLI_OFFSET(color), "WHEN",
     "auto, always or never (NO_COLOR is honoured)", 0, 0},
    {"help", 'h', CLI_FLAG, CLI_OFFSET(help), NULL, "this text", 0, 0},
};
const int cli_common_option_count = sizeof cli_common_options / sizeof cli_common_options[0];

static const cli_option *option_at(const cli_command *command, int i) {
  if (i < command->option_count)
    return &command->options[i];
  i -= command->option_count;
  return i < cli_common_option_count ? &cli_common_options[i] : NULL;
}

static const cli_option *find_long(const cli_command *command, const char *name, size_t length) {
  const cli_option *option;
  for (int i = 0; (option = option_at(command, i)) != NULL; i++)
    if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
      return option;
  return NULL;
}

static const cli_option *find_short(const cli_command *command, char letter) {
  const cli_option *option;
  for (int i = 0; (option = option_at(command, i)) != NULL; i++)
    if (option->letter == letter)
      return option;
  return NULL;
}

static int usage(const cli_command *command, const char *before, const char *word,
                 const char *after) {
  return cli_mistake("%s%s%s (see mptune %s%s%s --help)", before, word, after,
                     command->parent == NULL ? "" : command->parent,
                     command->parent == NULL ? "" : " ", command->name);
}

static int unknown_option(const cli_command *command, const char *word) {
  const char *names[64];
  size_t count = 0;
  const cli_option *option;
  for (int i = 0; (option = option_at(command, i)) != NULL && count < 64; i++)
    names[count++] = option->name;
  const char *near = strncmp(word, "--", 2) == 0 ? mpt_nearest_word(word + 2, names, count) : NULL;
  if (near == NULL)
    return usage(command, "unknown option '", word, "'");
  return cli_mistake("unknown option '%s'; did you mean --%s?", word, near);
}

static int bad_value(const cli_option *option, const char *text, const char *expected) {
  return cli_mistake("--%s '%s' is not %s", option->name, text, expected);
}

static int store_integer(const cli_option *option, const char *text, int64_t *field) {
  char expected[96];
  int64_t number;
  snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)option->low,
           (long long)option->high);
  if (!mpt_integer_read(text, strlen(text), &number) || number < option->low ||
      number > option->high)
    return bad_value(option, text, expected);
  *field = number;
  return EXIT_DONE;
}

static int store_value(const cli_option *option, const char *text, cli_values *values) {
  void *field = (char *)values + option->offset;
  switch (option->kind) {
  case CLI_FLAG:
    *(bool *)field = true;
    return EXIT_DONE;
  case CLI_TEXT:
    *(const char **)field = text;
    return EXIT_DONE;
  case CLI_POLICY:
    if (values->policy_count == CLI_MAX_WORDS)
      return bad_value(option, text, "one of at most 64 policies");
    values->policies[values->policy_count++] = text;
    return EXIT_DONE;
  case CLI_RENAME:
    if (values->rename_count == CLI_MAX_WORDS)
      return bad_value(option, text, "one of at most 64 rules");
    values->renames[values->rename_count++] = text;
    return EXIT_DONE;
  case CLI_INTEGER:
    return store_integer(option, text, field);
  case CLI_NUMBER: {
    double number;
    if (!mpt_number_read(text, strlen(text), &number) || number <= 0)
      return bad_value(option, text, "a positive number");
    *(double *)field = number;
    return EXIT_DONE;
  }
  }
  return EXIT_USAGE;
}

/* One word that begins with '-', and the next where the option takes a value. */
static int parse_option(const cli_command *command, int count, char **words, int *i,
                        cli_values *values) {
  const char *word = words[*i], *value = NULL;
  const cli_option *option;
  if (word[1] == '-') {
    const char *equals = strchr(word, '=');
    const size_t length = equals != NULL ? (size_t)(equals - word - 2) : strlen(word + 2);
    option = find_long(command, word + 2, length);
    if (equals != NULL)
      value = equals + 1;
  } else {
    option = find_short(command, word[1]);
    if (option != NULL && word[2] != '\0') {
      if (option->kind == CLI_FLAG)
        return unknown_option(command, word);
      value = word + 2;
    }
  }
  if (option == NULL)
    return unknown_option(command, word);
  if (option->kind == CLI_FLAG && value != NULL)
    return usage(command, "'", word, "' takes no value");
  if (option->kind != CLI_FLAG && value == NULL) {
    if (*i + 1 >= count)
      return usage(command, "'", word, "' needs a value");
    value = words[++*i];
  }
  return store_value(option, value, values);
}

int cli_parse(const cli_command *command, int count, char **words, cli_values *values) {
  bool options_end = false;
  for (int i = 0; i < count; i++) {
    if (!options_end && strcmp(words[i], "--") == 0) {
      options_end = true;
    } else if (!options_end && words[i][0] == '-' && words[i][1] != '\0') {
      const int code = parse_option(command, count, words, &i, values);
      if (code != EXIT_DONE)
        return code;
    } else {
      if (values->argument_count == CLI_MAX_WORDS)
        return usage(command, "too many arguments: '", words[i], "'");
      values->arguments[values->argument_count++] = words[i];
    }
  }
  if (values->help)
    return EXIT_DONE;
  if (values->argument_count < command->argument_low)
    return usage(command, "missing argument: ", command->arguments, "");
  if (values->argument_count > command->argument_high)
    return usage(command, "one argument too many: '", values->arguments[values->argument_count - 1],
                 "'");
  return EXIT_DONE;
}
