/* Every key of every kind: taken where docs/workload.md has it, given though its value is 0, false
 * or the default; refused elsewhere, whatever its value. */
#include "train/layer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static const char layers[] = "{layers: [{name: a, kind: linear, features: 1}]}";
static const char data[] = "{kind: synthetic, samples: 9, features: 1, classes: 2}";
static const char optimizer[] = "{kind: sgd, learning_rate: 1}";

static mpt_status load(const char *model, const char *data_text, const char *loss,
                       const char *optimizer_text, const char *more, workload **w,
                       mpt_error *error) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file,
          "schema: mptune/workload@1\nmodel: %s\ndata: %s\nloss: %s\noptimizer: %s\nbatch: 1\n"
          "steps: 1\nbudget: {worse_by: 1%%}\n%s\n",
          model, data_text, loss, optimizer_text, more);
  fclose(file);
  *w = NULL;
  return workload_load(path, w, error);
}

typedef struct key_value {
  const char *key, *value; /* 0, false or the default, wherever that is a value */
} key_value;

/* The keys behind the kind's name, each between blanks. */
typedef struct kind_keys {
  const char *kind, *keys;
} kind_keys;

static bool has(const char *keys, const char *key) {
  char word[64];
  snprintf(word, sizeof word, " %s ", key);
  return strstr(keys, word) != NULL;
}

static void assert_outcome(mpt_status status, const mpt_error *error, bool taken, const char *kind,
                           const char *key) {
  char says[64];
  snprintf(says, sizeof says, "takes no '%s'", key);
  if (taken && status != MPT_OK)
    fail_msg("%s with %s: %s", kind, key, error->message);
  if (!taken && (status == MPT_OK || strstr(error->message, says) == NULL))
    fail_msg("%s with %s: '%s' where '%s' is due", kind, key,
             status == MPT_OK ? "taken" : error->message, says);
}

/* ---- layers ---- */

static const key_value layer_values[] = {
    {"features", "1"},        {"channels", "1"},     {"kernel", "1"},      {"stride", "1"},
    {"padding", "0"},         {"vocabulary", "1"},   {"positions", "1"},   {"heads", "1"},
    {"probability", "0"},     {"epsilon", "1.0e-5"}, {"bias", "true"},     {"causal", "false"},
    {"initial_scale", "1.0"}, {"output_scale", "1"}, {"tied_to", "first"},
};
enum { LAYER_VALUES = sizeof layer_values / sizeof *layer_values };

static const kind_keys layer_takes[] = {
    {"linear", " features bias tied_to initial_scale "},
    {"conv2d", " channels kernel stride padding bias initial_scale "},
    {"embedding", " vocabulary features positions initial_scale "},
    {"attention", " heads causal "},
    {"layernorm", " epsilon "},
    {"maxpool", " kernel stride padding "},
    {"avgpool", " kernel stride padding "},
    {"dropout", " probability "},
    {"scale", " output_scale "},
    {"relu", ""},
    {"sigmoid", ""},
    {"tanh", ""},
    {"gelu", ""},
    {"softmax", ""},
    {"flatten", ""},
    {"residual", ""},
};
static const kind_keys layer_needs[] = {
    {"linear", " features "},
    {"conv2d", " channels kernel "},
    {"embedding", " vocabulary features "},
    {"attention", " heads "},
    {"maxpool", " kernel "},
    {"avgpool", " kernel "},
    {"dropout", " probability "},
    {"scale", " output_scale "},
};

static const char *needs_of(const char *kind) {
  for (size_t i = 0; i < sizeof layer_needs / sizeof *layer_needs; i++)
    if (strcmp(layer_needs[i].kind, kind) == 0)
      return layer_needs[i].keys;
  return "";
}

/* A layer of the kind with what it needs, and with `more` or without `less`, through the kind's own
 * check. */
static mpt_status check_layer(const char *kind, const key_value *more, const char *less,
                              mpt_error *error) {
  char model[512];
  int used = sprintf(model, "{layers: [{name: first, kind: relu}, {name: a, kind: %s", kind);
  for (int i = 0; i < LAYER_VALUES; i++) {
    const char *key = layer_values[i].key;
    const bool needed = has(needs_of(kind), key) && (less == NULL || strcmp(less, key) != 0);
    if (needed || (more != NULL && strcmp(more->key, key) == 0))
      used += sprintf(model + used, ", %s: %s", key, layer_values[i].value);
  }
  sprintf(model + used, "}]}");
  workload *w;
  mpt_status status = load(model, data, "cross_entropy", optimizer, "", &w, error);
  if (status == MPT_OK) {
    graph g = {.path = "w.yaml"};
    graph_layer layer = {.spec = &w->model.layers[1], .kind = layer_kind_find(kind)};
    assert_non_null(layer.kind);
    status = layer_kind_check_fields(&g, &layer, error);
  }
  workload_free(w);
  return status;
}

static void a_layer_takes_the_keys_of_its_kind_whatever_their_values(void **state) {
  (void)state;
  mpt_error error = {.message = ""};
  for (size_t k = 0; k < sizeof layer_takes / sizeof *layer_takes; k++)
    for (int i = 0; i < LAYER_VALUES; i++)
      assert_outcome(check_layer(layer_takes[k].kind, &layer_values[i], NULL, &error), &error,
                     has(layer_takes[k].keys, layer_values[i].key), layer_takes[k].kind,
                     layer_values[i].key);
}

static void every_layer_kind_is_in_the_table(void **state) {
  (void)state;
  char names[512], *rest = NULL;
  size_t count = 0;
  layer_kind_names(names, sizeof names);
  for (char *name = strtok_r(names, ", ", &rest); name != NULL; name = strtok_r(NULL, ", ", &rest))
    count++;
  assert_int_equal(count, sizeof layer_takes / sizeof *layer_takes);
  for (size_t k = 0; k < sizeof layer_takes / sizeof *layer_takes; k++)
    assert_non_null(layer_kind_find(layer_takes[k].kind));
}

static void a_layer_without_a_key_that_its_kind_needs_is_refused(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof layer_takes / sizeof *layer_takes; k++)
    for (int i = 0; i < LAYER_VALUES; i++) {
      const char *kind = layer_takes[k].kind, *key = layer_values[i].key;
      char says[64];
      mpt_error error = {.message = ""};
      if (!has(needs_of(kind), key))
        continue;
      snprintf(says, sizeof says, "needs '%s'", key);
      if (check_layer(kind, NULL, key, &error) == MPT_OK || strstr(error.message, says) == NULL)
        fail_msg("%s without %s: '%s'", kind, key, error.message);
    }
}

static void the_bit_of_a_key_is_its_place_in_the_table(void **state) {
  (void)state;
  static const struct {
    unsigned bit;
    const char *key;
  } bits[] = {
      {LAYER_NAME, "name"},
      {LAYER_KIND, "kind"},
      {LAYER_FROM, "from"},
      {LAYER_FEATURES, "features"},
      {LAYER_CHANNELS, "channels"},
      {LAYER_KERNEL, "kernel"},
      {LAYER_STRIDE, "stride"},
      {LAYER_PADDING, "padding"},
      {LAYER_VOCABULARY, "vocabulary"},
      {LAYER_POSITIONS, "positions"},
      {LAYER_HEADS, "heads"},
      {LAYER_PROBABILITY, "probability"},
      {LAYER_EPSILON, "epsilon"},
      {LAYER_INITIAL_SCALE, "initial_scale"},
      {LAYER_OUTPUT_SCALE, "output_scale"},
      {LAYER_BIAS, "bias"},
      {LAYER_CAUSAL, "causal"},
      {LAYER_TIED_TO, "tied_to"},
  };
  assert_int_equal(sizeof bits / sizeof *bits, LAYER_KEY_COUNT);
  for (int i = 0; i < LAYER_KEY_COUNT; i++) {
    assert_int_equal(bits[i].bit, 1u << i);
    assert_string_equal(layer_key_name(i), bits[i].key);
  }
}

/* ---- data ---- */

static const key_value data_values[] = {
    {"package", "perl"},      {"images", "a"},
    {"labels", "a"},          {"held_out_images", "a"},
    {"held_out_labels", "a"}, {"file", "a"},
    {"sequence", "1"},        {"classes", "2"},
    {"samples", "9"},         {"held_out", "1"},
    {"label", "0"},           {"columns", "0"},
    {"header", "false"},      {"standardize", "false"},
    {"vocabulary", "2"},      {"features", "1"},
    {"shape", "[1, 1, 1]"},   {"targets", "1"},
    {"hidden", "1"},          {"scale_low", "1"},
    {"scale_high", "1"},      {"noise", "0"},
    {"outliers", "0"},        {"outlier_scale", "1"},
    {"blank", "0"},           {"seed", "0"},
};

static const struct {
  const char *kind, *good, *loss, *keys, *against; /* `against`: of the kind, but not with `good` */
} data_takes[] = {
    {"idx", "images: a, labels: a, classes: 2", "cross_entropy",
     " package images labels classes samples held_out ", " held_out_images held_out_labels "},
    {"csv", "file: a, classes: 2", "cross_entropy",
     " package file classes samples held_out label columns header standardize ", ""},
    {"bytes", "file: a, sequence: 1", "cross_entropy", " package file sequence samples held_out ",
     ""},
    {"tokens", "file: a, sequence: 1, vocabulary: 2", "cross_entropy",
     " package file sequence vocabulary samples held_out ", ""},
    {"synthetic", "samples: 9, features: 1, classes: 2", "cross_entropy",
     " samples held_out features classes hidden scale_low scale_high noise outliers outlier_scale "
     "blank seed ",
     " shape targets sequence vocabulary "},
    {"synthetic", "samples: 9, features: 1, targets: 1", "mse",
     " samples held_out features targets hidden scale_low scale_high noise outliers outlier_scale "
     "blank seed ",
     " shape classes sequence vocabulary "},
    {"synthetic", "samples: 9, sequence: 1, vocabulary: 2", "cross_entropy",
     " samples held_out sequence vocabulary seed ", ""},
};

static void data_takes_the_keys_of_its_kind_whatever_their_values(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof data_takes / sizeof *data_takes; k++)
    for (size_t i = 0; i < sizeof data_values / sizeof *data_values; i++) {
      const key_value *v = &data_values[i];
      char good[256], text[512], begins[64];
      workload *w;
      mpt_error error = {.message = ""};
      snprintf(good, sizeof good, "kind: %s, %s", data_takes[k].kind, data_takes[k].good);
      snprintf(begins, sizeof begins, ", %s: ", v->key);
      const bool there = strstr(good, begins) != NULL;
      snprintf(text, sizeof text, "{%s%s%s}", good, there ? "" : begins, there ? "" : v->value);
      mpt_status status = load(layers, text, data_takes[k].loss, optimizer, "", &w, &error);
      workload_free(w);
      if (has(data_takes[k].against, v->key))
        assert_int_not_equal(status, MPT_OK);
      else
        assert_outcome(status, &error, has(data_takes[k].keys, v->key), text, v->key);
    }
}

/* ---- optimizer, schedule, loss scale ---- */

static const key_value optimizer_values[] = {
    {"momentum", "0"},     {"beta1", "0"}, {"beta2", "0"},      {"epsilon", "1.0e-8"},
    {"weight_decay", "0"}, {"clip", "1"},  {"accumulate", "1"},
};
static const kind_keys optimizer_takes[] = {
    {"sgd", " momentum weight_decay clip accumulate "},
    {"adam", " beta1 beta2 epsilon weight_decay clip accumulate "},
    {"adamw", " beta1 beta2 epsilon weight_decay clip accumulate "},
};

static void an_optimizer_takes_the_keys_of_its_kind_whatever_their_values(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof optimizer_takes / sizeof *optimizer_takes; k++)
    for (size_t i = 0; i < sizeof optimizer_values / sizeof *optimizer_values; i++) {
      const key_value *v = &optimizer_values[i];
      char text[128];
      workload *w;
      mpt_error error = {.message = ""};
      snprintf(text, sizeof text, "{kind: %s, learning_rate: 1, %s: %s}", optimizer_takes[k].kind,
               v->key, v->value);
      mpt_status status = load(layers, data, "cross_entropy", text, "", &w, &error);
      workload_free(w);
      assert_outcome(status, &error, has(optimizer_takes[k].keys, v->key), optimizer_takes[k].kind,
                     v->key);
    }
}

static void a_schedule_and_a_loss_scale_take_the_keys_of_their_kind(void **state) {
  (void)state;
  static const struct {
    const char *text, *key;
    bool taken;
  } cases[] = {
      {"schedule: {kind: constant, warmup: 0}", "warmup", true},
      {"schedule: {kind: constant, final_fraction: 0}", "final_fraction", false},
      {"schedule: {kind: linear, warmup: 0, final_fraction: 0}", "warmup", true},
      {"schedule: {kind: cosine, warmup: 0, final_fraction: 0}", "warmup", true},
      {"schedule: {kind: cosine, momentum: 0}", "momentum", false},
      {"loss_scale: {mode: dynamic, initial: 65536}", "initial", true},
      {"loss_scale: {initial: 65536}", "initial", true},
      {"loss_scale: {mode: static, initial: 65536}", "initial", true},
      {"loss_scale: {mode: none, initial: 65536}", "initial", false},
      {"loss_scale: {mode: none}", "mode", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    workload *w;
    mpt_error error = {.message = ""};
    mpt_status status = load(layers, data, "cross_entropy", optimizer, cases[i].text, &w, &error);
    workload_free(w);
    if (i == 4)
      assert_non_null(strstr(error.message, "unknown key 'momentum'"));
    else
      assert_outcome(status, &error, cases[i].taken, cases[i].text, cases[i].key);
  }
}

int main(void) {
  sprintf(path, "/tmp/mptune-fields-%d.yaml", (int)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_layer_takes_the_keys_of_its_kind_whatever_their_values),
      cmocka_unit_test(every_layer_kind_is_in_the_table),
      cmocka_unit_test(a_layer_without_a_key_that_its_kind_needs_is_refused),
      cmocka_unit_test(the_bit_of_a_key_is_its_place_in_the_table),
      cmocka_unit_test(data_takes_the_keys_of_its_kind_whatever_their_values),
      cmocka_unit_test(an_optimizer_takes_the_keys_of_its_kind_whatever_their_values),
      cmocka_unit_test(a_schedule_and_a_loss_scale_take_the_keys_of_their_kind),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(path);
  return failed;
}
