/* accuracy: the share of rows whose largest output is the label; of binary targets, the share of
 * targets on the right side. The largest output is the first of equals. */
#include "train/judgements.h"
#include "base/error.h"
#include <stdlib.h>

static mpt_status reserve(void **memory, int64_t count, size_t size, mpt_error *error) {
  *memory = calloc((size_t)count, size);
  return *memory == NULL ? mpt_fail_memory(error, "the judged samples", (size_t)count * size)
                         : MPT_OK;
}

mpt_status judgements_open(judgements *j, metric_kind metric, bool targets, int64_t classes,
                           int64_t rows, mpt_error *error) {
  *j = (judgements){.metric = metric, .targets = targets, .classes = classes, .capacity = rows};
  if (metric == METRIC_LOSS)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(reserve((void **)&j->counts, 3 * classes, sizeof *j->counts, error));
  if (rows == 0)
    return MPT_OK;
  if (metric == METRIC_ACCURACY)
    return reserve((void **)&j->bits, (rows * (targets ? classes : 1) + 7) / 8, 1, error);
  if (targets)
    return reserve((void **)&j->verdicts, rows * classes, 1, error);
  return reserve((void **)&j->labels, rows, 2 * sizeof *j->labels, error);
}

void judgements_close(judgements *j) {
  free(j->counts);
  free(j->bits);
  free(j->verdicts);
  free(j->labels);
  *j = (judgements){0};
}

static void judge(judgements *j, int64_t class, bool said, bool is) {
  if (said && is)
    j->counts[3 * class]++;
  else if (said)
    j->counts[3 * class + 1]++;
  else if (is)
    j->counts[3 * class + 2]++;
}

static void count(judgements *j, bool right) {
  if (right && j->bits != NULL)
    j->bits[j->judged / 8] |= (uint8_t)(1U << (j->judged % 8));
  j->right += right;
  j->judged++;
}

void judgements_add_label(judgements *j, const float *outputs, int32_t label) {
  int64_t best = 0;
  for (int64_t c = 1; c < j->classes; c++)
    if (outputs[c] > outputs[best])
      best = c;
  judge(j, best, true, best == label);
  if (best != label)
    judge(j, label, false, true);
  if (j->labels != NULL) {
    j->labels[2 * j->rows] = (int32_t)best;
    j->labels[2 * j->rows + 1] = label;
  }
  count(j, best == label);
  j->rows++;
}

void judgements_add_targets(judgements *j, const float *outputs, const float *targets) {
  for (int64_t c = 0; c < j->classes; c++) {
    const bool said = outputs[c] > 0.0f, is = targets[c] > 0.5f;
    judge(j, c, said, is);
    if (j->verdicts != NULL)
      j->verdicts[j->rows * j->classes + c] = (uint8_t)(said + 2 * is);
    count(j, said == is);
  }
  j->rows++;
}

double judgements_metric(const judgements *j) {
  return j->metric == METRIC_F1 ? f1_of(j) : (double)j->right / (double)j->judged;
}

mpt_status judgements_move(judgements *j, train_result *result, mpt_error *error) {
  if (j->metric == METRIC_LOSS || j->capacity == 0)
    return MPT_OK;
  if (j->metric == METRIC_ACCURACY) {
    result->judged = j->judged;
    result->unit = 1.0;
    result->right = j->bits;
    j->bits = NULL;
    return MPT_OK;
  }
  MPT_RETURN_IF_FAILED(reserve((void **)&result->contributions, j->rows, sizeof(float), error));
  result->judged = j->rows;
  result->unit = f1_unit(j);
  f1_contributions(j, result->contributions);
  return MPT_OK;
}
