#include "contract/event.h"
#include <stddef.h>

const char *const capability_words[] = {"fork", "time", "observe", "serve", "phases", NULL};
static const char *const precision_words[] = {"fp32", "tf32", "bf16", "fp16", "fp8", NULL};
static const char *const operand_words[] = {"input", "weight", "grad_output", NULL};
static const char *const goal_words[] = {"min", "max", NULL};

#define AT(member)   offsetof(event, member)
#define SIZE(member) sizeof(((event *)NULL)->member)

#define TEXT(name, member, required)                                                               \
  { name, MEMBER_TEXT, required, false, AT(member), SIZE(member), 0, 0, NULL }
#define INTEGER(name, member, required, low, high)                                                 \
  { name, MEMBER_INTEGER, required, false, AT(member), 0, low, high, NULL }
#define NUMBER(name, member, required, low, high)                                                  \
  { name, MEMBER_NUMBER, required, false, AT(member), 0, low, high, NULL }
#define OR_NULL(name, member, required, low, high)                                                 \
  { name, MEMBER_NUMBER, required, true, AT(member), 0, low, high, NULL }
#define WORD(name, member, required, words)                                                        \
  { name, MEMBER_WORD, required, false, AT(member), 0, 0, 0, words }
#define OTHER(name, type, member, required)                                                        \
  { name, type, required, false, AT(member), 0, 0, 0, NULL }

#define MOST                   1.7976931348623157e308 /* DBL_MAX */
#define MOST_COUNT             9007199254740992.0 /* 2^53: what every JSON reader keeps exactly */
#define STEP(member, required) INTEGER("step", member, required, 0, EVENT_MOST_STEPS - 1)

static const event_member hello[] = {
    INTEGER("protocol", hello.protocol, true, 1, MOST_COUNT),
    TEXT("program", hello.program, true),
    TEXT("device", hello.device, false),
    OTHER("versions", MEMBER_TEXTS, hello.versions, false),
    {"capabilities", MEMBER_WORDS, false, false, AT(hello.capabilities), 0, 0, 0, capability_words},
    {"formats", MEMBER_WORDS, false, false, AT(hello.formats), 0, 0, 0, precision_words},
};

static const event_member layers[] = {
    OTHER("layers", MEMBER_LAYERS, layers, true),
    OTHER("uncovered", MEMBER_NAMES, layers.uncovered, false),
};

static const event_member applied[] = {
    OTHER("layers", MEMBER_FORMATS, applied, true),
};

static const event_member step[] = {
    STEP(step.step, true),
    OR_NULL("loss", step.loss, true, -MOST, MOST),
    NUMBER("seconds", step.seconds, false, 0, 1e9),
};

static const event_member time_members[] = {
    NUMBER("median", time.median, true, 1e-12, 1e9),
    NUMBER("spread", time.spread, false, 0, 1e9),
    INTEGER("steps", time.steps, true, 1, EVENT_MOST_STEPS),
    NUMBER("compile", time.compile, false, 0, 1e9),
    INTEGER("peak_bytes", time.peak_bytes, false, 0, MOST_COUNT),
};

#define COUNT(name, member) INTEGER(name, member, true, 0, MOST_COUNT)
static const event_member stats[] = {
    STEP(stats.step, true),
    TEXT("layer", stats.layer, true),
    WORD("operand", stats.operand, true, operand_words),
    COUNT("count", stats.statistics.count),
    COUNT("zeros", stats.statistics.zeros),
    COUNT("nans", stats.statistics.nans),
    COUNT("infinities", stats.statistics.infinities),
    /* Of fp32 elements: amax of the finite ones, amin of those that are not zero either. */
    NUMBER("amax", stats.amax, true, 0, 0x1.fffffep127),
    NUMBER("amin", stats.amin, true, 0, 0x1.fffffep127),
    NUMBER("sum", stats.statistics.sum, false, -MOST, MOST),
    NUMBER("sum_of_squares", stats.statistics.sum_of_squares, false, 0, MOST),
    OTHER("histogram", MEMBER_HISTOGRAM, stats.statistics.histogram, false),
};

static const event_member probe[] = {
    TEXT("layer", probe.layer, true),
    WORD("format", probe.format, true, precision_words),
    OR_NULL("forward", probe.forward, true, -MOST, MOST),
    OR_NULL("dgrad", probe.dgrad, true, 0, MOST),
    OR_NULL("wgrad", probe.wgrad, true, 0, MOST),
    OR_NULL("output_amax", probe.output_amax, false, 0, MOST),
};

static const event_member nonfinite[] = {
    STEP(nonfinite.step, true),
    TEXT("layer", nonfinite.layer, false),
    WORD("operand", nonfinite.operand, false, operand_words),
};

static const event_member skipped[] = {
    STEP(skipped.step, true),
};

static const event_member metric[] = {
    TEXT("name", metric.name, true),
    OR_NULL("value", metric.value, true, -MOST, MOST),
    WORD("goal", metric.larger_is_better, true, goal_words),
};

static const event_member done[] = {
    INTEGER("steps", done.steps, false, 0, EVENT_MOST_STEPS),
};

#define TYPE(name, members)                                                                        \
  { name, members, (int)(sizeof(members) / sizeof(members)[0]) }
const event_type event_types[EVENT_KIND_COUNT] = {
    [EVENT_HELLO] = TYPE("hello", hello),       [EVENT_LAYERS] = TYPE("layers", layers),
    [EVENT_APPLIED] = TYPE("applied", applied), [EVENT_STEP] = TYPE("step", step),
    [EVENT_TIME] = TYPE("time", time_members),  [EVENT_STATS] = TYPE("stats", stats),
    [EVENT_PROBE] = TYPE("probe", probe),       [EVENT_NONFINITE] = TYPE("nonfinite", nonfinite),
    [EVENT_SKIPPED] = TYPE("skipped", skipped), [EVENT_METRIC] = TYPE("metric", metric),
    [EVENT_DONE] = TYPE("done", done),
};

const char *event_name(event_kind kind) {
  return event_types[kind].name;
}
