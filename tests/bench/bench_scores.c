/* Scores of layers at checkpoints against what they stand for (docs/benchmarks/scores.md).
 *
 *   bench_scores forward WORKLOAD...         the loss of 8 batches at three checkpoints, when one
 *                                            layer's fprop is in a format, against its score; what
 *                                            scoring took
 *   bench_scores trained SEEDS WORKLOAD...   the held-out loss after whole trainings with one
 * product of one layer in fp8, paired with the reference's, against the scores of three checkpoints
 *
 * WORKLOAD is a file or a name. Checkpoints are left in $TMPDIR, or /tmp. */
#include "../score_truth.h"
#include "train/scores.h"
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { POINTS = 3, BATCHES = 8, MOST_ROWS = 4096 };
static const double shares[POINTS] = {0.1, 0.5, 1};
static const mpt_precision scored[] = {MPT_PRECISION_BF16, MPT_PRECISION_FP16, MPT_PRECISION_FP8};
enum { SCORED = sizeof scored / sizeof scored[0] };

typedef struct network_under_test {
  workload *w;
  dataset *data;
  graph *g;
  mpt_layer_policy *reference, *assignment;
  train_options options;
  train_point points[POINTS];
  char paths[POINTS][512];
  double step_seconds;
} network_under_test;

static void require(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "error: %s\n", error->message);
  exit(2);
}

static void open_network(network_under_test *n, const char *name) {
  mpt_error error = {0};
  const char *directory = getenv("TMPDIR");
  *n = (network_under_test){0};
  require(workload_load(name, &n->w, &error), &error);
  n->w->metric = METRIC_LOSS;
  require(dataset_open(&n->w->data, &n->data, &error), &error);
  const int64_t sequence = dataset_get_info(n->data)->sequence;
  require(graph_build(n->w, &n->w->model, n->w->batch, sequence, dataset_get_info(n->data), &n->g,
                      &error),
          &error);
  n->reference = calloc((size_t)n->g->layer_count, sizeof *n->reference);
  n->assignment = calloc((size_t)n->g->layer_count, sizeof *n->assignment);
  graph_uniform(n->w, n->g, MPT_PRECISION_FP32, false, n->reference);
  n->options = train_options_default();
  n->options.workload = n->w;
  n->options.graph = n->g;
  n->options.data = n->data;
  n->options.assignment = n->reference;
  n->options.loss_scale = n->w->loss_scale;
  n->options.steps = n->w->steps;
  n->options.threads = n->w->threads;
  for (int i = 0; i < POINTS; i++) {
    snprintf(n->paths[i], sizeof n->paths[i], "%s/mptune-bench-scores-%s-%d",
             directory != NULL ? directory : "/tmp", n->w->name, i);
    n->points[i].path = n->paths[i];
    n->points[i].step = (int64_t)(shares[i] * (double)n->w->steps);
  }
}

static void close_network(network_under_test *n) {
  free(n->reference);
  free(n->assignment);
  graph_free(n->g);
  dataset_close(n->data);
  workload_free(n->w);
}

/* Processor time, which others on the machine change least. */
static double processor_seconds(void) {
  return (double)clock() / CLOCKS_PER_SEC;
}

static struct { double began, seconds; /* of the steps behind the first */ } steps_taken;

static bool take_step(void *context, const train_step *step) {
  (void)context;
  if (step->step == 0)
    steps_taken.began = processor_seconds();
  steps_taken.seconds = processor_seconds() - steps_taken.began;
  return true;
}

/* The reference's training, which leaves its checkpoints. */
static void train_reference(network_under_test *n) {
  mpt_error error = {0};
  train_result result;
  train_options o = n->options;
  o.points = n->points;
  o.point_count = POINTS;
  o.on_step = take_step;
  require(train_run(&o, &result, &error), &error);
  n->step_seconds = steps_taken.seconds / (double)(result.steps_done - 1);
  train_result_clear(&result);
}

static void score_at(const network_under_test *n, int point, unsigned precisions, unsigned sent,
                     network_scores *scores) {
  mpt_error error = {0};
  train_options o = n->options;
  const score_options so = {.batches = BATCHES,
                            .first_step = n->points[point].step,
                            .precisions = precisions,
                            .sent = sent,
                            .seed = 1};
  o.load_checkpoint = n->paths[point];
  require(train_score(&o, &so, scores, &error), &error);
}

/* ---- figures ---- */

static double rank_in(const double *x, int count, int i) {
  double rank = 0;
  for (int j = 0; j < count; j++)
    rank += x[j] < x[i] ? 1 : x[j] == x[i] ? 0.5 : 0;
  return rank;
}

/* Spearman's, ties at their mean rank. */
static double correlation(const double *x, const double *y, int count) {
  double xy = 0, xx = 0, yy = 0, mean = 0.5 * count;
  for (int i = 0; i < count; i++) {
    const double a = rank_in(x, count, i) - mean, b = rank_in(y, count, i) - mean;
    xy += a * b, xx += a * a, yy += b * b;
  }
  return xy / sqrt(xx * yy);
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_spread(double *ratios, int count) {
  qsort(ratios, (size_t)count, sizeof *ratios, ascending);
  if (count == 0)
    printf(" |");
  else
    printf(" %.2f (%.2g to %.2g) |", ratios[count / 2], ratios[0], ratios[count - 1]);
}

/* ---- forward ---- */

typedef struct forward_rows {
  double first[MOST_ROWS], second[MOST_ROWS], measured[MOST_ROWS];
  double squared[MOST_ROWS]; /* the squared gradient in place of the curvature */
  int count;
} forward_rows;

static void measure_layers(const network_under_test *n, int point, mpt_precision q,
                           const network_scores *scores, forward_rows *rows) {
  mpt_error error = {0};
  train_options o = n->options;
  double without, with;
  o.load_checkpoint = n->paths[point];
  require(
      truth_loss(&o, n->reference, n->points[point].step, BATCHES, NULL, NULL, &without, &error),
      &error);
  for (int i = 0; i < n->g->layer_count; i++) {
    if (!scores->layers[i].scored || rows->count == MOST_ROWS)
      continue;
    truth_assign(n->g, n->reference, i, q, n->assignment);
    require(
        truth_loss(&o, n->assignment, n->points[point].step, BATCHES, NULL, NULL, &with, &error),
        &error);
    const forward_score *s = &scores->layers[i].forward[q];
    rows->first[rows->count] = s->first;
    rows->second[rows->count] = s->second;
    rows->squared[rows->count] =
        0.5 * (double)n->g->rows * BATCHES * s->first_error * s->first_error;
    rows->measured[rows->count++] = with - without;
  }
}

/* Over everything: ratios from 0.4 to 1.2, of the increase, of the curvature, of the squared
 * gradient; and how many there are. */
static struct { int within[3], of[3]; } overall;

static void count_ratios(int which, const double *ratios, int count) {
  for (int i = 0; i < count; i++)
    overall.within[which] += ratios[i] >= 0.4 && ratios[i] <= 1.2;
  overall.of[which] += count;
}

/* Ratios where what is measured is more than the noise of losses in fp32. */
static void print_forward(const char *name, const char *at, mpt_precision q,
                          const forward_rows *rows, double noise) {
  double increase[MOST_ROWS], ratios[MOST_ROWS], curvature[MOST_ROWS], squared[MOST_ROWS];
  int seen = 0, curved = 0;
  for (int i = 0; i < rows->count; i++) {
    const double left = rows->measured[i] - rows->first[i];
    increase[i] = rows->first[i] + rows->second[i];
    if (fabs(rows->measured[i]) > noise)
      ratios[seen++] = increase[i] / rows->measured[i];
    if (!(left > noise))
      continue;
    curvature[curved] = rows->second[i] / left;
    squared[curved++] = rows->squared[i] / left;
  }
  count_ratios(0, ratios, seen);
  count_ratios(1, curvature, curved);
  count_ratios(2, squared, curved);
  printf("| %s | %s | %s | %d |", name, at, mpt_precision_name(q), seen);
  print_spread(ratios, seen);
  printf(" %.2f | %d |", correlation(increase, rows->measured, rows->count), curved);
  print_spread(curvature, curved);
  print_spread(squared, curved);
  printf("\n");
}

static void forward(const char *name) {
  static forward_rows rows;
  network_under_test n;
  unsigned all = 0;
  double seconds = 0, fewer = 0;
  open_network(&n, name);
  train_reference(&n);
  for (int q = 0; q < SCORED; q++)
    all |= 1u << scored[q];
  for (int p = 0; p < POINTS; p++) {
    network_scores scores;
    double began = processor_seconds();
    score_at(&n, p, all, 1u << MPT_PRECISION_FP8, &scores);
    fewer += processor_seconds() - began;
    network_scores_clear(&scores);
    began = processor_seconds();
    score_at(&n, p, all, 0, &scores);
    seconds += processor_seconds() - began;
    for (int q = 0; q < SCORED; q++) {
      char at[24];
      rows.count = 0;
      snprintf(at, sizeof at, "step %lld", (long long)n.points[p].step);
      measure_layers(&n, p, scored[q], &scores, &rows);
      print_forward(n.w->name, at, scored[q], &rows, 1e-6 * fmax(1e-3, scores.loss));
    }
    network_scores_clear(&scores);
    fflush(stdout);
  }
  printf("%s: %d batches in 3 formats take %.2f s a checkpoint, %.0f steps of %.2g ms; with the "
         "dgrads of fp8 alone sent down %.2f s, %.0f steps (of processors)\n\n",
         n.w->name, BATCHES, seconds / POINTS, seconds / POINTS / n.step_seconds,
         1000 * n.step_seconds, fewer / POINTS, fewer / POINTS / n.step_seconds);
  close_network(&n);
}

/* ---- trained ---- */

typedef struct trained_rows {
  double truth[MOST_ROWS], error[MOST_ROWS];
  double score[MOST_ROWS], second[MOST_ROWS];
  int count;
} trained_rows;
static trained_rows by_gemm[MPT_GEMM_COUNT];

static double held_out(const network_under_test *n, const mpt_layer_policy *assignment,
                       uint64_t seed) {
  mpt_error error = {0};
  train_result result;
  train_options o = n->options;
  o.assignment = assignment;
  o.seed = seed;
  require(train_run(&o, &result, &error), &error);
  const double loss = result.diverged ? INFINITY : result.held_out_loss;
  train_result_clear(&result);
  return loss;
}

static void add_product(const network_under_test *n, int layer, mpt_gemm_kind gemm, int seeds,
                        const double *without, const network_scores *at) {
  trained_rows *rows = &by_gemm[gemm];
  double reference = 0, mean = 0, squares = 0, differences[64], score = 0, variance = 0;
  memcpy(n->assignment, n->reference, (size_t)n->g->layer_count * sizeof *n->assignment);
  n->assignment[layer].gemm[gemm] = mpt_gemm_policy_of(gemm, MPT_PRECISION_FP8);
  for (int i = 0; i < seeds; i++) {
    differences[i] = held_out(n, n->assignment, (uint64_t)i + 1) - without[i];
    mean += differences[i] / seeds;
    reference += without[i] / seeds;
  }
  for (int i = 0; i < seeds; i++)
    squares += pow(differences[i] - mean, 2);
  for (int p = 0; p < POINTS; p++) {
    const layer_scores *s = &at[p].layers[layer];
    const backward_score *b =
        gemm == MPT_DGRAD ? &s->dgrad[MPT_PRECISION_FP8] : &s->wgrad[MPT_PRECISION_FP8];
    if (gemm == MPT_FPROP) {
      score += s->forward[MPT_PRECISION_FP8].second / reference / POINTS;
      variance += score_forward(&s->forward[MPT_PRECISION_FP8]) / reference / POINTS;
    } else {
      score += fmax(0, b->bias) / POINTS;
      variance += b->variance / POINTS;
    }
  }
  const int i = rows->count++;
  const char *name = n->g->layers[layer].info.name;
  rows->truth[i] = mean / reference;
  rows->error[i] = sqrt(squares / (seeds - 1) / seeds) / reference;
  rows->score[i] = score;
  rows->second[i] = variance;
  printf("| %s | %s | %s | %+.2f%% ± %.2f%% | %.3g | %.3g |\n", n->w->name, name,
         mpt_gemm_name(gemm), 100 * rows->truth[i], 100 * rows->error[i], score, variance);
  fflush(stdout);
}

static void trained(const char *name, int seeds) {
  network_under_test n;
  network_scores at[POINTS];
  double without[64];
  open_network(&n, name);
  int *layers = calloc((size_t)n.g->layer_count, sizeof *layers), count = 0;
  for (int i = 0; i < n.g->layer_count; i++)
    if (n.g->layers[i].has_gemm)
      layers[count++] = i;
  train_reference(&n);
  for (int p = 0; p < POINTS; p++)
    score_at(&n, p, 1u << MPT_PRECISION_FP8, 0, &at[p]);
  for (int i = 0; i < seeds; i++)
    without[i] = held_out(&n, n.reference, (uint64_t)i + 1);
  for (int l = 0; l < count; l++)
    for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++)
      if (gemm != MPT_DGRAD || graph_makes_dgrad(n.g, layers[l]))
        add_product(&n, layers[l], (mpt_gemm_kind)gemm, seeds, without, at);
  for (int p = 0; p < POINTS; p++)
    network_scores_clear(&at[p]);
  free(layers);
  close_network(&n);
}

static void print_correlations(void) {
  printf("\n| product | rows | score | second figure |\n| --- | --- | --- | --- |\n");
  for (int gemm = 0; gemm < MPT_GEMM_COUNT; gemm++) {
    const trained_rows *rows = &by_gemm[gemm];
    printf("| %s | %d | %.2f | %.2f |\n", mpt_gemm_name((mpt_gemm_kind)gemm), rows->count,
           correlation(rows->score, rows->truth, rows->count),
           correlation(rows->second, rows->truth, rows->count));
  }
}

int main(int argc, char **argv) {
  if (argc > 2 && strcmp(argv[1], "forward") == 0) {
    printf("| network | at | format | layers | first + second order over measured: median (range) "
           "| ranks | layers | second order over what is left of measured | the squared gradient "
           "over that |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 2; i < argc; i++)
      forward(argv[i]);
    printf(
        "from 0.4 to 1.2: first + second order %d of %d, second order %d of %d, squared gradient "
        "%d of %d\n",
        overall.within[0], overall.of[0], overall.within[1], overall.of[1], overall.within[2],
        overall.of[2]);
    return 0;
  }
  const int seeds = argc > 3 && strcmp(argv[1], "trained") == 0 ? atoi(argv[2]) : 0;
  if (seeds < 2 || seeds > 64) {
    fprintf(stderr, "usage: bench_scores forward WORKLOAD... | trained SEEDS WORKLOAD...\n");
    return 2;
  }
  printf("| network | layer | product in fp8 | held-out loss | score | second figure |\n"
         "| --- | --- | --- | --- | --- | --- |\n");
  for (int i = 3; i < argc; i++)
    trained(argv[i], seeds);
  print_correlations();
  return 0;
}
