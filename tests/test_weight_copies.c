/* Copies of weights that the optimizer makes for the next step: training with them gives the bits
 * of training without. The linker puts this program between the trainer and the session
 * (weight_copies.cmake). */
#include "base/error.h"
#include "base/hash.h"
#include "session_rig.h"
#include "train_model.h"
#include <unistd.h>

static bool offering;
static int offered, offered_lite;

mpt_status __real_mpt_session_offer_copies(mpt_session *session, mpt_adam_parameter *parameters,
                                           int count, mpt_error *error);
mpt_status __wrap_mpt_session_offer_copies(mpt_session *session, mpt_adam_parameter *parameters,
                                           int count, mpt_error *error);
mpt_status __wrap_mpt_session_offer_copies(mpt_session *session, mpt_adam_parameter *parameters,
                                           int count, mpt_error *error) {
  if (!offering)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(__real_mpt_session_offer_copies(session, parameters, count, error));
  for (int i = 0; i < 2 * count; i++) {
    const mpt_weight_copy *copy = &parameters[i / 2].copies[i % 2];
    offered += copy->tensor != NULL || copy->scale != NULL;
  }
  for (int i = 0; i < count; i++)
    offered_lite += parameters[i].lite != NULL;
  return MPT_OK;
}

/* ---- the trainer ---- */

typedef struct seen_statistics {
  uint64_t hash;
  int count;
} seen_statistics;

static void hash_bytes(uint64_t *hash, const void *data, size_t bytes) {
  *hash = mpt_hash_bytes(*hash, data, bytes);
}

static void see(void *context, int64_t step, int layer, mpt_operand operand,
                const mpt_statistics *s) {
  seen_statistics *seen = context;
  (void)layer, (void)operand;
  hash_bytes(&seen->hash, &step, sizeof step);
  hash_bytes(&seen->hash, &s->count, sizeof s->count);
  hash_bytes(&seen->hash, &s->zeros, sizeof s->zeros);
  hash_bytes(&seen->hash, &s->amax_bits, sizeof s->amax_bits);
  hash_bytes(&seen->hash, &s->amin_bits, sizeof s->amin_bits);
  seen->count++;
}

static bool stop_at_four(void *context, const train_step *step) {
  (void)context;
  return step->step + 1 < 4;
}

typedef struct outcome {
  train_result result;
  seen_statistics seen;
  char *checkpoint; /* weights, moments, the session's state */
  long bytes;
} outcome;

static void read_checkpoint(outcome *o, const char *path) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  o->bytes = ftell(file) - (long)sizeof(double); /* the seconds that it took come last */
  rewind(file);
  o->checkpoint = malloc((size_t)o->bytes);
  assert_int_equal(fread(o->checkpoint, 1, (size_t)o->bytes, file), o->bytes);
  fclose(file);
}

static void train(train_options options, outcome *o, bool interrupted) {
  char path[64];
  *o = (outcome){0};
  snprintf(path, sizeof path, "test_weight_copies.%d.ckpt", (int)getpid());
  options.save_checkpoint = path;
  options.on_statistics = see;
  options.context = &o->seen;
  if (interrupted) {
    options.on_step = stop_at_four;
    OK(train_run(&options, &o->result, &ok_error));
    assert_true(o->result.stopped);
    train_result_clear(&o->result);
    options.on_step = NULL;
    options.resume = true;
  }
  OK(train_run(&options, &o->result, &ok_error));
  read_checkpoint(o, path);
  unlink(path);
}

static void forget(outcome *o) {
  free(o->checkpoint);
  train_result_clear(&o->result);
}

/* Whether two runs are the same bits, but for how often weights were cast. */
static void same(const outcome *a, const outcome *b, bool interrupted) {
  const train_result *x = &a->result, *y = &b->result;
  assert_int_equal(x->steps_done, y->steps_done);
  assert_memory_equal(x->losses, y->losses, (size_t)x->steps_done * sizeof *x->losses);
  assert_memory_equal(&x->metric, &y->metric, sizeof x->metric);
  assert_memory_equal(&x->metric_plain, &y->metric_plain, sizeof x->metric_plain);
  assert_memory_equal(&x->output_difference, &y->output_difference, sizeof x->metric);
  assert_int_equal(a->bytes, b->bytes);
  assert_memory_equal(a->checkpoint, b->checkpoint, (size_t)a->bytes);
  assert_true(a->seen.hash == b->seen.hash && a->seen.count == b->seen.count);
  assert_int_equal(x->memory_bytes, y->memory_bytes);
  assert_true(x->report.loss_scale == y->report.loss_scale);
  if (!interrupted || a->seen.count == 0) /* statistics see the first step of a run again */
    assert_int_equal(x->report.nonfinite_step, y->report.nonfinite_step);
  if (interrupted) /* what follows was counted afresh */
    return;
  assert_int_equal(x->report.skipped, y->report.skipped);
  for (int i = 0; i < x->layer_count; i++)
    for (int operand = 0; operand < MPT_OPERAND_COUNT; operand++) {
      const mpt_layer_counters *p = &x->counters[i], *q = &y->counters[i];
      if (operand == MPT_WEIGHT) { /* one step more */
        assert_true(p->cast[operand] >= q->cast[operand]);
        assert_true(p->cast[operand] <=
                    q->cast[operand] + q->cast[operand] / (uint64_t)y->steps_done);
        assert_true(p->saturated[operand] >= q->saturated[operand]);
        assert_true(p->vanished[operand] >= q->vanished[operand]);
        continue;
      }
      assert_int_equal(p->cast[operand], q->cast[operand]);
      assert_int_equal(p->saturated[operand], q->saturated[operand]);
      assert_int_equal(p->vanished[operand], q->vanished[operand]);
    }
}

/* Trains without, with, and with an interruption; returns how many copies the optimizer made. */
static int compare(const train_options *options) {
  outcome without, with, resumed;
  offering = false;
  train(*options, &without, false);
  offering = true;
  offered = 0;
  train(*options, &with, false);
  int made = offered;
  same(&with, &without, false);
  train(*options, &resumed, true);
  resumed.seen = with.seen; /* the interrupted run's were counted twice */
  same(&resumed, &without, true);
  offering = false;
  forget(&without), forget(&with), forget(&resumed);
  return made;
}

enum { MODELS = 4, FROM_ZERO = MODELS };
static void make_model(test_model *m, int which) {
  if (which == 0 || which == FROM_ZERO)
    test_mlp(m, 6, 16, 3);
  else if (which == 1)
    test_cnn(m, 8, 4, 3);
  else
    test_gpt(m, 13, 8, 16, 1, which == 3);
  if (which ==
      FROM_ZERO) /* fc2: its weights, what head reads and fc1's gradient are too, at first */
    m->layers[2].initial_scale = 0.0;
  m->w.optimizer.kind = which == 0 ? OPTIMIZER_ADAM : OPTIMIZER_ADAMW;
  m->w.optimizer.learning_rate = 0.01;
  m->w.optimizer.weight_decay = 0.1;
  m->w.optimizer.accumulate = which == 3 ? 2 : 1;
  m->w.batch = 4;
  m->w.steps = 9;
}

/* All layers alike, or, beyond the precisions, formats that differ from product to product. */
static mpt_layer_policy policy_of(int kind) {
  static const mpt_precision alike[] = {MPT_PRECISION_FP32, MPT_PRECISION_TF32, MPT_PRECISION_BF16,
                                        MPT_PRECISION_FP16, MPT_PRECISION_FP8,  MPT_PRECISION_FP8};
  mpt_layer_policy policy =
      kind < 6    ? mpt_layer_policy_of(alike[kind])
      : kind == 6 ? formats_of(MPT_PRECISION_BF16, MPT_PRECISION_FP8, MPT_PRECISION_FP16)
                  : formats_of(MPT_PRECISION_FP8, MPT_PRECISION_FP16, MPT_PRECISION_BF16);
  if (kind == 5 || kind == 7)
    policy.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 3, 1};
  return policy;
}

static bool is_here(const char *backend) {
  const char *only = getenv("MPTUNE_TEST_BACKEND");
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  config.backend = backend;
  if ((only != NULL && strcmp(only, backend) != 0) ||
      mpt_queue_open(&config, &queue, NULL) != MPT_OK)
    return false;
  mpt_queue_close(queue);
  return true;
}

/* `every`: statistics of each so manyth step; 0: none. */
static void compare_on(const char *backend, int which, int kind, mpt_statistics_mode statistics,
                       int every, float loss_scale) {
  test_model m;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  graph *g;
  dataset *data;
  make_model(&m, which);
  OK(test_data(&m, m.info.tokens ? 2000 : 200, &data, &ok_error));
  m.info = *dataset_get_info(data);
  OK(test_graph(&m, m.w.batch, &g, &ok_error));
  for (int i = 0; i < g->layer_count; i++)
    assignment[i] = policy_of(kind);
  train_options options = train_options_default();
  options.workload = &m.w;
  options.graph = g;
  options.data = data;
  options.assignment = assignment;
  options.backend = backend;
  options.steps = m.w.steps;
  options.statistics = statistics;
  options.statistics_every = every > 0 ? every : 1;
  options.loss_scale.initial = loss_scale;
  offered_lite = 0;
  int made = compare(&options), layers = 0, steps = (int)m.w.steps;
  for (int i = 0; i < g->layer_count; i++)
    layers += g->layers[i].has_gemm;
  /* A first layer that multiplies wants no copy for dgrad. A GPU reads tf32 from fp32,
   * and from some step on it replays what was offered. */
  bool gpu = strcmp(backend, "cuda") == 0;
  int expected = kind == 0 || (kind == 1 && gpu) ? 0
                 : kind < 6                      ? layers * steps
                            : (2 * layers - (which < 2 || which == FROM_ZERO)) * steps;
  if (gpu && expected > 0 ? made == 0 : made != expected)
    fail_msg("model %d, formats %d: the optimizer made %d copies, expected %d", which, kind, made,
             expected);
  /* The interrupted run does all of it once more. */
  bool counts = statistics == MPT_STATISTICS_LITE && every == 1;
  if (gpu && counts ? offered_lite == 0 : offered_lite != (counts ? 2 * layers * steps : 0))
    fail_msg("model %d, formats %d: the optimizer looked at %d weights", which, kind, offered_lite);
  dataset_close(data);
  graph_free(g);
}

static void compare_model(int which, int kind, mpt_statistics_mode statistics, int every,
                          float loss_scale) {
  static const char *const backends[] = {"cpu", "cuda"};
  for (int i = 0; i < 2; i++)
    if (is_here(backends[i]))
      compare_on(backends[i], which, kind, statistics, every, loss_scale);
}

static void every_format_trains_to_the_same_bits(void **state) {
  (void)state;
  for (int which = 0; which < MODELS; which++)
    for (int kind = 0; kind < 8; kind++)
      compare_model(which, kind, MPT_STATISTICS_OFF, 0, 65536.0f);
}

static void weights_that_begin_as_zero_do_too(void **state) {
  (void)state;
  for (int kind = 4; kind < 8; kind++) {
    compare_model(FROM_ZERO, kind, MPT_STATISTICS_OFF, 0, 65536.0f);
    compare_model(FROM_ZERO, kind, MPT_STATISTICS_LITE, 1, 65536.0f);
  }
}

static void statistics_of_weights_are_those_of_the_step(void **state) {
  (void)state;
  for (int kind = 0; kind < 8; kind++) {
    compare_model(kind % MODELS, kind, MPT_STATISTICS_LITE, 1, 65536.0f);
    compare_model(3, kind, MPT_STATISTICS_LITE, 1, 65536.0f);
    compare_model(3, kind, MPT_STATISTICS_LITE, 2, 65536.0f);
    compare_model(3, kind, MPT_STATISTICS_FULL, 1 + kind % 2, 65536.0f);
  }
}

static void steps_that_overflow_leave_copies_of_the_old_weights(void **state) {
  (void)state;
  for (int which = 0; which < MODELS; which++)
    for (int kind = 5; kind < 8; kind++)
      compare_model(which, kind, MPT_STATISTICS_OFF, 0, 0x1p40f);
  compare_model(0, 3, MPT_STATISTICS_LITE, 1, 0x1p40f);
}

/* ---- a session by hand: what happens between steps ---- */

enum { ROWS = 8, N = 6, K = 6, WEIGHTS = N * K, BY_HAND = 12 };
enum { INTERLUDES = 0x1CC }; /* after steps 2, 3, 6, 7 and 8 */

typedef struct by_hand {
  rig r;
  float x[ROWS * K], w[WEIGHTS], h[ROWS * N], y[ROWS * N], dy[ROWS * N], dh[ROWS * N];
  float dw[WEIGHTS], m[WEIGHTS], v[WEIGHTS];
  float outputs[3 * BY_HAND][ROWS * N];
  int count;
  char states[BY_HAND][1024]; /* what a checkpoint would hold, after each step */
  seen_statistics seen;
  mpt_statistics_mode instead; /* of lite ones, in steps 0 and 9 */
} by_hand;

/* Two layers with one weight. */
static void forward(by_hand *b) {
  mpt_tensor x = matrix(b->x, ROWS, K, MPT_FP32), w = matrix(b->w, N, K, MPT_FP32);
  mpt_tensor h = matrix(b->h, ROWS, N, mpt_session_output_format(b->r.session, 0));
  mpt_tensor y = matrix(b->y, ROWS, N, mpt_session_output_format(b->r.session, 1));
  OK(mpt_linear_forward(b->r.session, 0, &x, &w, NULL, &h, &ok_error));
  OK(mpt_linear_forward(b->r.session, 1, &h, &w, NULL, &y, &ok_error));
  memcpy(b->outputs[b->count++], b->y, sizeof b->y);
}

static void backward(by_hand *b) {
  mpt_tensor x = matrix(b->x, ROWS, K, MPT_FP32), w = matrix(b->w, N, K, MPT_FP32);
  mpt_tensor h = matrix(b->h, ROWS, N, mpt_session_output_format(b->r.session, 0));
  mpt_tensor dy = matrix(b->dy, ROWS, N, MPT_FP32), dw = matrix(b->dw, N, K, MPT_FP32);
  mpt_tensor dh = matrix(b->dh, ROWS, N, mpt_session_grad_input_format(b->r.session, 1));
  memcpy(b->dy, b->y, sizeof b->y);
  memset(b->dw, 0, sizeof b->dw);
  OK(mpt_linear_backward(b->r.session, 1, &dy, &h, &w, &dh, false, &dw, NULL, &ok_error));
  OK(mpt_linear_backward(b->r.session, 0, &dh, &x, &w, NULL, false, &dw, NULL, &ok_error));
}

static void update(by_hand *b, const mpt_step_state *state, bool offers) {
  mpt_tensor w = matrix(b->w, N, K, MPT_FP32), dw = matrix(b->dw, N, K, MPT_FP32);
  mpt_tensor m = matrix(b->m, N, K, MPT_FP32), v = matrix(b->v, N, K, MPT_FP32);
  mpt_adam_parameter p = {.weight = &w, .gradient = &dw, .first_moment = &m, .second_moment = &v};
  mpt_adam_args args = {.learning_rate = 0.05f, .beta1 = 0.9f, .beta2 = 0.9f, .epsilon = 1e-8f};
  if (offers)
    OK(__real_mpt_session_offer_copies(b->r.session, &p, 1, &ok_error));
  OK(mpt_adam_steps(b->r.queue, &p, 1, &args, state, &ok_error));
}

static void evaluate(by_hand *b, mpt_run_mode mode) {
  OK(mpt_session_set_mode(b->r.session, mode, &ok_error));
  OK(mpt_session_step_begin(b->r.session, 0, &ok_error));
  forward(b);
  OK(mpt_session_step_end(b->r.session, NULL, 0, 0, NULL, &ok_error));
  OK(mpt_session_set_mode(b->r.session, MPT_RUN_TRAIN, &ok_error));
}

/* What may come between two steps, so that what the optimizer made is forgotten. */
static void interlude(by_hand *b, int step, const mpt_step_state *at, bool offers) {
  char *state = b->states[step];
  size_t size = mpt_session_state_bytes(b->r.session);
  assert_true(size <= sizeof b->states[step]);
  if (step == 2)
    evaluate(b, MPT_RUN_EVALUATE);
  if (step == 3)
    evaluate(b, MPT_RUN_PLAIN);
  if (step == 5) { /* weights from elsewhere, and an update of those */
    for (int i = 0; i < WEIGHTS; i++)
      b->w[i] *= i % 3 == 0 ? 0.25f : 0.5f;
    OK(mpt_session_forget_weights(b->r.session, &ok_error));
    update(b, at, offers);
  }
  if (step == 7) { /* there and back */
    OK(mpt_session_set_mode(b->r.session, MPT_RUN_EVALUATE, &ok_error));
    OK(mpt_session_set_mode(b->r.session, MPT_RUN_TRAIN, &ok_error));
  }
  if (step == 8)
    OK(mpt_session_set_statistics(b->r.session, b->instead, 1, &ok_error));
  OK(mpt_session_get_state(b->r.session, state, size, &ok_error));
  if (step == 6)
    OK(mpt_session_set_state(b->r.session, state, size, &ok_error));
}

static void open_by_hand(by_hand *b, int kind, mpt_statistics_mode statistics) {
  mpt_layer_policy policies[2] = {policy_of(kind), policy_of(kind)};
  mpt_session_layer layers[2] = {linear("a", ROWS, N, K), linear("b", ROWS, N, K)};
  memset(b, 0, sizeof *b);
  mpt_session_config config = config_of(&b->r, policies);
  config.statistics = statistics;
  config.on_statistics = see;
  config.context = &b->seen;
  open_session(&b->r, &config, layers, 2);
  fill(b->x, ROWS * K, 1, 1.0f, MPT_FP32);
  fill(b->w, WEIGHTS, 2, 1.0f, MPT_FP32);
}

static uint64_t weight_casts(const by_hand *b) {
  mpt_layer_counters counters;
  OK(mpt_session_counters(b->r.session, 0, &counters, &ok_error));
  return counters.cast[MPT_WEIGHT];
}

/* `offers`: at steps whose bit is set. */
static void run_by_hand(by_hand *b, int kind, unsigned offers) {
  const mpt_statistics_mode instead = kind % 2 == 0 ? MPT_STATISTICS_OFF : MPT_STATISTICS_FULL;
  open_by_hand(b, kind, instead);
  b->instead = instead;
  mpt_tensor dw = matrix(b->dw, N, K, MPT_FP32);
  const mpt_tensor *gradients[] = {&dw};
  bool casts = kind == 3 || kind == 5 || kind == 7; /* and counts them, weights too */
  for (int step = 0; step < BY_HAND; step++) {
    const mpt_step_state *at;
    uint64_t before = weight_casts(b);
    OK(mpt_session_step_begin(b->r.session, step, &ok_error));
    forward(b);
    backward(b);
    bool made = step > 0 && (offers & ~(unsigned)INTERLUDES & 1u << (step - 1)) != 0;
    if (casts && (kind != 7 || made))
      assert_true((weight_casts(b) == before) == made);
    if (step == 4)
      b->dw[0] = NAN;
    OK(mpt_session_step_end(b->r.session, gradients, 1, 1.0f, &at, &ok_error));
    if (step == 0 || step == 9) /* which have not collected them */
      OK(mpt_session_set_statistics(b->r.session, MPT_STATISTICS_LITE, 1, &ok_error));
    update(b, at, (offers & 1u << step) != 0);
    interlude(b, step, at, (offers & 1u << step) != 0);
  }
  close_session(&b->r);
}

static void what_comes_between_steps_is_seen(void **unused) {
  (void)unused;
  static by_hand without, with;
  const unsigned offers[] = {0xFFF, 0x6DB, 0x555}; /* always, or now and then */
  for (int kind = 0; kind < 8; kind++)
    for (int i = 0; i < 3; i++) {
      run_by_hand(&without, kind, 0);
      run_by_hand(&with, kind, offers[i]);
      assert_int_equal(with.count, without.count);
      for (int k = 0; k < with.count; k++)
        if (memcmp(with.outputs[k], without.outputs[k], sizeof with.outputs[k]) != 0)
          fail_msg("formats %d: forward pass %d differs", kind, k);
      for (int k = 0; k < BY_HAND; k++)
        if (memcmp(with.states[k], without.states[k], sizeof with.states[k]) != 0)
          fail_msg("formats %d: the state after step %d differs", kind, k);
      assert_memory_equal(with.w, without.w, sizeof with.w);
      assert_int_equal(with.seen.count, without.seen.count);
      assert_true(with.seen.count > 0 && with.seen.hash == without.seen.hash);
    }
}

static bool is_offered(const mpt_adam_parameter *p) {
  return p->copies[0].tensor != NULL || p->lite != NULL;
}

static void step_by_hand(by_hand *b, int step, const mpt_step_state **at) {
  mpt_tensor dw = matrix(b->dw, N, K, MPT_FP32);
  const mpt_tensor *gradients[] = {&dw};
  OK(mpt_session_step_begin(b->r.session, step, &ok_error));
  forward(b);
  backward(b);
  OK(mpt_session_step_end(b->r.session, gradients, 1, 0, at, &ok_error));
}

#define OFFER(parameter, count) __real_mpt_session_offer_copies(s, parameter, count, &ok_error)

static void what_a_step_reads_is_offered_after_it_and_once(void **unused) {
  (void)unused;
  static by_hand b;
  open_by_hand(&b, 2, MPT_STATISTICS_LITE);
  mpt_tensor w = matrix(b.w, N, K, MPT_FP32), half = matrix(b.w, N / 2, K, MPT_FP32);
  mpt_tensor dw = matrix(b.dw, N, K, MPT_FP32), x = matrix(b.x, ROWS, K, MPT_FP32);
  mpt_adam_parameter p = {.weight = &w}, again = p;
  mpt_adam_parameter others[] = {{.weight = &dw}, {.weight = &half}, {.weight = &x}};
  const mpt_step_state *at;
  mpt_session *s = b.r.session;
  FAILS(OFFER(&p, 1), MPT_ERROR_ARGUMENT, "after a training step", "");
  OK(mpt_session_step_begin(s, 0, &ok_error));
  FAILS(OFFER(&p, 1), MPT_ERROR_ARGUMENT, "after a training step", "");
  FAILS(mpt_session_forget_weights(s, &ok_error), MPT_ERROR_ARGUMENT, "between steps", "");
  OK(mpt_session_step_end(s, NULL, 0, 0, &at, &ok_error));
  step_by_hand(&b, 1, &at);
  FAILS(OFFER(NULL, 0), MPT_ERROR_ARGUMENT, "no parameters", "");
  OK(OFFER(others, 3));
  for (int i = 0; i < 3; i++)
    assert_false(is_offered(&others[i]));
  OK(OFFER(&p, 1));
  assert_true(p.copies[0].tensor != NULL && p.copies[1].tensor != NULL && p.lite != NULL);
  OK(OFFER(&again, 1)); /* both layers read it, and count it apart */
  assert_true(again.copies[0].tensor == NULL && again.lite != NULL && again.lite != p.lite);
  OK(OFFER(&again, 1));
  assert_false(is_offered(&again));
  close_session(&b.r);
}

/* Copies, or in fp32 what was seen of the weights. */
static void a_recorded_step_begins_with_what_it_began_with(void **unused) {
  (void)unused;
  static by_hand b;
  for (int kind = 0; kind < 3; kind += 2) {
    const mpt_step_state *at;
    open_by_hand(&b, kind, MPT_STATISTICS_LITE);
    for (int step = 0; step < 2; step++) {
      step_by_hand(&b, step, &at);
      update(&b, at, true);
    }
    OK(mpt_session_step_again(b.r.session, 2, &ok_error));
    OK(mpt_session_forget_weights(b.r.session, &ok_error));
    FAILS(mpt_session_step_again(b.r.session, 3, &ok_error), MPT_ERROR_ARGUMENT, "step 3",
          "forgotten");
    close_session(&b.r);
  }
}

int main(void) {
  setenv("MPTUNE_GEMM_TUNE", "0", 1); /* a GPU would choose products by time, apart in each run */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format_trains_to_the_same_bits),
      cmocka_unit_test(weights_that_begin_as_zero_do_too),
      cmocka_unit_test(statistics_of_weights_are_those_of_the_step),
      cmocka_unit_test(steps_that_overflow_leave_copies_of_the_old_weights),
      cmocka_unit_test(what_comes_between_steps_is_seen),
      cmocka_unit_test(what_a_step_reads_is_offered_after_it_and_once),
      cmocka_unit_test(a_recorded_step_begins_with_what_it_began_with),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
