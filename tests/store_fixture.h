/* A directory for a test's run, and numbers to fill a store with. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include "store/store.h"
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static inline int fixture_remove(const char *path, const struct stat *about, int kind,
                                 struct FTW *where) {
  (void)about, (void)kind, (void)where;
  return remove(path);
}

static inline void fixture_clear(const char *directory) {
  nftw(directory, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int fixture_setup(void **state) {
  char *directory = strdup("/tmp/mptune-store-XXXXXX");
  assert_non_null(mkdtemp(directory));
  assert_int_equal(chmod(directory, 0755), 0);
  *state = directory;
  return 0;
}

/* In memory where there is such a place: many small runs would wait for a disk. */
static inline int fixture_setup_in_memory(void **state) {
  if (access("/dev/shm", W_OK | X_OK) != 0)
    return fixture_setup(state);
  char *directory = strdup("/dev/shm/mptune-store-XXXXXX");
  assert_non_null(mkdtemp(directory));
  *state = directory;
  return 0;
}

static inline int fixture_teardown(void **state) {
  fixture_clear(*state);
  free(*state);
  return 0;
}

static inline store *fixture_open(const char *directory, store_access access) {
  store *s = NULL;
  mpt_error error = {0};
  if (store_open(directory, access, &s, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return s;
}

/* The status of opening, and its message. */
static inline mpt_status fixture_refused(const char *directory, store_access access,
                                         mpt_error *error) {
  store *s = NULL;
  *error = (mpt_error){0};
  mpt_status status = store_open(directory, access, &s, error);
  assert_int_not_equal(status, MPT_OK);
  assert_null(s);
  return status;
}

static inline void fixture_contains(const mpt_error *error, const char *words) {
  if (strstr(error->message, words) == NULL)
    fail_msg("'%s' is not in '%s'", words, error->message);
}

#endif
