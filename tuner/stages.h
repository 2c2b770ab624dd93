/* The stages of a search. Each looks into the ledger for what it needs and asks for what is not
 * there (requests.h); called again, it goes on as far as what was told since lets it, and asks
 * again for what is still missing. One that asks for nothing is done. What it has done so far is in
 * the ledger, the model, and a small position of its own. */
#ifndef STAGES_H
#define STAGES_H

#include "tuner/requests.h"
#include "tuner/search_clock.h"
#include "tuner/timing.h"

/* ---- reference.c ---- */
mpt_status stage_reference(const problem *p, ledger *l, model *m, requests *out, mpt_error *error);

/* ---- observe.c ---- */
/* Asks for the instrumented run of the reference under `seed`. */
mpt_status ask_observation(const problem *p, const ledger *l, uint64_t seed, requests *out,
                           mpt_error *error);

/* ---- adjust.c ---- */
typedef struct adjusting {
  enum {
    ADJUST_TIME_UNIFORM, /* the uniform policies are timed */
    ADJUST_TRY_UNIFORM,  /* and tried, from the fastest on */
    ADJUST_TRY_BASELINE, /* rules that other tools go by */
    ADJUST_FIT,
    ADJUST_PROPOSE /* what the model promises most from, again and again */
  } at;
  candidate *uniform[MPT_PRECISION_COUNT];
  int uniform_count, next;
  candidate *baseline;
  candidate *trying; /* NULL: none */
} adjusting;
mpt_status stage_adjust(const problem *p, ledger *l, model *m, search_clock *k, adjusting *a,
                        requests *out, mpt_error *error);
/* The same again after `c` did not pass verification, which taught something. */
mpt_status adjust_again(model *m, const candidate *c, adjusting *a, mpt_error *error);

/* ---- verification.c ---- */
typedef struct verifying {
  enum { VERIFY_LIST, VERIFY_TIME, VERIFY_PAIRS, VERIFY_ADJUST, VERIFY_OVER } at;
  int looked;       /* at so many policies */
  candidate **list; /* [count]: those to be looked at, in their order */
  int count;
  turns turns;
  int tried, finished; /* pairs of the first of them */
  adjusting adjust;
  candidate *winner; /* NULL: nothing permitted passes */
} verifying;
mpt_status stage_verify(const problem *p, ledger *l, model *m, search_clock *k, verifying *v,
                        requests *out, mpt_error *error);
void verifying_clear(verifying *v);
/* ---- evaluate_policies.c ---- */
/* Policies that were given, under the seeds of the reference. */
typedef struct given_policies {
  const tuner_policy *policies; /* [count]; borrowed */
  int count;
  candidate **candidates; /* [count], once they are resolved */
  char (*labels)[LABEL_SIZE];
} given_policies;
mpt_status stage_given(const problem *p, ledger *l, model *m, given_policies *g, requests *out,
                       mpt_error *error);
void given_policies_clear(given_policies *g);

/* ---- dry_run.c ---- */
/* A few steps of the reference, unless one is too long to be tried. */
mpt_status stage_dry_run(const problem *p, const ledger *l, requests *out, mpt_error *error);
/* What a search would evaluate, and about how long that takes. */
mpt_status dry_run_plan(const problem *p, const ledger *l, tuner_summary *summary,
                        mpt_error *error);

/* ---- trial.c: a policy under the reference's seeds ---- */
/* *taken is false while its training under its next seed is not there. */
mpt_status try_seed(const problem *p, ledger *l, model *m, candidate *c, requests *out, bool *taken,
                    mpt_error *error);
const char *trial_purpose(const candidate *c);

#endif
