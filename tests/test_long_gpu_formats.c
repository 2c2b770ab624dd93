/* All 2^32 inputs on the GPU, for every format: cast and copy give what the CPU's cast gives, bit
 * for bit, and cast counts the same. One thread for each processor, each with its own queues. */
#include "mptune/ops.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK = 1 << 22, BLOCKS = 1 << 10, MAX_THREADS = 32 };

static atomic_uint next_block, failed;
static atomic_ulong wrong[MPT_FORMAT_COUNT];
static atomic_uint first_wrong[MPT_FORMAT_COUNT];
static uint32_t *decoded[MPT_FORMAT_COUNT]; /* fp32 bits of every encoding of 8 or 16 bits */

typedef struct worker {
  mpt_queue *cpu, *gpu;
  uint32_t *in, *expected, *raw, *raw_copy;
  void *x, *y, *y_copy; /* on the GPU */
  mpt_cast_counts *counts;
} worker;

static mpt_queue *open_queue(const char *backend, mpt_error *error) {
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue = NULL;
  config.backend = backend;
  return mpt_queue_open(&config, &queue, error) == MPT_OK ? queue : NULL;
}

static mpt_tensor tensor(mpt_queue *queue, void *data, mpt_format format) {
  mpt_tensor t = mpt_tensor_of(data, format, 1, (const int64_t[]){BLOCK});
  t.device = mpt_queue_device(queue);
  return t;
}

static uint32_t value_of(mpt_format format, const uint32_t *raw, size_t i) {
  switch (mpt_format_get(format)->bits) {
  case 8:
    return decoded[format][((const uint8_t *)raw)[i]];
  case 16:
    return decoded[format][((const uint16_t *)raw)[i]];
  default:
    return raw[i];
  }
}

static void note(mpt_format format, uint32_t input) {
  atomic_store(&first_wrong[format], input);
  atomic_fetch_add(&wrong[format], 1);
}

/* A copy to fp32 keeps the bits of a signalling NaN, where a product makes it quiet. */
static bool same_copy(mpt_format format, uint32_t copy, uint32_t cast) {
  return copy == cast ||
         (format == MPT_FP32 && (copy & 0x7FFFFFFF) > 0x7F800000 && (copy | 0x400000) == cast);
}

static mpt_status check_format(worker *w, mpt_format format, uint32_t first, mpt_error *error) {
  mpt_tensor in = tensor(w->cpu, w->in, MPT_FP32), out = tensor(w->cpu, w->expected, format);
  mpt_tensor x = tensor(w->gpu, w->x, MPT_FP32), y = tensor(w->gpu, w->y, format);
  mpt_tensor y_copy = tensor(w->gpu, w->y_copy, format);
  mpt_cast_counts expected = {0}, got = {0};
  size_t bytes = mpt_tensor_bytes(&y);
  mpt_status status = mpt_memory_upload(w->gpu, &got, sizeof got, w->counts, error);
  if (status == MPT_OK)
    status = mpt_cast(w->gpu, &x, 0, &y, w->counts, error);
  if (status == MPT_OK)
    status = mpt_copy(w->gpu, &x, &y_copy, error);
  if (status == MPT_OK)
    status = mpt_cast(w->cpu, &in, 0, &out, &expected, error);
  if (status == MPT_OK)
    status = mpt_memory_download(w->gpu, w->counts, sizeof got, &got, error);
  if (status == MPT_OK)
    status = mpt_memory_download(w->gpu, w->y, bytes, w->raw, error);
  if (status == MPT_OK)
    status = mpt_memory_download(w->gpu, w->y_copy, bytes, w->raw_copy, error);
  if (status != MPT_OK)
    return status;
  if (memcmp(&got, &expected, sizeof got) != 0)
    note(format, first);
  bool copies = memcmp(w->raw, w->raw_copy, bytes) == 0;
  for (size_t i = 0; i < BLOCK; i++)
    if (value_of(format, w->raw, i) != w->expected[i] ||
        (!copies && !same_copy(format, value_of(format, w->raw_copy, i), w->expected[i])))
      note(format, first + (uint32_t)i);
  return MPT_OK;
}

static mpt_status check_block(worker *w, uint32_t block, mpt_error *error) {
  uint32_t first = block * BLOCK;
  for (uint32_t i = 0; i < BLOCK; i++)
    w->in[i] = first + i;
  mpt_status status = mpt_memory_upload(w->gpu, w->in, (size_t)BLOCK * sizeof *w->in, w->x, error);
  for (mpt_format f = 0; f < MPT_FORMAT_COUNT && status == MPT_OK; f++)
    status = check_format(w, f, first, error);
  return status;
}

static mpt_status open_worker(worker *w, mpt_error *error) {
  size_t bytes = (size_t)BLOCK * sizeof(uint32_t);
  uint32_t **host[] = {&w->in, &w->expected, &w->raw, &w->raw_copy};
  void **device[] = {&w->x, &w->y, &w->y_copy, (void **)&w->counts};
  w->cpu = open_queue("cpu", error);
  w->gpu = open_queue("cuda", error);
  if (w->cpu == NULL || w->gpu == NULL)
    return MPT_ERROR_UNSUPPORTED;
  mpt_status status = MPT_OK;
  for (int i = 0; i < 4 && status == MPT_OK; i++) {
    *host[i] = malloc(bytes);
    status =
        *host[i] == NULL ? MPT_ERROR_MEMORY : mpt_memory_allocate(w->gpu, bytes, device[i], error);
  }
  return status;
}

static void close_worker(worker *w) {
  free(w->in);
  free(w->expected);
  free(w->raw);
  free(w->raw_copy);
  if (w->gpu != NULL) {
    mpt_memory_free(w->gpu, w->x);
    mpt_memory_free(w->gpu, w->y);
    mpt_memory_free(w->gpu, w->y_copy);
    mpt_memory_free(w->gpu, w->counts);
  }
  mpt_queue_close(w->gpu);
  mpt_queue_close(w->cpu);
}

static void *work(void *unused) {
  worker w = {0};
  mpt_error error = {0};
  mpt_status status = open_worker(&w, &error);
  for (uint32_t block; status == MPT_OK && (block = atomic_fetch_add(&next_block, 1)) < BLOCKS;)
    status = check_block(&w, block, &error);
  close_worker(&w);
  if (status != MPT_OK) {
    print_message("%s\n", error.message);
    atomic_fetch_add(&failed, 1);
  }
  return unused;
}

static int processors(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count < MAX_THREADS ? count : MAX_THREADS;
}

static void fill_decoded(void) {
  for (mpt_format f = 0; f < MPT_FORMAT_COUNT; f++) {
    size_t encodings = mpt_format_get(f)->bits > 16 ? 0 : (size_t)1 << mpt_format_get(f)->bits;
    decoded[f] = malloc(encodings * sizeof(uint32_t) + 1);
    assert_non_null(decoded[f]);
    for (size_t e = 0; e < encodings; e++) {
      float value = mpt_format_decode(f, (uint32_t)e);
      memcpy(&decoded[f][e], &value, sizeof value);
    }
  }
}

static void every_input_converts_as_on_the_processor(void **state) {
  (void)state;
  mpt_error error = {0};
  mpt_queue *queue = open_queue("cuda", &error);
  if (queue == NULL) {
    print_message("skipped: %s\n", error.message);
    skip();
  }
  mpt_queue_close(queue);
  fill_decoded();
  pthread_t threads[MAX_THREADS];
  int count = processors();
  for (int t = 0; t < count; t++)
    assert_int_equal(pthread_create(&threads[t], NULL, work, NULL), 0);
  for (int t = 0; t < count; t++)
    pthread_join(threads[t], NULL);
  int bad = 0;
  for (mpt_format f = 0; f < MPT_FORMAT_COUNT; f++) {
    free(decoded[f]);
    print_message("%s: %lu of 2^32 differ\n", mpt_format_get(f)->name, atomic_load(&wrong[f]));
    if (atomic_load(&wrong[f]) > 0)
      print_message("  one of them for 0x%08x\n", atomic_load(&first_wrong[f]));
    bad += atomic_load(&wrong[f]) > 0;
  }
  assert_int_equal(atomic_load(&failed), 0);
  assert_int_equal(bad, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_input_converts_as_on_the_processor)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
