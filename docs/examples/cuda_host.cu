/* A CUDA program of its own that trains through libmptune, as a guest in its process.
 *
 *   cuda_host [POLICY]
 *
 * Two linear layers, ReLU between them, squared error, plain SGD: everything but the products is
 * done here, on the program's stream, with its memory. The training step is captured once in a CUDA
 * graph of the program's and replayed. It is trained twice, with the graph and step by step, and
 * must come to the same bits; and after mpt_session_prepare libmptune takes no memory any more.
 *
 *   nvcc -o cuda_host cuda_host.cu $(pkg-config --cflags --libs mptune)
 */
#include <cuda_runtime.h>
#include <mptune/mptune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 256, INPUT = 128, HIDDEN = 256, OUTPUT = 64, BATCHES = 8, STEPS = 400 };
static const float rate = 0.05f;

#define CALL(call)                                                                                 \
  do {                                                                                             \
    mpt_error error;                                                                               \
    error.message[0] = '\0';                                                                       \
    if ((call) != MPT_OK) {                                                                        \
      fprintf(stderr, "error: %s\n", error.message);                                               \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define CUDA(call)                                                                                 \
  do {                                                                                             \
    cudaError_t result = (call);                                                                   \
    if (result != cudaSuccess) {                                                                   \
      fprintf(stderr, "error: %s: %s\n", #call, cudaGetErrorString(result));                       \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* ---- the program's kernels: tensors are bf16 where a layer stores them so ---- */
static __device__ float get(const void *x, mpt_format format, int i) {
  if (format == MPT_FP32)
    return ((const float *)x)[i];
  unsigned bits = (unsigned)((const unsigned short *)x)[i] << 16;
  return __uint_as_float(bits);
}

static __device__ void put(void *x, mpt_format format, int i, float value) {
  unsigned bits = __float_as_uint(value);
  if (format == MPT_FP32)
    ((float *)x)[i] = value;
  else /* to nearest, ties to even; nothing here is NaN */
    ((unsigned short *)x)[i] = (unsigned short)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

#define EACH(i, n)                                                                                 \
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

static __global__ void relu(const void *x, void *y, mpt_format format, int n) {
  EACH(i, n) put(y, format, i, fmaxf(get(x, format, i), 0.0f));
}

/* grad_x = grad_y where x was positive, each in its format */
static __global__ void relu_backward(const void *x, mpt_format format, const void *grad_y,
                                     mpt_format grad_format, void *grad_x, int n) {
  EACH(i, n)
  put(grad_x, grad_format, i, get(x, format, i) > 0.0f ? get(grad_y, grad_format, i) : 0.0f);
}

/* loss = mean (y - target)^2; its gradient, times the loss scale that the step's state holds */
static __global__ void squared_error(const void *y, mpt_format format, const float *target,
                                     const mpt_step_state *state, float *grad_y, float *losses,
                                     int n) {
  EACH(i, n) {
    float difference = get(y, format, i) - target[i];
    losses[i] = difference * difference / (float)n;
    grad_y[i] = 2.0f * difference / (float)n * state->loss_scale;
  }
}

/* w -= rate * gradient, unless the step overflowed; the gradient is then ready for the next step */
static __global__ void update(float *w, float *gradient, const mpt_step_state *state, float factor,
                              int n) {
  EACH(i, n) {
    if (state->overflow == 0)
      w[i] -= factor * state->clip * gradient[i] / state->loss_scale;
    gradient[i] = 0.0f;
  }
}

/* ---- the program's memory ---- */
static int allocations; /* that libmptune asked for */

static void *take(void *, size_t bytes, int, void *) {
  void *memory = NULL;
  allocations++;
  return cudaMalloc(&memory, bytes) == cudaSuccess ? memory : NULL;
}

static void give(void *, void *memory, int, void *) {
  cudaFree(memory);
}

static void *zeros(size_t bytes) {
  void *memory;
  CUDA(cudaMalloc(&memory, bytes));
  CUDA(cudaMemset(memory, 0, bytes));
  return memory;
}

static unsigned long long random_state;
static float next_random() {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
  return (float)((int)(random_state >> 40) - (1 << 23)) / (float)(1 << 23);
}

static float *random_numbers(int count, float size) {
  float *host = (float *)malloc(count * sizeof(float));
  for (int i = 0; i < count; i++)
    host[i] = size * next_random();
  return host;
}

static float *to_device(float *host, int count) {
  float *memory = (float *)zeros(count * sizeof(float));
  CUDA(cudaMemcpy(memory, host, count * sizeof(float), cudaMemcpyHostToDevice));
  free(host);
  return memory;
}

/* What is to be learned: target = tanh(teacher x) */
static float *targets_of(const float *x, int rows) {
  float *teacher = random_numbers(OUTPUT * INPUT, 4.0f / sqrtf((float)INPUT));
  float *target = (float *)malloc(rows * OUTPUT * sizeof(float));
  for (int r = 0; r < rows; r++)
    for (int o = 0; o < OUTPUT; o++) {
      float sum = 0.0f;
      for (int i = 0; i < INPUT; i++)
        sum += x[r * INPUT + i] * teacher[o * INPUT + i];
      target[r * OUTPUT + o] = tanhf(sum);
    }
  free(teacher);
  return target;
}

/* ---- a model ---- */
typedef struct linear_layer {
  int n, k;
  float *weight, *bias, *grad_weight, *grad_bias;
  mpt_format stored, grad_stored; /* of its output, and of the gradient of its input */
} linear_layer;

typedef struct model {
  cudaStream_t stream;
  mpt_queue *queue;
  mpt_session *session;
  void *workspace;
  linear_layer layers[2];
  float *inputs, *targets; /* [BATCHES] of them */
  float *x, *target;       /* the batch at hand, always in the same place */
  void *hidden, *active, *output, *grad_active, *grad_hidden;
  float *grad_output, *losses;
} model;

static mpt_tensor view(const model *m, void *data, mpt_format format, int rank, int64_t rows,
                       int64_t columns) {
  const int64_t shape[2] = {rows, columns};
  mpt_tensor t = mpt_tensor_of(data, format, rank, shape);
  t.device = mpt_queue_device(m->queue);
  return t;
}

static void open_session(model *m, const mpt_policy *policy) {
  static const char *const names[2] = {"fc1", "fc2"};
  mpt_allocator allocator = {sizeof allocator, take, give, NULL};
  mpt_queue_config queue = mpt_queue_config_default();
  queue.backend = "cuda";
  queue.owns_stream = false;
  queue.stream = m->stream;
  queue.allocator = &allocator;
  CALL(mpt_queue_open(&queue, &m->queue, &error));
  mpt_session_layer layers[2];
  memset(layers, 0, sizeof layers);
  for (int i = 0; i < 2; i++) {
    snprintf(layers[i].info.name, sizeof layers[i].info.name, "%s", names[i]);
    snprintf(layers[i].info.kind, sizeof layers[i].info.kind, "linear");
    layers[i].info.rank = 2;
    layers[i].info.shape[0] = m->layers[i].n;
    layers[i].info.shape[1] = m->layers[i].k;
    layers[i].info.rows = ROWS;
  }
  mpt_session_config config = mpt_session_config_default();
  config.queue = m->queue;
  config.policy = policy;
  config.steps = STEPS;
  CALL(mpt_session_open(&config, layers, 2, &m->session, &error));
  size_t bytes = mpt_session_workspace_bytes(m->session);
  CUDA(cudaMalloc(&m->workspace, bytes));
  CALL(mpt_session_set_workspace(m->session, m->workspace, bytes, &error));
  CALL(mpt_session_prepare(m->session, NULL, &error));
}

static void make(model *m, const mpt_policy *policy) {
  static const int sizes[3] = {INPUT, HIDDEN, OUTPUT};
  random_state = 1;
  CUDA(cudaStreamCreateWithFlags(&m->stream, cudaStreamNonBlocking));
  for (int i = 0; i < 2; i++) {
    linear_layer *l = &m->layers[i];
    l->k = sizes[i], l->n = sizes[i + 1];
    l->weight = to_device(random_numbers(l->n * l->k, 1.7f / sqrtf((float)l->k)), l->n * l->k);
    l->bias = (float *)zeros(l->n * sizeof(float));
    l->grad_weight = (float *)zeros(l->n * l->k * sizeof(float));
    l->grad_bias = (float *)zeros(l->n * sizeof(float));
  }
  float *x = random_numbers(BATCHES * ROWS * INPUT, 1.0f);
  m->targets = to_device(targets_of(x, BATCHES * ROWS), BATCHES * ROWS * OUTPUT);
  m->inputs = to_device(x, BATCHES * ROWS * INPUT);
  m->x = (float *)zeros(ROWS * INPUT * sizeof(float));
  m->target = (float *)zeros(ROWS * OUTPUT * sizeof(float));
  m->hidden = zeros(ROWS * HIDDEN * sizeof(float));
  m->active = zeros(ROWS * HIDDEN * sizeof(float));
  m->output = zeros(ROWS * OUTPUT * sizeof(float));
  m->grad_active = zeros(ROWS * HIDDEN * sizeof(float));
  m->grad_hidden = zeros(ROWS * HIDDEN * sizeof(float));
  m->grad_output = (float *)zeros(ROWS * OUTPUT * sizeof(float));
  m->losses = (float *)zeros(ROWS * OUTPUT * sizeof(float));
  open_session(m, policy);
  for (int i = 0; i < 2; i++) {
    m->layers[i].stored = mpt_session_output_format(m->session, i);
    m->layers[i].grad_stored = mpt_session_grad_input_format(m->session, i);
    if ((m->layers[i].stored != MPT_FP32 && m->layers[i].stored != MPT_BF16) ||
        (m->layers[i].grad_stored != MPT_FP32 && m->layers[i].grad_stored != MPT_BF16)) {
      fprintf(stderr, "error: this program stores fp32 and bf16, and no fp16\n");
      exit(1);
    }
  }
}

static void forward(model *m, int i, void *x, mpt_format format, void *y) {
  linear_layer *l = &m->layers[i];
  mpt_tensor input = view(m, x, format, 2, ROWS, l->k),
             output = view(m, y, l->stored, 2, ROWS, l->n);
  mpt_tensor weight = view(m, l->weight, MPT_FP32, 2, l->n, l->k);
  mpt_tensor bias = view(m, l->bias, MPT_FP32, 1, l->n, 1);
  CALL(mpt_linear_forward(m->session, i, &input, &weight, &bias, &output, &error));
}

static void backward(model *m, int i, void *grad_y, mpt_format grad_format, void *x,
                     mpt_format format, void *grad_x) {
  linear_layer *l = &m->layers[i];
  mpt_tensor grad_output = view(m, grad_y, grad_format, 2, ROWS, l->n);
  mpt_tensor input = view(m, x, format, 2, ROWS, l->k);
  mpt_tensor weight = view(m, l->weight, MPT_FP32, 2, l->n, l->k);
  mpt_tensor grad_input = view(m, grad_x, l->grad_stored, 2, ROWS, l->k);
  mpt_tensor grad_weight = view(m, l->grad_weight, MPT_FP32, 2, l->n, l->k);
  mpt_tensor grad_bias = view(m, l->grad_bias, MPT_FP32, 1, l->n, 1);
  CALL(mpt_linear_backward(m->session, i, &grad_output, &input, &weight,
                           grad_x != NULL ? &grad_input : NULL, false, &grad_weight, &grad_bias,
                           &error));
}

/* A training step, queued on the program's stream; nothing here waits. */
static void queue_step(model *m, int step) {
  const int hidden = ROWS * HIDDEN, output = ROWS * OUTPUT;
  linear_layer *fc1 = &m->layers[0], *fc2 = &m->layers[1];
  cudaStream_t s = m->stream;
  CALL(mpt_session_step_begin(m->session, step, &error));
  forward(m, 0, m->x, MPT_FP32, m->hidden);
  relu<<<64, 256, 0, s>>>(m->hidden, m->active, fc1->stored, hidden);
  forward(m, 1, m->active, fc1->stored, m->output);
  const mpt_step_state *state = mpt_session_state(m->session);
  squared_error<<<64, 256, 0, s>>>(m->output, fc2->stored, m->target, state, m->grad_output,
                                   m->losses, output);
  backward(m, 1, m->grad_output, MPT_FP32, m->active, fc1->stored, m->grad_active);
  relu_backward<<<64, 256, 0, s>>>(m->hidden, fc1->stored, m->grad_active, fc2->grad_stored,
                                   m->grad_hidden, hidden);
  backward(m, 0, m->grad_hidden, fc2->grad_stored, m->x, MPT_FP32, NULL);
  mpt_tensor g[4] = {view(m, fc1->grad_weight, MPT_FP32, 2, fc1->n, fc1->k),
                     view(m, fc1->grad_bias, MPT_FP32, 1, fc1->n, 1),
                     view(m, fc2->grad_weight, MPT_FP32, 2, fc2->n, fc2->k),
                     view(m, fc2->grad_bias, MPT_FP32, 1, fc2->n, 1)};
  const mpt_tensor *gradients[4] = {&g[0], &g[1], &g[2], &g[3]};
  CALL(mpt_session_step_end(m->session, gradients, 4, 1.0f, &state, &error));
  for (int i = 0; i < 2; i++) {
    linear_layer *l = &m->layers[i];
    update<<<64, 256, 0, s>>>(l->weight, l->grad_weight, state, rate * OUTPUT, l->n * l->k);
    update<<<1, 256, 0, s>>>(l->bias, l->grad_bias, state, rate * OUTPUT, l->n);
  }
  CUDA(cudaGetLastError());
}

static void choose_batch(model *m, int step) {
  int batch = step % BATCHES;
  CUDA(cudaMemcpyAsync(m->x, m->inputs + (size_t)batch * ROWS * INPUT, ROWS * INPUT * sizeof(float),
                       cudaMemcpyDeviceToDevice, m->stream));
  CUDA(cudaMemcpyAsync(m->target, m->targets + (size_t)batch * ROWS * OUTPUT,
                       ROWS * OUTPUT * sizeof(float), cudaMemcpyDeviceToDevice, m->stream));
}

static double loss_of(model *m) {
  static float losses[ROWS * OUTPUT];
  double sum = 0.0;
  CUDA(cudaMemcpyAsync(losses, m->losses, sizeof losses, cudaMemcpyDeviceToHost, m->stream));
  CUDA(cudaStreamSynchronize(m->stream));
  for (int i = 0; i < ROWS * OUTPUT; i++)
    sum += losses[i];
  return sum;
}

/* The mean loss of the first and of the last epoch. */
static void train(model *m, bool with_graph, double *first, double *last) {
  enum { PLAIN_STEPS = 3 }; /* before the graph is captured */
  cudaGraphExec_t graph = NULL;
  *first = *last = 0.0;
  for (int step = 0; step < STEPS; step++) {
    choose_batch(m, step);
    if (!with_graph || step < PLAIN_STEPS) {
      queue_step(m, step);
    } else if (graph == NULL) {
      cudaGraph_t captured;
      CALL(mpt_session_deliver(m->session, &error)); /* what the host need not ask for any more */
      CUDA(cudaStreamBeginCapture(m->stream, cudaStreamCaptureModeGlobal));
      queue_step(m, step);
      CUDA(cudaStreamEndCapture(m->stream, &captured));
      CUDA(cudaGraphInstantiate(&graph, captured, 0));
      CUDA(cudaGraphDestroy(captured));
      CUDA(cudaGraphLaunch(graph, m->stream));
    } else {
      CALL(mpt_session_step_again(m->session, step, &error));
      CUDA(cudaGraphLaunch(graph, m->stream));
    }
    if (step < BATCHES)
      *first += loss_of(m) / BATCHES;
    if (step >= STEPS - BATCHES)
      *last += loss_of(m) / BATCHES;
  }
  CALL(mpt_queue_synchronize(m->queue, &error));
  if (graph != NULL)
    CUDA(cudaGraphExecDestroy(graph));
}

static void release(model *m) {
  mpt_session_close(m->session);
  mpt_queue_close(m->queue);
  cudaFree(m->workspace);
  for (int i = 0; i < 2; i++) {
    cudaFree(m->layers[i].weight), cudaFree(m->layers[i].bias);
    cudaFree(m->layers[i].grad_weight), cudaFree(m->layers[i].grad_bias);
  }
  void *all[] = {m->inputs, m->targets, m->x,           m->target,      m->hidden,     m->active,
                 m->output, m->losses,  m->grad_active, m->grad_hidden, m->grad_output};
  for (void *memory : all)
    cudaFree(memory);
  CUDA(cudaStreamDestroy(m->stream));
}

/* Trains, and keeps the weights and the state of the session. */
static double run(const mpt_policy *policy, bool with_graph, float *weights) {
  model m;
  double first, last;
  memset(&m, 0, sizeof m);
  make(&m, policy);
  int prepared = allocations;
  train(&m, with_graph, &first, &last);
  mpt_session_report report = mpt_session_get_report(m.session);
  printf("%s: loss %.5f, after %d steps %.5f; %lld skipped\n",
         with_graph ? "in a graph  " : "step by step", first, STEPS, last,
         (long long)report.skipped);
  if (allocations != prepared || report.steps != STEPS || !(last < 0.3 * first)) {
    fprintf(stderr, "error: %s\n",
            allocations != prepared ? "a step took memory"
            : report.steps != STEPS ? "steps were not counted"
                                    : "the loss did not fall");
    exit(1);
  }
  for (int i = 0; i < 2; i++) {
    int count = m.layers[i].n * m.layers[i].k;
    CUDA(cudaMemcpy(weights, m.layers[i].weight, count * sizeof(float), cudaMemcpyDeviceToHost));
    weights += count;
  }
  release(&m);
  return last;
}

static const char standard[] = "schema: mptune/policy@1\n"
                               "default: fp8\n"
                               "rules:\n"
                               "  - layers: [\"fc2\"]\n"
                               "    fprop: fp8\n"
                               "    dgrad: bf16\n"
                               "    wgrad: bf16\n";

int main(int argc, char **argv) {
  static float graph[INPUT * HIDDEN + HIDDEN * OUTPUT], plain[INPUT * HIDDEN + HIDDEN * OUTPUT];
  mpt_policy *policy;
  int devices = 0;
  if (mpt_version_number() / 100 != MPTUNE_VERSION_NUMBER / 100)
    fprintf(stderr, "warning: built for libmptune %s, runs with %s\n", MPTUNE_VERSION,
            mpt_version());
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    puts("skipped: no GPU");
    return 0;
  }
  if (argc > 1)
    CALL(mpt_policy_load(argv[1], &policy, &error));
  else
    CALL(mpt_policy_parse(standard, strlen(standard), "standard", &policy, &error));
  run(policy, false, plain);
  run(policy, true, graph);
  mpt_policy_free(policy);
  if (memcmp(graph, plain, sizeof graph) != 0) {
    fprintf(stderr, "error: the graph's weights differ from those of single steps\n");
    return 1;
  }
  puts("the same weights, bit for bit");
  return 0;
}
