/* The whole search runs on every kind of network: convolutions, a GPT, formats for each GEMM, pins,
 * another reference. Small enough for a second; what it finds is checked where it must be so. */
#include "base/file.h"
#include "store/run_reference.h"
#include "store/run_scores.h"
#include "tuner/tuner.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const cnn =
    "schema: mptune/workload@1\n"
    "name: tiny-cnn\n"
    "model: {preset: cnn, channels: [4], widths: [8], outputs: 3}\n"
    "data: {kind: synthetic, samples: 256, shape: [1, 8, 8], classes: 3}\n"
    "loss: cross_entropy\n"
    "optimizer: {kind: adam, learning_rate: 1.0e-03}\n"
    "batch: 16\nsteps: 12\nthreads: 1\nmetric: loss\n"
    "budget: {worse_by: 5%}\ntarget: synthetic-bits\n";

static const char *const gpt =
    "schema: mptune/workload@1\n"
    "name: tiny-gpt\n"
    "model: {preset: gpt, width: 16, blocks: 1, heads: 2}\n"
    "data: {kind: synthetic, samples: 64, sequence: 16, vocabulary: 32}\n"
    "loss: cross_entropy\n"
    "optimizer: {kind: adamw, learning_rate: 1.0e-03}\n"
    "batch: 4\nsteps: 12\nthreads: 1\nmetric: loss\n"
    "budget: {worse_by: 5%}\ntarget: synthetic-bits\n";

typedef struct tuned {
  char directory[64];
  tuner_summary summary;
  mpt_policy *policy;
} tuned;

static void tune(const char *text, const char *more, tuned *t) {
  mpt_error error = {0};
  char path[128], whole[2048];
  strcpy(t->directory, "/tmp/mptune-test-XXXXXX");
  assert_non_null(mkdtemp(t->directory));
  snprintf(path, sizeof path, "%s/workload.yaml", t->directory);
  snprintf(whole, sizeof whole, "%s%s", text, more);
  assert_int_equal(mpt_file_write(path, whole, strlen(whole), NULL), MPT_OK);
  workload *w = NULL;
  if (workload_load(path, &w, &error) != MPT_OK)
    fail_msg("%d:%d: %s", error.line, error.column, error.message);
  tuner_options o = tuner_options_default();
  o.run = t->directory;
  if (tuner_run(w, &o, &t->summary, &error) != MPT_OK)
    fail_msg("%s", error.message);
  snprintf(path, sizeof path, "%s/policy.yaml", t->directory);
  if (mpt_policy_load(path, &t->policy, &error) != MPT_OK)
    fail_msg("%s", error.message);
  workload_free(w);
}

static void finish(tuned *t) {
  static const char *const files[] = {"workload.yaml", "policy.yaml",    "lock",
                                      "run.sqlite",    "run.sqlite-wal", "run.sqlite-shm"};
  char path[128];
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    snprintf(path, sizeof path, "%s/%s", t->directory, files[i]);
    unlink(path);
  }
  rmdir(t->directory);
  tuner_summary_clear(&t->summary);
  mpt_policy_free(t->policy);
}

/* The formats that the written policy gives a layer of those it was made for. */
static mpt_layer_policy formats_of(const mpt_policy *policy, const char *layer) {
  int count = 0;
  const mpt_layer_info *layers = mpt_policy_layers(policy, &count);
  mpt_layer_policy *all = calloc((size_t)count, sizeof *all);
  mpt_layer_policy found = {0};
  bool any = false;
  assert_non_null(all);
  assert_int_equal(mpt_policy_resolve(policy, layers, count, NULL, all, NULL), MPT_OK);
  for (int i = 0; i < count; i++) {
    if (strcmp(layers[i].name, layer) != 0)
      continue;
    found = all[i];
    any = true;
  }
  free(all);
  assert_true(any);
  return found;
}

static double metric_of(store *s, const char *policy, long long seed) {
  store_evaluation *all = NULL;
  int count = 0;
  double metric = NAN;
  assert_int_equal(store_all_evaluations(s, &all, &count, NULL), MPT_OK);
  for (int i = 0; i < count; i++) {
    if (strcmp(all[i].policy, policy) == 0 && (long long)all[i].seed == seed)
      metric = all[i].metric;
    store_evaluation_clear(&all[i]);
  }
  free(all);
  return metric;
}

static store_reference reference_of(store *s) {
  store_reference reference;
  bool found = false;
  assert_int_equal(store_get_reference(s, &reference, &found, NULL), MPT_OK);
  assert_true(found);
  return reference;
}

static const tuner_row *row_of(const tuner_summary *summary, const char *policy) {
  for (int i = 0; i < summary->row_count; i++)
    if (strcmp(summary->rows[i].policy, policy) == 0)
      return &summary->rows[i];
  return NULL;
}

/* What is said of a verified policy, worked out again from the runs themselves: means over the
 * fresh pairs alone, of seeds that the search did not use. */
static void what_is_said_is_of_fresh_pairs(void **state) {
  (void)state;
  tuned t = {0};
  tune(gpt, "", &t);
  store *s = NULL;
  assert_int_equal(store_open(t.directory, STORE_READ, &s, NULL), MPT_OK);
  store_attempt *attempts = NULL;
  int count = 0, looked = 0;
  assert_int_equal(store_all_attempts(s, &attempts, &count, NULL), MPT_OK);
  store_reference reference = reference_of(s);
  const char *base = reference.policy;
  for (int i = 0; i < count; i++) {
    const tuner_row *row = row_of(&t.summary, attempts[i].policy);
    double own = 0, other = 0;
    int n = 0;
    assert_true(attempts[i].first_seed > 3); /* the search has 1 to 3 */
    for (uint64_t seed = attempts[i].first_seed;; seed++) {
      const double metric = metric_of(s, attempts[i].policy, (long long)seed);
      const double its = metric_of(s, base, (long long)seed);
      if (isnan(metric) || isnan(its))
        break;
      own += metric;
      other += its;
      n++;
    }
    if (n == 0 || row == NULL)
      continue;
    looked++;
    assert_true(row->seen.fresh && n >= 4);
    assert_int_equal(row->seen.pairs, n);
    assert_true(fabs(row->seen.metric - own / n) < 1e-12);
    assert_true(fabs(row->seen.reference_metric - other / n) < 1e-12);
    assert_true(fabs(row->seen.worse - (own - other) / n) < 1e-12);
    assert_true(fabs(row->seen.worse_share - (own - other) / other) < 1e-12);
    assert_int_equal(row->verdict == MPT_VERDICT_PASS, row->seen.interval.upper < 0.05);
  }
  assert_true(looked > 0);
  free(attempts);
  store_reference_clear(&reference);
  store_close(s);
  finish(&t);
}

static void a_network_of_convolutions_is_tuned(void **state) {
  (void)state;
  tuned t = {0};
  tune(cnn, "", &t);
  assert_true(t.summary.found);
  store_scores scores;
  bool found = false;
  int of_conv1 = 0;
  store *s = NULL;
  assert_int_equal(store_open(t.directory, STORE_READ, &s, NULL), MPT_OK);
  store_reference reference = reference_of(s);
  assert_int_equal(store_get_scores(s, reference.observed, &scores, &found, NULL), MPT_OK);
  for (int i = 0; i < scores.count; i++)
    of_conv1 += strcmp(scores.scores[i].layer, "conv1") == 0; /* its weight has four dimensions */
  assert_int_equal(of_conv1, MPT_PRECISION_COUNT - 1);
  store_scores_clear(&scores);
  store_reference_clear(&reference);
  store_close(s);
  finish(&t);
}

static void a_gpt_is_tuned_with_formats_for_each_gemm(void **state) {
  (void)state;
  tuned t = {0};
  tune(gpt, "per_gemm: true\n", &t);
  assert_true(t.summary.found);
  assert_true(t.summary.gain); /* fp32 is never the fastest here, and 5% is wide */
  finish(&t);
}

static void pins_and_exclusions_hold(void **state) {
  (void)state;
  tuned t = {0};
  tune(gpt, "pins: [{layers: head, format: fp32}]\nexclude: [fp8]\n", &t);
  assert_int_equal(formats_of(t.policy, "head").gemm[MPT_FPROP].precision, MPT_PRECISION_FP32);
  const mpt_layer_policy fc1 = formats_of(t.policy, "blocks.0.mlp.fc1");
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    assert_int_not_equal(fc1.gemm[g].precision, MPT_PRECISION_FP8);
  int excluded = 0;
  for (int i = 0; i < t.summary.row_count; i++)
    if (strcmp(t.summary.rows[i].label, "all-fp8") == 0)
      excluded += strcmp(tuner_row_verdict(&t.summary.rows[i]), "excluded") == 0;
  assert_int_equal(excluded, 1);
  finish(&t);
}

static void another_reference_is_compared_with(void **state) {
  (void)state;
  tuned t = {0};
  tune(gpt, "reference: bf16\n", &t);
  int references = 0, slower = 0;
  for (int i = 0; i < t.summary.row_count; i++) {
    const tuner_row *row = &t.summary.rows[i];
    assert_int_equal(row->reference, strcmp(row->label, "all-bf16") == 0);
    references += row->reference;
    /* Slower than the reference: timed, not trained. */
    if (strcmp(row->label, "all-fp32") == 0) {
      assert_true(isnan(row->seen.worse));
      slower++;
    }
  }
  assert_int_equal(references, 1);
  assert_int_equal(slower, 1);
  finish(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_said_is_of_fresh_pairs),
      cmocka_unit_test(a_network_of_convolutions_is_tuned),
      cmocka_unit_test(a_gpt_is_tuned_with_formats_for_each_gemm),
      cmocka_unit_test(pins_and_exclusions_hold),
      cmocka_unit_test(another_reference_is_compared_with),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
