/* Signals: the one place where the command takes any.
 *
 * The first INT, TERM or HUP asks the command to save and end; after it INT and TERM do what they
 * do by default, so that a second one always ends the process, whatever it is stuck in. HUP is left
 * ignored where it was when the program started (nohup).
 *
 * A pipe whose reader has gone is an error of the write that meets it. On standard output it asks
 * to end as a signal does (`mptune train -v | head`), quietly; what is lost of standard error is
 * lost.
 */
#include "cli/cli.h"
#include <errno.h>
#include <signal.h>

volatile int cli_interrupted = 0;
static bool reader_gone = false;

static void on_signal(int number) {
  (void)number;
  cli_interrupted = 1;
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

void cli_signals_begin(void) {
  signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of the write that meets it */
  signal(SIGPIPE, SIG_IGN);
}

/* A closed terminal may send HUP more than once: the second does not cut off the saving. */
void cli_catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal}, before;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
    sigaction(SIGHUP, &action, NULL);
}

bool cli_flush(void) {
  errno = 0;
  const bool good = fflush(stdout) == 0 && !ferror(stdout);
  if (!good && errno == EPIPE)
    reader_gone = true;
  if (reader_gone)
    cli_interrupted = 1;
  return good;
}

bool cli_reader_gone(void) {
  return reader_gone;
}
