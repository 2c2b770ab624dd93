/* What a search would evaluate, and about how long that takes; writes nothing. */
#include "base/error.h"
#include "tuner/stages.h"
#include <math.h>
#include <string.h>

#define DRY_STEPS      8    /* trained to see how long a step takes here */
#define DRY_CANDIDATES 8    /* trainings of candidates in a short search */
#define DRY_OPERATIONS 1e12 /* of a step that is not even tried on a CPU */

/* Multiplications and additions in the GEMMs of a step. */
static double operations(const problem *p) {
  double sum = 0;
  for (int i = 0; i < p->graph->layer_count; i++) {
    const graph_gemm *gemm = &p->graph->layers[i].gemm;
    if (p->graph->layers[i].has_gemm)
      sum += 6.0 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
  }
  return sum * (double)p->workload->optimizer.accumulate;
}

/* Whether a step is short enough to be tried. */
static bool is_tried(const problem *p) {
  return strcmp(p->place.backend, "cpu") != 0 || operations(p) <= DRY_OPERATIONS;
}

mpt_status stage_dry_run(const problem *p, const ledger *l, requests *out, mpt_error *error) {
  const uint64_t seed = p->options->seed;
  if (!is_tried(p) || ledger_training(l, &l->reference, seed) != NULL)
    return MPT_OK;
  evaluation_request r = request_of(p, &l->reference, REQUEST_TRAIN, seed, "");
  r.steps = p->steps < DRY_STEPS ? p->steps : DRY_STEPS;
  return requests_add(out, &r, &l->reference, error);
}

/* "0.031", "140" */
static void add_seconds(mpt_text *text, double seconds) {
  mpt_text_addf(text, seconds < 10 ? "%.2g" : "%.0f", seconds);
}

/* Emulated formats take up to twice as long as the reference's. */
static void plan_seconds(const problem *p, double run, tuner_plan *plan) {
  const bool emulated = strcmp(p->place.backend, "cpu") == 0;
  plan->training_seconds = run;
  plan->least_seconds = run * (plan->references + DRY_CANDIDATES + 2 * plan->least_pairs);
  plan->most_seconds =
      (emulated ? 2 : 1) * run * (plan->references + plan->candidates + 2 * plan->most_pairs);
}

static void add_times(const problem *p, const tuner_plan *plan, mpt_text *text) {
  const bool emulated = strcmp(p->place.backend, "cpu") == 0;
  mpt_text_add(text, "a training takes about ");
  add_seconds(text, plan->training_seconds);
  mpt_text_addf(text, " s here in the reference's format%s: ",
                emulated ? ", up to twice that in emulated ones" : "");
  add_seconds(text, plan->least_seconds);
  mpt_text_add(text, " to ");
  add_seconds(text, plan->most_seconds);
  mpt_text_add(text, " s in all, where one policy is verified");
}

static mpt_status plan_text(const problem *p, const tuner_plan *plan, char **message,
                            mpt_error *error) {
  mpt_text text = {0};
  mpt_text_addf(&text, "%d layers, %d of them with a format to choose; %lld steps a training\n",
                plan->layers, plan->units, (long long)plan->steps);
  mpt_text_addf(&text, "%d trainings of the reference, at most %d of candidates\n",
                plan->references, plan->candidates);
  mpt_text_addf(&text, "then %d to %d pairs for each policy that is verified\n", plan->least_pairs,
                plan->most_pairs);
  if (isnan(plan->training_seconds))
    mpt_text_addf(&text,
                  "a step has %.2g operations: too many to try it on this processor (a GPU: "
                  "--backend cuda)",
                  operations(p));
  else
    add_times(p, plan, &text);
  if (text.failed)
    return mpt_fail_memory(error, "the plan", 0);
  *message = text.data;
  return MPT_OK;
}

mpt_status dry_run_plan(const problem *p, const ledger *l, tuner_summary *summary,
                        mpt_error *error) {
  const training *tried = ledger_training(l, &l->reference, p->options->seed);
  const double run = tried == NULL ? NAN : tried->host_seconds * (double)p->steps;
  tuner_plan *plan = &summary->plan;
  *plan = (tuner_plan){.layers = p->graph->layer_count,
                       .units = p->space->unit_count,
                       .steps = p->steps,
                       .references = p->workload->reference_seeds,
                       .candidates = p->options->max_evaluations,
                       .least_pairs = verify_look_sizes[0],
                       .most_pairs = p->options->pairs};
  plan_seconds(p, run, plan);
  summary->found = true;
  return plan_text(p, plan, &summary->message, error);
}
