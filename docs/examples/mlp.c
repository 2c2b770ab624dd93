/* Trains a multi-layer perceptron under a precision policy, with libmptune and nothing else.
 *
 *   mptune train WORKLOAD --policy POLICY --save-init WEIGHTS --save-batches BATCHES
 *   mlp POLICY WEIGHTS BATCHES [--learning-rate R] [--steps N] [--threads N]
 *
 * The network is what the weights say: linear layers in their order, ReLU between them,
 * cross-entropy at the end; Adam (Kingma and Ba 2015). The linear layers run through libmptune,
 * forward and backward, in the formats of the policy; everything else is done here. Prints the loss
 * of every step.
 *
 * --record writes what the linear layers gave in the first step, as raw fp32: the output of each,
 * then from the last to the first grad_weight, grad_bias and (but for the first layer) grad_input.
 */
#include "tensor_file.h"
#include <math.h>
#include <mptune/mptune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 16 };

typedef struct parameter {
  float *value, *gradient, *first_moment, *second_moment;
  int64_t count;
  mpt_tensor value_view, gradient_view;
} parameter;

typedef struct layer {
  int linear, relu; /* indices in the session; relu -1 after the last */
  int64_t n, k;
  parameter weight, bias;
  float *output, *activation; /* [rows, n] each */
  float *grad_output;         /* [rows, n] */
} layer;

typedef struct network {
  int64_t rows;
  int count;
  layer layers[MAX_LAYERS];
  mpt_queue *queue;
  mpt_session *session;
  void *workspace;
} network;

static void stop(const mpt_error *error) {
  fprintf(stderr, "error: %s%s%s\n", error->file, error->file[0] ? ": " : "", error->message);
  exit(1);
}

#define CALL(call)                                                                                 \
  do {                                                                                             \
    mpt_error error = {0};                                                                         \
    if ((call) != MPT_OK)                                                                          \
      stop(&error);                                                                                \
  } while (0)

static float *floats(int64_t count) {
  float *data = calloc((size_t)count, sizeof *data);
  if (data == NULL) {
    fprintf(stderr, "error: out of memory\n");
    exit(1);
  }
  return data;
}

static parameter parameter_of(const tensor_file_entry *tensor) {
  parameter p = {.count = 1};
  for (int i = 0; i < tensor->rank; i++)
    p.count *= tensor->shape[i];
  p.value = floats(p.count);
  memcpy(p.value, tensor->data, (size_t)p.count * sizeof(float));
  p.gradient = floats(p.count);
  p.first_moment = floats(p.count);
  p.second_moment = floats(p.count);
  p.value_view = mpt_tensor_of(p.value, MPT_FP32, tensor->rank, tensor->shape);
  p.gradient_view = mpt_tensor_of(p.gradient, MPT_FP32, tensor->rank, tensor->shape);
  return p;
}

/* ---- the network ---- */

static mpt_session_layer *describe(mpt_session_layer *to, const char *name, const char *kind,
                                   int64_t rows, int rank, int64_t n, int64_t k) {
  *to = (mpt_session_layer){.info = {.rank = rank, .shape = {n, k}, .rows = rows}};
  snprintf(to->info.name, sizeof to->info.name, "%s", name);
  snprintf(to->info.kind, sizeof to->info.kind, "%s", kind);
  return to;
}

static void build(network *net, const tensor_file *weights, int64_t rows,
                  mpt_session_layer *described, int *described_count) {
  net->rows = rows;
  for (int i = 0; i < weights->count; i++) {
    const tensor_file_entry *weight = &weights->entries[i];
    char name[MPT_MAX_NAME], bias_name[MPT_MAX_NAME + 8];
    const char *dot = strrchr(weight->name, '.');
    if (dot == NULL || strcmp(dot, ".weight") != 0 || weight->rank != 2)
      continue;
    snprintf(name, sizeof name, "%.*s", (int)(dot - weight->name), weight->name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    const tensor_file_entry *bias = tensor_file_find(weights, bias_name);
    if (bias == NULL || net->count == MAX_LAYERS) {
      fprintf(stderr, "error: layer '%s' has no bias, or is one too many\n", name);
      exit(1);
    }
    layer *l = &net->layers[net->count++];
    l->n = weight->shape[0], l->k = weight->shape[1];
    l->weight = parameter_of(weight);
    l->bias = parameter_of(bias);
    l->output = floats(rows * l->n);
    l->activation = floats(rows * l->n);
    l->grad_output = floats(rows * l->n);
    if (net->count > 1) { /* the activation before this layer */
      char relu[MPT_MAX_NAME];
      snprintf(relu, sizeof relu, "relu%d", net->count - 1);
      layer *before = l - 1;
      before->relu = *described_count;
      describe(&described[(*described_count)++], relu, "relu", rows, 1, before->n, 0);
    }
    l->linear = *described_count;
    l->relu = -1;
    describe(&described[(*described_count)++], name, "linear", rows, 2, l->n, l->k);
  }
}

static void open_session(network *net, const char *policy_path, int threads, int64_t steps,
                         const mpt_session_layer *described, int count) {
  mpt_queue_config queue_config = mpt_queue_config_default();
  queue_config.threads = threads; /* fixes the order of sums */
  CALL(mpt_queue_open(&queue_config, &net->queue, &error));
  mpt_policy *policy;
  CALL(mpt_policy_load(policy_path, &policy, &error));
  mpt_session_config config = mpt_session_config_default();
  config.queue = net->queue;
  config.policy = policy;
  config.steps = steps;
  CALL(mpt_session_open(&config, described, count, &net->session, &error));
  mpt_policy_free(policy);
  size_t bytes = mpt_session_workspace_bytes(net->session);
  CALL(mpt_memory_allocate(net->queue, bytes, &net->workspace, &error));
  CALL(mpt_session_set_workspace(net->session, net->workspace, bytes, &error));
}

static void close_network(network *net) {
  for (int i = 0; i < net->count; i++) {
    layer *l = &net->layers[i];
    parameter *both[2] = {&l->weight, &l->bias};
    for (int j = 0; j < 2; j++) {
      free(both[j]->value), free(both[j]->gradient);
      free(both[j]->first_moment), free(both[j]->second_moment);
    }
    free(l->output), free(l->activation), free(l->grad_output);
  }
  mpt_session_close(net->session);
  mpt_memory_free(net->queue, net->workspace);
  mpt_queue_close(net->queue);
}

/* ---- a step ---- */

static void put(FILE *record, const float *data, int64_t count) {
  if (record != NULL)
    fwrite(data, sizeof(float), (size_t)count, record);
}

static mpt_tensor matrix(float *data, int64_t rows, int64_t columns, mpt_format format) {
  int64_t shape[2] = {rows, columns};
  return mpt_tensor_of(data, format, 2, shape);
}

/* The input of layer i: the data, or the activation of the layer before, as it is stored. */
static mpt_tensor input_of(const network *net, int i, float *features) {
  const layer *l = &net->layers[i];
  if (i == 0)
    return matrix(features, net->rows, l->k, MPT_FP32);
  return matrix(l[-1].activation, net->rows, l->k,
                mpt_session_output_format(net->session, l[-1].relu));
}

static void forward(network *net, float *features) {
  for (int i = 0; i < net->count; i++) {
    layer *l = &net->layers[i];
    mpt_tensor x = input_of(net, i, features);
    mpt_tensor y =
        matrix(l->output, net->rows, l->n, mpt_session_output_format(net->session, l->linear));
    CALL(mpt_linear_forward(net->session, l->linear, &x, &l->weight.value_view, &l->bias.value_view,
                            &y, &error));
    if (l->relu < 0)
      continue;
    size_t count = (size_t)(net->rows * l->n);
    for (size_t j = 0; j < count; j++)
      l->activation[j] = l->output[j] < 0.0f ? 0.0f : l->output[j];
    mpt_format_round_array(mpt_session_output_format(net->session, l->relu), l->activation, 1.0f,
                           l->activation, count);
  }
}

/* The format in which the gradient of a layer's output is stored: that of what reads the output. */
static mpt_format gradient_format(const network *net, const layer *l) {
  return l->relu < 0 ? mpt_session_output_format(net->session, l->linear)
                     : mpt_session_grad_input_format(net->session, l->relu);
}

/* Mean cross-entropy; its gradient times the loss scale, rounded to the format that the logits are
 * stored in. */
static double loss(network *net, const float *labels) {
  layer *last = &net->layers[net->count - 1];
  float scale = mpt_session_loss_scale(net->session);
  double total = 0.0;
  for (int64_t r = 0; r < net->rows; r++) {
    const float *logits = last->output + r * last->n;
    float *gradient = last->grad_output + r * last->n;
    double largest = logits[0];
    for (int64_t j = 1; j < last->n; j++)
      largest = fmax(largest, logits[j]);
    double sum = exp(logits[0] - largest);
    for (int64_t j = 1; j < last->n; j++)
      sum += exp(logits[j] - largest);
    int64_t label = (int64_t)labels[r];
    total += log(sum) + largest - logits[label];
    for (int64_t j = 0; j < last->n; j++)
      gradient[j] =
          (float)((exp(logits[j] - largest) / sum - (j == label)) * scale / (double)net->rows);
  }
  mpt_format_round_array(gradient_format(net, last), last->grad_output, 1.0f, last->grad_output,
                         (size_t)(net->rows * last->n));
  return total / (double)net->rows;
}

static void backward(network *net, float *features, FILE *record) {
  for (int i = net->count - 1; i >= 0; i--) {
    layer *l = &net->layers[i], *before = l - 1;
    mpt_tensor x = input_of(net, i, features), grad_x = {0};
    mpt_tensor grad_y = matrix(l->grad_output, net->rows, l->n, gradient_format(net, l));
    if (i > 0)
      grad_x = matrix(before->grad_output, net->rows, l->k,
                      mpt_session_grad_input_format(net->session, l->linear));
    CALL(mpt_linear_backward(net->session, l->linear, &grad_y, &x, &l->weight.value_view,
                             i > 0 ? &grad_x : NULL, false, &l->weight.gradient_view,
                             &l->bias.gradient_view, &error));
    put(record, l->weight.gradient, l->weight.count);
    put(record, l->bias.gradient, l->bias.count);
    if (i == 0)
      continue;
    int64_t count = net->rows * l->k;
    put(record, before->grad_output, count);
    for (int64_t j = 0; j < count; j++)
      if (before->activation[j] <= 0.0f)
        before->grad_output[j] = 0.0f;
    mpt_format_round_array(gradient_format(net, before), before->grad_output, 1.0f,
                           before->grad_output, (size_t)count);
  }
}

/* In fp32, the constants of a step from double. */
static void adam(parameter *p, const mpt_step_state *state, float learning_rate) {
  const float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  double t = (double)state->applied + 1.0;
  float rate = (float)((double)learning_rate / (1.0 - pow((double)beta1, t)));
  float inverse_root = (float)(1.0 / sqrt(1.0 - pow((double)beta2, t)));
  float rest1 = (float)(1.0 - (double)beta1), rest2 = (float)(1.0 - (double)beta2);
  float unscale = state->clip / state->loss_scale;
  for (int64_t i = 0; i < p->count; i++) {
    float g = unscale * p->gradient[i];
    float m = p->first_moment[i] = beta1 * p->first_moment[i] + rest1 * g;
    float v = p->second_moment[i] = beta2 * p->second_moment[i] + rest2 * (g * g);
    p->value[i] -= rate * (m / (sqrtf(v) * inverse_root + epsilon));
  }
}

/* The first step can be compared with another program's: --record writes its results, and
 * --first-gradient gives the gradient of the loss, in which programs differ by rounding. */
static double train_step(network *net, int64_t step, float *features, const float *labels,
                         float learning_rate, FILE *record, const float *first_gradient) {
  CALL(mpt_session_step_begin(net->session, step, &error));
  const mpt_tensor *gradients[2 * MAX_LAYERS];
  for (int i = 0; i < net->count; i++) {
    layer *l = &net->layers[i];
    memset(l->weight.gradient, 0, (size_t)l->weight.count * sizeof(float));
    memset(l->bias.gradient, 0, (size_t)l->bias.count * sizeof(float));
    gradients[2 * i] = &l->weight.gradient_view;
    gradients[2 * i + 1] = &l->bias.gradient_view;
  }
  forward(net, features);
  for (int i = 0; i < net->count; i++)
    put(record, net->layers[i].output, net->rows * net->layers[i].n);
  double value = loss(net, labels);
  const layer *last = &net->layers[net->count - 1];
  if (first_gradient != NULL)
    memcpy(last->grad_output, first_gradient, (size_t)(net->rows * last->n) * sizeof(float));
  backward(net, features, record);
  const mpt_step_state *state;
  CALL(mpt_session_step_end(net->session, gradients, 2 * net->count, 0.0f, &state, &error));
  for (int i = 0; i < net->count && state->overflow == 0; i++) {
    adam(&net->layers[i].weight, state, learning_rate);
    adam(&net->layers[i].bias, state, learning_rate);
  }
  return value;
}

/* ---- the command line ---- */

typedef struct options {
  const char *policy, *weights, *batches, *record, *first_gradient;
  float learning_rate;
  int64_t steps; /* 0: as many as there are batches */
  int threads;
} options;

static options parse(int argc, char **argv) {
  options o = {.learning_rate = 1e-3f, .threads = 1};
  bool good = argc >= 4 && argc % 2 == 0;
  if (good)
    o.policy = argv[1], o.weights = argv[2], o.batches = argv[3];
  for (int i = 4; good && i < argc; i += 2) {
    if (strcmp(argv[i], "--learning-rate") == 0)
      o.learning_rate = strtof(argv[i + 1], NULL);
    else if (strcmp(argv[i], "--steps") == 0)
      o.steps = strtoll(argv[i + 1], NULL, 10);
    else if (strcmp(argv[i], "--threads") == 0)
      o.threads = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--record") == 0)
      o.record = argv[i + 1];
    else if (strcmp(argv[i], "--first-gradient") == 0)
      o.first_gradient = argv[i + 1];
    else
      good = false;
  }
  if (good)
    return o;
  fprintf(stderr,
          "usage: mlp POLICY WEIGHTS BATCHES [--learning-rate R] [--steps N] [--threads N]\n"
          "           [--record FILE] [--first-gradient FILE]\n");
  exit(2);
}

static FILE *open_file(const char *path, const char *mode) {
  FILE *file = path != NULL ? fopen(path, mode) : NULL;
  if (path != NULL && file == NULL) {
    perror(path);
    exit(1);
  }
  return file;
}

static float *read_floats(const char *path, int64_t count) {
  FILE *file = open_file(path, "rb");
  if (file == NULL)
    return NULL;
  float *data = floats(count);
  if (fread(data, sizeof(float), (size_t)count, file) != (size_t)count) {
    fprintf(stderr, "error: %s: expected %lld numbers\n", path, (long long)count);
    exit(1);
  }
  fclose(file);
  return data;
}

int main(int argc, char **argv) {
  options o = parse(argc, argv);
  tensor_file weights, batches;
  tensor_file_read(o.weights, &weights);
  tensor_file_read(o.batches, &batches);
  const tensor_file_entry *features = tensor_file_find(&batches, "features");
  const tensor_file_entry *labels = tensor_file_find(&batches, "labels");
  if (features == NULL || labels == NULL || features->rank < 3) {
    fprintf(stderr, "error: %s: no features [steps, batch, ...] and labels\n", o.batches);
    return 1;
  }
  int64_t rows = features->shape[1], size = 1;
  for (int i = 2; i < features->rank; i++)
    size *= features->shape[i];
  int64_t steps = o.steps > 0 && o.steps < features->shape[0] ? o.steps : features->shape[0];

  network net = {0};
  mpt_session_layer described[2 * MAX_LAYERS];
  int count = 0;
  build(&net, &weights, rows, described, &count);
  if (net.count == 0 || net.layers[0].k != size) {
    fprintf(stderr, "error: the first layer does not read samples of %lld numbers\n",
            (long long)size);
    return 1;
  }
  open_session(&net, o.policy, o.threads, steps, described, count);
  FILE *record = open_file(o.record, "wb");
  float *first_gradient = read_floats(o.first_gradient, rows * net.layers[net.count - 1].n);
  for (int64_t step = 0; step < steps; step++) {
    bool first = step == 0;
    double value =
        train_step(&net, step, features->data + step * rows * size, labels->data + step * rows,
                   o.learning_rate, first ? record : NULL, first ? first_gradient : NULL);
    printf("%lld %.9g\n", (long long)step, value);
  }
  if (record != NULL && fclose(record) != 0) {
    perror(o.record);
    return 1;
  }
  free(first_gradient);
  close_network(&net);
  tensor_file_free(&weights);
  tensor_file_free(&batches);
  return 0;
}
