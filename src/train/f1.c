/* f1: of class 1 where there are two classes, of the one target of a binary loss with one output,
 * else the mean over classes that occur (macro).
 *
 * Of a class, F = A / B over m rows: a row adds 2 to A where the class was said and is there, and
 * to B one for each of said and is. Near these counts F moves as the mean of x = F + (a - F b) m /
 * B over the rows, which is F itself here: so f1 is a mean over rows as accuracy is, to first
 * order. */
#include "train/judgements.h"

static int64_t occurs(const judgements *j, int64_t c) { /* B */
  const int64_t *n = &j->counts[3 * c];
  return 2 * n[0] + n[1] + n[2];
}

bool f1_counts(const judgements *j, int64_t c) {
  if (j->classes == 2)
    return c == 1;
  return j->classes == 1 || occurs(j, c) > 0;
}

static double f1_of_class(const judgements *j, int64_t c) {
  const int64_t all = occurs(j, c);
  return all > 0 ? 2.0 * (double)j->counts[3 * c] / (double)all : 0.0;
}

static int64_t counted(const judgements *j) {
  int64_t classes = 0;
  for (int64_t c = 0; c < j->classes; c++)
    classes += f1_counts(j, c);
  return classes;
}

double f1_of(const judgements *j) {
  const int64_t classes = counted(j);
  double sum = 0.0;
  for (int64_t c = 0; c < j->classes; c++)
    sum += f1_counts(j, c) ? f1_of_class(j, c) : 0.0;
  return classes > 0 ? sum / (double)classes : 0.0;
}

/* (a - F b) / B of class c; B of a class that never occurs as if it did once. */
static double share(const judgements *j, int64_t c, bool said, bool is) {
  if (!f1_counts(j, c))
    return 0.0;
  const int64_t all = occurs(j, c);
  const double a = said && is ? 2.0 : 0.0, b = (double)said + (double)is;
  return (a - f1_of_class(j, c) * b) / (double)(all > 0 ? all : 1);
}

static double share_of_labels(const judgements *j, int64_t said, int64_t is) {
  return said == is ? share(j, is, true, true)
                    : share(j, said, true, false) + share(j, is, false, true);
}

void f1_contributions(const judgements *j, float *contributions) {
  const double f1 = f1_of(j);
  const int64_t classes = counted(j);
  const double scale = classes > 0 ? (double)j->rows / (double)classes : 0.0;
  for (int64_t r = 0; r < j->rows; r++) {
    double x = 0.0;
    if (!j->targets)
      x = share_of_labels(j, j->labels[2 * r], j->labels[2 * r + 1]);
    for (int64_t c = 0; j->targets && c < j->classes; c++) {
      const uint8_t v = j->verdicts[r * j->classes + c];
      x += share(j, c, v & 1, v & 2);
    }
    contributions[r] = (float)(f1 + scale * x);
  }
}

double f1_unit(const judgements *j) {
  const int64_t classes = counted(j);
  double most = 0.0, wrong[2] = {0.0, 0.0}; /* what saying a class wrongly costs: the two worst */
  int64_t worst = -1;
  for (int64_t c = 0; c < j->classes; c++) {
    const double cost = -share(j, c, true, false);
    if (cost > wrong[0])
      wrong[1] = wrong[0], wrong[0] = cost, worst = c;
    else if (cost > wrong[1])
      wrong[1] = cost;
  }
  for (int64_t c = 0; c < j->classes; c++) {
    /* A row of class c, said to be so, or not; and then, of labels, said to be another. */
    double change = share(j, c, true, true) - share(j, c, false, true);
    if (!j->targets)
      change += wrong[c == worst];
    else if (wrong[0] > change)
      change = wrong[0];
    most = change > most ? change : most;
  }
  return classes > 0 ? most * (double)j->rows / (double)classes : 0.0;
}
