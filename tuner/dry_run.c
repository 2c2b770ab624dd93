/* What a search would evaluate, and about how long that takes; writes nothing. */
#include "base/error.h"
#include "base/shown.h"
#include "tuner/search.h"
#include <math.h>
#include <string.h>

#define DRY_STEPS      8    /* trained to see how long a step takes here */
#define DRY_CANDIDATES 8    /* trainings of candidates in a short search */
#define DRY_OPERATIONS 1e12 /* of a step that is not even tried on a CPU */

/* Multiplications and additions in the GEMMs of a step. */
static double operations(const search *s) {
  double sum = 0;
  for (int i = 0; i < s->problem.graph->layer_count; i++) {
    const graph_gemm *gemm = &s->problem.graph->layers[i].gemm;
    if (s->problem.graph->layers[i].has_gemm)
      sum += 6.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
  }
  return sum * (double)s->problem.workload->optimizer.accumulate;
}

/* The time of a training in the reference's format: tried for a few steps. NaN: not tried. */
static mpt_status dry_seconds(search *s, double *run, mpt_error *error) {
  evaluation_request r =
      search_request(s, &s->ledger.reference, REQUEST_TRAIN, s->problem.options->seed, "");
  evaluation_record record;
  *run = NAN;
  if (strcmp(s->problem.place.backend, "cpu") == 0 && operations(s) > DRY_OPERATIONS)
    return MPT_OK;
  r.steps = s->problem.steps < DRY_STEPS ? s->problem.steps : DRY_STEPS;
  MPT_RETURN_IF_FAILED(search_carry_out(s, &r, "", &record, error));
  *run = record.evaluation.host_seconds * (double)s->problem.steps;
  evaluation_record_clear(&record);
  return MPT_OK;
}

/* "0.031", "140" */
static void add_seconds(mpt_text *text, double seconds) {
  mpt_text_addf(text, seconds < 10 ? "%.2g" : "%.0f", seconds);
}

/* Emulated formats take up to twice as long as the reference's. */
static void plan_seconds(const search *s, double run, tuner_plan *p) {
  const bool emulated = strcmp(s->problem.place.backend, "cpu") == 0;
  p->training_seconds = run;
  p->least_seconds = run * (p->references + DRY_CANDIDATES + 2 * p->least_pairs);
  p->most_seconds = (emulated ? 2 : 1) * run * (p->references + p->candidates + 2 * p->most_pairs);
}

static void add_times(const search *s, const tuner_plan *p, mpt_text *text) {
  const bool emulated = strcmp(s->problem.place.backend, "cpu") == 0;
  mpt_text_add(text, "a training takes about ");
  add_seconds(text, p->training_seconds);
  mpt_text_addf(text, " s here in the reference's format%s: ",
                emulated ? ", up to twice that in emulated ones" : "");
  add_seconds(text, p->least_seconds);
  mpt_text_add(text, " to ");
  add_seconds(text, p->most_seconds);
  mpt_text_add(text, " s in all, where one policy is verified");
}

static mpt_status plan_text(const search *s, const tuner_plan *p, char **message,
                            mpt_error *error) {
  mpt_text text = {0};
  mpt_text_addf(&text, "%d layers, %d of them with a format to choose; %lld steps a training\n",
                p->layers, p->units, (long long)p->steps);
  mpt_text_addf(&text, "%d trainings of the reference, at most %d of candidates\n", p->references,
                p->candidates);
  mpt_text_addf(&text, "then %d to %d pairs for each policy that is verified\n", p->least_pairs,
                p->most_pairs);
  if (isnan(p->training_seconds))
    mpt_text_addf(&text,
                  "a step has %.2g operations: too many to try it on this processor (a GPU: "
                  "--backend cuda)",
                  operations(s));
  else
    add_times(s, p, &text);
  if (text.failed)
    return mpt_fail_memory(error, "the plan", 0);
  *message = text.data;
  return MPT_OK;
}

mpt_status search_dry_run(search *s, tuner_summary *summary, mpt_error *error) {
  double run;
  MPT_RETURN_IF_FAILED(dry_seconds(s, &run, error));
  tuner_plan *p = &summary->plan;
  *p = (tuner_plan){.layers = s->problem.graph->layer_count,
                    .units = s->problem.space->unit_count,
                    .steps = s->problem.steps,
                    .references = s->problem.workload->reference_seeds,
                    .candidates = s->problem.options->max_evaluations,
                    .least_pairs = verify_look_sizes[0],
                    .most_pairs = s->problem.options->pairs};
  plan_seconds(s, run, p);
  summary->found = true;
  return plan_text(s, p, &summary->message, error);
}
