#include "tuner/budget.h"
#include "base/error.h"
#include <math.h>
#include <stdio.h>

verify_rule budget_rule(const workload *w, double alpha) {
  const budget_spec *b = &w->budget;
  return (verify_rule){.budget = b->worse_by,
                       .relative = b->relative,
                       .higher_is_better = workload_larger_is_better(w) && !b->of_error,
                       .population = w->metric_over == METRIC_OVER_POPULATION,
                       .alpha = alpha,
                       .most_diverged = b->max_diverged > 0.0 ? b->max_diverged : NAN};
}

int64_t budget_judged(const workload *w, const dataset_info *info) {
  if (!metric_moves_in_steps((int)w->metric))
    return 0;
  const int64_t rows = info->held_out * (info->tokens ? info->sequence : 1);
  const bool each_target = w->metric == METRIC_ACCURACY && info->classes == 0;
  return rows * (each_target ? info->targets : 1);
}

/* Two digits, upwards: what is printed as enough is enough. */
static double round_up(double value) {
  const double unit = pow(10.0, floor(log10(value)) - 1.0);
  return ceil(value / unit * (1.0 - 1e-12)) * unit;
}

/* Where more pairs would do. */
static const char *more_pairs(bool enough) {
  return enough ? "--pairs 24, " : "";
}

static mpt_status too_small(const workload *w, int64_t judged, double resolution, const char *why,
                            bool of_most, mpt_error *error) {
  const budget_spec *b = &w->budget;
  const double needed = round_up(resolution * (double)judged / b->worse_by);
  const double least = round_up(resolution), scale = b->relative ? 100.0 : 1.0;
  const char *percent = b->relative ? "%" : "";
  char text[64];
  workload_budget_text(w, text, sizeof text);
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, w->path, b->line, b->column,
                     "%lld held-out samples cannot resolve a budget of %s: %s (give %sat least "
                     "%.0f held-out samples, or a budget of at least %g%s)",
                     (long long)judged, text, why, more_pairs(of_most), needed, least * scale,
                     percent);
}

static mpt_status check_samples(const workload *w, int64_t judged, double alpha, int pairs,
                                mpt_error *error) {
  const verify_rule rule = budget_rule(w, alpha);
  const double one = 1.0 / (double)judged, budget = w->budget.worse_by;
  const double resolution = verify_resolution(&rule, judged, pairs);
  const bool of_most = budget >= verify_resolution(&rule, judged, VERIFY_MOST_PAIRS);
  char why[160];
  if (judged <= 0 || budget >= resolution)
    return MPT_OK;
  if (budget < one)
    snprintf(why, sizeof why, "one sample more or less is %.2g%s",
             one * (w->budget.relative ? 100.0 : 1.0), w->budget.relative ? "% or more" : "");
  else
    snprintf(why, sizeof why,
             "with metric_over: population not even a policy that changes no answer passes within "
             "%d pairs",
             pairs);
  return too_small(w, judged, resolution, why, of_most, error);
}

/* The share that may diverge though none of so many did. */
static double least_diverged(int pairs) {
  return 1.0 - pow(0.05, 1.0 / pairs);
}

mpt_status budget_check_resolution(const workload *w, int64_t judged, double alpha, int pairs,
                                   mpt_error *error) {
  const double asked = w->budget.max_diverged, least = least_diverged(pairs);
  if (asked > 0.0 && asked < least)
    return mpt_fail_at(error, MPT_ERROR_SYNTAX, w->path, w->budget.line, w->budget.column,
                       "max_diverged: %g%% cannot be shown: %d pairs of which none diverges show "
                       "at most %.3g%% (give %s%g%% or more, or leave it out)",
                       100.0 * asked, pairs, 100.0 * least,
                       more_pairs(asked >= least_diverged(VERIFY_MOST_PAIRS)),
                       100.0 * round_up(least));
  return check_samples(w, judged, alpha, pairs, error);
}
