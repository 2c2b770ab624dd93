/* A program that mptune can evaluate (docs/contract.md), in C: two linear layers that learn the
 * sine of a sum, trained by SGD through libmptune under the policy that it is asked to use.
 *
 *   mptune tune --command ./evaluator --metric loss --budget 1% --steps 200
 */
#include <math.h>
#include <mptune/mptune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 32, INPUT = 5, HIDDEN = 64, OUTPUT = 1, LAYERS = 2, HELD_OUT = 16 };

typedef struct linear {
  int64_t n, k;
  float *weight, *gradient;
} linear;

static mpt_events *events;
static mpt_queue *queue;
static mpt_session *session;
static mpt_session_layer described[LAYERS];
static linear layers[LAYERS] = {{.n = HIDDEN, .k = INPUT}, {.n = OUTPUT, .k = HIDDEN}};
static float x[ROWS * INPUT], hidden[ROWS * HIDDEN], active[ROWS * HIDDEN], y[ROWS], errors[ROWS];
static float grad_y[ROWS], grad_active[ROWS * HIDDEN], grad_hidden[ROWS * HIDDEN];

#define CALL(call)                                                                                 \
  do {                                                                                             \
    mpt_error error = {0};                                                                         \
    if ((call) != MPT_OK) {                                                                        \
      fprintf(stderr, "error: %s\n", error.message);                                               \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

static long long number(const char *name, long long otherwise) {
  const char *text = getenv(name);
  return text != NULL && text[0] != '\0' ? strtoll(text, NULL, 10) : otherwise;
}

/* Evenly spread in [-1, 1): the same for the same key. */
static float draw(uint64_t key, uint64_t i) {
  uint64_t z = key * 0x9E3779B97F4A7C15u + i * 0xBF58476D1CE4E5B9u + 0x94D049BB133111EBu;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (float)(int32_t)((z ^ z >> 31) >> 32) * 0x1p-31f;
}

static mpt_tensor matrix(float *data, mpt_format format, int64_t rows, int64_t columns) {
  const int64_t shape[2] = {rows, columns};
  return mpt_tensor_of(data, format, 2, shape);
}

static void statistics(void *context, int64_t step, int layer, mpt_operand operand,
                       const mpt_statistics *of) {
  (void)context;
  CALL(mpt_events_statistics(events, step, described[layer].info.name, operand, of, &error));
}

static void open_session(long long steps) {
  mpt_policy *policy;
  mpt_queue_config queue_config = mpt_queue_config_default();
  CALL(mpt_queue_open(&queue_config, &queue, &error));
  const char *path = getenv("MPTUNE_POLICY");
  if (path != NULL)
    CALL(mpt_policy_load(path, &policy, &error));
  else
    CALL(mpt_policy_uniform(MPT_PRECISION_FP32, &policy, &error));
  for (int i = 0; i < LAYERS; i++) {
    mpt_layer_info *info = &described[i].info;
    snprintf(info->name, sizeof info->name, "fc%d", i + 1);
    snprintf(info->kind, sizeof info->kind, "linear");
    info->rank = 2;
    info->shape[0] = layers[i].n;
    info->shape[1] = layers[i].k;
    info->rows = ROWS;
  }
  mpt_session_config config = mpt_session_config_default();
  config.queue = queue;
  config.policy = policy;
  config.steps = steps;
  config.statistics_every = number("MPTUNE_STATS_EVERY", 0);
  config.statistics = config.statistics_every > 0 ? MPT_STATISTICS_FULL : MPT_STATISTICS_OFF;
  config.statistics_every += config.statistics_every < 1;
  config.on_statistics = statistics;
  CALL(mpt_session_open(&config, described, LAYERS, &session, &error));
  mpt_policy_free(policy);
}

/* What this program is, its layers, and the formats that the session really gave them. */
static void introduce(void) {
  static const char *const capabilities[] = {"time", "observe", NULL};
  mpt_events_hello_info hello = {.struct_size = sizeof hello,
                                 .program = "c_evaluator",
                                 .device = "cpu",
                                 .versions = (const char *const[]){"mptune", mpt_version(), NULL},
                                 .capabilities = capabilities};
  mpt_layer_info infos[LAYERS];
  mpt_layer_policy formats[LAYERS];
  for (int i = 0; i < LAYERS; i++) {
    infos[i] = described[i].info;
    formats[i] = *mpt_session_layer_policy(session, i);
  }
  CALL(mpt_events_hello(events, &hello, &error));
  CALL(mpt_events_layers(events, infos, LAYERS, NULL, &error));
  CALL(mpt_events_applied(events, infos, formats, LAYERS, &error));
}

/* The mean squared error of a batch, whose last input is 1 in place of a bias; what is stored is
 * rounded as the formats say. */
static double forward(uint64_t batch) {
  mpt_format stored[LAYERS];
  for (int i = 0; i < LAYERS; i++)
    stored[i] = mpt_session_output_format(session, i);
  for (int i = 0; i < ROWS * INPUT; i++)
    x[i] = i % INPUT == INPUT - 1 ? 1.0f : draw(batch, (uint64_t)i);
  mpt_tensor input = matrix(x, MPT_FP32, ROWS, INPUT);
  mpt_tensor w[LAYERS] = {matrix(layers[0].weight, MPT_FP32, HIDDEN, INPUT),
                          matrix(layers[1].weight, MPT_FP32, OUTPUT, HIDDEN)};
  mpt_tensor h = matrix(hidden, stored[0], ROWS, HIDDEN);
  mpt_tensor a = matrix(active, stored[0], ROWS, HIDDEN), out = matrix(y, stored[1], ROWS, OUTPUT);
  CALL(mpt_linear_forward(session, 0, &input, &w[0], NULL, &h, &error));
  for (int i = 0; i < ROWS * HIDDEN; i++)
    active[i] = fmaxf(hidden[i], 0.0f);
  CALL(mpt_linear_forward(session, 1, &a, &w[1], NULL, &out, &error));
  double loss = 0.0;
  for (int r = 0; r < ROWS; r++) {
    float sum = 0.0f;
    for (int i = 0; i < INPUT - 1; i++)
      sum += x[r * INPUT + i];
    errors[r] = y[r] - sinf(sum);
    loss += (double)errors[r] * (double)errors[r] / ROWS;
  }
  return loss;
}

static void backward(void) {
  const float scale = mpt_session_loss_scale(session);
  mpt_format stored = mpt_session_output_format(session, 0);
  mpt_format grad_stored = mpt_session_grad_input_format(session, 1);
  mpt_tensor input = matrix(x, MPT_FP32, ROWS, INPUT), a = matrix(active, stored, ROWS, HIDDEN);
  mpt_tensor w[LAYERS] = {matrix(layers[0].weight, MPT_FP32, HIDDEN, INPUT),
                          matrix(layers[1].weight, MPT_FP32, OUTPUT, HIDDEN)};
  mpt_tensor dw[LAYERS] = {matrix(layers[0].gradient, MPT_FP32, HIDDEN, INPUT),
                           matrix(layers[1].gradient, MPT_FP32, OUTPUT, HIDDEN)};
  mpt_tensor dy = matrix(grad_y, MPT_FP32, ROWS, OUTPUT);
  mpt_tensor da = matrix(grad_active, grad_stored, ROWS, HIDDEN);
  mpt_tensor dh = matrix(grad_hidden, grad_stored, ROWS, HIDDEN);
  for (int r = 0; r < ROWS; r++)
    grad_y[r] = scale * 2.0f * errors[r] / ROWS;
  CALL(mpt_linear_backward(session, 1, &dy, &a, &w[1], &da, false, &dw[1], NULL, &error));
  for (int i = 0; i < ROWS * HIDDEN; i++)
    grad_hidden[i] = hidden[i] > 0.0f ? grad_active[i] : 0.0f;
  CALL(mpt_linear_backward(session, 0, &dh, &input, &w[0], NULL, false, &dw[0], NULL, &error));
  const mpt_tensor *const gradients[LAYERS] = {&dw[0], &dw[1]};
  CALL(mpt_session_step_end(session, gradients, LAYERS, 1.0f, NULL, &error));
}

static void update(int64_t step, float rate) {
  const mpt_step_state *state = mpt_session_state(session); /* the processor's memory: no copy */
  if (state->overflow != 0)
    CALL(mpt_events_skipped(events, step, &error));
  for (int i = 0; i < LAYERS; i++)
    for (int64_t j = 0; j < layers[i].n * layers[i].k; j++) {
      if (state->overflow == 0)
        layers[i].weight[j] -= rate * state->clip * layers[i].gradient[j] / state->loss_scale;
      layers[i].gradient[j] = 0.0f;
    }
}

/* On batches that no training sees, the forward pass in the policy's formats. */
static double held_out(void) {
  double loss = 0.0;
  CALL(mpt_session_set_mode(session, MPT_RUN_EVALUATE, &error));
  CALL(mpt_session_step_begin(session, 0, &error));
  for (int batch = 0; batch < HELD_OUT; batch++) {
    CALL(mpt_session_microbatch(session, &error));
    loss += forward(UINT64_MAX - (uint64_t)batch) / HELD_OUT;
  }
  CALL(mpt_session_step_end(session, NULL, 0, 0.0f, NULL, &error));
  return loss;
}

int main(void) {
  const long long steps = number("MPTUNE_STEPS", 200), until = number("MPTUNE_UNTIL", steps);
  const uint64_t seed = (uint64_t)number("MPTUNE_SEED", 1);
  CALL(mpt_events_open(NULL, &events, &error)); /* NULL where mptune does not run it */
  open_session(steps);
  introduce();
  size_t bytes = mpt_session_workspace_bytes(session);
  void *workspace;
  CALL(mpt_memory_allocate(queue, bytes, &workspace, &error));
  CALL(mpt_session_set_workspace(session, workspace, bytes, &error));
  CALL(mpt_session_prepare(session, NULL, &error));
  for (int i = 0; i < LAYERS; i++) {
    size_t count = (size_t)(layers[i].n * layers[i].k);
    layers[i].weight = calloc(count, sizeof(float));
    layers[i].gradient = calloc(count, sizeof(float));
    if (layers[i].weight == NULL || layers[i].gradient == NULL)
      return 125; /* this says nothing of the policy */
    for (size_t j = 0; j < count; j++)
      layers[i].weight[j] =
          1.7f * draw(seed, j + 1000000u * (uint64_t)i) / sqrtf((float)layers[i].k);
  }
  for (int64_t step = 0; step < until; step++) {
    CALL(mpt_session_step_begin(session, step, &error));
    double loss = forward(seed << 32 | (uint64_t)step);
    backward();
    update(step, 0.2f * (1.0f - (float)step / (float)steps));
    CALL(mpt_events_step(events, step, loss, (double)NAN, &error));
  }
  if (until > 0 && until == steps) {
    double loss = held_out();
    CALL(mpt_events_metric(events, "loss", loss, false, &error));
    printf("loss %g\n", loss);
  }
  CALL(mpt_events_done(events, until, &error));
  mpt_session_close(session);
  mpt_memory_free(queue, workspace);
  mpt_queue_close(queue);
  mpt_events_close(events);
  for (int i = 0; i < LAYERS; i++)
    free(layers[i].weight), free(layers[i].gradient);
  return 0;
}
