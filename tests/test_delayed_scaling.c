/* Delayed scaling while there is nothing to go by: inputs, weights and gradients that are all zero
 * at first are scaled by themselves when they are so no more, in steps that a GPU replays and after
 * a resume too. The linker lets this program say what the batches hold (delayed_scaling.cmake). */
#include "session_rig.h"
#include "train_model.h"
#include <unistd.h>

enum { ZERO_STEPS = 6, STEPS = 8, WIDTH = 16, CLASSES = 3, BATCH = 4 };
enum { WEIGHT_BYTES = (WIDTH * WIDTH + WIDTH * CLASSES) * 4 };

static int64_t zero_passes; /* of the training at hand */

mpt_status __wrap_dataset_training_batch(const dataset *data, uint64_t seed, int64_t pass,
                                         dataset_batch *batch, mpt_error *error);
/* Zero, then the same in every step: delayed and current scales differ in what this is about alone.
 */
mpt_status __wrap_dataset_training_batch(const dataset *data, uint64_t seed, int64_t pass,
                                         dataset_batch *batch, mpt_error *error) {
  (void)data, (void)seed, (void)error;
  fill(batch->features, BATCH * WIDTH, 7, pass < zero_passes ? 0.0f : 1e5f, MPT_FP32);
  for (int i = 0; i < BATCH; i++)
    batch->labels[i] = i % CLASSES;
  return MPT_OK;
}

/* Step 6 is the first whose inputs are not zero, those of fc1 and of head; from step 7 on head's
 * weights are not, nor is the gradient that fc1 gets through them. */
static void make_model(test_model *m, optimizer_kind optimizer, int passes) {
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {WIDTH}, .classes = CLASSES};
  layer_spec *fc1 = test_linear(m, "fc1", WIDTH), *head = test_linear(m, "head", CLASSES);
  fc1->no_bias = head->no_bias = true;
  fc1->initial_scale = 1e-5;
  head->initial_scale = 0.0;
  m->w.optimizer.kind = optimizer;
  m->w.optimizer.learning_rate = 1e-3;
  m->w.optimizer.accumulate = passes;
  m->w.batch = BATCH;
  m->w.steps = STEPS;
  zero_passes = (int64_t)ZERO_STEPS * passes;
}

typedef struct outcome {
  double losses[STEPS];
  char checkpoint[8192];
  size_t bytes;
} outcome;

static int64_t stop_after;
static bool stop(void *context, const train_step *step) {
  (void)context;
  return step->step + 1 < stop_after;
}

static void train(train_options o, outcome *out) {
  train_result result;
  char path[64];
  snprintf(path, sizeof path, "test_delayed_scaling.%d.ckpt", (int)getpid());
  o.save_checkpoint = path;
  o.on_step = stop;
  if (stop_after < STEPS) {
    OK(train_run(&o, &result, &ok_error));
    assert_true(result.stopped && result.steps_done < STEPS);
    train_result_clear(&result);
    o.resume = true;
    o.on_step = NULL;
  }
  OK(train_run(&o, &result, &ok_error));
  assert_int_equal(result.steps_done, STEPS);
  memcpy(out->losses, result.losses, sizeof out->losses);
  train_result_clear(&result);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  out->bytes = fread(out->checkpoint, 1, sizeof out->checkpoint, file);
  assert_true(out->bytes < sizeof out->checkpoint);
  fclose(file);
  unlink(path);
}

static const char *weights_of(const outcome *o) {
  const char *end = memchr(o->checkpoint, '\n', o->bytes);
  assert_non_null(end);
  assert_true(end + 1 + WEIGHT_BYTES <= o->checkpoint + o->bytes);
  return end + 1;
}

static void with_scaling(train_options o, mpt_scaling scaling, int64_t interrupt, outcome *out) {
  mpt_layer_policy assignment[2];
  for (int i = 0; i < 2; i++) {
    assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP8);
    assignment[i].scaling = scaling;
  }
  o.assignment = assignment;
  stop_after = interrupt;
  train(o, out);
}

static void check(const char *backend, optimizer_kind optimizer, int passes,
                  mpt_statistics_mode statistics) {
  static outcome current, delayed, resumed;
  const mpt_scaling history = {MPT_SCALING_DELAYED, 4, 0};
  test_model m;
  graph *g;
  dataset *data;
  make_model(&m, optimizer, passes);
  OK(test_data(&m, 40, &data, &ok_error));
  OK(test_graph(&m, BATCH, &g, &ok_error));
  train_options o = train_options_default();
  o.workload = &m.w;
  o.graph = g;
  o.data = data;
  o.backend = backend;
  o.steps = STEPS;
  o.statistics = statistics;
  with_scaling(o, (mpt_scaling){.mode = MPT_SCALING_CURRENT}, STEPS, &current);
  with_scaling(o, history, STEPS, &delayed);
  assert_true(current.losses[ZERO_STEPS] == current.losses[0]);
  assert_true(current.losses[ZERO_STEPS + 1] < current.losses[ZERO_STEPS]);
  for (int i = 0; i < STEPS; i++)
    if (delayed.losses[i] != current.losses[i])
      fail_msg("%s, optimizer %d, %d passes, statistics %d: the loss of step %d is %.9g, expected "
               "%.9g",
               backend, (int)optimizer, passes, (int)statistics, i, delayed.losses[i],
               current.losses[i]);
  assert_memory_equal(weights_of(&delayed), weights_of(&current), WEIGHT_BYTES);
  /* A GPU's losses are read a step later, and so is a word to stop. */
  const int64_t last = strcmp(backend, "cpu") == 0 ? STEPS - 1 : STEPS - 2;
  for (int64_t at = 2; at <= last; at++) { /* with histories that are empty, partly so, and not */
    with_scaling(o, history, at, &resumed);
    assert_memory_equal(resumed.losses, delayed.losses, sizeof delayed.losses);
    assert_memory_equal(weights_of(&resumed), weights_of(&delayed), WEIGHT_BYTES);
  }
  graph_free(g);
  dataset_close(data);
}

static bool is_here(const char *backend) {
  const char *only = getenv("MPTUNE_TEST_BACKEND");
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  config.backend = backend;
  if ((only != NULL && strcmp(only, backend) != 0) ||
      mpt_queue_open(&config, &queue, NULL) != MPT_OK)
    return false;
  mpt_queue_close(queue);
  return true;
}

static void what_is_zero_at_first_is_then_scaled_by_itself(void **unused) {
  (void)unused;
  static const char *const backends[] = {"cpu", "cuda"};
  static const optimizer_kind optimizers[] = {OPTIMIZER_SGD, OPTIMIZER_ADAM};
  for (int b = 0; b < 2; b++)
    for (int i = 0; is_here(backends[b]) && i < 8; i++)
      check(backends[b], optimizers[i % 2], 1 + i / 2 % 2,
            i < 4 ? MPT_STATISTICS_OFF : MPT_STATISTICS_LITE);
}

int main(void) {
  setenv("MPTUNE_GEMM_TUNE", "0", 1); /* a GPU would choose products by time, apart in each run */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_zero_at_first_is_then_scaled_by_itself)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
