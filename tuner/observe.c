/* Stage 2: one instrumented run of the reference. Full statistics of every layer and operand at
 * sampled steps, the last ones included, and at others the measurements that sensitivity scores are
 * made of. The run is the reference's first seed: instrumentation changes no result. */
#include "tuner/stages.h"

#define OBSERVE_SAMPLES 8 /* steps with statistics, about */
#define PROBE_SAMPLES   6 /* steps with sensitivity measurements, about */

mpt_status ask_observation(const problem *p, const ledger *l, uint64_t seed, requests *out,
                           mpt_error *error) {
  if (ledger_training(l, &l->reference, seed) != NULL)
    return MPT_OK;
  evaluation_request r = request_of(p, &l->reference, REQUEST_OBSERVE, seed, "reference");
  /* steps - 1 is a multiple of neither in general; the trainer samples its last step as well. */
  r.instruments.statistics_every = p->steps > OBSERVE_SAMPLES ? p->steps / OBSERVE_SAMPLES : 1;
  r.instruments.probe_every = p->steps > PROBE_SAMPLES ? p->steps / PROBE_SAMPLES : 1;
  candidate_key(p, &l->reference, seed, r.key);
  return requests_add(out, &r, &l->reference, error);
}
