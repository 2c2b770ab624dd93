/* How wrong is a GEMM price between measured shapes? Every interior shape of a profile's table is
 * left out in turn and predicted from what is around it, twice: from the eight corners of the cell
 * that is then four times as wide in every dimension (all of m, n and k unmeasured), and from the
 * two neighbours in one dimension, for each dimension (the other two measured). Shapes of use lie
 * between measured ones, at most half as far in log size, so these errors are an upper estimate.
 *
 * Each is done by profile_gemm, and by log-linear interpolation of the efficiency for comparison.
 *
 *   bench_interpolation [PROFILE]      default nvidia-h200
 */
#include "profile/profile.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AXES = 3, MAX_SIZES = 64 };

typedef struct sizes {
  int count;
  int64_t at[MAX_SIZES];
} sizes;

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int64_t size_of(const gemm_row *row, int axis) {
  return axis == 0 ? row->m : axis == 1 ? row->n : row->k;
}

static void add_size(sizes *s, int64_t size) {
  int i = 0;
  while (i < s->count && s->at[i] < size)
    i++;
  if ((i < s->count && s->at[i] == size) || s->count == MAX_SIZES)
    return;
  memmove(&s->at[i + 1], &s->at[i], (size_t)(s->count - i) * sizeof *s->at);
  s->at[i] = size;
  s->count++;
}

/* The measured sizes on both sides of `size`; false at the ends. */
static bool neighbours(const sizes *s, int64_t size, int64_t beside[2]) {
  for (int i = 1; i + 1 < s->count; i++)
    if (s->at[i] == size) {
      beside[0] = s->at[i - 1], beside[1] = s->at[i + 1];
      return true;
    }
  return false;
}

/* Log-linear in m, n and k, from the corners of a box around the shape. */
static double price_by_efficiency(const gemm_row *corners, int count, const gemm_row *row,
                                  int column) {
  double efficiency = 0.0;
  for (int i = 0; i < count; i++) {
    double weight = 1.0;
    for (int d = 0; d < AXES; d++) {
      int64_t here = size_of(&corners[i], d), there = here;
      for (int j = 0; j < count; j++)
        there = size_of(&corners[j], d) != here ? size_of(&corners[j], d) : there;
      if (there != here)
        weight *=
            1.0 - log((double)size_of(row, d) / (double)here) / log((double)there / (double)here);
    }
    double operations = (double)corners[i].m * (double)corners[i].n * (double)corners[i].k;
    efficiency += weight * log(operations / corners[i].seconds[column]);
  }
  return (double)row->m * (double)row->n * (double)row->k / exp(efficiency);
}

/* The price of `row`'s shape in a profile that has only the neighbours along the axes of `mask`;
 * NaN when one of them is missing. */
static double price_left_out(const profile *p, const sizes *axes, const gemm_row *row, int mask,
                             int column, bool by_efficiency) {
  gemm_row kept[8];
  int64_t beside[AXES][2];
  profile part = {.gemm = kept};
  for (int d = 0; d < AXES; d++) {
    beside[d][0] = beside[d][1] = size_of(row, d);
    if ((mask >> d & 1) && !neighbours(&axes[d], size_of(row, d), beside[d]))
      return NAN;
  }
  for (int i = 0; i < p->gemm_count; i++) {
    const gemm_row *candidate = &p->gemm[i];
    bool corner = true;
    for (int d = 0; d < AXES; d++)
      corner = corner &&
               (size_of(candidate, d) == beside[d][0] || size_of(candidate, d) == beside[d][1]);
    if (corner && !isnan(candidate->seconds[column]))
      kept[part.gemm_count++] = *candidate;
  }
  int corners = 1 << ((mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1));
  if (part.gemm_count != corners)
    return NAN;
  if (by_efficiency)
    return price_by_efficiency(kept, corners, row, column);
  if (profile_make_grid(&part, NULL) != MPT_OK)
    return NAN;
  double seconds = profile_gemm(&part, (gemm_column)column, row->m, row->n, row->k).seconds;
  profile_free_grid(&part);
  return seconds;
}

/* Relative errors over all shapes that can be left out along one of the masks. */
static void print_errors(const profile *p, const sizes *axes, const int *masks, int mask_count,
                         int column, bool by_efficiency) {
  double *errors = malloc((size_t)(p->gemm_count * mask_count) * sizeof *errors);
  double signed_sum = 0.0, worst = -1.0;
  int count = 0;
  int64_t worst_shape[AXES] = {0};
  for (int i = 0; errors != NULL && i < p->gemm_count; i++)
    for (int m = 0; m < mask_count; m++) {
      const gemm_row *row = &p->gemm[i];
      double predicted = price_left_out(p, axes, row, masks[m], column, by_efficiency);
      double error = predicted / row->seconds[column] - 1.0;
      if (isnan(error))
        continue;
      errors[count++] = fabs(error);
      signed_sum += log1p(error);
      if (fabs(error) <= worst)
        continue;
      worst = fabs(error);
      for (int d = 0; d < AXES; d++)
        worst_shape[d] = size_of(row, d);
    }
  if (count > 0) {
    qsort(errors, (size_t)count, sizeof *errors, compare_doubles);
    printf("| %s | %d | %.1f%% | %.1f%% | %.1f%% (%lld x %lld x %lld) | %+.1f%% |\n",
           gemm_column_name((gemm_column)column), count, 100 * errors[count / 2],
           100 * errors[(int)(0.9 * (count - 1))], 100 * worst, (long long)worst_shape[0],
           (long long)worst_shape[1], (long long)worst_shape[2], 100 * expm1(signed_sum / count));
  }
  free(errors);
}

int main(int argc, char **argv) {
  static const struct {
    const char *title;
    int masks[AXES], count;
  } ways[] = {
      {"left out in m, n and k at once, predicted from the eight corners", {7}, 1},
      {"left out in one dimension, predicted from its two neighbours", {1, 2, 4}, 3},
  };
  mpt_error error;
  profile *p;
  sizes axes[AXES] = {0};
  if (profile_load(argc > 1 ? argv[1] : "nvidia-h200", &p, &error) != MPT_OK) {
    fprintf(stderr, "error: %s\n", error.message);
    return 1;
  }
  for (int i = 0; i < p->gemm_count; i++)
    for (int d = 0; d < AXES; d++)
      add_size(&axes[d], size_of(&p->gemm[i], d));
  for (int way = 0; way < 4; way++) {
    bool by_efficiency = way >= 2;
    printf("%s, %s (%s):\n\n| column | shapes | median | 90%% | worst (m x n x k) | bias |\n"
           "| --- | --- | --- | --- | --- | --- |\n",
           p->name, ways[way % 2].title,
           by_efficiency ? "efficiency, log-linear, for comparison"
                         : "time, linear, as prices are");
    for (int column = 0; column < GEMM_COLUMN_COUNT; column++)
      print_errors(p, axes, ways[way % 2].masks, ways[way % 2].count, column, by_efficiency);
    printf("\n");
  }
  profile_free(p);
  return 0;
}
