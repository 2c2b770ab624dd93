/* Text, files, random numbers and the command's messages. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/median.h"
#include "base/number.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/shape_text.h"
#include "base/text.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pty.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void shapes_are_shown_as_lists(void **state) {
  (void)state;
  const int64_t shape[] = {64, 3, 28, 7}, wide[] = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
  assert_string_equal(mpt_shape_print(NULL, 4, shape).text, "[64, 3, 28, 7]");
  assert_string_equal(mpt_shape_print("batch", 2, shape).text, "[batch, 3]");
  assert_string_equal(mpt_shape_print(NULL, 0, shape).text, "[]");
  assert_string_equal(mpt_shape_print(NULL, 4, wide).text,
                      "[-9223372036854775808, -9223372036854775808, -9223372036854775808, "
                      "-9223372036854775808]");
}

static void half_of_the_values_lie_below_the_median(void **state) {
  (void)state;
  double odd[] = {3, -1, INFINITY, 0.5, 2}, even[] = {4, 1, 1e300, -2}, one[] = {7};
  assert_true(isnan(mpt_median(one, 0)));
  assert_true(mpt_median(one, 1) == 7);
  assert_true(mpt_median(odd, 5) == 2);
  assert_true(mpt_median(even, 4) == 2.5);
  assert_true(even[0] == -2 && even[1] == 1 && even[2] == 4 && even[3] == 1e300);
}

/* draft-eastlake-fnv, appendix C. */
static void hashes_are_those_that_are_published(void **state) {
  (void)state;
  assert_true(mpt_hash_bytes(MPT_HASH_START, "", 0) == UINT64_C(0xcbf29ce484222325));
  assert_true(mpt_hash_bytes(MPT_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
  const uint64_t in_parts = mpt_hash_bytes(mpt_hash_bytes(MPT_HASH_START, "foo", 3), "bar", 3);
  assert_true(in_parts == UINT64_C(0x85944171f73967e8));
}

static void the_clock_goes_on_with_the_time(void **state) {
  (void)state;
  const double began = mpt_clock_seconds();
  usleep(3000);
  const double slept = mpt_clock_seconds() - began;
  assert_true(slept >= 3e-3 && slept < 10);
}

static void the_cache_has_a_place_without_HOME(void **state) {
  (void)state;
  static const char *const homes[] = {NULL, "", "/somewhere"};
  char path[256], expected[256], *before;
  const char *here = getenv("HOME");
  mpt_error error = {0};
  before = strdup(here != NULL ? here : "");
  unsetenv("MPTUNE_CACHE");
  unsetenv("XDG_CACHE_HOME");
  for (int i = 0; i < 3; i++) {
    const char *home = i == 2 ? homes[i] : getpwuid(getuid())->pw_dir;
    if (homes[i] == NULL)
      unsetenv("HOME");
    else
      setenv("HOME", homes[i], 1);
    assert_int_equal(mpt_cache_path("a/b", path, sizeof path, &error), MPT_OK);
    snprintf(expected, sizeof expected, "%s/.cache/mptune/a/b", home);
    assert_string_equal(path, expected);
  }
  setenv("HOME", before, 1);
  free(before);
}

static void text_grows(void **state) {
  (void)state;
  mpt_text text = {0};
  mpt_text_add(&text, "");
  assert_string_equal(text.data, "");
  for (int i = 0; i < 1000; i++)
    mpt_text_addf(&text, "%d,", i);
  mpt_text_add_bytes(&text, "xyz", 2);
  assert_int_equal(text.length, 3892);
  assert_string_equal(text.data + 3886, "999,xy");
  assert_memory_equal(text.data, "0,1,2,", 6);
  assert_false(text.failed);
  mpt_text_free(&text);
  assert_null(text.data);
}

static void numbers_have_a_point_and_two_digits_of_exponent(void **state) {
  (void)state;
  static const struct {
    double value;
    const char *text;
  } known[] = {{1e-3, "1.0e-03"},     {0.0012, "1.2e-03"},
               {65536, "6.5536e+04"}, {0, "0.0e+00"},
               {-0.5, "-5.0e-01"},    {NAN, ".nan"},
               {-INFINITY, "-.inf"},  {INFINITY, ".inf"},
               {0.1, "1.0e-01"},      {1.0 / 3, "3.333333333333333e-01"}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    mpt_text text = {0};
    mpt_text_add_number(&text, known[i].value);
    assert_string_equal(text.data, known[i].text);
    mpt_text_free(&text);
  }
  for (uint64_t i = 0; i < 20000; i++) {
    uint32_t words[4];
    mpt_philox(1, i, 0, words);
    const uint64_t bits = (uint64_t)words[0] << 32 | words[1];
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value))
      continue;
    mpt_text text = {0};
    mpt_text_add_number(&text, value);
    double again = NAN;
    assert_true(mpt_number_read(text.data, text.length, &again));
    assert_memory_equal(&again, &value, sizeof value);
    assert_non_null(strchr(text.data, '.'));
    mpt_text_free(&text);
  }
}

/* What every place that takes a number says of it: the reader, YAML, the command line. */
static void numbers_are_read_by_one_rule(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool number, whole;
    double value;
  } known[] = {
      {"5", true, true, 5},
      {"+5", true, true, 5},
      {"-5", true, true, -5},
      {"007", true, true, 7},
      {"-0", true, true, 0},
      {"9223372036854775807", true, true, 0x1p63},
      {"-9223372036854775808", true, true, -0x1p63},
      {"9223372036854775808", true, false, 0x1p63},
      {"-9223372036854775809", true, false, -0x1p63},
      {"5.", true, false, 5},
      {".5", true, false, 0.5},
      {"5.0", true, false, 5},
      {"1e3", true, false, 1000},
      {"+1.5E-03", true, false, 0.0015},
      {"1013250.03", true, false, 1013250.03},
      {"1e-400", true, false, 0},
      {"1.7976931348623157e308", true, false, 1.7976931348623157e308},
      {"1e309", false, false, 0},
      {"", false, false, 0},
      {".", false, false, 0},
      {"+", false, false, 0},
      {"-.", false, false, 0},
      {"e3", false, false, 0},
      {".e3", false, false, 0},
      {"1e", false, false, 0},
      {"1e+", false, false, 0},
      {"1e1.5", false, false, 0},
      {"+-5", false, false, 0},
      {"--5", false, false, 0},
      {" 5", false, false, 0},
      {"5 ", false, false, 0},
      {"\t5", false, false, 0},
      {"5\n", false, false, 0},
      {"0x10", false, false, 0},
      {"0x1p3", false, false, 0},
      {"0b1", false, false, 0},
      {"0o7", false, false, 0},
      {"nan", false, false, 0},
      {"-nan", false, false, 0},
      {"NaN(1)", false, false, 0},
      {"inf", false, false, 0},
      {"-Infinity", false, false, 0},
      {".inf", false, false, 0},
      {"1_000", false, false, 0},
      {"1,5", false, false, 0},
      {"1'000", false, false, 0},
      {"1.5.2", false, false, 0},
      {"5f", false, false, 0},
      {"5%", false, false, 0},
      {"\xd9\xa5", false, false, 0}, /* an Arabic five */
      {"five", false, false, 0},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const char *text = known[i].text;
    double number = 42;
    int64_t whole = 42;
    if (mpt_number_read(text, strlen(text), &number) != known[i].number ||
        number != (known[i].number ? known[i].value : 42))
      fail_msg("'%s' as a number: %g", text, number);
    if (mpt_integer_read(text, strlen(text), &whole) != known[i].whole ||
        (double)whole != (known[i].whole ? known[i].value : 42))
      fail_msg("'%s' as a whole number: %lld", text, (long long)whole);
  }
  /* Short ones are read apart: to the last bit as strtod does. */
  for (uint64_t i = 0; i < 50000; i++) {
    uint32_t words[4];
    char text[40];
    mpt_philox(3, i, 0, words);
    const int fraction = (int)(words[2] % 17);
    int length = sprintf(text, "%s%.*f", words[3] % 2 ? "-" : "", fraction,
                         (words[0] + words[1] * 0x1p-32) * pow(10, -(int)(words[3] >> 8) % 11));
    double read = 0, wanted = strtod(text, NULL);
    assert_true(mpt_number_read(text, (size_t)length, &read));
    assert_memory_equal(&read, &wanted, sizeof read);
  }
  double number = 0;
  int64_t whole = 0;
  assert_true(mpt_number_read("2.5%", 3, &number) && number == 2.5);
  assert_true(mpt_integer_read("12-15", 2, &whole) && whole == 12);
}

static void utf8_is_decoded_strictly(void **state) {
  (void)state;
  uint32_t c;
  assert_int_equal(mpt_utf8_decode("", &c), 0);
  assert_true(mpt_utf8_decode("a", &c) == 1 && c == 'a');
  assert_true(mpt_utf8_decode("\xc3\xa9", &c) == 2 && c == 0xE9);
  assert_true(mpt_utf8_decode("\xe2\x82\xac", &c) == 3 && c == 0x20AC);
  assert_true(mpt_utf8_decode("\xf0\x9f\x98\x80", &c) == 4 && c == 0x1F600);
  static const char *const bad[] = {"\x80",         "\xc0\xaf",         "\xc3",
                                    "\xe0\x80\x80", "\xed\xa0\x80",     "\xf4\x90\x80\x80",
                                    "\xff",         "\xf8\x88\x80\x80", "\xe2\x82"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_false(mpt_utf8_valid(bad[i]));
  assert_true(mpt_utf8_valid("caf\xc3\xa9"));
}

static void hints_are_near(void **state) {
  (void)state;
  static const char *const known[] = {"format", "layers", "fprop"};
  assert_string_equal(mpt_nearest_word("formt", known, 3), "format");
  assert_string_equal(mpt_nearest_word("layer", known, 3), "layers");
  assert_null(mpt_nearest_word("banana", known, 3));
  assert_null(mpt_nearest_word("", known, 3));
}

static void arenas_give_zeroed_aligned_memory(void **state) {
  (void)state;
  mpt_arena arena = {0};
  for (size_t bytes = 0; bytes < 9000; bytes += 37) {
    unsigned char *taken = mpt_arena_take(&arena, bytes);
    assert_non_null(taken);
    assert_int_equal((uintptr_t)taken % _Alignof(max_align_t), 0);
    for (size_t i = 0; i < bytes; i++)
      assert_int_equal(taken[i], 0);
    memset(taken, 0xAA, bytes);
  }
  assert_null(mpt_arena_take(&arena, SIZE_MAX));
  assert_string_equal(mpt_arena_text(&arena, "abcdef", 3), "abc");
  mpt_arena_free(&arena);
  mpt_arena_free(&arena);
}

static int entries(const char *directory) {
  DIR *d = opendir(directory);
  int count = 0;
  while (readdir(d) != NULL)
    count++;
  closedir(d);
  return count - 2;
}

static void files_are_written_whole_or_not_at_all(void **state) {
  (void)state;
  char directory[] = "/tmp/test_base.XXXXXX", path[128];
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/a/b/c", directory);
  mpt_error error;
  assert_int_equal(mpt_directory_make(path, &error), MPT_OK);
  assert_int_equal(mpt_directory_make(path, &error), MPT_OK);
  snprintf(path, sizeof path, "%s/a/file", directory);
  const mode_t before = umask(027);
  assert_int_equal(mpt_file_write(path, "first", 5, &error), MPT_OK);
  umask(before);
  struct stat about;
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0640);
  assert_int_equal(mpt_file_write(path, "se\0cond", 7, &error), MPT_OK);
  char *data = NULL;
  size_t length = 0;
  assert_int_equal(mpt_file_read(path, 7, &data, &length, &error), MPT_OK);
  assert_int_equal(length, 7);
  assert_memory_equal(data, "se\0cond", 8);
  free(data);
  assert_int_equal(mpt_file_read(path, 6, &data, &length, &error), MPT_ERROR_IO);
  assert_int_equal(mpt_directory_make(path, &error), MPT_ERROR_IO);

  /* A failure leaves the old file, and nothing beside it. */
  char onto_directory[128];
  snprintf(onto_directory, sizeof onto_directory, "%s/a/b", directory);
  assert_int_equal(mpt_file_write(onto_directory, "x", 1, &error), MPT_ERROR_IO);
  snprintf(onto_directory, sizeof onto_directory, "%s/a", directory);
  assert_int_equal(entries(onto_directory), 2);
  assert_int_equal(mpt_file_write("/dev/full/x", "x", 1, &error), MPT_ERROR_IO);
  snprintf(onto_directory, sizeof onto_directory, "%s/missing/file", directory);
  assert_int_equal(mpt_file_write(onto_directory, "x", 1, &error), MPT_ERROR_NOT_FOUND);
  assert_non_null(strstr(error.message, onto_directory));

  char command[160];
  snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
}

static void a_link_is_replaced_and_a_device_is_written_to(void **state) {
  (void)state;
  char directory[] = "/tmp/test_base.XXXXXX", other[128], path[128], command[160];
  mpt_error error;
  struct stat about;
  char text[8] = "";
  assert_non_null(mkdtemp(directory));
  snprintf(other, sizeof other, "%s/other", directory);
  snprintf(path, sizeof path, "%s/path", directory);
  assert_int_equal(mpt_file_write(other, "precious", 8, &error), MPT_OK);
  assert_int_equal(symlink("other", path), 0);
  assert_int_equal(mpt_file_write(path, "x", 1, &error), MPT_OK);
  assert_true(lstat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == 1);
  assert_true(lstat(other, &about) == 0 && about.st_size == 8);

  /* A pipe, and a link to it as /dev/stdout is one, stay what they are. */
  assert_int_equal(unlink(other), 0);
  assert_int_equal(mkfifo(other, 0600), 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(symlink("other", path), 0);
  const int reader = open(other, O_RDWR | O_NONBLOCK);
  assert_true(reader >= 0);
  assert_int_equal(mpt_file_write(path, "one", 3, &error), MPT_OK);
  assert_int_equal(mpt_file_write(other, "two", 3, &error), MPT_OK);
  assert_int_equal(read(reader, text, sizeof text), 6);
  assert_memory_equal(text, "onetwo", 6);
  close(reader);
  assert_true(lstat(other, &about) == 0 && S_ISFIFO(about.st_mode));
  assert_true(lstat(path, &about) == 0 && S_ISLNK(about.st_mode));

  const int plug = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s/socket", directory);
  assert_int_equal(bind(plug, (struct sockaddr *)&at, sizeof at), 0);
  assert_int_equal(mpt_file_write(at.sun_path, "x", 1, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, "is not a file"));
  assert_true(lstat(at.sun_path, &about) == 0 && S_ISSOCK(about.st_mode));
  close(plug);
  assert_int_equal(entries(directory), 3);
  snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
}

/* Only what a writer of that file left that does not live: nothing of others, and no link. */
static void what_a_killed_writer_left_is_taken_away(void **state) {
  (void)state;
  char folder[] = "/tmp/mptune-base-XXXXXX", path[64], name[200], target[64];
  assert_non_null(mkdtemp(folder));
  const pid_t dead = fork();
  if (dead == 0)
    _exit(0);
  waitpid(dead, NULL, 0);
  const struct {
    const char *before, *after;
    pid_t process;
    bool stays;
  } files[] = {{"out.", "-0.tmp", dead, false},    {"out.", "-12.tmp", dead, false},
               {"out.", "-0.tmp", getpid(), true}, {"other.", "-0.tmp", dead, true},
               {"out.", "-0.tmp.bak", dead, true}, {"out.", "-00.tmp", dead, true},
               {"out.0", "-0.tmp", dead, true},    {"out.", "-.tmp", dead, true},
               {"xout.", "-0.tmp", dead, true},    {"out.", ".tmp", dead, true}};
  enum { FILES = sizeof files / sizeof files[0] };
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "%s/%s%ld%s", folder, files[i].before, (long)files[i].process,
             files[i].after);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fclose(file);
  }
  snprintf(target, sizeof target, "%s/target", folder);
  snprintf(name, sizeof name, "%s/out.%ld-1.tmp", folder, (long)dead);
  assert_int_equal(symlink(target, name), 0);
  snprintf(path, sizeof path, "%s/out", folder);
  assert_int_equal(mpt_file_write(path, "x", 1, NULL), MPT_OK);
  struct stat about;
  assert_int_equal(lstat(name, &about), 0);
  unlink(name);
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "%s/%s%ld%s", folder, files[i].before, (long)files[i].process,
             files[i].after);
    if ((access(name, F_OK) == 0) != files[i].stays)
      fail_msg("%s %s", name, files[i].stays ? "is gone" : "is still there");
    unlink(name);
  }
  unlink(path);
  assert_int_equal(rmdir(folder), 0);
}

static void a_pipe_is_read_to_its_limit(void **state) {
  (void)state;
  int ends[2];
  char path[64], *data = NULL;
  size_t length;
  mpt_error error;
  for (size_t limit = 5; limit >= 4; limit--) {
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "12345", 5), 5);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(mpt_file_read(path, limit, &data, &length, &error),
                     limit == 5 ? MPT_OK : MPT_ERROR_IO);
    close(ends[0]);
  }
  assert_string_equal(data, "12345");
  free(data);
}

/* Known answers of Random123 (kat_vectors). */
static void philox_gives_the_published_numbers(void **state) {
  (void)state;
  static const struct {
    uint64_t key, low, high;
    uint32_t out[4];
  } known[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822ull,
       0x85a308d3243f6a88ull,
       0x0370734413198a2eull,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    mpt_philox(known[i].key, known[i].low, known[i].high, out);
    assert_memory_equal(out, known[i].out, sizeof out);
  }
}

static void normal_numbers_are_normal(void **state) {
  (void)state;
  const int count = 200000;
  double sum[5] = {0};
  int beyond_two = 0;
  for (int i = 0; i < count; i++) {
    const double x = mpt_normal(7, (uint64_t)i, 3);
    double power = 1;
    for (int k = 0; k < 5; k++, power *= x)
      sum[k] += power;
    beyond_two += fabs(x) > 2;
  }
  /* Five standard errors of each moment. */
  assert_true(fabs(sum[1] / count) < 5 * sqrt(1.0 / count));
  assert_true(fabs(sum[2] / count - 1) < 5 * sqrt(2.0 / count));
  assert_true(fabs(sum[3] / count) < 5 * sqrt(15.0 / count));
  assert_true(fabs(sum[4] / count - 3) < 5 * sqrt(96.0 / count));
  assert_true(fabs(beyond_two / (double)count - 0.0455) < 5 * sqrt(0.0455 / count));
  assert_true(mpt_normal(7, 1, 3) == mpt_normal(7, 1, 3));
  assert_true(mpt_normal(7, 1, 3) != mpt_normal(8, 1, 3));
  assert_true(mpt_normal(7, 1, 3) != mpt_normal(7, 1, 4));
  assert_true(mpt_uniform(0) > 0 && mpt_uniform(0xFFFFFFFFu) == 1.0);
}

/* Runs `body` with standard error on `file`, then reads what it wrote from `from`. */
static void captured(int file, int from, void (*body)(void), char *text, size_t size) {
  fflush(stderr);
  const int before = dup(STDERR_FILENO);
  dup2(file, STDERR_FILENO);
  body();
  fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  /* A terminal hands on what was written a little later, in parts: read until it has been still. */
  struct pollfd ready = {.fd = from, .events = POLLIN};
  size_t used = 0;
  while (used < size - 1 && poll(&ready, 1, 300) == 1) {
    const ssize_t got = read(from, text + used, size - 1 - used);
    if (got <= 0)
      break;
    used += (size_t)got;
  }
  text[used] = '\0';
}

static void write_messages(void) {
  mpt_log_configure(1, MPT_COLOR_AUTO);
  mpt_error error = {0};
  mpt_log_note("note %d", 1);
  mpt_log_detail("detail");
  mpt_fail_at(&error, MPT_ERROR_SYNTAX, "f.yaml", 3, 7, "unknown");
  mpt_log_error(&error);
  mpt_progress_update("reference", "seed %d", 1);
  mpt_progress_update("reference", "seed %d", 2); /* too soon */
  mpt_progress_update("observe", "step 0");
  mpt_log_warning("careful \033[2J of '%s'", "a\nb\xff");
  mpt_progress_end();
  mpt_log_configure(0, MPT_COLOR_ALWAYS);
  mpt_log_note("quiet");
  mpt_progress_update("adjust", "quiet");
  mpt_error plain = {.status = MPT_ERROR_IO};
  mpt_log_error(&plain);
  mpt_log_configure(1, MPT_COLOR_AUTO);
}

static void messages_are_plain_lines_without_a_terminal(void **state) {
  (void)state;
  int ends[2];
  char text[1000];
  assert_int_equal(pipe(ends), 0);
  captured(ends[1], ends[0], write_messages, text, sizeof text);
  assert_string_equal(text, "note 1\nerror: f.yaml:3:7: unknown\nreference: seed 1\n"
                            "observe: step 0\nwarning: careful \\x1b[2J of 'a\\nb\xef\xbf\xbd'\n"
                            "\033[31merror: \033[0ma file could not be read or written\n");
  close(ends[0]);
  close(ends[1]);
}

static void write_long_line(void) {
  mpt_log_configure(1, MPT_COLOR_NEVER);
  mpt_progress_update("reference", "\n%0*d", 100, 7);
  mpt_log_note("after");
  mpt_progress_end();
}

static void a_terminal_has_one_live_line_that_does_not_wrap(void **state) {
  (void)state;
  int master, slave;
  struct winsize size = {.ws_row = 24, .ws_col = 20};
  char text[1000];
  assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
  captured(slave, master, write_long_line, text, sizeof text);
  assert_string_equal(text, "\r\033[Kreference: \\n000000\r\033[Kafter\r\n");
  close(master);
  close(slave);
}

int main(void) {
  unsetenv("NO_COLOR");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_grows),
      cmocka_unit_test(numbers_have_a_point_and_two_digits_of_exponent),
      cmocka_unit_test(numbers_are_read_by_one_rule),
      cmocka_unit_test(utf8_is_decoded_strictly),
      cmocka_unit_test(hints_are_near),
      cmocka_unit_test(arenas_give_zeroed_aligned_memory),
      cmocka_unit_test(files_are_written_whole_or_not_at_all),
      cmocka_unit_test(a_link_is_replaced_and_a_device_is_written_to),
      cmocka_unit_test(what_a_killed_writer_left_is_taken_away),
      cmocka_unit_test(a_pipe_is_read_to_its_limit),
      cmocka_unit_test(philox_gives_the_published_numbers),
      cmocka_unit_test(shapes_are_shown_as_lists),
      cmocka_unit_test(half_of_the_values_lie_below_the_median),
      cmocka_unit_test(hashes_are_those_that_are_published),
      cmocka_unit_test(the_clock_goes_on_with_the_time),
      cmocka_unit_test(the_cache_has_a_place_without_HOME),
      cmocka_unit_test(normal_numbers_are_normal),
      cmocka_unit_test(messages_are_plain_lines_without_a_terminal),
      cmocka_unit_test(a_terminal_has_one_live_line_that_does_not_wrap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
