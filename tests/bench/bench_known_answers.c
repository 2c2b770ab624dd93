/* The search against the truth: for three networks of 4 layers all 4^4 = 256 policies are trained
 * under the same 5 seeds, and for three budgets each the search's winner is held against the best
 * of them. The winner must meet the budget, its step must be within 1% of that of the best policy
 * that does, and it must have been found with at most 26 candidate trainings before verification.
 * A policy within one standard error of the limit counts as either. Times are those of the device
 * synthetic-bits.
 *
 *   bench_known_answers DIRECTORY [SEARCHES]   keeps what was trained in DIRECTORY, so that it is
 * not trained again; searches under this many seeds (1)
 *
 * Exit 1 when a case fails. */
#include "base/progress.h"
#include "known_answers.h"
#include "store/store.h"
#include "train/trainer.h"
#include "tuner/cost.h"
#include "tuner/space.h"
#include "tuner/tuner.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS         4
#define FORMATS        4
#define POLICIES       256
#define SEEDS          5
#define SEARCH_SEED    10000 /* times 1, 2, ...: no seed of the truth's, 1 to 5 */
#define MOST_TRAININGS 26
#define EQUAL_TIME     0.01

typedef struct truth {
  double metric[POLICIES][SEEDS]; /* NaN: not known yet; Inf: diverged */
  double seconds[POLICIES];
  double mean[POLICIES], error[POLICIES]; /* of the difference to the reference, policy 0 */
  char label[POLICIES][64];
} truth;

typedef struct network {
  workload *w;
  dataset *data;
  graph *graph;
  profile *profile;
  space *space;
  char hash[65];
} network;

static const mpt_precision formats[FORMATS] = {MPT_PRECISION_FP32, MPT_PRECISION_BF16,
                                               MPT_PRECISION_FP16, MPT_PRECISION_FP8};

static void die(const mpt_error *error) {
  fprintf(stderr, "error: %s\n", error->message);
  exit(2);
}

static void write_workload(const char *directory, const char *name, const char *text, double budget,
                           char path[512]) {
  snprintf(path, 512, "%s/%s.yaml", directory, name);
  FILE *file = fopen(path, "w");
  if (file == NULL) {
    fprintf(stderr, "error: '%s' cannot be written\n", path);
    exit(2);
  }
  fprintf(file,
          "schema: mptune/workload@1\nname: %s\n%smetric: loss\nbudget: {worse_by: %.9g}\n"
          "exclude: [tf32]\ntarget: synthetic-bits\n",
          name, text, budget);
  fclose(file);
}

static void open_network(const char *directory, int which, network *n) {
  mpt_error error = {0};
  char path[512];
  *n = (network){0};
  write_workload(directory, known_networks[which].name, known_networks[which].text, 1, path);
  char *text = NULL;
  if (workload_load(path, &n->w, &error) != MPT_OK ||
      dataset_open(&n->w->data, &n->data, &error) != MPT_OK ||
      graph_build(n->w, &n->w->model, n->w->batch, 0, dataset_get_info(n->data), &n->graph,
                  &error) != MPT_OK ||
      profile_load(n->w->target, &n->profile, &error) != MPT_OK ||
      space_build(n->w, n->graph, n->profile, false, &n->space, &error) != MPT_OK ||
      workload_training_text(n->w, &text, &error) != MPT_OK)
    die(&error);
  store_hash(text, strlen(text), n->hash);
  free(text);
  if (n->space->unit_count != LAYERS) {
    fprintf(stderr, "error: '%s' has %d layers with a format\n", path, n->space->unit_count);
    exit(2);
  }
}

static void close_network(network *n) {
  space_free(n->space);
  profile_free(n->profile);
  graph_free(n->graph);
  dataset_close(n->data);
  workload_free(n->w);
}

/* Digits of `policy` to base 4, the first layer's first. */
static mpt_precision format_of(int policy, int layer) {
  return formats[policy >> (2 * (LAYERS - 1 - layer)) & 3];
}

static void assignment_of(const network *n, int policy, mpt_layer_policy *assignment) {
  int choice[LAYERS] = {0};
  for (int u = 0; u < LAYERS; u++) {
    const mpt_layer_policy wanted = mpt_layer_policy_of(format_of(policy, u));
    const space_unit *unit = &n->space->units[u];
    while (!mpt_layer_policy_equal(&unit->choices[choice[u]], &wanted))
      choice[u]++;
  }
  space_assignment(n->space, choice, assignment);
}

static void label_policy(int policy, char label[64]) {
  int length = 0;
  for (int u = 0; u < LAYERS; u++)
    length += snprintf(label + length, 64 - (size_t)length, "%s%s", u == 0 ? "" : " ",
                       mpt_precision_name(format_of(policy, u)));
}

/* ---- the truth ---- */

static void read_cache(const char *path, const char *hash, truth *t) {
  FILE *file = fopen(path, "r");
  char line[256], of[65];
  int policy, seed;
  double metric;
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "%64s %d %d %lf", of, &policy, &seed, &metric) == 4 && strcmp(of, hash) == 0 &&
        policy >= 0 && policy < POLICIES && seed >= 0 && seed < SEEDS)
      t->metric[policy][seed] = metric;
  if (file != NULL)
    fclose(file);
}

static double train(const network *n, const mpt_layer_policy *assignment, int seed) {
  mpt_error error = {0};
  train_options o = train_options_default();
  train_result result = {0};
  o.workload = n->w;
  o.graph = n->graph;
  o.data = n->data;
  o.assignment = assignment;
  o.loss_scale = n->w->loss_scale;
  o.seed = (uint64_t)seed + 1;
  o.steps = n->w->steps;
  if (train_run(&o, &result, &error) != MPT_OK)
    die(&error);
  const double metric = result.diverged || !isfinite(result.metric) ? INFINITY : result.metric;
  train_result_clear(&result);
  return metric;
}

static void mean_differences(truth *t) {
  for (int p = 0; p < POLICIES; p++) {
    double sum = 0, squares = 0;
    for (int i = 0; i < SEEDS; i++)
      sum += t->metric[p][i] - t->metric[0][i];
    t->mean[p] = sum / SEEDS;
    for (int i = 0; i < SEEDS; i++)
      squares += pow(t->metric[p][i] - t->metric[0][i] - t->mean[p], 2);
    t->error[p] = isfinite(t->mean[p]) ? sqrt(squares / (SEEDS - 1) / SEEDS) : 0;
  }
}

static void find_truth(const char *directory, const network *n, truth *t) {
  char path[512];
  mpt_error error = {0};
  snprintf(path, sizeof path, "%s/truth.txt", directory);
  for (int p = 0; p < POLICIES; p++)
    for (int i = 0; i < SEEDS; i++)
      t->metric[p][i] = NAN;
  read_cache(path, n->hash, t);
  FILE *file = fopen(path, "a");
  mpt_layer_policy *assignment = calloc((size_t)n->graph->layer_count, sizeof *assignment);
  if (file == NULL || assignment == NULL) {
    fprintf(stderr, "error: '%s' cannot be written\n", path);
    exit(2);
  }
  for (int p = 0; p < POLICIES; p++) {
    cost_parts parts;
    assignment_of(n, p, assignment);
    label_policy(p, t->label[p]);
    if (cost_predict(n->graph, n->profile, &n->w->optimizer, assignment, &parts, &error) != MPT_OK)
      die(&error);
    t->seconds[p] = parts.total;
    for (int i = 0; i < SEEDS; i++) {
      if (!isnan(t->metric[p][i]))
        continue;
      mpt_progress_update(n->w->name, "policy %d of %d", p + 1, POLICIES);
      t->metric[p][i] = train(n, assignment, i);
      fprintf(file, "%s %d %d %.17g\n", n->hash, p, i, t->metric[p][i]);
    }
  }
  mpt_progress_end();
  fclose(file);
  free(assignment);
  mean_differences(t);
}

/* ---- the search ---- */

/* The policy that was written, as its number. */
static int written_policy(const network *n, const char *path) {
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  const mpt_resolve_options options = mpt_resolve_options_default();
  mpt_layer_info *layers = graph_layer_infos(n->graph);
  mpt_layer_policy *assignment = calloc((size_t)n->graph->layer_count, sizeof *assignment);
  if (mpt_policy_load(path, &policy, &error) != MPT_OK ||
      mpt_policy_resolve(policy, layers, n->graph->layer_count, &options, assignment, &error) !=
          MPT_OK)
    die(&error);
  int number = 0;
  for (int u = 0; u < LAYERS; u++) {
    int digit = 0;
    while (assignment[n->space->units[u].layer].gemm[MPT_FPROP].precision != formats[digit])
      digit++;
    number = 4 * number + digit;
  }
  free(assignment);
  free(layers);
  mpt_policy_free(policy);
  return number;
}

/* Whether the case passes. */
static bool try_budget(const char *directory, int which, const network *n, const truth *t,
                       double share, int search) {
  mpt_error error = {0};
  double reference = 0;
  for (int i = 0; i < SEEDS; i++)
    reference += t->metric[0][i] / SEEDS;
  const double margin = share * reference;
  int best = 0;
  for (int p = 0; p < POLICIES; p++)
    if (t->mean[p] + t->error[p] <= margin && t->seconds[p] < t->seconds[best])
      best = p;

  char path[512], run[512];
  workload *w = NULL;
  tuner_summary summary = {0};
  tuner_options options = tuner_options_default();
  write_workload(directory, known_networks[which].name, known_networks[which].text, margin, path);
  snprintf(run, sizeof run, "%.400s/%s-%d", directory, known_networks[which].name, search);
  options.run = run;
  options.seed = SEARCH_SEED * (uint64_t)search;
  options.pairs = VERIFY_MOST_PAIRS; /* pairs of clothes differ by 2.3%: 13 settle two in three */
  if (workload_load(path, &w, &error) != MPT_OK ||
      tuner_run(w, &options, &summary, &error) != MPT_OK)
    die(&error);
  const int winner = written_policy(n, summary.policy_path);
  const bool meets = t->mean[winner] - t->error[winner] <= margin;
  const double behind = t->seconds[winner] / t->seconds[best] - 1;
  const bool fast = behind <= EQUAL_TIME, few = summary.evaluations <= MOST_TRAININGS;
  printf("| %s | %.0f%% | %s | %.3f | %s | %.3f | %+.2f%% ± %.2f%% | %d | %s%s%s%s |\n",
         known_networks[which].name, 100 * share, t->label[best], t->seconds[best] / t->seconds[0],
         t->label[winner], t->seconds[winner] / t->seconds[0], 100 * t->mean[winner] / reference,
         100 * t->error[winner] / reference, summary.evaluations,
         meets && fast && few ? "yes" : "no:", meets ? "" : " misses the budget",
         fast ? "" : " too slow", few ? "" : " too many trainings");
  fflush(stdout);
  tuner_summary_clear(&summary);
  workload_free(w);
  return meets && fast && few;
}

int main(int argc, char **argv) {
  const int searches = argc > 2 ? atoi(argv[2]) : 1;
  if (argc < 2 || argc > 3 || searches < 1) {
    fprintf(stderr, "usage: bench_known_answers DIRECTORY [SEARCHES]\n");
    return 2;
  }
  static truth t;
  int failed = 0;
  printf("| network | budget | best policy | time | winner | time | worse by | trainings | as it "
         "should be |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (int i = 0; i < KNOWN_NETWORKS; i++) {
    network n;
    open_network(argv[1], i, &n);
    find_truth(argv[1], &n, &t);
    for (int b = 0; b < KNOWN_BUDGETS; b++)
      for (int k = 1; k <= searches; k++)
        failed += !try_budget(argv[1], i, &n, &t, known_networks[i].budgets[b], k);
    close_network(&n);
  }
  return failed > 0;
}
