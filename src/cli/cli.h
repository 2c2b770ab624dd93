/* The command line: one table of commands, each with a table of options that drives parsing, help
 * and the man page. A new command is one file, src/cli/command_NAME.c, and one line in commands.c.
 */
#ifndef CLI_H
#define CLI_H

#include "base/json.h"
#include "mptune/mptune.h"
#include <stdio.h>

/* help.c says what each means. */
enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  EXIT_NO_POLICY = 3,
  EXIT_PROGRAM = 4,
  EXIT_INTERRUPTED = 130,
  EXIT_READER_GONE = 141 /* as a shell has it of SIGPIPE */
};

#define CLI_MAX_WORDS 64

/* Every option's value; a command uses those in its table. */
typedef struct cli_values {
  const char *run;    /* -o */
  const char *output; /* bench's -o */
  const char *target, *backend;
  const char *policies[CLI_MAX_WORDS];
  int policy_count;
  const char *to, *rename_file; /* policy export's */
  const char *renames[CLI_MAX_WORDS];
  int rename_count;
  const char *save, *save_initial, *save_batches;
  const char *program, *metric, *budget; /* tune --command */
  int64_t device, seed, seeds, evaluations, pairs, steps, checkpoint_every;
  double max_time, alpha, limit;
  bool json, quiet, verbose, dry_run, baselines, fresh, force, lenient, approximate, quick, resume,
      markdown, help;
  const char *color;
  const char *arguments[CLI_MAX_WORDS]; /* the words that are no options */
  int argument_count;
  const char *typed; /* the whole command line, for provenance */
} cli_values;

typedef enum cli_kind {
  CLI_FLAG,
  CLI_TEXT,
  CLI_INTEGER,
  CLI_NUMBER,
  CLI_POLICY,
  CLI_RENAME
} cli_kind;

typedef struct cli_option {
  const char *name; /* "dry-run" */
  char letter;      /* 'n', or 0 */
  cli_kind kind;
  size_t offset;        /* in cli_values */
  const char *argument; /* "FILE", for help; NULL for flags */
  const char *help;
  int64_t low, high; /* CLI_INTEGER */
} cli_option;

#define CLI_OFFSET(field) offsetof(cli_values, field)

/* Options of every command that trains, and of those that time what they train. */
#define CLI_BACKEND_OPTIONS                                                                        \
  {"backend", 0,                                                                                   \
   CLI_TEXT,  CLI_OFFSET(backend),                                                                 \
   "NAME",    "cpu, cuda, or auto: a GPU if there is one (auto)",                                  \
   0,         0},                                                                                  \
  {                                                                                                \
    "device", 0, CLI_INTEGER, CLI_OFFSET(device), "N", "which GPU (0)", 0, 1023                    \
  }
#define CLI_TARGET_OPTION                                                                          \
  {                                                                                                \
    "target", 0, CLI_TEXT, CLI_OFFSET(target), "NAME|FILE|here",                                   \
        "profile to price by, or times measured here", 0, 0                                        \
  }

typedef struct cli_command {
  const char *name;      /* "tune" */
  const char *parent;    /* "policy" for its verbs, NULL */
  const char *arguments; /* "WORKLOAD" */
  int argument_low, argument_high;
  const char *summary;  /* one line */
  const char *examples; /* lines, shown first */
  const char *text;     /* a paragraph, or NULL */
  const cli_option *options;
  int option_count;
  int (*run)(const cli_values *values);
} cli_command;

extern const cli_command *const cli_commands[];
extern const int cli_command_count;
extern const cli_option cli_common_options[];
extern const int cli_common_option_count;

/* options.c: fills values; on a mistake prints it with a hint and returns EXIT_USAGE. */
int cli_parse(const cli_command *command, int count, char **words, cli_values *values);

/* help.c */
void cli_print_overview(FILE *to);
void cli_print_help(const cli_command *command, FILE *to);
void cli_print_manual(FILE *to); /* roff, for man(1) */

/* result.c: what commands share */
int cli_exit_code(mpt_status status);
/* Prints the error and gives the exit code. */
int cli_failed(const mpt_error *error);
/* The same of a mistake in the command line. */
int cli_mistake(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The run's directory: -o, else runs/NAME; --fresh: the first of NAME-2, NAME-3, ... that is free.
 * A path that is empty or too long is refused, never cut off. */
#define CLI_PATH 512
mpt_status cli_run_directory(const cli_values *values, const char *name, char path[CLI_PATH],
                             mpt_error *error);
/* A policy file, or (*uniform) "all-fp8" and the like, where no file is called so. */
mpt_status cli_load_policy(const char *word, mpt_policy **policy, bool *uniform, mpt_error *error);
/* Seconds as people read them: "3.1 hours", "128 ms". */
void cli_duration(double seconds, char *text, size_t size);
void cli_bytes(double bytes, char *text, size_t size);
/* One object on standard output, its first member the schema: mptune/NAME@VERSION, as docs/json.md
 * describes it. Takes the reference. */
void cli_print_json(const char *schema, json_t *members);
void cli_print_shown(const char *text, int columns); /* a name on standard output, padded */
void cli_print_path(const char *path); /* a line: as it is for programs, as shown on a terminal */
/* A result that could not be printed whole: the command then fails. */
bool cli_output_failed(void);

/* signals.c */
/* Set by INT, TERM and HUP, and when nobody reads standard output any more: to save and end. */
extern volatile int cli_interrupted;
void cli_signals_begin(void); /* of every command */
void cli_catch_signals(void); /* of those that have something to save */
/* Writes out what standard output holds; false when that failed, then or before. */
bool cli_flush(void);
bool cli_reader_gone(void); /* that was why */

/* A table on standard output: left-aligned first column, the others right-aligned. Cells are
 * copied, whole, and shown without what would move the cursor (base/shown.h). */
#define CLI_MAX_COLUMNS 12
typedef struct cli_table {
  int columns, rows, capacity;
  char *(*cells)[CLI_MAX_COLUMNS];
  bool failed; /* for lack of memory: it is not printed */
} cli_table;
void cli_table_row(cli_table *table, const char *const *cells);
void cli_table_print(cli_table *table); /* and clears it */
void cli_table_clear(cli_table *table);

#endif
