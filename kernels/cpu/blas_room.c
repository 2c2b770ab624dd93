/* OpenBLAS takes 128 MiB of address space for every thread that is in a product at one time, and
 * when it gets none it asks again for ever. So its room is taken when a queue is opened, where a
 * limit (ulimit -v, strict overcommitting) can still be reported: a probe of the size, then its own
 * allocator, whose blocks it keeps for the products to come. */
#include "kernels/cpu/cpu.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { BLOCKS = 128 }; /* of as many processors as OpenBLAS is built for */

static const size_t block_bytes = (size_t)128 << 20; /* BUFFER_SIZE on x86-64; elsewhere less */
static const size_t slack = (size_t)4 << 20;         /* it aligns its blocks */

/* Another CBLAS lacks them. */
extern void *blas_memory_alloc(int position) __attribute__((weak));
extern void blas_memory_free(void *block) __attribute__((weak));

static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;
static int taken; /* threads that there is room for, of all queues of the process */

static mpt_status no_room(int threads, mpt_error *error) {
  struct rlimit limit;
  const double needed = (double)threads * (double)block_bytes / 1048576.0;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    return mpt_fail(
        error, MPT_ERROR_MEMORY,
        "OpenBLAS needs %.0f MiB of address space for %d thread%s, and the limit of %.0f "
        "MiB (ulimit -v) leaves less; raise it, or use fewer threads",
        needed, threads, threads == 1 ? "" : "s", (double)limit.rlim_cur / 1048576.0);
  return mpt_fail(error, MPT_ERROR_MEMORY,
                  "OpenBLAS needs %.0f MiB of address space for %d thread%s, and the system gives "
                  "less; free memory, or use fewer threads",
                  needed, threads, threads == 1 ? "" : "s");
}

mpt_status mpt_cpu_blas_room(int threads, mpt_error *error) {
  mpt_status status = MPT_OK;
  threads = threads < BLOCKS ? threads : BLOCKS;
  if (blas_memory_alloc == NULL || blas_memory_free == NULL)
    return MPT_OK;
  pthread_mutex_lock(&taking);
  if (threads > taken) {
    const size_t bytes = (size_t)(threads - taken) * (block_bytes + slack);
    void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED) {
      status = no_room(threads, error);
    } else {
      void *blocks[BLOCKS];
      munmap(probe, bytes);
      for (int i = 0; i < threads; i++)
        blocks[i] = blas_memory_alloc(0);
      for (int i = 0; i < threads; i++)
        if (blocks[i] != NULL)
          blas_memory_free(blocks[i]);
      taken = threads;
    }
  }
  pthread_mutex_unlock(&taking);
  return status;
}
