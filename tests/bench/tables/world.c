#include "tests/bench/tables/world.h"
#include "base/error.h"
#include "tuner/cost.h"
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

#define REFERENCE_DEVIATION 0.005  /* of a drawn world, whose reference is 1 */
#define PAIR_DEVIATION      0.0005 /* of a policy with fp8; others a fifth */

static mpt_status open_world(const table_network *n, world *w, mpt_error *error) {
  const size_t count = (size_t)n->policies, layers = (size_t)n->graph->layer_count;
  mpt_status status = MPT_OK;
  mpt_layer_policy *assignment = calloc(layers, sizeof *assignment);
  *w = (world){.network = n,
               .seconds = calloc(count, sizeof(double)),
               .damage = calloc(count, sizeof(double)),
               .deviation = calloc(count, sizeof(double)),
               .error = calloc(count, sizeof(double))};
  if (assignment == NULL || w->seconds == NULL || w->damage == NULL || w->deviation == NULL ||
      w->error == NULL) {
    status = mpt_fail_memory(error, "a world", count * sizeof(double));
    goto fail;
  }
  for (int p = 0; p < n->policies; p++) {
    int choice[TABLE_UNITS];
    cost_parts parts;
    table_choice(n->space, p, choice);
    space_assignment(n->space, choice, assignment);
    MPT_TRY(cost_predict(n->graph, n->profile, &n->w->optimizer, assignment, &parts, error));
    w->seconds[p] = parts.total;
  }
fail:
  free(assignment);
  return status;
}

void world_clear(world *w) {
  free(w->seconds), free(w->damage), free(w->deviation), free(w->error);
  *w = (world){0};
}

/* ---- from a table ---- */

mpt_status world_of_table(const table_network *n, const policy_table *t, world *w,
                          mpt_error *error) {
  MPT_RETURN_IF_FAILED(open_world(n, w, error));
  w->table = t;
  w->seeds = policy_table_whole(t);
  if (w->seeds < 2)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND, "the table of '%s' has %d whole seeds", n->name,
                    w->seeds);
  for (int i = 0; i < w->seeds; i++)
    w->reference += world_metric(w, 0, i) / w->seeds;
  for (int p = 0; p < n->policies; p++) {
    double squares = 0;
    for (int i = 0; i < w->seeds; i++)
      w->damage[p] += (world_metric(w, p, i) - world_metric(w, 0, i)) / w->seeds;
    for (int i = 0; i < w->seeds && isfinite(w->damage[p]); i++)
      squares += pow(world_metric(w, p, i) - world_metric(w, 0, i) - w->damage[p], 2);
    w->deviation[p] = sqrt(squares / (w->seeds - 1));
    w->error[p] = w->deviation[p] / sqrt(w->seeds);
  }
  return MPT_OK;
}

/* ---- drawn ---- */

typedef struct law {
  double theta[TABLE_UNITS][MPT_GEMM_COUNT][MPT_PRECISION_COUNT];
  double together[TABLE_UNITS]; /* of unit u and the one before it, both in fp8: that much more */
} law;

/* Deterministic numbers of a (draw, a, b): gamma of a policy, noise of a training. */
static double gaussian_of(uint64_t draw, uint64_t a, uint64_t b) {
  uint64_t x = draw * 0x9e3779b97f4a7c15ULL + a * 0xbf58476d1ce4e5b9ULL + b + 1;
  double sum = 0;
  for (int i = 0; i < 12; i++) { /* splitmix64; twelve uniforms make a normal near enough */
    x += 0x9e3779b97f4a7c15ULL;
    uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    sum += (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }
  return sum - 6;
}

static void draw_law(const table_network *n, gsl_rng *random, world *w, law *l) {
  const double forward = exp(gsl_ran_gaussian(random, 0.7));
  const double backward = exp(gsl_ran_gaussian(random, 0.7));
  for (int u = 0; u < n->space->unit_count; u++) {
    const double wide = exp(gsl_ran_gaussian(random, 1));
    for (int g = 0; g < MPT_GEMM_COUNT; g++) {
      const bool head = u == n->space->unit_count - 1 && g != MPT_FPROP;
      const double kappa = (g == MPT_FPROP ? forward : backward) * (head ? 2 : 1);
      const double score = 0.001 * wide * exp(gsl_ran_gaussian(random, 0.6));
      const double theta = kappa * score * fmax(0.02, 1 + gsl_ran_gaussian(random, 0.7));
      const double fine = exp(gsl_ran_gaussian(random, 0.3)) / 16;
      l->theta[u][g][MPT_PRECISION_FP8] = theta;
      l->theta[u][g][MPT_PRECISION_BF16] = theta * fine;
      /* The probe's backward scores are shares of a variance: another unit than the metric's. */
      w->probe[u][g][MPT_PRECISION_FP8] = g == MPT_FPROP ? score : 100 * score;
      w->probe[u][g][MPT_PRECISION_BF16] = w->probe[u][g][MPT_PRECISION_FP8] / 16;
    }
    l->together[u] = gsl_rng_uniform(random) < 0.2 ? gsl_rng_uniform(random) : 0;
  }
}

static double unit_damage(const law *l, int u, const mpt_layer_policy *formats,
                          mpt_precision reference) {
  double sum = 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if (formats->gemm[g].precision != reference)
      sum += l->theta[u][g][formats->gemm[g].precision];
  return sum;
}

static void draw_policy(const table_network *n, const law *l, world *w, int p) {
  int choice[TABLE_UNITS];
  double sum = 0, before = 0, total = 0;
  bool fp8 = false;
  table_choice(n->space, p, choice);
  for (int u = 0; u < n->space->unit_count; u++) {
    const mpt_layer_policy *formats = &n->space->units[u].choices[choice[u]];
    const bool low = formats->gemm[MPT_FPROP].precision == MPT_PRECISION_FP8;
    const double own = unit_damage(l, u, formats, n->w->reference);
    sum += own + (low && before > 0 ? l->together[u] * (own + before) : 0);
    before = low ? own : 0;
    fp8 = fp8 || low;
  }
  total = p == 0 ? 0 : fmax(0, sum * (1 + 0.15 * gaussian_of(w->draw, (uint64_t)p, ~0ULL)));
  w->damage[p] = total;
  w->deviation[p] = p == 0 ? 0 : hypot(fp8 ? PAIR_DEVIATION : PAIR_DEVIATION / 5, 0.1 * total);
}

mpt_status world_draw(const table_network *n, uint64_t draw, world *w, mpt_error *error) {
  law l = {0};
  MPT_RETURN_IF_FAILED(open_world(n, w, error));
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  gsl_rng_set(random, draw + 1);
  w->seeds = 64;
  w->draw = draw;
  w->reference = 1;
  draw_law(n, random, w, &l);
  gsl_rng_free(random);
  for (int p = 0; p < n->policies; p++)
    draw_policy(n, &l, w, p);
  return MPT_OK;
}

double world_metric(const world *w, int policy, int seed) {
  if (w->table != NULL)
    return (double)w->table->metric[(size_t)seed * (size_t)w->table->policies + (size_t)policy];
  return 1 + REFERENCE_DEVIATION * gaussian_of(w->draw, ~0ULL, (uint64_t)seed) + w->damage[policy] +
         w->deviation[policy] * gaussian_of(w->draw, (uint64_t)policy, (uint64_t)seed);
}

/* ---- the truth ---- */

int world_best(const world *w, double budget) {
  int best = 0;
  for (int p = 0; p < w->network->policies; p++)
    if (w->damage[p] + w->deviation[p] <= budget && w->seconds[p] < w->seconds[best])
      best = p;
  return best;
}

bool world_meets(const world *w, int policy, double budget) {
  return w->damage[policy] - w->error[policy] <= budget;
}
