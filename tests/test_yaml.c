/* Strict YAML: what is refused, where, and what typed reading takes. */
#include "base/clock.h"
#include "base/file.h"
#include "base/yaml.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEPTH 16

static mpt_yaml *parse(const char *text) {
  mpt_yaml *yaml = NULL;
  mpt_error error = {0};
  if (mpt_yaml_parse(text, strlen(text), "test.yaml", DEPTH, &yaml, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return yaml;
}

static void refuse_bytes(const char *text, size_t length, int line, int column, const char *part) {
  mpt_yaml *yaml = NULL;
  mpt_error error = {0};
  assert_int_equal(mpt_yaml_parse(text, length, "test.yaml", DEPTH, &yaml, &error),
                   MPT_ERROR_SYNTAX);
  assert_null(yaml);
  assert_string_equal(error.file, "test.yaml");
  if (strstr(error.message, part) == NULL)
    fail_msg("'%s' is not in '%s'", part, error.message);
  if (line > 0 && (error.line != line || error.column != column))
    fail_msg("at %d:%d, expected %d:%d: %s", error.line, error.column, line, column, error.message);
}

static void refuse(const char *text, int line, int column, const char *part) {
  refuse_bytes(text, strlen(text), line, column, part);
}

static void a_tree_has_kinds_order_and_places(void **state) {
  (void)state;
  mpt_yaml *yaml = parse("# comment\nb: 1\na: [x, \"2\", ~]\nc: {d: }\n");
  const mpt_yaml_node *root = mpt_yaml_root(yaml);
  assert_int_equal(root->kind, MPT_YAML_MAP);
  assert_int_equal(root->count, 3);
  assert_string_equal(root->keys[0]->scalar, "b");
  assert_int_equal(root->keys[1]->line, 3);
  const mpt_yaml_node *list = mpt_yaml_get(root, "a");
  assert_int_equal(list->kind, MPT_YAML_LIST);
  assert_int_equal(list->count, 3);
  assert_int_equal(list->items[1]->line, 3);
  assert_int_equal(list->items[1]->column, 8);
  assert_true(list->items[1]->quoted && !list->items[0]->quoted);
  assert_string_equal(list->items[2]->scalar, "");
  assert_string_equal(mpt_yaml_get(mpt_yaml_get(root, "c"), "d")->scalar, "");
  assert_null(mpt_yaml_get(root, "absent"));
  assert_null(mpt_yaml_get(list, "b"));
  assert_null(mpt_yaml_get(NULL, "b"));
  mpt_yaml_free(yaml);
  mpt_yaml_free(NULL);
}

static void what_makes_two_texts_of_one_tree_is_refused(void **state) {
  (void)state;
  refuse("a: &x 1\n", 1, 4, "anchors");
  refuse("a: &x [1]\n", 1, 4, "anchors");
  refuse("a: *x\n", 1, 4, "aliases");
  refuse("a: !!str 1\n", 1, 4, "tags");
  refuse("a: !mine {b: 1}\n", 1, 4, "tags");
  refuse("a: 1\n---\nb: 2\n", 2, 1, "several documents");
  refuse("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key 'a' (first on line 1)");
  refuse("{a: 1, 'a': 2}", 1, 8, "duplicate key 'a'");
  refuse("? [a]\n: 1\n", 1, 3, "key must be");
  refuse("<<: {a: 1}\n<<: {b: 1}\n", 2, 1, "duplicate");
  refuse("a: \"x\\0y\"\n", 1, 4, "NUL");
}

static void what_is_not_yaml_is_refused(void **state) {
  (void)state;
  refuse("", 0, 0, "empty");
  refuse("# only a comment\n", 0, 0, "empty");
  refuse("---\n...\n---\na: 1\n", 0, 0, "several documents");
  refuse("a: [1, 2\n", 0, 0, "not YAML");
  refuse("a: \"no end\n", 0, 0, "not YAML");
  refuse("a: 1\n b: 2\n", 0, 0, "not YAML");
  refuse("a: }\n", 0, 0, "not YAML");
  refuse("\ta: 1\n", 0, 0, "not YAML");
  refuse_bytes("a: \xff\n", 5, 1, 4, "not YAML");
  refuse_bytes("a: 1\n\xc3\xa9: \xff\n", 12, 2, 4, "not YAML");
  refuse_bytes("a: \xc3", 4, 0, 0, "not YAML");
  refuse_bytes("a: \xed\xa0\x80\n", 7, 0, 0, "not YAML"); /* a lone surrogate */
  refuse_bytes("a: \0b\n", 6, 0, 0, "not YAML");
  refuse_bytes("\xff\xfe"
               "a\0:\0 \0"
               "1\0",
               10, 0, 0, "not YAML"); /* UTF-16 */
}

static void utf8_and_its_mark_are_taken(void **state) {
  (void)state;
  mpt_yaml *yaml = parse("\xef\xbb\xbf"
                         "a: \xc3\xa9\n");
  assert_string_equal(mpt_yaml_get(mpt_yaml_root(yaml), "a")->scalar, "\xc3\xa9");
  mpt_yaml_free(yaml);
  /* libyaml takes the mark for a column: the second key would stand left of the first. */
  yaml = parse("\xef\xbb\xbf"
               "a: 1\nb: 2\n");
  assert_int_equal(mpt_yaml_root(yaml)->count, 2);
  assert_int_equal(mpt_yaml_root(yaml)->keys[0]->column, 1);
  mpt_yaml_free(yaml);
  refuse("\xef\xbb\xbf", 0, 0, "the file is empty");
  refuse("\xef\xbb\xbf"
         "a: \xff\n",
         1, 4, "not YAML");
}

static char *repeated(const char *text, size_t count) {
  const size_t length = strlen(text);
  char *all = malloc(length * count + 1);
  assert_non_null(all);
  for (size_t i = 0; i < count; i++)
    memcpy(all + i * length, text, length);
  all[length * count] = '\0';
  return all;
}

static void nesting_is_capped(void **state) {
  (void)state;
  char *open = repeated("[", DEPTH), *close = repeated("]", DEPTH);
  char text[4 * DEPTH];
  snprintf(text, sizeof text, "%s%s", open, close);
  mpt_yaml_free(parse(text));
  snprintf(text, sizeof text, "[%s%s]", open, close);
  refuse(text, 1, DEPTH + 1, "nested too deeply");
  free(open);
  free(close);
  const char *const bombs[] = {"[", "{a: ", "- ", "? "};
  for (int i = 0; i < 4; i++) {
    char *bomb = repeated(bombs[i], 1000000);
    const double start = mpt_clock_seconds();
    refuse(bomb, 0, 0, "");
    assert_true(mpt_clock_seconds() - start < 2.0);
    free(bomb);
  }
}

static void an_alias_bomb_is_refused_at_its_first_anchor(void **state) {
  (void)state;
  refuse("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
         "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n",
         1, 4, "anchors");
}

static void many_keys_take_no_quadratic_time(void **state) {
  (void)state;
  const size_t count = 200000;
  char *text = malloc(16 * count);
  assert_non_null(text);
  size_t length = 0;
  for (size_t i = 0; i < count; i++)
    length += (size_t)sprintf(text + length, "k%zu: 1\n", i);
  const double start = mpt_clock_seconds();
  mpt_yaml_free(parse(text));
  sprintf(text + length, "k7: 2\n");
  refuse(text, (int)count + 1, 1, "duplicate key 'k7' (first on line 8)");
  free(text);
  assert_true(mpt_clock_seconds() - start < 20.0);
}

static void files_that_cannot_be_read_say_why(void **state) {
  (void)state;
  mpt_yaml *yaml = NULL;
  mpt_error error;
  char directory[] = "/tmp/test_yaml.XXXXXX", path[64];
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/file", directory);
  assert_int_equal(mpt_yaml_load(path, 1000, DEPTH, &yaml, &error), MPT_ERROR_NOT_FOUND);
  assert_non_null(strstr(error.message, path));
  assert_int_equal(mpt_yaml_load(directory, 1000, DEPTH, &yaml, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "directory"));
  /* 100 MB of nesting: refused by its size, unread. */
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("[[[[[[[[", file);
  assert_int_equal(ftruncate(fileno(file), 100000000), 0);
  fclose(file);
  const double start = mpt_clock_seconds();
  assert_int_equal(mpt_yaml_load(path, 4 << 20, DEPTH, &yaml, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "has 100000000 bytes; at most 4194304 are read"));
  assert_true(mpt_clock_seconds() - start < 0.1);
  assert_int_equal(truncate(path, 0), 0);
  assert_int_equal(mpt_yaml_load(path, 1000, DEPTH, &yaml, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.file, path);
  assert_int_equal(mpt_yaml_load("/proc/self/mem", 1000, DEPTH, &yaml, &error), MPT_ERROR_IO);
  if (geteuid() != 0) {
    chmod(path, 0);
    assert_int_equal(mpt_yaml_load(path, 1000, DEPTH, &yaml, &error), MPT_ERROR_IO);
    assert_non_null(strstr(error.message, "ermission"));
  }
  assert_null(yaml);
  unlink(path);
  rmdir(directory);
}

static void keys_are_checked_with_a_hint(void **state) {
  (void)state;
  static const char *const known[] = {"format", "layers"};
  mpt_error error;
  mpt_yaml *yaml = parse("layers: 1\nx-mine: 2\nformt: 3\n");
  assert_int_equal(mpt_yaml_check_keys(mpt_yaml_root(yaml), "a rule", known, 2, &error),
                   MPT_ERROR_SYNTAX);
  assert_string_equal(error.message, "unknown key 'formt' in a rule; did you mean 'format'?");
  assert_int_equal(error.line, 3);
  mpt_yaml_free(yaml);
  yaml = parse("nothing-near: 1\n");
  assert_int_equal(mpt_yaml_check_keys(mpt_yaml_root(yaml), "a rule", known, 2, &error),
                   MPT_ERROR_SYNTAX);
  assert_string_equal(error.message,
                      "unknown key 'nothing-near' in a rule (known: format, layers)");
  mpt_yaml_free(yaml);
  yaml = parse("[1]");
  assert_int_equal(mpt_yaml_check_keys(mpt_yaml_root(yaml), "a rule", known, 2, &error),
                   MPT_ERROR_SYNTAX);
  mpt_yaml_free(yaml);
}

static bool number_of(const char *text, double *value) {
  mpt_yaml *yaml = parse(text);
  mpt_status status = mpt_yaml_number(mpt_yaml_root(yaml), "it", -1e9, 1e9, value, NULL);
  mpt_yaml_free(yaml);
  return status == MPT_OK;
}

static void numbers_are_decimal_and_finite(void **state) {
  (void)state;
  static const struct {
    const char *text;
    double value;
  } good[] = {{"1", 1},     {"1e3", 1000}, {"1.0e+03", 1000},  {"1E3", 1000},
              {"-.5", -.5}, {"+2", 2},     {"5.", 5},          {"1e-3", 1e-3},
              {"0", 0},     {"1e-400", 0}, {"1.25e-02", .0125}};
  static const char *const bad[] = {
      "nan",   ".nan",   "NaN", "inf",   ".inf",  "-.inf", "infinity", "0x10",   "0x1p3", "1e",
      "e5",    "1e+",    "--1", "1_000", "\"1\"", "'1'",   "[1]",      "{a: 1}", "~",     "1 2",
      "1e999", "-1e999", "2e9", "-2e9",  ".",     "true",  "1,5",      "1e3.5"};
  double value;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    if (!number_of(good[i].text, &value) || value != good[i].value)
      fail_msg("'%s' was not read", good[i].text);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (number_of(bad[i], &value))
      fail_msg("'%s' was taken for %g", bad[i], value);
}

static void integers_are_whole_and_in_range(void **state) {
  (void)state;
  static const char *const bad[] = {"1.0",
                                    "1e3",
                                    "0x10",
                                    "\"7\"",
                                    "7_0",
                                    "",
                                    "~",
                                    "11",
                                    "-1",
                                    "99999999999999999999",
                                    "-99999999999999999999",
                                    "7 7",
                                    "[7]"};
  int64_t value = 5;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char text[64];
    snprintf(text, sizeof text, "a: %s", bad[i]);
    mpt_yaml *yaml = parse(text);
    const mpt_yaml_node *node = mpt_yaml_get(mpt_yaml_root(yaml), "a");
    mpt_error error;
    if (mpt_yaml_integer(node, "it", 0, 10, &value, &error) != MPT_ERROR_SYNTAX)
      fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(error.line, 1);
    assert_int_equal(value, 5);
    mpt_yaml_free(yaml);
  }
  mpt_yaml *yaml = parse("9223372036854775807");
  assert_int_equal(mpt_yaml_integer(mpt_yaml_root(yaml), "it", INT64_MIN, INT64_MAX, &value, NULL),
                   MPT_OK);
  assert_true(value == INT64_MAX);
  mpt_yaml_free(yaml);
}

static void booleans_are_true_and_false_only(void **state) {
  (void)state;
  static const char *const words[] = {"true", "false", "True", "yes", "on", "1", "\"true\"", "[]"};
  for (int i = 0; i < 8; i++) {
    mpt_yaml *yaml = parse(words[i]);
    bool value = i != 0;
    mpt_status status = mpt_yaml_boolean(mpt_yaml_root(yaml), "it", &value, NULL);
    assert_int_equal(status, i < 2 ? MPT_OK : MPT_ERROR_SYNTAX);
    assert_true(i >= 2 || value == (i == 0));
    mpt_yaml_free(yaml);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_tree_has_kinds_order_and_places),
      cmocka_unit_test(what_makes_two_texts_of_one_tree_is_refused),
      cmocka_unit_test(what_is_not_yaml_is_refused),
      cmocka_unit_test(utf8_and_its_mark_are_taken),
      cmocka_unit_test(nesting_is_capped),
      cmocka_unit_test(an_alias_bomb_is_refused_at_its_first_anchor),
      cmocka_unit_test(many_keys_take_no_quadratic_time),
      cmocka_unit_test(files_that_cannot_be_read_say_why),
      cmocka_unit_test(keys_are_checked_with_a_hint),
      cmocka_unit_test(numbers_are_decimal_and_finite),
      cmocka_unit_test(integers_are_whole_and_in_range),
      cmocka_unit_test(booleans_are_true_and_false_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
