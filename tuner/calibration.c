#include "tuner/calibration.h"
#include <math.h>

#define PRIOR_DEVIATION 0.3  /* of a factor, relative to the common ratio */
#define MODEL_DEVIATION 0.01 /* of a step time from the sum of its parts */

/* Solves the symmetric positive definite 3 x 3 system by Cramer's rule. */
static void solve3(double m[3][3], const double y[3], double x[3]) {
  double cofactor[3][3];
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      const int a = (i + 1) % 3, b = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
      cofactor[i][j] = m[a][c] * m[b][d] - m[a][d] * m[b][c];
    }
  const double determinant =
      m[0][0] * cofactor[0][0] + m[0][1] * cofactor[0][1] + m[0][2] * cofactor[0][2];
  for (int j = 0; j < 3; j++)
    x[j] = (cofactor[0][j] * y[0] + cofactor[1][j] * y[1] + cofactor[2][j] * y[2]) / determinant;
}

calibration calibration_fit(const calibration_point *points, int count) {
  calibration c = {1, 1, 1, 0};
  double logs = 0;
  for (int i = 0; i < count; i++) {
    const cost_parts *p = points[i].parts;
    logs += log(points[i].seconds / (p->gemms + p->copies + p->passes));
    c.points++;
  }
  if (c.points == 0)
    return c;
  const double ratio = exp(logs / c.points);
  const double prior = 1 / (PRIOR_DEVIATION * PRIOR_DEVIATION * ratio * ratio);
  const double weight = 1 / (MODEL_DEVIATION * MODEL_DEVIATION);
  double matrix[3][3] = {{prior, 0, 0}, {0, prior, 0}, {0, 0, prior}};
  double right[3] = {prior * ratio, prior * ratio, prior * ratio}, factors[3];
  for (int i = 0; i < count; i++) {
    const cost_parts *p = points[i].parts;
    const double row[3] = {p->gemms / points[i].seconds, p->copies / points[i].seconds,
                           p->passes / points[i].seconds};
    for (int a = 0; a < 3; a++) {
      for (int b = 0; b < 3; b++)
        matrix[a][b] += weight * row[a] * row[b];
      right[a] += weight * row[a];
    }
  }
  solve3(matrix, right, factors);
  /* A factor far from the others is noise, and the solver takes no negative times. */
  c.gemms = fmin(fmax(factors[0], 0.25 * ratio), 4 * ratio);
  c.copies = fmin(fmax(factors[1], 0.25 * ratio), 4 * ratio);
  c.passes = fmin(fmax(factors[2], 0.25 * ratio), 4 * ratio);
  return c;
}
