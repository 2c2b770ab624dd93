/* Scores of gradients against whole backward passes of networks in which the layer is rounded; and
 * of what scores are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "near.h"
#include "small_network.h"
#include "train/score_run.h"
#include <math.h>
#include <stdlib.h>

enum { BATCHES = 8 };

/* ---- the backward scores ---- */

/* The gradient of each batch, [BATCHES][count], in `assignment`. */
static double *gradients_of(const small_network *f, const mpt_layer_policy *assignment,
                            size_t *count) {
  training t = {0};
  mpt_error error = {0};
  train_options o = f->options;
  o.assignment = assignment;
  require(training_open(&t, &o, &error), &error);
  network *n = t.net;
  *count = (size_t)mpt_tensor_count(&n->all_gradients);
  double *all = calloc(BATCHES * *count, sizeof *all);
  require(mpt_session_step_begin(n->session, 0, &error), &error);
  for (int b = 0; b < BATCHES; b++) {
    require(mpt_fill(n->queue, &n->all_gradients, 0.0f, &error), &error);
    require(train_pass_begin(&t, 0, b, &error), &error);
    require(network_forward(n, &error), &error);
    require(train_loss(&t, 1.0f, t.device_losses, &error), &error);
    require(network_backward(n, 0, NULL, NULL, &error), &error);
    for (size_t i = 0; i < *count; i++)
      all[(size_t)b * *count + i] = (double)((const float *)n->all_gradients.data)[i] /
                                    (double)mpt_session_loss_scale(n->session);
  }
  training_close(&t);
  return all;
}

/* Mean of <d_i, d_j> over pairs, and of |d_i|^2: of whole vectors. */
static void pairs_of(const double *d, size_t count, double *pairs, double *squares) {
  *pairs = *squares = 0;
  for (int i = 0; i < BATCHES; i++)
    for (int j = i; j < BATCHES; j++) {
      double product = 0;
      for (size_t k = 0; k < count; k++)
        product += d[(size_t)i * count + k] * d[(size_t)j * count + k];
      if (i == j)
        *squares += product / BATCHES;
      else
        *pairs += product / (0.5 * BATCHES * (BATCHES - 1));
    }
}

/* As the optimizer sees them, from the gradients of the reference. */
static void update(const small_network *f, const double *reference, double *d, size_t count) {
  for (size_t k = 0; k < count && f->m.w.optimizer.kind != OPTIMIZER_SGD; k++) {
    double square = 0;
    for (size_t b = 0; b < BATCHES; b++)
      square += reference[b * count + k] * reference[b * count + k] / BATCHES;
    for (size_t b = 0; b < BATCHES; b++)
      d[b * count + k] /= sqrt(square) + f->m.w.optimizer.epsilon;
  }
}

/* A format of one layer's dgrad or wgrad, against the gradients of a network that has it. */
static void check_gemm(const small_network *f, const network_scores *scores, int layer,
                       mpt_gemm_kind gemm, mpt_precision precision, const double *reference,
                       double signal) {
  /* Of a sketch: 2 / SCORE_SKETCH is the variance of a squared length, relative. A convolution's
   * input gradient is rounded once more, where windows have been added up. */
  const bool twice = gemm == MPT_DGRAD && f->g->layers[layer].kind->spread != NULL;
  const double sketched = twice ? 0.3 : 4 * sqrt(2.0 / SCORE_SKETCH);
  const double noise = 1e-10; /* of the difference of two gradients in fp32 */
  const layer_scores *s = &scores->layers[layer];
  const backward_score *got = gemm == MPT_DGRAD ? &s->dgrad[precision] : &s->wgrad[precision];
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  size_t count;
  double pairs, squares;
  memcpy(assignment, f->assignment, (size_t)f->g->layer_count * sizeof *assignment);
  assignment[layer].gemm[gemm] = mpt_gemm_policy_of(gemm, precision);
  double *d = gradients_of(f, assignment, &count);
  for (size_t i = 0; i < BATCHES * count; i++)
    d[i] -= reference[i];
  update(f, reference, d, count);
  pairs_of(d, count, &pairs, &squares);
  free(d);
  print_message("%s %s in %s: bias %.3g +- %.1g, expected %.3g; variance %.3g, expected %.3g\n",
                f->g->layers[layer].info.name, mpt_gemm_name(gemm), mpt_precision_name(precision),
                got->bias, got->bias_error, pairs / signal, got->variance,
                (squares - pairs) / signal);
  assert_true(squares > 0);
  if (!(fabs(got->bias - pairs / signal) <= sketched * squares / signal + noise))
    fail_msg("the bias is %g, expected %g", got->bias, pairs / signal);
  if (!(fabs(got->variance - (squares - pairs) / signal) <= sketched * squares / signal + noise))
    fail_msg("the variance is %g, expected %g", got->variance, (squares - pairs) / signal);
}

static void check_backward(small_network *f) {
  mpt_error error = {0};
  network_scores scores;
  size_t count;
  double pairs, squares;
  const score_options o = {.batches = BATCHES,
                           .precisions = 1u << MPT_PRECISION_FP8 | 1u << MPT_PRECISION_FP16,
                           .seed = 5};
  require(train_score(&f->options, &o, &scores, &error), &error);
  double *reference = gradients_of(f, f->assignment, &count);
  double *made = calloc(BATCHES * count, sizeof *made);
  memcpy(made, reference, BATCHES * count * sizeof *made);
  update(f, reference, made, count);
  pairs_of(made, count, &pairs, &squares);
  free(made);
  const double sketched = 4 * sqrt(2.0 / SCORE_SKETCH);
  assert_true(fabs(scores.signal - pairs) <= sketched * squares);
  assert_true(fabs(scores.noise - (squares - pairs)) <= sketched * squares);
  const double signal = fmax(scores.signal, scores.signal_error);
  for (int i = 0; i < f->g->layer_count; i++) {
    if (!f->g->layers[i].has_gemm)
      continue;
    assert_true(scores.layers[i].scored);
    assert_int_equal(scores.layers[i].scored_dgrad, graph_makes_dgrad(f->g, i));
    for (int q = MPT_PRECISION_FP16; q <= MPT_PRECISION_FP8; q++) {
      check_gemm(f, &scores, i, MPT_WGRAD, (mpt_precision)q, reference, signal);
      if (graph_makes_dgrad(f->g, i))
        check_gemm(f, &scores, i, MPT_DGRAD, (mpt_precision)q, reference, signal);
    }
    if (!graph_makes_dgrad(f->g, i))
      assert_true(scores.layers[i].dgrad[MPT_PRECISION_FP8].bias == 0);
  }
  network_scores_clear(&scores);
  free(reference);
}

static void gradients_change_as_scores_say(void **state) {
  (void)state;
  for (int model = 0; model < 6; model++) {
    small_network f = {0};
    if (model % 3 == 0)
      test_mlp(&f.m, 12, 24, 5);
    else if (model % 3 == 1)
      test_cnn(&f.m, 8, 6, 5);
    else
      test_gpt(&f.m, 24, 8, 16, 2, true);
    f.m.w.optimizer.kind = model < 3 ? OPTIMIZER_SGD : OPTIMIZER_ADAMW;
    small_begin(&f, 800);
    check_backward(&f);
    small_end(&f);
  }
}

/* Of what only scatters, the pairs leave nothing; |mean d|^2 would leave 1 / B of it. */
static void pairs_leave_out_the_noise(void **state) {
  (void)state;
  enum { ROUNDS = 200 };
  double mean = 0, within = 0, variance = 0;
  for (int round = 0; round < ROUNDS; round++) {
    score_pairs p = {0};
    for (int b = 0; b < BATCHES; b++) {
      double d[SCORE_SKETCH];
      for (int i = 0; i < SCORE_SKETCH; i++)
        d[i] = (i < 16 ? 0.5 : 0) +
               mpt_normal(7, (uint64_t)(round * BATCHES + b) * SCORE_SKETCH + (uint64_t)i, 1);
      score_pairs_add(&p, d);
    }
    mean += score_pairs_mean_squared(&p) / ROUNDS;
    variance += score_pairs_variance(&p) / ROUNDS;
    within += fabs(score_pairs_mean_squared(&p) - 4) < score_pairs_error(&p);
  }
  assert_near(mean, 4, 1.5); /* 16 / 4; the noise alone is 1024 / 8 = 128 in |mean d|^2 */
  assert_near(variance, SCORE_SKETCH, 20);
  /* 68% within a standard error, fewer since that is estimated from 7 products */
  assert_true(within > 0.5 * ROUNDS && within < 0.75 * ROUNDS);
}

/* ---- the run ---- */

static void repeat_bit_for_bit(void **state) {
  (void)state;
  small_network f = {0};
  mpt_error error = {0};
  network_scores a, b, other;
  score_options o = {.batches = 3, .precisions = 1u << MPT_PRECISION_BF16, .seed = 9};
  test_gpt(&f.m, 24, 8, 16, 1, false);
  small_begin(&f, 400);
  require(train_score(&f.options, &o, &a, &error), &error);
  require(train_score(&f.options, &o, &b, &error), &error);
  o.seed = 10;
  require(train_score(&f.options, &o, &other, &error), &error);
  const size_t bytes = (size_t)a.layer_count * sizeof *a.layers;
  assert_memory_equal(a.layers, b.layers, bytes);
  assert_true(memcmp(a.layers, other.layers, bytes) != 0);
  network_scores_clear(&a), network_scores_clear(&b), network_scores_clear(&other);
  small_end(&f);
}

/* What a training leaves on the way is what its checkpoint has. */
static void a_snapshot_is_a_checkpoint(void **state) {
  (void)state;
  static const char path[] = MPTUNE_BINARY_DIR "/tests/test-scores-checkpoint";
  enum { STEP = 20 };
  small_network f = {0};
  mpt_error error = {0};
  train_result result;
  network_scores a, b, first;
  const train_point point = {.step = STEP, .path = path};
  train_snapshot snapshots[3] = {{.step = 0}, {.step = STEP}, {.step = SMALL_STEPS}};
  score_options o = {.batches = 2, .precisions = 1u << MPT_PRECISION_FP8, .seed = 1};
  test_gpt(&f.m, 24, 8, 16, 1, true);
  small_begin(&f, 400);
  graph_uniform(&f.m.w, f.g, MPT_PRECISION_FP16, false, f.assignment);
  train_options run = f.options;
  run.points = &point, run.point_count = 1;
  run.snapshots = snapshots, run.snapshot_count = 3;
  require(train_run(&run, &result, &error), &error);
  for (int i = 0; i < 3; i++)
    assert_non_null(snapshots[i].weights);
  o.at = &snapshots[1];
  require(train_score(&f.options, &o, &a, &error), &error);
  o.at = &snapshots[0];
  require(train_score(&f.options, &o, &first, &error), &error);
  train_options fork = f.options;
  fork.fork_from = path;
  o.at = NULL;
  require(train_score(&fork, &o, &b, &error), &error);
  assert_memory_equal(a.layers, b.layers, (size_t)a.layer_count * sizeof *a.layers);
  assert_true(a.loss == b.loss && a.loss != first.loss);
  network_scores_clear(&a), network_scores_clear(&b);
  require(train_score(&f.options, &o, &b, &error), &error);
  assert_true(first.loss == b.loss);
  network_scores_clear(&first), network_scores_clear(&b);
  train_result_clear(&result);
  for (int i = 0; i < 3; i++)
    train_snapshot_clear(&snapshots[i]);
  o.at = &snapshots[1];
  assert_int_equal(train_score(&f.options, &o, &a, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "did not come to step 20"));
  network_scores_clear(&a);
  remove(path);
  small_end(&f);
}

/* A finer format costs less, whatever the reference runs in; formats and layers that were not asked
 * for have no scores. */
static void every_reference_can_be_scored(void **state) {
  (void)state;
  for (int q = MPT_PRECISION_FP32; q < MPT_PRECISION_COUNT; q++) {
    small_network f = {0};
    mpt_error error = {0};
    network_scores s;
    bool layers[TEST_MAX_LAYERS] = {false};
    test_gpt(&f.m, 24, 8, 16, 1, true);
    small_begin(&f, 400);
    f.m.w.optimizer.accumulate = 2;
    graph_uniform(&f.m.w, f.g, (mpt_precision)q, false, f.assignment);
    const int layer = graph_find(f.g, "blocks.0.mlp.fc1");
    layers[layer] = true;
    const score_options o = {.batches = 4,
                             .first_step = 3,
                             .precisions = 1u << MPT_PRECISION_FP8 | 1u << MPT_PRECISION_FP16,
                             .layers = layers,
                             .seed = 1};
    require(train_score(&f.options, &o, &s, &error), &error);
    for (int i = 0; i < s.layer_count; i++)
      assert_int_equal(s.layers[i].scored, i == layer);
    const layer_scores *l = &s.layers[layer];
    assert_true(l->forward[MPT_PRECISION_BF16].second == 0);
    assert_true(l->forward[MPT_PRECISION_FP16].second > 0);
    assert_true(l->forward[MPT_PRECISION_FP8].second > 50 * l->forward[MPT_PRECISION_FP16].second);
    assert_true(l->wgrad[MPT_PRECISION_FP8].variance > 0);
    assert_true(l->wgrad[MPT_PRECISION_FP8].variance > 50 * l->wgrad[MPT_PRECISION_FP16].variance);
    assert_true(l->dgrad[MPT_PRECISION_FP8].variance > 0);
    assert_true(l->dgrad[MPT_PRECISION_FP8].variance > 50 * l->dgrad[MPT_PRECISION_FP16].variance);
    network_scores_clear(&s);
    small_end(&f);
  }
}

/* Other formats in proportion to one: within a factor of 4 of what they come to when sent. */
static void one_format_may_stand_for_others(void **state) {
  (void)state;
  small_network f = {0};
  mpt_error error = {0};
  network_scores all, one;
  score_options o = {
      .batches = 8, .precisions = 1u << MPT_PRECISION_FP8 | 1u << MPT_PRECISION_BF16, .seed = 1};
  int seen = 0;
  test_gpt(&f.m, 24, 8, 16, 2, true);
  small_begin(&f, 400);
  require(train_score(&f.options, &o, &all, &error), &error);
  o.sent = 1u << MPT_PRECISION_FP8;
  require(train_score(&f.options, &o, &one, &error), &error);
  for (int i = 0; i < all.layer_count; i++) {
    if (!all.layers[i].scored_dgrad)
      continue;
    const backward_score *a = all.layers[i].dgrad, *b = one.layers[i].dgrad;
    /* the signs of a sketch are its slot's, and slots are others */
    const double fp8 = b[MPT_PRECISION_FP8].variance / a[MPT_PRECISION_FP8].variance,
                 bf16 = b[MPT_PRECISION_BF16].variance / a[MPT_PRECISION_BF16].variance;
    assert_true(fp8 > 0.75 && fp8 < 1.33);
    if (!(bf16 > 0.25 && bf16 < 4))
      fail_msg("%s: bf16 is %g times what it is when sent", f.g->layers[i].info.name, bf16);
    assert_true(one.layers[i].wgrad[MPT_PRECISION_BF16].variance > 0);
    seen++;
  }
  assert_int_equal(seen, 9);
  network_scores_clear(&all), network_scores_clear(&one);
  small_end(&f);
}

static void what_is_not_finite_is_nan(void **state) {
  (void)state;
  small_network f = {0};
  mpt_error error = {0};
  network_scores s;
  const score_options o = {.batches = 2, .precisions = 1u << MPT_PRECISION_FP16, .seed = 1};
  test_mlp(&f.m, 12, 24, 5);
  f.m.layers[0].initial_scale = 1e6; /* its output overflows fp16 */
  small_begin(&f, 400);
  require(train_score(&f.options, &o, &s, &error), &error);
  assert_true(isnan(s.layers[0].forward[MPT_PRECISION_FP16].first));
  assert_true(isnan(score_forward(&s.layers[0].forward[MPT_PRECISION_FP16])));
  network_scores_clear(&s);
  small_end(&f);
}

static void refused(const small_network *f, score_options o, const char *why) {
  mpt_error error = {0};
  network_scores s;
  assert_int_equal(train_score(&f->options, &o, &s, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, why));
  network_scores_clear(&s);
}

static void senseless_requests_are_refused(void **state) {
  (void)state;
  small_network f = {0};
  test_mlp(&f.m, 12, 24, 5);
  small_begin(&f, 100);
  refused(&f, (score_options){.batches = 1}, "from 2 to 64 batches");
  refused(&f, (score_options){.batches = 65}, "from 2 to 64 batches");
  refused(&f, (score_options){.batches = 4, .first_step = -1}, "a step of at least 0");
  refused(&f, (score_options){.batches = 4, .precisions = 4, .sent = 8}, "can be sent down");
  small_end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_change_as_scores_say),
      cmocka_unit_test(pairs_leave_out_the_noise),
      cmocka_unit_test(repeat_bit_for_bit),
      cmocka_unit_test(a_snapshot_is_a_checkpoint),
      cmocka_unit_test(every_reference_can_be_scored),
      cmocka_unit_test(one_format_may_stand_for_others),
      cmocka_unit_test(what_is_not_finite_is_nan),
      cmocka_unit_test(senseless_requests_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
