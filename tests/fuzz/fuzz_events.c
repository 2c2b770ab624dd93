/* What a program says: any bytes, in two pieces, as they would be read while it runs. */
#include "contract/answer.h"
#include "contract/event_reader.h"
#include "fuzz.h"
#include <fcntl.h>
#include <unistd.h>

/* Whether nothing was refused. */
static bool hear(event_reader *r, answer *a) {
  mpt_error error = {0};
  event e;
  bool found = true;
  while (found) {
    if (!fuzz_succeeded(event_reader_next(r, &found, &e, &error), &error))
      return false;
    if (!found)
      return true;
    const bool taken = fuzz_succeeded(answer_take(a, &e, &error), &error);
    event_clear(&e);
    if (!taken)
      return false;
  }
  return true;
}

static void append(const char *path, const uint8_t *data, size_t size) {
  const int file = open(path, O_WRONLY | O_APPEND);
  FUZZ_REQUIRE(file >= 0 && write(file, data, size) == (ssize_t)size);
  close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mpt_error error = {0};
  event_reader *reader = NULL;
  answer a;
  const answer_terms terms = {.until = 100, .metric = "val_loss"};
  const char *path = fuzz_file("events.jsonl", data, size / 2);
  fuzz_must(event_reader_open(path, &reader, &error), &error);
  answer_begin(&a, &terms);
  bool good = hear(reader, &a);
  append(path, data + size / 2, size - size / 2);
  good = good && hear(reader, &a);
  FUZZ_REQUIRE(a.loss_count <= 100 && a.last_step < 100);
  FUZZ_REQUIRE(a.heard[EVENT_HELLO] || !a.heard[EVENT_STEP]);
  if (good)
    fuzz_succeeded(answer_check_end(&a, &error), &error);
  for (int i = 0; i < a.layers.count; i++)
    FUZZ_REQUIRE(answer_layer(&a, a.layers.layers[i].name) == i);
  answer_end(&a);
  event_reader_close(reader);
  return 0;
}
