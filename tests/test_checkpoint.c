/* Checkpoints: a run is continued as itself alone, with all that it counts, and no number that a
 * file claims does harm. */
#include "session_rig.h"
#include "train_model.h"
#include <unistd.h>

enum { STEPS = 10, STOP = 6, MOST = 1 << 16 };

typedef struct fixture {
  test_model m;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_options options;
  train_result result;
  char path[64];
} fixture;

static bool stop(void *context, const train_step *step) {
  (void)context;
  return step->step + 1 < STOP;
}

static void begin(fixture *f) {
  memset(f, 0, sizeof *f);
  test_mlp(&f->m, 6, 16, 3);
  f->m.w.optimizer.kind = OPTIMIZER_ADAM;
  f->m.w.batch = 16;
  f->m.w.steps = STEPS;
  OK(test_data(&f->m, 200, &f->data, &ok_error));
  OK(test_graph(&f->m, 16, &f->g, &ok_error));
  for (int i = 0; i < f->g->layer_count; i++)
    f->assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP16);
  f->options = train_options_default();
  f->options.workload = &f->m.w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->assignment;
  f->options.steps = STEPS;
  f->options.loss_scale.initial = 0x1p25f; /* overflows until it has been halved a few times */
  snprintf(f->path, sizeof f->path, "test_checkpoint.%d.ckpt", (int)getpid());
}

static void run(fixture *f) {
  train_result_clear(&f->result);
  OK(train_run(&f->options, &f->result, &ok_error));
}

/* Begins a run, and leaves its checkpoint after some steps. */
static void interrupt(fixture *f) {
  f->options.save_checkpoint = f->path;
  f->options.on_step = stop;
  run(f);
  assert_true(f->result.stopped);
  f->options.on_step = NULL;
  f->options.resume = true;
}

static void end(fixture *f) {
  train_result_clear(&f->result);
  dataset_close(f->data);
  graph_free(f->g);
  unlink(f->path);
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

/* ---- what continues ---- */

static void skipped_steps_and_seconds_continue(void **unused) {
  (void)unused;
  fixture f;
  begin(&f);
  run(&f);
  const int64_t skipped = f.result.report.skipped;
  assert_true(skipped > 1 && skipped < STEPS);
  interrupt(&f);
  assert_true(f.result.report.skipped > 0);
  const double before = f.result.total_seconds;
  static char file[MOST];
  size_t size = read_file(f.path, file);
  double seconds, later = 1000;
  memcpy(&seconds, file + size - sizeof seconds, sizeof seconds); /* as the format says */
  assert_true(seconds > 0 && seconds <= before);
  memcpy(file + size - sizeof later, &later, sizeof later);
  write_file(f.path, file, size);
  run(&f);
  assert_int_equal(f.result.report.skipped, skipped);
  assert_true(f.result.total_seconds > later && f.result.total_seconds < later + 100);
  run(&f); /* of a finished run: nothing more is skipped */
  assert_int_equal(f.result.report.skipped, skipped);
  end(&f);
}

/* ---- what is of another training ---- */

static void refused(fixture *f, const char *text1, const char *text2) {
  train_result none;
  FAILS(train_run(&f->options, &none, &ok_error), MPT_ERROR_MISMATCH, text1, text2);
}

static void another_training_is_refused_by_name(void **unused) {
  (void)unused;
  static const char another[] = "is of another training: ", *at = another;
  fixture f;
  begin(&f);
  interrupt(&f);
  workload *w = &f.m.w;
  const workload given = *w;
  w->optimizer.learning_rate = 0.2;
  refused(&f, at, "optimizer learning_rate was 1.0e-01 and is 2.0e-01;");
  *w = given;
  w->batch = 8;
  refused(&f, at, ": batch was 16 and is 8;");
  *w = given;
  w->optimizer.kind = OPTIMIZER_ADAMW;
  w->optimizer.weight_decay = 0.5;
  refused(&f, "optimizer kind was adam and is adamw, ",
          "optimizer weight_decay was 0.0e+00 and is");
  *w = given;
  w->optimizer.kind = OPTIMIZER_SGD;
  refused(&f, at, "optimizer kind was adam and is sgd;");
  *w = given;
  w->model = f.m.model;
  refused(&f, "layer 'fc1' was not there, layer 'relu1' was not there", " and 1 more;");
  *w = given;
  f.options.seed = 2;
  refused(&f, at, "seed was 1 and is 2;");
  f.options.seed = 1;
  f.options.steps = 9;
  refused(&f, at, "steps of this run was 10 and is 9;");
  f.options.steps = STEPS;
  f.assignment[2] = mpt_layer_policy_of(MPT_PRECISION_BF16);
  refused(&f, at, "formats of fc2 was fp16 and is bf16;");
  f.assignment[2] = mpt_layer_policy_of(MPT_PRECISION_FP16);
  f.options.loss_scale.initial = 2;
  refused(&f, at, "loss scale of the policy was 0,33554432 and is 0,2;");
  end(&f);
}

static void other_data_are_refused(void **unused) {
  (void)unused;
  fixture f;
  begin(&f);
  interrupt(&f);
  dataset *data;
  OK(test_data(&f.m, 201, &data, &ok_error));
  f.options.data = data;
  refused(&f, "is of another training: the data's content was ", "--force");
  f.options.force = true;
  run(&f);
  assert_int_equal(f.result.steps_done, STEPS);
  dataset_close(data);
  end(&f);
}

static void by_force_what_fits_is_continued(void **unused) {
  (void)unused;
  fixture f;
  static char file[MOST];
  begin(&f);
  interrupt(&f);
  size_t size = read_file(f.path, file);
  const workload given = f.m.w;
  f.options.force = true;
  for (int i = 0; i < 4; i++) {
    write_file(f.path, file, size);
    f.m.w.optimizer.learning_rate = i == 0 ? 0.2 : 0.1;
    f.options.seed = i == 1 ? 2 : 1;
    f.options.steps = i == 2 ? STOP + 1 : STEPS;
    f.assignment[2] = mpt_layer_policy_of(i == 3 ? MPT_PRECISION_FP8 : MPT_PRECISION_FP16);
    run(&f);
    assert_int_equal(f.result.steps_done, f.options.steps);
  }
  write_file(f.path, file, size);
  f.m.w = given;
  f.options.steps = STOP - 1;
  refused(&f, "has more steps than this run shall have", "");
  f.options.steps = STEPS;
  f.m.w.optimizer.kind = OPTIMIZER_SGD;
  refused(&f, "is of another optimizer, which keeps other state", "");
  end(&f);
}

/* ---- older files ---- */

/* The same run as version 1 wrote it. */
static size_t as_version_1(char *file, size_t size) {
  char *end = memchr(file, '\n', size), *more = strstr(file, ",\"skipped\""), head[4096];
  char *seconds = strstr(file, ",\"seconds\":1");
  assert_true(end != NULL && more != NULL && more < end && seconds != NULL && seconds < more);
  int used = snprintf(head, sizeof head, "%.*s%.*s}\n", (int)(seconds - file), file,
                      (int)(more - seconds) - 12, seconds + 12);
  strstr(head, "checkpoint@2")[11] = '1';
  size_t numbers = (size_t)(file + size - end - 1) - sizeof(double);
  memmove(file + used, end + 1, numbers);
  memcpy(file, head, (size_t)used);
  return (size_t)used + numbers;
}

static void an_older_checkpoint_continues(void **unused) {
  (void)unused;
  static char file[MOST];
  fixture f;
  begin(&f);
  run(&f);
  double losses[STEPS];
  memcpy(losses, f.result.losses, sizeof losses);
  interrupt(&f);
  size_t size = as_version_1(file, read_file(f.path, file));
  write_file(f.path, file, size);
  run(&f);
  assert_memory_equal(f.result.losses, losses, sizeof losses);
  write_file(f.path, file, size);
  f.options.seed = 7;
  refused(&f, "is of another seed", "");
  f.options.seed = 1;
  f.options.steps = 20;
  refused(&f, "is of a run of another length", "");
  end(&f);
}

/* ---- damaged files ---- */

static void set_number(const char *file, size_t size, const char *key, const char *value,
                       const char *path) {
  static char changed[MOST + 64];
  char name[32];
  snprintf(name, sizeof name, "\"%s\":", key);
  const char *at = strstr(file, name);
  assert_non_null(at);
  size_t before = (size_t)(at - file) + strlen(name), digits = strspn(file + before, "0123456789");
  memcpy(changed, file, before);
  strcpy(changed + before, value);
  memcpy(changed + before + strlen(value), file + before + digits, size - before - digits);
  write_file(path, changed, size - digits + strlen(value));
}

static void numbers_of_a_header_are_checked_before_they_are_used(void **unused) {
  (void)unused;
  static const char *const keys[] = {"step",    "steps",   "moments", "losses",
                                     "session", "seconds", "skipped"};
  static const char *const values[] = {"-1",
                                       "-9223372036854775808",
                                       "9223372036854775807",
                                       "4611686018427387904",
                                       "1152921504606846976",
                                       "3e9",
                                       "\"6\"",
                                       "null",
                                       "[]",
                                       "2147483648"};
  static char file[MOST];
  fixture f;
  begin(&f);
  interrupt(&f);
  size_t size = read_file(f.path, file);
  f.options.force = true; /* which is no reason to believe it */
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      train_result none;
      mpt_error error = {0};
      const bool is_type = v >= 5 && v <= 8;
      if (strcmp(keys[k], "steps") == 0 && !is_type && values[v][0] != '-')
        continue; /* a longer run than any is none that is damaged */
      if (strcmp(keys[k], "skipped") == 0 && is_type)
        continue; /* is none */
      set_number(file, size, keys[k], values[v], f.path);
      mpt_status status = train_run(&f.options, &none, &error);
      if (status != MPT_ERROR_SYNTAX && status != MPT_ERROR_MISMATCH)
        fail_msg("%s: %s is %s: %s", keys[k], values[v], mpt_status_name(status), error.message);
      assert_true(strstr(error.message, "damaged") != NULL);
    }
  for (size_t cut = 1; cut < 40; cut++) { /* truncated, in the numbers and at last in the header */
    train_result none;
    mpt_error error = {0};
    write_file(f.path, file, size - size * cut / 40);
    assert_int_equal(train_run(&f.options, &none, &error), MPT_ERROR_SYNTAX);
  }
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(skipped_steps_and_seconds_continue),
      cmocka_unit_test(another_training_is_refused_by_name),
      cmocka_unit_test(other_data_are_refused),
      cmocka_unit_test(by_force_what_fits_is_continued),
      cmocka_unit_test(an_older_checkpoint_continues),
      cmocka_unit_test(numbers_of_a_header_are_checked_before_they_are_used),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
