#include "tuner/model.h"
#include "base/error.h"

void model_open(model *m, const problem *p) {
  *m = (model){.equal_time = SEARCH_EQUAL_TIME, .prices = *p->profile};
}

void model_close(model *m) {
  predictor_close(m->predictor);
  sensitivity_free(m->sensitivity);
  *m = (model){0};
}

mpt_status model_price(const model *m, const problem *p, const mpt_layer_policy *assignment,
                       cost_parts *parts, mpt_error *error) {
  return cost_predict(p->priced, &m->prices, &p->workload->optimizer, assignment, parts, error);
}

mpt_status model_fit(model *m, const ledger *l, mpt_error *error) {
  sensitivity_fit(m->sensitivity, l, m->margin, m->noise);
  sensitivity_priors(m->sensitivity, m->margin, m->predictor);
  return sensitivity_note(m->sensitivity, l, error);
}

mpt_status stage_sensitivity(const problem *p, const ledger *l, model *m, mpt_error *error) {
  MPT_RETURN_IF_FAILED(predictor_open(p->space, &m->predictor, error));
  MPT_RETURN_IF_FAILED(sensitivity_load(p, l, m->reference_mean, &m->sensitivity, error));
  return model_fit(m, l, error);
}
