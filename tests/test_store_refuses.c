/* What is wrong with a run's directory or its store is said, and nothing is lost by it. */
#include "store/database.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void path_of(const char *directory, const char *name, char *path, size_t size) {
  snprintf(path, size, "%s/%s", directory, name);
}

static void put_file(const char *directory, const char *name, const char *text, size_t length) {
  char path[256];
  path_of(directory, name, path, sizeof path);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, length, file), length);
  fclose(file);
}

static void run_sql(const char *directory, const char *sql) {
  char path[256];
  sqlite3 *database = NULL;
  path_of(directory, "run.sqlite", path, sizeof path);
  assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
  assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(database);
}

static void fill(const char *directory, int texts) {
  store *s = fixture_open(directory, STORE_WRITE);
  char *text = malloc(20001);
  memset(text, 'x', 20000);
  text[20000] = '\0';
  for (int i = 0; i < texts; i++) {
    char name[32];
    snprintf(name, sizeof name, "text %d", i);
    assert_int_equal(note_set(s, name, text, NULL), MPT_OK);
  }
  free(text);
  store_close(s);
}

static void no_run_there(void **state) {
  mpt_error error;
  char path[256];
  assert_int_equal(fixture_refused(*state, STORE_READ, &error), MPT_ERROR_NOT_FOUND);
  fixture_contains(&error, "there is no run in");
  path_of(*state, "absent/deep", path, sizeof path);
  assert_int_equal(fixture_refused(path, STORE_READ, &error), MPT_ERROR_NOT_FOUND);
  store_close(fixture_open(path, STORE_WRITE)); /* made with what is above it */
  store_close(fixture_open(path, STORE_READ));
}

static void a_file_in_the_way(void **state) {
  mpt_error error;
  char path[256];
  put_file(*state, "file", "x", 1);
  path_of(*state, "file", path, sizeof path);
  assert_int_equal(fixture_refused(path, STORE_WRITE, &error), MPT_ERROR_IO);
  fixture_contains(&error, "not a directory");
  assert_int_equal(fixture_refused(path, STORE_READ, &error), MPT_ERROR_NOT_FOUND);
  path_of(*state, "run.sqlite", path, sizeof path);
  assert_int_equal(mkdir(path, 0755), 0);
  assert_int_equal(fixture_refused(*state, STORE_WRITE, &error), MPT_ERROR_IO);
  assert_int_equal(fixture_refused(*state, STORE_READ, &error), MPT_ERROR_IO);
}

static void an_empty_file_is_a_new_store(void **state) {
  mpt_error error;
  put_file(*state, "run.sqlite", "", 0); /* its maker was killed */
  assert_int_equal(fixture_refused(*state, STORE_READ, &error), MPT_ERROR_NOT_FOUND);
  store_close(fixture_open(*state, STORE_WRITE));
  store_close(fixture_open(*state, STORE_READ));
}

static void a_newer_schema(void **state) {
  mpt_error error;
  fill(*state, 1);
  run_sql(*state, "PRAGMA user_version = 7");
  for (int access = STORE_WRITE; access <= STORE_READ; access++) {
    assert_int_equal(fixture_refused(*state, (store_access)access, &error), MPT_ERROR_VERSION);
    fixture_contains(&error, "newer mptune");
    fixture_contains(&error, "schema 7");
    fixture_contains(&error, "(" MPTUNE_VERSION ") knows 3");
  }
}

static void a_table_that_is_gone(void **state) {
  mpt_error error = {0};
  store_attempt *attempts = NULL;
  int count = 0;
  fill(*state, 1);
  run_sql(*state, "DROP TABLE attempts");
  store *s = fixture_open(*state, STORE_READ);
  assert_int_equal(store_all_attempts(s, &attempts, &count, &error), MPT_ERROR_DAMAGED);
  fixture_contains(&error, "no such table: attempts");
  fixture_contains(&error, "--fresh");
  store_close(s);
}

static void another_programs_database(void **state) {
  mpt_error error;
  run_sql(*state, "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
  assert_int_equal(fixture_refused(*state, STORE_WRITE, &error), MPT_ERROR_SYNTAX);
  fixture_contains(&error, "another program");
  run_sql(*state, "INSERT INTO theirs VALUES (2)"); /* untouched */
}

static void not_a_database(void **state) {
  mpt_error error;
  char text[4096];
  memset(text, 'y', sizeof text);
  put_file(*state, "run.sqlite", text, sizeof text);
  for (int access = STORE_WRITE; access <= STORE_READ; access++) {
    assert_int_equal(fixture_refused(*state, (store_access)access, &error), MPT_ERROR_SYNTAX);
    fixture_contains(&error, "is not a run store");
  }
}

static void a_damaged_store(void **state) {
  mpt_error error;
  char path[256], junk[3000];
  fill(*state, 20);
  path_of(*state, "run.sqlite", path, sizeof path);
  const int file = open(path, O_WRONLY);
  memset(junk, 0x5a, sizeof junk);
  for (off_t page = 1; page < 12; page++)
    assert_int_equal(pwrite(file, junk, sizeof junk, 4096 * page + 8), sizeof junk);
  close(file);
  for (int access = STORE_WRITE; access <= STORE_READ; access++) {
    assert_int_equal(fixture_refused(*state, (store_access)access, &error), MPT_ERROR_DAMAGED);
    fixture_contains(&error, "is damaged");
  }
  assert_int_equal(truncate(path, 6000), 0);
  assert_int_equal(fixture_refused(*state, STORE_WRITE, &error), MPT_ERROR_DAMAGED);
}

/* Runs a test's body in a child, where limits and another user do no harm. */
static void in_child(void (*body)(const char *directory), const char *directory) {
  const pid_t child = fork();
  if (child == 0) {
    body(directory);
    _exit(0);
  }
  int how = 0;
  assert_int_equal(waitpid(child, &how, 0), child);
  if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
    fail_msg("the child ended with %d", how);
}

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s; '%s'\n", __FILE__, __LINE__, #condition, error.message);         \
      _exit(1);                                                                                    \
    }                                                                                              \
  } while (0)

static void with_full_disk(const char *directory) {
  mpt_error error = {0};
  store *s = NULL;
  char *text = malloc(400001);
  memset(text, 'x', 400000);
  text[400000] = '\0';
  signal(SIGXFSZ, SIG_IGN);
  CHECK(store_open(directory, STORE_WRITE, &s, &error) == MPT_OK);
  CHECK(note_set(s, "before", "1", &error) == MPT_OK);
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = 200000;
  setrlimit(RLIMIT_FSIZE, &limit);
  CHECK(note_set(s, "large", text, &error) == MPT_ERROR_IO);
  CHECK(strstr(error.message, "make room, then the same command continues") != NULL);
  CHECK(store_begin(s, &error) == MPT_OK);
  CHECK(note_set(s, "small", "2", &error) == MPT_OK);
  mpt_status large = note_set(s, "large", text, &error); /* may wait for the commit */
  CHECK(store_end(s, &error) != MPT_OK || large != MPT_OK);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_FSIZE, &limit);
  CHECK(note_set(s, "after", "3", &error) == MPT_OK); /* room was made */
  free(text);
  store_close(s);
}

static void a_full_disk(void **state) {
  in_child(with_full_disk, *state);
  store *s = fixture_open(*state, STORE_READ);
  static const struct {
    const char *name, *value;
  } expected[] = {{"before", "1"}, {"large", NULL}, {"small", NULL}, {"after", "3"}};
  for (int i = 0; i < 4; i++) {
    char *text = NULL;
    assert_int_equal(note_get(s, expected[i].name, &text, NULL), MPT_OK);
    if (expected[i].value == NULL)
      assert_null(text);
    else
      assert_string_equal(text, expected[i].value);
    free(text);
  }
  store_close(s);
}

/* What SQLite says when the file system has no room. */
static void a_store_that_cannot_grow(void **state) {
  mpt_error error = {0};
  fill(*state, 1);
  store *s = fixture_open(*state, STORE_WRITE);
  assert_int_equal(sqlite3_exec(s->database, "PRAGMA max_page_count = 1", NULL, NULL, NULL),
                   SQLITE_OK);
  char *text = malloc(20001), *back = NULL;
  memset(text, 'x', 20000);
  text[20000] = '\0';
  assert_int_equal(note_set(s, "more", text, &error), MPT_ERROR_IO);
  fixture_contains(&error, "the disk is full");
  free(text);
  assert_int_equal(note_get(s, "text 0", &back, NULL), MPT_OK);
  assert_int_equal(strlen(back), 20000);
  free(back);
  store_close(s);
}

static void as_somebody_else(const char *directory) {
  mpt_error error = {0};
  store *s = NULL;
  if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
    _exit(2);
  CHECK(store_open(directory, STORE_WRITE, &s, &error) == MPT_ERROR_IO);
  CHECK(strstr(error.message, "cannot write to the run directory") != NULL);
  CHECK(strstr(error.message, "Permission denied") != NULL);
  CHECK(store_open(directory, STORE_READ, &s, &error) == MPT_OK); /* reports can be made */
  char *text = NULL;
  CHECK(note_get(s, "text 0", &text, &error) == MPT_OK && text != NULL);
  free(text);
  store_close(s);
}

static void a_directory_that_is_read_only(void **state) {
  fill(*state, 1);
  char path[256];
  path_of(*state, "lock", path, sizeof path);
  assert_int_equal(chmod(path, 0444), 0);
  path_of(*state, "run.sqlite", path, sizeof path);
  assert_int_equal(chmod(path, 0444), 0);
  assert_int_equal(chmod(*state, 0555), 0);
  in_child(as_somebody_else, *state);
  assert_int_equal(chmod(*state, 0755), 0);
}

/* The store of a run, or its lock, by a name that leads elsewhere: RUN may be anybody's to fill. */
static void refused_as_not_made_here(const char *directory, const char *name) {
  mpt_error error = {.message = ""};
  store *s = NULL;
  assert_int_equal(store_open(directory, STORE_WRITE, &s, &error), MPT_ERROR_IO);
  assert_null(s);
  assert_non_null(strstr(error.message, name));
  assert_non_null(strstr(error.message, "that mptune made; take it away"));
}

static void what_is_no_lock_is_left_alone(void **state) {
  char lock[256], other[256];
  struct stat about;
  path_of(*state, "lock", lock, sizeof lock);
  path_of(*state, "other", other, sizeof other);
  FILE *file = fopen(other, "w");
  assert_non_null(file);
  fputs("precious, and longer than any process id is", file);
  fclose(file);

  assert_int_equal(symlink("other", lock), 0);
  refused_as_not_made_here(*state, "lock");
  assert_int_equal(unlink(lock), 0);
  assert_int_equal(symlink("absent", lock), 0);
  refused_as_not_made_here(*state, "lock");
  assert_int_equal(unlink(lock), 0);
  assert_int_equal(link(other, lock), 0);
  refused_as_not_made_here(*state, "lock");
  assert_int_equal(unlink(lock), 0);
  assert_int_equal(mkfifo(lock, 0600), 0);
  refused_as_not_made_here(*state, "lock");
  assert_int_equal(unlink(lock), 0);
  assert_int_equal(mkdir(lock, 0700), 0);
  refused_as_not_made_here(*state, "lock");
  assert_int_equal(rmdir(lock), 0);

  assert_int_equal(stat(other, &about), 0);
  assert_int_equal(about.st_size, 43);
  path_of(*state, "absent", other, sizeof other);
  assert_int_not_equal(stat(other, &about), 0);
}

static void a_store_that_is_a_link_is_read_and_not_written(void **state) {
  char store_path[256], other[256];
  mpt_error error;
  store *s = NULL;
  fill(*state, 1);
  path_of(*state, "run.sqlite", store_path, sizeof store_path);
  path_of(*state, "other.sqlite", other, sizeof other);
  assert_int_equal(rename(store_path, other), 0);
  assert_int_equal(symlink("other.sqlite", store_path), 0);
  refused_as_not_made_here(*state, "run.sqlite");
  assert_int_equal(store_open(*state, STORE_READ, &s, &error), MPT_OK);
  store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(no_run_there),
      TEST(a_file_in_the_way),
      TEST(an_empty_file_is_a_new_store),
      TEST(a_newer_schema),
      TEST(a_table_that_is_gone),
      TEST(another_programs_database),
      TEST(not_a_database),
      TEST(a_damaged_store),
      TEST(a_full_disk),
      TEST(a_store_that_cannot_grow),
      TEST(a_directory_that_is_read_only),
      TEST(what_is_no_lock_is_left_alone),
      TEST(a_store_that_is_a_link_is_read_and_not_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
