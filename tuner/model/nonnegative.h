/* Nonnegative least squares with a normal prior, few observations and many unknowns:
 *
 *   minimise  1/2 (theta - m)' D^-1 (theta - m) + 1/2 (y - X theta)' V^-1 (y - X theta)
 *   subject to  theta_g >= 0 where `bounded` says so
 *
 * D diagonal. All linear algebra is in the space of the n observations: with the free unknowns F,
 *
 *   K = X_F D_F X_F' + V,   alpha = K^-1 (y - X_F m_F),   theta_F = m_F + D_F X_F' alpha
 *
 * and the gradient at a bound is -m_g / D_g - x_g' alpha, which is not negative at the optimum. A
 * primal active set finds it (Lawson and Hanson 1974, chapter 23); strictly convex, so it ends.
 */
#ifndef NONNEGATIVE_H
#define NONNEGATIVE_H

#include "mptune/status.h"
#include <gsl/gsl_matrix.h>
#include <stdbool.h>

typedef struct nonnegative_problem {
  int unknowns, observations;
  const double *mean;     /* m, [unknowns], >= 0 where bounded */
  const double *variance; /* D, [unknowns], > 0 */
  const bool *bounded;    /* [unknowns] */
  const double *x;        /* [unknowns][observations] */
  const double *y;        /* [observations] */
  const gsl_matrix *v;    /* [observations][observations], positive definite */
} nonnegative_problem;

typedef struct nonnegative_solution {
  double *theta;      /* [unknowns] */
  bool *free;         /* [unknowns]: not held at 0 */
  double *alpha;      /* [observations] */
  gsl_matrix *factor; /* Cholesky's of K at the optimum */
  double residual;    /* of the Karush-Kuhn-Tucker conditions, from theta alone: gradients by
                         sqrt(D_g), signs and products; 0 at the optimum */
  int steps;
} nonnegative_solution;

mpt_status nonnegative_solve(const nonnegative_problem *problem, nonnegative_solution *solution,
                             mpt_error *error);
void nonnegative_clear(nonnegative_solution *solution);

#endif
