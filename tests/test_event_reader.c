/* A file of events that grows while it is read. */
#include "contract/event_reader.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

static int flood_lines = 20000; /* ten million in the long tier */

typedef struct rig {
  char path[600];
  int file;
  event_reader *reader;
} rig;

static rig open_rig(void **state) {
  rig r;
  mpt_error error = {0};
  snprintf(r.path, sizeof r.path, "%s/events.jsonl", (const char *)*state);
  r.file = open(r.path, O_WRONLY | O_CREAT | O_APPEND, 0666);
  assert_true(r.file >= 0);
  if (event_reader_open(r.path, &r.reader, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return r;
}

static void close_rig(rig *r) {
  event_reader_close(r->reader);
  close(r->file);
}

static void append(const rig *r, const char *text) {
  assert_int_equal(write(r->file, text, strlen(text)), strlen(text));
}

static bool next(rig *r, event *e) {
  bool found;
  mpt_error error = {0};
  if (event_reader_next(r->reader, &found, e, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return found;
}

#define STEP(step) "{\"event\": \"step\", \"step\": " #step ", \"loss\": 0.5}\n"

static void lines_come_as_they_are_complete(void **state) {
  rig r = open_rig(state);
  event e;
  assert_false(next(&r, &e));
  append(&r, STEP(1) STEP(2) "{\"event\": \"st");
  assert_true(next(&r, &e));
  assert_int_equal(e.step.step, 1);
  assert_true(next(&r, &e));
  assert_int_equal(e.step.step, 2);
  assert_false(next(&r, &e)); /* half a line is none */
  append(&r, "ep\", \"step\": 3, \"loss\": null}");
  assert_false(next(&r, &e));
  append(&r, "\n\n  \r\n{\"event\": \"checkpoint\"}\n" STEP(4));
  assert_true(next(&r, &e));
  assert_int_equal(e.step.step, 3);
  assert_true(next(&r, &e)); /* past blank lines and what it does not know */
  assert_int_equal(e.step.step, 4);
  assert_false(next(&r, &e));
  assert_int_equal(event_reader_lines(r.reader), 7);
  close_rig(&r);
}

static mpt_status refused(rig *r, mpt_error *error) {
  event e;
  bool found = true;
  while (found) {
    *error = (mpt_error){0};
    const mpt_status status = event_reader_next(r->reader, &found, &e, error);
    if (status != MPT_OK)
      return status;
  }
  return MPT_OK;
}

static void a_fault_has_its_line(void **state) {
  rig r = open_rig(state);
  mpt_error error;
  append(&r, STEP(1) "\n" STEP(2) "nonsense\n");
  assert_int_equal(refused(&r, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.file, r.path);
  assert_int_equal(error.line, 4);
  close_rig(&r);
}

/* Without its memory: a line is given up at its limit. */
static void a_line_without_an_end_is_given_up(void **state) {
  rig r = open_rig(state);
  mpt_error error;
  append(&r, STEP(1));
  char *piece = malloc(1 << 20);
  assert_non_null(piece);
  memset(piece, 'x', 1 << 20);
  for (int i = 0; i < 100; i++)
    assert_int_equal(write(r.file, piece, 1 << 20), 1 << 20);
  free(piece);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  assert_int_equal(refused(&r, &error), MPT_ERROR_SYNTAX);
  assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < 40u << 20);
  assert_int_equal(error.line, 2);
  assert_string_equal(error.message, "the line has more than 16777216 bytes, the most of an event; "
                                     "write less in one");
  close_rig(&r);
}

static void a_long_line_is_read(void **state) {
  rig r = open_rig(state);
  event e;
  char *note = malloc(10 << 20);
  assert_non_null(note);
  memset(note, 'x', 10 << 20);
  note[(10 << 20) - 1] = '\0';
  append(&r, "{\"event\": \"step\", \"step\": 8, \"loss\": 1, \"note\": \"");
  append(&r, note);
  append(&r, "\"}\n" STEP(9));
  free(note);
  assert_true(next(&r, &e));
  assert_int_equal(e.step.step, 8);
  assert_true(next(&r, &e));
  assert_int_equal(e.step.step, 9);
  close_rig(&r);
}

static void a_file_that_is_written_anew_is_noticed(void **state) {
  rig r = open_rig(state);
  mpt_error error;
  append(&r, STEP(1) STEP(2));
  assert_int_equal(refused(&r, &error), MPT_OK);
  assert_int_equal(truncate(r.path, 0), 0);
  append(&r, STEP(3));
  assert_int_equal(refused(&r, &error), MPT_ERROR_SYNTAX);
  assert_string_equal(error.message,
                      "the file was written anew while it was read; open it to append "
                      "(O_APPEND, 'a', >>)");
  close_rig(&r);
  assert_int_equal(unlink(r.path), 0);
  r = open_rig(state);
  append(&r, STEP(1));
  char other[620];
  snprintf(other, sizeof other, "%s.new", r.path);
  close(open(other, O_WRONLY | O_CREAT, 0666));
  assert_int_equal(rename(other, r.path), 0);
  assert_int_equal(refused(&r, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "the file was replaced"));
  close_rig(&r);
}

/* Of steps in turn, whose numbers go on from `first`. */
static void append_steps(const rig *r, int first, int count) {
  char *lines = NULL;
  size_t length = 0;
  FILE *text = open_memstream(&lines, &length);
  for (int i = 0; i < count; i++)
    fprintf(text, "{\"event\": \"step\", \"step\": %d, \"loss\": %g}\n", first + i, 1.0 / (1 + i));
  fclose(text);
  append(r, lines);
  free(lines);
}

static void a_flood_is_read_in_constant_memory(void **state) {
  enum { AT_ONCE = 10000 };
  rig r = open_rig(state);
  event e;
  size_t before = 0;
  for (int step = 0; step < flood_lines;) {
    append_steps(&r, step, AT_ONCE);
    while (next(&r, &e))
      assert_int_equal(e.step.step, step++);
    assert_int_equal(step % AT_ONCE, 0);
    if (before == 0)
      before = mallinfo2().uordblks;
    assert_true(mallinfo2().uordblks <= before + 4096);
  }
  assert_int_equal(event_reader_lines(r.reader), flood_lines);
  close_rig(&r);
}

static void a_file_that_is_not_there_is_named(void **state) {
  char path[600];
  mpt_error error = {0};
  event_reader *reader = NULL;
  snprintf(path, sizeof path, "%s/none", (const char *)*state);
  assert_int_equal(event_reader_open(path, &reader, &error), MPT_ERROR_IO);
  assert_non_null(strstr(error.message, path));
}

int main(int argc, char **argv) {
  if (argc == 2)
    flood_lines = atoi(argv[1]);
#define IN_DIRECTORY(test)                                                                         \
  cmocka_unit_test_setup_teardown(test, fixture_setup_in_memory, fixture_teardown)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(lines_come_as_they_are_complete),
      IN_DIRECTORY(a_fault_has_its_line),
      IN_DIRECTORY(a_line_without_an_end_is_given_up),
      IN_DIRECTORY(a_long_line_is_read),
      IN_DIRECTORY(a_file_that_is_written_anew_is_noticed),
      IN_DIRECTORY(a_flood_is_read_in_constant_memory),
      IN_DIRECTORY(a_file_that_is_not_there_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
