/* No step of a training run allocates: every call of malloc and its kin in this program is counted,
 * from the end of the second step (scratch has grown by then) to the end of the last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int allocations;

#ifndef __SANITIZE_ADDRESS__ /* which replaces malloc itself */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nmemb, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
  atomic_fetch_add(&allocations, 1);
  return __libc_malloc(size);
}
void *calloc(size_t nmemb, size_t size) {
  atomic_fetch_add(&allocations, 1);
  return __libc_calloc(nmemb, size);
}
void *realloc(void *ptr, size_t size) {
  atomic_fetch_add(&allocations, 1);
  return __libc_realloc(ptr, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  atomic_fetch_add(&allocations, 1);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **memptr, size_t alignment, size_t size) {
  atomic_fetch_add(&allocations, 1);
  *memptr = __libc_memalign(alignment, size);
  return *memptr == NULL ? 12 : 0;
}
#endif

typedef struct watch {
  int after_two, at_end;
} watch;

static bool on_step(void *context, const train_step *step) {
  watch *w = context;
  if (step->step == 1)
    w->after_two = atomic_load(&allocations);
  w->at_end = atomic_load(&allocations);
  return true;
}

static void on_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                          const mpt_statistics *statistics) {
  (void)context, (void)step, (void)layer, (void)operand, (void)statistics;
}

static void check(test_model *m, mpt_precision precision, mpt_statistics_mode statistics) {
  mpt_error error = {0};
  dataset *data;
  graph *g;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_result result;
  watch w = {0};
  assert_int_equal(test_data(m, m->info.tokens ? 2000 : 200, &data, &error), MPT_OK);
  m->info = *dataset_get_info(data);
  assert_int_equal(test_graph(m, 8, &g, &error), MPT_OK);
  for (int i = 0; i < g->layer_count; i++)
    assignment[i] = mpt_layer_policy_of(precision);
  train_options options = train_options_default();
  options.workload = &m->w;
  options.graph = g;
  options.data = data;
  options.assignment = assignment;
  options.steps = m->w.steps = 8;
  options.threads = 2;
  options.statistics = statistics;
  options.on_statistics = on_statistics;
  options.on_step = on_step;
  options.context = &w;
  assert_int_equal(train_run(&options, &result, &error), MPT_OK);
  assert_true(w.after_two > 0); /* they are counted */
  assert_int_equal(w.at_end - w.after_two, 0);
  train_result_clear(&result);
  graph_free(g);
  dataset_close(data);
}

static void steps_do_not_allocate(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip();
#endif
  test_model m;
  for (int i = 0; i < 3; i++) {
    mpt_precision precision =
        (mpt_precision[]){MPT_PRECISION_FP32, MPT_PRECISION_FP16, MPT_PRECISION_FP8}[i];
    mpt_statistics_mode statistics = i == 2 ? MPT_STATISTICS_FULL : MPT_STATISTICS_OFF;
    test_mlp(&m, 32, 64, 4);
    m.w.optimizer.clip = 1.0;
    m.w.optimizer.accumulate = 2;
    check(&m, precision, statistics);
    test_cnn(&m, 12, 8, 4);
    m.w.optimizer.kind = OPTIMIZER_ADAM;
    check(&m, precision, statistics);
    test_gpt(&m, 32, 16, 32, 2, true);
    m.w.optimizer.kind = OPTIMIZER_ADAMW;
    check(&m, precision, statistics);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(steps_do_not_allocate)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
