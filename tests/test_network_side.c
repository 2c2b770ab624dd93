/* A backward pass beside another, of a change of a gradient: against the difference of two whole
 * backward passes, one of them with the change. The pass under way is the same bits as without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "small_network.h"
#include "train/training.h"
#include <math.h>
#include <stdlib.h>

typedef struct aside {
  training t;
  int layer;
  float *change; /* what is sent, [rows * k], up to 50 sizes */
  float size;
  int64_t count;
  float *seen; /* of all parameters */
} aside;

static void send_change(void *context, mpt_queue *queue, int64_t step, int layer,
                        const mpt_tensor *input, const mpt_tensor *weight,
                        const mpt_tensor *grad_output) {
  aside *a = context;
  mpt_error error = {0};
  (void)queue, (void)step, (void)grad_output;
  if (layer != a->layer)
    return;
  const int64_t k = mpt_tensor_count(weight) / weight->shape[0], m = input->shape[0];
  a->count = m * k;
  for (int64_t i = 0; i < a->count; i++)
    a->change[i] = a->size * (float)((i * 7919) % 101 - 50);
  const mpt_tensor product = mpt_tensor_of(a->change, MPT_FP32, 2, (int64_t[]){m, k});
  require(network_backward_aside(a->t.net, layer, &product, &error), &error);
  require(mpt_tensor_download(a->t.net->queue, &a->t.net->side_gradients, a->seen, &error), &error);
}

/* The gradients of all parameters, with the change added to the input's gradient of `layer` once
 * that layer has run backward; -1: none. */
static void gradients_with(aside *a, int layer, train_layer_probe *probe, float *gradients) {
  mpt_error error = {0};
  network *n = a->t.net;
  require(mpt_session_step_begin(n->session, 0, &error), &error);
  require(mpt_fill(n->queue, &n->all_gradients, 0.0f, &error), &error);
  require(train_pass_begin(&a->t, 0, 0, &error), &error);
  require(network_forward(n, &error), &error);
  require(train_loss(&a->t, 1.0f, a->t.device_losses, &error), &error);
  for (int i = n->graph->layer_count - 1; i >= 0; i--) {
    if (!n->graph->tensors[n->graph->layers[i].output].gradient)
      continue;
    n->runs[i].probe = probe;
    n->runs[i].probe_context = a;
    require(network_backward_layer(n, i, &error), &error);
    if (i != layer)
      continue;
    float *gradient = n->tensor_gradients[n->graph->layers[i].inputs[0]].data;
    if (n->graph->layers[i].kind->spread != NULL) {
      mpt_tensor spread = n->tensor_gradients[n->graph->layers[i].inputs[0]];
      float *sum = calloc((size_t)mpt_tensor_count(&spread), sizeof *sum);
      spread.data = sum;
      const int64_t k = n->graph->layers[i].gemm.k;
      const mpt_tensor product =
          mpt_tensor_of(a->change, MPT_FP32, 2, (int64_t[]){a->count / k, k});
      require(n->graph->layers[i].kind->spread(&n->runs[i], &product, &spread, &error), &error);
      for (int64_t j = 0; j < mpt_tensor_count(&spread); j++)
        gradient[j] += sum[j];
      free(sum);
    } else {
      for (int64_t j = 0; j < a->count; j++)
        gradient[j] += a->change[j];
    }
  }
  require(mpt_tensor_download(n->queue, &n->all_gradients, gradients, &error), &error);
  require(mpt_session_step_end(n->session, NULL, 0, 0.0f, NULL, &error), &error);
}

static double cosine(const float *a, const float *b, size_t count) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < count; i++) {
    ab += (double)a[i] * (double)b[i];
    aa += (double)a[i] * (double)a[i];
    bb += (double)b[i] * (double)b[i];
  }
  return ab / sqrt(aa * bb);
}

/* `exact` keeps what fp32 came to, [layer_count][parameters]. */
static void check_aside(small_network *f, mpt_precision precision, float *exact) {
  mpt_error error = {0};
  aside a = {0};
  train_options o = f->options;
  o.side_pass = true;
  a.size = precision == MPT_PRECISION_FP8 ? 1e-9f : 1e-3f; /* nothing without a scale of its own */
  graph_uniform(&f->m.w, f->g, precision, false, f->assignment);
  require(training_open(&a.t, &o, &error), &error);
  const size_t count = (size_t)mpt_tensor_count(&a.t.net->all_gradients);
  float *plain = calloc(count, sizeof *plain), *probed = calloc(count, sizeof *probed),
        *changed = calloc(count, sizeof *changed);
  a.seen = calloc(count, sizeof *a.seen);
  a.change = calloc((size_t)1 << 20, sizeof *a.change);
  int tried = 0;
  for (a.layer = 0; a.layer < f->g->layer_count; a.layer++) {
    if (!f->g->layers[a.layer].has_gemm || !graph_makes_dgrad(f->g, a.layer))
      continue;
    gradients_with(&a, -1, NULL, plain);
    gradients_with(&a, -1, send_change, probed); /* leaves the pass under way as it is: */
    assert_memory_equal(plain, probed, count * sizeof *plain);
    tried++;
    if (precision == MPT_PRECISION_FP32)
      memcpy(exact + (size_t)a.layer * count, a.seen, count * sizeof *exact);
    else /* what is sent goes down in the network's formats, with scales of its own */
      assert_true(cosine(a.seen, exact + (size_t)a.layer * count, count) > 0.9);
    if (precision != MPT_PRECISION_FP32)
      continue;
    gradients_with(&a, a.layer, NULL, changed);
    double largest = 0;
    for (size_t i = 0; i < count; i++)
      largest = fmax(largest, fabs((double)changed[i] - (double)plain[i]));
    assert_true(largest > 1e-4);
    for (size_t i = 0; i < count; i++)
      if (!(fabs((double)changed[i] - (double)plain[i] - (double)a.seen[i]) <= 1e-4 * largest))
        fail_msg("layer %s, parameter %zu: %g, expected %g", f->g->layers[a.layer].info.name, i,
                 (double)a.seen[i], (double)changed[i] - (double)plain[i]);
  }
  assert_true(tried >= 2);
  training_close(&a.t);
  free(plain), free(probed), free(changed), free(a.seen), free(a.change);
}

/* One tensor read by three layers and by its own sum, sums of sums. */
static void branches(test_model *m) {
  test_mlp(m, 12, 16, 5);
  m->model.layer_count = 2;
  test_layer(m, "linear", "a", "relu1", NULL)->features = 16;
  test_layer(m, "linear", "b", "relu1", NULL)->features = 16;
  test_layer(m, "residual", "sum", "a", "relu1", NULL);
  test_layer(m, "layernorm", "norm", "sum", NULL);
  test_layer(m, "residual", "sum2", "sum", "b", NULL);
  test_layer(m, "residual", "sum3", "norm", "sum2", NULL);
  test_layer(m, "scale", "scale", NULL)->output_scale = 0.5;
  test_layer(m, "sigmoid", "sigmoid", NULL);
  test_linear(m, "head", 5);
}

static void a_change_goes_through_the_layers_below(void **state) {
  (void)state;
  for (int model = 0; model < 5; model++) {
    small_network f = {0};
    if (model == 0)
      test_mlp(&f.m, 12, 24, 5);
    else if (model == 1)
      test_cnn(&f.m, 8, 6, 5);
    else if (model == 2)
      test_gpt(&f.m, 24, 8, 16, 2, true);
    else if (model == 3)
      branches(&f.m);
    else { /* a layer's dgrad writes what the next one's reads */
      test_mlp(&f.m, 12, 24, 5);
      f.m.model.layer_count = 1;
      test_linear(&f.m, "fc2", 24);
      test_linear(&f.m, "fc3", 5);
    }
    small_begin(&f, 400);
    float *exact = calloc((size_t)1 << 22, sizeof *exact);
    for (int q = MPT_PRECISION_FP32; q < MPT_PRECISION_COUNT; q++)
      check_aside(&f, (mpt_precision)q, exact);
    free(exact);
    small_end(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_change_goes_through_the_layers_below),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
