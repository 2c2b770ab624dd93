/* The policy file: what is taken, what is refused and where, and what saving writes. */
#include "mptune/policy.h"
#include <fnmatch.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "schema: mptune/policy@1\ndefault: bf16\n"

/* The example of the design, every part of it. */
static const char example[] =
    "schema: mptune/policy@1\n"
    "name: gpt2-124m-h200\n"
    "default: bf16                        # every layer that no rule matches\n"
    "rules:                               # ordered, the first match wins\n"
    "  - layers: [\"blocks.*.mlp.fc1\", \"blocks.*.mlp.fc2\"]\n"
    "    format: fp8                      # short form: all three GEMMs\n"
    "    scaling: {mode: current}\n"
    "  - layers: [\"blocks.0.attn.qkv\"]\n"
    "    fprop: fp8\n"
    "    dgrad: {grad_output: fp8_e5m2, weight: fp8_e4m3, accumulate: split}\n"
    "    wgrad: bf16\n"
    "  - layers: [\"head\"]\n"
    "    format: fp16\n"
    "    fallback: fp32\n"
    "loss_scale: {mode: dynamic, initial: 65536.0}\n"
    "layers:\n"
    "  - {name: blocks.0.attn.qkv, kind: linear, shape: [2304, 768], rows: 16384}\n"
    "provenance:\n"
    "  tool: \"mptune 0.1.0\"\n"
    "  result: {verdict: pass, worse_by: 1.2e-03, upper_bound: 2.0e-03, confidence: 9.5e-01, "
    "step_time_ratio: 7.4e-01, time: measured, steps: 2000}\n";

static mpt_policy *parse(const char *text) {
  mpt_policy *policy = NULL;
  mpt_error error = {0};
  if (mpt_policy_parse(text, strlen(text), "p.yaml", &policy, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return policy;
}

static void refuse_as(mpt_status expected, const char *text, int line, int column,
                      const char *part) {
  mpt_policy *policy = NULL;
  mpt_error error = {0};
  mpt_status status = mpt_policy_parse(text, strlen(text), "p.yaml", &policy, &error);
  if (status != expected || policy != NULL)
    fail_msg("%s (%s), expected %s for\n%s", mpt_status_name(status), error.message,
             mpt_status_name(expected), text);
  assert_string_equal(error.file, "p.yaml");
  if (strstr(error.message, part) == NULL)
    fail_msg("'%s' is not in '%s'", part, error.message);
  if (error.line != line || error.column != column)
    fail_msg("at %d:%d, expected %d:%d: %s", error.line, error.column, line, column, error.message);
}

static void refuse(const char *text, int line, int column, const char *part) {
  refuse_as(MPT_ERROR_SYNTAX, text, line, column, part);
}

static char *text_of(const mpt_policy *policy) {
  char *text = NULL;
  assert_int_equal(mpt_policy_text(policy, &text, NULL), MPT_OK);
  return text;
}

/* The formats that a policy gives one linear layer, in canonical text. */
static void assert_formats(const char *file, const char *layer, const char *expected) {
  mpt_policy *policy = parse(file);
  mpt_layer_info info = {.kind = "linear"};
  mpt_layer_policy formats;
  mpt_resolve_options options = mpt_resolve_options_default();
  char text[160];
  options.strict = false;
  options.force = true;
  snprintf(info.name, sizeof info.name, "%s", layer);
  assert_int_equal(mpt_policy_resolve(policy, &info, 1, &options, &formats, NULL), MPT_OK);
  mpt_layer_policy_text(&formats, text, sizeof text);
  assert_string_equal(text, expected);
  mpt_policy_free(policy);
}

static void the_example_is_read_in_every_part(void **state) {
  (void)state;
  mpt_policy *policy = parse(example);
  assert_string_equal(mpt_policy_name(policy), "gpt2-124m-h200");
  assert_int_equal(mpt_policy_default(policy), MPT_PRECISION_BF16);
  assert_int_equal(mpt_policy_rule_count(policy), 3);
  assert_true(mpt_policy_has_loss_scale(policy));
  assert_int_equal(mpt_policy_loss_scale(policy).mode, MPT_LOSS_SCALE_DYNAMIC);
  assert_true(mpt_policy_loss_scale(policy).initial == 65536.0f);
  int count;
  const mpt_layer_info *layers = mpt_policy_layers(policy, &count);
  assert_int_equal(count, 1);
  assert_string_equal(layers[0].name, "blocks.0.attn.qkv");
  assert_string_equal(layers[0].kind, "linear");
  assert_true(layers[0].rank == 2 && layers[0].shape[0] == 2304 && layers[0].shape[1] == 768);
  assert_true(layers[0].rows == 16384);
  const mpt_policy_result r = mpt_policy_get_result(policy);
  assert_int_equal(r.verdict, MPT_VERDICT_PASS);
  assert_true(r.worse_by == 1.2e-3 && r.upper_bound == 2e-3 && r.confidence == .95);
  assert_true(r.step_time_ratio == .74 && r.time_measured && r.steps == 2000);
  assert_string_equal(mpt_policy_get_provenance(policy, "tool"), "mptune 0.1.0");
  assert_null(mpt_policy_get_provenance(policy, "absent"));
  mpt_policy_free(policy);
  mpt_policy_free(NULL);
  assert_formats(example, "blocks.7.mlp.fc2", "fp8");
  assert_formats(example, "blocks.0.attn.qkv", "fprop=fp8,dgrad=fp8,wgrad=bf16");
  assert_formats(example, "head", "fp16");
  assert_formats(example, "else", "bf16");
}

static void only_schema_and_default_are_required(void **state) {
  (void)state;
  mpt_policy *policy = parse(HEAD);
  int count;
  mpt_policy_layers(policy, &count);
  assert_int_equal(count, 0);
  assert_int_equal(mpt_policy_rule_count(policy), 0);
  assert_string_equal(mpt_policy_name(policy), "");
  const mpt_policy_result r = mpt_policy_get_result(policy);
  assert_int_equal(r.verdict, MPT_VERDICT_UNVERIFIED);
  assert_true(isnan(r.worse_by) && isnan(r.upper_bound) && isnan(r.step_time_ratio));
  assert_false(mpt_policy_has_loss_scale(policy)); /* and what is written does not say more */
  assert_true(mpt_policy_loss_scale(policy).mode == MPT_LOSS_SCALE_DYNAMIC);
  assert_true(mpt_policy_loss_scale(policy).initial == 65536.0f);
  char *text = text_of(policy);
  assert_string_equal(text, HEAD);
  free(text);
  mpt_policy_free(policy);
  refuse("default: bf16\n", 1, 1, "schema is missing");
  refuse("schema: mptune/policy@1\n", 1, 1, "default is missing");
  refuse("schema: mptune/workload@1\ndefault: bf16\n", 1, 9, "'mptune/workload@1' is not known");
  refuse_as(MPT_ERROR_VERSION, "schema: mptune/policy@2\nnew-key: 1\n", 1, 9,
            "'mptune/policy@2' is not known");
  refuse("[1]\n", 1, 1, "must be a map");
  refuse("", 0, 0, "empty");
}

static void what_is_not_known_is_refused_at_its_place(void **state) {
  (void)state;
  refuse(HEAD "rulse: []\n", 3, 1, "unknown key 'rulse' in a policy; did you mean 'rules'?");
  refuse(HEAD "default: fp8\n", 3, 1, "duplicate key 'default'");
  refuse("schema: mptune/policy@1\ndefault: fp9\n", 2, 10,
         "unknown format 'fp9' (known: fp32, tf32, bf16, fp16, fp8)");
  refuse("schema: mptune/policy@1\ndefault: fp8_e4m3\n", 2, 10, "one format of a pair; write fp8");
  refuse("schema: mptune/policy@1\ndefault: [bf16]\n", 2, 10, "must be a single value");
  refuse(HEAD "name:\n", 3, 6, "name is empty");
  refuse(HEAD "rules: {}\n", 3, 8, "rules must be a list");
  refuse(HEAD "rules: [a]\n", 3, 9, "a rule must be a map");
  refuse(HEAD "rules: [{format: fp8}]\n", 3, 9, "a rule needs layers");
  refuse(HEAD "rules: [{layers: a, format: fp8}]\n", 3, 18, "layers must be a list");
  refuse(HEAD "rules: [{layers: [], format: fp8}]\n", 3, 18, "matches nothing");
  refuse(HEAD "rules: [{layers: [[a]], format: fp8}]\n", 3, 19, "must be a single value");
  refuse(HEAD "rules: [{layers: [a], formt: fp8}]\n", 3, 23, "did you mean 'format'?");
  refuse(HEAD "rules: [{layers: [a], format: fp9}]\n", 3, 31, "unknown format 'fp9'");
  refuse(HEAD "rules: [{layers: [a], fallback: fp9}]\n", 3, 33, "unknown format 'fp9'");
  refuse(HEAD "rules: [{layers: [a], wgrad: int8}]\n", 3, 30, "unknown format 'int8'");
  refuse(HEAD "rules: [&r {layers: [a], format: fp8}]\n", 3, 9, "anchors");
  refuse(HEAD "rules: *r\n", 3, 8, "aliases");
  refuse(HEAD "name: !!str x\n", 3, 7, "tags");
  refuse(HEAD "---\n" HEAD, 3, 1, "several documents");
  refuse(HEAD "x-deep: [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n", 3, 24, "nested too deeply");
  refuse(HEAD "name: \"\xff\"\n", 3, 8, "not YAML");
}

static void operands_of_a_gemm_fit_together(void **state) {
  (void)state;
  assert_formats(HEAD "rules: [{layers: [a], dgrad: {grad_output: fp8_e4m3, weight: fp8_e4m3}}]\n",
                 "a", "fprop=bf16,dgrad=fp8(fp8_e4m3*fp8_e4m3),wgrad=bf16");
  assert_formats(HEAD "rules: [{layers: [a], format: fp8, fprop: {input: fp8_e4m3, weight: "
                      "fp8_e5m2, accumulate: fast}}]\n",
                 "a", "fprop=fp8(fp8_e4m3*fp8_e5m2)+fast,dgrad=fp8,wgrad=fp8");
  assert_formats(HEAD "rules: [{layers: [a], wgrad: {input: fp16, grad_output: fp16}}]\n", "a",
                 "fprop=bf16,dgrad=bf16,wgrad=fp16");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: fp8_e5m2, weight: fp8_e5m2}}]\n", 3, 30,
         "no device multiplies fp8_e5m2 by fp8_e5m2");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: bf16, weight: fp8_e4m3}}]\n", 3, 30,
         "not bf16 and fp8_e4m3");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: bf16, weight: fp16}}]\n", 3, 30,
         "not bf16 and fp16");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: fp32, weight: tf32}}]\n", 3, 30,
         "not fp32 and tf32");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: fp8, weight: fp8}}]\n", 3, 44,
         "unknown format 'fp8'");
  refuse(HEAD "rules: [{layers: [a], dgrad: {input: bf16, weight: bf16}}]\n", 3, 31,
         "unknown key 'input' in dgrad");
  refuse(HEAD "rules: [{layers: [a], dgrad: {grad_output: bf16}}]\n", 3, 30,
         "the format of weight is missing");
  refuse(HEAD "rules: [{layers: [a], fprop: {input: bf16, weight: bf16, accumulate: fast}}]\n", 3,
         70, "accumulate is a choice of fp8 alone");
  refuse(HEAD "rules: [{layers: [a], fprop: {input: fp8_e4m3, weight: fp8_e4m3, accumulate: "
              "slow}}]\n",
         3, 78, "unknown accumulate 'slow' (known: split, fast)");
}

static void a_gemm_not_named_takes_the_rules_format_then_the_default(void **state) {
  (void)state;
  assert_formats(HEAD "rules: [{layers: [a], format: fp16, wgrad: fp32}]\n", "a",
                 "fprop=fp16,dgrad=fp16,wgrad=fp32");
  assert_formats(HEAD "rules: [{layers: [a], wgrad: fp32}]\n", "a",
                 "fprop=bf16,dgrad=bf16,wgrad=fp32");
  assert_formats("schema: mptune/policy@1\nrules: [{layers: [a], scaling: {mode: delayed}}]\n"
                 "default: fp8\n",
                 "a", "fp8:delayed/16/0");
  assert_formats(HEAD "rules: [{layers: [a]}, {layers: ['?'], format: fp8}]\n", "a", "bf16");
}

static void the_first_rule_that_matches_wins(void **state) {
  (void)state;
  const char *file = HEAD "rules: [{layers: [a.b], format: fp16}, {layers: ['a.*', c], format: "
                          "fp8}, {layers: ['*'], format: fp32}]\n";
  assert_formats(file, "a.b", "fp16");
  assert_formats(file, "a.c", "fp8");
  assert_formats(file, "c", "fp8");
  assert_formats(file, "d", "fp32");
}

static void scaling_is_checked(void **state) {
  (void)state;
#define SCALING(text) HEAD "rules: [{layers: [a], format: fp8, scaling: " text "}]\n"
  assert_formats(SCALING("{mode: current, granularity: tensor}"), "a", "fp8");
  assert_formats(SCALING("{mode: delayed, history: 1024, margin: 16}"), "a", "fp8:delayed/1024/16");
  assert_formats(SCALING("{mode: delayed, margin: 2}"), "a", "fp8:delayed/16/2");
  refuse(SCALING("current"), 3, 45, "scaling must be a map");
  refuse(SCALING("{history: 3}"), 3, 45, "needs a mode");
  refuse(SCALING("{mode: static}"), 3, 52, "unknown mode 'static' (known: current, delayed)");
  refuse(SCALING("{mode: current, history: 3}"), 3, 70, "history goes with mode: delayed");
  refuse(SCALING("{mode: delayed, history: 0}"), 3, 70, "from 1 to 1024");
  refuse(SCALING("{mode: delayed, history: 1025}"), 3, 70, "from 1 to 1024");
  refuse(SCALING("{mode: delayed, margin: -1}"), 3, 69, "from 0 to 16");
  refuse(SCALING("{mode: delayed, margin: 1.5}"), 3, 69, "whole number");
  refuse(SCALING("{mode: current, granularity: row}"), 3, 74, "known: tensor");
#undef SCALING
}

static void the_loss_scale_is_checked(void **state) {
  (void)state;
  mpt_policy *policy = parse(HEAD "loss_scale: {mode: static, initial: 1024}\n");
  assert_int_equal(mpt_policy_loss_scale(policy).mode, MPT_LOSS_SCALE_STATIC);
  assert_true(mpt_policy_loss_scale(policy).initial == 1024.0f);
  mpt_policy_free(policy);
  refuse(HEAD "loss_scale: {mode: big}\n", 3, 20, "unknown mode 'big'");
  refuse(HEAD "loss_scale: {initial: 1000}\n", 3, 23, "power of two");
  refuse(HEAD "loss_scale: {initial: 0}\n", 3, 23, "from");
  refuse(HEAD "loss_scale: {initial: -2}\n", 3, 23, "from");
  refuse(HEAD "loss_scale: {initial: .nan}\n", 3, 23, "finite number");
  refuse(HEAD "loss_scale: {initial: 1e99}\n", 3, 23, "from");
  refuse(HEAD "loss_scale: 65536\n", 3, 13, "must be a map");
}

static void layers_and_results_are_checked(void **state) {
  (void)state;
  refuse(HEAD "layers: [{kind: linear}]\n", 3, 10, "needs a name");
  refuse(HEAD "layers: [{name: ''}]\n", 3, 17, "name is empty");
  refuse(HEAD "layers: [{name: a, shape: [0]}]\n", 3, 28, "from 1");
  refuse(HEAD "layers: [{name: a, shape: [1, 2, 3, 4, 5]}]\n", 3, 27, "at most 4");
  refuse(HEAD "layers: [{name: a, shape: [-3]}]\n", 3, 28, "from 1");
  refuse(HEAD "layers: [{name: a, shape: [1e3]}]\n", 3, 28, "whole number");
  refuse(HEAD "layers: [{name: a, rows: -1}]\n", 3, 26, "from 0");
  refuse(HEAD "layers: [{name: b}, {name: a}, {name: b}]\n", 3, 32, "layer 'b' is listed twice");
  refuse(HEAD "layers: [{name: a, colour: red}]\n", 3, 20, "unknown key 'colour'");
  refuse(HEAD "provenance: {result: {verdict: good}}\n", 3, 32, "unknown verdict 'good'");
  refuse(HEAD "provenance: {result: {worse_by: .nan}}\n", 3, 33, "finite number");
  refuse(HEAD "provenance: {result: {steps: -1}}\n", 3, 30, "from 0");
  refuse(HEAD "provenance: {result: {time: soon}}\n", 3, 29, "unknown time 'soon'");
  refuse(HEAD "provenance: [a]\n", 3, 13, "must be a map");
  char text[400] = HEAD "layers: [{name: ";
  memset(text + strlen(text), 'n', 128);
  strcat(text, "}]\n");
  refuse(text, 3, 17, "at most 127 bytes");
}

static void globs_that_readers_take_differently_are_refused(void **state) {
  (void)state;
  refuse(HEAD "rules: [{layers: ['a[^b]'], format: fp8}]\n", 3, 19, "write '[!'");
  refuse(HEAD "rules: [{layers: [a, '[[:digit:]]'], format: fp8}]\n", 3, 22, "write '[0-9]'");
  refuse(HEAD "rules: [{layers: ['[[.a.]]'], format: fp8}]\n", 3, 19, "differently");
  refuse(HEAD "rules: [{layers: ['a[b]c[^d]'], format: fp8}]\n", 3, 19, "write '[!'");
  refuse(HEAD "rules: [{layers: [''], format: fp8}]\n", 3, 19, "empty glob");
  mpt_policy_free(parse(HEAD "rules: [{layers: ['[.]', '[[]', '[]^]', 'a[', '[!^]', '^'], "
                             "format: fp8}]\n"));
}

/* Checked against Python 3.11: fnmatch.fnmatchcase(name, glob). */
static void globs_match_as_python_does(void **state) {
  (void)state;
  static const struct {
    const char *glob, *name;
    bool matches;
  } cases[] = {
      {"a", "a", true},
      {"a", "ab", false},
      {"a", "", false},
      {"*", "", true},
      {"*", "a.b.c", true},
      {"**", "a", true},
      {"?", "", false},
      {"?", ".", true},
      {"a*c", "abbc", true},
      {"a*c", "abcd", false},
      {"*a*b", "xaab", true},
      {"*ab", "aab", true},
      {"a?c", "abc", true},
      {"[abc]", "b", true},
      {"[abc]", "d", false},
      {"[!abc]", "d", true},
      {"[!abc]", "a", false},
      {"[a-c]x", "bx", true},
      {"[c-a]", "b", false},
      {"[a-]", "-", true},
      {"[-a]", "-", true},
      {"[]]", "]", true},
      {"[!]]", "]", false},
      {"[!]]", "a", true},
      {"[", "[", true},
      {"[a", "[a", true},
      {"a[", "a[", true},
      {"[]", "[]", true},
      {"[!]", "[!]", true},
      {"[[]", "[", true},
      {"[a-c-e]", "-", true},
      {"[a-c-e]", "d", false},
      {"[a-c-e]", "e", true},
      {"\\a", "\\a", true},
      {"\\*", "\\xyz", true},
      {"[\\]", "\\", true},
      {"[!a-c]", "d", true},
      {"A", "a", false},
      {"[*]", "*", true},
      {"[*]", "a", false},
      {"[?]", "?", true},
      {"b.*.m", "b.1.2.m", true},
      {"b.[0-9].m", "b.11.m", false},
      {"\xc3\xa9", "\xc3\xa9", true},
      {"?", "\xc3\xa9", true},
      {"??", "\xc3\xa9", false},
      {"[\xc3\xa9]", "\xc3\xa9", true},
      {"[!a]", "\xc3\xa9", true},
      {"[a-\xc3\xa9]", "z", true},
      {"*\xa9", "\xc3\xa9", false},
      {"a]", "a]", true},
      {"[--a]", "5", true},
      {"[a-a]", "a", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if (mpt_glob_match(cases[i].glob, cases[i].name) != cases[i].matches)
      fail_msg("'%s' and '%s'", cases[i].glob, cases[i].name);
}

/* Where they agree by definition: no '[^', no classes, ranges that are not odd. */
static void globs_match_as_fnmatch_does(void **state) {
  (void)state;
  static const char *const pieces[] = {"a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-b]", "[!a-b]"};
  unsigned seed = 1;
  int matched = 0;
  for (int trial = 0; trial < 200000; trial++) {
    char glob[64] = "", name[16] = "";
    for (int i = rand_r(&seed) % 7; i >= 0; i--)
      strcat(glob, pieces[rand_r(&seed) % 9]);
    const int length = rand_r(&seed) % 9;
    for (int i = 0; i < length; i++)
      name[i] = "ab.c"[rand_r(&seed) % 4];
    const bool expected = fnmatch(glob, name, FNM_NOESCAPE) == 0;
    matched += expected;
    if (mpt_glob_match(glob, name) != expected)
      fail_msg("'%s' and '%s'", glob, name);
  }
  assert_in_range(matched, 10000, 190000);
}

static void a_glob_of_many_stars_takes_no_exponential_time(void **state) {
  (void)state;
  char glob[128] = "", name[128];
  for (int i = 0; i < 30; i++)
    strcat(glob, "*a*");
  strcat(glob, "b");
  memset(name, 'a', 127);
  name[127] = '\0';
  for (int i = 0; i < 1000; i++)
    assert_false(mpt_glob_match(glob, name));
}

/* ---- saving ---- */
static void assert_saves_as(const char *file, const char *expected) {
  mpt_policy *policy = parse(file);
  char *text = text_of(policy);
  assert_string_equal(text, expected);
  mpt_policy_free(policy);
  policy = parse(text);
  char *again = text_of(policy);
  assert_string_equal(again, text);
  mpt_policy_free(policy);
  free(text);
  free(again);
}

static void saving_is_canonical_and_keeps_everything(void **state) {
  (void)state;
  assert_saves_as(
      "x-top: {a: [1, two, \"3\"], \"b c\": ~}\n" HEAD "name: \"2024-01-01\"\n"
      "rules:\n"
      "- {layers: ['a.*', \"q\\\"\\\\\"], format: fp8, x-why: because,\n"
      "   fprop: {weight: fp8_e4m3, input: fp8_e4m3, accumulate: fast, x-n: 1},\n"
      "   scaling: {margin: 1, mode: delayed, x-s: yes}, fallback: bf16}\n"
      "loss_scale: {initial: 1e0, mode: static, x-l: 0}\n"
      "layers: [{rows: 3, name: a.b, x-id: 7}, {name: 'true', shape: [3]}]\n"
      "provenance: {zeta: 1.10, date: 2024-01-01, alpha: {k: [x, {}]}, text: \"a\\tb\\u2028\", "
      "result: {extra: 5, worse_by: 1e-3}, v: '1.0'}\n",
      "schema: mptune/policy@1\n"
      "name: \"2024-01-01\"\n"
      "default: bf16\n"
      "rules:\n"
      "  - layers: [\"a.*\", \"q\\\"\\\\\"]\n"
      "    format: fp8\n"
      "    fprop: {input: fp8_e4m3, weight: fp8_e4m3, accumulate: fast, x-n: 1}\n"
      "    scaling: {mode: delayed, history: 16, margin: 1, x-s: yes}\n"
      "    fallback: bf16\n"
      "    x-why: because\n"
      "loss_scale: {mode: static, initial: 1.0e+00, x-l: 0}\n"
      "layers:\n"
      "  - {name: a.b, rows: 3, x-id: 7}\n"
      "  - {name: \"true\", shape: [3]}\n"
      "provenance:\n"
      "  zeta: 1.10\n"
      "  date: 2024-01-01\n"
      "  alpha: {k: [x, {}]}\n"
      "  text: \"a\\x09b\\u2028\"\n"
      "  v: \"1.0\"\n"
      "  result: {verdict: unverified, worse_by: 1.0e-03, time: predicted, extra: 5}\n"
      "x-top: {a: [1, two, \"3\"], \"b c\": null}\n");
}

static void odd_text_survives_saving(void **state) {
  (void)state;
  static const char *const texts[] = {"",
                                      " ",
                                      "a: b",
                                      "# no comment",
                                      "- x",
                                      "null",
                                      "~",
                                      "true",
                                      "1.0",
                                      "1e3",
                                      "2024-01-01",
                                      "'",
                                      "\"",
                                      "\\n",
                                      "a\nb\n",
                                      "\t",
                                      "\x01\x7f",
                                      "\xc2\x85",
                                      "\xe2\x80\xa8",
                                      "\xef\xbb\xbf",
                                      "\xef\xbf\xbf",
                                      "\xf0\x9f\x98\x80",
                                      "{}",
                                      "[a",
                                      "*a",
                                      "&a",
                                      "!a",
                                      "%a",
                                      "@a",
                                      "`a",
                                      "a #b",
                                      "...",
                                      "---",
                                      "a\r\nb",
                                      "x: {",
                                      ".inf",
                                      "-",
                                      "?",
                                      "<<",
                                      "0x1F",
                                      "12:30:45"};
  mpt_policy *policy = NULL;
  mpt_error error = {0};
  const size_t count = sizeof texts / sizeof texts[0];
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_FP16, &policy, &error), MPT_OK);
  for (size_t i = 0; i < count; i++) {
    char key[160];
    snprintf(key, sizeof key, "k%zu %.20s", i, texts[i]);
    if (mpt_policy_set_provenance(policy, key, texts[i], &error) != MPT_OK)
      fail_msg("%s", error.message);
  }
  char *text = text_of(policy);
  mpt_policy_free(policy);
  policy = parse(text);
  for (size_t i = 0; i < count; i++) {
    char key[160];
    snprintf(key, sizeof key, "k%zu %.20s", i, texts[i]);
    const char *value = mpt_policy_get_provenance(policy, key);
    assert_non_null(value);
    assert_string_equal(value, texts[i]);
  }
  char *again = text_of(policy);
  assert_string_equal(text, again);
  free(text);
  free(again);
  mpt_policy_free(policy);
}

static void provenance_takes_text_and_refuses_the_rest(void **state) {
  (void)state;
  mpt_policy *policy = NULL;
  mpt_error error;
  char long_key[200];
  memset(long_key, 'k', 199);
  long_key[199] = '\0';
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_FP8, &policy, NULL), MPT_OK);
  assert_int_equal(mpt_policy_set_provenance(policy, "tool", "one", NULL), MPT_OK);
  assert_int_equal(mpt_policy_set_provenance(policy, "date", "2026-01-01", NULL), MPT_OK);
  assert_int_equal(mpt_policy_set_provenance(policy, "tool", "two", NULL), MPT_OK);
  assert_string_equal(mpt_policy_get_provenance(policy, "tool"), "two");
  assert_int_equal(mpt_policy_set_provenance(policy, "result", "x", &error), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_set_provenance(policy, "", "x", &error), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_set_provenance(policy, long_key, "x", &error), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_set_provenance(policy, "k", "\xff", &error), MPT_ERROR_ARGUMENT);
  assert_int_equal(mpt_policy_set_provenance(policy, "k", NULL, &error), MPT_ERROR_ARGUMENT);
  mpt_policy_result result = {.verdict = (mpt_verdict)9};
  assert_int_equal(mpt_policy_set_result(policy, &result, &error), MPT_ERROR_ARGUMENT);
  result = (mpt_policy_result){MPT_VERDICT_FAIL, -1e-3, NAN, .95, 1.0 / 3, false, 10};
  assert_int_equal(mpt_policy_set_result(policy, &result, &error), MPT_OK);
  char *text = text_of(policy);
  assert_string_equal(text,
                      "schema: mptune/policy@1\nname: fp8\ndefault: fp8\n"
                      "provenance:\n  tool: \"two\"\n  date: \"2026-01-01\"\n"
                      "  result: {verdict: fail, worse_by: -1.0e-03, confidence: 9.5e-01, "
                      "step_time_ratio: 3.333333333333333e-01, time: predicted, steps: 10}\n");
  free(text);
  mpt_policy_free(policy);
}

static void files_are_saved_whole_and_loaded_again(void **state) {
  (void)state;
  char directory[] = "/tmp/test_policy.XXXXXX", path[64];
  mpt_error error;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/policy.yaml", directory);
  mpt_policy *policy = parse(example), *again = NULL;
  assert_int_equal(mpt_policy_save(policy, path, &error), MPT_OK);
  assert_int_equal(mpt_policy_save(policy, path, &error), MPT_OK);
  assert_int_equal(mpt_policy_load(path, &again, &error), MPT_OK);
  char *first = text_of(policy), *second = text_of(again);
  assert_string_equal(first, second);
  mpt_policy_free(again);
  again = NULL;
  assert_int_equal(mpt_policy_save(policy, directory, &error), MPT_ERROR_IO);
  assert_int_equal(mpt_policy_load(directory, &again, &error), MPT_ERROR_IO);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mpt_policy_load(path, &again, &error), MPT_ERROR_NOT_FOUND);
  assert_non_null(strstr(error.message, path));
  FILE *file = fopen(path, "w");
  for (int i = 0; i < 5 << 20; i++)
    fputc('[', file);
  fclose(file);
  assert_int_equal(mpt_policy_load(path, &again, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "at most 4194304 are read"));
  assert_null(again);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(directory), 0); /* nothing was left beside it */
  free(first);
  free(second);
  mpt_policy_free(policy);
}

static void the_example_of_the_documentation_is_a_policy(void **state) {
  (void)state;
  static char text[20000];
  FILE *file = fopen(MPTUNE_SOURCE_DIR "/docs/policy.md", "r");
  assert_non_null(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  char *start = strstr(text, "```yaml\n");
  assert_non_null(start);
  start += strlen("```yaml\n");
  *strstr(start, "```") = '\0';
  assert_formats(start, "blocks.7.mlp.fc1", "fp8:delayed/16/0");
  assert_formats(start, "blocks.0.attn.qkv", "fprop=fp8,dgrad=fp8,wgrad=bf16");
}

/* ---- canonical text of one layer ---- */
static void texts_of_layers_are_read_back(void **state) {
  (void)state;
  static const char *const good[] = {"fp8",
                                     "fp32",
                                     "fprop=fp8,dgrad=bf16,wgrad=tf32",
                                     "fp8:delayed/1024/16",
                                     "fprop=fp8(fp8_e4m3*fp8_e5m2),dgrad=fp8,wgrad=fp8:delayed/1/0",
                                     "fprop=fp8+fast,dgrad=fp8,wgrad=fp8",
                                     "fprop=bf16,dgrad=fp8(fp8_e4m3*fp8_e4m3),wgrad=fp16"};
  static const char *const bad[] = {"",
                                    "fp9",
                                    "fp8 ",
                                    "fp8,",
                                    "fp8:delayed",
                                    "fp8:delayed/0/0",
                                    "fp8:delayed/16/17",
                                    "fp8:delayed/016/1",
                                    "bf16:delayed/16/0",
                                    "fprop=fp8",
                                    "fprop=fp8,dgrad=fp8,wgrad=fp8",
                                    "fprop=fp8,wgrad=bf16,dgrad=bf16",
                                    "fprop=fp8(fp8_e5m2*fp8_e5m2),dgrad=fp8,wgrad=fp8",
                                    "fprop=fp8(fp8_e4m3*fp8_e4m3),dgrad=fp8,wgrad=fp8",
                                    "fprop=fp8(bf16*bf16),dgrad=fp8,wgrad=fp8",
                                    "fprop=bf16+fast,dgrad=fp8,wgrad=fp8",
                                    "fp8+fast",
                                    "fprop=fp8(fp8_e4m3*fp8_e4m3)+fast,dgrad=fp8,wgrad=fp8",
                                    "fprop=fp8+fast+fast,dgrad=fp8,wgrad=fp8"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    mpt_layer_policy layer;
    char text[160];
    if (mpt_layer_policy_parse(good[i], &layer, NULL) != MPT_OK)
      fail_msg("'%s' was refused", good[i]);
    mpt_layer_policy_text(&layer, text, sizeof text);
    assert_string_equal(text, good[i]);
    assert_int_equal(layer.rule, -1);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    mpt_layer_policy layer = mpt_layer_policy_of(MPT_PRECISION_FP16), before = layer;
    if (mpt_layer_policy_parse(bad[i], &layer, NULL) != MPT_ERROR_SYNTAX)
      fail_msg("'%s' was taken", bad[i]);
    assert_true(mpt_layer_policy_equal(&layer, &before));
  }
}

static void equal_layers_have_equal_texts(void **state) {
  (void)state;
  unsigned seed = 3;
  mpt_layer_policy made[400];
  char texts[400][160];
  for (int i = 0; i < 400; i++) {
    made[i] = mpt_layer_policy_of(MPT_PRECISION_BF16);
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      mpt_gemm_policy *p = &made[i].gemm[g];
      *p = mpt_gemm_policy_of((mpt_gemm_kind)g,
                              rand_r(&seed) % 2 ? MPT_PRECISION_FP8 : MPT_PRECISION_FP16);
      if (p->precision == MPT_PRECISION_FP8 && rand_r(&seed) % 3 == 0)
        p->operand[0] = MPT_FP8_E4M3, p->accumulate = rand_r(&seed) % 2;
    }
    made[i].scaling = (mpt_scaling){rand_r(&seed) % 2, 1 + rand_r(&seed) % 2, rand_r(&seed) % 2};
    mpt_layer_policy_text(&made[i], texts[i], sizeof texts[i]);
    mpt_layer_policy read;
    assert_int_equal(mpt_layer_policy_parse(texts[i], &read, NULL), MPT_OK);
    assert_true(mpt_layer_policy_equal(&read, &made[i]));
    for (int j = 0; j < i; j++)
      assert_int_equal(mpt_layer_policy_equal(&made[i], &made[j]), strcmp(texts[i], texts[j]) == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_example_is_read_in_every_part),
      cmocka_unit_test(only_schema_and_default_are_required),
      cmocka_unit_test(what_is_not_known_is_refused_at_its_place),
      cmocka_unit_test(operands_of_a_gemm_fit_together),
      cmocka_unit_test(a_gemm_not_named_takes_the_rules_format_then_the_default),
      cmocka_unit_test(the_first_rule_that_matches_wins),
      cmocka_unit_test(scaling_is_checked),
      cmocka_unit_test(the_loss_scale_is_checked),
      cmocka_unit_test(layers_and_results_are_checked),
      cmocka_unit_test(globs_that_readers_take_differently_are_refused),
      cmocka_unit_test(globs_match_as_python_does),
      cmocka_unit_test(globs_match_as_fnmatch_does),
      cmocka_unit_test(a_glob_of_many_stars_takes_no_exponential_time),
      cmocka_unit_test(saving_is_canonical_and_keeps_everything),
      cmocka_unit_test(odd_text_survives_saving),
      cmocka_unit_test(provenance_takes_text_and_refuses_the_rest),
      cmocka_unit_test(files_are_saved_whole_and_loaded_again),
      cmocka_unit_test(the_example_of_the_documentation_is_a_policy),
      cmocka_unit_test(texts_of_layers_are_read_back),
      cmocka_unit_test(equal_layers_have_equal_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
