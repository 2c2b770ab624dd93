/* Prices from a device profile.
 *
 * A GEMM takes about a launch, plus the memory traffic of three matrices, plus its operations:
 * t = a + b mn + c mk + d nk + e mnk. That is linear in each of m, n and k when the other two are
 * fixed, so trilinear interpolation between the eight measured shapes around the one asked for is
 * exact for it. (Log-linear interpolation of efficiency is not: efficiency saturates, is concave in
 * the logarithms, and comes out too low. tests/bench/bench_interpolation.c compares the two.)
 */
#include "profile/profile.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct axis {
  int count;
  int64_t *sizes; /* ascending */
} axis;

struct gemm_grid {
  axis axes[3];
  double *seconds[GEMM_COLUMN_COUNT]; /* by [m][n][k]; NULL: the device lacks the column */
  bool *missing[GEMM_COLUMN_COUNT];   /* filled in from neighbours */
};

static const char *const column_names[GEMM_COLUMN_COUNT] = {
    "fp32", "tf32", "bf16", "fp16", "fp8_fast", "fp8_split", "fp8_mixed_split"};

const char *gemm_column_name(gemm_column column) {
  return column_names[column];
}

static double operations(double m, double n, double k) {
  return 2.0 * m * n * k;
}

/* ---- the grid ---- */

static int64_t row_size(const gemm_row *row, int dimension) {
  return dimension == 0 ? row->m : dimension == 1 ? row->n : row->k;
}

static int compare_sizes(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static mpt_status make_axis(axis *a, const profile *p, int dimension, mpt_error *error) {
  a->sizes = malloc((size_t)p->gemm_count * sizeof *a->sizes);
  if (a->sizes == NULL)
    return mpt_fail_memory(error, "a profile", (size_t)p->gemm_count * sizeof *a->sizes);
  for (int i = 0; i < p->gemm_count; i++)
    a->sizes[i] = row_size(&p->gemm[i], dimension);
  qsort(a->sizes, (size_t)p->gemm_count, sizeof *a->sizes, compare_sizes);
  for (int i = 0; i < p->gemm_count; i++)
    if (a->count == 0 || a->sizes[a->count - 1] != a->sizes[i])
      a->sizes[a->count++] = a->sizes[i];
  return MPT_OK;
}

static int axis_index(const axis *a, int64_t size) {
  int i = 0;
  while (a->sizes[i] != size)
    i++;
  return i;
}

static size_t cell_count(const gemm_grid *grid) {
  return (size_t)grid->axes[0].count * (size_t)grid->axes[1].count * (size_t)grid->axes[2].count;
}

static size_t cell_index(const gemm_grid *grid, const int at[3]) {
  return ((size_t)at[0] * (size_t)grid->axes[1].count + (size_t)at[1]) *
             (size_t)grid->axes[2].count +
         (size_t)at[2];
}

static double cell_operations(const gemm_grid *grid, const int at[3]) {
  return operations((double)grid->axes[0].sizes[at[0]], (double)grid->axes[1].sizes[at[1]],
                    (double)grid->axes[2].sizes[at[2]]);
}

/* The time at the mean efficiency, in logarithms, of the known shapes one step away along each
 * axis; NaN when there are none. */
static double time_from_neighbours(const gemm_grid *grid, const double *seconds, const int at[3]) {
  double sum = 0.0;
  int count = 0;
  for (int d = 0; d < 3; d++)
    for (int step = -1; step <= 1; step += 2) {
      int beside[3] = {at[0], at[1], at[2]};
      beside[d] += step;
      if (beside[d] < 0 || beside[d] >= grid->axes[d].count)
        continue;
      double known = seconds[cell_index(grid, beside)];
      if (!isnan(known))
        sum += log(cell_operations(grid, beside) / known), count++;
    }
  return count > 0 ? cell_operations(grid, at) / exp(sum / count) : NAN;
}

/* Fills what is missing from the measured outwards: every round looks only at the round before. */
static void fill_missing(const gemm_grid *grid, double *seconds, double *before, bool *missing) {
  size_t cells = cell_count(grid);
  for (size_t c = 0; c < cells; c++)
    missing[c] = isnan(seconds[c]);
  for (bool left = true; left;) {
    left = false;
    memcpy(before, seconds, cells * sizeof *seconds);
    int at[3];
    for (at[0] = 0; at[0] < grid->axes[0].count; at[0]++)
      for (at[1] = 0; at[1] < grid->axes[1].count; at[1]++)
        for (at[2] = 0; at[2] < grid->axes[2].count; at[2]++) {
          size_t c = cell_index(grid, at);
          if (!isnan(before[c]))
            continue;
          seconds[c] = time_from_neighbours(grid, before, at);
          left = left || isnan(seconds[c]);
        }
  }
}

static mpt_status make_column(gemm_grid *grid, const profile *p, int column, mpt_error *error) {
  size_t cells = cell_count(grid);
  double *seconds = malloc(2 * cells * sizeof *seconds); /* the second half is fill_missing's */
  bool *missing = malloc(cells * sizeof *missing);
  grid->seconds[column] = seconds;
  grid->missing[column] = missing;
  if (seconds == NULL || missing == NULL)
    return mpt_fail_memory(error, "a profile", cells * (2 * sizeof *seconds + 1));
  for (size_t c = 0; c < cells; c++)
    seconds[c] = NAN;
  bool measured = false;
  for (int i = 0; i < p->gemm_count; i++) {
    const gemm_row *row = &p->gemm[i];
    if (isnan(row->seconds[column]))
      continue;
    int at[3];
    for (int d = 0; d < 3; d++)
      at[d] = axis_index(&grid->axes[d], row_size(row, d));
    seconds[cell_index(grid, at)] = row->seconds[column];
    measured = true;
  }
  if (measured) {
    fill_missing(grid, seconds, seconds + cells, missing);
    return MPT_OK;
  }
  free(seconds);
  free(missing);
  grid->seconds[column] = NULL;
  grid->missing[column] = NULL;
  return MPT_OK;
}

static int compare_rows(const void *a, const void *b) {
  for (int d = 0; d < 3; d++) {
    int64_t x = row_size(a, d), y = row_size(b, d);
    if (x != y)
      return x < y ? -1 : 1;
  }
  return 0;
}

static mpt_status check_twins(const profile *p, mpt_error *error) {
  for (int i = 1; i < p->gemm_count; i++)
    if (compare_rows(&p->gemm[i - 1], &p->gemm[i]) == 0)
      return mpt_fail(error, MPT_ERROR_SYNTAX, "shape %lld x %lld x %lld is there twice",
                      (long long)p->gemm[i].m, (long long)p->gemm[i].n, (long long)p->gemm[i].k);
  return MPT_OK;
}

mpt_status profile_make_grid(profile *p, mpt_error *error) {
  mpt_status status = MPT_OK;
  profile_free_grid(p);
  if (p->gemm_count == 0)
    return MPT_OK;
  gemm_grid *grid = p->grid = calloc(1, sizeof *grid);
  if (grid == NULL)
    return mpt_fail_memory(error, "a profile", sizeof *grid);
  qsort(p->gemm, (size_t)p->gemm_count, sizeof *p->gemm, compare_rows);
  MPT_TRY(check_twins(p, error));
  for (int d = 0; d < 3; d++)
    MPT_TRY(make_axis(&grid->axes[d], p, d, error));
  size_t cells = cell_count(grid);
  if (2 * (size_t)p->gemm_count < cells) {
    status = mpt_fail(error, MPT_ERROR_SYNTAX,
                      "%d shapes of the %d x %d x %d that their sizes combine to; measure a grid "
                      "of m, n and k",
                      p->gemm_count, grid->axes[0].count, grid->axes[1].count, grid->axes[2].count);
    goto fail;
  }
  for (int column = 0; column < GEMM_COLUMN_COUNT; column++)
    MPT_TRY(make_column(grid, p, column, error));
  return MPT_OK;
fail:
  profile_free_grid(p);
  return status;
}

void profile_free_grid(profile *p) {
  gemm_grid *grid = p->grid;
  if (grid == NULL)
    return;
  for (int d = 0; d < 3; d++)
    free(grid->axes[d].sizes);
  for (int column = 0; column < GEMM_COLUMN_COUNT; column++) {
    free(grid->seconds[column]);
    free(grid->missing[column]);
  }
  free(grid);
  p->grid = NULL;
}

/* ---- prices ---- */

/* Between which sizes `size` lies, and how far up; clamped at both ends. */
static void locate(const axis *a, int64_t size, int *low, double *fraction) {
  int i = 0;
  while (i + 2 < a->count && a->sizes[i + 1] <= size)
    i++;
  *low = i;
  *fraction = 0.0;
  if (a->count == 1 || size <= a->sizes[i])
    return;
  double up = (double)(size - a->sizes[i]) / (double)(a->sizes[i + 1] - a->sizes[i]);
  *fraction = up < 1.0 ? up : 1.0;
}

static gemm_price price_from_grid(const gemm_grid *grid, gemm_column column,
                                  const int64_t size[3]) {
  const double *seconds = grid->seconds[column];
  gemm_price price = {seconds == NULL ? NAN : 0.0, false};
  int low[3];
  double fraction[3], growth = 1.0;
  if (seconds == NULL)
    return price;
  for (int d = 0; d < 3; d++) {
    const axis *a = &grid->axes[d];
    int64_t largest = a->sizes[a->count - 1];
    locate(a, size[d], &low[d], &fraction[d]);
    if (size[d] > largest)
      growth *= (double)size[d] / (double)largest;
    price.extrapolated = price.extrapolated || size[d] < a->sizes[0] || size[d] > largest;
  }
  for (int corner = 0; corner < 8; corner++) {
    double weight = 1.0;
    int at[3];
    for (int d = 0; d < 3; d++) {
      int up = corner >> d & 1;
      weight *= up ? fraction[d] : 1.0 - fraction[d];
      at[d] = low[d] + up;
    }
    if (weight == 0.0)
      continue;
    size_t cell = cell_index(grid, at);
    price.seconds += weight * seconds[cell];
    price.extrapolated = price.extrapolated || grid->missing[column][cell];
  }
  price.seconds *= growth;
  return price;
}

gemm_price profile_gemm(const profile *p, gemm_column column, int64_t m, int64_t n, int64_t k) {
  if (p->gemm_rate[column] > 0.0) {
    double seconds = operations((double)m, (double)n, (double)k) / p->gemm_rate[column];
    return (gemm_price){seconds, false};
  }
  if (p->grid == NULL)
    return (gemm_price){NAN, false};
  return price_from_grid(p->grid, column, (const int64_t[3]){m, n, k});
}

double profile_gemm_in_step(const profile *p, mpt_gemm_kind gemm, gemm_column column,
                            double seconds) {
  const double factor = p->gemm_factors[gemm][column];
  const bool table = p->grid != NULL && p->grid->seconds[column] != NULL;
  const double least = table ? p->grid->seconds[column][0] : 0.0;
  return factor > 0.0 && seconds > least ? least + factor * (seconds - least) : seconds;
}

profile *profile_new(void) {
  profile *p = calloc(1, sizeof *p);
  if (p != NULL) {
    p->pass_floor = 1.5e-6;
    p->pass_efficiency = p->quantize_efficiency = 0.85;
    p->attention_efficiency = 0.5;
  }
  return p;
}

void profile_free(profile *p) {
  if (p == NULL)
    return;
  profile_free_grid(p);
  free(p->gemm);
  free(p->passes);
  free(p->attention);
  free(p);
}
