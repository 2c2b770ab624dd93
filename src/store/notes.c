#include "store/notes.h"
#include "base/error.h"
#include "base/json.h"
#include "store/database.h"
#include "store/shape.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shapes ---- */

static bool is_operand(const char *word) {
  for (int o = 0; o < MPT_OPERAND_COUNT; o++)
    if (strcmp(word, mpt_operand_name((mpt_operand)o)) == 0)
      return true;
  return false;
}

static bool is_layer(const char *word) {
  const size_t length = strlen(word);
  return length > 0 && length < MPT_MAX_NAME;
}

#define MOST_WHOLE 9007199254740992.0 /* 2^53 */

static const shape text = {.kind = TEXT, .what = "a text"};
static const shape flag = {.kind = FLAG, .what = "true or false"};
static const shape positive = {
    .kind = NUMBER, .low = 0, .high = INFINITY, .what = "a number that is not negative"};
static const shape share = {.kind = NUMBER, .low = 0, .high = 1, .what = "a share from 0 to 1"};
static const shape count = {
    .kind = NUMBER, .low = 0, .high = MOST_WHOLE, .whole = true, .what = "a count"};
static const shape some = {
    .kind = NUMBER, .low = 1, .high = MOST_WHOLE, .whole = true, .what = "a count of at least 1"};
static const shape seconds = {
    .kind = NUMBER, .low = 1e-300, .high = 1e300, .what = "a time above 0"};
static const shape layer = {.kind = WORD, .known = is_layer, .what = "a layer's name"};
static const shape operand = {.kind = WORD, .known = is_operand, .what = "an operand"};
static const shape anything = {.kind = ANYTHING};

#define OBJECT_OF(list)                                                                            \
  { .kind = OBJECT, .members = list, .member_count = sizeof list / sizeof list[0] }

static const shape_member counter_members[] = {
    {"layer", &layer, true},     {"operand", &operand, true}, {"cast", &count, true},
    {"saturated", &count, true}, {"vanished", &count, true},  {"blamed", &flag, false}};
static const shape counter = OBJECT_OF(counter_members);
static const shape counters_of = {.kind = LIST, .of = &counter};

static const shape_member run_members[] = {{"run", &text, true},
                                           {"seconds", &seconds, true},
                                           {"deviation", &positive, true},
                                           {"steps", &some, true},
                                           {"in_turn", &flag, false}};
static const shape run = OBJECT_OF(run_members);
static const shape runs = {.kind = LIST, .of = &run};
static const shape_member parts_members[] = {
    {"runs", &runs, false},       {"noise", &positive, false},  {"gemms", &positive, false},
    {"copies", &positive, false}, {"passes", &positive, false}, {"extrapolated", &share, false}};
static const shape parts_of = OBJECT_OF(parts_members);

/* By the name's first word. */
static const shape_member notes[] = {{"fault", &some, false}};

/* ---- reading ---- */

static mpt_status read_json(store *s, const shape *as, const char *what, const char *from,
                            json_t **out, mpt_error *error) {
  json_t *json = NULL;
  mpt_error why = {0};
  *out = NULL;
  if (from == NULL)
    return MPT_OK;
  const mpt_status status = mpt_json_parse(from, strlen(from), what, &json, &why);
  if (status == MPT_ERROR_MEMORY)
    return mpt_fail_memory(error, what, strlen(from));
  if (status != MPT_OK)
    return store_damaged(s, error, "%.200s", why.message);
  shape_fault f;
  if (shape_fits(as, json, &f)) {
    *out = json;
    return MPT_OK;
  }
  json_decref(json);
  return store_damaged(s, error, "in %.100s %s is not %s", what, f.place, f.what);
}

mpt_status store_read_note(store *s, const char *name, json_t **note, mpt_error *error) {
  char *from = NULL, what[120];
  const size_t word = strcspn(name, " ");
  const shape *as = &anything;
  for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
    if (strlen(notes[i].name) == word && strncmp(notes[i].name, name, word) == 0)
      as = notes[i].is;
  snprintf(what, sizeof what, "the note '%.90s'", name);
  MPT_RETURN_IF_FAILED(store_get(s, name, &from, error));
  mpt_status status = read_json(s, as, what, from, note, error);
  free(from);
  return status;
}

mpt_status store_read_counters(store *s, const store_evaluation *evaluation, json_t **counters,
                               mpt_error *error) {
  char what[96];
  snprintf(what, sizeof what, "the counters of evaluation %lld", (long long)evaluation->id);
  return read_json(s, &counters_of, what, evaluation->counters, counters, error);
}

mpt_status store_read_parts(store *s, const store_time *time, json_t **parts, mpt_error *error) {
  return read_json(s, &parts_of, "the parts of a step time", time->parts, parts, error);
}
