/* In fp32 it trains like PyTorch: the losses of 50 steps agree to 1e-4
 * relative, for an MLP, a CNN and a small GPT, each with sgd (momentum), adam
 * and adamw.
 *
 * tests/reference/losses.json holds PyTorch's losses. make_reference.py beside
 * it makes them: it calls this program with --export DIRECTORY, which writes
 * the initial weights (a checkpoint) and the batches of every model, and trains
 * the same networks from them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { STEPS = 50, MODELS = 3, OPTIMIZERS = 3 };
static const char *const model_names[MODELS] = {"mlp", "cnn", "gpt"};
static const char *const optimizer_names[OPTIMIZERS] = {"sgd", "adam", "adamw"};

static void reference_model(test_model *m, int model) {
  if (model == 0)
    test_mlp(m, 20, 32, 5);
  else if (model == 1)
    test_cnn(m, 12, 8, 5);
  else
    test_gpt(m, 48, 16, 32, 2, true);
}

static optimizer_spec reference_optimizer(int optimizer, int model) {
  optimizer_spec o = {.beta1 = 0.9,
                      .beta2 = 0.98,
                      .epsilon = 1e-8,
                      .accumulate = 1,
                      .schedule = SCHEDULE_COSINE,
                      .warmup = 5,
                      .final_fraction = 0.1,
                      .clip = model == 2 ? 1.0 : 0.0};
  o.kind = (optimizer_kind)optimizer;
  o.learning_rate = optimizer == 0 ? 0.05 : 2e-3;
  o.momentum = optimizer == 0 ? 0.9 : 0.0;
  o.weight_decay = optimizer == 2 ? 0.1 : 1e-3;
  return o;
}

/* One run, described and opened. */
typedef struct run {
  test_model m;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_options options;
} run;

static mpt_status run_open(run *r, int model, int optimizer, mpt_error *error) {
  *r = (run){0};
  reference_model(&r->m, model);
  r->m.w.optimizer = reference_optimizer(optimizer, model);
  r->m.w.batch = 8, r->m.w.steps = STEPS;
  mpt_status status = test_data(&r->m, r->m.info.tokens ? 4000 : 1000, &r->data, error);
  if (status != MPT_OK)
    return status;
  r->m.info = *dataset_get_info(r->data);
  status = test_graph(&r->m, 8, &r->g, error);
  for (int i = 0; status == MPT_OK && i < r->g->layer_count; i++)
    r->assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  r->options = train_options_default();
  r->options.workload = &r->m.w;
  r->options.graph = r->g;
  r->options.data = r->data;
  r->options.assignment = r->assignment;
  r->options.steps = STEPS;
  return status;
}

static void run_close(run *r) {
  dataset_close(r->data);
  graph_free(r->g);
}

/* ---- the test ---- */

static void agrees(int model, int optimizer) {
  run r;
  train_result result;
  mpt_error error = {0};
  json_t *root = json_load_file(MPTUNE_SOURCE_DIR "/tests/reference/losses.json", 0, NULL);
  json_t *losses =
      json_object_get(json_object_get(json_object_get(root, "losses"), model_names[model]),
                      optimizer_names[optimizer]);
  assert_int_equal(json_array_size(losses), STEPS);
  if (run_open(&r, model, optimizer, &error) != MPT_OK ||
      train_run(&r.options, &result, &error) != MPT_OK) {
    fail_msg("%s", error.message);
    return;
  }
  double worst = 0.0;
  for (int i = 0; i < STEPS; i++) {
    double expected = json_real_value(json_array_get(losses, (size_t)i));
    worst = fmax(worst, fabs(result.losses[i] / expected - 1.0));
    if (!(fabs(result.losses[i] - expected) <= 1e-4 * fabs(expected))) /* nor is it NaN */
      fail_msg("step %d: the loss is %.8f, PyTorch's %.8f", i, result.losses[i], expected);
  }
  assert_true(fabs(result.losses[STEPS - 1] - result.losses[0]) > 1e-2); /* it moved */
  print_message("%s, %s: within %.1e\n", model_names[model], optimizer_names[optimizer], worst);
  train_result_clear(&result);
  run_close(&r);
  json_decref(root);
}

#define AGREES(name, model, optimizer)                                                             \
  static void name(void **state) {                                                                 \
    (void)state;                                                                                   \
    agrees(model, optimizer);                                                                      \
  }
AGREES(an_mlp_with_sgd, 0, 0)
AGREES(an_mlp_with_adam, 0, 1)
AGREES(an_mlp_with_adamw, 0, 2)
AGREES(a_cnn_with_sgd, 1, 0)
AGREES(a_cnn_with_adam, 1, 1)
AGREES(a_cnn_with_adamw, 1, 2)
AGREES(a_gpt_with_sgd, 2, 0)
AGREES(a_gpt_with_adam, 2, 1)
AGREES(a_gpt_with_adamw, 2, 2)

/* ---- export ---- */

static bool write_batches(const run *r, const char *path) {
  dataset_batch batch;
  FILE *file = fopen(path, "wb");
  bool good = file != NULL && dataset_batch_make(r->data, 8, &batch, NULL) == MPT_OK;
  size_t inputs = (size_t)r->g->tensors[0].count, labels = (size_t)r->g->rows;
  for (int step = 0; good && step < STEPS; step++) {
    good = dataset_training_batch(r->data, r->options.seed, step, &batch, NULL) == MPT_OK;
    const void *data = batch.ids != NULL ? (const void *)batch.ids : batch.features;
    good = good && fwrite(data, 4, inputs, file) == inputs &&
           fwrite(batch.labels, 4, labels, file) == labels;
  }
  if (file != NULL)
    good = fclose(file) == 0 && good;
  dataset_batch_free(&batch);
  return good;
}

static int export(const char *directory) {
  for (int model = 0; model < MODELS; model++) {
    run r;
    train_result result;
    mpt_error error = {0};
    char weights[512], batches[512];
    snprintf(weights, sizeof weights, "%s/%s.weights", directory, model_names[model]);
    snprintf(batches, sizeof batches, "%s/%s.batches", directory, model_names[model]);
    if (run_open(&r, model, 0, &error) == MPT_OK) {
      r.options.save_initial = weights;
      if (train_run(&r.options, &result, &error) == MPT_OK)
        train_result_clear(&result);
    }
    if (error.status != MPT_OK || !write_batches(&r, batches)) {
      fprintf(stderr, "cannot export %s: %s\n", model_names[model], error.message);
      return 1;
    }
    run_close(&r);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--export") == 0)
    return export(argv[2]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_mlp_with_sgd),   cmocka_unit_test(an_mlp_with_adam),
      cmocka_unit_test(an_mlp_with_adamw), cmocka_unit_test(a_cnn_with_sgd),
      cmocka_unit_test(a_cnn_with_adam),   cmocka_unit_test(a_cnn_with_adamw),
      cmocka_unit_test(a_gpt_with_sgd),    cmocka_unit_test(a_gpt_with_adam),
      cmocka_unit_test(a_gpt_with_adamw),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
