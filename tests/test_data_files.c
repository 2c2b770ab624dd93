/* Which files a path or pattern of a data section stands for. */
#include "data/source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PACKAGE "mptune-test-package"

static char folder[64], root[128];

static void put(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(name, file);
  fclose(file);
}

/* The names found, relative to `under`, with a blank behind each. */
static void assert_found(const char *package, const char *under, const char *pattern,
                         const char *names) {
  data_spec spec = data_spec_default(DATA_BYTES);
  file_list files = {0};
  mpt_error error = {.message = ""};
  char whole[256], found[512] = "";
  strcpy(spec.package, package);
  snprintf(whole, sizeof whole, "%s%s%s", *package == '\0' ? under : "",
           *package == '\0' ? "/" : "", pattern);
  if (files_find(&spec, whole, &files, &error) != MPT_OK)
    fail_msg("%s: %s: %s", pattern, error.file, error.message);
  for (int i = 0; i < files.count; i++) {
    assert_int_equal(strncmp(files.paths[i], under, strlen(under)), 0);
    strcat(strcat(found, files.paths[i] + strlen(under) + 1), " ");
  }
  assert_string_equal(found, names);
  files_free(&files);
}

static void refused(const char *package, const char *pattern, mpt_status wanted, const char *says) {
  data_spec spec = data_spec_default(DATA_BYTES);
  file_list files = {0};
  mpt_error error = {.message = ""};
  strcpy(spec.package, package);
  mpt_status status = files_find(&spec, pattern, &files, &error);
  if (status != wanted || strstr(error.message, says) == NULL)
    fail_msg("%s: wanted %s '%s', got %s '%s'", pattern, mpt_status_name(wanted), says,
             mpt_status_name(status), error.message);
  assert_int_equal(files.count, 0);
}

static void a_name_that_is_there_is_no_pattern(void **state) {
  (void)state;
  put("a[1].txt");
  put("a1.txt");
  assert_found("", folder, "a[1].txt", "a[1].txt ");
  assert_found("", folder, "a[12].txt", "a1.txt ");
  assert_found("", folder, "a*.txt", "a1.txt a[1].txt ");
  put("b?.txt");
  put("bc.txt");
  assert_found("", folder, "b?.txt", "b?.txt ");
  put("*");
  assert_found("", folder, "*", "* ");
  char name[128];
  snprintf(name, sizeof name, "%s/none[1].txt", folder);
  refused("", name, MPT_ERROR_NOT_FOUND, "no file");
}

static void a_pattern_stays_below_the_root_of_its_package(void **state) {
  (void)state;
  char path[256];
  assert_found(PACKAGE, root, "usr/share/*.txt", "usr/share/1..2.txt usr/share/a.txt ");
  assert_found(PACKAGE, root, "usr/link/a.txt", "usr/link/a.txt "); /* a link within */
  const char *const out[] = {
      ".?/secret",  ".[.]/secret", "usr/.?/.?/secret", "usr/*/.[.]/.[.]/.?/secret",
      "usr/secret", "usr/sec*",    "usr/up/secret",    "usr/u*/secret"};
  for (size_t i = 0; i < sizeof out / sizeof *out; i++)
    refused(PACKAGE, out[i], MPT_ERROR_ARGUMENT, "outside of the package's root");
  /* Another folder whose name begins as the root's does is outside too. */
  refused(PACKAGE, "usr/twin/a.txt", MPT_ERROR_ARGUMENT, "outside of the package's root");
  snprintf(path, sizeof path, "%s/usr/dead", root);
  assert_int_equal(symlink("nowhere", path), 0);
  refused(PACKAGE, "usr/de*", MPT_ERROR_NOT_FOUND, "leads nowhere");
}

static int set_up(void **state) {
  (void)state;
  char command[1024];
  strcpy(folder, "/tmp/mptune-files-XXXXXX");
  if (mkdtemp(folder) == NULL)
    return 1;
  snprintf(root, sizeof root, "%s/packages/%s", folder, PACKAGE);
  snprintf(
      command, sizeof command,
      "mkdir -p %s/usr/share %s2 && cd %s && echo a >usr/share/a.txt && echo b "
      ">usr/share/1..2.txt && echo s >../secret && echo t >../%s2/a.txt && ln -s share usr/link "
      "&& ln -s ../../secret usr/secret && ln -s ../.. usr/up && ln -s ../../%s2 usr/twin",
      root, root, root, PACKAGE, PACKAGE);
  setenv("MPTUNE_CACHE", folder, 1);
  return system(command);
}

static int tear_down(void **state) {
  (void)state;
  char command[128];
  sprintf(command, "rm -r %s", folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_that_is_there_is_no_pattern),
      cmocka_unit_test(a_pattern_stays_below_the_root_of_its_package),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
