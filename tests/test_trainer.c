/* Training runs: deterministic, resumable, in every format; and what happens
 * when one goes wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "near.h"
#include "train_model.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static void require(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

typedef struct fixture {
  train_options options;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_result result;
  char path[64];
} fixture;

static void begin_with(fixture *f, test_model *m, int64_t samples, int64_t batch, int64_t steps) {
  mpt_error error = {0};
  memset(f, 0, sizeof *f);
  require(test_data(m, samples, &f->data, &error), &error);
  m->info = *dataset_get_info(f->data);
  require(test_graph(m, batch, &f->g, &error), &error);
  for (int i = 0; i < f->g->layer_count; i++)
    f->assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  f->options = train_options_default();
  f->options.workload = &m->w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->assignment;
  f->options.steps = steps;
  m->w.batch = batch, m->w.steps = steps;
  snprintf(f->path, sizeof f->path, "test_trainer.%d.ckpt", (int)getpid());
}

static void begin(fixture *f, test_model *m, int64_t batch, int64_t steps) {
  begin_with(f, m, m->info.tokens ? 2000 : 200, batch, steps);
}

static void use(fixture *f, mpt_precision precision) {
  for (int i = 0; i < f->g->layer_count; i++)
    f->assignment[i] = mpt_layer_policy_of(precision);
}

static train_result *run(fixture *f) {
  mpt_error error = {0};
  train_result_clear(&f->result);
  require(train_run(&f->options, &f->result, &error), &error);
  return &f->result;
}

static void end(fixture *f) {
  train_result_clear(&f->result);
  dataset_close(f->data);
  graph_free(f->g);
  unlink(f->path);
}

static void same_losses(const double *a, const double *b, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (memcmp(&a[i], &b[i], sizeof *a) != 0)
      fail_msg("the loss of step %lld is %.17g and %.17g", (long long)i, a[i], b[i]);
}

static double *copy_losses(const train_result *r) {
  double *losses = malloc((size_t)r->steps_done * sizeof *losses);
  memcpy(losses, r->losses, (size_t)r->steps_done * sizeof *losses);
  return losses;
}

static bool stop_at_five(void *context, const train_step *step) {
  (void)context;
  return step->step + 1 < 5;
}

/* ---- schedules ---- */

static void schedules_have_their_shapes(void **state) {
  (void)state;
  optimizer_spec o = {.learning_rate = 2.0, .schedule = SCHEDULE_CONSTANT, .warmup = 4};
  const double warm[] = {0.5, 1.0, 1.5, 2.0, 2.0, 2.0};
  for (int i = 0; i < 6; i++)
    assert_near(train_learning_rate(&o, i, 20, 20), warm[i], 1e-12);
  o.schedule = SCHEDULE_LINEAR;
  o.final_fraction = 0.1;
  assert_near(train_learning_rate(&o, 4, 20, 20), 2.0, 1e-12);
  assert_near(train_learning_rate(&o, 19, 20, 20), 0.2, 1e-12);
  assert_near(train_learning_rate(&o, 9, 20, 20), 2.0 * (0.1 + 0.9 * (1 - 5.0 / 15)), 1e-12);
  o.schedule = SCHEDULE_COSINE;
  assert_near(train_learning_rate(&o, 19, 20, 20), 0.2, 1e-12);
  assert_near(train_learning_rate(&o, 9, 20, 20), 2.0 * (0.1 + 0.9 * 0.5 * (1 + cos(M_PI / 3))),
              1e-12);
}

static void a_short_run_compresses_the_schedule(void **state) {
  (void)state;
  optimizer_spec o = {.learning_rate = 1.0, .schedule = SCHEDULE_COSINE, .warmup = 10};
  /* 21 steps of 101: step i stands at 5 i */
  for (int i = 0; i < 21; i++)
    assert_near(train_learning_rate(&o, i, 21, 101), train_learning_rate(&o, 5 * i, 101, 101),
                1e-12);
  assert_near(train_learning_rate(&o, 20, 21, 101), 0.0, 1e-12);
  assert_true(train_learning_rate(&o, 0, 1, 101) > 0.0);
}

/* ---- runs ---- */

static void a_run_learns_and_repeats_bit_for_bit(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  m.w.metric = METRIC_ACCURACY;
  begin(&f, &m, 16, 60);
  train_result *r = run(&f);
  assert_int_equal(r->steps_done, 60);
  assert_false(r->diverged || r->stopped);
  assert_true(r->losses[59] < 0.8 * r->losses[0]);
  assert_true(r->metric > 0.5 && r->metric <= 1.0); /* chance is 1/3 */
  assert_true(r->metric_plain == r->metric && r->output_difference == 0.0);
  assert_true(r->memory_bytes > 0 && r->step_seconds > 0.0);
  double *losses = copy_losses(r), metric = r->metric;
  r = run(&f);
  same_losses(losses, r->losses, 60);
  assert_true(metric == r->metric);
  f.options.seed = 2;
  r = run(&f);
  assert_true(losses[0] != r->losses[0]);
  free(losses);
  end(&f);
}

static void every_format_trains(void **state) {
  (void)state;
  const mpt_precision precisions[] = {MPT_PRECISION_TF32, MPT_PRECISION_BF16, MPT_PRECISION_FP16,
                                      MPT_PRECISION_FP8};
  test_model m;
  fixture f;
  test_gpt(&m, 13, 8, 16, 1, false);
  m.w.optimizer.kind = OPTIMIZER_ADAMW;
  m.w.optimizer.learning_rate = 0.01;
  begin(&f, &m, 8, 40);
  double plain = run(&f)->metric, last = 0.0;
  for (int i = 0; i < 4; i++) {
    use(&f, precisions[i]);
    train_result *r = run(&f);
    assert_false(r->diverged);
    assert_true(r->losses[39] < 0.95 * r->losses[0]);
    assert_true(fabs(r->metric - plain) < 0.1 * plain);
    assert_true(r->metric != r->metric_plain);
    assert_true(r->output_difference > 0.0 && r->output_difference < 0.2);
    last = r->output_difference;
    const mpt_layer_counters *c = &r->counters[graph_find(f.g, "blocks.0.mlp.fc1")];
    assert_true((c->cast[MPT_INPUT] > 0) ==
                (precisions[i] != MPT_PRECISION_BF16 && precisions[i] != MPT_PRECISION_FP16));
  }
  assert_true(last > 0.01); /* fp8 is the coarsest */
  end(&f);
}

static void gradients_add_up_over_micro_batches(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  m.w.optimizer.momentum = 0.9;
  m.w.optimizer.clip = 0.5;
  begin(&f, &m, 16, 8);
  double *whole = copy_losses(run(&f));
  end(&f);
  m.w.optimizer.accumulate = 4;
  begin(&f, &m, 4, 8);
  const train_result *r = run(&f);
  for (int i = 0; i < 8; i++)
    assert_near(r->losses[i], whole[i], 1e-5 * whole[i]);
  free(whole);
  end(&f);
}

/* More of them than a slot of the queue holds losses. */
static void many_micro_batches_train(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  m.w.optimizer.accumulate = MPT_FETCH_BYTES / sizeof(double) + 88;
  begin(&f, &m, 1, 3);
  const train_result *r = run(&f);
  assert_int_equal(r->steps_done, 3);
  assert_true(r->losses[2] < r->losses[0]);
  end(&f);
}

/* Delayed scaling, a loss scale that moved and dropout: all of it must come
 * back. */
static void a_resumed_run_gives_the_same_bits(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  test_layer(&m, "dropout", "drop", NULL)->probability = 0.2;
  m.w.optimizer.kind = OPTIMIZER_ADAM;
  m.w.optimizer.learning_rate = 0.01;
  begin(&f, &m, 16, 12);
  use(&f, MPT_PRECISION_FP16);
  int fc1 = graph_find(f.g, "fc1");
  f.assignment[fc1] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  f.assignment[fc1].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 1};
  double *losses = copy_losses(run(&f)), metric = f.result.metric;
  f.options.save_checkpoint = f.path;
  f.options.resume = true;
  f.options.on_step = stop_at_five;
  const train_result *r = run(&f);
  assert_true(r->stopped && isnan(r->metric));
  assert_int_equal(r->steps_done, 5);
  f.options.on_step = NULL;
  r = run(&f);
  assert_int_equal(r->steps_done, 12);
  same_losses(losses, r->losses, 12);
  assert_true(metric == r->metric);
  r = run(&f); /* of a finished run: nothing is trained again */
  same_losses(losses, r->losses, 12);
  assert_true(metric == r->metric);

  mpt_error error = {0};
  f.options.seed = 9;
  train_result other;
  assert_int_equal(train_run(&f.options, &other, &error), MPT_ERROR_MISMATCH);
  assert_non_null(strstr(error.message, "is of another training: seed was 1 and is 9;"));
  free(losses);
  end(&f);
}

/* Without learning every step sees the same weights, and here the same sample: only what is keyed
 * by the step can change a loss, and a kind has the key only if it says so. */
static void only_layers_keyed_by_the_step_change_from_step_to_step(void **state) {
  (void)state;
  test_model m;
  fixture f;
  for (int drops = 0; drops < 2; drops++) {
    test_mlp(&m, 6, 16, 3);
    if (drops) {
      test_layer(&m, "dropout", "drop", NULL)->probability = 0.5;
      test_linear(&m, "last", 3);
    }
    m.w.optimizer.learning_rate = 0;
    begin_with(&f, &m, 2, 1, 3); /* one to train on, one held out */
    const train_result *r = run(&f);
    assert_int_equal(r->steps_done, 3);
    for (int step = 1; step < 3; step++)
      assert_int_equal(r->losses[step] != r->losses[0], drops);
    end(&f);
  }
}

static void initial_weights_are_saved_and_loaded(void **state) {
  (void)state;
  test_model m;
  fixture f;
  mpt_error error = {0};
  train_result other;
  test_mlp(&m, 6, 16, 3);
  begin(&f, &m, 16, 6);
  f.options.save_initial = f.path;
  double *losses = copy_losses(run(&f));
  f.options.save_initial = NULL;
  f.options.load_checkpoint = f.path;
  same_losses(losses, run(&f)->losses, 6);

  FILE *file = fopen(f.path, "r+b");
  assert_int_equal(ftruncate(fileno(file), 700), 0);
  fclose(file);
  assert_int_equal(train_run(&f.options, &other, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "is damaged"));
  file = fopen(f.path, "wb");
  fputs("{\"schema\":\"mptune/checkpoint@3\"}\n", file);
  fclose(file);
  assert_int_equal(train_run(&f.options, &other, &error), MPT_ERROR_VERSION);
  f.options.load_checkpoint = "nowhere.ckpt";
  assert_int_equal(train_run(&f.options, &other, &error), MPT_ERROR_NOT_FOUND);
  free(losses);
  end(&f);
}

static bool never(void *context, const train_step *step) {
  (void)context, (void)step;
  fail_msg("a step was trained");
  return false;
}

static void a_place_that_cannot_be_written_is_known_before_training(void **state) {
  (void)state;
  test_model m;
  fixture f;
  mpt_error error = {0};
  train_result none;
  test_mlp(&m, 6, 16, 3);
  begin(&f, &m, 16, 2);
  f.options.on_step = never;
  f.options.save_checkpoint = "no/such/folder/a.ckpt";
  assert_int_equal(train_run(&f.options, &none, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "'no/such/folder/a.ckpt'"));
  f.options.save_checkpoint = ".";
  assert_int_equal(train_run(&f.options, &none, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "it is a directory"));
  end(&f);
}

static void weights_of_another_model_are_refused(void **state) {
  (void)state;
  test_model m;
  fixture f;
  mpt_error error = {0};
  train_result other;
  char path[64];
  test_mlp(&m, 6, 16, 3);
  begin(&f, &m, 16, 2);
  f.options.save_initial = f.path;
  run(&f);
  strcpy(path, f.path);
  graph_free(f.g);
  m.layers[0].features = 8;
  assert_int_equal(test_graph(&m, 16, &f.g, &error), MPT_OK);
  f.options.graph = f.g;
  f.options.save_initial = NULL;
  f.options.load_checkpoint = path;
  assert_int_equal(train_run(&f.options, &other, &error), MPT_ERROR_MISMATCH);
  assert_non_null(strstr(error.message, "'fc1.weight' has another shape"));
  end(&f);
}

/* ---- when it goes wrong ---- */

static void an_overflowing_loss_scale_is_skipped_and_recovers(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  begin(&f, &m, 16, 30);
  use(&f, MPT_PRECISION_FP16);
  f.options.loss_scale.initial = 16777216.0f;
  const train_result *r = run(&f);
  assert_false(r->diverged);
  assert_true(r->report.skipped > 0 && r->report.skipped < 15);
  assert_true(r->report.loss_scale < 16777216.0f);
  assert_int_equal(r->report.steps, 30);
  assert_true(r->losses[29] < r->losses[0]);
  end(&f);
}

static void a_diverged_run_names_layer_and_step(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  m.w.optimizer.learning_rate = 1e38;
  begin(&f, &m, 16, 10);
  const train_result *r = run(&f);
  assert_true(r->diverged);
  assert_true(isnan(r->metric));
  assert_in_range(r->steps_done, 2, 9);
  if (strstr(r->failure, "layer '") == NULL || strstr(r->failure, "at step ") == NULL)
    fail_msg("'%s' names no layer and step", r->failure);
  assert_int_equal(r->report.nonfinite_step, r->steps_done - 1);
  assert_true(r->report.nonfinite_layer >= 0);
  end(&f);
}

/* fp16 ends at 65504: a layer whose output is larger makes the loss infinite or
 * not a number. */
static void an_output_beyond_fp16_names_its_layer(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  strcpy(m.layers[1].kind, "scale");
  m.layers[1].output_scale = 1048576.0;
  begin(&f, &m, 16, 10);
  use(&f, MPT_PRECISION_FP16);
  const train_result *r = run(&f);
  assert_true(r->diverged);
  assert_int_equal(r->steps_done, 1);
  if (strstr(r->failure, "the output of layer 'relu1'") == NULL)
    fail_msg("'%s' does not name the layer", r->failure);
  end(&f);
}

/* One step from finite weights to weights whose outputs overflow fp16: the run is over before the
 * next loss would tell. */
static void a_held_out_loss_that_is_not_finite_fails_the_run(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  m.w.metric = METRIC_ACCURACY;
  m.w.optimizer.learning_rate = 1e6;
  begin(&f, &m, 16, 1);
  use(&f, MPT_PRECISION_FP16);
  f.options.loss_scale.initial = 256.0f;
  const train_result *r = run(&f);
  assert_int_equal(r->steps_done, 1);
  assert_int_equal(r->report.skipped, 0);
  assert_true(r->diverged && isnan(r->metric));
  assert_non_null(strstr(r->failure, "the held-out loss is"));
  end(&f);
}

static void gradients_that_no_scale_helps_end_the_run(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 3);
  test_layer(&m, "scale", "down", NULL)->output_scale = 1.0 / 1073741824.0;
  test_layer(&m, "scale", "up", NULL)->output_scale = 1073741824.0;
  begin(&f, &m, 16, 60);
  /* the gradient between the scales is 2^30 times as large, and stored in fp16
   */
  f.assignment[graph_find(f.g, "head")] = mpt_layer_policy_of(MPT_PRECISION_FP16);
  f.assignment[graph_find(f.g, "up")] = mpt_layer_policy_of(MPT_PRECISION_FP16);
  f.assignment[graph_find(f.g, "down")] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  const train_result *r = run(&f);
  assert_true(r->diverged);
  assert_non_null(strstr(r->failure, "no loss scale"));
  assert_true(r->report.loss_scale_at_floor);
  end(&f);
}

/* ---- callbacks and metrics ---- */

typedef struct seen {
  int probes, statistics;
  double dot;
} seen;

static void probe(void *context, mpt_queue *queue, int64_t step, int layer, const mpt_tensor *input,
                  const mpt_tensor *weight, const mpt_tensor *grad_output) {
  seen *s = context;
  (void)queue, (void)layer;
  s->probes++;
  assert_int_equal(step % 3, 0);
  assert_int_equal(input->rank, 2);
  assert_int_equal(grad_output->rank, 2);
  assert_int_equal(input->shape[0], grad_output->shape[0]);
  assert_int_equal(weight->shape[0], grad_output->shape[1]);
  s->dot += fabs((double)((const float *)grad_output->data)[0]);
}

static void sink(void *context, int64_t step, int layer, mpt_operand operand,
                 const mpt_statistics *statistics) {
  seen *s = context;
  (void)layer, (void)operand;
  assert_int_equal(step % 4, 0);
  assert_true(statistics->count > 0 && statistics->full);
  s->statistics++;
}

static void layers_are_probed_and_watched(void **state) {
  (void)state;
  test_model m;
  fixture f;
  seen s = {0};
  test_cnn(&m, 8, 4, 3);
  begin(&f, &m, 8, 7);
  f.options.on_layer = probe;
  f.options.probe_every = 3;
  f.options.statistics = MPT_STATISTICS_FULL;
  f.options.statistics_every = 4;
  f.options.on_statistics = sink;
  f.options.context = &s;
  run(&f);
  assert_int_equal(s.probes, 3 * 3);         /* steps 0, 3, 6; conv1, conv2, head */
  assert_int_equal(s.statistics, 2 * 3 * 3); /* steps 0, 4; three operands each */
  assert_true(s.dot > 0.0);
  end(&f);
}

/* What lite and full statistics say alike. */
typedef struct kept_statistics {
  int64_t step;
  int layer;
  mpt_operand operand;
  uint64_t count, zeros;
  uint32_t amax_bits, amin_bits;
} kept_statistics;

typedef struct keeper {
  kept_statistics kept[2048];
  int count;
} keeper;

static void keep(void *context, int64_t step, int layer, mpt_operand operand,
                 const mpt_statistics *s) {
  keeper *k = context;
  assert_true(k->count < 2048);
  kept_statistics *to = &k->kept[k->count++];
  memset(to, 0, sizeof *to);
  to->step = step;
  to->layer = layer;
  to->operand = operand;
  to->count = s->count;
  to->zeros = s->zeros;
  to->amax_bits = s->amax_bits;
  to->amin_bits = s->amin_bits;
}

/* Lite ones are collected by whoever writes a tensor, full ones by the layer that reads it. */
static void lite_statistics_are_those_of_what_layers_read(void **state) {
  (void)state;
  for (int model = 0; model < 4; model++) {
    test_model m;
    fixture f;
    static keeper of_mode[2];
    if (model == 0)
      test_mlp(&m, 6, 16, 2);
    else if (model == 1)
      test_cnn(&m, 8, 4, 3);
    else
      test_gpt(&m, 24, 16, 16, 2, model == 3);
    begin(&f, &m, 8, 5);
    m.w.optimizer.accumulate = model == 2 ? 2 : 1;
    for (int mode = 0; mode < 2; mode++) {
      of_mode[mode].count = 0;
      f.options.statistics = mode ? MPT_STATISTICS_FULL : MPT_STATISTICS_LITE;
      f.options.on_statistics = keep;
      f.options.context = &of_mode[mode];
      run(&f);
    }
    assert_true(of_mode[0].count > 0);
    assert_int_equal(of_mode[0].count, of_mode[1].count);
    for (int i = 0; i < of_mode[0].count; i++)
      assert_memory_equal(&of_mode[0].kept[i], &of_mode[1].kept[i], sizeof(kept_statistics));
    end(&f);
  }
}

/* The mean of the bits, exactly the metric. */
static void bits_are_the_accuracy(const train_result *r, int64_t judged) {
  assert_int_equal(r->judged, judged);
  int64_t right = 0;
  for (int64_t i = 0; i < judged; i++)
    right += r->right[i / 8] >> (i % 8) & 1;
  assert_true((double)right / (double)judged == r->metric && r->unit == 1.0);
}

static void which_samples_were_right_is_known(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_gpt(&m, 17, 8, 16, 2, 1);
  begin(&f, &m, 4, 20);
  train_result *r = run(&f);
  assert_true(r->judged == 0 && r->right == NULL && r->contributions == NULL);
  m.w.metric = METRIC_ACCURACY;
  use(&f, MPT_PRECISION_BF16); /* whose plain pass judges anew, and leaves them alone */
  bits_are_the_accuracy(run(&f), m.info.held_out * m.info.sequence);
  m.w.metric = METRIC_F1;
  r = run(&f);
  double sum = 0.0;
  for (int64_t i = 0; i < r->judged; i++)
    sum += (double)r->contributions[i];
  assert_true(fabs(sum / (double)r->judged - r->metric) < 1e-6);
  assert_true(r->right == NULL && r->unit > 0.0);
  m.w.metric = METRIC_ACCURACY;
  m.w.optimizer.learning_rate = 1e30;
  assert_true(run(&f)->diverged && f.result.judged == 0 && f.result.right == NULL);
  end(&f);
}

static void metrics_are_those_of_the_held_out_data(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_mlp(&m, 6, 16, 2);
  begin(&f, &m, 16, 40);
  train_result *r = run(&f);
  assert_true(r->metric == r->held_out_loss && r->metric > 0.0);
  m.w.metric = METRIC_F1;
  double f1 = run(&f)->metric;
  m.w.metric = METRIC_ACCURACY;
  double accuracy = run(&f)->metric;
  assert_true(f1 > 0.3 && f1 <= 1.0 && accuracy > 0.5 && accuracy <= 1.0);
  end(&f);
  test_mlp(&m, 6, 16, 1); /* the same labels as a binary target */
  m.w.loss = LOSS_BINARY;
  m.info.classes = 2;
  m.w.metric = METRIC_ACCURACY;
  begin(&f, &m, 16, 40);
  assert_true(run(&f)->metric > 0.5);
  end(&f);
  test_mlp(&m, 6, 16, 2);
  m.w.loss = LOSS_MSE;
  m.info.classes = 0, m.info.targets = 2;
  m.w.metric = METRIC_ACCURACY;
  begin(&f, &m, 16, 4);
  mpt_error error = {0};
  train_result none;
  assert_int_equal(train_run(&f.options, &none, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "needs classes"));
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(schedules_have_their_shapes),
      cmocka_unit_test(a_short_run_compresses_the_schedule),
      cmocka_unit_test(a_run_learns_and_repeats_bit_for_bit),
      cmocka_unit_test(every_format_trains),
      cmocka_unit_test(gradients_add_up_over_micro_batches),
      cmocka_unit_test(many_micro_batches_train),
      cmocka_unit_test(a_resumed_run_gives_the_same_bits),
      cmocka_unit_test(only_layers_keyed_by_the_step_change_from_step_to_step),
      cmocka_unit_test(initial_weights_are_saved_and_loaded),
      cmocka_unit_test(weights_of_another_model_are_refused),
      cmocka_unit_test(a_place_that_cannot_be_written_is_known_before_training),
      cmocka_unit_test(an_overflowing_loss_scale_is_skipped_and_recovers),
      cmocka_unit_test(a_diverged_run_names_layer_and_step),
      cmocka_unit_test(an_output_beyond_fp16_names_its_layer),
      cmocka_unit_test(a_held_out_loss_that_is_not_finite_fails_the_run),
      cmocka_unit_test(gradients_that_no_scale_helps_end_the_run),
      cmocka_unit_test(layers_are_probed_and_watched),
      cmocka_unit_test(lite_statistics_are_those_of_what_layers_read),
      cmocka_unit_test(metrics_are_those_of_the_held_out_data),
      cmocka_unit_test(which_samples_were_right_is_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
