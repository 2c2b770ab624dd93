/* Names and paths are shown without harm, and nothing of JSON vanishes for one of them. */
#include "base/error.h"
#include "base/json.h"
#include "base/shown.h"
#include "tuner/label.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What turns the direction of a text is what is tested. */
/* NOLINTBEGIN(misc-misleading-bidirectional) */

static void assert_added(void (*add)(mpt_text *, const char *), const char *from,
                         const char *expected) {
  mpt_text text = {0};
  mpt_text_add(&text, "");
  add(&text, from);
  assert_false(text.failed);
  assert_string_equal(text.data, expected);
  mpt_text_free(&text);
}

static void what_moves_the_cursor_is_escaped(void **state) {
  (void)state;
  assert_added(mpt_text_add_shown, "plain ü 漢 😀", "plain ü 漢 😀");
  assert_added(mpt_text_add_shown, "a\nb\tc\r\x1b[31m\x7f\x01", "a\\nb\\tc\\r\\x1b[31m\\x7f\\x01");
  assert_added(mpt_text_add_shown,
               "\xc2\x9b"
               "31m",
               "\\x9b31m"); /* C1: CSI in one character */
  assert_added(mpt_text_add_shown,
               "a\xe2\x80\xae"
               "b\xe2\x80\xa8",
               "a\\u202eb\\u2028");
  assert_added(mpt_text_add_shown, "l\xe4tin", "l\xef\xbf\xbdtin");
  assert_added(mpt_text_add_shown, "cut \xc3", "cut \xef\xbf\xbd"); /* half a character */
  assert_added(mpt_text_add_shown, "", "");
  assert_int_equal(mpt_shown_columns("üü"), 2);
  assert_int_equal(mpt_shown_columns("a\nb\xff"), 5);
  assert_int_equal(mpt_shown_columns("\\"), 1);
}

static void words_are_quoted_for_a_shell(void **state) {
  (void)state;
  static const char *const words[] = {
      "plain-word/of.yaml", "",         "a b",          "a'b", "$(rm -rf .)", "a;b", "new\nline",
      "l\xe4tin",           "tab\t'\\", "\xe2\x80\xae", "-x",  "~",           "!",   "ü"};
  assert_added(mpt_text_add_shell, "net.yaml", "net.yaml");
  assert_added(mpt_text_add_shell, "", "''");
  assert_added(mpt_text_add_shell, "a; touch owned", "'a; touch owned'");
  assert_added(mpt_text_add_shell, "a'b", "'a'\\''b'");
  assert_added(mpt_text_add_shell, "l\xe4tin", "$'l\\344tin'");
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) { /* and a shell reads them back */
    char back[64];
    mpt_text command = {0};
    mpt_text_add(&command, "printf %s ");
    mpt_text_add_shell(&command, words[i]);
    setenv("COMMAND", command.data, 1); /* popen's shell may know no $'...' */
    FILE *shell = popen("bash -c \"$COMMAND\"", "r");
    assert_non_null(shell);
    const size_t length = fread(back, 1, sizeof back - 1, shell);
    assert_int_equal(pclose(shell), 0);
    back[length] = '\0';
    assert_string_equal(back, words[i]);
    for (const char *c = command.data; *c != '\0'; c++)
      assert_true((unsigned char)*c >= ' ');
    assert_true(mpt_utf8_valid(command.data));
    mpt_text_free(&command);
  }
}

static void nothing_is_cut_inside_a_character(void **state) {
  (void)state;
  char small[6];
  assert_int_equal(mpt_utf8_cut("üüü", 3), 2);
  assert_int_equal(mpt_utf8_cut("üüü", 6), 6);
  assert_int_equal(mpt_utf8_cut("\xff\xff", 1), 1);
  mpt_copy_text(small, sizeof small, "ab漢字");
  assert_string_equal(small, "ab漢");
  mpt_error error;
  char name[900] = "x"; /* so that the message ends inside a two-byte character */
  for (int i = 1; i + 2 < (int)sizeof name; i += 2)
    memcpy(name + i, "ü", 3);
  mpt_fail_at(&error, MPT_ERROR_IO, name, 1, 1, "'%s'", name);
  assert_true(mpt_utf8_valid(error.message));
  assert_true(mpt_utf8_valid(error.file));
}

static void json_takes_every_text_and_number(void **state) {
  (void)state;
  char *text = NULL;
  json_t *rows = json_array();
  mpt_json_append(&rows,
                  mpt_json_pack("{s:s,s:f,s:i}", "label", "l\xe4tin\x1b", "seconds", NAN, "n", 3));
  mpt_json_append(&rows, mpt_json_pack("[f,I,b,n,s]", INFINITY, (json_int_t)-1, 1, (char *)NULL));
  json_t *shared = mpt_json_text("twice"), *named = json_object();
  mpt_json_set(&named, "k\xe4", json_true());
  json_t *all = mpt_json_pack("{s: o, s: [O, O], s: o, s: s*, s: o*}", "rows", rows, "both", shared,
                              shared, "named", named, "left", (char *)NULL, "out", (json_t *)NULL);
  assert_int_equal(mpt_json_dump(all, JSON_COMPACT, "a test", &text, NULL), MPT_OK);
  assert_string_equal(text,
                      "{\"rows\":[{\"label\":\"l\xef\xbf\xbdtin\\u001B\",\"seconds\":null,\"n\":3},"
                      "[null,-1,true,null,null]],\"both\":[\"twice\",\"twice\"],"
                      "\"named\":{\"k\xef\xbf\xbd\":true}}");
  assert_int_equal(shared->refcount, 1);
  json_decref(shared);
  free(text);
}

/* What could not be made takes all with it that it would have been a part of. */
static void a_part_that_is_missing_is_reported(void **state) {
  (void)state;
  char *text = NULL;
  mpt_error error = {0};
  json_t *array = json_array(), *kept = mpt_json_text("kept");
  mpt_json_append(&array, json_incref(kept));
  mpt_json_append(&array, NULL);
  assert_null(array);
  mpt_json_append(&array, json_incref(kept));
  assert_null(array);
  json_t *object = json_object();
  mpt_json_set(&object, "a", NULL);
  mpt_json_set(&object, "b", json_incref(kept));
  assert_null(object);
  json_t *packed =
      mpt_json_pack("{s:[o,o],s:o}", "x", NULL, json_incref(kept), "y", json_incref(kept));
  assert_int_equal(kept->refcount, 1);
  assert_int_equal(mpt_json_dump(packed, 0, "the rows", &text, &error), MPT_ERROR_MEMORY);
  assert_string_equal(error.message, "out of memory for the rows (0 bytes)");
  json_decref(kept);
}

static mpt_status parse(const char *text, json_t **json, mpt_error *error) {
  return mpt_json_parse(text, strlen(text), "a note", json, error);
}

static void json_is_read_or_refused_by_its_place(void **state) {
  (void)state;
  json_t *json = NULL;
  mpt_error error = {0};
  assert_int_equal(parse("{\"a\": 1}", &json, &error), MPT_OK);
  json_decref(json);
  assert_int_equal(parse("{\"a\": 1", &json, &error), MPT_ERROR_SYNTAX);
  assert_memory_equal(error.message, "a note is no JSON: line 1", 25);
  assert_int_equal(parse("{\"a\": 1, \"a\": 2}", &json, &error), MPT_ERROR_SYNTAX);
  assert_int_equal(parse("\"\xff\"", &json, &error), MPT_ERROR_SYNTAX);
}

static void two_long_paths_are_two_labels(void **state) {
  (void)state;
  char folder[100], paths[7][200], labels[7][LABEL_SIZE];
  tuner_policy policies[7] = {0};
  memset(folder, 'x', 80), folder[80] = '\0';
  snprintf(paths[0], sizeof paths[0], "mine.yaml");
  snprintf(paths[1], sizeof paths[1], "%s/a.yaml", folder);
  snprintf(paths[2], sizeof paths[2], "%s/b.yaml", folder);
  snprintf(paths[3], sizeof paths[3], "%sy/a.yaml", folder);
  snprintf(paths[4], sizeof paths[4], "mine.yaml"); /* the same again */
  snprintf(paths[5], sizeof paths[5], "%s.yaml", folder);
  strcpy(paths[6], "");
  for (int i = 0; i < 60; i++)
    strcat(paths[6], "ü");
  for (int i = 0; i < 7; i++)
    policies[i].label = paths[i];
  label_paths(policies, 7, labels);
  assert_string_equal(labels[0], "mine.yaml");
  assert_string_equal(labels[1], "…/a.yaml");
  assert_string_equal(labels[2], "…/b.yaml");
  assert_string_equal(labels[3], "…/a.yaml (2)");
  assert_string_equal(labels[4], "mine.yaml");
  assert_int_equal(strlen(labels[5]), LABEL_SIZE - 1);
  assert_string_equal(labels[5] + LABEL_SIZE - 1 - 6, "x.yaml");
  assert_true(mpt_utf8_valid(labels[6]));
  assert_int_equal(mpt_shown_columns(labels[6]), 31);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_moves_the_cursor_is_escaped),
      cmocka_unit_test(words_are_quoted_for_a_shell),
      cmocka_unit_test(nothing_is_cut_inside_a_character),
      cmocka_unit_test(json_takes_every_text_and_number),
      cmocka_unit_test(a_part_that_is_missing_is_reported),
      cmocka_unit_test(json_is_read_or_refused_by_its_place),
      cmocka_unit_test(two_long_paths_are_two_labels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
/* NOLINTEND(misc-misleading-bidirectional) */
