/* What `mptune tune` takes outside its trainings: the wall time of the process, from its start to
 * its end, less the seconds of the evaluations in its store.
 *
 *   bench_overhead MPTUNE [REPEATS] WORKLOAD...      REPEATS: 5
 *
 * A row for each workload: the medians over the repeats, and the least and largest share. Runs are
 * made in memory (/dev/shm) and, where DISK is set, in that directory. */
#include "base/clock.h"
#include "base/median.h"
#include "store/store.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_REPEATS = 100 };

typedef struct sample {
  double wall, processor, trained;
  int evaluations;
} sample;

static void die(const char *what) {
  fprintf(stderr, "error: %s\n", what);
  exit(1);
}

static void remove_run(const char *run) {
  static const char *const names[] = {"run.sqlite", "run.sqlite-wal", "run.sqlite-shm",
                                      "run.lock",   "policy.yaml",    "report.html"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", run, names[i]);
    unlink(path);
  }
  rmdir(run);
}

static double seconds_of(struct timeval t) {
  return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

static void add_trainings(const char *run, sample *s) {
  mpt_error error = {0};
  store *records = NULL;
  store_evaluation *all = NULL;
  if (store_open(run, STORE_READ, &records, &error) != MPT_OK ||
      store_all_evaluations(records, &all, &s->evaluations, &error) != MPT_OK)
    die(error.message);
  for (int i = 0; i < s->evaluations; i++) {
    s->trained += all[i].total_seconds;
    store_evaluation_clear(&all[i]);
  }
  free(all);
  store_close(records);
}

static sample tune_once(const char *mptune, const char *workload, const char *run) {
  sample s = {0};
  char *arguments[] = {(char *)mptune, "tune", (char *)workload, "-q", "-o", (char *)run, NULL};
  posix_spawn_file_actions_t quiet;
  pid_t child;
  int status = 0;
  struct rusage used;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  const double began = mpt_clock_seconds();
  if (posix_spawn(&child, mptune, &quiet, NULL, arguments, environ) != 0)
    die("mptune does not start");
  wait4(child, &status, 0, &used);
  s.wall = mpt_clock_seconds() - began;
  s.processor = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
  posix_spawn_file_actions_destroy(&quiet);
  if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3))
    die("a search failed");
  add_trainings(run, &s);
  remove_run(run);
  return s;
}

static double share_of(const sample *s) {
  return (s->wall - s->trained) / s->wall;
}

static void measure(const char *mptune, const char *workload, int repeats) {
  double wall[MOST_REPEATS], processor[MOST_REPEATS], outside[MOST_REPEATS], share[MOST_REPEATS];
  double least = 1, most = 0;
  int evaluations = 0;
  char run[64];
  snprintf(run, sizeof run, "%s/mptune-overhead-%d",
           getenv("DISK") != NULL ? getenv("DISK") : "/dev/shm", (int)getpid());
  for (int i = 0; i < repeats; i++) {
    const sample s = tune_once(mptune, workload, run);
    wall[i] = s.wall, processor[i] = s.processor, outside[i] = s.wall - s.trained;
    share[i] = share_of(&s);
    least = share[i] < least ? share[i] : least;
    most = share[i] > most ? share[i] : most;
    evaluations = s.evaluations;
  }
  printf("| %s | %d | %.3f | %.3f | %.1f | %.1f%% | %.1f to %.1f%% |\n", workload, evaluations,
         mpt_median(wall, repeats), mpt_median(processor, repeats),
         1e3 * mpt_median(outside, repeats), 100 * mpt_median(share, repeats), 100 * least,
         100 * most);
  fflush(stdout);
}

int main(int count, char **arguments) {
  int first = 2, repeats = 5;
  if (count > 2 && atoi(arguments[2]) > 0)
    repeats = atoi(arguments[first++]);
  if (count <= first || repeats > MOST_REPEATS) {
    fprintf(stderr, "usage: bench_overhead MPTUNE [REPEATS] WORKLOAD...\n");
    return 2;
  }
  printf("| workload | trainings | wall, s | processor, s | outside, ms | share | least to most |\n"
         "| --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = first; i < count; i++)
    measure(arguments[1], arguments[i], repeats);
  return 0;
}
