/* libmptune in somebody else's process: what is the host's stays the host's. */
#include "mptune/ops.h"
#include "session_rig.h"
#include <pthread.h>

enum { ROWS = 64, N = 32, K = 48 };

extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));

static mpt_queue *open_queue(int threads, const mpt_allocator *allocator) {
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  config.threads = threads;
  config.allocator = allocator;
  OK(mpt_queue_open(&config, &queue, &ok_error));
  return queue;
}

static void multiply(mpt_queue *queue, float *a, float *b, float *out) {
  mpt_tensor x = matrix(a, ROWS, K, MPT_FP32), y = matrix(b, N, K, MPT_FP32);
  mpt_tensor z = matrix(out, ROWS, N, MPT_FP32);
  mpt_gemm_args args = {.a = &x, .b = &y, .out = &z, .transpose_b = true, .alpha = 1.0f};
  OK(mpt_gemm(queue, &args, &ok_error));
}

/* ---- threads of the BLAS ---- */
static void the_threads_of_the_blas_are_the_hosts(void **unused) {
  (void)unused;
  if (openblas_set_num_threads == NULL || openblas_get_num_threads == NULL)
    skip();
  static float a[ROWS * K], b[N * K], out[ROWS * N];
  int before = openblas_get_num_threads();
  openblas_set_num_threads(3);
  mpt_queue *queue = open_queue(2, NULL);
  assert_int_equal(openblas_get_num_threads(), 3);
  multiply(queue, a, b, out);
  assert_int_equal(openblas_get_num_threads(), 3);
  openblas_set_num_threads(2);
  multiply(queue, a, b, out);
  assert_int_equal(openblas_get_num_threads(), 2);
  mpt_queue_close(queue);
  assert_int_equal(openblas_get_num_threads(), 2);
  openblas_set_num_threads(before);
}

typedef struct worker {
  float a[ROWS * K], b[N * K], out[ROWS * N];
  pthread_t thread;
} worker;

static void *multiply_often(void *argument) {
  worker *w = argument;
  mpt_queue *queue = open_queue(2, NULL);
  for (int i = 0; i < 50; i++)
    multiply(queue, w->a, w->b, w->out);
  mpt_queue_close(queue);
  return NULL;
}

static void queues_of_several_threads_leave_it_too(void **unused) {
  (void)unused;
  if (openblas_set_num_threads == NULL || openblas_get_num_threads == NULL)
    skip();
  static worker workers[3];
  int before = openblas_get_num_threads();
  openblas_set_num_threads(3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&workers[i].thread, NULL, multiply_often, &workers[i]), 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
  assert_int_equal(openblas_get_num_threads(), 3);
  openblas_set_num_threads(before);
}

/* ---- the host's allocator ---- */
typedef struct pool {
  int given, taken_back, shift;
  bool refuses;
  size_t bytes;
} pool;

static void *take(void *context, size_t bytes, int device, void *stream) {
  pool *p = context;
  assert_int_equal(device, 0);
  assert_null(stream);
  if (p->refuses)
    return NULL;
  p->given++;
  p->bytes += bytes;
  return (char *)aligned_alloc(256, (bytes + 511) / 256 * 256) + p->shift;
}

static void give(void *context, void *memory, int device, void *stream) {
  pool *p = context;
  (void)device, (void)stream;
  p->taken_back++;
  free((char *)memory - p->shift);
}

static void memory_comes_from_the_hosts_allocator(void **unused) {
  (void)unused;
  pool p = {0};
  mpt_allocator allocator = {
      .struct_size = sizeof allocator, .allocate = take, .release = give, .context = &p};
  mpt_queue *queue = open_queue(1, &allocator);
  memset(&allocator, 0xEE, sizeof allocator); /* it was read when the queue was opened */
  unsigned char *data;
  OK(mpt_memory_allocate(queue, 1000, (void **)&data, &ok_error));
  assert_int_equal(p.given, 1);
  assert_true(p.bytes >= 1000);
  for (int i = 0; i < 1000; i++)
    assert_int_equal(data[i], 0);
  mpt_memory_free(queue, data);
  assert_int_equal(p.taken_back, 1);
  p.refuses = true;
  data = NULL;
  FAILS(mpt_memory_allocate(queue, 1000, (void **)&data, &ok_error), MPT_ERROR_MEMORY,
        "out of memory", "1000");
  assert_null(data);
  mpt_queue_close(queue);
  pool crooked = {.shift = 16};
  const mpt_allocator other = {
      .struct_size = sizeof other, .allocate = take, .release = give, .context = &crooked};
  queue = open_queue(1, &other);
  FAILS(mpt_memory_allocate(queue, 1000, (void **)&data, &ok_error), MPT_ERROR_ARGUMENT,
        "allocator", "256");
  assert_int_equal(crooked.given, 1);
  assert_int_equal(crooked.taken_back, 1); /* what did not serve went back */
  mpt_queue_close(queue);
  mpt_allocator half = {.struct_size = sizeof half, .allocate = take};
  mpt_queue_config config = mpt_queue_config_default();
  config.allocator = &half;
  FAILS(mpt_queue_open(&config, &queue, &ok_error), MPT_ERROR_ARGUMENT, "allocator", "release");
}

/* ---- streams ---- */
static void the_cpu_has_no_streams(void **unused) {
  (void)unused;
  mpt_queue *queue = open_queue(1, NULL);
  assert_null(mpt_queue_stream(queue));
  FAILS(mpt_queue_set_stream(queue, NULL, &ok_error), MPT_ERROR_UNSUPPORTED, "cpu", "set_stream");
  mpt_queue_close(queue);
}

/* ---- a backward pass from another thread, as autograd's ---- */
typedef struct pass {
  rig r;
  float x[ROWS * K], w[N * K], y[ROWS * N], grad_y[ROWS * N], grad_x[ROWS * K], grad_w[N * K];
  mpt_error error;
} pass;

static void *backward(void *argument) {
  pass *p = argument;
  mpt_tensor x = matrix(p->x, ROWS, K, MPT_FP32), w = matrix(p->w, N, K, MPT_FP32);
  mpt_tensor grad_y = matrix(p->grad_y, ROWS, N, MPT_FP32);
  mpt_tensor grad_x = matrix(p->grad_x, ROWS, K, MPT_BF16);
  mpt_tensor grad_w = matrix(p->grad_w, N, K, MPT_FP32);
  mpt_status status = mpt_linear_backward(p->r.session, 0, &grad_y, &x, &w, &grad_x, false, &grad_w,
                                          NULL, &p->error);
  return status == MPT_OK ? NULL : p->error.message;
}

static void run(pass *p, bool other_thread) {
  const mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  const mpt_session_layer layer = linear("a", ROWS, N, K);
  p->r.queue = open_queue(2, NULL);
  mpt_session_config config = config_of(&p->r, &fp8);
  open_session(&p->r, &config, &layer, 1);
  fill(p->x, ROWS * K, 1, 1.0f, MPT_FP32);
  fill(p->w, N * K, 2, 1.0f, MPT_FP32);
  fill(p->grad_y, ROWS * N, 3, 1.0f, MPT_FP32);
  mpt_tensor x = matrix(p->x, ROWS, K, MPT_FP32), w = matrix(p->w, N, K, MPT_FP32);
  mpt_tensor y = matrix(p->y, ROWS, N, MPT_BF16);
  for (int step = 0; step < 3; step++) {
    void *problem = NULL;
    pthread_t thread;
    OK(mpt_session_step_begin(p->r.session, step, &ok_error));
    OK(mpt_linear_forward(p->r.session, 0, &x, &w, NULL, &y, &ok_error));
    if (other_thread) {
      assert_int_equal(pthread_create(&thread, NULL, backward, p), 0);
      assert_int_equal(pthread_join(thread, &problem), 0);
    } else {
      problem = backward(p);
    }
    if (problem != NULL)
      fail_msg("%s", (const char *)problem);
    OK(mpt_session_step_end(p->r.session, NULL, 0, 0.0f, NULL, &ok_error));
  }
  close_session(&p->r);
}

static void another_thread_gets_the_same_bits(void **unused) {
  (void)unused;
  pass *one = calloc(1, sizeof *one), *two = calloc(1, sizeof *two);
  assert_non_null(one);
  assert_non_null(two);
  run(one, false);
  run(two, true);
  assert_memory_equal(one->y, two->y, sizeof one->y);
  assert_memory_equal(one->grad_x, two->grad_x, sizeof one->grad_x);
  assert_memory_equal(one->grad_w, two->grad_w, sizeof one->grad_w);
  assert_true(one->grad_w[5] != 0.0f);
  free(one);
  free(two);
}

/* ---- weights beside fp32 masters ---- */
typedef struct weights_run {
  float y[ROWS * N], grad_x[ROWS * K], grad_w[N * K];
} weights_run;

/* The same values, given as what they are stored in. */
static void run_weights(weights_run *o, const mpt_layer_policy *policy, mpt_format values,
                        mpt_format stored) {
  static float x[ROWS * K], w[N * K], grad_y[ROWS * N];
  rig r = {0};
  mpt_session_layer layer = linear("a", ROWS, N, K);
  layer.weight_format = stored;
  mpt_session_config config = config_of(&r, policy);
  config.statistics = MPT_STATISTICS_FULL;
  open_session(&r, &config, &layer, 1);
  fill(x, ROWS * K, 1, 1.0f, MPT_FP32);
  fill(w, N * K, 2, 1.0f, values);
  fill(grad_y, ROWS * N, 3, 1.0f, MPT_FP32);
  memset(o->grad_w, 0, sizeof o->grad_w);
  mpt_tensor tx = matrix(x, ROWS, K, MPT_FP32), tw = matrix(w, N, K, stored);
  mpt_tensor ty = matrix(o->y, ROWS, N, mpt_session_output_format(r.session, 0));
  mpt_tensor tdy = matrix(grad_y, ROWS, N, MPT_FP32), tdw = matrix(o->grad_w, N, K, MPT_FP32);
  mpt_tensor tdx = matrix(o->grad_x, ROWS, K, mpt_session_grad_input_format(r.session, 0));
  OK(mpt_session_prepare(r.session, NULL, &ok_error));
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  OK(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error));
  OK(mpt_linear_backward(r.session, 0, &tdy, &tx, &tw, &tdx, false, &tdw, NULL, &ok_error));
  OK(mpt_session_step_end(r.session, NULL, 0, 0.0f, NULL, &ok_error));
  close_session(&r);
}

static void weights_of_16_bits_give_the_bits_of_their_values(void **unused) {
  (void)unused;
  static const mpt_format stored[] = {MPT_BF16, MPT_FP16};
  weights_run *wide = calloc(1, sizeof *wide), *narrow = calloc(1, sizeof *narrow);
  assert_non_null(wide);
  assert_non_null(narrow);
  for (int precision = 0; precision < MPT_PRECISION_COUNT; precision++)
    for (int i = 0; i < 2; i++) {
      const mpt_layer_policy policy = mpt_layer_policy_of((mpt_precision)precision);
      run_weights(wide, &policy, stored[i], MPT_FP32);
      run_weights(narrow, &policy, stored[i], stored[i]);
      assert_memory_equal(wide, narrow, sizeof *wide);
    }
  free(wide);
  free(narrow);
}

static void weights_are_stored_as_was_said(void **unused) {
  (void)unused;
  static float x[ROWS * K], w[N * K], y[ROWS * N];
  const mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  rig r = {0};
  mpt_session_layer layer = linear("a", ROWS, N, K);
  mpt_session_config config = config_of(&r, &bf16);
  layer.weight_format = MPT_FP8_E4M3;
  FAILS(mpt_session_open(&config, &layer, 1, &r.session, &ok_error), MPT_ERROR_ARGUMENT, "'a'",
        "fp32, bf16 or fp16");
  layer.weight_format = MPT_BF16;
  open_session(&r, &config, &layer, 1);
  mpt_tensor tx = matrix(x, ROWS, K, MPT_FP32), tw = matrix(w, N, K, MPT_FP32);
  mpt_tensor ty = matrix(y, ROWS, N, MPT_BF16);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  FAILS(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error), MPT_ERROR_ARGUMENT,
        "weight is fp32", "expected bf16");
  close_session(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_threads_of_the_blas_are_the_hosts),
      cmocka_unit_test(queues_of_several_threads_leave_it_too),
      cmocka_unit_test(memory_comes_from_the_hosts_allocator),
      cmocka_unit_test(the_cpu_has_no_streams),
      cmocka_unit_test(another_thread_gets_the_same_bits),
      cmocka_unit_test(weights_of_16_bits_give_the_bits_of_their_values),
      cmocka_unit_test(weights_are_stored_as_was_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
