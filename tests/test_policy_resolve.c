/* A policy against a model: mismatches, rules without use, devices that lack formats; diff; and
 * back, from formats to few rules. */
#include "mptune/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "schema: mptune/policy@1\ndefault: bf16\n"
#define MOST 400

typedef struct model {
  mpt_layer_info layers[MOST];
  mpt_layer_policy formats[MOST];
  int count;
} model;

static mpt_layer_info layer_of(const char *name, const char *kind, int64_t n, int64_t k) {
  mpt_layer_info layer = {.rank = 2, .shape = {n, k}, .rows = 64};
  snprintf(layer.name, sizeof layer.name, "%s", name);
  snprintf(layer.kind, sizeof layer.kind, "%s", kind);
  return layer;
}

static void add(model *m, const char *name, const char *kind) {
  assert_true(m->count < MOST);
  m->layers[m->count] = layer_of(name, kind, 64, 32);
  m->formats[m->count++] = mpt_layer_policy_of(MPT_PRECISION_BF16);
}

static void make_gpt(model *m, int blocks) {
  static const char *const parts[][2] = {{"ln1", "layernorm"},       {"attn.qkv", "linear"},
                                         {"attn.core", "attention"}, {"attn.proj", "linear"},
                                         {"ln2", "layernorm"},       {"mlp.fc1", "linear"},
                                         {"mlp.gelu", "gelu"},       {"mlp.fc2", "linear"}};
  m->count = 0;
  add(m, "embedding", "embedding");
  for (int block = 0; block < blocks; block++)
    for (int i = 0; i < 8; i++) {
      char name[64];
      snprintf(name, sizeof name, "blocks.%d.%s", block, parts[i][0]);
      add(m, name, parts[i][1]);
    }
  add(m, "norm", "layernorm");
  add(m, "head", "linear");
}

static mpt_policy *parse(const char *text) {
  mpt_policy *policy = NULL;
  mpt_error error = {0};
  if (mpt_policy_parse(text, strlen(text), "p.yaml", &policy, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return policy;
}

typedef struct warnings {
  int count;
  char last[800];
} warnings;

static void note(void *context, const char *message) {
  warnings *w = context;
  w->count++;
  snprintf(w->last, sizeof w->last, "%s", message);
}

static mpt_resolve_options options_of(warnings *w) {
  mpt_resolve_options options = mpt_resolve_options_default();
  *w = (warnings){0};
  options.on_warning = note;
  options.context = w;
  return options;
}

static void assert_layer(const mpt_layer_policy *formats, const char *expected) {
  char text[160];
  mpt_layer_policy_text(formats, text, sizeof text);
  assert_string_equal(text, expected);
}

/* ---- layers that differ ---- */
static void other_layers_are_refused_by_name_unless_forced(void **state) {
  (void)state;
  mpt_policy *policy =
      parse(HEAD "layers:\n  - {name: a, kind: linear, shape: [64, 32], rows: 64}\n"
                 "  - {name: b, kind: linear, shape: [64, 32], rows: 64}\n  - {name: c}\n");
  mpt_layer_info layers[] = {layer_of("c", "gelu", 1, 1), layer_of("b", "linear", 64, 32),
                             layer_of("a", "linear", 64, 32)};
  mpt_layer_policy formats[4];
  mpt_error error = {0};
  warnings w;
  mpt_resolve_options options = options_of(&w);
  /* The order is another; what is unknown differs from nothing. */
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_int_equal(w.count, 0);

  layers[2].rows = 128;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_int_equal(w.count, 1);
  assert_string_equal(w.last,
                      "the policy was made for another number of rows: 'a' has 128, not 64");
  layers[2].rows = 0;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_int_equal(w.count, 1);

  const mpt_layer_policy before = mpt_layer_policy_of(MPT_PRECISION_TF32);
  formats[0] = before;
  snprintf(layers[0].name, sizeof layers[0].name, "d");
  snprintf(layers[1].kind, sizeof layers[1].kind, "conv2d");
  layers[2].shape[1] = 48;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error),
                   MPT_ERROR_MISMATCH);
  assert_string_equal(error.message,
                      "the policy was made for other layers: 'a' is [64, 48], not [64, 32], "
                      "'b' is conv2d, not linear, 'c' is missing, 'd' is new; force takes it "
                      "nevertheless");
  assert_true(mpt_layer_policy_equal(&formats[0], &before));
  options = options_of(&w);
  options.force = true;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_int_equal(w.count, 1);
  assert_non_null(strstr(w.last, "'c' is missing"));
  assert_layer(&formats[0], "bf16");
  mpt_policy_free(policy);
}

static void many_differences_are_counted(void **state) {
  (void)state;
  static model m;
  make_gpt(&m, 3);
  mpt_policy *policy = parse(HEAD "layers: [{name: other}]\n");
  mpt_error error;
  assert_int_equal(mpt_policy_resolve(policy, m.layers, m.count, NULL, m.formats, &error),
                   MPT_ERROR_MISMATCH);
  assert_non_null(strstr(error.message, " and 23 more; force"));
  mpt_policy_free(policy);
}

/* ---- rules ---- */
static void a_rule_without_a_layer_is_an_error_when_strict(void **state) {
  (void)state;
  mpt_policy *policy = parse(HEAD "rules:\n  - {layers: [a], format: fp8}\n"
                                  "  - {layers: [nobody, no.*], format: fp16}\n");
  const mpt_layer_info layer = layer_of("a", "linear", 4, 4);
  mpt_layer_policy formats;
  mpt_error error;
  warnings w;
  mpt_resolve_options options = options_of(&w);
  assert_int_equal(mpt_policy_resolve(policy, &layer, 1, &options, &formats, &error),
                   MPT_ERROR_MISMATCH);
  assert_string_equal(error.message, "rule 2 (\"nobody\", ...) matches no layer");
  assert_string_equal(error.file, "p.yaml");
  assert_true(error.line == 5 && error.column == 5);
  options.strict = false;
  assert_int_equal(mpt_policy_resolve(policy, &layer, 1, &options, &formats, &error), MPT_OK);
  assert_int_equal(w.count, 1);
  assert_string_equal(w.last, "p.yaml:5:5: rule 2 (\"nobody\", ...) matches no layer");
  assert_layer(&formats, "fp8");
  assert_int_equal(formats.rule, 0);
  mpt_policy_free(policy);
}

static void a_shadowed_rule_is_a_warning(void **state) {
  (void)state;
  mpt_policy *policy = parse(HEAD "rules:\n  - {layers: [a], format: fp8}\n"
                                  "  - {layers: [b, c], format: fp16}\n"
                                  "  - {layers: ['[ab]'], format: fp32}\n");
  const mpt_layer_info layers[] = {layer_of("a", "linear", 4, 4), layer_of("b", "linear", 4, 4)};
  mpt_layer_policy formats[2];
  warnings w;
  mpt_resolve_options options = options_of(&w);
  assert_int_equal(mpt_policy_resolve(policy, layers, 2, &options, formats, NULL), MPT_OK);
  assert_int_equal(w.count, 1);
  assert_string_equal(w.last, "p.yaml:6:5: rule 3 (\"[ab]\") is never used: earlier rules take "
                              "every layer that it matches");
  assert_true(formats[0].rule == 0 && formats[1].rule == 1);
  options.on_warning = NULL;
  assert_int_equal(mpt_policy_resolve(policy, layers, 2, &options, formats, NULL), MPT_OK);
  mpt_policy_free(policy);
}

static void bad_arguments_are_refused(void **state) {
  (void)state;
  mpt_policy *policy = parse(HEAD);
  const mpt_layer_info twice[] = {layer_of("a", "linear", 4, 4), layer_of("a", "linear", 4, 4)};
  mpt_layer_policy formats[2];
  mpt_resolve_options options = mpt_resolve_options_default();
  mpt_error error;
  assert_int_equal(mpt_policy_resolve(policy, twice, 2, &options, formats, &error),
                   MPT_ERROR_ARGUMENT);
  assert_string_equal(error.message, "two layers are named 'a'");
  assert_int_equal(mpt_policy_resolve(NULL, twice, 1, &options, formats, NULL), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_resolve(policy, NULL, 1, &options, formats, NULL),
                   MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_resolve(policy, NULL, 0, &options, NULL, NULL), MPT_OK);
  options.struct_size = 4;
  assert_int_equal(mpt_policy_resolve(policy, twice, 1, &options, formats, NULL),
                   MPT_ERROR_VERSION);
  mpt_policy_free(policy);
}

/* ---- kinds and devices ---- */
static void layers_without_gemms_get_storage_formats(void **state) {
  (void)state;
  static const struct {
    const char *kind, *fp8, *tf32, *fp16;
  } cases[] = {{"linear", "fp8", "tf32", "fp16"},     {"conv2d", "fp8", "tf32", "fp16"},
               {"", "fp8", "tf32", "fp16"},           {"attention", "bf16", "tf32", "fp16"},
               {"layernorm", "bf16", "fp32", "fp16"}, {"embedding", "bf16", "fp32", "fp16"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const mpt_layer_info layer = layer_of("a", cases[i].kind, 4, 4);
    const char *const expected[] = {cases[i].fp8, cases[i].tf32, cases[i].fp16};
    const mpt_precision precisions[] = {MPT_PRECISION_FP8, MPT_PRECISION_TF32, MPT_PRECISION_FP16};
    for (int p = 0; p < 3; p++) {
      mpt_policy *policy = NULL;
      mpt_layer_policy formats;
      assert_int_equal(mpt_policy_uniform(precisions[p], &policy, NULL), MPT_OK);
      assert_int_equal(mpt_policy_resolve(policy, &layer, 1, NULL, &formats, NULL), MPT_OK);
      assert_layer(&formats, expected[p]);
      const mpt_precision meant = mpt_precision_for(cases[i].kind, precisions[p]);
      assert_string_equal(mpt_precision_name(meant), expected[p]);
      mpt_policy_free(policy);
    }
  }
}

static void a_layer_stores_what_its_gemms_write(void **state) {
  (void)state;
  mpt_layer_policy formats = mpt_layer_policy_of(MPT_PRECISION_FP8);
  formats.gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, MPT_PRECISION_TF32);
  assert_int_equal(mpt_layer_policy_storage(&formats, true, MPT_FPROP), MPT_BF16);
  assert_int_equal(mpt_layer_policy_storage(&formats, true, MPT_DGRAD), MPT_FP32);
  assert_int_equal(mpt_layer_policy_storage(&formats, false, MPT_DGRAD), MPT_BF16);
}

static void formats_a_device_lacks_are_refused_or_promoted(void **state) {
  (void)state;
  const mpt_layer_info layers[] = {layer_of("a", "linear", 4, 4), layer_of("n", "layernorm", 4, 4),
                                   layer_of("b", "linear", 4, 4)};
  mpt_policy *policy = parse(HEAD "rules: [{layers: [a], format: fp8, wgrad: fp32}, "
                                  "{layers: [n], format: fp8}]\n");
  const uint32_t fp8 = 1u << MPT_FP8_E4M3 | 1u << MPT_FP8_E5M2, bf16 = 1u << MPT_BF16;
  mpt_layer_policy formats[3];
  mpt_error error;
  warnings w;
  mpt_resolve_options options = options_of(&w);
  options.device_formats = MPT_ALL_FORMATS & ~fp8;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error),
                   MPT_ERROR_UNSUPPORTED);
  assert_string_equal(error.message,
                      "the device lacks formats for 'a' (fp8_e4m3); allow promotion, "
                      "or choose others");
  options.promote = true;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_string_equal(w.last, "the device lacks formats; bf16 instead for 'a' (fp8_e4m3)");
  assert_layer(&formats[0], "fprop=bf16,dgrad=bf16,wgrad=fp32");
  assert_layer(&formats[1], "bf16");

  options.device_formats = MPT_ALL_FORMATS & ~fp8 & ~bf16;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_layer(&formats[0], "fprop=fp16,dgrad=fp16,wgrad=fp32");
  assert_layer(&formats[1], "fp16");
  assert_layer(&formats[2], "fp16");
  options.device_formats = 1u << MPT_FP32;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error), MPT_OK);
  assert_layer(&formats[0], "fp32");
  options.device_formats = 1u << MPT_TF32;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, &error),
                   MPT_ERROR_UNSUPPORTED);
  assert_non_null(strstr(error.message, "neither"));
  mpt_policy_free(policy);
}

static void diff_names_what_is_decided_differently(void **state) {
  (void)state;
  const mpt_layer_info layers[] = {layer_of("a", "linear", 4, 4), layer_of("b", "linear", 4, 4),
                                   layer_of("n", "layernorm", 4, 4)};
  mpt_policy *from = parse(HEAD "rules: [{layers: [a], format: fp8}]\n");
  mpt_policy *to = parse("schema: mptune/policy@1\ndefault: fp8\nloss_scale: {mode: none}\n"
                         "rules: [{layers: [a], wgrad: bf16}]\n");
  char *text = NULL;
  assert_int_equal(mpt_policy_diff(from, to, layers, 3, NULL, &text, NULL), MPT_OK);
  assert_string_equal(text, "a fp8 -> fprop=fp8,dgrad=fp8,wgrad=bf16\nb bf16 -> fp8\n"
                            "loss_scale unset -> none\n");
  free(text);
  mpt_policy *said = parse(HEAD "loss_scale: {}\nrules: [{layers: [a], format: fp8}]\n");
  assert_int_equal(mpt_policy_diff(said, from, layers, 3, NULL, &text, NULL), MPT_OK);
  assert_string_equal(text, "loss_scale dynamic 6.5536e+04 -> unset\n");
  free(text);
  mpt_policy_free(said);
  assert_int_equal(mpt_policy_diff(from, from, layers, 3, NULL, &text, NULL), MPT_OK);
  assert_string_equal(text, "");
  free(text);
  mpt_error error;
  assert_int_equal(mpt_policy_diff(from, to, &layers[1], 1, NULL, &text, &error),
                   MPT_ERROR_MISMATCH);
  mpt_policy_free(from);
  mpt_policy_free(to);
}

/* ---- from formats to rules ---- */
static const mpt_loss_scale_policy dynamic = {MPT_LOSS_SCALE_DYNAMIC, 65536.0f};

/* The policy; it gives the formats back exactly, saved and loaded too. */
static mpt_policy *compressed(const model *m) {
  mpt_policy *policy = NULL, *again = NULL;
  mpt_error error = {0};
  char *text = NULL, *text_again = NULL;
  static mpt_layer_policy resolved[MOST];
  if (mpt_policy_from_assignment("test", m->layers, m->formats, m->count, dynamic, &policy,
                                 &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_int_equal(mpt_policy_text(policy, &text, NULL), MPT_OK);
  assert_int_equal(mpt_policy_parse(text, strlen(text), "t", &again, &error), MPT_OK);
  assert_int_equal(mpt_policy_text(again, &text_again, NULL), MPT_OK);
  assert_string_equal(text, text_again);
  warnings w;
  mpt_resolve_options options = options_of(&w);
  if (mpt_policy_resolve(again, m->layers, m->count, &options, resolved, &error) != MPT_OK)
    fail_msg("%s", error.message);
  if (w.count > 0)
    fail_msg("%s", w.last);
  for (int i = 0; i < m->count; i++) {
    const mpt_layer_policy meant = mpt_layer_policy_for(m->layers[i].kind, &m->formats[i]);
    if (!mpt_layer_policy_equal(&resolved[i], &meant))
      fail_msg("%s", m->layers[i].name);
  }
  free(text);
  free(text_again);
  mpt_policy_free(again);
  return policy;
}

/* Everything between the default and the loss scale. */
static void assert_rules(const model *m, const char *expected) {
  mpt_policy *policy = compressed(m);
  char *text = NULL;
  assert_int_equal(mpt_policy_text(policy, &text, NULL), MPT_OK);
  char *start = strstr(text, "default:"), *end = strstr(text, "loss_scale:");
  *end = '\0';
  assert_string_equal(start, expected);
  free(text);
  mpt_policy_free(policy);
}

static void set(model *m, const char *glob, mpt_precision precision) {
  for (int i = 0; i < m->count; i++)
    if (mpt_glob_match(glob, m->layers[i].name))
      m->formats[i] = mpt_layer_policy_of(precision);
}

static void what_is_obvious_takes_one_glob(void **state) {
  (void)state;
  static model m;
  make_gpt(&m, 12);
  assert_rules(&m, "default: bf16\n");
  set(&m, "*.mlp.*", MPT_PRECISION_FP8);
  assert_rules(&m, "default: bf16\nrules:\n  - layers: [\"blocks.*.mlp.*\"]\n    format: fp8\n");
  set(&m, "blocks.0.*", MPT_PRECISION_BF16);
  assert_rules(&m,
               "default: bf16\nrules:\n  - layers: [\"blocks.[1-9]*.mlp.*\"]\n    format: fp8\n");
  make_gpt(&m, 12);
  set(&m, "*.fc1", MPT_PRECISION_FP16);
  assert_rules(&m, "default: bf16\nrules:\n  - layers: [\"blocks.*.mlp.fc1\"]\n    format: fp16\n");
  make_gpt(&m, 12);
  set(&m, "*", MPT_PRECISION_FP8);
  assert_rules(&m, "default: fp8\n");
  set(&m, "head", MPT_PRECISION_BF16);
  assert_rules(&m, "default: fp8\nrules:\n  - layers: [\"head\"]\n    format: bf16\n");
  make_gpt(&m, 30);
  set(&m, "blocks.1?.mlp.*", MPT_PRECISION_FP16);
  assert_rules(&m, "default: bf16\nrules:\n  - layers: [\"blocks.1?.mlp.*\"]\n    format: fp16\n");
}

static void gemms_and_scaling_are_written_as_rules(void **state) {
  (void)state;
  static model m;
  make_gpt(&m, 2);
  for (int i = 0; i < m.count; i++) {
    if (mpt_glob_match("*.fc?", m.layers[i].name)) {
      m.formats[i] = mpt_layer_policy_of(MPT_PRECISION_FP8);
      m.formats[i].gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, MPT_PRECISION_FP16);
      m.formats[i].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 32, 1};
    }
    if (strcmp(m.layers[i].name, "head") == 0) {
      m.formats[i].gemm[MPT_FPROP] = mpt_gemm_policy_of(MPT_FPROP, MPT_PRECISION_FP8);
      m.formats[i].gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
      m.formats[i].gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, MPT_PRECISION_TF32);
    }
  }
  assert_rules(&m, "default: bf16\nrules:\n"
                   "  - layers: [\"head\"]\n"
                   "    fprop: {input: fp8_e4m3, weight: fp8_e4m3, accumulate: fast}\n"
                   "    dgrad: tf32\n"
                   "    wgrad: bf16\n"
                   "  - layers: [\"blocks.*.mlp.*\"]\n"
                   "    format: fp8\n"
                   "    wgrad: fp16\n"
                   "    scaling: {mode: delayed, history: 32, margin: 1}\n");
}

static void any_assignment_is_given_back_exactly(void **state) {
  (void)state;
  static model m;
  unsigned seed = 11;
  for (int trial = 0; trial < 60; trial++) {
    make_gpt(&m, 12);
    const int kinds = 1 + trial % 5, share = 1 + trial % 7;
    for (int i = 0; i < m.count; i++) {
      if (rand_r(&seed) % (unsigned)share != 0)
        continue;
      for (int g = 0; g < MPT_GEMM_COUNT; g++)
        if (g == 0 || trial % 3 == 0)
          m.formats[i].gemm[g] = mpt_gemm_policy_of(
              (mpt_gemm_kind)g, (mpt_precision)(rand_r(&seed) % (unsigned)kinds));
      if (trial % 4 == 0)
        m.formats[i].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 1 + rand_r(&seed) % 2, 0};
    }
    mpt_policy_free(compressed(&m));
  }
}

/* Whole columns of a 12-block GPT, at random: as many rules as formats that are not the default. */
static void columns_take_a_glob_each_at_most(void **state) {
  (void)state;
  static const char *const columns[] = {"*.qkv", "*.proj", "*.fc1", "*.fc2", "head"};
  static model m;
  unsigned seed = 5;
  for (int trial = 0; trial < 40; trial++) {
    make_gpt(&m, 12);
    for (int i = 0; i < 5; i++)
      set(&m, columns[i], rand_r(&seed) % 2 == 0 ? MPT_PRECISION_FP8 : MPT_PRECISION_BF16);
    mpt_policy *policy = compressed(&m);
    assert_in_range(mpt_policy_rule_count(policy), 0, 1);
    char *text = NULL;
    int globs = 0;
    assert_int_equal(mpt_policy_text(policy, &text, NULL), MPT_OK);
    for (const char *c = text; c < strstr(text, "loss_scale:"); c++)
      globs += *c == '"';
    assert_in_range(globs / 2, 0, 3);
    free(text);
    mpt_policy_free(policy);
  }
}

static void names_with_wildcards_and_odd_characters_work(void **state) {
  (void)state;
  static const char *const names[] = {
      "a*b", "a?b",   "a[b",         "a]b", "[a]", "aXb", "a\\b", "a..b",    ".", "_",    "1",
      "01",  "a.1_2", "caf\xc3\xa9", "x y", "'",   "a:b", "[!a]", "[[:a:]]", "^", "true", "- a"};
  static model m;
  unsigned seed = 2;
  for (int trial = 0; trial < 30; trial++) {
    m.count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
      add(&m, names[i], "linear");
      m.formats[i] = mpt_layer_policy_of((mpt_precision)(rand_r(&seed) % 5));
    }
    mpt_policy_free(compressed(&m));
  }
  char name[MPT_MAX_NAME];
  m.count = 0;
  for (int i = 0; i < 127; i++)
    name[i] = i % 2 == 0 ? '1' : '.';
  name[127] = '\0';
  add(&m, name, "linear");
  add(&m, "other", "linear");
  m.formats[0] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_policy_free(compressed(&m));
}

static void a_large_model_does_not_take_long(void **state) {
  (void)state;
  static model m;
  make_gpt(&m, 48);
  for (int i = 0; i < m.count; i++)
    if (strstr(m.layers[i].name, ".mlp.fc") != NULL && i % 3 != 0)
      m.formats[i] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_policy_free(compressed(&m));
}

static void assignments_that_mean_nothing_are_refused(void **state) {
  (void)state;
  static model m, bad;
  mpt_policy *policy = NULL;
  mpt_error error;
  make_gpt(&m, 1);
#define REFUSED(change, part)                                                                      \
  do {                                                                                             \
    bad = m;                                                                                       \
    change;                                                                                        \
    assert_int_equal(mpt_policy_from_assignment("n", bad.layers, bad.formats, bad.count, dynamic,  \
                                                &policy, &error),                                  \
                     MPT_ERROR_ARGUMENT);                                                          \
    if (strstr(error.message, part) == NULL)                                                       \
      fail_msg("'%s' is not in '%s'", part, error.message);                                        \
    assert_null(policy);                                                                           \
  } while (0)
  REFUSED(bad.layers[2] = bad.layers[3], "two layers are named 'blocks.0.attn.core'");
  REFUSED(bad.layers[2].name[0] = '\0', "needs a name");
  REFUSED(memset(bad.layers[2].name, 'x', MPT_MAX_NAME), "needs a name");
  REFUSED(bad.layers[2].name[0] = '\xff', "not UTF-8");
  REFUSED(bad.layers[2].rank = 5, "rank");
  REFUSED(bad.layers[2].shape[0] = -1, "dimension");
  REFUSED(bad.formats[2].gemm[1].operand[0] = MPT_FP16, "operands");
  REFUSED(bad.formats[2].gemm[1].precision = (mpt_precision)77, "operands");
  REFUSED(bad.formats[2].gemm[1].operand[0] = (mpt_format)77, "operands");
  REFUSED(bad.formats[2].gemm[0].accumulate = MPT_ACCUMULATE_FAST, "fp8 alone");
  REFUSED((bad.formats[2] = mpt_layer_policy_of(MPT_PRECISION_FP8),
           bad.formats[2].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 0, 0}),
          "history");
  const mpt_loss_scale_policy odd = {MPT_LOSS_SCALE_STATIC, 3.0f};
  assert_int_equal(
      mpt_policy_from_assignment("n", m.layers, m.formats, m.count, odd, &policy, &error),
      MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_from_assignment("n", NULL, NULL, 0, dynamic, &policy, &error),
                   MPT_OK);
  mpt_policy_free(policy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(other_layers_are_refused_by_name_unless_forced),
      cmocka_unit_test(many_differences_are_counted),
      cmocka_unit_test(a_rule_without_a_layer_is_an_error_when_strict),
      cmocka_unit_test(a_shadowed_rule_is_a_warning),
      cmocka_unit_test(bad_arguments_are_refused),
      cmocka_unit_test(layers_without_gemms_get_storage_formats),
      cmocka_unit_test(a_layer_stores_what_its_gemms_write),
      cmocka_unit_test(formats_a_device_lacks_are_refused_or_promoted),
      cmocka_unit_test(diff_names_what_is_decided_differently),
      cmocka_unit_test(what_is_obvious_takes_one_glob),
      cmocka_unit_test(gemms_and_scaling_are_written_as_rules),
      cmocka_unit_test(any_assignment_is_given_back_exactly),
      cmocka_unit_test(columns_take_a_glob_each_at_most),
      cmocka_unit_test(names_with_wildcards_and_odd_characters_work),
      cmocka_unit_test(a_large_model_does_not_take_long),
      cmocka_unit_test(assignments_that_mean_nothing_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
