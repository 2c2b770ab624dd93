/* Damaged policy files: each is loaded whole or refused with a place; what is loaded can be saved,
 * loaded and saved again with the same bytes. Run under the sanitizers too. */
#include "mptune/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRIALS 20000
#define MOST   4096

static const char whole[] =
    "schema: mptune/policy@1\nname: net\ndefault: bf16\nrules:\n"
    "  - layers: [\"blocks.*.mlp.fc1\", 'b[0-3]?', \"\\x41\"]\n    format: fp8\n"
    "    scaling: {mode: delayed, history: 4, margin: 1}\n    x-note: {a: [1, two]}\n"
    "  - layers: [\"head\"]\n    fprop: fp8\n"
    "    dgrad: {grad_output: fp8_e5m2, weight: fp8_e4m3, accumulate: fast}\n    fallback: fp32\n"
    "loss_scale: {mode: static, initial: 1.024e+03}\nlayers:\n"
    "  - {name: blocks.0.mlp.fc1, kind: linear, shape: [64, 32], rows: 8}\n"
    "  - {name: head, kind: linear}\nprovenance:\n  tool: \"mptune\"\n  deep: {k: [v, {w: ~}]}\n"
    "  result: {verdict: fail, worse_by: 1.0e-03, time: predicted, steps: 7, more: x}\nx-end: |\n"
    "  text\n  of lines\n";

static const char *const pieces[] = {
    "fp8",          "fp9",         ": ",     "\n",         "- ", "[",      "]",     "{",  "}",
    "\"",           "'",           "#",      "&a ",        "*a", "!!str ", "---\n", "*",  "?",
    "[^",           "[!a]",        "1e999",  ".nan",       "-1", "0x10",   "~",     "\t", "\xff",
    "\xe2\x80\xa8", "\\u0000",     "layers", "format",     "x-", "result", "? ",    "| ", ">-\n",
    "<<: ",         "%YAML 1.1\n", "\r",     "99999999999"};

static size_t cut(char *text, size_t length, size_t from, size_t count) {
  memmove(text + from, text + from + count, length - from - count);
  return length - count;
}

static size_t insert(char *text, size_t length, size_t at, const char *bytes, size_t count) {
  if (length + count > MOST)
    return length;
  memmove(text + at + count, text + at, length - at);
  memcpy(text + at, bytes, count);
  return length + count;
}

static size_t damage(char *text, size_t length, unsigned *seed) {
  char copied[64];
  const size_t at = length == 0 ? 0 : (size_t)rand_r(seed) % length;
  const size_t rest = length - at, some = (size_t)rand_r(seed) % sizeof copied;
  const size_t count = some < rest ? some : rest;
  switch (rand_r(seed) % 6) {
  case 0:
    if (length > 0)
      text[at] = (char)(rand_r(seed) % 256);
    return length;
  case 1:
    return cut(text, length, at, count);
  case 2: /* a piece of it elsewhere */
    memcpy(copied, text + at, count);
    return insert(text, length, (size_t)rand_r(seed) % (length + 1), copied, count);
  case 3:
    return rand_r(seed) % 8 == 0 ? at : length; /* truncated */
  default: {
    const char *piece = pieces[(size_t)rand_r(seed) % (sizeof pieces / sizeof pieces[0])];
    return insert(text, length, at, piece, strlen(piece));
  }
  }
}

static void try_resolving(const mpt_policy *policy) {
  static const mpt_layer_info layers[] = {{.name = "blocks.0.mlp.fc1", .kind = "linear"},
                                          {.name = "head", .kind = "attention"},
                                          {.name = "b10", .kind = ""}};
  mpt_layer_policy formats[3];
  mpt_resolve_options options = mpt_resolve_options_default();
  options.strict = false;
  options.force = true;
  assert_int_equal(mpt_policy_resolve(policy, layers, 3, &options, formats, NULL), MPT_OK);
  for (int i = 0; i < 3; i++) {
    mpt_layer_policy read;
    char text[160];
    mpt_layer_policy_text(&formats[i], text, sizeof text);
    assert_int_equal(mpt_layer_policy_parse(text, &read, NULL), MPT_OK);
    assert_true(mpt_layer_policy_equal(&read, &formats[i]));
  }
}

static void assert_saving_is_stable(const mpt_policy *policy) {
  char *first = NULL, *second = NULL;
  mpt_policy *again = NULL;
  mpt_error error = {0};
  assert_int_equal(mpt_policy_text(policy, &first, NULL), MPT_OK);
  if (mpt_policy_parse(first, strlen(first), "again", &again, &error) != MPT_OK)
    fail_msg("%d:%d: %s in\n%s", error.line, error.column, error.message, first);
  assert_int_equal(mpt_policy_text(again, &second, NULL), MPT_OK);
  assert_string_equal(first, second);
  free(first);
  free(second);
  mpt_policy_free(again);
}

static void damaged_files_are_taken_whole_or_refused(void **state) {
  (void)state;
  static char text[MOST + 1];
  unsigned seed = 20;
  int taken = 0;
  for (int trial = 0; trial < TRIALS; trial++) {
    size_t length = strlen(whole);
    memcpy(text, whole, length);
    for (int changes = rand_r(&seed) % 4; changes >= 0; changes--)
      length = damage(text, length, &seed);
    /* In a block of its own size, so that reading past its end is seen. */
    char *exact = malloc(length + 1);
    memcpy(exact, text, length);
    mpt_policy *policy = NULL;
    mpt_error error = {0};
    mpt_status status = mpt_policy_parse(exact, length, "damaged", &policy, &error);
    free(exact);
    if (status != MPT_OK) {
      assert_null(policy);
      assert_true(status == MPT_ERROR_SYNTAX || status == MPT_ERROR_VERSION);
      assert_string_equal(error.file, "damaged");
      assert_true(error.message[0] != '\0');
      continue;
    }
    taken++;
    assert_saving_is_stable(policy);
    try_resolving(policy);
    mpt_policy_free(policy);
  }
  assert_in_range(taken, TRIALS / 50, TRIALS - TRIALS / 50);
}

static void a_file_cut_anywhere_is_taken_whole_or_refused(void **state) {
  (void)state;
  for (size_t length = 0; length <= strlen(whole); length++) {
    char *exact = malloc(length + 1);
    memcpy(exact, whole, length);
    mpt_policy *policy = NULL;
    if (mpt_policy_parse(exact, length, "cut", &policy, NULL) == MPT_OK)
      assert_saving_is_stable(policy);
    mpt_policy_free(policy);
    free(exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_files_are_taken_whole_or_refused),
      cmocka_unit_test(a_file_cut_anywhere_is_taken_whole_or_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
