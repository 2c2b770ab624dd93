/* The solver against GLPK's branch and cut, on problems too large for brute force.
 *
 * x[i][c] = 1 when layer i has choice c; y[i][q][c] = 1 when layers i - 1 and i have q and c;
 * z[g][b] = 1 when a layer of group g needs copy b. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontier_problems.h"
#include <glpk.h>

typedef struct rows {
  int *row, *column; /* from 1, as GLPK wants them */
  double *value;
  int count, capacity;
} rows;

static void put(rows *r, int row, int column, double value) {
  if (r->count + 2 > r->capacity) {
    r->capacity = 2 * r->capacity + 1024;
    r->row = realloc(r->row, (size_t)r->capacity * sizeof(int));
    r->column = realloc(r->column, (size_t)r->capacity * sizeof(int));
    r->value = realloc(r->value, (size_t)r->capacity * sizeof(double));
  }
  r->count++;
  r->row[r->count] = row, r->column[r->count] = column, r->value[r->count] = value;
}

static int add_column(glp_prob *lp, double cost, int kind) {
  const int column = glp_add_cols(lp, 1);
  glp_set_col_bnds(lp, column, GLP_DB, 0.0, 1.0);
  glp_set_obj_coef(lp, column, cost);
  glp_set_col_kind(lp, column, kind);
  return column;
}

static int add_row(glp_prob *lp, int type, double bound) {
  const int row = glp_add_rows(lp, 1);
  glp_set_row_bnds(lp, row, type, bound, bound);
  return row;
}

/* Columns of x, [layer][choice], one after another; the first of layer i is first[i]. */
static void add_choices(glp_prob *lp, rows *r, const chain *p, double budget, int *first) {
  const int within = add_row(lp, GLP_UP, budget);
  for (int i = 0; i < p->layer_count; i++) {
    const int one = add_row(lp, GLP_FX, 1.0);
    for (int c = 0; c < p->choice_count[i]; c++) {
      const int x = add_column(lp, p->seconds[i][c], GLP_BV);
      if (c == 0)
        first[i] = x;
      put(r, one, x, 1.0);
      if (isinf(p->increase[i][c]))
        glp_set_col_bnds(lp, x, GLP_FX, 0.0, 0.0);
      else
        put(r, within, x, p->increase[i][c]);
    }
  }
}

static void add_conversions(glp_prob *lp, rows *r, const chain *p, const int *first) {
  for (int i = 1; i < p->layer_count; i++) {
    const int before = p->choice_count[i - 1], here = p->choice_count[i];
    const int from = glp_add_rows(lp, before + here), to = from + before;
    for (int k = 0; k < before + here; k++)
      glp_set_row_bnds(lp, from + k, GLP_FX, 0.0, 0.0);
    for (int q = 0; q < before; q++) {
      put(r, from + q, first[i - 1] + q, -1.0);
      for (int c = 0; c < here; c++) {
        const int y = add_column(lp, p->conversion[i][q][c], GLP_CV);
        put(r, from + q, y, 1.0);
        put(r, to + c, y, 1.0);
      }
    }
    for (int c = 0; c < here; c++)
      put(r, to + c, first[i] + c, -1.0);
  }
}

static void add_copies(glp_prob *lp, rows *r, const chain *p, const int *first) {
  for (int g = 0; g < p->group_count; g++)
    for (int bit = 0; bit < 6; bit++) {
      const int z = add_column(lp, p->copy_seconds[g][bit], GLP_CV);
      for (int i = 0; i < p->layer_count; i++) {
        if (p->group[i] != g)
          continue;
        const int row = add_row(lp, GLP_LO, 0.0); /* z >= the choices that need it */
        put(r, row, z, 1.0);
        for (int c = 0; c < p->choice_count[i]; c++)
          if (p->copies[i][c] >> bit & 1)
            put(r, row, first[i] + c, -1.0);
      }
    }
}

/* Least seconds, NaN when nothing is within the budget. */
static double oracle(const chain *p, double budget) {
  glp_prob *lp = glp_create_prob();
  rows r = {0};
  int *first = malloc((size_t)p->layer_count * sizeof *first);
  add_choices(lp, &r, p, budget, first);
  add_conversions(lp, &r, p, first);
  add_copies(lp, &r, p, first);
  glp_load_matrix(lp, r.count, r.row, r.column, r.value);
  glp_iocp options;
  glp_init_iocp(&options);
  options.msg_lev = GLP_MSG_ERR;
  options.presolve = GLP_ON;
  options.mip_gap = 0.0;
  const int failed = glp_intopt(lp, &options);
  const bool optimal = failed == 0 && glp_mip_status(lp) == GLP_OPT;
  assert_true(optimal || failed == GLP_ENOPFS || glp_mip_status(lp) == GLP_NOFEAS);
  const double seconds = optimal ? glp_mip_obj_val(lp) + p->fixed_seconds : NAN;
  glp_delete_prob(lp);
  free(r.row), free(r.column), free(r.value), free(first);
  return seconds;
}

static void agree(problem_kind kind, int problems) {
  gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);
  int possible = 0;
  for (int turn = 0; turn < problems; turn++) {
    chain p = chain_make(random, &kind);
    const double budget = kind.layers * kind.choices * 0.3 * gsl_rng_uniform(random);
    frontier_solution solution;
    const double seconds = oracle(&p, budget);
    frontier_problem problem = problem_of(&p);
    const mpt_status status = frontier_solve(&problem, budget, FRONTIER_LABELS, &solution, NULL);
    problem_free(&problem);
    assert_int_equal(status, isnan(seconds) ? MPT_ERROR_NOT_FOUND : MPT_OK);
    if (status == MPT_OK) {
      assert_true(solution.gap == 0.0);
      double counted, increase;
      chain_count(&p, solution.choice, &counted, &increase);
      assert_true(fabs(counted - seconds) < 1e-6); /* GLPK's tolerance */
      assert_true(increase <= budget);
      frontier_clear(&solution);
      possible++;
    }
    chain_free(&p);
  }
  assert_true(possible > problems / 2);
  gsl_rng_free(random);
}

static void test_chains(void **state) {
  (void)state;
  agree((problem_kind){.layers = 60, .choices = 5, .conversion = 1.0}, 6);
}

static void test_shared_copies(void **state) {
  (void)state;
  agree((problem_kind){.layers = 40, .choices = 5, .conversion = 1.0, .group_share = 0.8}, 6);
}

static void test_vetoes_and_many_choices(void **state) {
  (void)state;
  agree(
      (problem_kind){
          .layers = 8, .choices = 25, .conversion = 1.0, .group_share = 0.5, .veto_share = 0.3},
      4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chains),
      cmocka_unit_test(test_shared_copies),
      cmocka_unit_test(test_vetoes_and_many_choices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
