/* Help and the man page, from the tables of commands and options. */
#include "cli/cli.h"
#include <string.h>

static void print_option(const cli_option *option, FILE *to) {
  char left[64], letter[8] = "    ";
  if (option->letter)
    snprintf(letter, sizeof letter, "-%c, ", option->letter);
  snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name,
           option->argument == NULL ? "" : " ", option->argument == NULL ? "" : option->argument);
  fprintf(to, "  %-28s %s\n", left, option->help);
}

static const struct exit_status {
  int code;
  const char *meaning;
} exits[] = {
    {EXIT_DONE, "done"},
    {EXIT_FAILED,
     "failed: memory, device, a training that diverged, output that could not be written"},
    {EXIT_USAGE, "usage, file or policy error"},
    {EXIT_NO_POLICY, "nothing permitted meets the budget"},
    {EXIT_PROGRAM, "a program under evaluation failed (tune --command)"},
    {EXIT_INTERRUPTED, "interrupted by INT, TERM or HUP, what was done is saved: the same command "
                       "continues"},
    {EXIT_READER_GONE, "nobody reads standard output any more; saved as when interrupted"},
};
static const int exit_count = sizeof exits / sizeof exits[0];

static void print_exits(FILE *to) {
  fputs("\nexit status:\n", to);
  for (int i = 0; i < exit_count; i++)
    fprintf(to, "  %-6d %s\n", exits[i].code, exits[i].meaning);
  fputs("  128+N  ended at once by signal N: a second INT or TERM does\n", to);
}

static void full_name(const cli_command *command, char *name, size_t size) {
  snprintf(name, size, "%s%s%s", command->parent == NULL ? "" : command->parent,
           command->parent == NULL ? "" : " ", command->name);
}

void cli_print_overview(FILE *to) {
  fprintf(to, "mptune finds, for each layer of a network, the number format it should train in\n\n"
              "examples:\n"
              "  mptune tune profiles/workloads/text-gpt.yaml\n"
              "  mptune train profiles/workloads/text-gpt.yaml --policy runs/text-gpt/policy.yaml\n"
              "\ncommands:\n");
  for (int i = 0; i < cli_command_count; i++) {
    char left[80], name[32];
    full_name(cli_commands[i], name, sizeof name);
    snprintf(left, sizeof left, "%s %s", name, cli_commands[i]->arguments);
    fprintf(to, "  %-32s %s\n", left, cli_commands[i]->summary);
  }
  fprintf(to, "\n  mptune COMMAND --help              options and examples of a command\n"
              "  mptune --version\n");
  print_exits(to);
}

void cli_print_help(const cli_command *command, FILE *to) {
  char name[32];
  full_name(command, name, sizeof name);
  fprintf(to, "mptune %s %s\n  %s\n\nexamples:\n%s", name, command->arguments, command->summary,
          command->examples);
  if (command->text != NULL)
    fprintf(to, "\n%s", command->text);
  fprintf(to, "\noptions:\n");
  for (int i = 0; i < command->option_count; i++)
    print_option(&command->options[i], to);
  for (int i = 0; i < cli_common_option_count; i++)
    print_option(&cli_common_options[i], to);
  print_exits(to);
}

/* Text with what roff takes for itself made plain. */
static void roff(const char *text, FILE *to) {
  bool line_start = true;
  for (; *text != '\0'; text++) {
    if (line_start && (*text == '.' || *text == '\''))
      fputs("\\&", to);
    if (*text == '\\')
      fputs("\\e", to);
    else if (*text == '-')
      fputs("\\-", to);
    else
      fputc(*text, to);
    line_start = *text == '\n';
  }
}

static void roff_option(const cli_option *option, FILE *to) {
  fputs(".TP\n", to);
  if (option->letter)
    fprintf(to, "\\fB\\-%c\\fR, ", option->letter);
  fputs("\\fB\\-\\-", to);
  roff(option->name, to);
  fputs("\\fR", to);
  if (option->argument != NULL)
    fprintf(to, " \\fI%s\\fR", option->argument);
  fputc('\n', to);
  roff(option->help, to);
  fputc('\n', to);
}

static void roff_command(const cli_command *command, FILE *to) {
  char name[32];
  full_name(command, name, sizeof name);
  fprintf(to, ".SS mptune %s ", name);
  roff(command->arguments, to);
  fputc('\n', to);
  roff(command->summary, to);
  fputs(".\n", to);
  if (command->text != NULL) {
    fputs(".PP\n", to);
    roff(command->text, to);
  }
  fputs(".PP\n.nf\n", to);
  roff(command->examples, to);
  fputs(".fi\n", to);
  for (int i = 0; i < command->option_count; i++)
    roff_option(&command->options[i], to);
}

void cli_print_manual(FILE *to) {
  fputs(
      ".TH MPTUNE 1 \"2026-11-24\" \"mptune " MPTUNE_VERSION "\" \"User Commands\"\n"
      ".SH NAME\nmptune \\- find the number format that each layer should train in\n"
      ".SH SYNOPSIS\n.B mptune\n.I command\n[\\fIoptions\\fR] [\\fIarguments\\fR]\n"
      ".SH DESCRIPTION\n"
      "mptune finds, for one network on one device, which number format each layer should train\n"
      "in (fp32, tf32, bf16, fp16, fp8), so that training is as fast as the hardware allows while\n"
      "the result stays inside an accuracy budget.\n"
      "It writes a policy file, which training programs load, and a report.\n"
      ".SH COMMANDS\n",
      to);
  for (int i = 0; i < cli_command_count; i++)
    roff_command(cli_commands[i], to);
  fputs(".SH COMMON OPTIONS\n", to);
  for (int i = 0; i < cli_common_option_count; i++)
    roff_option(&cli_common_options[i], to);
  fputs(".SH EXIT STATUS\n", to);
  for (int k = 0; k < exit_count; k++) {
    fprintf(to, ".TP\n%d\n", exits[k].code);
    roff(exits[k].meaning, to);
    fputc('\n', to);
  }
  fputs(".TP\n128+N\nended at once by signal N: a second INT or TERM does\n"
        ".SH ENVIRONMENT\n"
        ".TP\n\\fBNO_COLOR\\fR\nwhen set, output has no colour\n"
        ".TP\n\\fBMPTUNE_PROFILES\\fR\nfolders of device profiles, separated by colons, looked in "
        "first\n"
        ".TP\n\\fBMPTUNE_CACHE\\fR\nfolder for data taken out of packages and for the algorithms "
        "chosen for products\n"
        ".TP\n\\fBMPTUNE_GEMM_TUNE\\fR\n0: cuBLASLt's first algorithm that is right, not the "
        "fastest\n"
        ".SH FILES\n"
        ".TP\n\\fIruns/NAME/policy.yaml\\fR\nthe policy\n"
        ".TP\n\\fIruns/NAME/report.html\\fR\nthe report\n"
        ".TP\n\\fIruns/NAME/run.sqlite\\fR\nthe run store: all that the search learned\n",
        to);
}
