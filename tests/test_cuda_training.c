/* The same training on the GPU and on the processor: the losses of 40 steps under every uniform
 * policy stay together, to what the order and width of sums may change; and statistics of every
 * step arrive as they were seen.
 *
 * Without a GPU the first is skipped with a word, and the second looks at the processor alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include <math.h>
#include <stdlib.h>

enum { STEPS = 40, BATCH = 16, MODELS = 4 };
static const char *const model_names[MODELS] = {"mlp", "cnn", "gpt", "gpt, tied"};

/* Sizes that fp8 products take as they are in some layers, and only padded in others. */
static void make_model(test_model *m, int model) {
  if (model == 0)
    test_mlp(m, 20, 64, 5);
  else if (model == 1)
    test_cnn(m, 12, 16, 5);
  else
    test_gpt(m, 48, 32, 64, 2, model == 3);
  m->w.optimizer.kind = OPTIMIZER_ADAMW;
  m->w.optimizer.learning_rate = 2e-3;
  m->w.optimizer.weight_decay = 0.1;
  m->w.optimizer.clip = 1.0;
  m->w.steps = STEPS;
}

static void require(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK)
    fail_msg("%s", error->message);
}

static bool cuda_is_here(void) {
  mpt_queue_config config = mpt_queue_config_default();
  mpt_queue *queue;
  mpt_error error;
  config.backend = "cuda";
  if (mpt_queue_open(&config, &queue, &error) != MPT_OK) {
    printf("skipped: %s\n", error.message);
    return false;
  }
  mpt_queue_close(queue);
  return true;
}

/* Policies: each precision everywhere, fp8 with delayed scaling, and each precision in turn. */
enum { DELAYED = MPT_PRECISION_COUNT, IN_TURN, POLICIES };

/* The formats that layers get in turn under IN_TURN. */
static const mpt_precision in_turn[] = {MPT_PRECISION_BF16, MPT_PRECISION_FP32, MPT_PRECISION_FP8,
                                        MPT_PRECISION_TF32, MPT_PRECISION_FP16};

static train_options options_of(test_model *m, const graph *g, const dataset *data,
                                const mpt_layer_policy *assignment, const char *backend) {
  train_options o = train_options_default();
  o.workload = &m->w;
  o.graph = g;
  o.data = data;
  o.assignment = assignment;
  o.steps = STEPS;
  o.backend = backend;
  return o;
}

static void train(test_model *m, const graph *g, const dataset *data, int policy,
                  mpt_scaling scaling, const char *backend, train_result *result) {
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  mpt_error error = {0};
  for (int i = 0; i < g->layer_count; i++) {
    assignment[i] = mpt_layer_policy_of(policy == IN_TURN   ? in_turn[i % 5]
                                        : policy == DELAYED ? MPT_PRECISION_FP8
                                                            : (mpt_precision)policy);
    assignment[i].scaling = scaling;
  }
  train_options o = options_of(m, g, data, assignment, backend);
  require(train_run(&o, result, &error), &error);
}

/* Largest relative distance of the losses of two runs; NaN where it is none. */
static double distance(const train_result *a, const train_result *b) {
  double largest = 0;
  assert_int_equal(a->steps_done, b->steps_done);
  for (int64_t i = 0; i < a->steps_done; i++) {
    const double apart = fabs(a->losses[i] - b->losses[i]) / fabs(b->losses[i]);
    largest = apart <= largest ? largest : apart; /* fmax would pass over NaN */
  }
  return largest;
}

static void losses_stay_together(void **unused) {
  (void)unused;
  if (!cuda_is_here())
    skip();
  /* What one rounding that falls the other way can grow to in 40 steps. */
  static const double bounds[MPT_PRECISION_COUNT] = {1e-4, 2e-3, 1e-2, 2e-3, 3e-2};
  const mpt_scaling current = {.mode = MPT_SCALING_CURRENT};
  const mpt_scaling delayed = {.mode = MPT_SCALING_DELAYED, .history = 8, .margin = 0};
  for (int model = 0; model < MODELS; model++) {
    test_model m;
    dataset *data;
    graph *g;
    mpt_error error = {0};
    make_model(&m, model);
    require(test_data(&m, m.info.tokens ? 4096 : 64, &data, &error), &error);
    require(test_graph(&m, BATCH, &g, &error), &error);
    for (int p = 0; p < POLICIES; p++) {
      mpt_precision precision = p < MPT_PRECISION_COUNT ? (mpt_precision)p : MPT_PRECISION_FP8;
      mpt_scaling scaling = p == DELAYED ? delayed : current;
      train_result cpu, cuda, again;
      train(&m, g, data, p, scaling, "cpu", &cpu);
      train(&m, g, data, p, scaling, "cuda", &cuda);
      train(&m, g, data, p, scaling, "cuda", &again);
      double apart = distance(&cuda, &cpu);
      printf("%-10s %-5s%s losses within %.1e, held-out %.6f and %.6f\n", model_names[model],
             p == IN_TURN ? "each" : mpt_precision_name(precision), p == DELAYED ? " delayed" : "",
             apart, cuda.held_out_loss, cpu.held_out_loss);
      assert_false(cuda.diverged);
      assert_true(apart <= bounds[precision]);
      assert_true(distance(&again, &cuda) == 0.0); /* the GPU repeats itself bit for bit */
      assert_true(cuda.losses[STEPS - 1] < cuda.losses[0]);
      train_result_clear(&cpu);
      train_result_clear(&cuda);
      train_result_clear(&again);
    }
    graph_free(g);
    dataset_close(data);
  }
}

/* ---- statistics ---- */
typedef struct seen_operand {
  int64_t step;
  int layer;
  mpt_operand operand;
  uint64_t count, zeros;
  uint32_t amax_bits, amin_bits;
} seen_operand;

enum { MOST_SEEN = 4096 };
typedef struct seen_run {
  seen_operand of[MOST_SEEN];
  int count;
} seen_run;

static void see(void *context, int64_t step, int layer, mpt_operand operand,
                const mpt_statistics *s) {
  seen_run *run = context;
  assert_true(run->count < MOST_SEEN);
  run->of[run->count++] =
      (seen_operand){step, layer, operand, s->count, s->zeros, s->amax_bits, s->amin_bits};
}

static void collect(test_model *m, const graph *g, const dataset *data, const char *backend,
                    mpt_statistics_mode mode, int64_t every, seen_run *run) {
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_result result;
  mpt_error error = {0};
  for (int i = 0; i < g->layer_count; i++)
    assignment[i] = mpt_layer_policy_of(in_turn[i % 5]);
  train_options o = options_of(m, g, data, assignment, backend);
  o.statistics = mode;
  o.statistics_every = every;
  o.on_statistics = see;
  o.context = run;
  run->count = 0;
  require(train_run(&o, &result, &error), &error);
  train_result_clear(&result);
}

/* Of the same steps, layers and operands, in the same order; with `values`, what was seen too. */
static void same(const seen_run *a, const seen_run *b, bool values) {
  assert_true(a->count > 0);
  assert_int_equal(a->count, b->count);
  for (int i = 0; i < a->count; i++) {
    const seen_operand *x = &a->of[i], *y = &b->of[i];
    if (x->step != y->step || x->layer != y->layer || x->operand != y->operand ||
        x->count != y->count)
      fail_msg("step %lld, layer %d, %s, %llu elements are not step %lld, layer %d, %s, %llu",
               (long long)x->step, x->layer, mpt_operand_name(x->operand),
               (unsigned long long)x->count, (long long)y->step, y->layer,
               mpt_operand_name(y->operand), (unsigned long long)y->count);
    if (values &&
        (x->zeros != y->zeros || x->amax_bits != y->amax_bits || x->amin_bits != y->amin_bits))
      fail_msg("step %lld, layer %d, %s: %llu zeros, %#x to %#x are not %llu, %#x to %#x",
               (long long)x->step, x->layer, mpt_operand_name(x->operand),
               (unsigned long long)x->zeros, x->amin_bits, x->amax_bits,
               (unsigned long long)y->zeros, y->amin_bits, y->amax_bits);
  }
}

/* More steps than wait on a GPU at a time, recorded and not: each is delivered once and in order,
 * and what writers collect is what readers do. */
static void statistics_arrive(void **unused) {
  (void)unused;
  static seen_run lite, full, cpu;
  const char *backend = cuda_is_here() ? "cuda" : "cpu";
  for (int model = 0; model < MODELS; model++)
    for (int64_t every = 1; every <= 3; every += 2) {
      test_model m;
      dataset *data;
      graph *g;
      mpt_error error = {0};
      make_model(&m, model);
      require(test_data(&m, m.info.tokens ? 4096 : 64, &data, &error), &error);
      require(test_graph(&m, BATCH, &g, &error), &error);
      collect(&m, g, data, backend, MPT_STATISTICS_LITE, every, &lite);
      collect(&m, g, data, backend, MPT_STATISTICS_FULL, every, &full);
      collect(&m, g, data, "cpu", MPT_STATISTICS_FULL, every, &cpu);
      same(&lite, &full, true);
      same(&lite, &cpu, false);
      graph_free(g);
      dataset_close(data);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(losses_stay_together),
                                     cmocka_unit_test(statistics_arrive)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
