/* Signals of the command: the first asks it to end, the second ends it, whatever it does then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A command that takes no notice, and says when it could have. */
static void stuck(int report) {
  cli_catch_signals();
  (void)!write(report, "r", 1);
  for (bool said = false;; usleep(1000))
    if (cli_interrupted && !said)
      said = write(report, "i", 1) == 1;
}

static char next_report(int report) {
  char c = 0;
  assert_int_equal(read(report, &c, 1), 1);
  return c;
}

static void after_the_first_a_second_ends_the_process(void **unused) {
  (void)unused;
  static const int firsts[] = {SIGINT, SIGTERM, SIGHUP}, seconds[] = {SIGINT, SIGTERM};
  for (int i = 0; i < 6; i++) {
    int report[2], status;
    assert_int_equal(pipe(report), 0);
    signal(SIGHUP, SIG_DFL); /* it may be ignored where the tests run */
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
      stuck(report[1]);
    assert_int_equal(next_report(report[0]), 'r');
    kill(child, firsts[i / 2]);
    assert_int_equal(next_report(report[0]), 'i'); /* it lives */
    kill(child, seconds[i % 2]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == seconds[i % 2]);
    close(report[0]);
    close(report[1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(after_the_first_a_second_ends_the_process)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
