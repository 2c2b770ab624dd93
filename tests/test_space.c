/* The search space, and the solver on it against every assignment of small networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include "tuner/space_relax.h"
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdlib.h>

typedef struct fixture {
  test_model m;
  graph *g;
  profile *p;
  space *s;
} fixture;

static void exclude(fixture *f, mpt_precision precision) {
  f->m.w.excluded |= 1u << precision;
}

static void begin(fixture *f, const char *device, int64_t batch) {
  mpt_error error = {0};
  if (profile_load(device, &f->p, &error) != MPT_OK ||
      test_graph(&f->m, batch, &f->g, &error) != MPT_OK ||
      space_build(&f->m.w, f->g, f->p, false, &f->s, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static void end(fixture *f) {
  space_free(f->s);
  graph_free(f->g);
  profile_free(f->p);
}

/* ---- units ---- */

static void test_units_and_followers_of_a_gpt(void **state) {
  (void)state;
  fixture f;
  test_gpt(&f.m, 32, 8, 16, 2, false);
  begin(&f, "nvidia-h200", 4);
  assert_int_equal(f.s->unit_count, 1 + 2 * 5 + 1);
  const int embed = 0, core = f.s->leader_of_layer[graph_find(f.g, "blocks.1.attn.core")];
  assert_string_equal(f.g->layers[f.s->units[core].layer].info.name, "blocks.1.attn.core");
  assert_int_equal(f.s->units[core].leader, core - 1);
  /* The residual stream follows the embedding; what it feeds has it as leader. */
  for (int i = 0; i < f.g->layer_count; i++)
    if (strcmp(f.g->layers[i].info.kind, "residual") == 0 ||
        strcmp(f.g->layers[i].info.kind, "layernorm") == 0)
      assert_int_equal(f.s->leader_of_layer[i], embed);
  assert_int_equal(f.s->units[f.s->leader_of_layer[graph_find(f.g, "head")]].leader, embed);
  assert_int_equal(f.s->units[f.s->leader_of_layer[graph_find(f.g, "blocks.0.mlp.fc2")]].leader,
                   f.s->leader_of_layer[graph_find(f.g, "blocks.0.mlp.fc1")]);
  /* An embedding stores fp32, bf16 or fp16; attention multiplies, so tf32 is its own choice. */
  assert_int_equal(f.s->units[embed].choice_count, 3);
  assert_int_equal(f.s->units[core].choice_count, 4);
  assert_int_equal(f.s->units[core - 1].choice_count, 5);
  end(&f);
}

static void test_uniform_policies_are_in_the_space(void **state) {
  (void)state;
  for (int reference = 0; reference < 3; reference++) {
    fixture f;
    test_gpt(&f.m, 32, 8, 16, 1, true);
    f.m.w.reference = (mpt_precision)reference;
    f.m.w.per_gemm = reference == 2;
    begin(&f, "nvidia-h200", 4);
    mpt_layer_policy assignment[64], again[64];
    int choice[64];
    bool permitted;
    for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
      space_uniform(f.s, (mpt_precision)q, assignment, &permitted);
      assert_true(permitted);
      assert_true(space_choices(f.s, assignment, choice));
      space_assignment(f.s, choice, again);
      for (int i = 0; i < f.g->layer_count; i++)
        assert_true(mpt_layer_policy_equal(&assignment[i], &again[i]));
      for (int u = 0; u < f.s->unit_count && q == reference; u++)
        assert_int_equal(choice[u], 0);
    }
    /* A norm that does not follow is not in the space. */
    assignment[graph_find(f.g, "ln_f")] = mpt_layer_policy_of(MPT_PRECISION_FP16);
    assert_false(space_choices(f.s, assignment, choice));
    end(&f);
  }
}

static void test_formats_for_each_gemm(void **state) {
  (void)state;
  fixture f;
  test_mlp(&f.m, 16, 32, 16);
  f.m.w.per_gemm = true;
  exclude(&f, MPT_PRECISION_TF32);
  begin(&f, "nvidia-h200", 16);
  assert_int_equal(f.s->units[0].choice_count, 16); /* no dgrad */
  assert_int_equal(f.s->units[1].choice_count, 64);
  end(&f);
}

static void test_exclusions_and_pins(void **state) {
  (void)state;
  fixture f;
  pin_spec pins[2] = {{.layers = "fc2", .precision = MPT_PRECISION_FP8},
                      {.layers = "fc*", .precision = MPT_PRECISION_FP16}};
  test_mlp(&f.m, 16, 32, 16);
  f.m.w.pins = pins, f.m.w.pin_count = 2;
  exclude(&f, MPT_PRECISION_FP8);
  begin(&f, "nvidia-h200", 16);
  mpt_layer_policy assignment[16];
  bool permitted;
  const mpt_layer_policy fp16 = mpt_layer_policy_of(MPT_PRECISION_FP16),
                         fp8 = mpt_layer_policy_of(MPT_PRECISION_FP8);
  assert_int_equal(f.s->unit_count, 3);
  assert_int_equal(f.s->units[0].choice_count, 1);
  assert_true(mpt_layer_policy_equal(&f.s->units[0].choices[0], &fp16));
  assert_int_equal(f.s->units[1].choice_count, 1);
  assert_true(mpt_layer_policy_equal(&f.s->units[1].choices[0], &fp8));
  assert_int_equal(f.s->units[2].choice_count, 4);
  space_uniform(f.s, MPT_PRECISION_FP16, assignment, &permitted);
  assert_false(permitted);
  end(&f);
  /* A pinned norm is a unit of its own, and layers behind it follow it. */
  pin_spec norm = {.layers = "ln_f", .precision = MPT_PRECISION_FP32};
  test_gpt(&f.m, 32, 8, 16, 1, false);
  f.m.w.pins = &norm, f.m.w.pin_count = 1;
  begin(&f, "nvidia-h200", 4);
  const int unit = f.s->leader_of_layer[graph_find(f.g, "ln_f")];
  assert_int_equal(f.s->units[unit].layer, graph_find(f.g, "ln_f"));
  assert_int_equal(f.s->units[unit].choice_count, 1);
  assert_int_equal(f.s->units[unit + 1].leader, unit);
  end(&f);
}

static void test_what_cannot_be_built(void **state) {
  (void)state;
  fixture f;
  mpt_error error;
  pin_spec pin = {.layers = "fc9", .precision = MPT_PRECISION_FP16, .line = 7, .column = 3};
  test_mlp(&f.m, 16, 32, 16);
  f.m.w.pins = &pin, f.m.w.pin_count = 1;
  assert_int_equal(profile_load("nvidia-h200", &f.p, &error), MPT_OK);
  assert_int_equal(test_graph(&f.m, 16, &f.g, &error), MPT_OK);
  assert_int_equal(space_build(&f.m.w, f.g, f.p, false, &f.s, &error), MPT_ERROR_SYNTAX);
  assert_int_equal(error.line, 7);
  assert_non_null(strstr(error.message, "matches no layer"));
  strcpy(pin.layers, "fc1");
  f.p->formats &= ~(1u << MPT_FP16);
  assert_int_equal(space_build(&f.m.w, f.g, f.p, false, &f.s, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "lacks"));
  f.m.w.pin_count = 0;
  f.m.w.excluded = (1u << MPT_PRECISION_COUNT) - 1;
  assert_int_equal(space_build(&f.m.w, f.g, f.p, false, &f.s, &error), MPT_ERROR_SYNTAX);
  assert_non_null(strstr(error.message, "excludes every format"));
  graph_free(f.g);
  profile_free(f.p);
}

/* ---- the solver against every assignment ---- */

static double predicted(const fixture *f, const int *choice) {
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  cost_parts parts;
  mpt_error error;
  space_assignment(f->s, choice, assignment);
  if (cost_predict(f->g, f->p, &f->m.w.optimizer, assignment, &parts, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return parts.total;
}

typedef struct evaluated {
  double seconds, increase;
} evaluated;

static int assignment_count(const space *s) {
  int count = 1;
  for (int u = 0; u < s->unit_count; u++)
    count *= s->units[u].choice_count;
  return count;
}

static void choices_of(const space *s, int index, int *choice) {
  for (int u = 0; u < s->unit_count; u++) {
    choice[u] = index % s->units[u].choice_count;
    index /= s->units[u].choice_count;
  }
}

/* Budgets from the least increase to the largest: the solver's answer is the best of all, and its
 * seconds are what the assignment is predicted to take. */
static void against_every_assignment(fixture *f, unsigned long seed) {
  const space *s = f->s;
  const int count = assignment_count(s);
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, seed);
  evaluated *all = malloc((size_t)count * sizeof *all);
  double *increase[32];
  int choice[32];
  for (int u = 0; u < s->unit_count; u++) {
    increase[u] = calloc((size_t)s->units[u].choice_count, sizeof(double));
    for (int c = 1; c < s->units[u].choice_count; c++)
      increase[u][c] = gsl_rng_uniform(random) < 0.1 ? INFINITY : gsl_rng_uniform(random);
  }
  for (int i = 0; i < count; i++) {
    choices_of(s, i, choice);
    all[i] = (evaluated){.seconds = predicted(f, choice)};
    for (int u = 0; u < s->unit_count; u++)
      all[i].increase += increase[u][choice[u]];
  }
  for (int turn = 0; turn <= 8; turn++) {
    const double budget = turn == 8 ? INFINITY : s->unit_count * turn / 10.0;
    double best = INFINITY;
    for (int i = 0; i < count; i++)
      if (all[i].increase <= budget && isfinite(all[i].increase))
        best = fmin(best, all[i].seconds);
    frontier_solution certificate;
    mpt_error error;
    if (space_solve(s, f->g, f->p, &f->m.w.optimizer, increase, budget, choice, &certificate,
                    &error) != MPT_OK)
      fail_msg("%s", error.message);
    assert_true(certificate.gap == 0.0 && certificate.increase <= budget);
    assert_true(fabs(certificate.seconds / best - 1.0) < 1e-12);
    assert_true(fabs(certificate.seconds / predicted(f, choice) - 1.0) < 1e-12);
    frontier_clear(&certificate);
  }
  for (int u = 0; u < s->unit_count; u++)
    free(increase[u]);
  free(all);
  gsl_rng_free(random);
}

/* With all other choices vetoed, the seconds are those of that one assignment. */
static void random_assignments(const fixture *f, unsigned long seed) {
  const space *s = f->s;
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, seed);
  double *increase[32];
  int wanted[32], choice[32];
  for (int turn = 0; turn < 60; turn++) {
    for (int u = 0; u < s->unit_count; u++) {
      const int count = s->units[u].choice_count;
      increase[u] = malloc((size_t)count * sizeof(double));
      wanted[u] = (int)gsl_rng_uniform_int(random, (unsigned long)count);
      for (int c = 0; c < count; c++)
        increase[u][c] = c == wanted[u] ? 1.0 : INFINITY;
    }
    frontier_solution certificate;
    assert_int_equal(space_solve(s, f->g, f->p, &f->m.w.optimizer, increase, INFINITY, choice,
                                 &certificate, NULL),
                     MPT_OK);
    for (int u = 0; u < s->unit_count; u++) {
      assert_int_equal(choice[u], wanted[u]);
      free(increase[u]);
    }
    assert_true(fabs(certificate.seconds / predicted(f, choice) - 1.0) < 1e-12);
    frontier_clear(&certificate);
  }
  gsl_rng_free(random);
}

static void on_both_devices(fixture *f, int64_t batch, unsigned long seed) {
  static const char *const devices[] = {"synthetic-bits", "nvidia-h200"};
  for (int d = 0; d < 2; d++) {
    begin(f, devices[d], batch);
    against_every_assignment(f, seed);
    random_assignments(f, seed);
    end(f);
  }
}

static void test_solver_on_an_mlp(void **state) {
  (void)state;
  fixture f;
  test_mlp(&f.m, 20, 40, 12);
  f.m.w.optimizer.accumulate = 3;
  on_both_devices(&f, 24, 1);
  f.m.w.per_gemm = true;
  exclude(&f, MPT_PRECISION_TF32);
  exclude(&f, MPT_PRECISION_FP16);
  on_both_devices(&f, 256, 2);
}

static void test_solver_on_a_cnn(void **state) {
  (void)state;
  fixture f;
  test_cnn(&f.m, 8, 16, 10);
  on_both_devices(&f, 16, 3);
}

static void test_solver_on_a_gpt_block(void **state) {
  (void)state;
  fixture f;
  test_gpt(&f.m, 48, 16, 32, 1, false);
  exclude(&f, MPT_PRECISION_TF32);
  on_both_devices(&f, 8, 4);
  test_gpt(&f.m, 48, 16, 32, 1, true);
  exclude(&f, MPT_PRECISION_FP32);
  f.m.w.reference = MPT_PRECISION_BF16;
  on_both_devices(&f, 64, 5);
}

/* q, k and v apart: they share copies of their input, and attention reads all three. */
static void test_solver_on_separate_q_k_v(void **state) {
  (void)state;
  fixture f;
  test_model *m = &f.m;
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.tokens = true, .sequence = 8, .classes = 32};
  layer_spec *layer = test_layer(m, "embedding", "embed", NULL);
  layer->vocabulary = 32, layer->features = 32;
  test_layer(m, "layernorm", "ln", NULL);
  test_layer(m, "linear", "q", "ln", NULL)->features = 32;
  test_layer(m, "linear", "k", "ln", NULL)->features = 32;
  test_layer(m, "linear", "v", "ln", NULL)->features = 32;
  layer = test_layer(m, "attention", "core", "q", "k", "v", NULL);
  layer->heads = 2, layer->causal = true;
  test_layer(m, "residual", "sum", "embed", "core", NULL);
  test_linear(m, "head", 32);
  exclude(&f, MPT_PRECISION_TF32);
  on_both_devices(&f, 16, 6);
}

/* A skip from a linear layer over two others, and one tensor read by three of them. */
static void test_solver_on_skips(void **state) {
  (void)state;
  fixture f;
  test_model *m = &f.m;
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {32}, .classes = 32};
  test_linear(m, "a", 32);
  test_linear(m, "b", 32);
  test_linear(m, "c", 32);
  test_layer(m, "linear", "d", "a", NULL)->features = 32;
  test_layer(m, "residual", "cd", "c", "d", NULL);
  test_layer(m, "residual", "acd", "a", "cd", NULL);
  test_layer(m, "relu", "relu", NULL);
  test_linear(m, "e", 32);
  test_layer(m, "linear", "f", "a", NULL)->features = 32;
  test_layer(m, "residual", "out", "e", "f", NULL);
  exclude(&f, MPT_PRECISION_TF32);
  on_both_devices(&f, 48, 7);
}

/* Data that is normalised before any layer has a format. */
static void test_solver_with_layers_before_the_first_unit(void **state) {
  (void)state;
  fixture f;
  test_model *m = &f.m;
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {32}, .classes = 16};
  test_layer(m, "layernorm", "norm", NULL);
  test_linear(m, "a", 32);
  test_layer(m, "gelu", "gelu", NULL);
  test_linear(m, "b", 16);
  on_both_devices(&f, 48, 8);
}

/* Formats for each GEMM, 5 blocks: 125 choices for each of 20 linear layers. */
static void test_a_deep_gpt_for_each_gemm(void **state) {
  (void)state;
  fixture f;
  test_gpt(&f.m, 512, 256, 256, 5, false);
  f.m.w.per_gemm = true;
  begin(&f, "nvidia-h200", 16);
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  double *increase[32];
  int choice[32];
  for (int u = 0; u < f.s->unit_count; u++) {
    increase[u] = calloc((size_t)f.s->units[u].choice_count, sizeof(double));
    for (int c = 1; c < f.s->units[u].choice_count; c++)
      increase[u][c] = gsl_rng_uniform(random);
  }
  frontier_solution certificate;
  assert_int_equal(
      space_solve(f.s, f.g, f.p, &f.m.w.optimizer, increase, 2.0, choice, &certificate, NULL),
      MPT_OK);
  assert_true(certificate.gap == 0.0);
  assert_true(fabs(certificate.seconds / predicted(&f, choice) - 1.0) < 1e-12);
  frontier_clear(&certificate);
  random_assignments(&f, 9);
  for (int u = 0; u < f.s->unit_count; u++)
    free(increase[u]);
  gsl_rng_free(random);
  end(&f);
}

/* ---- where not everything can be remembered ---- */

/* `count` linear layers that read one tensor, then the sum of all. */
static void make_wide(test_model *m, int count) {
  char name[2][MPT_MAX_NAME], sum[MPT_MAX_NAME] = "a.0";
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {64}, .classes = 64};
  test_linear(m, "first", 256);
  for (int i = 0; i < count; i++) {
    snprintf(name[0], MPT_MAX_NAME, "a.%d", i);
    test_layer(m, "linear", name[0], "first", NULL)->features = 256;
  }
  for (int i = 1; i < count; i++) {
    snprintf(name[0], MPT_MAX_NAME, "a.%d", i);
    snprintf(name[1], MPT_MAX_NAME, "sum.%d", i);
    test_layer(m, "residual", name[1], sum, name[0], NULL);
    memcpy(sum, name[1], sizeof sum);
  }
  test_linear(m, "head", 64);
}

/* Down and up again, with a skip at each depth. */
static void make_u_net(test_model *m, int depth) {
  char name[3][MPT_MAX_NAME];
  test_model_begin(m, LOSS_CROSS_ENTROPY);
  m->info = (dataset_info){.rank = 1, .shape = {256}, .classes = 64};
  for (int i = 0; i < depth; i++) {
    snprintf(name[0], MPT_MAX_NAME, "down.%d", i);
    test_linear(m, name[0], 256);
  }
  for (int i = depth - 2; i >= 0; i--) {
    snprintf(name[0], MPT_MAX_NAME, "down.%d", i);
    snprintf(name[1], MPT_MAX_NAME, "up.%d", i);
    snprintf(name[2], MPT_MAX_NAME, "skip.%d", i);
    test_linear(m, name[1], 256);
    test_layer(m, "residual", name[2], name[1], name[0], NULL);
  }
  test_linear(m, "head", 64);
}

/* The answer with a gap: `exact` is the least time of all, or NaN where it is not known. */
static void assert_bounded(const fixture *f, const frontier_solution *found, const int *choice,
                           double budget, double exact, double most_gap) {
  assert_true(found->increase <= budget * (1 + 1e-12));
  assert_true(fabs(found->seconds / predicted(f, choice) - 1.0) < 1e-9);
  assert_true(found->gap >= 0 && fabs(found->seconds - found->gap - found->bound) < 1e-12);
  if (found->gap > most_gap * found->seconds)
    fail_msg("gap %g of %g", found->gap, found->seconds);
  if (!isnan(exact))
    assert_true(found->bound <= exact * (1 + 1e-9) && found->seconds >= exact * (1 - 1e-9));
}

static void random_increases(const fixture *f, gsl_rng *random, double **increase) {
  for (int u = 0; u < f->s->unit_count; u++) {
    increase[u] = calloc((size_t)f->s->units[u].choice_count, sizeof(double));
    for (int c = 1; c < f->s->units[u].choice_count; c++)
      increase[u][c] = gsl_rng_uniform(random);
  }
}

/* As space_solve where next to nothing can be remembered. */
static void solve_forgetful(const fixture *f, int states, double *const *increase, double budget,
                            int *choice, frontier_solution *found) {
  mpt_error error;
  *found = (frontier_solution){0};
  space_problem sp = {.terms = {.space = f->s,
                                .graph = f->g,
                                .profile = f->p,
                                .optimizer = &f->m.w.optimizer,
                                .batches = (double)f->m.w.optimizer.accumulate},
                      .exact_states = states,
                      .relaxed_states = states};
  if (terms_make(&sp.terms, &error) != MPT_OK || problem_make(&sp, increase, &error) != MPT_OK ||
      relax_solve(&sp, budget, found, &error) != MPT_OK) {
    fail_msg("%s", error.message);
    return;
  }
  assert_true(sp.forgotten_count > 0);
  memcpy(choice, found->choice, (size_t)f->s->unit_count * sizeof *choice);
  problem_free(&sp);
}

/* Where the exact answer is known, the bounded one brackets it, whatever is forgotten. */
static void relaxed_against_exact(fixture *f, const char *device, int64_t batch,
                                  unsigned long seed) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, seed);
  double *increase[64] = {0};
  int choice[64];
  begin(f, device, batch);
  random_increases(f, random, increase);
  for (int turn = 0; turn < 6; turn++) {
    const double budget = turn == 5 ? INFINITY : f->s->unit_count * (0.05 + 0.15 * turn);
    frontier_solution exact, found;
    if (space_solve(f->s, f->g, f->p, &f->m.w.optimizer, increase, budget, choice, &exact, NULL) !=
        MPT_OK)
      fail_msg("no exact answer");
    assert_true(exact.gap == 0.0);
    for (int states = 1; states <= 64; states *= 8) {
      solve_forgetful(f, states, increase, budget, choice, &found);
      assert_bounded(f, &found, choice, budget, exact.seconds, 0.05);
      frontier_clear(&found);
    }
    frontier_clear(&exact);
  }
  for (int u = 0; u < f->s->unit_count; u++)
    free(increase[u]);
  gsl_rng_free(random);
  end(f);
}

static void test_forgetful_solver(void **state) {
  (void)state;
  fixture f;
  static const char *const devices[] = {"synthetic-bits", "nvidia-h200"};
  for (int d = 0; d < 2; d++) {
    test_gpt(&f.m, 512, 64, 128, 2, true);
    relaxed_against_exact(&f, devices[d], 16, 10);
    make_wide(&f.m, 5);
    relaxed_against_exact(&f, devices[d], 48, 11);
    make_u_net(&f.m, 4);
    relaxed_against_exact(&f, devices[d], 48, 12);
  }
}

/* As the solver of a search is called; returns the gap, a share. */
static double solve_large(fixture *f, const char *device, double share, double most_gap) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  double *increase[TEST_MAX_LAYERS] = {0};
  int choice[TEST_MAX_LAYERS];
  frontier_solution found;
  mpt_error error;
  begin(f, device, 256);
  random_increases(f, random, increase);
  const double budget = f->s->unit_count * share;
  if (space_solve(f->s, f->g, f->p, &f->m.w.optimizer, increase, budget, choice, &found, &error) !=
      MPT_OK)
    fail_msg("%s", error.message);
  assert_bounded(f, &found, choice, budget, NAN, most_gap);
  const double gap = found.gap / found.seconds;
  printf("%d units: gap %.2g%% with %lld labels\n", f->s->unit_count, 100 * gap,
         (long long)found.labels);
  frontier_clear(&found);
  for (int u = 0; u < f->s->unit_count; u++)
    free(increase[u]);
  gsl_rng_free(random);
  end(f);
  return gap;
}

/* Ten and forty layers read one tensor, and all of their outputs are summed afterwards. */
static void test_wide_networks(void **state) {
  (void)state;
  fixture f;
  make_wide(&f.m, 10);
  solve_large(&f, "nvidia-h200", 0.2, 0.01);
  make_wide(&f.m, 40);
  solve_large(&f, "synthetic-bits", 0.2, 0.01);
}

static void test_deep_u_net(void **state) {
  (void)state;
  fixture f;
  make_u_net(&f.m, 5);
  assert_true(solve_large(&f, "nvidia-h200", 0.2, 0) == 0);
  make_u_net(&f.m, 20);
  solve_large(&f, "nvidia-h200", 0.2, 0.02);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_units_and_followers_of_a_gpt),
      cmocka_unit_test(test_uniform_policies_are_in_the_space),
      cmocka_unit_test(test_formats_for_each_gemm),
      cmocka_unit_test(test_exclusions_and_pins),
      cmocka_unit_test(test_what_cannot_be_built),
      cmocka_unit_test(test_solver_on_an_mlp),
      cmocka_unit_test(test_solver_on_a_cnn),
      cmocka_unit_test(test_solver_on_a_gpt_block),
      cmocka_unit_test(test_solver_on_separate_q_k_v),
      cmocka_unit_test(test_solver_on_skips),
      cmocka_unit_test(test_solver_with_layers_before_the_first_unit),
      cmocka_unit_test(test_a_deep_gpt_for_each_gemm),
      cmocka_unit_test(test_forgetful_solver),
      cmocka_unit_test(test_wide_networks),
      cmocka_unit_test(test_deep_u_net),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
