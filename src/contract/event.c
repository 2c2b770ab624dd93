#include "contract/event.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "contract/event_lists.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a line is, for messages. */
typedef struct place {
  const char *file;
  int line;
  const char *event;
} place;

#define FAIL(at, error, ...)                                                                       \
  mpt_fail_at(error, MPT_ERROR_SYNTAX, (at)->file, (at)->line, 0, __VA_ARGS__)

/* ---- a line of JSON ---- */

/* The length of NaN, Infinity or -Infinity, which Python writes for numbers that are not finite. */
static size_t nonfinite_word(const char *text, size_t length) {
  static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
  for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
    if (length >= strlen(words[w]) && memcmp(text, words[w], strlen(words[w])) == 0)
      return strlen(words[w]);
  return 0;
}

/* The line with null in the place of each; nothing where there is none. */
static mpt_text with_null(const char *text, size_t length) {
  mpt_text out = {0};
  bool quoted = false;
  size_t kept = 0;
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '"')
      quoted = !quoted;
    else if (quoted && text[i] == '\\')
      i++;
    const size_t word = quoted || i >= length ? 0 : nonfinite_word(text + i, length - i);
    if (word == 0)
      continue;
    mpt_text_add_bytes(&out, text + kept, i - kept);
    mpt_text_add(&out, "null");
    kept = i + word;
    i = kept - 1;
  }
  if (kept > 0)
    mpt_text_add_bytes(&out, text + kept, length - kept);
  return out;
}

static mpt_status parse_line(const char *text, size_t length, const place *at, json_t **json,
                             mpt_error *error) {
  mpt_error why = {0};
  mpt_status status = mpt_json_parse(text, length, "the line", json, &why);
  if (status == MPT_ERROR_SYNTAX) {
    mpt_text changed = with_null(text, length);
    if (changed.length > 0 && !changed.failed)
      status = mpt_json_parse(changed.data, changed.length, "the line", json, &why);
    mpt_text_free(&changed);
  }
  if (status == MPT_ERROR_SYNTAX)
    return FAIL(at, error, "%.300s; write one JSON object a line, each by one write", why.message);
  if (status != MPT_OK)
    return mpt_fail(error, status, "%s", why.message);
  if (json_is_object(*json))
    return MPT_OK;
  status = FAIL(at, error, "the line is %s; an event is an object, {\"event\": ...}",
                event_value_name(*json));
  json_decref(*json);
  return status;
}

/* ---- members, by the table ---- */

static mpt_status fail_member(const place *at, const event_member *m, const char *why,
                              mpt_error *error) {
  return FAIL(at, error, "event '%s': '%s' %s", at->event, m->name, why);
}

static mpt_status fail_number(const place *at, const event_member *m, const json_t *json,
                              mpt_error *error) {
  const char *null = m->may_be_null ? ", or null for one that is not finite" : "";
  const char *what = m->type == MEMBER_INTEGER ? "whole number" : "number";
  if (!json_is_number(json))
    return FAIL(at, error, "event '%s': '%s' is %s; write a %s%s", at->event, m->name,
                event_value_name(json), what, null);
  return FAIL(at, error, "event '%s': '%s' is %.15g; write a %s from %.15g to %.15g%s", at->event,
              m->name, json_number_value(json), what, m->low, m->high, null);
}

static mpt_status read_number(const json_t *json, const event_member *m, const place *at,
                              double *out, mpt_error *error) {
  const double value = json_number_value(json);
  if (json_is_null(json) && m->may_be_null) {
    *out = NAN;
    return MPT_OK;
  }
  if (!json_is_number(json) || !(value >= m->low && value <= m->high))
    return fail_number(at, m, json, error);
  *out = value;
  return MPT_OK;
}

static int word_index(const json_t *json, const char *const *words) {
  const char *text = json_string_value(json);
  for (int i = 0; text != NULL && words[i] != NULL; i++)
    if (strcmp(text, words[i]) == 0)
      return i;
  return -1;
}

static mpt_status read_word(const json_t *json, const event_member *m, const place *at, int *out,
                            mpt_error *error) {
  char words[200];
  mpt_text known = mpt_text_over(words, sizeof words);
  const int index = word_index(json, m->words);
  if (index >= 0) {
    *out = index;
    return MPT_OK;
  }
  for (int i = 0; m->words[i] != NULL; i++)
    mpt_text_addf(&known, "%s%s", i > 0 ? ", " : "", m->words[i]);
  if (json_is_string(json))
    return FAIL(at, error, "event '%s': '%s' is '%.60s'; write one of %s", at->event, m->name,
                json_string_value(json), words);
  return FAIL(at, error, "event '%s': '%s' is %s; write one of %s", at->event, m->name,
              event_value_name(json), words);
}

static mpt_status read_words(const json_t *json, const event_member *m, const place *at,
                             uint32_t *out, mpt_error *error) {
  if (!json_is_array(json))
    return fail_member(at, m, "is no list of words", error);
  *out = 0;
  for (size_t i = 0; i < json_array_size(json); i++) {
    const json_t *each = json_array_get(json, i);
    if (!json_is_string(each))
      return fail_member(at, m, "is no list of words", error);
    const int index = word_index(each, m->words);
    if (index >= 0)
      *out |= 1u << index;
  }
  return MPT_OK;
}

static mpt_status read_texts(json_t *json, const event_member *m, const place *at, json_t **out,
                             mpt_error *error) {
  const char *name;
  json_t *value;
  if (!json_is_object(json))
    return fail_member(at, m, "is no object of texts", error);
  json_object_foreach(json, name, value) {
    if (!json_is_string(value))
      return fail_member(at, m, "is no object of texts", error);
  }
  *out = json_incref(json);
  return MPT_OK;
}

static mpt_status read_member(json_t *json, const event_member *m, const place *at, void *out,
                              mpt_error *error) {
  char why[EVENT_WHY_SIZE] = "";
  bool good = true;
  switch (m->type) {
  case MEMBER_INTEGER:
    return event_read_integer(json, m->low, m->high, out) ? MPT_OK
                                                          : fail_number(at, m, json, error);
  case MEMBER_NUMBER:
    return read_number(json, m, at, out, error);
  case MEMBER_WORD:
    return read_word(json, m, at, out, error);
  case MEMBER_WORDS:
    return read_words(json, m, at, out, error);
  case MEMBER_TEXTS:
    return read_texts(json, m, at, out, error);
  case MEMBER_TEXT:
    good = event_read_text(json, out, m->size, why);
    break;
  case MEMBER_NAMES:
    good = event_read_names(json, out, why);
    break;
  case MEMBER_HISTOGRAM:
    good = event_read_histogram(json, out, why);
    break;
  case MEMBER_LAYERS:
    good = event_read_layers(json, out, why);
    break;
  case MEMBER_FORMATS:
    good = event_read_formats(json, out, why);
    break;
  }
  return good ? MPT_OK : fail_member(at, m, why, error);
}

/* ---- what members say together ---- */

static uint32_t bits_of(double value) {
  const float narrow = (float)value;
  uint32_t bits;
  memcpy(&bits, &narrow, sizeof bits);
  return bits;
}

static mpt_status settle_stats(const json_t *json, const place *at, event_stats *e,
                               mpt_error *error) {
  mpt_statistics *s = &e->statistics;
  const bool sums =
      json_object_get(json, "sum") != NULL && json_object_get(json, "sum_of_squares") != NULL;
  uint64_t all = 0;
  s->full = json_object_get(json, "histogram") != NULL;
  if (s->full && !sums)
    return FAIL(at, error, "event 'stats': a histogram goes with 'sum' and 'sum_of_squares'");
  for (int i = 0; i < MPT_EXPONENT_BINS; i++)
    all += s->histogram[i];
  if (s->zeros + s->nans + s->infinities > s->count)
    return FAIL(at, error,
                "event 'stats': zeros, nans and infinities are more than the %llu "
                "elements that 'count' says",
                (unsigned long long)s->count);
  if (s->full && (all != s->count || s->histogram[0] < s->zeros ||
                  s->histogram[MPT_EXPONENT_BINS - 1] != s->nans + s->infinities))
    return FAIL(at, error,
                "event 'stats': the histogram does not fit the counts: its sum is 'count', "
                "[0] has the zeros and subnormals, [255] nans and infinities");
  /* As an integer maximum over magnitude bits sees them. */
  s->amax_bits = s->nans > 0         ? UINT32_C(0x7fc00000)
                 : s->infinities > 0 ? UINT32_C(0x7f800000)
                                     : bits_of(e->amax);
  s->amin_bits = bits_of(e->amin);
  return MPT_OK;
}

/* What a member that is absent leaves. */
static void begin(event_kind kind, event *e) {
  memset(e, 0, sizeof *e);
  e->kind = kind;
  if (kind == EVENT_HELLO)
    e->hello.formats = (1u << MPT_PRECISION_COUNT) - 1;
  if (kind == EVENT_STEP)
    e->step.seconds = NAN;
  if (kind == EVENT_TIME)
    e->time = (event_time){.median = NAN, .spread = NAN, .compile = NAN, .peak_bytes = -1};
  if (kind == EVENT_PROBE)
    e->probe.output_amax = NAN;
  if (kind == EVENT_NONFINITE)
    e->nonfinite.operand = -1;
  if (kind == EVENT_DONE)
    e->done.steps = -1;
}

static mpt_status read_event(json_t *json, const event_type *type, const place *at, event *out,
                             mpt_error *error) {
  for (int i = 0; i < type->count; i++) {
    const event_member *m = &type->members[i];
    json_t *value = json_object_get(json, m->name);
    if (value == NULL && m->required)
      return FAIL(at, error, "event '%s' has no '%s'", at->event, m->name);
    if (value == NULL || (json_is_null(value) && !m->required))
      continue;
    MPT_RETURN_IF_FAILED(read_member(value, m, at, (char *)out + m->offset, error));
  }
  if (out->kind == EVENT_STATS)
    return settle_stats(json, at, &out->stats, error);
  return MPT_OK;
}

mpt_status event_read(const char *text, size_t length, const char *file, int line, bool *known,
                      event *out, mpt_error *error) {
  place at = {.file = file, .line = line};
  json_t *json = NULL;
  mpt_status status = MPT_OK;
  *known = false;
  MPT_RETURN_IF_FAILED(parse_line(text, length, &at, &json, error));
  at.event = json_string_value(json_object_get(json, "event"));
  if (at.event == NULL)
    MPT_TRY(FAIL(&at, error, "the object has no 'event'; write {\"event\": \"step\", ...}"));
  int kind = 0;
  while (kind < EVENT_KIND_COUNT && strcmp(event_types[kind].name, at.event) != 0)
    kind++;
  if (kind == EVENT_KIND_COUNT)
    goto fail; /* of another version, or the program's own */
  begin((event_kind)kind, out);
  *known = true;
  status = read_event(json, &event_types[kind], &at, out, error);
  if (status != MPT_OK)
    event_clear(out);
  *known = status == MPT_OK;
fail:
  json_decref(json);
  return status;
}

void event_clear(event *e) {
  switch (e->kind) {
  case EVENT_HELLO:
    json_decref(e->hello.versions);
    break;
  case EVENT_LAYERS:
    free(e->layers.layers);
    free(e->layers.uncovered.names);
    break;
  case EVENT_APPLIED:
    free(e->applied.layers);
    break;
  default:
    break;
  }
  memset(e, 0, sizeof *e);
}
