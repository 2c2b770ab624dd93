/* The budget: by how much a policy may be worse than the reference, and of what. */
#include "base/error.h"
#include "base/number.h"
#include "workload/sections.h"
#include <stdio.h>
#include <string.h>

static const char *const of_words[][3] = {
    [METRIC_LOSS] = {NULL},
    [METRIC_ACCURACY] = {"accuracy", "error", NULL},
    [METRIC_F1] = {"f1", "error", NULL},
    [METRIC_NAMED] = {NULL},
};

/* "0.5%" or "0.005". */
static mpt_status read_share(const mpt_yaml_node *node, const char *key, const char *meaning,
                             const char **text, bool *percent, double *value, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, key, text, error));
  const size_t length = strlen(*text);
  *percent = length > 0 && (*text)[length - 1] == '%';
  if (!mpt_number_read(*text, length - *percent, value))
    return mpt_yaml_fail(node, error, "%s is '%s'; give %s", key, *text, meaning);
  return MPT_OK;
}

static mpt_status read_worse_by(const mpt_yaml_node *node, metric_kind metric, budget_spec *budget,
                                mpt_error *error) {
  const char *text;
  double value;
  MPT_RETURN_IF_FAILED(read_share(
      node, "worse_by", "a share of the reference's metric, 0.5%, or an absolute difference, 0.005",
      &text, &budget->relative, &value, error));
  if (value <= 0.0)
    return mpt_yaml_fail(node, error,
                         "worse_by is %s; a budget must be above 0: rounding changes every result "
                         "a little, so nothing could meet it",
                         text);
  if (budget->relative && value >= 100.0)
    return mpt_yaml_fail(node, error,
                         "worse_by is %s; a relative budget is below 100%%: %s (for a half "
                         "percent write 0.5%%)",
                         text,
                         !metric_moves_in_steps(metric)
                             ? "a training whose metric is off by all of the reference's is "
                               "another training"
                             : "any policy would meet it");
  if (!budget->relative && metric_moves_in_steps(metric) && value >= 1.0)
    return mpt_yaml_fail(node, error,
                         "worse_by is %s; %s is between 0 and 1, so any policy would meet a budget "
                         "of 1 or more (for one percent of the %s write 1%%, for 0.01 less 0.01)",
                         text, metric_words[metric], metric_words[metric]);
  budget->worse_by = budget->relative ? value / 100.0 : value;
  return MPT_OK;
}

static mpt_status read_of(const mpt_yaml_node *node, metric_kind metric, budget_spec *budget,
                          mpt_error *error) {
  int of;
  if (!metric_moves_in_steps(metric))
    return mpt_yaml_fail(node, error,
                         "'of' goes with metric accuracy or f1; a relative budget is "
                         "of the loss here (leave it out)");
  if (!budget->relative)
    return mpt_yaml_fail(node, error,
                         "'of' goes with a relative budget, 0.5%%; an absolute one is "
                         "in the metric's units (leave it out)");
  MPT_RETURN_IF_FAILED(mpt_fields_word(node, "of", of_words[metric], &of, error));
  budget->of_error = of == 1;
  return MPT_OK;
}

static mpt_status read_max_diverged(const mpt_yaml_node *node, budget_spec *budget,
                                    mpt_error *error) {
  const char *text;
  bool percent;
  double value;
  MPT_RETURN_IF_FAILED(read_share(node, "max_diverged", "a share of the trainings, 20% or 0.2",
                                  &text, &percent, &value, error));
  value /= percent ? 100.0 : 1.0;
  if (!(value > 0.0 && value < 1.0))
    return mpt_yaml_fail(node, error,
                         "max_diverged is %s; it is above 0 (no number of trainings shows that "
                         "none diverges) and below 100%%",
                         text);
  budget->max_diverged = value;
  return MPT_OK;
}

mpt_status budget_read(const mpt_yaml_node *map, metric_kind metric, budget_spec *budget,
                       mpt_error *error) {
  static const char *const keys[] = {"worse_by", "of", "max_diverged"};
  const mpt_yaml_node *node;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "the budget", keys, 3, error));
  if ((node = mpt_yaml_get(map, "worse_by")) == NULL)
    return mpt_yaml_fail(map, error, "the budget has no 'worse_by'; give 0.5%% or 0.005");
  MPT_RETURN_IF_FAILED(read_worse_by(node, metric, budget, error));
  budget->line = node->line, budget->column = node->column;
  if ((node = mpt_yaml_get(map, "of")) != NULL)
    MPT_RETURN_IF_FAILED(read_of(node, metric, budget, error));
  if ((node = mpt_yaml_get(map, "max_diverged")) != NULL)
    MPT_RETURN_IF_FAILED(read_max_diverged(node, budget, error));
  return MPT_OK;
}

void workload_budget_text(const workload *w, char *text, size_t size) {
  const budget_spec *b = &w->budget;
  static const char *const of[] = {[METRIC_LOSS] = "",
                                   [METRIC_ACCURACY] = " of the accuracy",
                                   [METRIC_F1] = " of the f1",
                                   [METRIC_NAMED] = ""};
  static const char *const of_error[] = {[METRIC_LOSS] = "",
                                         [METRIC_ACCURACY] = " of the error rate",
                                         [METRIC_F1] = " of the error, 1 - f1",
                                         [METRIC_NAMED] = ""};
  if (!b->relative)
    snprintf(text, size, "%g", b->worse_by);
  else
    snprintf(text, size, "%g%%%s", 100.0 * b->worse_by,
             b->of_error ? of_error[w->metric] : of[w->metric]);
}
