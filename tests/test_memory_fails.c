/* One allocation after the other fails, of this program and of the libraries that it uses: whoever
 * meets it says so, and nothing that is left out of a result is taken for the result. A slice of
 * all allocations, or with MPTUNE_EVERY=1 every one of them. */
#include "base/json.h"
#include "base/progress.h"
#include "report/report.h"
#include "tiny_search.h"
#include <errno.h>
#include <gsl/gsl_errno.h>
#include <stdatomic.h>
#include <stdint.h>

static atomic_long allocations, fails_at; /* counted from 1; 0: none fails */

#ifndef __SANITIZE_ADDRESS__ /* which replaces malloc itself */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nmemb, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool fails(void) {
  if (atomic_fetch_add(&allocations, 1) + 1 != atomic_load(&fails_at))
    return false;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size) {
  return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t nmemb, size_t size) {
  return fails() ? NULL : __libc_calloc(nmemb, size);
}
void *realloc(void *ptr, size_t size) {
  return fails() ? NULL : __libc_realloc(ptr, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **memptr, size_t alignment, size_t size) {
  *memptr = fails() ? NULL : __libc_memalign(alignment, size);
  return *memptr == NULL ? ENOMEM : 0;
}
#endif

static long step_of(long usual) {
  const char *every = getenv("MPTUNE_EVERY");
  return every == NULL ? usual : atol(every);
}

/* From the next allocation on: the `n`-th fails. */
static void arm(long n) {
  atomic_store(&allocations, 0);
  atomic_store(&fails_at, n);
}

static long disarm(void) {
  atomic_store(&fails_at, 0);
  return atomic_load(&allocations);
}

static workload *begin(const char *directory, const char *name, tuner_options *options,
                       char run[600]) {
  gsl_set_error_handler_off(); /* as the command does */
  mpt_json_watch_memory();
  mpt_log_configure(0, MPT_COLOR_NEVER);
  *options = options_in(directory, name, run);
  return tiny(directory, MLP ADAM LARGE);
}

static void a_report_is_whole_or_an_error(void **state) {
  char run[600];
  tuner_options options;
  workload *w = begin(*state, "run", &options, run);
  tuner_summary summary = tune(w, &options);
  tuner_summary_clear(&summary);
  for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++) {
    mpt_error error = {0};
    char *whole = NULL;
    arm(0);
    assert_int_equal(report_text(run, (report_kind)kind, &whole, &error), MPT_OK);
    const long count = disarm();
#ifndef __SANITIZE_ADDRESS__
    assert_true(count > 100); /* they are counted */
#endif
    for (long n = 1; n <= count; n += step_of(61)) {
      char *text = NULL;
      error = (mpt_error){0};
      arm(n);
      const mpt_status status = report_text(run, (report_kind)kind, &text, &error);
      disarm();
      if (status == MPT_OK) /* some library did without */
        assert_string_equal(text, whole);
      else if (status != MPT_ERROR_MEMORY || strstr(error.message, "out of memory") == NULL)
        fail_msg("allocation %ld of report %d: %s, '%s'", n, kind, mpt_status_name(status),
                 error.message);
      free(text);
    }
    free(whole);
  }
  workload_free(w);
}

/* What a search has written down when it ends so is right, too: the same command comes to the same
 * policy. */
static void a_search_ends_with_an_error_and_continues(void **state) {
  char run[600], name[32];
  tuner_options options;
  workload *w = begin(*state, "whole", &options, run);
  arm(0);
  tuner_summary whole = tune(w, &options);
  const long count = disarm();
  for (long n = 1, i = 0; n <= count; n += step_of(count / 60 + 1), i++) {
    tuner_summary summary = {0};
    mpt_error error = {0};
    snprintf(name, sizeof name, "run %ld", i);
    options = options_in(*state, name, run);
    arm(n);
    mpt_status status = tuner_run(w, &options, &summary, &error);
    disarm();
    if (status != MPT_OK && status != MPT_ERROR_MEMORY)
      fail_msg("allocation %ld: %s, '%s'", n, mpt_status_name(status), error.message);
    if (status != MPT_OK && strstr(error.message, "out of memory") == NULL)
      fail_msg("allocation %ld: '%s'", n, error.message);
    if (status != MPT_OK)
      summary = tune(w, &options);
    assert_string_equal(summary.message, whole.message);
    assert_int_equal(summary.row_count, whole.row_count);
    for (int r = 0; r < whole.row_count; r++)
      if (isfinite(whole.rows[r].seen.worse))
        assert_true(summary.rows[r].seen.worse == whole.rows[r].seen.worse);
    tuner_summary_clear(&summary);
    fixture_clear(run);
  }
  tuner_summary_clear(&whole);
  workload_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_in_memory, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_report_is_whole_or_an_error),
      TEST(a_search_ends_with_an_error_and_continues),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
