/* docs/examples/mlp.c, built against the installed libmptune, trains as the built-in trainer does:
 * its linear layers give the same bits in the first step, its losses agree over 50 steps. */
#include "train/trainer.h"
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 50, ROWS = 35, INPUTS = 30, MAX_LAYERS = 3 };

#define WORKLOAD(optimizer)                                                                        \
  "schema: mptune/workload@1\n"                                                                    \
  "model: {preset: mlp, widths: [24, 17], outputs: 3}\n"                                           \
  "data: {kind: synthetic, features: 30, classes: 3, samples: 400}\n"                              \
  "loss: cross_entropy\n"                                                                          \
  "optimizer: {" optimizer ", learning_rate: 1.0e-03}\n"                                           \
  "batch: 35\n"                                                                                    \
  "steps: 50\n"                                                                                    \
  "threads: 1\n"                                                                                   \
  "budget: {worse_by: 0.5%}\n"

static const char adam[] = WORKLOAD("kind: adam");
/* Its momentum after one step is the gradient. */
static const char momentum[] = WORKLOAD("kind: sgd, momentum: 0.9");

static char work[] = "/tmp/mptune-example-XXXXXX";

static const char *file_in_work(const char *name) {
  static char paths[4][256];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", work, name);
  return path;
}

static void write_file(const char *name, const void *data, size_t size) {
  FILE *file = fopen(file_in_work(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static void *read_file(const char *name, size_t *size) {
  FILE *file = fopen(file_in_work(name), "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void *data = malloc(*size + 1);
  assert_int_equal(fread(data, 1, *size, file), *size);
  ((char *)data)[*size] = '\0';
  fclose(file);
  return data;
}

#define OK(call)                                                                                   \
  do {                                                                                             \
    mpt_error error = {0};                                                                         \
    if ((call) != MPT_OK)                                                                          \
      fail_msg("%s", error.message);                                                               \
  } while (0)

/* What the trainer's linear layers had at hand in the first step, from the last layer to the first.
 */
typedef struct seen_layer {
  int64_t n, k;
  mpt_format input_format;
  float *input, *grad_output;
} seen_layer;

typedef struct builtin {
  seen_layer layers[MAX_LAYERS]; /* in forward order */
  int left;                      /* layers not seen yet */
  train_result result;
  float loss_scale;           /* of the first step */
  const float *gradients_end; /* of the parameters, unscaled */
} builtin;

static float *copy_of(const mpt_tensor *t) {
  size_t bytes = (size_t)mpt_tensor_count(t) * sizeof(float);
  float *data = malloc(bytes);
  memcpy(data, t->data, bytes);
  return data;
}

static void probe(void *context, mpt_queue *queue, int64_t step, int layer, const mpt_tensor *input,
                  const mpt_tensor *weight, const mpt_tensor *grad_output) {
  (void)queue, (void)layer;
  builtin *b = context;
  if (step > 0)
    return;
  assert_true(b->left > 0);
  b->layers[--b->left] = (seen_layer){weight->shape[0], weight->shape[1], input->format,
                                      copy_of(input), copy_of(grad_output)};
}

static bool stop_after_first(void *context, const train_step *step) {
  (void)context, (void)step;
  return false;
}

static bool note_loss_scale(void *context, const train_step *step) {
  if (step->step == 0)
    ((builtin *)context)->loss_scale = step->loss_scale;
  return true;
}

static void train(const char *workload_text, const char *policy_text, const char *policy_name,
                  builtin *b) {
  workload *w;
  dataset *data;
  graph *g;
  mpt_policy *policy;
  write_file("workload.yaml", workload_text, strlen(workload_text));
  write_file(policy_name, policy_text, strlen(policy_text));
  OK(workload_load(file_in_work("workload.yaml"), &w, &error));
  OK(dataset_open(&w->data, &data, &error));
  OK(graph_build(w, &w->model, w->batch, 0, dataset_get_info(data), &g, &error));
  OK(mpt_policy_load(file_in_work(policy_name), &policy, &error));
  mpt_layer_info *infos = graph_layer_infos(g);
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  OK(mpt_policy_resolve(policy, infos, g->layer_count, NULL, assignment, &error));
  train_options o = train_options_default();
  o.workload = w;
  o.graph = g;
  o.data = data;
  o.assignment = assignment;
  o.loss_scale = mpt_policy_loss_scale(policy);
  o.steps = STEPS;
  o.on_layer = probe;
  o.probe_every = STEPS;
  o.context = b;
  o.save_initial = file_in_work("weights");
  o.save_batches = file_in_work("batches");
  o.on_step = note_loss_scale;
  if (workload_text == momentum) {
    o.on_step = stop_after_first;
    o.save_checkpoint = file_in_work("after-one");
  }
  b->left = MAX_LAYERS;
  OK(train_run(&o, &b->result, &error));
  assert_int_equal(b->result.steps_done, workload_text == momentum ? 1 : STEPS);
  free(assignment);
  free(infos);
  mpt_policy_free(policy);
  graph_free(g);
  dataset_close(data);
  workload_free(w);
}

static void builtin_clear(builtin *b) {
  for (int i = 0; i < MAX_LAYERS; i++) {
    free(b->layers[i].input);
    free(b->layers[i].grad_output);
  }
  train_result_clear(&b->result);
}

/* Runs one of the built programs; its standard output goes to the file "losses". */
static void run_example(const char *program, const char *policy_name, const char *more) {
  char command[1024];
  snprintf(command, sizeof command, "cd %s && %s %s weights batches %s >losses", work, program,
           policy_name, more);
  if (system(command) != 0)
    fail_msg("'%s' failed", command);
}

static void compare_losses(const builtin *b, int steps, double tolerance) {
  size_t size;
  char *text = read_file("losses", &size), *at = text;
  for (int i = 0; i < steps; i++) {
    assert_int_equal(strtol(at, &at, 10), i);
    double loss = strtod(at, &at), expected = b->result.losses[i];
    if (!(fabs(loss - expected) <= tolerance * fabs(expected)))
      fail_msg("loss of step %d is %.12g, the trainer's %.12g", i, loss, expected);
  }
  assert_string_equal(at, "\n"); /* as many as steps, no more */
  assert_true(b->result.losses[0] > 1.02 * b->result.losses[STEPS - 1]); /* something was learnt */
  free(text);
}

/* The gradients of all parameters, from the checkpoint after one step with momentum: behind the
 * header and the weights. */
static float *gradients_of(const char *policy_text, const char *policy_name, builtin *b) {
  builtin one = {0};
  train(momentum, policy_text, policy_name, &one);
  size_t size, count = 0;
  for (int i = 0; i < MAX_LAYERS; i++)
    count += (size_t)(b->layers[i].n * b->layers[i].k + b->layers[i].n);
  char *file = read_file("after-one", &size);
  char *numbers = strchr(file, '\n') + 1;
  assert_true(size >= (size_t)(numbers - file) + 2 * count * sizeof(float));
  float *gradients = malloc(count * sizeof(float));
  memcpy(gradients, numbers + count * sizeof(float), count * sizeof(float));
  b->gradients_end = gradients + count;
  builtin_clear(&one);
  free(file);
  return gradients;
}

/* Bit for bit: what a layer's output became on its way to the next layer's input, and what dgrad
 * gave on its way to being the grad_output of the layer before, and the parameters' gradients. */
static void compare_first_step(const builtin *b, const float *record, size_t count,
                               const mpt_format *gradient_formats) {
  const float *outputs[MAX_LAYERS], *at = record, *gradients = b->gradients_end;
  for (int i = 0; i < MAX_LAYERS; i++) {
    outputs[i] = at;
    at += ROWS * b->layers[i].n;
  }
  for (int i = 0; i + 1 < MAX_LAYERS; i++) {
    const seen_layer *next = &b->layers[i + 1];
    for (int64_t j = 0; j < ROWS * next->k; j++) {
      float relu = outputs[i][j] < 0.0f ? 0.0f : outputs[i][j];
      relu = mpt_format_round(next->input_format, relu, false);
      assert_memory_equal(&relu, &next->input[j], sizeof relu);
    }
  }
  for (int i = MAX_LAYERS - 1; i >= 0; i--) {
    int64_t parameters = b->layers[i].n * b->layers[i].k + b->layers[i].n;
    gradients -= parameters;
    for (int64_t j = 0; j < parameters; j++) {
      float unscaled = at[j] / b->loss_scale;
      assert_memory_equal(&unscaled, &gradients[j], sizeof unscaled);
    }
    at += parameters;
    for (int64_t j = 0; i > 0 && j < ROWS * b->layers[i].k; j++) {
      float gradient = b->layers[i].input[j] <= 0.0f ? 0.0f : at[j];
      gradient = mpt_format_round(gradient_formats[i - 1], gradient, false);
      assert_memory_equal(&gradient, &b->layers[i - 1].grad_output[j], sizeof gradient);
    }
    at += i > 0 ? ROWS * b->layers[i].k : 0;
  }
  assert_int_equal(at - record, count);
}

static void agrees(const char *policy_text, const char *policy_name,
                   const mpt_format *gradient_formats) {
  builtin b = {0};
  train(adam, policy_text, policy_name, &b);
  write_file("gradient", b.layers[MAX_LAYERS - 1].grad_output, ROWS * 3 * sizeof(float));
  const char *programs[] = {"./cmake/mlp", "./cmake/mlp_static", "./mlp"};
  for (int i = 0; i < 3; i++) {
    run_example(programs[i], policy_name, "");
    compare_losses(&b, STEPS, 1e-5);
  }
  run_example("./mlp", policy_name, "--steps 1 --record record --first-gradient gradient");
  size_t size;
  float *record = read_file("record", &size);
  float *gradients = gradients_of(policy_text, policy_name, &b);
  compare_first_step(&b, record, size / sizeof(float), gradient_formats);
  free(gradients);
  free(record);
  builtin_clear(&b);
}

static void the_example_agrees_in_fp32(void **unused) {
  (void)unused;
  const mpt_format formats[] = {MPT_FP32, MPT_FP32};
  agrees("schema: mptune/policy@1\ndefault: fp32\n", "fp32.yaml", formats);
}

static void the_example_agrees_in_a_mixed_policy(void **unused) {
  (void)unused;
  const mpt_format formats[] = {MPT_BF16, MPT_FP16};
  agrees("schema: mptune/policy@1\n"
         "default: bf16\n"
         "rules:\n"
         "  - layers: [\"fc1\"]\n"
         "    format: fp8\n"
         "  - layers: [\"fc2\", \"relu2\"]\n"
         "    format: fp16\n"
         "  - layers: [\"head\"]\n"
         "    fprop: tf32\n"
         "    dgrad: fp16\n"
         "    wgrad: fp8\n",
         "mixed.yaml", formats);
}

static int build(void **unused) {
  (void)unused;
  if (mkdtemp(work) == NULL)
    return -1;
#if defined(__SANITIZE_ADDRESS__)
  setenv("CFLAGS", "-fsanitize=address,undefined", 1);
#endif
  char command[1024];
  snprintf(command, sizeof command, "%s/tests/test_example.sh %s %s %s", MPTUNE_SOURCE_DIR,
           MPTUNE_BINARY_DIR, MPTUNE_SOURCE_DIR, work);
  return system(command) == 0 ? 0 : -1;
}

static int clean(void **unused) {
  (void)unused;
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s", work);
  return system(command) == 0 ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_example_agrees_in_fp32),
      cmocka_unit_test(the_example_agrees_in_a_mixed_policy),
  };
  return cmocka_run_group_tests(tests, build, clean);
}
