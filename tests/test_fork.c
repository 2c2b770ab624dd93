/* Forks: a stretch of a trajectory's schedule under another policy, and what a trajectory leaves on
 * its way. Under its own policy a fork gives the trajectory's bits; under another one nothing but
 * the policy differs. */
#include "session_rig.h"
#include "train_model.h"
#include <unistd.h>

enum { STEPS = 12, POINTS = 3, MOST = 1 << 17 };
static const int64_t steps_of[POINTS] = {0, 5, 9};
static const char *backend = "cpu"; /* at hand */

typedef struct fixture {
  test_model m;
  graph *g;
  dataset *data;
  mpt_layer_policy formats[TEST_MAX_LAYERS]; /* of the trajectory */
  mpt_layer_policy other[TEST_MAX_LAYERS];   /* of forks under another policy */
  train_options options;
  train_result whole; /* the trajectory */
  train_point points[POINTS];
  char paths[POINTS][64];
} fixture;

static void set_all(fixture *f, mpt_layer_policy *formats, mpt_layer_policy policy) {
  for (int i = 0; i < f->g->layer_count; i++)
    formats[i] = mpt_layer_policy_for(f->g->layers[i].info.kind, &policy);
}

/* Trained by Adam, with micro-batches and dropout where `accumulate` is above 1; else a GPU replays
 * its steps from recordings. */
static void begin(fixture *f, mpt_layer_policy formats, int accumulate) {
  memset(f, 0, sizeof *f);
  test_model_begin(&f->m, LOSS_CROSS_ENTROPY);
  f->m.info = (dataset_info){.rank = 1, .shape = {16}, .classes = 3};
  test_linear(&f->m, "fc1", 32);
  test_layer(&f->m, "relu", "relu1", NULL);
  if (accumulate > 1)
    test_layer(&f->m, "dropout", "drop1", NULL)->probability = 0.25;
  test_linear(&f->m, "fc2", 32);
  test_layer(&f->m, "tanh", "tanh1", NULL);
  test_linear(&f->m, "head", 3);
  optimizer_spec *o = &f->m.w.optimizer;
  o->kind = OPTIMIZER_ADAM;
  o->learning_rate = 0.02;
  o->schedule = SCHEDULE_COSINE;
  o->warmup = 3;
  o->accumulate = accumulate;
  f->m.w.batch = 16;
  f->m.w.steps = STEPS;
  OK(test_data(&f->m, 200, &f->data, &ok_error));
  OK(test_graph(&f->m, 16, &f->g, &ok_error));
  set_all(f, f->formats, formats);
  f->options = train_options_default();
  f->options.workload = &f->m.w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->formats;
  f->options.steps = STEPS;
  f->options.backend = backend;
  for (int i = 0; i < POINTS; i++) {
    snprintf(f->paths[i], sizeof f->paths[i], "test_fork.%d.%d.ckpt", (int)getpid(), i);
    f->points[i] = (train_point){steps_of[i], f->paths[i]};
  }
}

static void follow_trajectory(fixture *f) {
  f->options.points = f->points;
  f->options.point_count = POINTS;
  OK(train_run(&f->options, &f->whole, &ok_error));
  assert_int_equal(f->whole.steps_done, STEPS);
  f->options.points = NULL;
  f->options.point_count = 0;
}

static void end(fixture *f) {
  train_result_clear(&f->whole);
  dataset_close(f->data);
  graph_free(f->g);
  for (int i = 0; i < POINTS; i++)
    unlink(f->paths[i]);
}

static train_options fork_options(const fixture *f, int point, int64_t until,
                                  const mpt_layer_policy *formats) {
  train_options o = f->options;
  o.fork_from = f->paths[point];
  o.until = until;
  o.assignment = formats;
  return o;
}

static train_result fork_of(const fixture *f, int point, int64_t until,
                            const mpt_layer_policy *formats) {
  train_result result;
  const train_options o = fork_options(f, point, until, formats);
  OK(train_run(&o, &result, &ok_error));
  assert_int_equal(result.first_step, steps_of[point]);
  assert_int_equal(result.steps_done, until);
  return result;
}

/* ---- under the trajectory's own policy ---- */

static void own_policy(mpt_layer_policy formats, int accumulate, float loss_scale) {
  fixture f;
  begin(&f, formats, accumulate);
  f.options.loss_scale.initial = loss_scale;
  follow_trajectory(&f);
  for (int i = 0; i < POINTS; i++) {
    train_result stretch = fork_of(&f, i, steps_of[i] + 2, f.formats);
    assert_memory_equal(stretch.losses, f.whole.losses,
                        (size_t)stretch.steps_done * sizeof *stretch.losses);
    train_result_clear(&stretch);
    train_result rest = fork_of(&f, i, STEPS, f.formats);
    assert_memory_equal(rest.losses, f.whole.losses, STEPS * sizeof *rest.losses);
    assert_true(rest.metric == f.whole.metric && rest.metric_plain == f.whole.metric_plain);
    train_result_clear(&rest);
  }
  end(&f);
}

static bool is_here(const char *name) {
  const char *only = getenv("MPTUNE_TEST_BACKEND");
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  config.backend = name;
  if ((only != NULL && strcmp(only, name) != 0) || mpt_queue_open(&config, &queue, NULL) != MPT_OK)
    return false;
  mpt_queue_close(queue);
  return true;
}

static void on_every_backend(void check(void)) {
  static const char *const backends[] = {"cpu", "cuda"};
  for (int i = 0; i < 2; i++) {
    backend = backends[i];
    if (is_here(backend))
      check();
  }
  backend = "cpu";
}

static void check_own_policies(void) {
  mpt_layer_policy delayed = mpt_layer_policy_of(MPT_PRECISION_FP8);
  delayed.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 1};
  own_policy(mpt_layer_policy_of(MPT_PRECISION_FP32), 1, 65536.0f);
  own_policy(mpt_layer_policy_of(MPT_PRECISION_BF16), 3, 65536.0f);
  own_policy(mpt_layer_policy_of(MPT_PRECISION_FP16), 1, 0x1p22f); /* overflows at first */
  own_policy(mpt_layer_policy_of(MPT_PRECISION_FP8), 2, 65536.0f);
  own_policy(delayed, 1, 65536.0f);
}

static void gives_the_same_bits(void **unused) {
  (void)unused;
  on_every_backend(check_own_policies);
}

/* ---- under another policy ---- */

/* Another policy by its loss scale alone, which nothing in fp32 uses: all else goes on, Adam's
 * count of updates too. */
static void the_optimizer_goes_on(void **unused) {
  (void)unused;
  fixture f;
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_FP32), 1);
  follow_trajectory(&f);
  f.options.loss_scale.initial = 2.0f;
  for (int i = 0; i < POINTS; i++) {
    train_result fork = fork_of(&f, i, STEPS, f.formats);
    assert_memory_equal(fork.losses, f.whole.losses, STEPS * sizeof *fork.losses);
    train_result_clear(&fork);
  }
  end(&f);
}

static void differs_at_once_only_by_the_forward_pass(void **unused) {
  (void)unused;
  fixture f;
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_FP32), 1);
  follow_trajectory(&f);
  const int64_t at = steps_of[1];
  /* gradients are stored as dgrad is, so that must stay for those of other layers to */
  for (int i = 0; i < f.g->layer_count; i++) {
    f.other[i] = f.formats[i];
    if (f.g->layers[i].has_gemm)
      f.other[i].gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_FP8);
  }
  train_result backward = fork_of(&f, 1, at + 2, f.other);
  assert_true(backward.losses[at] == f.whole.losses[at]);
  assert_true(backward.losses[at + 1] != f.whole.losses[at + 1]);
  assert_true(fabs(backward.losses[at + 1] / f.whole.losses[at + 1] - 1.0) < 0.05);
  train_result_clear(&backward);
  set_all(&f, f.other, mpt_layer_policy_of(MPT_PRECISION_BF16));
  train_result forward = fork_of(&f, 1, at + 2, f.other);
  const double cost = fabs(forward.losses[at] / f.whole.losses[at] - 1.0);
  assert_true(cost > 0.0 && cost < 0.01);
  assert_memory_equal(forward.losses, f.whole.losses, (size_t)at * sizeof *forward.losses);
  train_result_clear(&forward);
  end(&f);
}

/* Scales of formats that the trajectory had not begin with the tensors: as current ones do. */
static void histories_begin_with_the_tensors(void **unused) {
  (void)unused;
  fixture f;
  mpt_layer_policy fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_FP32), 1);
  follow_trajectory(&f);
  const int64_t at = steps_of[2];
  set_all(&f, f.other, fp8);
  train_result current = fork_of(&f, 2, at + 1, f.other);
  fp8.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 0};
  set_all(&f, f.other, fp8);
  train_result delayed = fork_of(&f, 2, at + 1, f.other);
  assert_true(current.losses[at] == delayed.losses[at]);
  assert_true(current.losses[at] != f.whole.losses[at]);
  /* the gradients, too: then the weights after the step are the same */
  assert_true(current.metric_plain == delayed.metric_plain);
  train_result_clear(&current);
  train_result_clear(&delayed);
  end(&f);
}

typedef struct scales {
  float at[STEPS];
} scales;

static bool note_scale(void *context, const train_step *step) {
  ((scales *)context)->at[step->step] = step->loss_scale;
  return true;
}

static void the_loss_scale_goes_on_where_both_move_it(void **unused) {
  (void)unused;
  fixture f;
  scales whole = {{0}}, fork = {{0}};
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_FP16), 1);
  f.options.loss_scale.initial = 0x1p22f;
  f.options.on_step = note_scale;
  f.options.context = &whole;
  follow_trajectory(&f);
  assert_true(f.whole.report.skipped > 0);
  const int64_t at = steps_of[2];
  assert_true(whole.at[at] < 0x1p22f);
  memcpy(f.other, f.formats, sizeof f.other);
  f.other[0] = mpt_layer_policy_of(MPT_PRECISION_FP32); /* fc1 */
  f.options.context = &fork;
  train_result result = fork_of(&f, 2, at + 1, f.other);
  assert_true(fork.at[at] == whole.at[at]);
  train_result_clear(&result);
  f.options.loss_scale.mode = MPT_LOSS_SCALE_STATIC; /* as its policy says */
  f.options.loss_scale.initial = 16.0f;
  result = fork_of(&f, 2, at + 1, f.other);
  assert_true(fork.at[at] == 16.0f);
  train_result_clear(&result);
  end(&f);
}

static void a_scale_that_the_trajectory_had_not_begins(void **unused) {
  (void)unused;
  fixture f;
  scales fork = {{0}};
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_BF16), 1);
  follow_trajectory(&f);
  const int64_t at = steps_of[1];
  set_all(&f, f.other, mpt_layer_policy_of(MPT_PRECISION_FP16));
  f.options.loss_scale.initial = 64.0f;
  f.options.on_step = note_scale;
  f.options.context = &fork;
  train_result result = fork_of(&f, 1, at + 1, f.other);
  assert_true(fork.at[at] == 64.0f);
  train_result_clear(&result);
  end(&f);
}

/* ---- what is refused ---- */

static void refused(const fixture *f, mpt_status status, const char *text1, const char *text2) {
  train_result none;
  const train_options o = fork_options(f, 1, STEPS, f->options.assignment);
  FAILS(train_run(&o, &none, &ok_error), status, text1, text2);
}

static void another_trajectory_is_refused_by_name(void **unused) {
  (void)unused;
  static const char another[] = "is of another trajectory: ";
  fixture f;
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_BF16), 1);
  follow_trajectory(&f);
  set_all(&f, f.other, mpt_layer_policy_of(MPT_PRECISION_FP8)); /* a policy is none of it */
  f.options.assignment = f.other;
  const workload given = f.m.w;
  f.m.w.optimizer.learning_rate = 0.2;
  refused(&f, MPT_ERROR_MISMATCH, another, "optimizer learning_rate was 2.0e-02 and is 2.0e-01;");
  f.m.w = given;
  f.m.w.optimizer.kind = OPTIMIZER_SGD;
  refused(&f, MPT_ERROR_MISMATCH, another, "optimizer kind was adam and is sgd");
  f.m.w = given;
  f.options.seed = 2;
  refused(&f, MPT_ERROR_MISMATCH, another, "seed was 1 and is 2;");
  f.options.seed = 1;
  f.options.steps = STEPS + 1;
  refused(&f, MPT_ERROR_MISMATCH, another, "steps of this run was 12 and is 13;");
  f.options.steps = STEPS;
  f.m.w.model = f.m.model;
  refused(&f, MPT_ERROR_MISMATCH, another, "layer 'fc1' was not there");
  f.m.w = given;
  dataset *data;
  OK(test_data(&f.m, 201, &data, &ok_error));
  f.options.data = data;
  refused(&f, MPT_ERROR_MISMATCH, another, "the data's content was ");
  f.options.data = f.data;
  dataset_close(data);
  test_model larger = f.m;
  larger.layers[0].features = 48;
  larger.model.layers = larger.layers;
  graph *given_graph = f.g;
  OK(test_graph(&larger, 16, &f.g, &ok_error));
  f.options.graph = f.g;
  refused(&f, MPT_ERROR_MISMATCH, "parameter 'fc1.weight' has another shape", "");
  graph_free(f.g);
  f.g = given_graph;
  end(&f);
}

static size_t read_file(const char *path, char *to) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t size = fread(to, 1, MOST, file);
  assert_true(size > 0 && size < MOST);
  fclose(file);
  return size;
}

static void write_file(const char *path, const char *from, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(from, 1, size, file), size);
  fclose(file);
}

static void what_is_no_point_of_a_trajectory_is_refused(void **unused) {
  (void)unused;
  static char file[MOST], changed[MOST];
  fixture f;
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_BF16), 1);
  follow_trajectory(&f);
  const size_t size = read_file(f.paths[1], file);
  memcpy(changed, file, size);
  memcpy(strstr(changed, "\"backend\":\"cpu\"") + 11, "gpu", 3);
  write_file(f.paths[1], changed, size);
  refused(&f, MPT_ERROR_MISMATCH, "was trained with other arithmetic", "no fork begins there");
  write_file(f.paths[1], file, size - 1);
  refused(&f, MPT_ERROR_SYNTAX, "is damaged", "");
  write_file(f.paths[1], "{}\n", 3);
  refused(&f, MPT_ERROR_SYNTAX, "is not a checkpoint of mptune", "");
  unlink(f.paths[1]);
  refused(&f, MPT_ERROR_NOT_FOUND, f.paths[1], "");
  f.options.save_initial = f.paths[1];
  train_result result;
  OK(train_run(&f.options, &result, &ok_error));
  train_result_clear(&result);
  f.options.save_initial = NULL;
  refused(&f, MPT_ERROR_MISMATCH, "holds weights alone", "");
  write_file(f.paths[1], file, size);
  train_options o = fork_options(&f, 1, steps_of[1], f.formats);
  FAILS(train_run(&o, &result, &ok_error), MPT_ERROR_MISMATCH, "has all the steps", "");
  o.until = STEPS + 1;
  FAILS(train_run(&o, &result, &ok_error), MPT_ERROR_ARGUMENT, "does not stop before 13", "");
  o = fork_options(&f, 1, STEPS, f.formats);
  o.save_checkpoint = f.paths[0]; /* it would pass for one of a whole training */
  FAILS(train_run(&o, &result, &ok_error), MPT_ERROR_ARGUMENT, "a fork begins with", "saves none");
  end(&f);
}

/* ---- what a trajectory leaves, and is told, on its way ---- */

static void points_are_what_a_run_leaves_that_stops_there(void **unused) {
  (void)unused;
  static char point[MOST], stopped[MOST];
  char path[64];
  fixture f;
  begin(&f, mpt_layer_policy_of(MPT_PRECISION_FP16), 1);
  f.options.loss_scale.initial = 0x1p22f;
  follow_trajectory(&f);
  snprintf(path, sizeof path, "test_fork.%d.stopped.ckpt", (int)getpid());
  for (int i = 1; i < POINTS; i++) {
    train_result result;
    f.options.save_checkpoint = path;
    f.options.until = steps_of[i];
    OK(train_run(&f.options, &result, &ok_error));
    assert_int_equal(result.steps_done, steps_of[i]);
    assert_false(result.stopped);
    train_result_clear(&result);
    const size_t size = read_file(f.paths[i], point);
    assert_int_equal(read_file(path, stopped), size);
    assert_memory_equal(point, stopped, size - sizeof(double)); /* but the seconds */
  }
  unlink(path);
  train_result none;
  f.options.save_checkpoint = NULL;
  f.options.points = f.points;
  f.options.point_count = POINTS;
  f.options.until = 8;
  FAILS(train_run(&f.options, &none, &ok_error), MPT_ERROR_ARGUMENT, "from 0 to 8", "not 9");
  f.options.until = 0;
  f.points[1].step = 0;
  FAILS(train_run(&f.options, &none, &ok_error), MPT_ERROR_ARGUMENT, "ascending order", "not 0");
  f.points[2].path = "there/is/no/such/folder";
  f.points[1].step = 5;
  FAILS(train_run(&f.options, &none, &ok_error), MPT_ERROR_IO, "there/is/no/such/folder", "");
  end(&f);
}

typedef struct held_out {
  int count;
  int64_t steps[STEPS];
  double losses[STEPS];
} held_out;

static void note_held_out(void *context, int64_t steps_done, double loss) {
  held_out *h = context;
  h->steps[h->count] = steps_done;
  h->losses[h->count++] = loss;
}

static void held_out_on_the_way(mpt_layer_policy formats, int accumulate) {
  fixture f;
  held_out seen = {0};
  begin(&f, formats, accumulate);
  follow_trajectory(&f);
  f.options.on_held_out = note_held_out;
  f.options.held_out_every = 4;
  f.options.context = &seen;
  train_result result;
  OK(train_run(&f.options, &result, &ok_error));
  assert_memory_equal(result.losses, f.whole.losses, STEPS * sizeof *result.losses);
  assert_true(result.metric == f.whole.metric);
  train_result_clear(&result);
  assert_int_equal(seen.count, 2); /* at the end there is the metric */
  f.options.on_held_out = NULL;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(seen.steps[i], 4 * (i + 1));
    f.options.until = seen.steps[i];
    OK(train_run(&f.options, &result, &ok_error));
    assert_true(result.held_out_loss == seen.losses[i]);
    train_result_clear(&result);
  }
  end(&f);
}

static void check_held_out(void) {
  mpt_layer_policy delayed = mpt_layer_policy_of(MPT_PRECISION_FP8);
  delayed.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 1};
  held_out_on_the_way(mpt_layer_policy_of(MPT_PRECISION_FP16), 1);
  held_out_on_the_way(delayed, 1);
  held_out_on_the_way(delayed, 2);
}

static void a_held_out_loss_on_the_way_changes_no_bit(void **unused) {
  (void)unused;
  on_every_backend(check_held_out);
}

int main(void) {
  setenv("MPTUNE_GEMM_TUNE", "0", 1); /* a GPU would choose products by time, apart in each run */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gives_the_same_bits),
      cmocka_unit_test(the_optimizer_goes_on),
      cmocka_unit_test(differs_at_once_only_by_the_forward_pass),
      cmocka_unit_test(histories_begin_with_the_tensors),
      cmocka_unit_test(the_loss_scale_goes_on_where_both_move_it),
      cmocka_unit_test(a_scale_that_the_trajectory_had_not_begins),
      cmocka_unit_test(another_trajectory_is_refused_by_name),
      cmocka_unit_test(what_is_no_point_of_a_trajectory_is_refused),
      cmocka_unit_test(points_are_what_a_run_leaves_that_stops_there),
      cmocka_unit_test(a_held_out_loss_on_the_way_changes_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
