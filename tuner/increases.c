/* The model's predictions as a table, made anew for whoever asks. */
#include "base/error.h"
#include "tuner/model.h"
#include <math.h>
#include <stdlib.h>

void increases_free(increases *all) {
  for (int u = 0; all->of != NULL && u < all->unit_count; u++)
    free(all->of[u]);
  free(all->of);
  *all = (increases){0};
}

static mpt_status make_room(const space *s, increases *out, mpt_error *error) {
  *out = (increases){.unit_count = s->unit_count};
  out->of = calloc((size_t)s->unit_count + 1, sizeof *out->of);
  if (out->of == NULL)
    return mpt_fail_memory(error, "predicted increases", 0);
  for (int u = 0; u < s->unit_count; u++) {
    out->of[u] = calloc((size_t)s->units[u].choice_count + 1, sizeof(double));
    if (out->of[u] == NULL)
      return mpt_fail_memory(error, "predicted increases", 0);
  }
  return MPT_OK;
}

mpt_status model_increases(const model *m, const problem *p, double optimism, increases *out,
                           mpt_error *error) {
  const space *s = p->space;
  MPT_RETURN_IF_FAILED(make_room(s, out, error));
  for (int u = 0; u < s->unit_count; u++)
    for (int c = 0; c < s->units[u].choice_count; c++)
      if (sensitivity_veto(m->sensitivity, u, &s->units[u].choices[c]) != NULL)
        out->of[u][c] = INFINITY;
  return predictor_increases(m->predictor, optimism, out->of, error);
}

double increases_total(const increases *all, const int *choice) {
  double sum = 0;
  for (int u = 0; choice != NULL && u < all->unit_count; u++)
    sum += all->of[u][choice[u]];
  return sum;
}

mpt_status model_predict(const model *m, const problem *p, const candidate *c, double *increase,
                         mpt_error *error) {
  increases all;
  const mpt_status status = model_increases(m, p, 0, &all, error);
  if (status == MPT_OK)
    *increase = increases_total(&all, c->choice);
  increases_free(&all);
  return status;
}
