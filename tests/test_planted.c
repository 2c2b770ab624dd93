/* profiles/workloads/planted.yaml: the search finds the assignment that the network was built for,
 * whatever its seed, and on a GPU too (MPTUNE_TEST_BACKEND=cuda). How many seeds are tried is the
 * argument: 2, and 10 in the long tier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/graph.h"
#include "tuner/tuner.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int seeds = 2;

static const struct {
  const char *layer;
  mpt_precision precision;
} planted[] = {
    {"wide", MPT_PRECISION_FP16}, {"e1", MPT_PRECISION_FP8},      {"over", MPT_PRECISION_FP8},
    {"e2", MPT_PRECISION_FP8},    {"vanish", MPT_PRECISION_BF16}, {"e3", MPT_PRECISION_FP8},
    {"head", MPT_PRECISION_FP8},
};
#define PLANTED (sizeof planted / sizeof planted[0])

static graph *planted_graph(const workload *w) {
  mpt_error error = {0};
  dataset *data = NULL;
  graph *g = NULL;
  if (dataset_open(&w->data, &data, &error) != MPT_OK ||
      graph_build(w, &w->model, w->batch, 0, dataset_get_info(data), &g, &error) != MPT_OK)
    fail_msg("%s", error.message);
  dataset_close(data);
  return g;
}

static const char *backend_name(void) {
  const char *name = getenv("MPTUNE_TEST_BACKEND");
  return name == NULL ? "cpu" : name;
}

/* A search on a GPU takes them in every fprop in fp8. */
static bool has_fast_sums(void) {
  return strcmp(backend_name(), "cuda") == 0;
}

/* How many layers of the written policy are not as planted; each is named. */
static int compare(const char *path, const graph *g, int seed) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  if (mpt_policy_load(path, &policy, &error) != MPT_OK)
    fail_msg("%s", error.message);
  mpt_layer_info *layers = graph_layer_infos(g);
  mpt_layer_policy *assignment = calloc((size_t)g->layer_count, sizeof *assignment);
  const mpt_resolve_options options = mpt_resolve_options_default();
  if (mpt_policy_resolve(policy, layers, g->layer_count, &options, assignment, &error) != MPT_OK)
    fail_msg("%s", error.message);
  int different = 0;
  for (size_t i = 0; i < PLANTED; i++) {
    mpt_layer_policy expected = mpt_layer_policy_of(planted[i].precision);
    if (planted[i].precision == MPT_PRECISION_FP8 && has_fast_sums())
      expected.gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
    const mpt_layer_policy *found = &assignment[graph_find(g, planted[i].layer)];
    if (mpt_layer_policy_equal(&expected, found))
      continue;
    char text[160];
    mpt_layer_policy_text(found, text, sizeof text);
    print_error("seed %d: layer '%s' has %s, planted is %s\n", seed, planted[i].layer, text,
                mpt_precision_name(planted[i].precision));
    different++;
  }
  free(assignment);
  free(layers);
  mpt_policy_free(policy);
  return different;
}

static tuner_options options_of(const char *run, int seed) {
  tuner_options options = tuner_options_default();
  options.run = run;
  options.seed = 1000 * (uint64_t)seed; /* far enough apart that no two share a training */
  options.backend = backend_name();
  options.target = "synthetic-bits";
  return options;
}

/* The search gives all-fp8 up early. Who asks for it is told how it ends, in the same directory
 * too. */
static void evaluate_what_was_given_up(const workload *w, const tuner_options *options) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  tuner_summary summary = {0};
  assert_int_equal(mpt_policy_uniform(MPT_PRECISION_FP8, &policy, &error), MPT_OK);
  const tuner_policy given = {.label = "all-fp8", .policy = policy, .uniform = true};
  if (tuner_evaluate(w, options, &given, 1, 2, &summary, &error) != MPT_OK)
    fail_msg("%s", error.message);
  assert_int_equal(summary.row_count, 2);
  assert_true(isfinite(summary.rows[1].seen.worse));
  assert_true(isfinite(summary.rows[1].seen.metric));
  tuner_summary_clear(&summary);
  mpt_policy_free(policy);
}

static void every_seed_finds_what_was_planted(void **state) {
  (void)state;
  mpt_error error = {0};
  workload *w = NULL;
  if (workload_load(MPTUNE_SOURCE_DIR "/profiles/workloads/planted.yaml", &w, &error) != MPT_OK)
    fail_msg("%s", error.message);
  graph *g = planted_graph(w);
  int different = 0;
  for (int seed = 1; seed <= seeds; seed++) {
    char run[] = "/tmp/mptune-planted-XXXXXX", command[64];
    assert_non_null(mkdtemp(run));
    const tuner_options options = options_of(run, seed);
    tuner_summary summary = {0};
    if (tuner_run(w, &options, &summary, &error) != MPT_OK)
      fail_msg("%s", error.message);
    assert_true(summary.found && summary.gain);
    assert_true(summary.evaluations <= options.max_evaluations);
    different += compare(summary.policy_path, g, seed);
    tuner_summary_clear(&summary);
    if (seed == 1)
      evaluate_what_was_given_up(w, &options);
    snprintf(command, sizeof command, "rm -rf '%s'", run);
    assert_int_equal(system(command), 0);
  }
  graph_free(g);
  workload_free(w);
  assert_int_equal(different, 0);
}

int main(int argc, char **argv) {
  if (argc > 1)
    seeds = atoi(argv[1]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_finds_what_was_planted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
