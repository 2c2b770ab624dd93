/* Readers of a workload's sections, private to this room. */
#ifndef WORKLOAD_SECTIONS_H
#define WORKLOAD_SECTIONS_H

#include "base/fields.h"
#include "workload/workload.h"

#define WORKLOAD_MAX_SIZE 1e9 /* of one dimension, so that a product of two fits in 64 bits */

enum { WORKLOAD_SIZE_LIMIT = 4 << 20, WORKLOAD_DEPTH_LIMIT = 16 }; /* of a file */

#define WORKLOAD_SECTION(key, required)                                                            \
  { key, MPT_FIELD_OTHER, required, 0, 0, 0, 0, NULL }
#define WORKLOAD_WORD(key, member, words, required)                                                \
  { key, MPT_FIELD_WORD, required, offsetof(workload, member), 0, 0, 0, words }

extern const char *const loss_words[], *const metric_words[], *const optimizer_words[];
extern const char *const schedule_words[], *const precision_words[], *const activation_words[];
extern const mpt_field optimizer_fields[], schedule_fields[], layer_fields[], data_fields[];
extern const size_t optimizer_field_count, schedule_field_count, layer_field_count;
extern const size_t data_field_count;

mpt_status data_spec_read(const mpt_yaml_node *map, data_spec *data, mpt_error *error);

/* `data` gives what a preset takes from it: sequence, vocabulary, whether images come in. */
mpt_status model_spec_read(const mpt_yaml_node *map, const data_spec *data, model_spec *model,
                           mpt_error *error);

mpt_status optimizer_read(const mpt_yaml_node *map, optimizer_spec *optimizer, mpt_error *error);
/* Into the optimizer, which holds the schedule too. */
mpt_status schedule_read(const mpt_yaml_node *map, optimizer_spec *optimizer, mpt_error *error);

workload workload_default(void);

/* common_spec.c */
mpt_status workload_schema_read(const mpt_yaml_node *root, mpt_error *error);
mpt_status workload_name_settle(const mpt_yaml_node *root, workload *w, mpt_error *error);
mpt_status pins_read(const mpt_yaml_node *list, workload *w, mpt_error *error);
mpt_status exclusions_read(const mpt_yaml_node *list, workload *w, mpt_error *error);
mpt_status loss_scale_read(const mpt_yaml_node *map, mpt_loss_scale_policy *scale,
                           mpt_error *error);

mpt_status budget_read(const mpt_yaml_node *map, metric_kind metric, budget_spec *budget,
                       mpt_error *error);

/* Fills model->layers from the preset's sizes. */
mpt_status preset_build(model_spec *model, mpt_error *error);

#endif
