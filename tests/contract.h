/* The contract of an operation, tested on every backend.
 *
 * A test body takes a `contract`: a queue to run on and numbers to draw. Data reaches the device
 * through mpt_memory_allocate, upload and download alone, so the same body runs on every backend.
 * Outputs begin as NaN, so that what is never written is seen. Every body runs on the CPU with 1, 2
 * and 3 threads, and on a GPU where there is one; each time twice: all that was read back must be
 * the same bits. MPTUNE_TEST_BACKEND=cuda (or cpu) leaves out the other.
 */
#ifndef TESTS_CONTRACT_H
#define TESTS_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "mptune/ops.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTRACT_MEMORIES = 4096 };

typedef struct contract {
  mpt_queue *queue;
  uint64_t drawn;
  uint64_t hash; /* of all that was read back */
  void *device[CONTRACT_MEMORIES], *host[CONTRACT_MEMORIES];
  int devices, hosts;
} contract;

typedef struct contract_test {
  const char *name;
  void (*body)(contract *c);
} contract_test;

/* ---- memory ---- */
static inline void *c_host(contract *c, size_t bytes) {
  assert_true(c->hosts < CONTRACT_MEMORIES);
  void *memory = calloc(1, bytes + 1);
  assert_non_null(memory);
  return c->host[c->hosts++] = memory;
}

static inline float *c_floats(contract *c, int64_t n) {
  return c_host(c, (size_t)n * sizeof(float));
}

static inline double *c_doubles(contract *c, int64_t n) {
  return c_host(c, (size_t)n * sizeof(double));
}

static inline void *c_device(contract *c, size_t bytes) {
  assert_true(c->devices < CONTRACT_MEMORIES);
  mpt_error error;
  void *data;
  if (mpt_memory_allocate(c->queue, bytes, &data, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return c->device[c->devices++] = data;
}

static inline void c_free(contract *c) {
  while (c->devices > 0)
    mpt_memory_free(c->queue, c->device[--c->devices]);
  while (c->hosts > 0)
    free(c->host[--c->hosts]);
}

/* ---- numbers ---- */
static inline uint32_t c_bits(contract *c) {
  uint32_t words[4];
  mpt_philox(20261124, c->drawn++, 0, words);
  return words[0];
}

/* low to high, both included */
static inline int c_integer(contract *c, int low, int high) {
  return low + (int)(c_bits(c) % (uint32_t)(high - low + 1));
}

static inline double c_uniform(contract *c) {
  return mpt_uniform(c_bits(c));
}

static inline float c_normal(contract *c) {
  double radius = sqrt(-2 * log(c_uniform(c)));
  return (float)(radius * cos(6.283185307179586 * c_uniform(c)));
}

static inline float *c_random(contract *c, int64_t n) {
  float *values = c_floats(c, n);
  for (int64_t i = 0; i < n; i++)
    values[i] = c_normal(c);
  return values;
}

/* Of values that bf16 and fp8_e4m3 hold: products of operands in any format. */
static inline float *c_random_in(contract *c, mpt_format format, int64_t n) {
  float *values = c_random(c, n);
  for (int64_t i = 0; i < n; i++)
    values[i] = mpt_format_round(format, values[i], true);
  return values;
}

static inline double *c_widen(contract *c, const float *values, int64_t n) {
  double *wide = c_doubles(c, n);
  for (int64_t i = 0; i < n; i++)
    wide[i] = (double)values[i];
  return wide;
}

/* ---- tensors ---- */
static inline bool c_on_gpu(const contract *c) {
  return mpt_queue_device(c->queue).kind == MPT_DEVICE_CUDA;
}

static inline void c_check(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

#define C_RUN(call, ...)                                                                           \
  do {                                                                                             \
    mpt_error error_ = {0};                                                                        \
    c_check(call(__VA_ARGS__, &error_), &error_);                                                  \
  } while (0)

#define C_SHAPE(...)                                                                               \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {                   \
    __VA_ARGS__                                                                                    \
  }

/* A contiguous tensor with those values, or NaN when `host` is NULL. */
static inline mpt_tensor c_tensor(contract *c, mpt_format format, const float *host, int rank,
                                  const int64_t *shape) {
  mpt_tensor t = mpt_tensor_of(NULL, format, rank, shape);
  t.device = mpt_queue_device(c->queue);
  int64_t n = mpt_tensor_count(&t);
  float *nans = NULL;
  if (host == NULL) {
    nans = c_floats(c, n);
    for (int64_t i = 0; i < n; i++)
      nans[i] = NAN;
    host = nans;
  }
  t.data = c_device(c, mpt_tensor_bytes(&t));
  C_RUN(mpt_tensor_upload, c->queue, host, &t);
  return t;
}

static inline void c_hash(contract *c, const void *data, size_t bytes) {
  c->hash = mpt_hash_bytes(c->hash, data, bytes);
}

static inline float *c_read(contract *c, const mpt_tensor *t) {
  int64_t n = mpt_tensor_count(t);
  float *values = c_floats(c, n);
  C_RUN(mpt_queue_synchronize, c->queue);
  C_RUN(mpt_tensor_download, c->queue, t, values);
  c_hash(c, values, (size_t)n * sizeof(float));
  return values;
}

/* Other data: ids, labels, losses, counts, states. */
static inline void *c_upload_bits(contract *c, const void *host, size_t bytes) {
  void *device = c_device(c, bytes);
  C_RUN(mpt_memory_upload, c->queue, host, bytes, device);
  return device;
}

/* Its padding is zero, so that what is read back is the same bits at every run. */
static inline mpt_step_state *c_upload_state(contract *c, mpt_step_state state) {
  size_t padding = offsetof(mpt_step_state, at_floor) + sizeof state.at_floor;
  memset((char *)&state + padding, 0, offsetof(mpt_step_state, good_steps) - padding);
  return c_upload_bits(c, &state, sizeof state);
}

static inline void c_download_bits(contract *c, const void *device, void *host, size_t bytes) {
  C_RUN(mpt_queue_synchronize, c->queue);
  C_RUN(mpt_memory_download, c->queue, device, bytes, host);
  c_hash(c, host, bytes);
}

/* ---- comparison ---- */
/* |got - expected| <= tolerance (|expected| + scale) */
static inline void c_near(const char *what, const float *got, const double *expected, int64_t n,
                          double tolerance, double scale) {
  for (int64_t i = 0; i < n; i++) {
    double difference = fabs((double)got[i] - expected[i]);
    if (!(difference <= tolerance * (fabs(expected[i]) + scale)))
      fail_msg("%s[%lld of %lld] is %.9g, expected %.9g", what, (long long)i, (long long)n,
               (double)got[i], expected[i]);
  }
}

/* The same, where what is expected gives the scale: its root mean square. */
static inline void c_close(const char *what, const float *got, const double *expected, int64_t n,
                           double tolerance) {
  double squares = 0;
  for (int64_t i = 0; i < n; i++)
    squares += expected[i] * expected[i];
  c_near(what, got, expected, n, tolerance, sqrt(squares / (double)n) + 1e-30);
}

static inline void c_same_bits(const char *what, const float *got, const float *expected,
                               int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (memcmp(&got[i], &expected[i], sizeof(float)) != 0)
      fail_msg("%s[%lld of %lld] is %.9g, expected exactly %.9g", what, (long long)i, (long long)n,
               (double)got[i], (double)expected[i]);
}

/* Counts and extremes, which are the same on every backend. */
static inline void c_same_counts(const mpt_statistics *got, const mpt_statistics *expected) {
  assert_int_equal(got->count, expected->count);
  assert_int_equal(got->zeros, expected->zeros);
  assert_int_equal(got->nans, expected->nans);
  assert_int_equal(got->infinities, expected->infinities);
  assert_int_equal(got->amax_bits, expected->amax_bits);
  assert_int_equal(got->amin_bits, expected->amin_bits);
}

/* gradient[i] = df/dx[i] by central differences, in double. */
typedef double c_function(const void *context, const double *x);
static inline double *c_differences(contract *c, c_function *f, const void *context, double *x,
                                    int64_t n) {
  const double step = 1e-5;
  double *gradient = c_doubles(c, n);
  for (int64_t i = 0; i < n; i++) {
    double at = x[i];
    x[i] = at + step;
    double above = f(context, x);
    x[i] = at - step;
    gradient[i] = (above - f(context, x)) / (2 * step);
    x[i] = at;
  }
  return gradient;
}

/* An output in each storage format is the fp32 output rounded. `run` writes to `y`. */
typedef void c_output_function(contract *c, const void *context, const mpt_tensor *y);
static inline void c_rounds(contract *c, c_output_function *run, const void *context, int rank,
                            const int64_t *shape) {
  mpt_tensor exact = c_tensor(c, MPT_FP32, NULL, rank, shape);
  run(c, context, &exact);
  int64_t n = mpt_tensor_count(&exact);
  float *values = c_read(c, &exact), *rounded = c_floats(c, n);
  for (int format = MPT_TF32; format < MPT_FORMAT_COUNT; format++) {
    mpt_tensor y = c_tensor(c, (mpt_format)format, NULL, rank, shape);
    run(c, context, &y);
    for (int64_t i = 0; i < n; i++)
      rounded[i] = mpt_format_round((mpt_format)format, values[i], true);
    c_same_bits(mpt_format_get((mpt_format)format)->name, c_read(c, &y), rounded, n);
  }
}

/* ---- running ---- */
typedef struct contract_place {
  const char *backend;
  int threads;
} contract_place;

typedef struct contract_case {
  const contract_test *test;
  contract_place place;
  char name[128];
} contract_case;

static inline mpt_status contract_open(contract_place place, mpt_queue **queue, mpt_error *error) {
  mpt_queue_config config = mpt_queue_config_default();
  config.backend = place.backend;
  config.threads = place.threads;
  return mpt_queue_open(&config, queue, error);
}

static inline uint64_t contract_once(const contract_case *k, contract *c) {
  c->drawn = c->hash = 0;
  k->test->body(c);
  c_free(c);
  return c->hash;
}

static inline void contract_body(void **state) {
  const contract_case *k = *state;
  static contract c;
  if (c.queue != NULL) { /* a body that failed left everything as it was */
    c_free(&c);
    mpt_queue_close(c.queue);
  }
  c = (contract){0};
  mpt_error error = {0};
  c_check(contract_open(k->place, &c.queue, &error), &error);
  uint64_t first = contract_once(k, &c), second = contract_once(k, &c);
  mpt_queue_close(c.queue);
  c.queue = NULL;
  if (first != second)
    fail_msg("the results differ from one run to the next");
}

/* Where the tests run: the processor, and a GPU if there is one. */
static inline int contract_places(contract_place places[4]) {
  const char *only = getenv("MPTUNE_TEST_BACKEND");
  int used = 0;
  for (int threads = 1; threads <= 3 && (only == NULL || strcmp(only, "cpu") == 0); threads++)
    places[used++] = (contract_place){"cpu", threads};
  if (only != NULL && strcmp(only, "cuda") != 0)
    return used;
  mpt_queue *queue = NULL;
  mpt_error error = {0};
  if (contract_open((contract_place){"cuda", 1}, &queue, &error) == MPT_OK) {
    places[used++] = (contract_place){"cuda", 1};
    mpt_queue_close(queue);
  } else {
    print_message("skipped on the cuda backend: %s\n", error.message);
  }
  return used;
}

static inline int contract_run(const char *file, const contract_test *tests, int count) {
  enum { MOST = 256 };
  static contract_case cases[MOST];
  static struct CMUnitTest units[MOST];
  contract_place places[4];
  int used = 0, place_count = contract_places(places);
  for (int p = 0; p < place_count; p++)
    for (int i = 0; i < count && used < MOST; i++, used++) {
      contract_case *k = &cases[used];
      *k = (contract_case){&tests[i], places[p], ""};
      snprintf(k->name, sizeof k->name, "%s, %s, threads: %d", tests[i].name, places[p].backend,
               places[p].threads);
      units[used] = (struct CMUnitTest){k->name, contract_body, NULL, NULL, k};
    }
  return _cmocka_run_group_tests(file, units, (size_t)used, NULL, NULL);
}

#define CONTRACT_TEST(body)                                                                        \
  { #body, body }
#define CONTRACT_MAIN(...)                                                                         \
  int main(void) {                                                                                 \
    const contract_test tests[] = {__VA_ARGS__};                                                   \
    return contract_run(__FILE__, tests, (int)(sizeof tests / sizeof *tests));                     \
  }

#endif
