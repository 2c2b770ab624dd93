/* What a session knows: its layers, the tensors they read, and every copy of them that a step can
 * make.
 *
 * A *source* is a tensor that operands are made from: an input (one for all layers that share its
 * name), a weight, or a grad_output. A *copy* is a source in one operand format. Copies are planned
 * at open, made when a GEMM first needs one, and serve every GEMM that wants that format until the
 * source changes: a microbatch for inputs and grad_outputs, a step for weights. Copies of weights
 * that the optimizer makes for the next step (weights.c) are there when it begins.
 *
 * Where the device's fp8 products want both operands with k along rows (mpt_gemm_wants_rows_of_k),
 * an fp8 copy has two parts, as the source lies and transposed, made in one pass.
 *
 * Weight copies, and parts of input copies that fprop leaves for wgrad, have memory of their own.
 * The others live in three areas of scratch, where making one forgets the one that was there.
 *
 * A layer may run several times in a micro-batch. A source has then one *generation* of values
 * after another: each pass knows the one that it read, and copies are those of the generation that
 * the source has now; a backward pass that needs those of another has them made again (calls.c).
 *
 * Scales, their histories, counters, the step's state and statistics lie in the workspace, in the
 * memory of the device: a step does not wait for the host. The host reads them when it is asked.
 */
#ifndef MPT_RUNTIME_PLAN_H
#define MPT_RUNTIME_PLAN_H

#include "base/error.h"
#include "mptune/ops.h"
#include "mptune/session.h"

typedef enum scratch_area {
  SCRATCH_INPUT,
  SCRATCH_DGRAD,
  SCRATCH_WGRAD,
  SCRATCH_COUNT
} scratch_area;

enum { SESSION_RING = 16 }; /* steps whose statistics wait on a GPU */

typedef enum part_kind { PART_ROWS, PART_TRANSPOSED, PART_COUNT } part_kind;

typedef struct copy_part {
  unsigned used_by; /* bit set of 1 << mpt_gemm_kind; 0: not wanted */
  size_t offset;    /* in the workspace */
  bool own_memory;  /* else in a scratch area */
  scratch_area area;
  bool valid;
} copy_part;

typedef struct operand_copy {
  int source;
  mpt_format format;
  mpt_scaling scaling; /* fp8 only, else zero */
  copy_part parts[PART_COUNT];
  size_t history;                 /* offset in the workspace; delayed scaling only */
  bool has_history;               /* the host knows that something is there, ... */
  bool will_have_history;         /* ... that it will be when the next training step begins */
  mpt_tensor offered[PART_COUNT]; /* of a weight: what the optimizer was given to write */
  bool comes;                     /* it makes the copy for the step that begins next, or ... */
  bool comes_measured;            /* ... only measures for it */
  bool measured;                  /* its amax came before this step began */
  uint64_t cast, cast_in_step;    /* elements since open, and in the step at hand or the last */
} operand_copy;

typedef struct operand_source {
  mpt_operand operand;
  int layer;             /* the first that reads it */
  int64_t rows, columns; /* at most; a weight's are exact */
  const void *data;      /* the tensor seen since it last changed, NULL before */
  bool scaled;           /* an fp8 copy with current scaling is made from it */
  uint64_t generation;   /* of an input's values; 0: none in this micro-batch */
  bool passed;         /* a backward pass has read it since: the next forward pass begins another */
  bool comes;          /* of a weight: the optimizer makes copies for the step that begins next, */
  bool lite_comes;     /* ... or its counts and extremes */
  bool collected;      /* statistics hold something of this step */
  bool collected_here; /* of this microbatch */
  mpt_tensor weight;   /* a weight that is looked at when the step ends, where ... */
  bool due;            /* ... it is due */
} operand_source;

/* A forward pass that waits for its backward pass. */
typedef struct layer_call {
  mpt_call token;      /* 0: free */
  uint64_t generation; /* of the input that it read */
} layer_call;

typedef struct session_layer {
  mpt_session_layer given;
  mpt_layer_policy policy;
  bool has_gemm;
  int64_t rows, n, k; /* output[rows, n] = input[rows, k] weight[n, k]^T */
  int sources[MPT_OPERAND_COUNT];
  int copies[MPT_GEMM_COUNT][2]; /* operand i of a GEMM; -1 where none is needed */
  layer_call *calls;             /* [call_count], in session->calls */
  int call_count;
  bool ran_alone;           /* mpt_linear_forward, without a token, in this micro-batch */
  mpt_call only;            /* the token that it keeps */
  uint64_t read_generation; /* of its input, last */
  int backward_passes;      /* in this micro-batch */
  mpt_tensor gradient; /* parameter gradient of the last backward pass, to find who overflowed */
} session_layer;

struct mpt_session {
  mpt_queue *queue;
  int layer_count, source_count, copy_count;
  session_layer *layers;
  operand_source *sources;
  operand_copy *copies;
  layer_call *calls;                        /* of all layers */
  uint64_t tokens, generations;             /* given so far */
  copy_part *scratch_holder[SCRATCH_COUNT]; /* NULL: nobody */
  int *backward_order;                      /* layers in the order of this step's backward pass */
  int backward_count;
  size_t workspace_bytes;
  char *workspace;
  mpt_step_state initial; /* state at open */

  /* In the workspace, device memory. */
  mpt_step_state *state;
  mpt_scale *scales;                 /* [copy_count] */
  mpt_statistics *source_statistics; /* [source_count] of this step, and one more: scratch */
  mpt_lite *source_lite;             /* [source_count] the same where lite ones are collected, */
                                     /* and else what current scales are taken from */
  mpt_lite *coming_lite; /* [source_count] of weights: the optimizer's, for the next step */
  char *ring; /* [ring_length][source_count] mpt_lite or mpt_statistics of steps before it */
  int64_t *overflows; /* [gradient_capacity] mpt_gradient_check's */
  size_t scales_offset, statistics_offset, lite_offset, coming_lite_offset;
  size_t ring_offset, overflows_offset;

  mpt_run_mode mode;
  bool in_step;
  bool prepared, prepared_plain; /* a product that was not is an error; so with MPT_RUN_PLAIN's */
  int64_t *prepared_rows;        /* [prepared_count], besides those planned */
  int prepared_count;
  bool began_with_copies;          /* of weights, from the optimizer: the step begun last here */
  bool pending;                    /* a step ended and mpt_step_begin has not counted it yet */
  int64_t step, first_step, ended; /* number of this step; of the first; how many ended */
  int gradient_capacity;
  const void **gradient_data; /* [gradient_capacity] the gradients of the last step ... */
  int *gradient_layer;        /* ... and the layers they belong to, -1 */
  mpt_session_report report;  /* what the host knows of it */

  mpt_statistics_mode statistics;
  int64_t statistics_every;
  bool collecting;            /* this step */
  bool lite_is_of_microbatch; /* source_lite holds nothing of another micro-batch of the step, */
  bool lite_is_clear;         /* nothing at all, of weights apart */
  /* Statistics stay on the device until the ring is full or somebody asks. */
  int ring_length, ring_used;                  /* 1 on the CPU */
  int64_t ring_steps[SESSION_RING], kept_step; /* whose they are, and those of the last step ... */
  bool kept;                                   /* ... which are not in the ring yet */
  mpt_collection *collections;                 /* [layer_count] room for the weights of a step */
  mpt_scale *scales_read; /* host [copy_count], where scales arrive that a step's end asks for */
  void *delivered;        /* host [ring_length][source_count] of either, where they arrive */
  mpt_statistics_sink *on_statistics;
  void *context;
};

/* plan.c: layers, sources, copies and their places in the workspace, from policies that are set.
 * On failure what was allocated is left for mpt_session_release. */
mpt_status mpt_session_plan(mpt_session *session, mpt_error *error);
void mpt_session_release(mpt_session *session);

/* scales.c: the scales' first values, into the workspace. */
mpt_status mpt_session_scales_start(mpt_session *session, mpt_error *error);
/* Gets the scale of an fp8 copy ready for a cast of `tensor`, and says what the cast adds to. */
mpt_status mpt_session_scale(mpt_session *session, operand_copy *copy, const mpt_tensor *tensor,
                             unsigned *flags, mpt_error *error);
/* Which histories hold something is decided on the device; what the host knows of it spares a pass.
 * learn: from all scales, as they are now; read: from the device, which is waited for. */
void mpt_session_scales_step_begin(mpt_session *session);
void mpt_session_scales_learn(mpt_session *session, const mpt_scale *scales);
mpt_status mpt_session_scales_read(mpt_session *session, mpt_error *error);

/* operand.c: operand `index` of a GEMM of a layer, made from `tensor` ([rows, columns]) if no valid
 * copy is there. *scale is where its inverse scale is, NULL for 1; *transposed whether the operand
 * is the transpose of the source. */
mpt_status mpt_session_operand(mpt_session *session, int layer, mpt_gemm_kind gemm, int index,
                               const mpt_tensor *tensor, mpt_tensor *operand, const float **scale,
                               bool *transposed, mpt_error *error);
/* Whether memory of one format can be read as another without a copy. */
bool mpt_session_readable_as(mpt_device_kind device, mpt_format stored, mpt_format operand);
/* A source got new values: forget its copies. */
void mpt_session_forget(mpt_session *session, int source);
void mpt_session_forget_operands(mpt_session *session); /* of all that are not weights */

/* calls.c: a forward pass begins, new (*call 0) or again: the input's source has its values, and
 * its copies are made of them. Of a new one in training *call becomes the token. */
mpt_status mpt_session_call_begin(mpt_session *session, int layer, const mpt_tensor *input,
                                  mpt_call *call, mpt_error *error);
/* The forward pass failed: it waits for nothing. */
void mpt_session_call_drop(mpt_session *session, int layer, mpt_call call);
/* Its backward pass begins: the source of the input is that of the pass. */
mpt_status mpt_session_call_return(mpt_session *session, int layer, mpt_call call,
                                   mpt_error *error);
/* All passes of the micro-batch are over. */
void mpt_session_calls_forget(mpt_session *session);
/* The same, and their operands. */
void mpt_session_forget_activations(mpt_session *session);
/* Whether some layer that reads the source runs more than once. */
bool mpt_session_runs_again(const mpt_session *session, int source);

/* prepared.c: whether products of so many rows of a layer are there, in a session that is prepared.
 */
mpt_status mpt_session_check_prepared(const mpt_session *session, int layer, int64_t rows,
                                      mpt_error *error);

/* session.c: what lies in the workspace begins with its first values. */
mpt_status mpt_session_start_workspace(mpt_session *session, mpt_error *error);

/* weights.c: a step begins: of copies of weights only those stay that the optimizer has made. */
void mpt_session_weights_begin(mpt_session *session);
/* Whether the optimizer has made any for the step that begins next. */
bool mpt_session_weights_come(const mpt_session *session);

/* loss_scale.c */
mpt_status mpt_loss_scale_open(mpt_session *session, mpt_loss_scale_policy policy, int64_t steps,
                               mpt_error *error);

/* watch.c: statistics of a step, and the first value that was not finite. */
mpt_status mpt_watch_operand(mpt_session *session, int layer, mpt_operand operand,
                             const mpt_tensor *tensor, mpt_error *error);
/* The weights of a step, all in one pass. */
mpt_status mpt_watch_weights(mpt_session *session, mpt_error *error);
/* The statistics of a step: cleared before it, kept after it, moved to the ring before the next. */
mpt_status mpt_watch_begin(mpt_session *session, mpt_error *error);
mpt_status mpt_watch_microbatch(mpt_session *session, mpt_error *error);
mpt_status mpt_watch_keep(mpt_session *session, int64_t step, mpt_error *error);
mpt_status mpt_watch_to_ring(mpt_session *session, mpt_error *error);
/* Hands over everything that is kept; waits for the device. */
mpt_status mpt_watch_deliver(mpt_session *session, mpt_error *error);
/* Where a source's writer adds what it sees of it, NULL when nobody asks. */
mpt_lite *mpt_watch_lite(mpt_session *session, int source);
/* Where the optimizer adds what it sees of a new weight, for the next step; NULL: it need not. */
mpt_lite *mpt_watch_lite_of_new_weight(mpt_session *session, const mpt_tensor *weight);
/* Weights have changed in another way since, or nobody asks for it. */
mpt_status mpt_watch_forget_new_weights(mpt_session *session, mpt_error *error);
/* The gradients that a step ends with: which layers they belong to. */
void mpt_watch_gradients(mpt_session *session, const mpt_tensor *const *gradients, int count);
/* The state as of now, with the step that ended last counted. */
mpt_status mpt_watch_state(const mpt_session *session, mpt_step_state *state, mpt_error *error);
/* Brings the report up to date from the device. */
mpt_status mpt_watch_refresh(mpt_session *session, mpt_error *error);

#endif
