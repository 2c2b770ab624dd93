/* Workload files: what is read, what is refused and where, the presets, prices of a sibling. */
#include "workload/workload.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA "data: {kind: synthetic, features: 8, classes: 3, samples: 100}\n" /* line 3 */
#define REST                                                                                       \
  "loss: cross_entropy\n"                          /* line 4 */                                    \
  "optimizer: {kind: adam, learning_rate: 1e-3}\n" /* line 5 */                                    \
  "batch: 10\n"                                    /* line 6 */                                    \
  "steps: 20\n"                                    /* line 7 */                                    \
  "budget: {worse_by: 0.5%}\n"                     /* line 8 */

static const char mlp[] = "schema: mptune/workload@1\n"
                          "model: {preset: mlp, widths: [16, 8], outputs: 3}\n" DATA REST;

static char path[64];

static void write_file(const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

/* The text with the first `old` replaced; what is added at the end when `old` is "". */
static char *changed(const char *text, const char *old, const char *new) {
  const char *at = *old != '\0' ? strstr(text, old) : text + strlen(text);
  assert_non_null(at);
  char *result = malloc(strlen(text) + strlen(new) + 1);
  sprintf(result, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
  return result;
}

static workload *load(const char *text) {
  workload *w = NULL;
  mpt_error error = {.message = ""};
  write_file(text);
  if (workload_load(path, &w, &error) != MPT_OK)
    fail_msg("%d:%d: %s", error.line, error.column, error.message);
  return w;
}

static bool refused(const char *text, int line, int column, const char *says) {
  workload *w = NULL;
  mpt_error error = {.message = ""};
  write_file(text);
  mpt_status status = workload_load(path, &w, &error);
  workload_free(w);
  if (status != MPT_OK && error.line == line && error.column == column &&
      strstr(error.message, says) != NULL && strcmp(error.file, path) == 0)
    return true;
  print_error("wanted %d:%d '%s', got %s %d:%d '%s'\n", line, column, says, mpt_status_name(status),
              error.line, error.column, error.message);
  return false;
}

static void all_keys_are_read(void **state) {
  (void)state;
  workload *w = load("schema: mptune/workload@1\n"
                     "name: everything\n"
                     "model: {preset: gpt, width: 32, blocks: 2, heads: 4, tied: true}\n"
                     "data: {kind: bytes, file: some/*.txt, sequence: 16, samples: 5000, "
                     "held_out: 7}\n"
                     "loss: cross_entropy\n"
                     "optimizer: {kind: adamw, learning_rate: 3.0e-04, beta1: 0.8, beta2: 0.95, "
                     "epsilon: 1e-6, weight_decay: 0.1, clip: 1, accumulate: 2}\n"
                     "schedule: {kind: cosine, warmup: 10, final_fraction: 0.1}\n"
                     "batch: 4\nsteps: 100\nthreads: 2\n"
                     "metric: accuracy\n"
                     "budget: {worse_by: 0.005}\n"
                     "pins: [{layers: head, format: bf16}, {layers: [a.*, 'b[!c]'], format: "
                     "fp32}]\n"
                     "exclude: [fp8, tf32]\n"
                     "reference: bf16\n"
                     "loss_scale: {mode: static, initial: 1024}\n"
                     "per_gemm: true\nreference_seeds: 5\ntarget: synthetic-bits\n"
                     "priced_as: {width: 64, heads: 8, sequence: 128, batch: 2, vocabulary: "
                     "1000}\n"
                     "x-note: [anything, {goes: here}]\n");
  assert_string_equal(w->name, "everything");
  assert_int_equal(w->data.kind, DATA_BYTES);
  assert_string_equal(w->data.files[0], "some/*.txt");
  assert_int_equal(w->data.sequence, 16);
  assert_int_equal(w->data.samples, 5000);
  assert_int_equal(w->data.held_out, 7);
  assert_int_equal(w->optimizer.kind, OPTIMIZER_ADAMW);
  assert_true(w->optimizer.learning_rate == 3e-4 && w->optimizer.beta1 == 0.8);
  assert_true(w->optimizer.beta2 == 0.95 && w->optimizer.epsilon == 1e-6);
  assert_true(w->optimizer.weight_decay == 0.1 && w->optimizer.clip == 1.0);
  assert_int_equal(w->optimizer.accumulate, 2);
  assert_int_equal(w->optimizer.schedule, SCHEDULE_COSINE);
  assert_int_equal(w->optimizer.warmup, 10);
  assert_int_equal(w->batch, 4);
  assert_int_equal(w->steps, 100);
  assert_int_equal(w->threads, 2);
  assert_int_equal(w->metric, METRIC_ACCURACY);
  assert_true(!w->budget.relative && w->budget.worse_by == 0.005);
  assert_int_equal(w->pin_count, 3);
  assert_string_equal(w->pins[2].layers, "b[!c]");
  assert_int_equal(w->pins[0].precision, MPT_PRECISION_BF16);
  assert_int_equal(w->pins[0].line, 13);
  assert_int_equal(w->excluded, 1u << MPT_PRECISION_FP8 | 1u << MPT_PRECISION_TF32);
  assert_int_equal(w->reference, MPT_PRECISION_BF16);
  assert_int_equal(w->loss_scale.mode, MPT_LOSS_SCALE_STATIC);
  assert_true(w->loss_scale.initial == 1024.0f && w->per_gemm);
  assert_int_equal(w->reference_seeds, 5);
  assert_string_equal(w->target, "synthetic-bits");
  assert_int_equal(w->priced.sequence, 128);
  workload_free(w);
}

static void a_budget_says_of_what(void **state) {
  (void)state;
  static const struct {
    const char *metric, *budget, *text;
    bool of_error;
  } cases[] = {
      {"loss", "0.5%", "0.5%", false},
      {"loss", "514", "514", false},
      {"accuracy", "1%", "1% of the accuracy", false},
      {"accuracy", "1%, of: accuracy", "1% of the accuracy", false},
      {"accuracy", "99.9%, of: error", "99.9% of the error rate", true},
      {"f1", "1%", "1% of the f1", false},
      {"f1", "1%, of: error", "1% of the error, 1 - f1", true},
      {"accuracy", "0.99", "0.99", false},
  };
  char hash[65], plain[65];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char yaml[1024], text[64];
    snprintf(yaml, sizeof yaml, "%.*smetric: %s\nbudget: {worse_by: %s, max_diverged: 20%%}\n%s",
             (int)(strstr(mlp, "budget") - mlp), mlp, cases[i].metric, cases[i].budget,
             i > 1 ? "metric_over: population\n" : "");
    workload *w = load(yaml);
    workload_budget_text(w, text, sizeof text);
    assert_string_equal(text, cases[i].text);
    assert_int_equal(w->budget.of_error, cases[i].of_error);
    assert_true(w->budget.max_diverged == 0.2 && w->budget.line > 0);
    assert_int_equal(w->metric_over, i > 1 ? METRIC_OVER_POPULATION : METRIC_OVER_HELD_OUT);
    /* Of the budget's part none decides what is trained. */
    assert_int_equal(workload_training_hash(w, hash, NULL), MPT_OK);
    if (i == 0 || i == 2 || i == 5)
      strcpy(plain, hash);
    else if (i < 7)
      assert_string_equal(hash, plain);
    workload_free(w);
  }
}

static void what_is_left_out_has_defaults(void **state) {
  (void)state;
  workload *w = load(mlp);
  assert_int_equal(w->threads, 1);
  assert_int_equal(w->metric, METRIC_LOSS);
  assert_true(w->budget.relative && w->budget.worse_by > 0.00499 && w->budget.worse_by < 0.00501);
  assert_true(!w->budget.of_error && w->budget.max_diverged == 0.0);
  assert_int_equal(w->metric_over, METRIC_OVER_HELD_OUT);
  assert_int_equal(w->reference, MPT_PRECISION_FP32);
  assert_int_equal(w->reference_seeds, 3);
  assert_true(w->optimizer.beta1 == 0.9 && w->optimizer.beta2 == 0.999);
  assert_int_equal(w->optimizer.accumulate, 1);
  assert_int_equal(w->loss_scale.mode, MPT_LOSS_SCALE_DYNAMIC);
  assert_false(w->priced.present);
  assert_true(strncmp(w->name, "mptune-test-", 12) == 0); /* the file's */
  workload_free(w);
}

typedef struct change {
  const char *old, *new;
  int line, column;
  const char *says;
} change;

static void refuse_all(const char *base, const change *changes, size_t count) {
  bool all = true;
  for (size_t i = 0; i < count; i++) {
    char *text = changed(base, changes[i].old, changes[i].new);
    all = refused(text, changes[i].line, changes[i].column, changes[i].says) && all;
    free(text);
  }
  assert_true(all);
}

static void bad_values_are_refused_at_their_place(void **state) {
  (void)state;
  static const change changes[] = {
      {"workload@1", "workload@2", 1, 9, "this mptune reads"},
      {"schema: mptune/workload@1", "name: a", 1, 1, "schema"},
      {"steps: 20\n", "", 1, 1, "'steps'"},
      {"steps: 20", "stepz: 20", 7, 1, "did you mean 'steps'"},
      {"steps: 20", "batch: 20", 7, 1, "batch"},
      {"steps: 20", "steps: 20\nreference_seeds: 65", 8, 18, "reference_seeds"},
      {"steps: 20", "steps: -1", 7, 8, "steps"},
      {"steps: 20", "steps: 0", 7, 8, "steps"},
      {"steps: 20", "steps: 2.5", 7, 8, "steps"},
      {"steps: 20", "steps: [20]", 7, 8, "steps"},
      {"batch: 10", "batch: ten", 6, 8, "batch"},
      {"1e-3", ".nan", 5, 40, "learning_rate"},
      {"1e-3", "0", 5, 40, "above 0"},
      {"1e-3", "1e-3, beta1: 1", 5, 53, "below 1"},
      {"kind: adam,", "kind: adan,", 5, 19, "did you mean 'adam'"},
      {"cross_entropy", "crossentropy", 4, 7, "did you mean 'cross_entropy'"},
      {"cross_entropy", "mse", 4, 7, "float targets"},
      {"0.5%", "0%", 8, 20, "above 0"},
      {"0.5%", "-1", 8, 20, "above 0"},
      {"0.5%", ".nan", 8, 20, "worse_by"},
      {"0.5%", "nan", 8, 20, "worse_by"},
      {"0.5%", "a lot", 8, 20, "worse_by"},
      {"0.5%", "100%", 8, 20, "below 100%"},
      {"0.5%", "514%", 8, 20, "below 100%"},
      {"0.5%", "0.5%, of: error", 8, 30, "goes with metric accuracy or f1"},
      {"0.5%", "0.5%, by: error", 8, 26, "unknown key 'by'"},
      {"0.5%", "0.5%, max_diverged: 0", 8, 40, "above 0"},
      {"0.5%", "0.5%, max_diverged: 100%", 8, 40, "below 100%"},
      {"0.5%", "0.5%, max_diverged: -5%", 8, 40, "above 0"},
      {"0.5%", "0.5%, max_diverged: nan", 8, 40, "max_diverged is 'nan'"},
      {"0.5%", "0.5%, max_diverged: [1]", 8, 40, "max_diverged"},
      {"0.5%}", "1}\nmetric: accuracy", 8, 20, "any policy would meet"},
      {"0.5%}", "1.5}\nmetric: f1", 8, 20, "any policy would meet"},
      {"0.5%}", "100%}\nmetric: accuracy", 8, 20, "any policy would meet"},
      {"0.5%}", "0.005, of: error}\nmetric: f1", 8, 31, "goes with a relative budget"},
      {"0.5%}", "1%, of: f1}\nmetric: accuracy", 8, 28, "unknown of 'f1'"},
      {"0.5%}", "1%, of: [error]}\nmetric: accuracy", 8, 28, "of"},
      {"", "metric_over: samples\n", 9, 14, "unknown metric_over 'samples'"},
      {"", "metric_over: population\n", 9, 14, "goes with metric accuracy or f1"},
      {"{worse_by: 0.5%}", "0.5%", 8, 9, "budget"},
      {"", "pins: [{layers: fc1, format: fp9}]\n", 9, 30, "unknown format 'fp9'"},
      {"", "pins: [{layers: '[^a]', format: fp8}]\n", 9, 17, "[!abc]"},
      {"", "pins: {layers: fc1, format: fp8}\n", 9, 7, "pins"},
      {"", "exclude: [fp8, int8]\n", 9, 16, "unknown format 'int8'"},
      {"", "exclude: [fp32, tf32, bf16, fp16, fp8]\n", 9, 10, "every format"},
      {"", "reference: fp64\n", 9, 12, "unknown reference 'fp64'"},
      {"", "loss_scale: {initial: 1000}\n", 9, 23, "power of two"},
      {"", "threads: 0\n", 9, 10, "threads"},
      {"", "metric: loss\nmetric: f1\n", 10, 1, "metric"},
      {"", "name: a/b\n", 9, 7, "name 'a/b'"},
      {"", "priced_as: {heads: 4}\n", 9, 20, "gpt preset only"},
      {"", "priced_as: {sequence: 4}\n", 9, 23, "for text"},
      {"preset: mlp", "preset: mlq", 2, 17, "did you mean 'mlp'"},
      {"[16, 8]", "[16, -8]", 2, 35, "widths"},
      {"outputs: 3", "output: 3", 2, 39, "did you mean 'outputs'"},
      {"model: {preset: mlp, widths: [16, 8], outputs: 3}", "model: {}", 2, 8, "'layers'"},
      {"kind: synthetic", "kind: syntetic", 3, 14, "did you mean 'synthetic'"},
      {"features: 8", "features: 8, sequence: 4", 3, 25, "data of tokens takes no 'features'"},
      {"features: 8, classes: 3", "sequence: 4", 3, 7, "'vocabulary'"},
      {"kind: adam", "kind: sgd, beta1: 0.9", 5, 24, "sgd takes no 'beta1'"},
      {"kind: adam", "kind: adamw, momentum: 0", 5, 26, "adamw takes no 'momentum'"},
      {"kind: adam, ", "", 5, 12, "(sgd, adam, adamw)"},
      {"classes: 3", "classes: 1", 3, 47, "from 2 to"},
      {", classes: 3", "", 3, 7, "'targets'"},
      {"samples: 100", "samples: 0", 3, 59, "samples"},
      {"samples: 100", "samples: 1000000000000", 3, 7, "make it smaller"},
      {"synthetic, features: 8, classes: 3, samples: 100", "csv, file: a, package: ../x", 3, 37,
       "name of a package"},
      {"synthetic, features: 8, classes: 3, samples: 100", "csv, file: /a, package: x", 3, 7,
       "relative to the root of package x"},
      {"synthetic, features: 8, classes: 3, samples: 100", "csv, image: a", 3, 19, "image"},
      {"synthetic, features: 8, classes: 3, samples: 100", "idx, images: a, classes: 3", 3, 7,
       "'labels'"},
  };
  refuse_all(mlp, changes, sizeof changes / sizeof *changes);
}

static const char list[] = "schema: mptune/workload@1\n"
                           "model:\n"
                           "  layers:\n"
                           "    - {name: a, kind: linear, features: 4, bias: false}\n"
                           "    - {name: b, kind: linear, from: input, features: 4}\n"
                           "    - {name: sum, kind: residual, from: [a, b]}\n"
                           "    - {name: out, kind: linear, features: 3, tied_to: a}\n" DATA REST;

static void a_list_of_layers_is_read(void **state) {
  (void)state;
  workload *w = load(list);
  const layer_spec *layers = w->model.layers;
  assert_int_equal(w->model.layer_count, 4);
  assert_string_equal(w->model.preset, "");
  assert_string_equal(layers[0].kind, "linear");
  assert_true(layers[0].no_bias && !layers[1].no_bias);
  assert_int_equal(layers[0].input_count, 0);
  assert_string_equal(layers[1].inputs[0], "input");
  assert_int_equal(layers[2].input_count, 2);
  assert_string_equal(layers[2].inputs[1], "b");
  assert_string_equal(layers[3].tied_to, "a");
  assert_int_equal(layers[3].line, 7);
  assert_int_equal(layers[3].column, 7);
  assert_true(layers[0].initial_scale == 1.0);
  workload_free(w);
}

static void bad_layers_are_refused_at_their_place(void **state) {
  (void)state;
  static const change changes[] = {
      {"name: b", "name: a", 5, 14, "taken by the layer in line 4"},
      {"name: b", "name: 'b*'", 5, 14, "letters, digits"},
      {"name: b", "name: input", 5, 14, "stands for the data"},
      {"[a, b]", "[a, bb]", 6, 45, "no layer 'bb' stands before this one"},
      {"[a, b]", "[a, out]", 6, 45, "'out'"},
      {"[a, b]", "[]", 6, 41, "reads 1 to 4"},
      {"tied_to: a", "tied_to: out", 7, 55, "'out'"},
      {"kind: residual", "knd: residual", 6, 19, "did you mean 'kind'"},
      {"kind: residual, ", "", 6, 7, "'kind'"},
      {"features: 4,", "features: -4,", 4, 41, "features"},
      {"bias: false", "bias: maybe", 4, 50, "bias"},
      {"bias: false", "probability: 1.0", 4, 57, "below 1"},
      {"bias: false", "initial_scale: .inf", 4, 59, "initial_scale"},
      {"", "priced_as: {width: 64}\n", 14, 20, "needs a preset"},
  };
  refuse_all(list, changes, sizeof changes / sizeof *changes);
}

static void files_that_are_no_workload_are_refused(void **state) {
  (void)state;
  workload *w = NULL;
  mpt_error error;
  assert_int_equal(workload_load("/nonexistent/w.yaml", &w, &error), MPT_ERROR_NOT_FOUND);
  assert_int_not_equal(workload_load("/", &w, &error), MPT_OK);
  assert_non_null(strstr(error.message, "directory"));
  write_file("");
  assert_int_not_equal(workload_load(path, &w, &error), MPT_OK);
  write_file("just words\n");
  assert_int_not_equal(workload_load(path, &w, &error), MPT_OK);
  write_file("a: &x [1]\nb: *x\n");
  assert_int_not_equal(workload_load(path, &w, &error), MPT_OK);
  char *nested = malloc(1 << 20);
  memset(nested, '[', (1 << 20) - 1);
  nested[(1 << 20) - 1] = '\0';
  write_file(nested);
  free(nested);
  assert_int_not_equal(workload_load(path, &w, &error), MPT_OK);
  assert_null(w);
}

static void assert_run_name(const char *file, const char *name, const char *says) {
  char folder[] = "/tmp/mptune-names-XXXXXX";
  assert_non_null(mkdtemp(folder));
  char whole[256];
  snprintf(whole, sizeof whole, "%s/%s", folder, file);
  FILE *out = fopen(whole, "w");
  assert_non_null(out);
  fputs(mlp, out);
  fclose(out);
  workload *w = NULL;
  mpt_error error = {.message = ""};
  mpt_status status = workload_load(whole, &w, &error);
  if (name != NULL && status != MPT_OK)
    fail_msg("%s: %s", file, error.message);
  if (name != NULL)
    assert_string_equal(w->name, name);
  else if (status == MPT_OK || strstr(error.message, says) == NULL)
    fail_msg("%s: '%s' where '%s' is due", file, error.message, says);
  workload_free(w);
  remove(whole);
  rmdir(folder);
}

/* Two files of one name would be one run. */
static void a_run_is_called_as_the_file_without_its_last_ending(void **state) {
  (void)state;
  assert_run_name("mlp.yaml", "mlp", NULL);
  assert_run_name("mlp.small.yaml", "mlp.small", NULL);
  assert_run_name("mlp.large.yaml", "mlp.large", NULL);
  assert_run_name("mlp", "mlp", NULL);
  assert_run_name("1.5-b_C.yml", "1.5-b_C", NULL);
  char longest[80] = "";
  memset(longest, 'a', 63);
  strcpy(longest + 63, ".yaml");
  longest[62] = 'b';
  char name[64];
  memcpy(name, longest, 63);
  name[63] = '\0';
  assert_run_name(longest, name, NULL);
  memset(longest, 'a', 64);
  strcpy(longest + 64, ".yaml");
  assert_run_name(longest, NULL, "64 characters, and a run's at most 63; give it a 'name'");
  assert_run_name(".yaml", NULL, "give it a 'name'");
  assert_run_name(".hidden.yaml", NULL, "give it a 'name'");
  assert_run_name("a b.yaml", NULL, "give it a 'name'");
}

static void assert_names(const model_spec *model, const char *names) {
  char all[4096] = "";
  for (int i = 0; i < model->layer_count; i++) {
    strcat(all, i > 0 ? " " : "");
    strcat(all, model->layers[i].name);
  }
  assert_string_equal(all, names);
}

static void presets_have_the_names_that_policies_match(void **state) {
  (void)state;
  workload *w = load(mlp);
  assert_names(&w->model, "fc1 relu1 fc2 relu2 head");
  assert_int_equal(w->model.layers[2].features, 8);
  assert_int_equal(w->model.layers[4].features, 3);
  workload_free(w);

  char *text = changed(mlp, "{preset: mlp, widths: [16, 8], outputs: 3}",
                       "{preset: cnn, channels: [4, 6], widths: [12], outputs: 3}");
  w = load(text);
  free(text);
  assert_names(&w->model, "conv1 relu1 pool1 conv2 relu2 pool2 flatten fc1 relu3 head");
  assert_int_equal(w->model.layers[3].channels, 6);
  assert_int_equal(w->model.layers[3].padding, 1);
  assert_int_equal(w->model.layers[2].stride, 2);
  workload_free(w);
}

static const char gpt[] = "schema: mptune/workload@1\n"
                          "model: {preset: gpt, width: 32, blocks: 2, heads: 4}\n"
                          "data: {kind: bytes, file: f, sequence: 16}\n" REST;

static void gpt_is_wired_as_a_pre_norm_transformer(void **state) {
  (void)state;
  workload *w = load(gpt);
  const layer_spec *l = w->model.layers;
  assert_names(
      &w->model,
      "embed blocks.0.ln1 blocks.0.attn.qkv blocks.0.attn.core blocks.0.attn.proj "
      "blocks.0.residual1 blocks.0.ln2 blocks.0.mlp.fc1 blocks.0.mlp.gelu blocks.0.mlp.fc2 "
      "blocks.0.residual2 blocks.1.ln1 blocks.1.attn.qkv blocks.1.attn.core "
      "blocks.1.attn.proj blocks.1.residual1 blocks.1.ln2 blocks.1.mlp.fc1 "
      "blocks.1.mlp.gelu blocks.1.mlp.fc2 blocks.1.residual2 ln_f head");
  assert_int_equal(l[0].vocabulary, 256);
  assert_int_equal(l[0].positions, 16);
  assert_int_equal(l[2].features, 96);
  assert_true(l[3].causal && l[3].heads == 4);
  assert_string_equal(l[5].inputs[0], "embed");
  assert_string_equal(l[5].inputs[1], "blocks.0.attn.proj");
  assert_string_equal(l[10].inputs[0], "blocks.0.residual1");
  assert_string_equal(l[11].inputs[0], "blocks.0.residual2");
  assert_string_equal(l[15].inputs[0], "blocks.0.residual2");
  assert_true(l[4].initial_scale == 0.5 && l[9].initial_scale == 0.5); /* 1/sqrt(2 blocks) */
  assert_true(l[22].no_bias && l[22].tied_to[0] == '\0');
  workload_free(w);

  static const change changes[] = {
      {"heads: 4", "heads: 5", 2, 51, "not a multiple of heads 5"},
      {"kind: bytes, file: f, sequence: 16", "kind: csv, file: f, classes: 2", 2, 8, "needs text"},
      {"", "priced_as: {width: 30}\n", 9, 12, "not a multiple of heads 4"},
  };
  refuse_all(gpt, changes, sizeof changes / sizeof *changes);
}

static void a_model_is_priced_at_its_siblings_sizes(void **state) {
  (void)state;
  model_spec model;
  int64_t batch, sequence;
  char *text = changed(gpt, "",
                       "priced_as: {width: 2048, heads: 16, sequence: 1024, batch: 16, "
                       "vocabulary: 50304}\n");
  workload *w = load(text);
  free(text);
  assert_int_equal(workload_priced_model(w, &model, &batch, &sequence, NULL), MPT_OK);
  assert_int_equal(batch, 16);
  assert_int_equal(sequence, 1024);
  assert_int_equal(model.layer_count, w->model.layer_count);
  for (int i = 0; i < model.layer_count; i++)
    assert_string_equal(model.layers[i].name, w->model.layers[i].name);
  assert_int_equal(model.layers[0].features, 2048);
  assert_int_equal(model.layers[0].positions, 1024);
  assert_int_equal(model.layers[0].vocabulary, 50304);
  assert_int_equal(model.layers[2].features, 3 * 2048);
  assert_int_equal(model.layers[3].heads, 16);
  assert_int_equal(model.layers[7].features, 4 * 2048);
  assert_int_equal(model.layers[22].features, 50304);
  assert_int_equal(w->model.layers[2].features, 96);
  model_free(&model);
  workload_free(w);

  text = changed(mlp, "", "priced_as: {width: 4096, batch: 8192}\n");
  w = load(text);
  free(text);
  assert_int_equal(workload_priced_model(w, &model, &batch, &sequence, NULL), MPT_OK);
  assert_int_equal(batch, 8192);
  assert_int_equal(model.layers[0].features, 4096);
  assert_int_equal(model.layers[2].features, 2048);
  assert_int_equal(model.layers[4].features, 3);
  model_free(&model);
  workload_free(w);

  w = load(list);
  assert_int_equal(workload_priced_model(w, &model, &batch, &sequence, NULL), MPT_OK);
  assert_int_equal(batch, 10);
  assert_memory_equal(model.layers, w->model.layers, 4 * sizeof(layer_spec));
  model_free(&model);
  workload_free(w);
}

static char *training_text(const char *text) {
  workload *w = load(text);
  char *out = NULL;
  assert_int_equal(workload_training_text(w, &out, NULL), MPT_OK);
  workload_free(w);
  return out;
}

static void training_text_holds_what_training_sees_and_nothing_else(void **state) {
  (void)state;
  static const char *const same[][2] = {
      {"0.5%", "3%"},
      {"", "pins: [{layers: fc1, format: fp16}]\n"},
      {"", "exclude: [fp8]\n"},
      {"", "target: synthetic-bits\n"},
      {"", "name: another\n"},
      {"", "priced_as: {width: 64}\n"},
      {"", "metric: loss\n"},
      {"{preset: mlp, widths: [16, 8], outputs: 3}",
       "{layers: [{name: fc1, kind: linear, features: 16}, {name: relu1, kind: relu}, "
       "{name: fc2, kind: linear, from: relu1, features: 8}, {name: relu2, kind: relu}, "
       "{name: head, kind: linear, features: 3}]}"},
  };
  static const char *const different[][2] = {
      {"16, 8", "16, 9"},
      {"samples: 100", "samples: 101"},
      {"learning_rate: 1e-3", "learning_rate: 1e-2"},
      {"batch: 10", "batch: 11"},
      {"steps: 20", "steps: 21"},
      {"", "schedule: {kind: cosine}\n"},
      {"", "metric: accuracy\n"},
      {"", "loss_scale: {mode: none}\n"},
      {"kind: adam", "kind: adamw"},
      {"features: 8", "features: 8, seed: 2"},
  };
  char *base = training_text(mlp);
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    char *text = changed(mlp, same[i][0], same[i][1]), *other = training_text(text);
    assert_string_equal(base, other);
    free(text);
    free(other);
  }
  for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
    char *text = changed(mlp, different[i][0], different[i][1]), *other = training_text(text);
    assert_string_not_equal(base, other);
    free(text);
    free(other);
  }
  free(base);
}

static void a_checkpoint_counts_by_its_content(void **state) {
  (void)state;
  char checkpoint[80], addition[120];
  sprintf(checkpoint, "%s.checkpoint", path);
  sprintf(addition, "checkpoint: %s\n", checkpoint);
  char *text = changed(mlp, "", addition), *out = NULL;
  workload *w = load(text);
  mpt_error error;
  free(text);
  assert_int_equal(workload_training_text(w, &out, &error), MPT_ERROR_NOT_FOUND);
  assert_non_null(strstr(error.message, checkpoint));
  char *texts[3];
  static const char *const contents[] = {"one", "one", "two"};
  for (int i = 0; i < 3; i++) {
    FILE *file = fopen(checkpoint, "w");
    fputs(contents[i], file);
    fclose(file);
    assert_int_equal(workload_training_text(w, &texts[i], &error), MPT_OK);
  }
  assert_string_equal(texts[0], texts[1]);
  assert_string_not_equal(texts[0], texts[2]);
  for (int i = 0; i < 3; i++)
    free(texts[i]);
  workload_free(w);
  unlink(checkpoint);
}

static void shipped_workloads_load(void **state) {
  (void)state;
  static const char *const names[] = {"text-gpt",      "fashion-mlp",     "fashion-cnn",
                                      "breast-cancer", "tiny-classifier", "gpt2-124m",
                                      "gpt-800m"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char file[256];
    workload *w;
    mpt_error error;
    sprintf(file, "%s/profiles/workloads/%s.yaml", MPTUNE_SOURCE_DIR, names[i]);
    if (workload_load(file, &w, &error) != MPT_OK)
      fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
    assert_string_equal(w->name, names[i]);
    workload_free(w);
  }
}

static int make_path(void **state) {
  (void)state;
  strcpy(path, "/tmp/mptune-test-XXXXXX");
  int file = mkstemp(path);
  if (file >= 0)
    close(file);
  return file < 0;
}

static int remove_path(void **state) {
  (void)state;
  return unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_keys_are_read),
      cmocka_unit_test(a_budget_says_of_what),
      cmocka_unit_test(what_is_left_out_has_defaults),
      cmocka_unit_test(bad_values_are_refused_at_their_place),
      cmocka_unit_test(a_list_of_layers_is_read),
      cmocka_unit_test(bad_layers_are_refused_at_their_place),
      cmocka_unit_test(files_that_are_no_workload_are_refused),
      cmocka_unit_test(a_run_is_called_as_the_file_without_its_last_ending),
      cmocka_unit_test(presets_have_the_names_that_policies_match),
      cmocka_unit_test(gpt_is_wired_as_a_pre_norm_transformer),
      cmocka_unit_test(a_model_is_priced_at_its_siblings_sizes),
      cmocka_unit_test(training_text_holds_what_training_sees_and_nothing_else),
      cmocka_unit_test(a_checkpoint_counts_by_its_content),
      cmocka_unit_test(shipped_workloads_load),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
