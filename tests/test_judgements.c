/* A metric that counts is the mean of what its samples contribute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/judgements.h"
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 333

typedef struct sample {
  float outputs[5], targets[5];
  int32_t label;
} sample;

static void draw(gsl_rng *random, int classes, bool rare, sample *s) {
  for (int c = 0; c < classes; c++) {
    s->targets[c] = gsl_rng_uniform(random) < (rare ? 0.02 : 0.4) ? 1.0F : 0.0F;
    s->outputs[c] = (float)(gsl_rng_uniform(random) - 0.5 + (s->targets[c] - 0.4) * 0.5);
  }
  s->label = (int32_t)gsl_rng_uniform_int(random, (unsigned long)(rare ? 2 : classes));
  s->outputs[s->label] += 0.3F;
}

static void add(judgements *j, const sample *s) {
  if (j->targets)
    judgements_add_targets(j, s->outputs, s->targets);
  else
    judgements_add_label(j, s->outputs, s->label);
}

static train_result judged(metric_kind metric, bool targets, int classes, const sample *samples,
                           double *value) {
  judgements j;
  train_result r = {0};
  assert_int_equal(judgements_open(&j, metric, targets, classes, ROWS, NULL), MPT_OK);
  for (int i = 0; i < ROWS; i++)
    add(&j, &samples[i]);
  *value = judgements_metric(&j);
  assert_int_equal(judgements_move(&j, &r, NULL), MPT_OK);
  judgements_close(&j);
  return r;
}

static void the_mean_of_bits_is_the_accuracy(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  for (int targets = 0; targets < 2; targets++) {
    sample samples[ROWS];
    double accuracy;
    for (int i = 0; i < ROWS; i++)
      draw(random, 3, false, &samples[i]);
    train_result r = judged(METRIC_ACCURACY, targets, 3, samples, &accuracy);
    assert_int_equal(r.judged, targets ? 3 * ROWS : ROWS);
    int64_t right = 0;
    for (int64_t i = 0; i < r.judged; i++)
      right += r.right[i / 8] >> (i % 8) & 1;
    assert_true((double)right / (double)r.judged == accuracy && r.unit == 1.0);
    const sample *s = &samples[10]; /* sample by sample */
    const int64_t at = targets ? 30 : 10;
    const bool expected =
        targets ? (s->outputs[0] > 0) == (s->targets[0] > 0.5F)
                : s->outputs[s->label] >= fmaxf(s->outputs[0], fmaxf(s->outputs[1], s->outputs[2]));
    assert_int_equal(r.right[at / 8] >> (at % 8) & 1, expected);
    assert_null(r.contributions);
    train_result_clear(&r);
    assert_null(r.right);
  }
  gsl_rng_free(random);
}

/* One class, two, several; of labels and of targets; with classes that hardly or never occur. */
static void the_mean_of_contributions_is_f1(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  for (int kind = 0; kind < 20; kind++) {
    const int classes = 1 + kind / 4;
    sample samples[ROWS];
    double f1, sum = 0.0;
    for (int i = 0; i < ROWS; i++)
      draw(random, classes, kind / 2 % 2 && classes > 1, &samples[i]);
    train_result r = judged(METRIC_F1, kind % 2, classes, samples, &f1);
    assert_int_equal(r.judged, ROWS);
    for (int i = 0; i < ROWS; i++)
      sum += (double)r.contributions[i];
    assert_true(fabs(sum / ROWS - f1) < 1e-6);
    assert_null(r.right);
    train_result_clear(&r);
  }
  gsl_rng_free(random);
}

/* f1 moves as its contributions say, and no contribution by more than the unit. */
static void another_judgement_moves_f1_by_its_contribution(void **state) {
  (void)state;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  for (int kind = 0; kind < 8; kind++) {
    const int classes = 2 + kind / 2;
    const bool targets = kind % 2;
    sample samples[ROWS];
    double f1, changed;
    for (int i = 0; i < ROWS; i++)
      draw(random, classes, false, &samples[i]);
    train_result r = judged(METRIC_F1, targets, classes, samples, &f1);
    double largest = 0.0;
    for (int i = 0; i < 60; i++) {
      const sample before = samples[i];
      float *output = samples[i].outputs;
      const int c = (int)gsl_rng_uniform_int(random, (unsigned long)classes);
      output[c] = targets ? -output[c] : 9.0F; /* one target's, or the row's */
      train_result other = judged(METRIC_F1, targets, classes, samples, &changed);
      const double moved = (double)other.contributions[i] - (double)r.contributions[i];
      /* To first order: F itself moved a little between the two. */
      assert_true(fabs((changed - f1) * ROWS - moved) < 0.1 * r.unit);
      assert_true(fabs(moved) < 1.05 * r.unit);
      largest = fmax(largest, fabs(moved));
      train_result_clear(&other);
      samples[i] = before;
    }
    assert_true(largest > 0.5 * r.unit); /* the unit is no idle bound */
    train_result_clear(&r);
  }
  gsl_rng_free(random);
}

static void nothing_is_kept_where_nobody_asks(void **state) {
  (void)state;
  static const float outputs[2] = {1, 0};
  judgements j;
  train_result r = {0};
  assert_int_equal(judgements_open(&j, METRIC_F1, false, 2, 0, NULL), MPT_OK);
  judgements_add_label(&j, outputs, 1);
  assert_true(judgements_metric(&j) == 0.0);
  assert_int_equal(judgements_move(&j, &r, NULL), MPT_OK);
  assert_true(r.judged == 0 && r.right == NULL && r.contributions == NULL);
  judgements_close(&j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_mean_of_bits_is_the_accuracy),
      cmocka_unit_test(the_mean_of_contributions_is_f1),
      cmocka_unit_test(another_judgement_moves_f1_by_its_contribution),
      cmocka_unit_test(nothing_is_kept_where_nobody_asks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
