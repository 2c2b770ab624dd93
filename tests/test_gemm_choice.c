/* The file that keeps which algorithms were chosen for products. It needs no GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#ifdef MPTUNE_CUDA
#include "kernels/cuda/gemm.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];

static gemm_choice choice_of(int64_t m, int rank) {
  gemm_choice x;
  memset(&x, 0, sizeof x);
  x.key.m = m;
  x.key.n = 768;
  x.key.format_a = MPT_BF16;
  x.algorithm.data[0] = 0x0123456789abcdefu + (uint64_t)rank;
  x.rank = rank;
  x.seconds = 1e-4 * rank;
  return x;
}

static bool known(int64_t m, gemm_choice *x) {
  *x = choice_of(m, 99);
  return mpt_gemm_choice_read(path, x);
}

static int new_file(void **state) {
  (void)state;
  snprintf(path, sizeof path, "/tmp/mptune-choices-XXXXXX");
  int file = mkstemp(path);
  return file < 0 || close(file) != 0 || unlink(path) != 0;
}

static int remove_file(void **state) {
  (void)state;
  chmod(path, 0600);
  unlink(path);
  return 0;
}

static void what_was_chosen_is_read_again(void **state) {
  (void)state;
  gemm_choice x;
  assert_false(known(1, &x));
  for (int i = 1; i < 20; i++) {
    gemm_choice given = choice_of(i, i);
    mpt_gemm_choice_share(path, &given);
  }
  for (int i = 1; i < 20; i++) {
    gemm_choice expected = choice_of(i, i);
    assert_true(known(i, &x));
    assert_memory_equal(&x, &expected, sizeof x);
  }
  assert_false(known(20, &x));
}

static void the_first_choice_counts(void **state) {
  (void)state;
  gemm_choice first = choice_of(5, 1), second = choice_of(5, 2);
  mpt_gemm_choice_share(path, &first);
  mpt_gemm_choice_share(path, &second);
  assert_int_equal(first.rank, 1);
  assert_int_equal(second.rank, 1);
  assert_memory_equal(&first, &second, sizeof first);
}

enum { THREADS = 8, PRODUCTS = 50 };

static void *choose_all(void *chosen) {
  for (int i = 0; i < PRODUCTS; i++) {
    gemm_choice *x = (gemm_choice *)chosen + i;
    mpt_gemm_choice_share(path, x);
  }
  return NULL;
}

static void all_who_choose_at_once_agree(void **state) {
  (void)state;
  static gemm_choice chosen[THREADS][PRODUCTS];
  pthread_t threads[THREADS];
  for (int t = 0; t < THREADS; t++) {
    for (int i = 0; i < PRODUCTS; i++)
      chosen[t][i] = choice_of(i, t);
    assert_int_equal(pthread_create(&threads[t], NULL, choose_all, chosen[t]), 0);
  }
  for (int t = 0; t < THREADS; t++)
    assert_int_equal(pthread_join(threads[t], NULL), 0);
  for (int i = 0; i < PRODUCTS; i++) {
    gemm_choice x;
    assert_true(known(i, &x));
    for (int t = 0; t < THREADS; t++)
      assert_memory_equal(&chosen[t][i], &x, sizeof x);
  }
}

static void damaged_lines_are_passed_over(void **state) {
  (void)state;
  gemm_choice first = choice_of(1, 1), second = choice_of(2, 2), x;
  mpt_gemm_choice_share(path, &first);
  mpt_gemm_choice_share(path, &second);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  for (off_t at = 0; at < info.st_size / 2; at++) { /* any digit of the first */
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int was = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(was == '0' ? '1' : was == ' ' ? 'x' : was == '\n' ? ' ' : '0', file);
    fclose(file);
    assert_false(known(1, &x));
    assert_true(was == '\n' || known(2, &x));
    file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    fputc(was, file);
    fclose(file);
    assert_true(known(1, &x));
  }
}

static void a_line_cut_short_spoils_no_other(void **state) {
  (void)state;
  gemm_choice first = choice_of(1, 1), second = choice_of(2, 2), third = choice_of(3, 3), x;
  mpt_gemm_choice_share(path, &first);
  mpt_gemm_choice_share(path, &second);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(truncate(path, info.st_size - 7), 0);
  assert_true(known(1, &x));
  assert_false(known(2, &x));
  mpt_gemm_choice_share(path, &third);
  mpt_gemm_choice_share(path, &second);
  assert_true(known(1, &x) && known(2, &x) && known(3, &x));
}

static void a_file_of_something_else_is_ignored(void **state) {
  (void)state;
  gemm_choice given = choice_of(1, 1), x;
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  for (int i = 0; i < 4096; i++)
    fputc(i & 255, file);
  fclose(file);
  assert_false(known(1, &x));
  mpt_gemm_choice_share(path, &given);
  assert_true(known(1, &x));
}

static void without_a_file_nothing_is_wrong(void **state) {
  (void)state;
  gemm_choice given = choice_of(1, 1), expected = given;
  mpt_gemm_choice_share("/nonexistent/choices", &given);
  assert_memory_equal(&given, &expected, sizeof given);
  assert_false(mpt_gemm_choice_read("/nonexistent/choices", &given));
  assert_false(mpt_gemm_choice_read("/tmp", &given)); /* a folder */
}

#define CHOICE_TEST(name) cmocka_unit_test_setup_teardown(name, new_file, remove_file)

int main(void) {
  const struct CMUnitTest tests[] = {
      CHOICE_TEST(what_was_chosen_is_read_again),
      CHOICE_TEST(the_first_choice_counts),
      CHOICE_TEST(all_who_choose_at_once_agree),
      CHOICE_TEST(damaged_lines_are_passed_over),
      CHOICE_TEST(a_line_cut_short_spoils_no_other),
      CHOICE_TEST(a_file_of_something_else_is_ignored),
      CHOICE_TEST(without_a_file_nothing_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
  print_message("skipped: this build has no cuda backend\n");
  return 0;
}
#endif
