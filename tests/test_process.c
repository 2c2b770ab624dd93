/* Programs that are run: how they end, what is left of them, what they print. */
#include "base/clock.h"
#include "base/file.h"
#include "process/process.h"
#include "store_fixture.h"
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct run {
  char log[600], last[2000];
  process_result result;
} run;

static process_options options_for(void **state, run *r, const char *command) {
  process_options o = process_options_default();
  snprintf(r->log, sizeof r->log, "%s/log", (const char *)*state);
  o.command = command;
  o.log = r->log;
  o.grace = 0.3;
  return o;
}

static run carry_out(const process_options *o, run r) {
  mpt_error error = {0};
  process *p = NULL;
  if (process_start(o, &p, &error) != MPT_OK)
    fail_msg("%s", error.message);
  while (!process_wait(&p, 1, 30)) {
  }
  assert_true(process_ended(p, &r.result));
  process_last_lines(p, 3, r.last, sizeof r.last);
  process_close(p);
  return r;
}

static run run_command(void **state, const char *command) {
  run r = {0};
  const process_options o = options_for(state, &r, command);
  return carry_out(&o, r);
}

static char *contents(const char *path) {
  char *text = NULL;
  size_t length;
  assert_int_equal(mpt_file_read(path, 64 << 20, &text, &length, NULL), MPT_OK);
  return text;
}

/* Whether a process with that id runs; a zombie that nobody reaps does not. */
static bool runs(const char *file) {
  char *text = contents(file), path[64];
  snprintf(path, sizeof path, "/proc/%ld/stat", atol(text));
  free(text);
  char stat[256] = "";
  FILE *f = fopen(path, "r");
  if (f == NULL)
    return false;
  const size_t length = fread(stat, 1, sizeof stat - 1, f);
  fclose(f);
  stat[length] = '\0';
  return strstr(stat, ") Z") == NULL;
}

static int descriptors(void) {
  int count = 0;
  DIR *all = opendir("/proc/self/fd");
  assert_non_null(all);
  while (readdir(all) != NULL)
    count++;
  closedir(all);
  return count;
}

/* ---- how they end ---- */

static void its_exit_code_is_known(void **state) {
  const run r = run_command(state, "exit 125");
  assert_false(r.result.signalled);
  assert_int_equal(r.result.code, 125);
  assert_false(r.result.timed_out || r.result.killed || r.result.stopped || r.result.lost);
  assert_int_equal(r.result.left_behind, 0);
}

static void its_signal_is_known(void **state) {
  char name[20];
  const run r = run_command(state, "kill -SEGV $$");
  assert_true(r.result.signalled);
  assert_int_equal(r.result.code, SIGSEGV);
  process_signal_name(r.result.code, name, sizeof name);
  assert_string_equal(name, "SIGSEGV");
}

static void a_limit_on_time_ends_it_with_its_children(void **state) {
  run r = {0};
  process_options o =
      options_for(state, &r, "sleep 60 & echo $! > child; echo begun; wait; echo not reached");
  o.directory = *state;
  o.limit = 0.3;
  const double began = mpt_clock_seconds();
  r = carry_out(&o, r);
  assert_true(r.result.timed_out);
  assert_false(r.result.killed); /* TERM was enough */
  assert_int_equal(r.result.code, SIGTERM);
  assert_true(mpt_clock_seconds() - began < 10);
  assert_true(r.result.seconds >= 0.3);
  assert_string_equal(r.last, "begun");
  char child[600];
  snprintf(child, sizeof child, "%s/child", (const char *)*state);
  assert_false(runs(child));
}

static void one_that_does_not_heed_term_is_killed(void **state) {
  run r = {0};
  process_options o = options_for(state, &r, "trap '' TERM; while :; do sleep 0.05; done");
  o.limit = 0.2;
  r = carry_out(&o, r);
  assert_true(r.result.timed_out);
  assert_true(r.result.killed);
  assert_int_equal(r.result.code, SIGKILL);
  assert_true(r.result.seconds >= 0.5); /* the limit, and the grace */
}

static void it_may_clean_up_when_it_is_stopped(void **state) {
  run r = {0};
  mpt_error error = {0};
  process *p = NULL;
  const process_options o = options_for(
      state, &r, "trap 'echo cleaned; exit 7' TERM; echo ready; while :; do sleep 0.02; done");
  assert_int_equal(process_start(&o, &p, &error), MPT_OK);
  for (int i = 0; i < 500 && strstr(r.last, "ready") == NULL; i++) {
    assert_false(process_wait(&p, 1, 0.01));
    process_last_lines(p, 1, r.last, sizeof r.last);
  }
  process_stop(p);
  while (!process_wait(&p, 1, 10)) {
  }
  assert_true(process_ended(p, &r.result));
  assert_true(r.result.stopped);
  assert_int_equal(r.result.code, 7);
  process_last_lines(p, 1, r.last, sizeof r.last);
  assert_string_equal(r.last, "cleaned");
  process_close(p);
}

static void what_it_leaves_running_is_ended(void **state) {
  run r = {0};
  /* One in its group, and one in a group of its own that does not heed TERM. */
  process_options o = options_for(state, &r,
                                  "sleep 60 & echo $! > first; set -m; sh -c 'trap \"\" TERM; "
                                  "while :; do sleep 0.05; done' & echo $! > second; exit 0");
  o.directory = *state;
  r = carry_out(&o, r);
  assert_int_equal(r.result.code, 0);
  assert_true(r.result.left_behind >= 2);
  assert_true(r.result.killed);
  char path[600];
  snprintf(path, sizeof path, "%s/first", (const char *)*state);
  assert_false(runs(path));
  snprintf(path, sizeof path, "%s/second", (const char *)*state);
  assert_false(runs(path));
}

static void a_helper_that_ends_by_itself_is_not_left_behind(void **state) {
  const run r = run_command(state, "sleep 0.1 & exit 0");
  assert_int_equal(r.result.left_behind, 0);
}

static void one_that_is_closed_is_gone(void **state) {
  run r = {0};
  mpt_error error = {0};
  process *p = NULL;
  process_options o = options_for(state, &r, "echo $$ > self; trap '' TERM; exec sleep 60");
  char path[600];
  snprintf(path, sizeof path, "%s/self", (const char *)*state);
  o.directory = *state;
  assert_int_equal(process_start(&o, &p, &error), MPT_OK);
  for (int i = 0; i < 500 && access(path, F_OK) != 0; i++)
    process_wait(&p, 1, 0.01);
  usleep(20000);
  assert_true(runs(path));
  process_close(p);
  assert_false(runs(path));
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* ---- what it is given ---- */

static void it_has_the_environment_the_directory_and_no_input(void **state) {
  run r = {0};
  const char *added[] = {"MPTUNE_MODE=train", "HOME=/nowhere", "EMPTY=", NULL};
  process_options o =
      options_for(state, &r, "cat; echo \"$MPTUNE_MODE $HOME [$EMPTY] ${PATH:+path}\"; pwd");
  o.directory = *state;
  o.environment = added;
  char expected[700], real[600];
  assert_non_null(realpath(*state, real));
  snprintf(expected, sizeof expected, "train /nowhere [] path\n%s", real);
  r = carry_out(&o, r);
  assert_string_equal(r.last, expected);
}

/* Opened by someone who did not think of children. */
static void it_inherits_no_descriptor_but_those_it_is_given(void **state) {
  run r = {0};
  int stray[2], given[2];
  assert_int_equal(pipe(stray), 0);
  assert_int_equal(pipe(given), 0);
  process_options o = options_for(state, &r, "ls /proc/self/fd | tr '\\n' ' '");
  o.descriptors = &given[1];
  o.descriptor_count = 1;
  char expected[40];
  snprintf(expected, sizeof expected, "0 1 2 3 %d ", given[1]); /* 3: ls reads the folder */
  r = carry_out(&o, r);
  assert_string_equal(r.last, expected);
  for (int i = 0; i < 2; i++) {
    close(stray[i]);
    close(given[i]);
  }
}

static void its_signals_are_those_of_a_shell(void **state) {
  void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
  const run r = run_command(state, "kill -XFSZ $$; echo ignored");
  signal(SIGXFSZ, before);
  assert_true(r.result.signalled);
  assert_int_equal(r.result.code, SIGXFSZ);
}

static void a_file_grows_to_its_limit(void **state) {
  run r = {0};
  process_options o = options_for(state, &r, "exec dd if=/dev/zero of=large bs=1000 count=1000");
  o.directory = *state;
  o.file_bytes = 100000;
  r = carry_out(&o, r);
  assert_true(r.result.signalled);
  assert_int_equal(r.result.code, SIGXFSZ);
  char path[600];
  struct stat about;
  snprintf(path, sizeof path, "%s/large", (const char *)*state);
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_size, 100000);
}

static void what_cannot_be_started_leaves_nothing(void **state) {
  run r = {0};
  mpt_error error = {0};
  process *p = NULL;
  process_options o = options_for(state, &r, "true");
  const int before = descriptors();
  o.directory = "/no/such/directory";
  assert_int_equal(process_start(&o, &p, &error), MPT_ERROR_IO);
  assert_string_equal(error.message,
                      "cannot run a program in '/no/such/directory': No such file or directory");
  o.directory = NULL;
  o.log = "/no/such/directory/log";
  assert_int_equal(process_start(&o, &p, &error), MPT_ERROR_IO);
  assert_int_equal(descriptors(), before);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* ---- what it prints ---- */

static void output_and_errors_are_in_the_log(void **state) {
  const run r = run_command(state, "echo one; echo two >&2; printf '\\n  \\nthree\\n\\n'");
  char *log = contents(r.log);
  assert_string_equal(log, "one\ntwo\n\n  \nthree\n\n");
  free(log);
  assert_string_equal(r.last, "one\ntwo\nthree");
  assert_int_equal(r.result.printed, 19);
}

static void what_a_terminal_would_obey_is_shown_as_text(void **state) {
  const run r = run_command(state, "printf 'progress 1\\rprogress 2\\033[2J\\0end \\377\\n'");
  assert_string_equal(r.last, "progress 1\nprogress 2\\x1b[2J end \xef\xbf\xbd");
}

static void a_flood_is_cut_in_the_middle(void **state) {
  run r = {0};
  process_options o = options_for(state, &r, "seq 1 300000; echo the end");
  o.log_bytes = 1000;
  r = carry_out(&o, r);
  char *log = contents(r.log);
  const size_t length = strlen(log);
  assert_true(length < 70000);
  assert_memory_equal(log, "1\n2\n3\n", 6);
  assert_non_null(strstr(log, "\n[mptune left out "));
  assert_string_equal(log + length - 15, "300000\nthe end\n");
  free(log);
  assert_int_equal(r.result.printed, 1988903);
  assert_string_equal(r.last, "299999\n300000\nthe end");
}

static void last_lines_that_do_not_fit_are_the_newest(void **state) {
  run r = {0};
  char little[12];
  mpt_error error = {0};
  process *p = NULL;
  const process_options o = options_for(state, &r, "echo first line; echo second");
  assert_int_equal(process_start(&o, &p, &error), MPT_OK);
  while (!process_wait(&p, 1, 10)) {
  }
  process_last_lines(p, 5, little, sizeof little);
  assert_string_equal(little, "second");
  process_close(p);
}

/* ---- many ---- */

/* The first waits for what the last does. */
static void several_run_side_by_side(void **state) {
  static const char *const commands[] = {"while [ ! -e go ]; do sleep 0.01; done; exit 1",
                                         "while [ ! -e go ]; do sleep 0.01; done; exit 2",
                                         "sleep 0.1; touch go; exit 4"};
  enum { MANY = sizeof commands / sizeof commands[0] };
  process *all[MANY];
  mpt_error error = {0};
  int codes = 0;
  for (int i = 0; i < MANY; i++) {
    run r = {0};
    char log[700];
    process_options o = options_for(state, &r, commands[i]);
    snprintf(log, sizeof log, "%s-%d", r.log, i);
    o.log = log;
    o.directory = *state;
    assert_int_equal(process_start(&o, &all[i], &error), MPT_OK);
  }
  for (int left = MANY; left > 0;) {
    assert_true(process_wait(all, left, 30));
    for (int i = left - 1; i >= 0; i--) {
      process_result result;
      if (!process_ended(all[i], &result))
        continue;
      codes |= result.code;
      process_close(all[i]);
      all[i] = all[--left];
    }
  }
  assert_int_equal(codes, 1 | 2 | 4);
}

static void waiting_ends_when_it_should(void **state) {
  run r = {0};
  mpt_error error = {0};
  process *p = NULL;
  const process_options o = options_for(state, &r, "exec sleep 60");
  assert_int_equal(process_start(&o, &p, &error), MPT_OK);
  const clock_t work = clock();
  const double began = mpt_clock_seconds();
  assert_false(process_wait(&p, 1, 0.3));
  const double waited = mpt_clock_seconds() - began;
  assert_true(waited >= 0.3 && waited < 5);
  assert_true((double)(clock() - work) / CLOCKS_PER_SEC < 0.05); /* asleep */
  process_close(p);
}

static int in_a_row = 50; /* a thousand in the long tier */

static void many_in_a_row_leave_nothing(void **state) {
  const int before = descriptors();
  for (int i = 0; i < in_a_row; i++)
    assert_int_equal(run_command(state, "echo x; exit 3").result.code, 3);
  assert_int_equal(descriptors(), before);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* not even a zombie */
  run r = {0};
  options_for(state, &r, "");
  assert_int_equal(unlink(r.log), 0);
  assert_int_equal(rmdir(*state), 0); /* there was no other file */
}

int main(int argc, char **argv) {
  if (argc == 2)
    in_a_row = atoi(argv[1]);
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(its_exit_code_is_known),
      IN_DIRECTORY(its_signal_is_known),
      IN_DIRECTORY(a_limit_on_time_ends_it_with_its_children),
      IN_DIRECTORY(one_that_does_not_heed_term_is_killed),
      IN_DIRECTORY(it_may_clean_up_when_it_is_stopped),
      IN_DIRECTORY(what_it_leaves_running_is_ended),
      IN_DIRECTORY(a_helper_that_ends_by_itself_is_not_left_behind),
      IN_DIRECTORY(one_that_is_closed_is_gone),
      IN_DIRECTORY(it_has_the_environment_the_directory_and_no_input),
      IN_DIRECTORY(it_inherits_no_descriptor_but_those_it_is_given),
      IN_DIRECTORY(its_signals_are_those_of_a_shell),
      IN_DIRECTORY(a_file_grows_to_its_limit),
      IN_DIRECTORY(what_cannot_be_started_leaves_nothing),
      IN_DIRECTORY(output_and_errors_are_in_the_log),
      IN_DIRECTORY(what_a_terminal_would_obey_is_shown_as_text),
      IN_DIRECTORY(a_flood_is_cut_in_the_middle),
      IN_DIRECTORY(last_lines_that_do_not_fit_are_the_newest),
      IN_DIRECTORY(several_run_side_by_side),
      IN_DIRECTORY(waiting_ends_when_it_should),
      IN_DIRECTORY(many_in_a_row_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
