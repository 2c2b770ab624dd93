/* Events of a program under evaluation: what is read, what is refused and how it is said, and that
 * the shipped schema and the reader's tables are one. */
#include "base/file.h"
#include "contract/event.h"
#include "json_schema.h"
#include "near.h"
#include <stdio.h>
#include <stdlib.h>

static json_t *the_schema(void) {
  json_t *schema = json_load_file(MPTUNE_SOURCE_DIR "/docs/contract.schema.json", 0, NULL);
  assert_non_null(schema);
  return schema;
}

/* Whether the shipped schema takes a line of JSON. */
static bool schema_takes(const char *line) {
  json_t *schema = the_schema(), *value = json_loads(line, 0, NULL);
  assert_non_null(value);
  const bool holds = schema_holds(schema, schema, value);
  json_decref(value);
  json_decref(schema);
  return holds;
}

/* Reads an event that is right, by the schema too. */
static event read_line(const char *line) {
  event e;
  bool known;
  mpt_error error = {0};
  if (event_read(line, strlen(line), "events", 7, &known, &e, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_true(known);
  assert_true(schema_takes(line));
  return e;
}

#define HELLO "{\"event\": \"hello\", \"protocol\": 1, \"program\": \"p\""

/* ---- what is read ---- */

static void every_member_is_read(void **state) {
  (void)state;
  event e = read_line(HELLO ", \"device\": \"H200\", \"versions\": {\"torch\": \"2.11\"}, "
                            "\"capabilities\": [\"time\", \"teleport\", \"fork\"], "
                            "\"formats\": [\"bf16\", \"int4\"]}");
  assert_int_equal(e.kind, EVENT_HELLO);
  assert_string_equal(e.hello.device, "H200");
  assert_int_equal(e.hello.capabilities, 1u << CAPABILITY_TIME | 1u << CAPABILITY_FORK);
  assert_int_equal(e.hello.formats, 1u << MPT_PRECISION_BF16);
  assert_string_equal(json_string_value(json_object_get(e.hello.versions, "torch")), "2.11");
  event_clear(&e);

  e = read_line("{\"event\": \"layers\", \"layers\": [{\"name\": \"fc\", \"kind\": \"linear\", "
                "\"shape\": [16, 4], \"rows\": 32}, {\"name\": \"c\", \"kind\": \"conv2d\", "
                "\"shape\": [8, 3, 3, 3]}], \"uncovered\": [\"attn.in_proj\"]}");
  assert_int_equal(e.layers.count, 2);
  assert_int_equal(e.layers.layers[0].shape[1], 4);
  assert_int_equal(e.layers.layers[0].rows, 32);
  assert_int_equal(e.layers.layers[1].rank, 4);
  assert_int_equal(e.layers.layers[1].rows, 0);
  assert_int_equal(e.layers.uncovered.count, 1);
  assert_string_equal(e.layers.uncovered.names[0], "attn.in_proj");
  event_clear(&e);

  e = read_line("{\"event\": \"time\", \"median\": 0.145, \"spread\": 1e-4, \"steps\": 24, "
                "\"compile\": 35.5, \"peak_bytes\": 8589934592}");
  assert_near(e.time.median, 0.145, 0);
  assert_int_equal(e.time.peak_bytes, 8589934592);
  e = read_line("{\"event\": \"time\", \"median\": 2, \"steps\": 3.0, \"spread\": null}");
  assert_near(e.time.median, 2, 0);
  assert_int_equal(e.time.steps, 3);
  assert_true(isnan(e.time.spread));
  assert_int_equal(e.time.peak_bytes, -1);

  e = read_line("{\"event\": \"metric\", \"name\": \"val_loss\", \"value\": 3.25, "
                "\"goal\": \"min\", \"epoch\": 4}");
  assert_string_equal(e.metric.name, "val_loss");
  assert_near(e.metric.value, 3.25, 0);
  assert_false(e.metric.larger_is_better);
  e = read_line("{\"event\": \"probe\", \"layer\": \"fc\", \"format\": \"fp8\", "
                "\"forward\": -1e-3, \"dgrad\": null, \"wgrad\": 0}");
  assert_int_equal(e.probe.format, MPT_PRECISION_FP8);
  assert_true(isnan(e.probe.dgrad));
  e = read_line("{\"event\": \"nonfinite\", \"step\": 17, \"layer\": \"fc\", "
                "\"operand\": \"grad_output\"}");
  assert_int_equal(e.nonfinite.operand, MPT_GRAD_OUTPUT);
  e = read_line("{\"event\": \"done\"}");
  assert_int_equal(e.done.steps, -1);
}

static void formats_are_read_in_every_way(void **state) {
  (void)state;
  event e = read_line(
      "{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": \"bf16\"}, "
      "{\"name\": \"b\", \"fprop\": \"fp8\", \"dgrad\": \"fp32\", \"wgrad\": \"bf16\"}, "
      "{\"name\": \"c\", \"format\": \"tf32\", \"dgrad\": {\"grad_output\": \"fp8_e4m3\", "
      "\"weight\": \"fp8_e4m3\", \"accumulate\": \"fast\"}, \"scaling\": {\"mode\": \"delayed\", "
      "\"history\": 16, \"margin\": 1}}, {\"name\": \"d\", \"format\": "
      "\"fprop=fp8+fast,dgrad=fp8,wgrad=fp8:delayed/4/0\", \"scaling\": null}]}");
  const applied_layer *l = e.applied.layers;
  assert_int_equal(e.applied.count, 4);
  const mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  assert_true(mpt_layer_policy_equal(&l[0].formats, &bf16));
  assert_int_equal(l[1].formats.gemm[MPT_FPROP].precision, MPT_PRECISION_FP8);
  assert_int_equal(l[1].formats.gemm[MPT_DGRAD].precision, MPT_PRECISION_FP32);
  assert_int_equal(l[1].formats.gemm[MPT_WGRAD].precision, MPT_PRECISION_BF16);
  assert_false(l[1].accumulate_given[MPT_FPROP] || l[1].scaling_given);
  assert_int_equal(l[2].formats.gemm[MPT_FPROP].precision, MPT_PRECISION_TF32);
  assert_int_equal(l[2].formats.gemm[MPT_DGRAD].operand[0], MPT_FP8_E4M3);
  assert_int_equal(l[2].formats.gemm[MPT_DGRAD].accumulate, MPT_ACCUMULATE_FAST);
  assert_true(l[2].accumulate_given[MPT_DGRAD] && l[2].scaling_given);
  assert_int_equal(l[2].formats.scaling.history, 16);
  assert_int_equal(l[3].formats.gemm[MPT_FPROP].accumulate, MPT_ACCUMULATE_FAST);
  assert_int_equal(l[3].formats.scaling.history, 4);
  assert_true(l[3].accumulate_given[MPT_FPROP] && l[3].scaling_given);
  event_clear(&e);
}

/* As Python's json writes them, though they are no JSON. */
static void numbers_that_are_not_finite_are_read(void **state) {
  (void)state;
  static const char *const words[] = {"NaN", "Infinity", "-Infinity", "null"};
  for (int i = 0; i < 4; i++) {
    char line[200];
    event e;
    bool known;
    mpt_error error = {0};
    snprintf(line, sizeof line,
             "{\"event\": \"step\", \"note\": \"a \\\"NaN\\\" b\", \"loss\": %s, \"step\": 3}",
             words[i]);
    if (event_read(line, strlen(line), "events", 7, &known, &e, &error) != MPT_OK)
      fail_msg("%s", error.message);
    assert_true(known && isnan(e.step.loss));
    assert_int_equal(e.step.step, 3);
  }
}

static void statistics_become_those_of_the_store(void **state) {
  (void)state;
  char line[4000];
  const char *head = "{\"event\": \"stats\", \"step\": 5, \"layer\": \"fc\", \"operand\": "
                     "\"weight\", \"count\": 10, \"zeros\": 2, \"nans\": 0, \"infinities\": 1, "
                     "\"amax\": 1.5, \"amin\": 0.25";
  snprintf(line, sizeof line, "%s, \"sum\": 4.5, \"sum_of_squares\": 9.5, \"histogram\": [2", head);
  for (int i = 1; i < 256; i++)
    snprintf(line + strlen(line), sizeof line - strlen(line), ",%d",
             i == 125   ? 3
             : i == 127 ? 4
             : i == 255 ? 1
                        : 0);
  snprintf(line + strlen(line), sizeof line - strlen(line), "]}");
  event e = read_line(line);
  const mpt_statistics *s = &e.stats.statistics;
  assert_true(s->full);
  assert_int_equal(e.stats.operand, MPT_WEIGHT);
  assert_int_equal(s->amax_bits, 0x7f800000);
  assert_int_equal(s->amin_bits, 0x3e800000);
  assert_int_equal(s->histogram[125], 3);
  snprintf(line, sizeof line, "%s}", head);
  e = read_line(line);
  assert_false(e.stats.statistics.full);
}

static void what_is_not_known_is_ignored(void **state) {
  (void)state;
  static const char line[] = "{\"event\": \"epoch\", \"step\": -5}";
  event e;
  bool known = true;
  assert_int_equal(event_read(line, strlen(line), "events", 1, &known, &e, NULL), MPT_OK);
  assert_false(known);
}

/* ---- what is refused ---- */

typedef struct refusal {
  const char *line, *message;
  bool schema_takes; /* what a schema cannot say */
} refusal;

static const refusal refusals[] = {
    {"[1]", "the line is a list; an event is an object, {\"event\": ...}", false},
    {"{\"step\": 1}", "the object has no 'event'; write {\"event\": \"step\", ...}", false},
    {"{\"event\": \"step\", \"loss\": 1}", "event 'step' has no 'step'", false},
    {"{\"event\": \"step\", \"step\": 1}", "event 'step' has no 'loss'", false},
    {"{\"event\": \"step\", \"step\": -1, \"loss\": 1}",
     "event 'step': 'step' is -1; write a whole number from 0 to 999999999999", false},
    {"{\"event\": \"step\", \"step\": 1.5, \"loss\": 1}",
     "event 'step': 'step' is 1.5; write a whole number from 0 to 999999999999", false},
    {"{\"event\": \"step\", \"step\": \"1\", \"loss\": 1}",
     "event 'step': 'step' is a text; write a whole number", false},
    {"{\"event\": \"step\", \"step\": null, \"loss\": 1}",
     "event 'step': 'step' is null; write a whole number", false},
    {"{\"event\": \"step\", \"step\": 1, \"loss\": \"1\"}",
     "event 'step': 'loss' is a text; write a number, or null for one that is not finite", false},
    {"{\"event\": \"step\", \"step\": 1, \"loss\": 1, \"seconds\": -1}",
     "event 'step': 'seconds' is -1; write a number from 0 to 1000000000", false},
    {"{\"event\": \"time\", \"median\": 0, \"steps\": 1}",
     "event 'time': 'median' is 0; write a number from 1e-12 to 1000000000", false},
    {"{\"event\": \"hello\", \"protocol\": 1, \"program\": \"\"}",
     "event 'hello': 'program' has 0 bytes; write 1 to 255", false},
    {HELLO ", \"capabilities\": \"fork\"}", "event 'hello': 'capabilities' is no list of words",
     false},
    {HELLO ", \"versions\": {\"torch\": 2.11}}", "event 'hello': 'versions' is no object of texts",
     false},
    {"{\"event\": \"metric\", \"name\": \"a\", \"value\": 1, \"goal\": \"lower\"}",
     "event 'metric': 'goal' is 'lower'; write one of min, max", false},
    {"{\"event\": \"metric\", \"name\": \"a\", \"value\": 1, \"goal\": 1}",
     "event 'metric': 'goal' is a number; write one of min, max", false},
    {"{\"event\": \"layers\", \"layers\": []}",
     "event 'layers': 'layers' is empty; name every layer that has a format", false},
    {"{\"event\": \"layers\", \"layers\": [{\"kind\": \"linear\"}]}",
     "event 'layers': 'layers' [0] has no 'name'", false},
    {"{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\"}]}",
     "event 'layers': 'layers' [0] 'a' has no 'shape' of 1 to 4 numbers: of a linear layer [out, "
     "in]",
     false},
    {"{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\", \"shape\": [0, "
     "4]}]}",
     "event 'layers': 'layers' [0] 'a' shape[0] is no whole number from 1 to 1e9", false},
    {"{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"linear\", \"shape\": "
     "[4]}]}",
     "event 'layers': 'layers' [0] 'a' has a shape of 1 numbers; a linear layer's has 2: [out, in]",
     true},
    {"{\"event\": \"layers\", \"layers\": [{\"name\": \"a\", \"kind\": \"x\", \"shape\": [4]}, "
     "{\"name\": \"a\", \"kind\": \"x\", \"shape\": [4]}]}",
     "event 'layers': 'layers' has 'a' twice", true},
    {"{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"fprop\": \"bf16\"}]}",
     "event 'applied': 'layers' [0] 'a' has neither a 'format' nor all of fprop, dgrad and wgrad; "
     "of a product that is not run, name the format that was asked",
     false},
    {"{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": \"int8\"}]}",
     "event 'applied': 'layers' [0] 'a' format is 'int8'; write fp32, tf32, bf16, fp16 or fp8",
     true},
    {"{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": \"bf16\", \"fprop\": "
     "{\"input\": \"bf16\"}}]}",
     "event 'applied': 'layers' [0] 'a' fprop has no format of its 'weight': one of fp32 tf32 bf16 "
     "fp16 fp8_e4m3 fp8_e5m2",
     false},
    {"{\"event\": \"applied\", \"layers\": [{\"name\": \"a\", \"format\": \"bf16\", \"fprop\": "
     "{\"input\": \"bf16\", \"weight\": \"fp16\"}}]}",
     "event 'applied': 'layers' [0] 'a' fprop has operands of two formats; both are the same, or "
     "both fp8",
     true},
    {"{\"event\": \"stats\", \"step\": 1, \"layer\": \"a\", \"operand\": \"input\", \"count\": 3, "
     "\"zeros\": 4, \"nans\": 0, \"infinities\": 0, \"amax\": 1, \"amin\": 1}",
     "event 'stats': zeros, nans and infinities are more than the 3 elements that 'count' says",
     true},
    {"{\"event\": \"stats\", \"step\": 1, \"layer\": \"a\", \"operand\": \"output\", \"count\": 3, "
     "\"zeros\": 0, \"nans\": 0, \"infinities\": 0, \"amax\": 1, \"amin\": 1}",
     "event 'stats': 'operand' is 'output'; write one of input, weight, grad_output", false},
    {"{\"event\": \"stats\", \"step\": 1, \"layer\": \"a\", \"operand\": \"input\", \"count\": 3, "
     "\"zeros\": 0, \"nans\": 0, \"infinities\": 0, \"amax\": 1, \"amin\": 1, \"histogram\": [3]}",
     "event 'stats': 'histogram' is no list of 256 counts, one for each exponent of fp32", false},
};

static void what_is_wrong_is_named(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    const refusal *r = &refusals[i];
    event e;
    bool known = true;
    mpt_error error = {0};
    if (event_read(r->line, strlen(r->line), "events", 7, &known, &e, &error) != MPT_ERROR_SYNTAX)
      fail_msg("taken: %s", r->line);
    assert_false(known);
    assert_string_equal(error.file, "events");
    assert_int_equal(error.line, 7);
    if (strncmp(error.message, r->message, strlen(r->message)) != 0)
      fail_msg("of %s it says: %s", r->line, error.message);
    if (schema_takes(r->line) != r->schema_takes)
      fail_msg("the schema %s %s", r->schema_takes ? "refuses" : "takes", r->line);
  }
}

static void what_is_no_json_is_refused(void **state) {
  (void)state;
  static const char *const lines[] = {
      "loss 3.5",
      "{\"event\": \"step\", \"step\": 1, \"loss\": 1",
      "{\"event\": \"step\", \"step\": 1, \"loss\": nan}",
      "{\"event\": \"step\", \"step\": 1, \"step\": 2, \"loss\": 1}",
      "{\"event\": \"step\", \"step\": 1, \"loss\": 1e999}",
      "{\"event\": \"st\xff\", \"step\": 1}",
      "{'event': 'step'}"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    event e;
    bool known = true;
    mpt_error error = {0};
    assert_int_equal(event_read(lines[i], strlen(lines[i]), "events", 9, &known, &e, &error),
                     MPT_ERROR_SYNTAX);
    assert_int_equal(error.line, 9);
    assert_non_null(strstr(error.message, "; write one JSON object a line, each by one write"));
  }
}

/* ---- the schema and the tables are one ---- */

static const json_t *definition(const json_t *schema, const char *name) {
  const json_t *found = json_object_get(json_object_get(schema, "$defs"), name);
  if (found == NULL)
    fail_msg("the schema has no '%s'", name);
  return found;
}

static bool is_required(const json_t *type, const char *name) {
  const json_t *names = json_object_get(type, "required");
  for (size_t i = 0; i < json_array_size(names); i++)
    if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
      return true;
  return false;
}

static bool may_be_null(const json_t *root, const json_t *own) {
  json_t *null = json_null();
  return schema_holds(root, own, null);
}

static void compare_member(const json_t *schema, const char *kind, const event_member *m,
                           const json_t *type) {
  const json_t *own = json_object_get(json_object_get(type, "properties"), m->name);
  if (own == NULL)
    fail_msg("the schema's '%s' has no '%s'", kind, m->name);
  if (is_required(type, m->name) != m->required)
    fail_msg("'%s' of '%s' is required here or there", m->name, kind);
  if (may_be_null(schema, own) != (m->may_be_null || !m->required))
    fail_msg("'%s' of '%s' may be null here or there", m->name, kind);
  if (m->type == MEMBER_INTEGER || m->type == MEMBER_NUMBER) {
    assert_near(json_number_value(json_object_get(own, "minimum")), m->low, 0);
    assert_near(json_number_value(json_object_get(own, "maximum")), m->high, 0);
  }
  if (m->type == MEMBER_TEXT)
    assert_int_equal(json_integer_value(json_object_get(own, "maxLength")), m->size - 1);
  for (int w = 0; m->type == MEMBER_WORD && m->words[w] != NULL; w++)
    assert_string_equal(json_string_value(json_array_get(json_object_get(own, "enum"), (size_t)w)),
                        m->words[w]);
  assert_true(json_is_string(json_object_get(own, "description")) || m->type >= MEMBER_LAYERS);
}

static void the_schema_has_the_members_of_the_tables(void **state) {
  (void)state;
  json_t *schema = the_schema();
  for (int k = 0; k < EVENT_KIND_COUNT; k++) {
    const event_type *t = &event_types[k];
    const json_t *type = definition(schema, t->name);
    assert_int_equal(json_object_size(json_object_get(type, "properties")), t->count + 1);
    assert_true(is_required(type, "event"));
    for (int i = 0; i < t->count; i++)
      compare_member(schema, t->name, &t->members[i], type);
  }
  const json_t *list =
      json_object_get(json_object_get(definition(schema, "stats"), "properties"), "histogram");
  assert_int_equal(json_integer_value(json_object_get(list, "maxItems")), MPT_EXPONENT_BINS);
  assert_int_equal(json_integer_value(json_object_get(list, "minItems")), MPT_EXPONENT_BINS);
  json_decref(schema);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_member_is_read),
      cmocka_unit_test(formats_are_read_in_every_way),
      cmocka_unit_test(numbers_that_are_not_finite_are_read),
      cmocka_unit_test(statistics_become_those_of_the_store),
      cmocka_unit_test(what_is_not_known_is_ignored),
      cmocka_unit_test(what_is_wrong_is_named),
      cmocka_unit_test(what_is_no_json_is_refused),
      cmocka_unit_test(the_schema_has_the_members_of_the_tables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
