/* The team of threads that shares each operation of a queue.
 *
 * A training step is hundreds of operations of a few microseconds, so a worker that has finished
 * spins for a while before it sleeps: waking it from a futex costs more than most operations. It
 * doesn't spin where there are more threads than processors.
 *
 * Tasks are taken by whoever is free, the caller among them: on a busy machine, where a worker may
 * not get a processor in time, an operation takes no longer than on one thread. */
#include "base/clock.h"
#include "kernels/cpu/cpu.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TASK_WORK = 8192 };
static const double spin_seconds = 50e-6;

typedef struct worker {
  mpt_cpu_team *team;
  pthread_t thread;
} worker;

struct mpt_cpu_team {
  int threads;
  bool spins;
  mpt_allocator allocator; /* without functions: the C library's */
  char *scratch;
  size_t scratch_bytes;
  char fetched[MPT_FETCH_SLOTS][MPT_FETCH_BYTES];
  atomic_bool leaving; /* a worker late for the last round looks too */
  mpt_cpu_task *function;
  void *context;
  _Alignas(64) atomic_ullong tickets; /* tasks << 32 | next task */
  _Alignas(64) atomic_uint pending;   /* tasks that are not done */
  _Alignas(64) atomic_uint round;     /* goes up when there is work */
  _Alignas(64) atomic_int sleepers;
  worker workers[];
};

static void pause_processor(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Waits until *word is not `old`. */
static void wait_change(mpt_cpu_team *team, atomic_uint *word, unsigned old) {
  if (team->spins) {
    double start = mpt_clock_seconds();
    do {
      for (int i = 0; i < 64; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
          return;
        pause_processor();
      }
    } while (mpt_clock_seconds() - start < spin_seconds);
  }
  atomic_fetch_add(&team->sleepers, 1);
  while (atomic_load(word) == old)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
  atomic_fetch_sub(&team->sleepers, 1);
}

/* After a change of *word. Whoever sleeps announced itself before its last look at the word. */
static void wake(mpt_cpu_team *team, atomic_uint *word) {
  if (atomic_load(&team->sleepers) > 0)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, team->threads, NULL, NULL, 0);
}

/* A ticket tells the number of tasks with the task, so that a worker that is late for one round
 * can't mistake it for the next. While a ticket is out its round can't end. */
static void run_tasks(mpt_cpu_team *team) {
  for (;;) {
    unsigned long long ticket = atomic_fetch_add(&team->tickets, 1);
    if ((uint32_t)ticket >= ticket >> 32)
      return;
    team->function(team->context, (int)(uint32_t)ticket);
    if (atomic_fetch_sub(&team->pending, 1) == 1)
      wake(team, &team->pending);
  }
}

static void *worker_main(void *argument) {
  mpt_cpu_team *team = ((worker *)argument)->team;
  for (unsigned seen = 0;;) {
    wait_change(team, &team->round, seen);
    seen = atomic_load(&team->round);
    if (atomic_load(&team->leaving))
      return NULL;
    run_tasks(team);
  }
}

static void start_round(mpt_cpu_team *team) {
  atomic_fetch_add(&team->round, 1);
  wake(team, &team->round);
}

void mpt_cpu_parallel(mpt_queue *queue, int tasks, mpt_cpu_task *function, void *context) {
  mpt_cpu_team *team = queue->context;
  if (team->threads == 1 || tasks == 1) {
    for (int task = 0; task < tasks; task++)
      function(context, task);
    return;
  }
  team->function = function;
  team->context = context;
  atomic_store(&team->pending, (unsigned)tasks);
  atomic_store(&team->tickets, (unsigned long long)tasks << 32);
  start_round(team);
  run_tasks(team);
  for (unsigned pending; (pending = atomic_load(&team->pending)) != 0;)
    wait_change(team, &team->pending, pending);
}

int mpt_cpu_tasks(const mpt_queue *queue, int64_t work) {
  int64_t tasks = work / TASK_WORK;
  return tasks < 1 ? 1 : tasks > queue->threads ? queue->threads : (int)tasks;
}

mpt_status mpt_cpu_scratch(mpt_queue *queue, int count, size_t bytes, char **scratch,
                           size_t *stride, mpt_error *error) {
  mpt_cpu_team *team = queue->context;
  *stride = (bytes + 63) / 64 * 64;
  size_t total = *stride * (size_t)count;
  if (total > team->scratch_bytes) {
    char *larger = aligned_alloc(64, total);
    if (larger == NULL)
      return mpt_fail_memory(error, "scratch of the cpu backend", total);
    free(team->scratch);
    team->scratch = larger;
    team->scratch_bytes = total;
  }
  *scratch = team->scratch;
  return MPT_OK;
}

static bool fits_processors(int threads) {
  cpu_set_t set;
  int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                               : (int)sysconf(_SC_NPROCESSORS_ONLN);
  return threads <= processors;
}

static int start_worker(mpt_cpu_team *team, int index) {
  worker *w = &team->workers[index];
  w->team = team;
  return pthread_create(&w->thread, NULL, worker_main, w);
}

mpt_status mpt_cpu_team_open(int threads, const mpt_allocator *allocator, mpt_cpu_team **out,
                             mpt_error *error) {
  size_t bytes = sizeof(mpt_cpu_team) + (size_t)threads * sizeof(worker);
  bytes = (bytes + 63) / 64 * 64;
  mpt_cpu_team *team = aligned_alloc(64, bytes);
  if (team == NULL)
    return mpt_fail_memory(error, "a team of threads", bytes);
  memset(team, 0, bytes);
  team->spins = fits_processors(threads);
  if (allocator != NULL)
    team->allocator = *allocator;
  /* Signals are for the program's own threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int failure = 0;
  for (team->threads = 1; team->threads < threads; team->threads++)
    if ((failure = start_worker(team, team->threads)) != 0)
      break;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure != 0) {
    int started = team->threads;
    mpt_cpu_team_close(team);
    return mpt_fail(error, MPT_ERROR_MEMORY, "cannot start thread %d of %d: %s", started + 1,
                    threads, strerror(failure));
  }
  *out = team;
  return MPT_OK;
}

void mpt_cpu_team_close(mpt_cpu_team *team) {
  atomic_store(&team->leaving, true);
  start_round(team);
  for (int i = 1; i < team->threads; i++)
    pthread_join(team->workers[i].thread, NULL);
  free(team->scratch);
  free(team);
}

char *mpt_cpu_team_fetch_slot(mpt_cpu_team *team, int slot) {
  return team->fetched[slot];
}

const mpt_allocator *mpt_cpu_team_allocator(const mpt_cpu_team *team) {
  return &team->allocator;
}
