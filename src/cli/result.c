/* What commands share: exit codes, directories, tables, figures for people. */
#include "base/error.h"
#include "base/progress.h"
#include "base/shown.h"
#include "cli/cli.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_exit_code(mpt_status status) {
  switch (status) {
  case MPT_OK:
    return EXIT_DONE;
  case MPT_ERROR_INTERRUPTED:
    return EXIT_INTERRUPTED;
  case MPT_ERROR_PROGRAM:
    return EXIT_PROGRAM;
  case MPT_ERROR_MEMORY:
  case MPT_ERROR_NONFINITE:
  case MPT_ERROR_DEVICE:
  case MPT_ERROR_INTERNAL:
  case MPT_ERROR_DAMAGED:
  case MPT_ERROR_DEVICE_MEMORY:
    return EXIT_FAILED;
  default:
    return EXIT_USAGE;
  }
}

int cli_failed(const mpt_error *error) {
  if (error->status == MPT_ERROR_INTERRUPTED)
    mpt_log_note("interrupted; what was learned is saved, the same command continues");
  else
    mpt_log_error(error);
  return cli_exit_code(error->status);
}

int cli_mistake(const char *format, ...) {
  mpt_error error = {.status = MPT_ERROR_ARGUMENT};
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(error.message, sizeof error.message, format, arguments) >=
      (int)sizeof error.message)
    mpt_utf8_trim(error.message);
  va_end(arguments);
  return cli_failed(&error);
}

mpt_status cli_run_directory(const cli_values *values, const char *name, char path[CLI_PATH],
                             mpt_error *error) {
  enum { MOST = CLI_PATH - 32 }; /* room for -N, and for the files in it */
  char base[MOST + 8];
  const char *given = values->run != NULL ? values->run : name;
  if (given[0] == '\0' || strlen(given) > MOST)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the path of the run's directory has %zu characters, not 1 to %d; choose "
                    "another one (-o)",
                    strlen(given), MOST);
  snprintf(base, sizeof base, "%s%s", values->run != NULL ? "" : "runs/", given);
  snprintf(path, CLI_PATH, "%s", base);
  for (int i = 2; values->fresh && access(path, F_OK) == 0; i++)
    snprintf(path, CLI_PATH, "%s-%d", base, i);
  return MPT_OK;
}

mpt_status cli_load_policy(const char *word, mpt_policy **policy, bool *uniform, mpt_error *error) {
  mpt_precision precision;
  const bool file = access(word, F_OK) == 0;
  *uniform = !file && strncmp(word, "all-", 4) == 0;
  if (!file && mpt_precision_parse(word, &precision, NULL) == MPT_OK)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                    "there is no policy file '%s'; did you mean all-%s?", word, word);
  if (!*uniform)
    return mpt_policy_load(word, policy, error);
  MPT_RETURN_IF_FAILED(mpt_precision_parse(word + 4, &precision, error));
  return mpt_policy_uniform(precision, policy, error);
}

void cli_duration(double seconds, char *text, size_t size) {
  if (!isfinite(seconds))
    snprintf(text, size, "-");
  else if (seconds < 1e-3)
    snprintf(text, size, "%.3g us", 1e6 * seconds);
  else if (seconds < 1)
    snprintf(text, size, "%.3g ms", 1e3 * seconds);
  else if (seconds < 120)
    snprintf(text, size, "%.3g s", seconds);
  else if (seconds < 7200)
    snprintf(text, size, "%.3g minutes", seconds / 60);
  else
    snprintf(text, size, "%.3g hours", seconds / 3600);
}

void cli_bytes(double bytes, char *text, size_t size) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4)
    bytes /= 1024, unit++;
  snprintf(text, size, bytes < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

/* What a result was to be printed from was not whole. */
static bool output_failed;

bool cli_output_failed(void) {
  return output_failed;
}

static void fail_output(void) {
  mpt_error error;
  mpt_fail_memory(&error, "the result", 0);
  mpt_log_error(&error);
  output_failed = true;
}

void cli_print_json(const char *schema, json_t *members) {
  char *text = NULL;
  json_t *whole = members == NULL ? NULL : mpt_json_pack("{s:s}", "schema", schema);
  if (whole != NULL && json_object_update(whole, members) != 0) {
    json_decref(whole);
    whole = NULL;
  }
  json_decref(members);
  if (mpt_json_dump(whole, JSON_INDENT(2), "the result", &text, NULL) == MPT_OK)
    puts(text);
  else
    fail_output();
  free(text);
}

void cli_print_shown(const char *text, int columns) {
  mpt_print_shown(stdout, text);
  printf("%*s", columns > mpt_shown_columns(text) ? columns - mpt_shown_columns(text) : 0, "");
}

void cli_print_path(const char *path) {
  if (isatty(STDOUT_FILENO))
    mpt_print_shown(stdout, path);
  else
    fputs(path, stdout);
  putchar('\n');
}

void cli_table_row(cli_table *table, const char *const *cells) {
  if (table->rows == table->capacity) {
    const int capacity = 2 * table->capacity + 16;
    void *grown = realloc(table->cells, (size_t)capacity * sizeof *table->cells);
    if (grown == NULL) {
      table->failed = true;
      return;
    }
    table->cells = grown;
    table->capacity = capacity;
  }
  char **row = table->cells[table->rows++];
  for (int c = 0; c < table->columns; c++) {
    row[c] = strdup(cells[c]);
    table->failed = table->failed || row[c] == NULL;
  }
}

void cli_table_clear(cli_table *table) {
  for (int r = 0; r < table->rows; r++)
    for (int c = 0; c < table->columns; c++)
      free(table->cells[r][c]);
  free(table->cells);
  *table = (cli_table){0};
}

static void print_cells(const cli_table *table) {
  int width[CLI_MAX_COLUMNS] = {0};
  for (int r = 0; r < table->rows; r++) {
    for (int c = 0; c < table->columns; c++) {
      const int columns = mpt_shown_columns(table->cells[r][c]);
      width[c] = columns > width[c] ? columns : width[c];
    }
  }
  for (int r = 0; r < table->rows; r++) {
    cli_print_shown(table->cells[r][0], width[0]);
    for (int c = 1; c < table->columns; c++) {
      const char *cell = table->cells[r][c];
      printf("  %*s", width[c] - mpt_shown_columns(cell), "");
      mpt_print_shown(stdout, cell);
    }
    putchar('\n');
  }
}

void cli_table_print(cli_table *table) {
  if (table->failed)
    fail_output();
  else
    print_cells(table);
  cli_table_clear(table);
}
