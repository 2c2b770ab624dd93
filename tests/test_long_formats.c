/* All 2^32 inputs, for every format, saturating and not, one at a time and as arrays on every
 * vector width that this processor has, against the integers of format_reference.h. One thread for
 * each processor that this process may use. */
#include "format/rounding.h"
#include "format_reference.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { BLOCK = 1 << 16, BLOCKS = 1 << 16, MAX_THREADS = 256 };

typedef struct sweep {
  mpt_format format;
  atomic_uint next;
  atomic_ulong wrong;
  atomic_uint first_wrong; /* an input, where there is one */
} sweep;

static void check(sweep *s, uint32_t input, uint32_t got, uint32_t expected) {
  if (got != expected) {
    atomic_store(&s->first_wrong, input);
    atomic_fetch_add(&s->wrong, 1);
  }
}

static void check_block(sweep *s, uint32_t first, float *in, float *out, uint32_t *expected) {
  for (uint32_t i = 0; i < BLOCK; i++) {
    uint32_t input = first + i;
    in[i] = mpt_bits_float(input);
    for (int saturate = 0; saturate < 2; saturate++) {
      uint32_t encoded = reference_encode(s->format, input, saturate);
      uint32_t decoded = reference_decode(s->format, encoded);
      check(s, input, mpt_format_encode(s->format, in[i], saturate), encoded);
      check(s, input, mpt_float_bits(mpt_format_round(s->format, in[i], saturate)), decoded);
      expected[i] = decoded; /* arrays saturate, the second turn */
    }
  }
  for (mpt_vectors v = MPT_VECTORS_BASELINE; v <= mpt_vectors_widest(); v++) {
    mpt_format_round_array_with(v, s->format, in, 1.0f, out, BLOCK);
    for (uint32_t i = 0; i < BLOCK; i++)
      check(s, first + i, mpt_float_bits(out[i]), expected[i]);
  }
}

static void *sweep_blocks(void *argument) {
  static _Thread_local float in[BLOCK], out[BLOCK];
  static _Thread_local uint32_t expected[BLOCK];
  sweep *s = argument;
  for (uint32_t block; (block = atomic_fetch_add(&s->next, 1)) < BLOCKS;)
    check_block(s, block * BLOCK, in, out, expected);
  return NULL;
}

static int processors(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count < MAX_THREADS ? count : MAX_THREADS;
}

static void all_inputs(void **state) {
  sweep s = {.format = **(mpt_format **)state};
  pthread_t threads[MAX_THREADS];
  int count = processors();
  for (int t = 1; t < count; t++)
    assert_int_equal(pthread_create(&threads[t], NULL, sweep_blocks, &s), 0);
  sweep_blocks(&s);
  for (int t = 1; t < count; t++)
    pthread_join(threads[t], NULL);
  if (atomic_load(&s.wrong) > 0)
    fail_msg("%s: %lu results differ, one of them for 0x%08x", mpt_format_get(s.format)->name,
             atomic_load(&s.wrong), atomic_load(&s.first_wrong));
}

int main(void) {
  static mpt_format formats[MPT_FORMAT_COUNT];
  struct CMUnitTest tests[MPT_FORMAT_COUNT];
  static const char *const vectors[] = {"baseline", "avx2", "avx512"};
  printf("2^32 inputs, vectors up to %s, %d threads\n", vectors[mpt_vectors_widest()],
         processors());
  for (mpt_format f = 0; f < MPT_FORMAT_COUNT; f++) {
    formats[f] = f;
    tests[f] = (struct CMUnitTest){mpt_format_get(f)->name, all_inputs, NULL, NULL, &formats[f]};
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
