/* The CUDA backend in somebody else's process: streams, threads, the current device, memory and
 * graphs are the host's, and results are the bits that a queue with a stream of its own gives.
 *
 * Without a GPU all are skipped with a word; what needs two is skipped with one. */
#include "mptune/ops.h"
#include "session_rig.h"
#ifndef MPTUNE_CUDA
int main(void) {
  puts("skipped: built without the cuda backend");
  return 0;
}
#else
#include <cuda_runtime_api.h>
#include <pthread.h>

enum { ROWS = 128, N = 64, K = 96, STEPS = 4, PASSES = 2 };

#define CUDA(call)                                                                                 \
  do {                                                                                             \
    cudaError_t cuda_result = (call);                                                              \
    if (cuda_result != cudaSuccess)                                                                \
      fail_msg("%s: %s", #call, cudaGetErrorString(cuda_result));                                  \
  } while (0)

static int devices;

/* ---- memory of the host's ---- */
typedef struct pool {
  int given, taken_back;
} pool;

static void *take(void *context, size_t bytes, int device, void *stream) {
  void *memory = NULL;
  int current = -1;
  (void)stream;
  if (cudaGetDevice(&current) != cudaSuccess || current != device)
    return NULL; /* it is asked on the queue's device */
  ((pool *)context)->given++;
  return cudaMalloc(&memory, bytes) == cudaSuccess ? memory : NULL;
}

static void give(void *context, void *memory, int device, void *stream) {
  (void)device, (void)stream;
  ((pool *)context)->taken_back++;
  cudaFree(memory);
}

/* ---- a training of one layer ---- */
typedef struct guest {
  rig r;
  pool pool;
  cudaStream_t stream, other; /* the host's */
  void *x, *w, *y, *grad_y, *grad_x, *grad_w;
  const mpt_layer_policy *policy;
  mpt_format weight_format;
  mpt_error error;
} guest;

typedef struct outcome {
  float y[ROWS * N], grad_x[ROWS * K], grad_w[N * K];
} outcome;

static mpt_tensor view(const guest *g, void *data, mpt_format format, int64_t rows,
                       int64_t columns) {
  mpt_tensor t = matrix(data, rows, columns, format);
  t.device = mpt_queue_device(g->r.queue);
  return t;
}

static void *tensor_of(guest *g, mpt_format format, int64_t rows, int64_t columns, uint64_t key) {
  void *data;
  float *host = numbers((size_t)(rows * columns));
  OK(mpt_memory_allocate(g->r.queue, (size_t)(rows * columns) * sizeof(float), &data, &ok_error));
  if (key != 0)
    fill(host, (size_t)(rows * columns), key, 1.0f, MPT_BF16);
  mpt_tensor t = view(g, data, format, rows, columns);
  OK(mpt_tensor_upload(g->r.queue, host, &t, &ok_error));
  free(host);
  return data;
}

typedef enum whose { OWN_STREAM, NULL_STREAM, HOST_STREAM } whose;

static void open_guest(guest *g, whose stream, int device, const mpt_layer_policy *policy,
                       mpt_format weight_format, bool prepare) {
  mpt_allocator allocator = {
      .struct_size = sizeof allocator, .allocate = take, .release = give, .context = &g->pool};
  mpt_queue_config queue = mpt_queue_config_default();
  g->policy = policy;
  g->weight_format = weight_format;
  CUDA(cudaSetDevice(device));
  CUDA(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking));
  CUDA(cudaStreamCreateWithFlags(&g->other, cudaStreamNonBlocking));
  CUDA(cudaSetDevice(0));
  queue.backend = "cuda";
  queue.device_index = device;
  queue.owns_stream = stream == OWN_STREAM;
  queue.stream = stream == HOST_STREAM ? g->stream : NULL;
  queue.allocator = &allocator;
  OK(mpt_queue_open(&queue, &g->r.queue, &ok_error));
  mpt_session_config config = mpt_session_config_default();
  config.queue = g->r.queue;
  config.assignment = policy;
  mpt_session_layer layer = linear("a", ROWS, N, K);
  layer.calls = PASSES;
  layer.weight_format = weight_format;
  OK(mpt_session_open(&config, &layer, 1, &g->r.session, &ok_error));
  size_t bytes = mpt_session_workspace_bytes(g->r.session);
  OK(mpt_memory_allocate(g->r.queue, bytes, &g->r.workspace, &ok_error));
  OK(mpt_session_set_workspace(g->r.session, g->r.workspace, bytes, &ok_error));
  if (prepare)
    OK(mpt_session_prepare(g->r.session, NULL, &ok_error));
  g->x = tensor_of(g, MPT_FP32, ROWS, K, 1);
  g->w = tensor_of(g, weight_format, N, K, 2);
  g->y = tensor_of(g, MPT_FP32, ROWS, N, 0);
  g->grad_y = tensor_of(g, MPT_FP32, ROWS, N, 3);
  g->grad_x = tensor_of(g, MPT_FP32, ROWS, K, 0);
  g->grad_w = tensor_of(g, MPT_FP32, N, K, 0);
}

static void close_guest(guest *g) {
  void *const all[] = {g->x, g->w, g->y, g->grad_y, g->grad_x, g->grad_w, g->r.workspace};
  mpt_session_close(g->r.session);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    mpt_memory_free(g->r.queue, all[i]);
  mpt_queue_close(g->r.queue);
  assert_int_equal(g->pool.given, g->pool.taken_back);
  CUDA(cudaStreamDestroy(g->stream));
  CUDA(cudaStreamDestroy(g->other));
}

static mpt_status forward(guest *g, mpt_error *error) {
  mpt_tensor x = view(g, g->x, MPT_FP32, ROWS, K), w = view(g, g->w, g->weight_format, N, K);
  mpt_tensor y = view(g, g->y, mpt_session_output_format(g->r.session, 0), ROWS, N);
  return mpt_linear_forward(g->r.session, 0, &x, &w, NULL, &y, error);
}

static mpt_status backward(guest *g, mpt_error *error) {
  mpt_tensor x = view(g, g->x, MPT_FP32, ROWS, K), w = view(g, g->w, g->weight_format, N, K);
  mpt_tensor grad_y = view(g, g->grad_y, MPT_FP32, ROWS, N);
  mpt_tensor grad_x = view(g, g->grad_x, mpt_session_grad_input_format(g->r.session, 0), ROWS, K);
  mpt_tensor grad_w = view(g, g->grad_w, MPT_FP32, N, K);
  return mpt_linear_backward(g->r.session, 0, &grad_y, &x, &w, &grad_x, false, &grad_w, NULL,
                             error);
}

static void end(guest *g) {
  mpt_tensor grad_w = view(g, g->grad_w, MPT_FP32, N, K);
  const mpt_tensor *const gradients[] = {&grad_w};
  OK(mpt_session_step_end(g->r.session, gradients, 1, 0.0f, NULL, &ok_error));
}

static void step(guest *g, int number) {
  OK(mpt_session_step_begin(g->r.session, number, &ok_error));
  OK(forward(g, &ok_error));
  OK(backward(g, &ok_error));
  end(g);
}

static void fetch(guest *g, outcome *o) {
  mpt_tensor y = view(g, g->y, mpt_session_output_format(g->r.session, 0), ROWS, N);
  mpt_tensor grad_x = view(g, g->grad_x, mpt_session_grad_input_format(g->r.session, 0), ROWS, K);
  mpt_tensor grad_w = view(g, g->grad_w, MPT_FP32, N, K);
  OK(mpt_tensor_download(g->r.queue, &y, o->y, &ok_error));
  OK(mpt_tensor_download(g->r.queue, &grad_x, o->grad_x, &ok_error));
  OK(mpt_tensor_download(g->r.queue, &grad_w, o->grad_w, &ok_error));
  OK(mpt_queue_synchronize(g->r.queue, &ok_error));
}

/* How a step is run. */
typedef void runner(guest *g, int number);

static outcome expected, got;

static void run(outcome *o, whose stream, int device, const mpt_layer_policy *policy,
                mpt_format weight_format, bool prepare, runner *run_step) {
  guest g = {0};
  open_guest(&g, stream, device, policy, weight_format, prepare);
  for (int number = 0; number < STEPS; number++)
    run_step(&g, number);
  fetch(&g, o);
  close_guest(&g);
}

static mpt_layer_policy policies[3];
enum { POLICIES = 3 };

static void make_policies(void) {
  policies[0] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  policies[1] = mpt_layer_policy_of(MPT_PRECISION_FP8);
  policies[1].scaling = (mpt_scaling){MPT_SCALING_DELAYED, 4, 0};
  policies[2] = formats_of(MPT_PRECISION_BF16, MPT_PRECISION_FP16, MPT_PRECISION_TF32);
}

/* Against a queue with a stream of its own. */
static void assert_alike(whose stream, bool prepare, runner *run_step) {
  if (devices == 0)
    skip();
  for (int p = 0; p < POLICIES; p++) {
    memset(&expected, 0, sizeof expected);
    memset(&got, 0, sizeof got);
    run(&expected, OWN_STREAM, 0, &policies[p], MPT_FP32, false, step);
    run(&got, stream, 0, &policies[p], MPT_FP32, prepare, run_step);
    assert_memory_equal(&expected, &got, sizeof got);
    assert_true(expected.grad_w[3] != 0.0f);
  }
}

static void the_default_stream_serves(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  guest g = {0};
  open_guest(&g, NULL_STREAM, 0, &policies[0], MPT_FP32, false);
  assert_null(mpt_queue_stream(g.r.queue));
  close_guest(&g);
  assert_alike(NULL_STREAM, false, step);
}

static void a_stream_of_the_hosts_serves(void **unused) {
  (void)unused;
  assert_alike(HOST_STREAM, false, step);
}

static void a_prepared_session_gives_the_same_bits(void **unused) {
  (void)unused;
  assert_alike(HOST_STREAM, true, step);
}

/* ---- from stream to stream, and from thread to thread ---- */
static void step_on_two_streams(guest *g, int number) {
  OK(mpt_queue_set_stream(g->r.queue, number % 2 == 0 ? g->other : NULL, &ok_error));
  OK(mpt_session_step_begin(g->r.session, number, &ok_error));
  OK(forward(g, &ok_error));
  OK(mpt_queue_set_stream(g->r.queue, g->stream, &ok_error));
  assert_ptr_equal(mpt_queue_stream(g->r.queue), g->stream);
  OK(backward(g, &ok_error));
  end(g);
}

static void a_step_goes_from_stream_to_stream(void **unused) {
  (void)unused;
  assert_alike(OWN_STREAM, true, step_on_two_streams);
  assert_alike(HOST_STREAM, false, step_on_two_streams);
}

static void *run_backward(void *argument) {
  guest *g = argument;
  return backward(g, &g->error) == MPT_OK ? NULL : g->error.message;
}

static void step_with_another_thread(guest *g, int number) {
  pthread_t thread;
  void *problem = NULL;
  OK(mpt_session_step_begin(g->r.session, number, &ok_error));
  OK(forward(g, &ok_error));
  assert_int_equal(pthread_create(&thread, NULL, run_backward, g), 0);
  assert_int_equal(pthread_join(thread, &problem), 0);
  if (problem != NULL)
    fail_msg("%s", (const char *)problem);
  end(g);
}

static void another_thread_runs_the_backward_pass(void **unused) {
  (void)unused;
  assert_alike(HOST_STREAM, true, step_with_another_thread);
  assert_alike(NULL_STREAM, false, step_with_another_thread);
}

/* ---- graphs of the host's ---- */
static cudaGraphExec_t graph;

/* The first steps settle which histories there are; then one is captured and replayed. */
static void step_in_a_graph(guest *g, int number) {
  cudaStream_t stream = mpt_queue_stream(g->r.queue);
  if (number < 2) {
    step(g, number);
  } else if (number == 2) {
    cudaGraph_t captured;
    OK(mpt_session_deliver(g->r.session, &ok_error));
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    step(g, number);
    CUDA(cudaStreamEndCapture(stream, &captured));
    CUDA(cudaGraphInstantiate(&graph, captured, 0));
    CUDA(cudaGraphDestroy(captured));
    CUDA(cudaGraphLaunch(graph, stream));
  } else {
    OK(mpt_session_step_again(g->r.session, number, &ok_error));
    CUDA(cudaGraphLaunch(graph, stream));
  }
  if (number == STEPS - 1) {
    CUDA(cudaStreamSynchronize(stream));
    CUDA(cudaGraphExecDestroy(graph));
  }
}

static void a_step_is_captured_in_the_hosts_graph(void **unused) {
  (void)unused;
  assert_alike(HOST_STREAM, true, step_in_a_graph);
}

/* The stream that is captured need not be the one before: PyTorch captures on one of its own. */
static void step_captured_elsewhere(guest *g, int number) {
  if (number == 2) {
    cudaGraph_t captured;
    OK(mpt_session_deliver(g->r.session, &ok_error));
    OK(mpt_queue_synchronize(g->r.queue, &ok_error));
    CUDA(cudaStreamBeginCapture(g->other, cudaStreamCaptureModeGlobal));
    OK(mpt_queue_set_stream(g->r.queue, g->other, &ok_error));
    step(g, number);
    OK(mpt_queue_set_stream(g->r.queue, g->stream, &ok_error));
    CUDA(cudaStreamEndCapture(g->other, &captured));
    CUDA(cudaGraphInstantiate(&graph, captured, 0));
    CUDA(cudaGraphDestroy(captured));
    CUDA(cudaGraphLaunch(graph, g->stream));
    return;
  }
  step_in_a_graph(g, number);
}

static void a_step_is_captured_on_another_stream(void **unused) {
  (void)unused;
  assert_alike(HOST_STREAM, true, step_captured_elsewhere);
}

static void what_a_graph_cannot_hold_is_refused(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  guest g = {0};
  cudaGraph_t captured;
  float host = 1.0f;
  open_guest(&g, HOST_STREAM, 0, &policies[0], MPT_FP32, true);
  CUDA(cudaStreamBeginCapture(g.stream, cudaStreamCaptureModeThreadLocal));
  FAILS(mpt_memory_upload(g.r.queue, &host, sizeof host, g.x, &ok_error), MPT_ERROR_DEVICE,
        "upload", "captured");
  FAILS(mpt_session_step_begin(g.r.session, 7, &ok_error), MPT_ERROR_DEVICE, "upload", "captured");
  CUDA(cudaStreamEndCapture(g.stream, &captured));
  CUDA(cudaGraphDestroy(captured));
  close_guest(&g);
}

/* ---- what is prepared ---- */
static void a_prepared_step_takes_no_memory(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  guest g = {0};
  open_guest(&g, HOST_STREAM, 0, &policies[1], MPT_FP32, true);
  int given = g.pool.given;
  size_t before = 0, after = 0, total = 0;
  OK(mpt_queue_synchronize(g.r.queue, &ok_error));
  CUDA(cudaMemGetInfo(&before, &total));
  for (int number = 0; number < STEPS; number++)
    step(&g, number);
  OK(mpt_queue_synchronize(g.r.queue, &ok_error));
  CUDA(cudaMemGetInfo(&after, &total));
  assert_int_equal(g.pool.given, given);
  assert_int_equal(before, after);
  close_guest(&g);
}

static void what_was_not_prepared_is_refused(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  guest g = {0};
  mpt_layer_policy bf16 = mpt_layer_policy_of(MPT_PRECISION_BF16);
  open_guest(&g, HOST_STREAM, 0, &bf16, MPT_FP32, true);
  step(&g, 0);
  OK(mpt_session_step_begin(g.r.session, 1, &ok_error));
  mpt_tensor x = view(&g, g.x, MPT_FP32, ROWS / 2, K), w = view(&g, g.w, MPT_FP32, N, K);
  mpt_tensor y = view(&g, g.y, MPT_BF16, ROWS / 2, N);
  FAILS(mpt_linear_forward(g.r.session, 0, &x, &w, NULL, &y, &ok_error), MPT_ERROR_UNPREPARED,
        "64 rows", "mpt_session_prepare");
  x = view(&g, g.x, MPT_FP32, ROWS, K);
  y = view(&g, (char *)g.y + 2, MPT_BF16, ROWS, N); /* not aligned */
  FAILS(mpt_linear_forward(g.r.session, 0, &x, &w, NULL, &y, &ok_error), MPT_ERROR_UNPREPARED,
        "not prepared", "multiples of 16");
  OK(mpt_session_microbatch(g.r.session, &ok_error));
  OK(forward(&g, &ok_error));
  OK(backward(&g, &ok_error));
  end(&g);
  close_guest(&g);
}

/* ---- weights of 16 bits, and passes in flight ---- */
static void weights_of_16_bits_give_the_bits_of_their_values(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  static const mpt_precision precisions[] = {MPT_PRECISION_BF16, MPT_PRECISION_FP8,
                                             MPT_PRECISION_TF32};
  for (int p = 0; p < 3; p++) { /* the weight's values are bf16's */
    const mpt_layer_policy policy = mpt_layer_policy_of(precisions[p]);
    run(&expected, OWN_STREAM, 0, &policy, MPT_FP32, false, step);
    run(&got, HOST_STREAM, 0, &policy, MPT_BF16, true, step);
    assert_memory_equal(&expected, &got, sizeof got);
  }
}

/* Another pass, of other values and fewer rows, comes between a pass and its backward pass. */
static void step_with_two_passes(guest *g, int number) {
  mpt_tensor x = view(g, g->x, MPT_FP32, ROWS, K), w = view(g, g->w, MPT_FP32, N, K);
  mpt_tensor other = view(g, g->w, MPT_FP32, N, K); /* any numbers */
  mpt_format stored = mpt_session_output_format(g->r.session, 0);
  mpt_tensor y = view(g, g->y, stored, ROWS, N), other_y = view(g, g->grad_x, stored, N, N);
  mpt_tensor grad_y = view(g, g->grad_y, MPT_FP32, ROWS, N);
  mpt_tensor grad_x = view(g, g->grad_x, mpt_session_grad_input_format(g->r.session, 0), ROWS, K);
  mpt_tensor grad_w = view(g, g->grad_w, MPT_FP32, N, K);
  mpt_call pass = 0, between = 0;
  mpt_session *s = g->r.session;
  OK(mpt_session_step_begin(s, number, &ok_error));
  OK(mpt_linear_forward_call(s, 0, &x, &w, NULL, &y, &pass, &ok_error));
  OK(mpt_linear_forward_call(s, 0, &other, &w, NULL, &other_y, &between, &ok_error));
  OK(mpt_linear_backward_call(s, 0, pass, &grad_y, &x, &w, &grad_x, false, &grad_w, NULL,
                              &ok_error));
  end(g);
}

static void a_pass_in_between_changes_nothing(void **unused) {
  (void)unused;
  if (devices == 0)
    skip();
  const mpt_layer_policy fp8 = policies[0];
  run(&expected, OWN_STREAM, 0, &fp8, MPT_FP32, false, step);
  run(&got, HOST_STREAM, 0, &fp8, MPT_FP32, false, step_with_two_passes);
  assert_memory_equal(&expected, &got, sizeof got);
}

/* ---- the current device ---- */
static int current_device(void) {
  int device = -1;
  CUDA(cudaGetDevice(&device));
  return device;
}

static void step_and_look(guest *g, int number) {
  int other = mpt_queue_device(g->r.queue).index == 0 ? devices - 1 : 0;
  CUDA(cudaSetDevice(other));
  step(g, number);
  OK(mpt_queue_synchronize(g->r.queue, &ok_error));
  assert_int_equal(current_device(), other);
}

static void the_current_device_stays_the_hosts(void **unused) {
  (void)unused;
  if (devices < 2) {
    puts("skipped: one GPU");
    skip();
  }
  run(&expected, OWN_STREAM, 0, &policies[0], MPT_FP32, false, step);
  run(&got, HOST_STREAM, devices - 1, &policies[0], MPT_FP32, true, step_and_look);
  assert_memory_equal(&expected, &got, sizeof got);
  CUDA(cudaSetDevice(devices - 1));
  run(&got, OWN_STREAM, 0, &policies[0], MPT_FP32, false, step);
  assert_memory_equal(&expected, &got, sizeof got);
  CUDA(cudaSetDevice(0));
}

typedef struct device_job {
  int device;
  outcome result;
  pthread_t thread;
} device_job;

static void *train_on(void *argument) {
  device_job *job = argument;
  run(&job->result, HOST_STREAM, job->device, &policies[0], MPT_FP32, true, step);
  return NULL;
}

static void two_devices_train_side_by_side(void **unused) {
  (void)unused;
  if (devices < 2) {
    puts("skipped: one GPU");
    skip();
  }
  static device_job jobs[2];
  run(&expected, OWN_STREAM, 0, &policies[0], MPT_FP32, false, step);
  for (int i = 0; i < 2; i++) {
    jobs[i].device = i;
    assert_int_equal(pthread_create(&jobs[i].thread, NULL, train_on, &jobs[i]), 0);
  }
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
  for (int i = 0; i < 2; i++)
    assert_memory_equal(&expected, &jobs[i].result, sizeof expected);
  /* And in turn from one thread. */
  guest a = {0}, b = {0};
  open_guest(&a, HOST_STREAM, 0, &policies[0], MPT_FP32, true);
  open_guest(&b, HOST_STREAM, 1, &policies[0], MPT_FP32, true);
  for (int number = 0; number < STEPS; number++)
    step(&a, number), step(&b, number);
  fetch(&a, &jobs[0].result);
  fetch(&b, &jobs[1].result);
  assert_memory_equal(&expected, &jobs[0].result, sizeof expected);
  assert_memory_equal(&expected, &jobs[1].result, sizeof expected);
  close_guest(&a);
  close_guest(&b);
}

int main(void) {
  mpt_error error;
  if (mpt_device_count("cuda", &devices, &error) != MPT_OK) {
    printf("skipped: %s\n", error.message);
    devices = 0;
  }
  make_policies();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_default_stream_serves),
      cmocka_unit_test(a_stream_of_the_hosts_serves),
      cmocka_unit_test(a_prepared_session_gives_the_same_bits),
      cmocka_unit_test(a_step_goes_from_stream_to_stream),
      cmocka_unit_test(another_thread_runs_the_backward_pass),
      cmocka_unit_test(a_step_is_captured_in_the_hosts_graph),
      cmocka_unit_test(a_step_is_captured_on_another_stream),
      cmocka_unit_test(what_a_graph_cannot_hold_is_refused),
      cmocka_unit_test(a_prepared_step_takes_no_memory),
      cmocka_unit_test(what_was_not_prepared_is_refused),
      cmocka_unit_test(weights_of_16_bits_give_the_bits_of_their_values),
      cmocka_unit_test(a_pass_in_between_changes_nothing),
      cmocka_unit_test(the_current_device_stays_the_hosts),
      cmocka_unit_test(two_devices_train_side_by_side),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
