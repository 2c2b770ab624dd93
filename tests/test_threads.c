/* Programs with several threads: a queue and a session belong to one thread at a time, as many
 * pairs of them at once as there are threads, and a loaded policy is read by all. Each thread must
 * get the bits that one alone gets. `./run-tests tsan` runs this under the thread sanitizer, which
 * says what was shared. */
#include "session_rig.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 6, ROUNDS = 3, STEPS = 6, ROWS = 64, N = 64, K = 64, TEAM = 3 };

static const char policy_text[] = "schema: mptune/policy@1\n"
                                  "default: bf16\n"
                                  "rules:\n"
                                  "  - layers: [\"fc1\"]\n"
                                  "    format: fp8\n"
                                  "    scaling: {mode: delayed, history: 2, margin: 0}\n"
                                  "  - layers: [\"fc2\"]\n"
                                  "    format: fp16\n";
enum { LAYERS = 3 };
static const char *const names[LAYERS] = {"fc1", "fc2", "fc3"};

/* What one training leaves, over all steps. */
typedef struct outcome {
  float y[LAYERS][ROWS * N], grad_x[LAYERS][ROWS * K], grad_w[LAYERS][N * K];
  mpt_statistics seen[LAYERS][MPT_OPERAND_COUNT];
  int statistics;
} outcome;

static void keep_statistics(void *context, int64_t step, int layer, mpt_operand operand,
                            const mpt_statistics *statistics) {
  outcome *o = context;
  (void)step;
  o->seen[layer][operand] = *statistics;
  o->statistics++;
}

/* Threads other than the first may not fail a test: they say what went wrong, and main fails. */
typedef struct job {
  const mpt_policy *policy;
  atomic_int *waiting; /* threads that have not come yet */
  outcome *result;
  char problem[sizeof((mpt_error *)0)->message];
} job;

#define DO(call)                                                                                   \
  do {                                                                                             \
    mpt_error error = {0};                                                                         \
    if ((call) != MPT_OK) { /* `call` passes &error */                                             \
      snprintf(j->problem, sizeof j->problem, "%s", error.message);                                \
      goto done;                                                                                   \
    }                                                                                              \
  } while (0)

static void read_policy(job *j) {
  mpt_layer_info layers[LAYERS];
  mpt_layer_policy assignment[LAYERS];
  char *text = NULL;
  for (int i = 0; i < LAYERS; i++)
    layers[i] = linear(names[i], ROWS, N, K).info;
  DO(mpt_policy_resolve(j->policy, layers, LAYERS, NULL, assignment, &error));
  DO(mpt_policy_diff(j->policy, j->policy, layers, LAYERS, NULL, &text, &error));
  free(text);
  text = NULL;
  DO(mpt_policy_text(j->policy, &text, &error));
done:
  free(text);
}

static void train(job *j) {
  mpt_queue *queue = NULL;
  mpt_session *session = NULL;
  void *workspace = NULL;
  outcome *o = j->result;
  float *x = calloc(ROWS * K, sizeof *x), *w = calloc(N * K, sizeof *w),
        *grad_y = calloc(ROWS * N, sizeof *grad_y);
  mpt_session_layer layers[LAYERS];
  for (int i = 0; i < LAYERS; i++)
    layers[i] = linear(names[i], ROWS, N, K);
  mpt_queue_config queue_config = mpt_queue_config_default();
  queue_config.threads = TEAM;
  DO(mpt_queue_open(&queue_config, &queue, &error));
  mpt_session_config config = mpt_session_config_default();
  config.queue = queue;
  config.policy = j->policy;
  config.steps = STEPS;
  config.statistics = MPT_STATISTICS_FULL;
  config.on_statistics = keep_statistics;
  config.context = o;
  DO(mpt_session_open(&config, layers, LAYERS, &session, &error));
  const size_t bytes = mpt_session_workspace_bytes(session);
  DO(mpt_memory_allocate(queue, bytes, &workspace, &error));
  DO(mpt_session_set_workspace(session, workspace, bytes, &error));
  for (int64_t step = 0; step < STEPS; step++) {
    DO(mpt_session_step_begin(session, step, &error));
    for (int i = 0; i < LAYERS; i++) {
      fill(x, ROWS * K, (uint64_t)(10 * step + i), 4.0f, MPT_FP32);
      fill(w, N * K, 1000 + (uint64_t)i, 1.0f, MPT_FP32);
      const mpt_format out = mpt_session_output_format(session, i),
                       in = mpt_session_grad_input_format(session, i);
      fill(grad_y, ROWS * N, 2000 + (uint64_t)(10 * step + i), 0.5f, out);
      mpt_tensor x_ = matrix(x, ROWS, K, MPT_FP32), w_ = matrix(w, N, K, MPT_FP32),
                 y = matrix(o->y[i], ROWS, N, out), dy = matrix(grad_y, ROWS, N, out),
                 dx = matrix(o->grad_x[i], ROWS, K, in), dw = matrix(o->grad_w[i], N, K, MPT_FP32);
      DO(mpt_linear_forward(session, i, &x_, &w_, NULL, &y, &error));
      DO(mpt_linear_backward(session, i, &dy, &x_, &w_, &dx, false, &dw, NULL, &error));
    }
    mpt_tensor gradient = matrix(o->grad_w[0], N, K, MPT_FP32);
    const mpt_tensor *gradients[] = {&gradient};
    const mpt_step_state *state;
    DO(mpt_session_step_end(session, gradients, 1, 0.0f, &state, &error));
  }
done:
  mpt_session_close(session);
  if (workspace != NULL)
    mpt_memory_free(queue, workspace);
  mpt_queue_close(queue);
  free(x);
  free(w);
  free(grad_y);
}

/* All begin together, or the first would have ended before the last was started. */
static void *run_job(void *context) {
  job *j = context;
  atomic_fetch_sub(j->waiting, 1);
  while (atomic_load(j->waiting) > 0)
    ;
  for (int round = 0; round < ROUNDS && j->problem[0] == '\0'; round++) {
    memset(j->result, 0, sizeof *j->result);
    read_policy(j);
    if (j->problem[0] == '\0')
      train(j);
  }
  return NULL;
}

static outcome *run_threads(const mpt_policy *policy, int count) {
  outcome *results = calloc((size_t)count, sizeof *results);
  job jobs[THREADS];
  pthread_t threads[THREADS];
  atomic_int waiting = count;
  assert_non_null(results);
  for (int i = 0; i < count; i++) {
    jobs[i] = (job){policy, &waiting, &results[i], ""};
    assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
  }
  for (int i = 0; i < count; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  for (int i = 0; i < count; i++)
    if (jobs[i].problem[0] != '\0')
      fail_msg("thread %d: %s", i, jobs[i].problem);
  return results;
}

static void assert_same(const outcome *a, const outcome *b) {
  assert_memory_equal(a->y, b->y, sizeof a->y);
  assert_memory_equal(a->grad_x, b->grad_x, sizeof a->grad_x);
  assert_memory_equal(a->grad_w, b->grad_w, sizeof a->grad_w);
  assert_int_equal(a->statistics, b->statistics);
  for (int i = 0; i < LAYERS; i++)
    for (int q = 0; q < MPT_OPERAND_COUNT; q++) {
      const mpt_statistics *s = &a->seen[i][q], *t = &b->seen[i][q];
      assert_int_equal(s->amax_bits, t->amax_bits);
      assert_memory_equal(&s->sum, &t->sum, sizeof s->sum);
      assert_memory_equal(s->histogram, t->histogram, sizeof s->histogram);
    }
}

static void threads_with_a_session_each_get_what_one_alone_gets(void **state) {
  (void)state;
  mpt_policy *policy;
  OK(mpt_policy_parse(policy_text, strlen(policy_text), "threads", &policy, &ok_error));
  outcome *alone = run_threads(policy, 1), *together = run_threads(policy, THREADS);
  assert_int_equal(alone->statistics, STEPS * LAYERS * MPT_OPERAND_COUNT);
  for (int i = 0; i < LAYERS; i++) /* of the last step: something was computed */
    assert_true(alone->y[i][1] != 0.0f && alone->grad_x[i][1] != 0.0f &&
                alone->seen[i][MPT_GRAD_OUTPUT].count == ROWS * N);
  for (int i = 0; i < THREADS; i++)
    assert_same(&together[i], alone);
  free(alone);
  free(together);
  mpt_policy_free(policy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_with_a_session_each_get_what_one_alone_gets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
