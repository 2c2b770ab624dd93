#include "base/text.h"
#include "cli/commands.h"
#include "report/report.h"
#include <stdlib.h>

static const cli_option options[] = {
    {"markdown", 0, CLI_FLAG, CLI_OFFSET(markdown), NULL, "print it as Markdown instead", 0, 0},
};

static int run(const cli_values *values) {
  mpt_error error = {0};
  const char *directory = values->arguments[0];
  if (values->json || values->markdown) {
    char *text = NULL;
    if (report_text(directory, values->json ? REPORT_JSON : REPORT_MARKDOWN, &text, &error) !=
        MPT_OK)
      return cli_failed(&error);
    fputs(text, stdout);
    free(text);
    return EXIT_DONE;
  }
  if (report_write(directory, REPORT_HTML, &error) != MPT_OK)
    return cli_failed(&error);
  mpt_text path = {0};
  mpt_text_addf(&path, "%s/report.html", directory);
  if (!path.failed)
    cli_print_path(path.data);
  const bool failed = path.failed;
  mpt_text_free(&path);
  return failed ? EXIT_FAILED : EXIT_DONE;
}

const cli_command command_report = {
    .name = "report",
    .arguments = "RUN",
    .argument_low = 1,
    .argument_high = 1,
    .summary = "write RUN/report.html again from the run store",
    .examples = "  mptune report runs/text-gpt\n  mptune report runs/text-gpt --markdown\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run,
};
