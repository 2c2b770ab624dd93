/* What a training step carries from its loss to its optimizer. */
#ifndef MPTUNE_STEP_STATE_H
#define MPTUNE_STEP_STATE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Loss scale, overflow flag and optimizer step of a training step. Lives in the memory of the
 * device, so that no operation waits for the host. A caller without a session fills the first part
 * itself and leaves the rest zero. */
typedef struct mpt_step_state {
  float loss_scale;    /* what the loss gradient was multiplied by */
  int32_t overflow;    /* non-zero: a gradient is not finite, the update is skipped */
  int64_t applied;     /* optimizer steps applied so far; Adam's t is applied + 1 */
  float gradient_norm; /* of the unscaled gradients, before clipping */
  float clip;          /* factor by which the update multiplies unscaled gradients */

  /* The session's own, to be left alone. */
  int64_t first_step;           /* the number of the step that is counted first */
  int32_t pending;              /* the step before ended and is not counted yet: 1, or 2 when it had
                                   no gradients to look at */
  int32_t dynamic;              /* the loss scale moves */
  float floor, ceiling;         /* between which it does */
  int32_t at_floor;             /* it overflowed there: no loss scale helps */
  int64_t good_steps, interval; /* since it moved; after which it doubles */
  int64_t steps, skipped;       /* counted; of them, those whose update was skipped */
} mpt_step_state;

#ifdef __cplusplus
}
#endif
#endif
