/* Nothing allocates inside a step, the first included. This program's malloc counts. */
#include "session_rig.h"

#if defined(__SANITIZE_ADDRESS__)
int main(void) {
  puts("skipped: the sanitizer has its own malloc");
  return 0;
}
#else
static long allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nmemb, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_malloc(size);
}
void *calloc(size_t nmemb, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_calloc(nmemb, size);
}
void *realloc(void *ptr, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_realloc(ptr, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **memptr, size_t alignment, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  *memptr = __libc_memalign(alignment, size);
  return *memptr == NULL ? 12 : 0;
}

static void ignore(void *context, int64_t step, int layer, mpt_operand operand,
                   const mpt_statistics *statistics) {
  (void)context, (void)step, (void)layer, (void)operand, (void)statistics;
}

static void a_step_allocates_nothing(void **unused) {
  (void)unused;
  enum { rows = 64, n = 48, k = 80 };
  for (int threads = 1; threads <= 2; threads++) {
    mpt_layer_policy policies[3] = {
        formats_of(MPT_PRECISION_FP8, MPT_PRECISION_FP16, MPT_PRECISION_TF32),
        mpt_layer_policy_of(MPT_PRECISION_FP8), mpt_layer_policy_of(MPT_PRECISION_BF16)};
    policies[1].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 16, 0};
    rig r = {0};
    mpt_queue_config queue_config = mpt_queue_config_default();
    queue_config.threads = threads;
    OK(mpt_queue_open(&queue_config, &r.queue, &ok_error));
    mpt_session_config config = config_of(&r, policies);
    config.statistics = MPT_STATISTICS_FULL;
    config.on_statistics = ignore;
    mpt_session_layer layers[3] = {linear("a", rows, n, k), linear("b", rows, n, k),
                                   linear("c", rows, n, k)};
    open_session(&r, &config, layers, 3);
    OK(mpt_session_prepare(r.session, NULL, &ok_error));
    float *x = numbers(rows * k), *w = numbers(n * k), *y = numbers(rows * n);
    float *dx = numbers(rows * k), *dw = numbers(n * k), *db = numbers(n);
    fill(x, rows * k, 1, 1.0f, MPT_FP32);
    fill(w, n * k, 2, 1.0f, MPT_FP32);
    const long before = __atomic_load_n(&allocations, __ATOMIC_RELAXED);
    for (int step = 0; step < 5; step++) {
      OK(mpt_session_step_begin(r.session, step, &ok_error));
      mpt_tensor tx = matrix(x, rows, k, MPT_FP32), tw = matrix(w, n, k, MPT_FP32);
      mpt_tensor tdw = matrix(dw, n, k, MPT_FP32), tdb = vector(db, n);
      const mpt_tensor *gradients[2] = {&tdw, &tdb};
      for (int i = 0; i < 3; i++) {
        mpt_tensor ty = matrix(y, rows, n, mpt_session_output_format(r.session, i));
        mpt_tensor tdx = matrix(dx, rows, k, mpt_session_grad_input_format(r.session, i));
        OK(mpt_linear_forward(r.session, i, &tx, &tw, NULL, &ty, &ok_error));
        OK(mpt_linear_backward(r.session, i, &ty, &tx, &tw, &tdx, false, &tdw, &tdb, &ok_error));
      }
      OK(mpt_session_step_end(r.session, gradients, 2, 1.0f, NULL, &ok_error));
    }
    long during = __atomic_load_n(&allocations, __ATOMIC_RELAXED) - before;
    assert_int_equal(during, 0);
    assert_true(before > 0); /* the count does count */
    free(x), free(w), free(y), free(dx), free(dw), free(db);
    close_session(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_allocates_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
