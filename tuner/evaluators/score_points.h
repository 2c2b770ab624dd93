/* Scores of the reference's layers at points of its training (train/scores.h): early, where the
 * loss falls, halfway, and at the end, where a low learning rate makes precision matter most. */
#ifndef SCORE_POINTS_H
#define SCORE_POINTS_H

#include "store/run_scores.h"
#include "train/trainer.h"

enum { SCORE_POINTS = 3 };

typedef struct score_points {
  train_snapshot at[SCORE_POINTS]; /* for the training to take */
  int count;                       /* fewer where there are fewer steps */
} score_points;
void score_points_plan(score_points *points, int64_t steps);
void score_points_clear(score_points *points);

/* Means over the points that the training came to, into the rows of `scores`: forward is the loss's
 * expected increase (score_forward), dgrad and wgrad the bias of the gradient, not below 0. What is
 * not finite at one of them is NaN. `training` is the one that took the snapshots. */
mpt_status score_points_measure(const score_points *points, const train_options *training,
                                store_scores *scores, mpt_error *error);

#endif
