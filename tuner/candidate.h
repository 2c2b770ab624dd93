/* A policy that the search looks at: one for each assignment and loss scale. */
#ifndef CANDIDATE_H
#define CANDIDATE_H

#include "tuner/cost.h"
#include "tuner/evidence.h"
#include "tuner/label.h"
#include "tuner/problem.h"
#include "tuner/step_times.h"

typedef struct candidate {
  mpt_layer_policy *assignment; /* [graph layers] */
  int *choice;                  /* [units]; NULL when it is not in the space (excluded, pinned) */
  mpt_loss_scale_policy loss_scale; /* the workload's, unless a policy file says another */
  char hash[65];                    /* of its canonical text: candidate_text */
  char label[LABEL_SIZE];
  bool uniform;
  mpt_precision precision; /* uniform ones */
  bool permitted;
  bool written;      /* was policy.yaml once */
  cost_parts cost;   /* at the priced size; `total` corrected by what was measured */
  double seconds;    /* a step: measured, else cost.total */
  timing timed;      /* what was measured of it, on the device at hand */
  char untimed[256]; /* why it could not be timed or trained here, or "" */
  double predicted;  /* increase, metric units, worse is positive, when it was chosen */
  int seed_count;    /* search seeds trained: 0..seed_count-1 of the reference's */
  double
      difference[WORKLOAD_MAX_SEEDS]; /* candidate - reference, worse is positive; Inf diverged */
  size_t memory_bytes;
  mpt_verdict verdict; /* of verification; unverified before it has looked */
  evidence seen;       /* what the records say: after a look of verification, and at the end */
} candidate;

void candidate_clear(candidate *c);
double candidate_mean(const candidate *c); /* of difference[]; NaN when none */

/* ---- candidate_identity.c ---- */
/* Without fp16 no loss is scaled, so that all scales are one: the workload's. */
mpt_loss_scale_policy candidate_scale(const problem *p, const mpt_layer_policy *assignment,
                                      mpt_loss_scale_policy scale);
/* One line for each layer that has a format: "name formats"; and one for the loss scale where it is
 * not the workload's, which all policies of a search have. Freed by the caller; NULL without
 * memory. */
char *candidate_text(const problem *p, const mpt_layer_policy *assignment,
                     mpt_loss_scale_policy scale);
/* What its training under that seed is kept under: a hash over everything that decides its result,
 * so that nothing is trained twice and a killed search replays its decisions from the store. */
void candidate_key(const problem *p, const candidate *c, uint64_t seed, char key[65]);

#endif
