/* Forward scores against what they estimate, found in another way: the increase of the loss by
 * forward passes of networks in which the layer is rounded, the curvature by differences of the
 * outputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "near.h"
#include "score_truth.h"
#include "small_network.h"
#include "train/scores.h"
#include <math.h>

enum { BATCHES = 8 };

static void mlp_of(small_network *f, loss_kind loss) {
  test_mlp(&f->m, 12, 24, 5);
  f->m.w.loss = loss;
  if (loss == LOSS_NLL)
    test_layer(&f->m, "softmax", "softmax", NULL);
  if (loss == LOSS_MSE || loss == LOSS_BINARY)
    f->m.info.classes = 0, f->m.info.targets = 5;
  f->m.w.metric = METRIC_LOSS;
}

/* Pixels that are alike, and all that is left of them is their mean: the rounded weight's error is
 * that of all of a sample's rows at once. */
static void pooled(small_network *f) {
  test_model_begin(&f->m, LOSS_CROSS_ENTROPY);
  f->m.info = (dataset_info){.rank = 3, .shape = {2, 6, 6}, .classes = 5};
  layer_spec *layer = test_layer(&f->m, "conv2d", "conv1", NULL);
  layer->channels = 8, layer->kernel = 1;
  test_layer(&f->m, "sigmoid", "sigmoid", NULL);
  layer = test_layer(&f->m, "conv2d", "conv2", NULL);
  layer->channels = 12, layer->kernel = 1;
  test_layer(&f->m, "avgpool", "pool", NULL)->kernel = 6;
  test_layer(&f->m, "flatten", "flatten", NULL);
  test_linear(&f->m, "head", 5);
}

typedef struct outputs {
  int tensor;
  float *values[BATCHES];
  int64_t count;
} outputs;

static void take_values(void *context, training *t, int batch) {
  outputs *o = context;
  mpt_error error = {0};
  const mpt_tensor *x = &t->net->tensors[o->tensor];
  o->count = mpt_tensor_count(x);
  o->values[batch] = calloc((size_t)o->count, sizeof(float));
  require(mpt_tensor_download(t->net->queue, x, o->values[batch], &error), &error);
}

static void free_values(outputs *o) {
  for (int b = 0; b < BATCHES; b++)
    free(o->values[b]);
}

/* Half the exact Gauss-Newton product of a loss along dz, at outputs z: [rows, n]. */
static double half_product(loss_kind loss, const float *z, const double *dz, int64_t rows,
                           int64_t n) {
  double sum = 0;
  for (int64_t r = 0; r < rows; r++, z += n, dz += n) {
    double largest = -INFINITY, total = 0, mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
      largest = fmax(largest, (double)z[i]);
    for (int64_t i = 0; i < n; i++)
      total += exp((double)z[i] - largest);
    for (int64_t i = 0; i < n; i++) {
      const double q = 1 / (1 + exp(-(double)z[i]));
      const double p = exp((double)z[i] - largest) / total;
      if (loss == LOSS_CROSS_ENTROPY)
        mean += p * dz[i], square += p * dz[i] * dz[i];
      else if (loss == LOSS_NLL)
        square += dz[i] * dz[i] / (double)z[i];
      else if (loss == LOSS_BINARY)
        square += q * (1 - q) * dz[i] * dz[i] / (double)n;
      else
        square += 2 * dz[i] * dz[i] / (double)n;
    }
    sum += square - mean * mean;
  }
  return 0.5 * sum / (double)rows;
}

typedef struct differences {
  const small_network *f;
  int layer;
  const outputs *exact, *rounded; /* of the layer */
  double product;
} differences;

/* With h e added to the layer's output: the outputs, by running the layers behind it again. */
static void outputs_with(training *t, int layer, const float *x, const float *y, double h,
                         float *z) {
  mpt_error error = {0};
  network *n = t->net;
  require(mpt_session_microbatch(n->session, &error), &error);
  for (int i = 0; i < n->graph->layer_count; i++) {
    require(network_forward_layer(n, i, &error), &error);
    const mpt_tensor *out = &n->tensors[n->graph->layers[i].output];
    for (int64_t j = 0; i == layer && j < mpt_tensor_count(out); j++)
      ((float *)out->data)[j] = (float)((double)x[j] + h * ((double)y[j] - (double)x[j]));
  }
  require(mpt_tensor_download(n->queue, network_output(n), z, &error), &error);
}

static void add_product(void *context, training *t, int batch) {
  differences *d = context;
  const mpt_tensor *out = network_output(t->net);
  const int64_t count = mpt_tensor_count(out), n = out->shape[out->rank - 1];
  float *z[3];
  double *dz = calloc((size_t)count, sizeof *dz);
  for (int i = 0; i < 3; i++) {
    z[i] = calloc((size_t)count, sizeof *z[i]);
    outputs_with(t, d->layer, d->exact->values[batch], d->rounded->values[batch], i - 1, z[i]);
  }
  for (int64_t i = 0; i < count; i++)
    dz[i] = ((double)z[2][i] - (double)z[0][i]) / 2;
  d->product += half_product(d->f->g->loss, z[1], dz, count / n, n) / BATCHES;
  for (int i = 0; i < 3; i++)
    free(z[i]);
  free(dz);
}

static const char checkpoint_file[] = MPTUNE_BINARY_DIR "/tests/test-score-forward-checkpoint";

static void train_some(small_network *f) {
  train_result result;
  mpt_error error = {0};
  train_options o = f->options;
  o.save_checkpoint = checkpoint_file;
  require(train_run(&o, &result, &error), &error);
  assert_true(!result.diverged);
  train_result_clear(&result);
  f->options.load_checkpoint = checkpoint_file;
}

static int rank_of(const double *x, int count, int i) {
  int rank = 0;
  for (int j = 0; j < count; j++)
    rank += x[j] < x[i] || (j < i && x[j] == x[i]);
  return rank;
}

static double spearman(const double *x, const double *y, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++)
    sum += pow(rank_of(x, count, i) - rank_of(y, count, i), 2);
  return 1 - 6 * sum / (count * ((double)count * count - 1));
}

/* Every layer in fp8: the curvature against the exact product, the increase against the measured
 * one. */
static void check_forward(small_network *f, const char *name) {
  enum { SEEDS = 8 };
  mpt_error error = {0};
  double predicted[TEST_MAX_LAYERS], measured[TEST_MAX_LAYERS], loss;
  int count = 0;
  network_scores scores[SEEDS];
  for (int s = 0; s < SEEDS; s++) {
    const score_options o = {
        .batches = BATCHES, .precisions = 1u << MPT_PRECISION_FP8, .seed = (uint64_t)s + 1};
    require(train_score(&f->options, &o, &scores[s], &error), &error);
  }
  for (int i = 0; i < f->g->layer_count; i++) {
    if (!f->g->layers[i].has_gemm)
      continue;
    outputs exact = {.tensor = f->g->layers[i].output}, rounded = exact;
    mpt_layer_policy assignment[TEST_MAX_LAYERS];
    double without, with;
    truth_assign(f->g, f->assignment, i, MPT_PRECISION_FP8, assignment);
    require(
        truth_loss(&f->options, f->assignment, 0, BATCHES, take_values, &exact, &without, &error),
        &error);
    require(truth_loss(&f->options, assignment, 0, BATCHES, take_values, &rounded, &with, &error),
            &error);
    differences d = {.f = f, .layer = i, .exact = &exact, .rounded = &rounded};
    require(truth_loss(&f->options, f->assignment, 0, BATCHES, add_product, &d, &loss, &error),
            &error);
    double first = 0, second = 0, variance = 0;
    for (int s = 0; s < SEEDS; s++) {
      const forward_score *q = &scores[s].layers[i].forward[MPT_PRECISION_FP8];
      first += q->first / SEEDS;
      second += q->second / SEEDS;
      variance += q->second_error * q->second_error / SEEDS / SEEDS;
      assert_near(scores[s].loss, without, 1e-6);
    }
    print_message("%s, %s: first %.3g, second %.3g +- %.1g, exact %.3g, measured %.3g, x%.2f\n",
                  name, f->g->layers[i].info.name, first, second, sqrt(variance), d.product,
                  with - without, (first + second) / (with - without));
    if (!(fabs(second - d.product) <= 4 * sqrt(variance) + 0.02 * d.product))
      fail_msg("the curvature is %g +- %g, expected %g", second, sqrt(variance), d.product);
    const double ratio = (first + second) / (with - without);
    if (!(ratio > 0.4 && ratio < 1.25))
      fail_msg("the loss rises by %g, expected by %g", with - without, first + second);
    predicted[count] = first + second;
    measured[count++] = with - without;
    free_values(&exact), free_values(&rounded);
  }
  const double correlation = spearman(predicted, measured, count);
  print_message("%s: rank correlation %.2f\n", name, correlation);
  assert_true(correlation > 0.9);
  for (int s = 0; s < SEEDS; s++)
    network_scores_clear(&scores[s]);
}

static void the_loss_rises_as_scores_say(void **state) {
  static const struct {
    const char *name;
    loss_kind loss;
  } losses[] = {{"cross-entropy", LOSS_CROSS_ENTROPY},
                {"nll", LOSS_NLL},
                {"binary", LOSS_BINARY},
                {"mse", LOSS_MSE}};
  (void)state;
  for (int i = 0; i < 4; i++) {
    small_network f = {0};
    mlp_of(&f, losses[i].loss);
    small_begin(&f, 800);
    train_some(&f);
    check_forward(&f, losses[i].name);
    small_end(&f);
  }
  static const char *const names[] = {"cnn", "gpt", "pooled"};
  for (int i = 0; i < 3; i++) {
    small_network f = {0};
    if (i == 0)
      test_cnn(&f.m, 8, 6, 5);
    else if (i == 1)
      test_gpt(&f.m, 24, 8, 16, 2, true);
    else
      pooled(&f);
    small_begin(&f, 800);
    train_some(&f);
    check_forward(&f, names[i]);
    small_end(&f);
  }
  remove(checkpoint_file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_rises_as_scores_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
