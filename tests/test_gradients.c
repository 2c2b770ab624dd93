/* The gradients of whole small networks, against finite differences of their
 * loss in the fp32 master weights: along each parameter's gradient g the loss
 * rises by |g|. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory_apart.h"
#include "train/training.h"
#include "train_model.h"
#include <math.h>
#include <stdlib.h>

static void require(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

/* A training run of one batch, opened by hand. */
typedef struct fixture {
  training t;
  train_options options;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
} fixture;

/* `choose` gives the precision of each layer; NULL: fp32. */
static void begin(fixture *f, test_model *m, int64_t batch, mpt_precision (*choose)(int layer)) {
  mpt_error error = {0};
  memset(f, 0, sizeof *f);
  require(test_data(m, m->info.tokens ? 500 : 40, &f->data, &error), &error);
  m->info = *dataset_get_info(f->data);
  require(test_graph(m, batch, &f->g, &error), &error);
  for (int i = 0; i < f->g->layer_count; i++)
    f->assignment[i] = mpt_layer_policy_of(choose != NULL ? choose(i) : MPT_PRECISION_FP32);
  f->options = train_options_default();
  f->options.workload = &m->w;
  f->options.graph = f->g;
  f->options.data = f->data;
  f->options.assignment = f->assignment;
  f->options.steps = 1;
  f->t = (training){.options = &f->options, .w = &m->w, .g = f->g};
  require(network_open(&f->options, &f->t.net, &error), &error);
  require(network_initialise(f->t.net, 1, &error), &error);
  require(dataset_batch_make(f->data, batch, &f->t.batch, &error), &error);
  f->t.targets = calloc((size_t)batch, sizeof *f->t.targets);
  require(train_take_device_memory(&f->t, &error), &error);
}

static void end(fixture *f) {
  network_close(f->t.net);
  dataset_batch_free(&f->t.batch);
  free(f->t.targets);
  dataset_close(f->data);
  graph_free(f->g);
}

/* The loss at the weights as they are; with `backward` the gradients too. */
static double loss_here(fixture *f, bool backward) {
  mpt_error error = {0};
  double loss;
  mpt_session *session = f->t.net->session;
  require(mpt_session_step_begin(session, 0, &error), &error);
  require(mpt_fill(f->t.net->queue, &f->t.net->all_gradients, 0.0f, &error), &error);
  require(train_pass_begin(&f->t, 0, 0, &error), &error);
  require(network_forward(f->t.net, &error), &error);
  require(train_loss(&f->t, 1.0f, f->t.device_losses, &error), &error);
  require(train_read_loss(&f->t, f->t.device_losses, &loss, &error), &error);
  if (backward)
    require(network_backward(f->t.net, 0, NULL, NULL, &error), &error);
  require(mpt_session_step_end(session, NULL, 0, 0.0f, NULL, &error), &error);
  return loss;
}

static void move(const network_parameter *p, const float *from, const float *direction, double by) {
  float *w = p->weight.data;
  for (int64_t i = 0; i < p->count; i++)
    w[i] = (float)(from[i] + by * direction[i]);
}

/* (L(w + h d) - L(w - h d)) / 2h, extrapolated to h = 0 from two h
 * (Richardson). */
static double slope(fixture *f, const network_parameter *p, const float *from, const float *d,
                    double h) {
  double at[2];
  for (int i = 0; i < 2; i++) {
    double step = i == 0 ? h : 2.0 * h;
    move(p, from, d, step);
    double above = loss_here(f, false);
    move(p, from, d, -step);
    at[i] = (above - loss_here(f, false)) / (2.0 * step);
  }
  move(p, from, d, 0.0);
  return (4.0 * at[0] - at[1]) / 3.0;
}

static void check_gradients(test_model *m, int64_t batch) {
  fixture f;
  begin(&f, m, batch, NULL);
  loss_here(&f, true);
  int checked = 0;
  for (int i = 0; i < f.t.net->parameter_count; i++) {
    const network_parameter *p = &f.t.net->parameters[i];
    size_t bytes = (size_t)p->count * sizeof(float);
    float *from = malloc(bytes), *direction = malloc(bytes);
    memcpy(from, p->weight.data, bytes);
    loss_here(&f, true);
    memcpy(direction, p->gradient.data, bytes);
    double norm = 0.0;
    for (int64_t k = 0; k < p->count; k++)
      norm += (double)direction[k] * direction[k];
    norm = sqrt(norm);
    if (norm > 1e-6) { /* a key's bias has none: it shifts all scores of a row alike */
      for (int64_t k = 0; k < p->count; k++)
        direction[k] = (float)(direction[k] / norm);
      double seen = slope(&f, p, from, direction, 2e-3);
      if (!(fabs(seen - norm) <= 0.01 * norm + 2e-5)) /* nor is it NaN */
        fail_msg("%s: the loss rises by %g along the gradient of length %g", p->name, seen, norm);
      checked++;
    }
    free(from);
    free(direction);
  }
  assert_true(checked >= f.t.net->parameter_count - 1);
  end(&f);
}

static void of_an_mlp(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 3);
  check_gradients(&m, 6);
  strcpy(m.layers[1].kind, "sigmoid");
  strcpy(m.layers[3].kind, "gelu");
  check_gradients(&m, 6);
}

static void of_a_cnn(void **state) {
  (void)state;
  test_model m;
  test_cnn(&m, 8, 4, 3);
  check_gradients(&m, 3);
  m.layers[2].kernel = 3, m.layers[2].stride = 1, m.layers[2].padding = 1;
  strcpy(m.layers[2].kind, "avgpool");
  check_gradients(&m, 3);
}

static void of_a_gpt(void **state) {
  (void)state;
  test_model m;
  test_gpt(&m, 11, 6, 8, 2, false);
  /* wide initial weights: the gradients of attention are far from zero */
  for (int i = 0; i < m.model.layer_count; i++)
    if (strcmp(m.layers[i].kind, "linear") == 0 || strcmp(m.layers[i].kind, "embedding") == 0)
      m.layers[i].initial_scale = 15.0;
  check_gradients(&m, 3);
  strcpy(m.layers[m.model.layer_count - 1].tied_to, "embed");
  check_gradients(&m, 3);
}

/* Queries, keys and values from three layers that read one tensor; a residual
 * whose branch is read by another layer too; dropout, scale, softmax and nll.
 */
static void of_a_net_with_every_turn(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_NLL);
  m.info = (dataset_info){.tokens = true, .sequence = 5, .classes = 7};
  layer_spec *layer = test_layer(&m, "embedding", "embed", NULL);
  layer->vocabulary = 7, layer->features = 8, layer->initial_scale = 30.0;
  const char *const names[] = {"q", "k", "v"};
  for (int i = 0; i < 3; i++) {
    layer = test_layer(&m, "linear", names[i], "embed", NULL);
    layer->features = 8, layer->initial_scale = 20.0;
  }
  test_layer(&m, "attention", "attend", "q", "k", "v", NULL)->heads = 4;
  test_layer(&m, "residual", "sum", "attend", "embed", NULL);
  test_layer(&m, "dropout", "drop", NULL)->probability = 0.25;
  layer = test_linear(&m, "fc", 8);
  layer->initial_scale = 20.0;
  test_layer(&m, "tanh", "tanh", NULL);
  test_layer(&m, "residual", "mixed", "fc", "tanh", NULL);
  test_layer(&m, "scale", "half", NULL)->output_scale = 0.5;
  test_layer(&m, "residual", "again", "half", "sum", NULL);
  test_linear(&m, "head", 7)->initial_scale = 20.0;
  test_layer(&m, "softmax", "softmax", NULL);
  check_gradients(&m, 4);
}

/* Sums whose gradients may not lie in one memory: something is added to one before the other is
 * used. */
static void of_sums_that_cannot_share(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {6}, .classes = 6};
  test_linear(&m, "a", 6);
  test_linear(&m, "b", 6);
  test_layer(&m, "tanh", "c", "a", NULL); /* adds to a's gradient before b's is used */
  test_layer(&m, "residual", "ab", "a", "b", NULL);
  test_layer(&m, "residual", "abc", "ab", "c", NULL);
  test_linear(&m, "d", 6);
  test_layer(&m, "tanh", "e", NULL); /* adds to d's gradient, which "abc"'s may not see */
  test_layer(&m, "residual", "f", "abc", "d", NULL);
  test_layer(&m, "residual", "g", "f", "e", NULL);
  test_linear(&m, "p", 6);
  test_layer(&m, "tanh", "t", NULL);
  test_layer(&m, "residual", "pt", "p", "t", NULL); /* hands its gradient on, and p adds to it */
  test_layer(&m, "residual", "end", "g", "pt", NULL);
  check_gradients(&m, 6);
}

/* The branch is one layer, which reads the stream itself: of each kind that can be one. */
static void of_branches_of_one_layer(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {6}, .classes = 4};
  test_linear(&m, "stem", 8);
  test_linear(&m, "a", 8);
  test_layer(&m, "residual", "a.sum", "stem", "a", NULL);
  test_layer(&m, "gelu", "b", NULL);
  test_layer(&m, "residual", "b.sum", "b", "a.sum", NULL);
  test_layer(&m, "layernorm", "c", NULL);
  test_layer(&m, "residual", "c.sum", "b.sum", "c", NULL);
  test_layer(&m, "tanh", "d", NULL);
  test_layer(&m, "residual", "d.sum", "c.sum", "d", NULL);
  test_layer(&m, "softmax", "e", NULL);
  test_layer(&m, "residual", "e.sum", "d.sum", "e", NULL);
  test_linear(&m, "head", 4);
  check_gradients(&m, 7);
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 3, .shape = {2, 4, 4}, .classes = 3};
  layer_spec *layer = test_layer(&m, "conv2d", "stem", NULL);
  layer->channels = 3, layer->kernel = 3, layer->padding = 1;
  layer = test_layer(&m, "conv2d", "a", NULL);
  layer->channels = 3, layer->kernel = 3, layer->padding = 1;
  test_layer(&m, "residual", "a.sum", "stem", "a", NULL);
  layer = test_layer(&m, "avgpool", "b", NULL);
  layer->kernel = 3, layer->padding = 1, layer->stride = 1;
  test_layer(&m, "residual", "b.sum", "a.sum", "b", NULL);
  test_layer(&m, "flatten", "flatten", NULL);
  test_linear(&m, "head", 3);
  check_gradients(&m, 5);
}

static void of_float_targets(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 2);
  m.w.loss = LOSS_MSE;
  m.info.classes = 0, m.info.targets = 2;
  check_gradients(&m, 6);
}

static void of_binary_labels(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 7, 5, 1);
  m.w.loss = LOSS_BINARY;
  m.info.classes = 2;
  check_gradients(&m, 6);
}

/* The output is a view of what the backward pass reads: its gradient must not lie there. */
static void of_a_view_at_the_end(void **state) {
  (void)state;
  test_model m;
  test_mlp(&m, 6, 8, 3);
  m.w.loss = LOSS_MSE;
  m.info.classes = 0, m.info.targets = 3;
  test_layer(&m, "tanh", "tanh2", NULL);
  test_layer(&m, "flatten", "flatten", NULL);
  check_gradients(&m, 5);
}

/* A norm on the data itself: its input needs no gradient. */
static void of_a_norm_on_the_data(void **state) {
  (void)state;
  test_model m;
  test_model_begin(&m, LOSS_CROSS_ENTROPY);
  m.info = (dataset_info){.rank = 1, .shape = {6}, .classes = 3};
  test_layer(&m, "layernorm", "norm", NULL);
  test_layer(&m, "relu", "relu", NULL);
  test_linear(&m, "head", 3);
  check_gradients(&m, 5);
}

/* ---- edges ---- */

static mpt_precision in_turn(int layer) {
  static const mpt_precision turn[] = {MPT_PRECISION_BF16, MPT_PRECISION_FP8, MPT_PRECISION_FP16,
                                       MPT_PRECISION_FP32, MPT_PRECISION_TF32};
  return turn[layer % 5];
}

/* How many values of the tensor are none of the format. */
static int64_t foreign(const mpt_tensor *tensor, mpt_format format) {
  const float *x = tensor->data;
  int64_t count = 0;
  for (int64_t i = 0; i < mpt_tensor_count(tensor); i++)
    count += mpt_format_round(format, x[i], false) != x[i];
  return count;
}

/* Every activation holds values of its producer's storage format, every gradient those of the
 * dgrad that writes it first, sums of several included. */
static void edges_hold_values_of_their_formats(void **state) {
  (void)state;
  test_model m;
  fixture f;
  test_gpt(&m, 11, 6, 8, 3, true);
  memory_is_apart = true; /* all of them are looked at when the step is over */
  begin(&f, &m, 3, in_turn);
  memory_is_apart = false;
  loss_here(&f, true);
  int64_t narrow = 0, not_bf16 = 0;
  for (int t = 1; t < f.g->tensor_count; t++) {
    const mpt_tensor *value = &f.t.net->tensors[t], *gradient = &f.t.net->tensor_gradients[t];
    mpt_format format = graph_tensor_format(f.g, f.assignment, t);
    assert_int_equal(value->format, format);
    assert_int_equal(foreign(value, format), 0);
    narrow += format != MPT_FP32;
    not_bf16 += foreign(value, MPT_BF16);
    format = graph_gradient_format(f.g, f.assignment, t);
    assert_int_equal(gradient->format, format);
    assert_int_equal(foreign(gradient, format), 0);
  }
  assert_true(narrow > 5 && not_bf16 > 0);
  for (int i = 0; i < f.t.net->parameter_count; i++) /* parameter gradients are fp32 */
    assert_int_equal(f.t.net->parameters[i].gradient.format, MPT_FP32);
  end(&f);
}

/* Initial weights are drawn in pieces: what lies in the second is not what lies in the first. */
static void weights_of_a_large_layer_are_all_drawn(void **state) {
  (void)state;
  enum { HIDDEN = 2100, PIECE = 1 << 22, LOOKED_AT = 1000 };
  test_model m;
  fixture f;
  test_mlp(&m, 8, HIDDEN, 3);
  begin(&f, &m, 2, NULL);
  const network_parameter *large = NULL;
  for (int i = 0; i < f.t.net->parameter_count; i++)
    if (f.t.net->parameters[i].count > PIECE)
      large = &f.t.net->parameters[i];
  assert_non_null(large);
  if (large == NULL) /* not reached: for those who do not know that */
    return;
  assert_int_equal(large->count, (int64_t)HIDDEN * HIDDEN);
  const float *w = large->weight.data;
  int zeros = 0, alike = 0;
  for (int64_t i = 0; i < LOOKED_AT; i++) {
    zeros += w[i] == 0.0f || w[PIECE + i] == 0.0f || w[large->count - 1 - i] == 0.0f;
    alike += w[i] == w[PIECE + i];
  }
  assert_int_equal(zeros, 0);
  assert_true(alike < 3);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_an_mlp),
      cmocka_unit_test(of_a_cnn),
      cmocka_unit_test(of_a_gpt),
      cmocka_unit_test(of_a_net_with_every_turn),
      cmocka_unit_test(of_sums_that_cannot_share),
      cmocka_unit_test(of_branches_of_one_layer),
      cmocka_unit_test(of_float_targets),
      cmocka_unit_test(of_binary_labels),
      cmocka_unit_test(of_a_view_at_the_end),
      cmocka_unit_test(of_a_norm_on_the_data),
      cmocka_unit_test(edges_hold_values_of_their_formats),
      cmocka_unit_test(weights_of_a_large_layer_are_all_drawn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
