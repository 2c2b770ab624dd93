/* mptune: finds the command, reads its options, calls it. */
#include "base/progress.h"
#include "base/shown.h"
#include "cli/cli.h"
#include <gsl/gsl_errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const cli_command *find_command(const char *parent, const char *name) {
  for (int i = 0; i < cli_command_count; i++) {
    const cli_command *c = cli_commands[i];
    const bool same =
        parent == NULL ? c->parent == NULL : c->parent != NULL && strcmp(c->parent, parent) == 0;
    if (same && strcmp(c->name, name) == 0)
      return c;
  }
  return NULL;
}

static bool is_parent(const char *name) {
  for (int i = 0; i < cli_command_count; i++)
    if (cli_commands[i]->parent != NULL && strcmp(cli_commands[i]->parent, name) == 0)
      return true;
  return false;
}

static int unknown_command(const char *parent, const char *name) {
  const char *names[32] = {0};
  size_t count = 0;
  for (int i = 0; i < cli_command_count && count < 32; i++) {
    const cli_command *c = cli_commands[i];
    if (parent == NULL)
      names[count++] = c->parent == NULL ? c->name : c->parent;
    else if (c->parent != NULL && strcmp(c->parent, parent) == 0)
      names[count++] = c->name;
  }
  const char *near = mpt_nearest_word(name, names, count);
  return cli_mistake("unknown command '%s%s%s'%s%s%s (see mptune --help)",
                     parent == NULL ? "" : parent, parent == NULL ? "" : " ", name,
                     near == NULL ? "" : "; did you mean '", near == NULL ? "" : near,
                     near == NULL ? "" : "'?");
}

static void print_parent_help(const char *parent, FILE *to) {
  for (int i = 0; i < cli_command_count; i++) {
    const cli_command *c = cli_commands[i];
    if (c->parent == NULL || strcmp(c->parent, parent) != 0)
      continue;
    fprintf(to, "  mptune %s %-10s %-28s %s\n", parent, c->name, c->arguments, c->summary);
  }
}

/* The command as it can be typed again. */
static char *typed_line(int count, char **words) {
  mpt_text text = {0};
  mpt_text_add(&text, "mptune");
  for (int i = 1; i < count; i++) {
    mpt_text_add(&text, " ");
    mpt_text_add_shell(&text, words[i]);
  }
  if (!text.failed)
    return text.data;
  mpt_text_free(&text);
  return NULL;
}

static int run_command(const cli_command *command, int count, char **words, const char *typed) {
  cli_values values = {.seed = 1, .typed = typed};
  const int code = cli_parse(command, count, words, &values);
  if (code != EXIT_DONE)
    return code;
  if (values.help) {
    cli_print_help(command, stdout);
    return EXIT_DONE;
  }
  mpt_color color = MPT_COLOR_AUTO;
  if (values.color != NULL) {
    if (strcmp(values.color, "always") == 0)
      color = MPT_COLOR_ALWAYS;
    else if (strcmp(values.color, "never") == 0)
      color = MPT_COLOR_NEVER;
    else if (strcmp(values.color, "auto") != 0)
      return cli_mistake("--color '%s' is not auto, always or never", values.color);
  }
  mpt_log_configure(values.quiet ? 0 : values.verbose ? 2 : 1, color);
  return command->run(&values);
}

static int dispatch(int count, char **words) {
  if (count < 2) {
    cli_print_overview(stderr);
    return EXIT_USAGE;
  }
  const char *first = words[1];
  if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
    cli_print_overview(stdout);
    return EXIT_DONE;
  }
  if (strcmp(first, "--version") == 0) {
    puts("mptune " MPTUNE_VERSION);
    return EXIT_DONE;
  }
  if (strcmp(first, "--manual") == 0) { /* for the build: the man page */
    cli_print_manual(stdout);
    return EXIT_DONE;
  }
  const cli_command *command = find_command(NULL, first);
  int used = 2;
  if (command == NULL && is_parent(first)) {
    if (count < 3 || strcmp(words[2], "--help") == 0 || strcmp(words[2], "-h") == 0) {
      print_parent_help(first, count < 3 ? stderr : stdout);
      return count < 3 ? EXIT_USAGE : EXIT_DONE;
    }
    command = find_command(first, words[2]);
    if (command == NULL)
      return unknown_command(first, words[2]);
    used = 3;
  }
  if (command == NULL)
    return unknown_command(NULL, first);
  char *typed = typed_line(count, words);
  if (typed == NULL) {
    const mpt_error error = {.status = MPT_ERROR_MEMORY, .message = "out of memory at the start"};
    return cli_failed(&error);
  }
  const int code = run_command(command, count - used, words + used, typed);
  free(typed);
  return cli_output_failed() && code == EXIT_DONE ? EXIT_FAILED : code;
}

/* OpenBLAS's own threads, which no product here uses, each want 128 MiB of address space before
 * main begins, and wait for ever, the end of the process too, where a limit denies it. The
 * environment is read before that, so the program starts once more. */
static void start_without_blas_threads(char **words) {
  struct rlimit limit;
  if (getenv("OPENBLAS_NUM_THREADS") != NULL || getrlimit(RLIMIT_AS, &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY)
    return;
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  execv("/proc/self/exe", words); /* where that fails, it goes on as it is */
}

int main(int count, char **words) {
  start_without_blas_threads(words);
  /* GSL aborts the process on an error unless told otherwise; results are checked instead. */
  gsl_set_error_handler_off();
  mpt_json_watch_memory();
  cli_signals_begin();
  const int code = dispatch(count, words);
  const bool written = cli_flush();
  if (cli_reader_gone())
    return code == EXIT_DONE || code == EXIT_INTERRUPTED ? EXIT_READER_GONE : code;
  if (written)
    return code;
  fprintf(stderr, "error: standard output could not be written\n");
  return code == EXIT_DONE ? EXIT_FAILED : code;
}
