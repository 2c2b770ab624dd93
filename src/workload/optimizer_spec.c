/* The `optimizer` and `schedule` sections: each kind takes keys of its own. */
#include "base/error.h"
#include "workload/sections.h"
#include <stdio.h>

const char *const optimizer_words[] = {"sgd", "adam", "adamw", NULL};
const char *const schedule_words[] = {"constant", "linear", "cosine", NULL};
const mpt_field optimizer_fields[] = {
    {"kind", MPT_FIELD_WORD, true, offsetof(optimizer_spec, kind), 0, 0, 0, optimizer_words},
    {"learning_rate", MPT_FIELD_ABOVE, true, offsetof(optimizer_spec, learning_rate), 0, 0, 1e6,
     NULL},
    {"momentum", MPT_FIELD_BELOW, false, offsetof(optimizer_spec, momentum), 0, 0, 1, NULL},
    {"beta1", MPT_FIELD_BELOW, false, offsetof(optimizer_spec, beta1), 0, 0, 1, NULL},
    {"beta2", MPT_FIELD_BELOW, false, offsetof(optimizer_spec, beta2), 0, 0, 1, NULL},
    {"epsilon", MPT_FIELD_ABOVE, false, offsetof(optimizer_spec, epsilon), 0, 0, 1, NULL},
    {"weight_decay", MPT_FIELD_NUMBER, false, offsetof(optimizer_spec, weight_decay), 0, 0, 1e6,
     NULL},
    {"clip", MPT_FIELD_ABOVE, false, offsetof(optimizer_spec, clip), 0, 0, 1e30, NULL},
    {"accumulate", MPT_FIELD_INTEGER, false, offsetof(optimizer_spec, accumulate), 0, 1, 1e6, NULL},
};
const size_t optimizer_field_count = MPT_FIELD_COUNT(optimizer_fields);

const mpt_field schedule_fields[] = {
    {"kind", MPT_FIELD_WORD, true, offsetof(optimizer_spec, schedule), 0, 0, 0, schedule_words},
    {"warmup", MPT_FIELD_INTEGER, false, offsetof(optimizer_spec, warmup), 0, 0, 1e12, NULL},
    {"final_fraction", MPT_FIELD_NUMBER, false, offsetof(optimizer_spec, final_fraction), 0, 0, 1,
     NULL},
};
const size_t schedule_field_count = MPT_FIELD_COUNT(schedule_fields);

mpt_status optimizer_read(const mpt_yaml_node *map, optimizer_spec *optimizer, mpt_error *error) {
  static const char *const sgd[] = {"!kind", "!learning_rate", "momentum", "weight_decay",
                                    "clip",  "accumulate",     NULL};
  static const char *const adam[] = {"!kind", "!learning_rate", "beta1",
                                     "beta2", "epsilon",        "weight_decay",
                                     "clip",  "accumulate",     NULL};
  int kind;
  char what[40];
  MPT_RETURN_IF_FAILED(mpt_fields_kind(map, "the optimizer", optimizer_words, &kind, error));
  snprintf(what, sizeof what, "the optimizer %s", optimizer_words[kind]);
  return mpt_fields_read_kind(map, what, optimizer_fields, optimizer_field_count,
                              kind == OPTIMIZER_SGD ? sgd : adam, optimizer, error);
}

mpt_status schedule_read(const mpt_yaml_node *map, optimizer_spec *optimizer, mpt_error *error) {
  static const char *const constant[] = {"!kind", "warmup", NULL};
  static const char *const falling[] = {"!kind", "warmup", "final_fraction", NULL};
  int kind;
  char what[40];
  MPT_RETURN_IF_FAILED(mpt_fields_kind(map, "the schedule", schedule_words, &kind, error));
  snprintf(what, sizeof what, "a %s schedule", schedule_words[kind]);
  return mpt_fields_read_kind(map, what, schedule_fields, schedule_field_count,
                              kind == SCHEDULE_CONSTANT ? constant : falling, optimizer, error);
}
