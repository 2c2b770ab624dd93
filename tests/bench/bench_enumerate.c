/* Trains every policy of the small networks of tables/networks.h under SEEDS seeds, and keeps what
 * came out in DIRECTORY/NAME.table (tables/policy_table.h). PROCESSES of them train side by side,
 * each on one core; after SECONDS they end. The same command goes on where the last one ended, with
 * a larger SEEDS too; tables of 64 seeds have 64 KiB each. Networks whose data is not on this
 * machine are left out. Runs in the root of the source tree.
 *
 *   bench_enumerate DIRECTORY SEEDS PROCESSES SECONDS [NAME...]
 *
 * Prints how many trainings are done and left; exit 0, with nothing left or not. */
#include "base/clock.h"
#include "base/progress.h"
#include "tests/bench/tables/policy_table.h"
#include "train/trainer.h"
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK    8 /* policies that a process takes at once */
#define NETWORKS 64

static struct {
  table_network network[NETWORKS];
  policy_table table[NETWORKS];
  int count, seeds;
  double until;
  atomic_long *next; /* the chunk that nobody has taken: shared by the processes */
} all;

static float train(const table_network *n, int policy, int seed) {
  mpt_error error = {0};
  int choice[TABLE_UNITS];
  train_options o = train_options_default();
  train_result result = {0};
  mpt_layer_policy *assignment = calloc((size_t)n->graph->layer_count, sizeof *assignment);
  table_choice(n->space, policy, choice);
  space_assignment(n->space, choice, assignment);
  o.workload = n->w, o.graph = n->graph, o.data = n->data;
  o.assignment = assignment;
  o.loss_scale = n->w->loss_scale;
  o.seed = (uint64_t)seed + 1;
  o.steps = n->w->steps;
  if (train_run(&o, &result, &error) != MPT_OK) {
    mpt_log_error(&error);
    _exit(1);
  }
  const double metric = result.diverged || !isfinite(result.metric) ? INFINITY : result.metric;
  train_result_clear(&result);
  free(assignment);
  return (float)metric;
}

static int chunks_of(int network) {
  return (all.network[network].policies + CHUNK - 1) / CHUNK;
}

/* Chunks in the order of seeds, then networks: what is not finished has few seeds of all. */
static bool find_chunk(long chunk, int *network, int *seed, int *first) {
  long of_seed = 0;
  for (int i = 0; i < all.count; i++)
    of_seed += chunks_of(i);
  if (of_seed == 0)
    return false;
  *seed = (int)(chunk / of_seed);
  chunk %= of_seed;
  for (*network = 0; chunk >= chunks_of(*network); (*network)++)
    chunk -= chunks_of(*network);
  *first = (int)chunk * CHUNK;
  return *seed < all.seeds;
}

static void work(void) {
  int network, seed, first;
  while (find_chunk(atomic_fetch_add(all.next, 1), &network, &seed, &first)) {
    const table_network *n = &all.network[network];
    float *metric = all.table[network].metric + (size_t)seed * (size_t)n->policies;
    for (int p = first; p < first + CHUNK && p < n->policies; p++) {
      if (!isnan(metric[p]))
        continue;
      if (mpt_clock_seconds() > all.until)
        return;
      metric[p] = train(n, p, seed);
    }
  }
}

static bool is_wanted(const char *name, char **names, int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0)
      return true;
  return count == 0;
}

static void open_all(const char *directory, char **names, int count) {
  for (int i = 0; i < table_network_count(); i++) {
    mpt_error error = {0};
    table_network *n = &all.network[all.count];
    if (!is_wanted(table_network_name(i), names, count))
      continue;
    if (table_network_open(directory, i, n, &error) == MPT_OK &&
        policy_table_open(directory, n, all.seeds, true, &all.table[all.count], &error) == MPT_OK) {
      all.count++;
      continue;
    }
    mpt_log_warning("'%s' is left out: %s", table_network_name(i), error.message);
    table_network_close(n);
  }
}

static long count_known(void) {
  long known = 0;
  for (int i = 0; i < all.count; i++)
    for (long k = 0; k < (long)all.seeds * all.network[i].policies; k++)
      known += !isnan(all.table[i].metric[k]);
  return known;
}

static long count_all(void) {
  long most = 0;
  for (int i = 0; i < all.count; i++)
    most += (long)all.seeds * all.network[i].policies;
  return most;
}

/* Whether all of them ended well. */
static bool run_processes(int processes) {
  bool well = true;
  for (int i = 0; i < processes; i++) {
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM); /* nothing trains on when the whole was stopped */
      work();
      _exit(0);
    }
    well = well && child > 0;
  }
  int status = 0;
  while (wait(&status) > 0)
    well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return well;
}

int main(int argc, char **argv) {
  const int processes = argc > 4 ? atoi(argv[3]) : 0;
  const double started = mpt_clock_seconds();
  all.seeds = argc > 4 ? atoi(argv[2]) : 0;
  if (all.seeds < 1 || all.seeds > 4096 || processes < 1 || processes > 1024) {
    fprintf(stderr, "usage: bench_enumerate DIRECTORY SEEDS PROCESSES SECONDS [NAME...]\n");
    return 2;
  }
  all.until = started + atof(argv[4]);
  all.next =
      mmap(NULL, sizeof *all.next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (all.next == MAP_FAILED)
    return 1;
  open_all(argv[1], argv + 5, argc - 5);
  const long before = count_known(), most = count_all();
  const bool well = all.count > 0 && run_processes(processes);
  const long known = count_known();
  const double seconds = mpt_clock_seconds() - started;
  printf(
      "%ld of %ld trainings of %d networks are done, %ld now, in %.0f s: %.2f ms each on a core\n",
      known, most, all.count, known - before, seconds,
      known > before ? 1e3 * seconds * processes / (double)(known - before) : 0);
  for (int i = 0; i < all.count; i++) {
    printf("  %s: %d policies, %d whole seeds\n", all.network[i].name, all.network[i].policies,
           policy_table_whole(&all.table[i]));
    policy_table_close(&all.table[i]);
    table_network_close(&all.network[i]);
  }
  return !well;
}
