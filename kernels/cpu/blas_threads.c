/* OpenBLAS's own threads would share the processors with the team, and cut sums elsewhere. How many
 * it uses is one number for the whole process, and it is the host's: it is 1 while a product of
 * ours runs, in whichever queue, and what it was when none does. */
#include "kernels/cpu/cpu.h"
#include <pthread.h>

/* Another CBLAS lacks them, and is then expected to run in its caller's thread. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static int products; /* that run now, of all queues */
static int hosts;    /* what the number was before the first of them */

static void begin_product(void) {
  pthread_mutex_lock(&changing);
  if (products++ == 0) {
    hosts = openblas_get_num_threads();
    if (hosts != 1)
      openblas_set_num_threads(1);
  }
  pthread_mutex_unlock(&changing);
}

/* A host that has set another number meanwhile meant it. */
static void end_product(void) {
  pthread_mutex_lock(&changing);
  if (--products == 0 && hosts != 1 && openblas_get_num_threads() == 1)
    openblas_set_num_threads(hosts);
  pthread_mutex_unlock(&changing);
}

void mpt_cpu_parallel_products(mpt_queue *queue, int tasks, mpt_cpu_task *function, void *context) {
  const bool has_threads = openblas_set_num_threads != NULL && openblas_get_num_threads != NULL;
  if (has_threads)
    begin_product();
  mpt_cpu_parallel(queue, tasks, function, context);
  if (has_threads)
    end_product();
}
