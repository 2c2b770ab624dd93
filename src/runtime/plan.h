/* What a session knows: its layers, the tensors they read, and every copy of them that a step can
 * make.
 *
 * A *source* is a tensor that operands are made from: an input (one for all layers that share its
 * name), a weight, or a grad_output. A *copy* is a source in one operand format. Copies are planned
 * at open, made when a GEMM first needs one, and serve every GEMM that wants that format until the
 * source changes: a microbatch for inputs and grad_outputs, a step for weights.
 *
 * Weight copies, and input copies that fprop leaves for wgrad, have memory of their own. The others
 * live in three areas of scratch, where making one forgets the one that was there.
 */
#ifndef MPT_RUNTIME_PLAN_H
#define MPT_RUNTIME_PLAN_H

#include "base/error.h"
#include "mptune/session.h"

typedef enum scratch_area {
  SCRATCH_INPUT,
  SCRATCH_DGRAD,
  SCRATCH_WGRAD,
  SCRATCH_COUNT
} scratch_area;

/* Largest amax of each of the last steps: delayed scaling (Micikevicius et al. 2022, "FP8 formats
 * for deep learning"; NVIDIA's Transformer Engine). */
typedef struct amax_history {
  uint32_t *bits; /* [length], a ring */
  int length, filled, next;
  uint32_t step; /* largest finite amax of this step */
  bool seen;     /* whether this step had one */
} amax_history;

typedef struct operand_copy {
  int source;
  mpt_format format;
  mpt_scaling scaling; /* fp8 only, else zero */
  unsigned used_by;    /* bit set of 1 << mpt_gemm_kind */
  size_t offset;       /* in the workspace */
  bool own_memory;     /* else in a scratch area */
  scratch_area area;
  bool valid;
  int exponent; /* the copy holds round(source * 2^exponent) */
  amax_history history;
  uint64_t saturated, vanished, cast; /* elements since open */
} operand_copy;

typedef struct operand_source {
  mpt_operand operand;
  int layer;             /* the first that reads it */
  int64_t rows, columns; /* at most; a weight's are exact */
  const void *data;      /* the tensor seen since it last changed, NULL before */
  bool amax_known;
  uint32_t amax_bits;
  bool collected;      /* statistics hold something of this step */
  bool collected_here; /* of this microbatch */
  mpt_statistics statistics;
} operand_source;

typedef enum layer_progress { LAYER_IDLE, LAYER_FORWARD, LAYER_BACKWARD } layer_progress;

typedef struct session_layer {
  mpt_session_layer given;
  mpt_layer_policy policy;
  bool has_gemm;
  int64_t rows, n, k; /* output[rows, n] = input[rows, k] weight[n, k]^T */
  int sources[MPT_OPERAND_COUNT];
  int copies[MPT_GEMM_COUNT][2]; /* operand i of a GEMM; -1 for fp32, which needs none */
  layer_progress progress;
  mpt_tensor gradient; /* parameter gradient of the last backward pass, to find who overflowed */
} session_layer;

typedef struct loss_scale_state {
  bool dynamic;
  float scale; /* of the next step; the device's state has this step's */
  float floor, ceiling;
  int64_t good_steps, interval;
} loss_scale_state;

struct mpt_session {
  mpt_queue *queue;
  int layer_count, source_count, copy_count;
  session_layer *layers;
  operand_source *sources;
  operand_copy *copies;
  int scratch_holder[SCRATCH_COUNT]; /* copy, -1 */
  int *backward_order;               /* layers in the order of this step's backward pass */
  int backward_count;
  size_t workspace_bytes;
  char *workspace;
  mpt_step_state *state; /* at the start of the workspace */

  mpt_run_mode mode;
  bool in_step, update_pending; /* update_pending: the last step's update counts when the next
                                   begins, after the optimizer has used `applied` */
  int64_t step;
  loss_scale_state loss_scale;
  mpt_session_report report;

  mpt_statistics_mode statistics;
  int64_t statistics_every;
  bool collecting; /* this step */
  mpt_statistics scratch_statistics;
  mpt_statistics_sink *on_statistics;
  void *context;
};

/* plan.c: layers, sources, copies and their places in the workspace, from policies that are set.
 * On failure what was allocated is left for session_release. */
mpt_status session_plan(mpt_session *session, mpt_error *error);
void session_release(mpt_session *session);

/* operand.c: the operand `index` of a GEMM of a layer, made from `tensor` ([rows, columns]) if no
 * valid copy is there. The value of *operand is the source's times 2^*exponent. */
mpt_status session_operand(mpt_session *session, int layer, mpt_gemm_kind gemm, int index,
                           const mpt_tensor *tensor, mpt_tensor *operand, int *exponent,
                           mpt_error *error);
/* A source got new values: forget its copies and amax. */
void session_forget(mpt_session *session, int source);
void session_forget_activations(mpt_session *session);
void session_forget_all(mpt_session *session);

/* scales.c */
mpt_status session_scale_exponent(mpt_session *session, operand_copy *copy,
                                  const mpt_tensor *tensor, int *exponent, mpt_error *error);
void session_scales_step_end(mpt_session *session);

/* loss_scale.c */
mpt_status loss_scale_open(mpt_session *session, mpt_loss_scale_policy policy, int64_t steps,
                           mpt_error *error);
void loss_scale_move(mpt_session *session, bool overflow);
int loss_scale_blame(mpt_session *session);

/* watch.c: statistics of a step, and the first value that was not finite. */
mpt_status watch_operand(mpt_session *session, int layer, mpt_operand operand,
                         const mpt_tensor *tensor, mpt_error *error);
void watch_nonfinite(mpt_session *session, int layer, mpt_operand operand);
void watch_deliver(mpt_session *session);

#endif
