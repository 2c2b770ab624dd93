/* How the held-out samples were judged, for metrics that count: accuracy and f1. */
#ifndef JUDGEMENTS_H
#define JUDGEMENTS_H

#include "train/trainer.h"

typedef struct judgements {
  metric_kind metric;
  bool targets;    /* binary targets: each output of a row is judged; else each row, by class */
  int64_t classes; /* outputs of a row */
  int64_t *counts; /* [3 * classes]: hits, false alarms, misses of each class */
  int64_t rows, judged, right;
  int64_t capacity;  /* rows that are kept; 0: only counted */
  uint8_t *bits;     /* [judged / 8, up], accuracy: the least significant bit first */
  uint8_t *verdicts; /* [rows * classes], f1 of targets: 1 said, 2 is */
  int32_t *labels;   /* [rows][2], f1 of classes: said, is */
} judgements;

/* `rows`: how many are kept for judgements_move, 0 none. Closed by judgements_close in any case. */
mpt_status judgements_open(judgements *j, metric_kind metric, bool targets, int64_t classes,
                           int64_t rows, mpt_error *error);
void judgements_close(judgements *j);

/* A row of outputs, [classes]. */
void judgements_add_label(judgements *j, const float *outputs, int32_t label);
void judgements_add_targets(judgements *j, const float *outputs, const float *targets);

double judgements_metric(const judgements *j);

/* Into result->judged, right or contributions and unit: what the metric is the mean of. */
mpt_status judgements_move(judgements *j, train_result *result, mpt_error *error);

/* f1.c: class c counts in the mean of f1; the classes that do; f1; its contributions [rows]. */
bool f1_counts(const judgements *j, int64_t c);
double f1_of(const judgements *j);
void f1_contributions(const judgements *j, float *contributions);
double f1_unit(const judgements *j);

#endif
