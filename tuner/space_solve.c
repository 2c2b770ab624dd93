#include "base/error.h"
#include "tuner/space_relax.h"
#include <string.h>

mpt_status space_solve(const space *s, const graph *priced, const profile *p,
                       const optimizer_spec *optimizer, double *const *increase, double budget,
                       int *choice, frontier_solution *certificate, mpt_error *error) {
  mpt_status status = MPT_OK;
  space_problem sp = {.terms = {.space = s,
                                .graph = priced,
                                .profile = p,
                                .optimizer = optimizer,
                                .batches = (double)optimizer->accumulate},
                      .exact_states = EXACT_STATES,
                      .relaxed_states = RELAXED_STATES};
  MPT_TRY(terms_make(&sp.terms, error));
  MPT_TRY(problem_make(&sp, increase, error));
  if (sp.forgotten_count == 0)
    MPT_TRY(frontier_solve(&sp.problem, budget, FRONTIER_LABELS, certificate, error));
  else
    MPT_TRY(relax_solve(&sp, budget, certificate, error));
  memcpy(choice, certificate->choice, (size_t)s->unit_count * sizeof *choice);
fail:
  problem_free(&sp);
  return status;
}
