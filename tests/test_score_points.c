/* Scores of a training's points, as the search gets them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "near.h"
#include "small_network.h"
#include "store/database.h"
#include "store_fixture.h"
#include "train/scores.h"
#include "tuner/evaluators/score_points.h"
#include <math.h>

static void points_are_early_halfway_and_last(void **state) {
  (void)state;
  static const int64_t steps[][SCORE_POINTS + 1] = {
      {2000, 200, 1000, 2000}, {10, 1, 5, 10}, {2, 0, 1, 2}, {1, 0, 1, 0}};
  static const int counts[] = {3, 3, 3, 2};
  for (int i = 0; i < 4; i++) {
    score_points p;
    score_points_plan(&p, steps[i][0]);
    assert_int_equal(p.count, counts[i]);
    for (int k = 0; k < p.count; k++)
      assert_int_equal(p.at[k].step, steps[i][k + 1]);
    score_points_clear(&p);
  }
}

/* Every row is the mean over the points that were reached. */
static void means_are_over_the_points_reached(void **state) {
  (void)state;
  small_network f = {0};
  mpt_error error = {0};
  train_result result;
  score_points points;
  store_score rows[] = {{.layer = "fc1", .precision = MPT_PRECISION_FP8, .output_amax = 3},
                        {.layer = "head", .precision = MPT_PRECISION_BF16, .output_amax = 4}};
  test_mlp(&f.m, 12, 24, 5);
  small_begin(&f, 400);
  score_points_plan(&points, SMALL_STEPS);
  train_options run = f.options;
  run.snapshots = points.at, run.snapshot_count = points.count;
  require(train_run(&run, &result, &error), &error);
  for (int reached = points.count; reached >= 0; reached--) {
    store_scores scores = {.scores = rows, .count = 2};
    double forward[2] = {0}, dgrad = 0, wgrad[2] = {0};
    for (int i = 0; i < reached; i++) {
      network_scores at;
      const score_options o = {.at = &points.at[i],
                               .batches = 4,
                               .first_step = points.at[i].step,
                               .precisions = 0x1e,
                               .sent = 1u << MPT_PRECISION_FP8,
                               .seed = 1};
      require(train_score(&f.options, &o, &at, &error), &error);
      for (int k = 0; k < 2; k++) {
        const layer_scores *l = &at.layers[graph_find(f.g, rows[k].layer)];
        forward[k] += score_forward(&l->forward[rows[k].precision]) / reached;
        wgrad[k] += fmax(0, l->wgrad[rows[k].precision].bias) / reached;
        dgrad += k == 1 ? fmax(0, l->dgrad[rows[k].precision].bias) / reached : 0;
      }
      network_scores_clear(&at);
    }
    require(score_points_measure(&points, &run, &scores, &error), &error);
    for (int k = 0; k < 2; k++) {
      assert_near(scores.scores[k].forward, forward[k], 1e-12);
      assert_near(scores.scores[k].wgrad, wgrad[k], 1e-12);
      assert_true(scores.scores[k].output_amax == rows[k].output_amax);
    }
    assert_true(reached == 0 || forward[0] > 0);
    assert_true(scores.scores[0].dgrad == 0); /* of the first layer */
    assert_near(scores.scores[1].dgrad, dgrad, 1e-12);
    store_scores_clear(&scores);
    if (reached > 0)
      train_snapshot_clear(&points.at[reached - 1]);
  }
  score_points_clear(&points);
  train_result_clear(&result);
  small_end(&f);
}

/* An older mptune's figures, which were others, are not taken for these. */
static void older_scores_are_not_read(void **state) {
  store *s = NULL;
  store_scores scores;
  bool found = true;
  mpt_error error = {0};
  char run[600];
  snprintf(run, sizeof run, "%s/run", (const char *)*state);
  require(store_open(run, STORE_WRITE, &s, &error), &error);
  require(note_set(s, "scores k", "[]", &error), &error);
  require(store_get_scores(s, "k", &scores, &found, &error), &error);
  assert_false(found);
  require(note_set(s, "scores@2 k", "[]", &error), &error);
  require(store_get_scores(s, "k", &scores, &found, &error), &error);
  assert_true(found);
  store_scores_clear(&scores);
  store_close(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(points_are_early_halfway_and_last),
      cmocka_unit_test(means_are_over_the_points_reached),
      cmocka_unit_test_setup_teardown(older_scores_are_not_read, fixture_setup, fixture_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
