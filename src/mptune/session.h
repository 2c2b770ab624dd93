/* What a training program holds: a policy applied to its layers.
 *
 *   mpt_session_open        match the policy against the layers, plan every copy
 *   mpt_session_set_workspace
 *   mpt_session_prepare     everything that takes time, memory or a file
 *   for each step:
 *     mpt_session_step_begin
 *     mpt_linear_forward ... loss, scaled by mpt_session_state ... mpt_linear_backward
 *     mpt_session_step_end  looks at the gradients, says whether to update
 *     your optimizer          leaves the weights alone where state->overflow is set
 *
 * Once a session is prepared nothing inside a step allocates, locks, touches a file or waits for
 * the device, so that a step can be captured in a CUDA graph.
 */
#ifndef MPTUNE_SESSION_H
#define MPTUNE_SESSION_H

#include "mptune/policy.h"
#include "mptune/statistics.h"
#include "mptune/step_state.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mpt_session mpt_session;

typedef enum mpt_statistics_mode {
  MPT_STATISTICS_OFF,
  MPT_STATISTICS_LITE,
  MPT_STATISTICS_FULL
} mpt_statistics_mode;

typedef enum mpt_run_mode {
  MPT_RUN_TRAIN,    /* copies are kept for the backward pass, scales follow the data */
  MPT_RUN_EVALUATE, /* forward only, in the policy's formats, delayed scales frozen */
  MPT_RUN_PLAIN     /* forward only, every GEMM in fp32: the same weights without the policy */
} mpt_run_mode;

/* One linear-like layer of the caller's model: output[rows, n] = input[rows, k] weight[n, k]^T. */
typedef struct mpt_session_layer {
  mpt_layer_info info;
  /* Layers with the same non-empty input name read the same tensor: it is cast once for all of
   * them. They must run in the same step after it changed, and be given that tensor. */
  char input_name[MPT_MAX_NAME];
  /* How input and grad_output are stored, where that is known: no memory is planned for copies of
   * what a product can read as it is. Calls with another format are then errors, but in
   * MPT_RUN_PLAIN. */
  bool formats_known;
  mpt_format input_format, grad_output_format;
  /* Of the tensors that are given as the weight: fp32, or bf16 or fp16 where the caller keeps fp32
   * masters and makes the weight from them. Its gradient is fp32 all the same. */
  mpt_format weight_format;
  /* How many forward passes of the layer may wait for their backward pass at one time, 1 by default
   * (0): more where it runs several times in a step, as a shared module, in a pipeline, and where
   * activations are recomputed. See mpt_call. */
  int calls;
  uint64_t reserved[4]; /* 0 */
} mpt_session_layer;

/* Delivered for every layer and operand seen in a step with statistics on: on the CPU as the step
 * ends; a GPU, which is not waited for, keeps those of up to 17 steps, until mpt_session_deliver or
 * a report asks for them. */
typedef void mpt_statistics_sink(void *context, int64_t step, int layer, mpt_operand operand,
                                 const mpt_statistics *statistics);

typedef struct mpt_session_config {
  uint32_t struct_size;
  mpt_queue *queue;                   /* borrowed, for the life of the session */
  const mpt_policy *policy;           /* read during open only; or NULL and assignment */
  const mpt_layer_policy *assignment; /* resolved formats, one per layer, read during open only */
  mpt_loss_scale_policy loss_scale;   /* unless the policy says another */
  const mpt_resolve_options *resolve; /* read during open only; NULL: the default */
  int64_t steps;                  /* planned: the loss scale doubles after min(2000, steps/10) */
  mpt_statistics_mode statistics; /* of steps where step % statistics_every == 0 */
  int64_t statistics_every;
  mpt_statistics_sink *on_statistics; /* may be NULL */
  void *context;
} mpt_session_config;
MPT_API mpt_session_config mpt_session_config_default(void);

/* Layers of kind "linear" and "conv2d" have a GEMM; a convolution's weight is [out, ...], and its
 * input here the lowered one. Layers of other kinds may be listed too; only their names and formats
 * are used. The caller closes the session. */
MPT_API mpt_status mpt_session_open(const mpt_session_config *config,
                                    const mpt_session_layer *layers, int count,
                                    mpt_session **session, mpt_error *error);
MPT_API void mpt_session_close(mpt_session *session); /* NULL is allowed */

/* Device bytes the session works in. The caller supplies them, 256-byte aligned, before the first
 * step, and keeps them for the session's life. */
MPT_API size_t mpt_session_workspace_bytes(const mpt_session *session);
MPT_API mpt_status mpt_session_set_workspace(mpt_session *session, void *workspace, size_t bytes,
                                             mpt_error *error);

/* Everything of a session that takes long, and that a step must not do: every product is tried out,
 * as its layers' policy, formats and sizes will ask for it, with and without a bias, into a
 * grad_input that is written and one that is added to; kernels are loaded, memory is taken, files
 * of earlier choices are read and written, and the device is waited for. Once, after
 * mpt_session_set_workspace and before the first step; values of the session are as before. From
 * then on a product that was not prepared is MPT_ERROR_UNPREPARED: one of other rows, or of tensors
 * whose rows are not contiguous or not aligned to 16 bytes. While it runs it takes memory for the
 * input, the output and the weight of the largest layer in fp32. A session that is not prepared
 * does these things in the step that needs them first. */
typedef struct mpt_prepare_options {
  uint32_t struct_size; /* sizeof(mpt_prepare_options), set by _default() */
  const int64_t *rows;  /* besides those planned, for every layer where they are fewer */
  int rows_count;
  bool plain; /* the products of MPT_RUN_PLAIN too; default: not */
} mpt_prepare_options;
MPT_API mpt_prepare_options mpt_prepare_options_default(void);
/* `options` may be NULL. */
MPT_API mpt_status mpt_session_prepare(mpt_session *session, const mpt_prepare_options *options,
                                       mpt_error *error);

/* The index of a layer, -1 when there is none of that name. */
MPT_API int mpt_session_find(const mpt_session *session, const char *name);
MPT_API const mpt_layer_policy *mpt_session_layer_policy(const mpt_session *session, int layer);
/* Storage format of the layer's output, and of the grad_input it writes. In MPT_RUN_PLAIN outputs
 * are fp32. */
MPT_API mpt_format mpt_session_output_format(const mpt_session *session, int layer);
MPT_API mpt_format mpt_session_grad_input_format(const mpt_session *session, int layer);

/* Whether the layer's backward pass needs no values of `input`, but a copy that the forward pass
 * left in the workspace: the caller may use the input's memory for something else in between. */
MPT_API bool mpt_session_keeps_input(const mpt_session *session, int layer);

/* Between steps; forgets all copies. A forward pass needs an open step in every mode: to evaluate
 * many batches, begin one step and call mpt_session_microbatch before each batch, so that weights
 * are cast once. The other modes move neither scales nor counters. */
MPT_API mpt_status mpt_session_set_mode(mpt_session *session, mpt_run_mode mode, mpt_error *error);
/* Between steps; another choice than there is forgets what the optimizer made. */
MPT_API mpt_status mpt_session_set_statistics(mpt_session *session, mpt_statistics_mode mode,
                                              int64_t every, mpt_error *error);
/* Whether statistics are collected in that step. */
MPT_API bool mpt_session_collects(const mpt_session *session, int64_t step);
/* Hands what has not been delivered to on_statistics, and learns which histories of delayed scales
 * hold something: until it knows, a GPU is asked in every step. Waits for the device. Between
 * steps.
 */
MPT_API mpt_status mpt_session_deliver(mpt_session *session, mpt_error *error);

/* ---- a step ---- */
/* `step` counts from 0. Forgets all copies, of weights too but those that the optimizer made for
 * this step (mpt_session_offer_copies of mptune/ops.h); resets the overflow flag; the state gets
 * the loss scale of this step and counts the update of the step before as applied. */
MPT_API mpt_status mpt_session_step_begin(mpt_session *session, int64_t step, mpt_error *error);
/* Between micro-batches of one step (gradient accumulation): forgets copies of activations. */
MPT_API mpt_status mpt_session_microbatch(mpt_session *session, mpt_error *error);
/* The state of the step, in device memory, with what to multiply the gradient of the loss by: hand
 * it to the loss operations. NULL without a workspace. */
MPT_API const mpt_step_state *mpt_session_state(const mpt_session *session);
/* That loss scale, 1 unless a gradient is fp16. After step_end, that of the next step. Waits for
 * the device: a step needs only mpt_session_state. */
MPT_API float mpt_session_loss_scale(const mpt_session *session);

/* Where the counts and extremes of an operand are due in this step, for lite statistics or for the
 * current scale of an fp8 copy: set it as the `lite` of the tensor before the operation that writes
 * it last, and of the tensor that the layer is then given, and they are collected in the pass that
 * writes, not in one of their own. At most once for each tensor. NULL: none are due. Sets no flag:
 * the layer looks at a tensor without it itself, with the same results. */
MPT_API mpt_lite *mpt_session_lite(mpt_session *session, int layer, mpt_operand operand);

/* output[rows, n] = input[rows, k] weight[n, k]^T + bias[n], in the layer's fprop formats; rounded
 * to output's format, which is mpt_session_output_format. rows may be at most the planned. The
 * weight stays as it is, and where it is, until the step ends: then its statistics are collected.
 */
MPT_API mpt_status mpt_linear_forward(mpt_session *session, int layer, const mpt_tensor *input,
                                      const mpt_tensor *weight, const mpt_tensor *bias,
                                      const mpt_tensor *output, mpt_error *error);
/* grad_input[rows, k] = grad_output weight (dgrad; NULL to leave out, `accumulate_input` to add);
 * grad_weight[n, k] += grad_output^T input (wgrad; fp32; NULL to leave out);
 * grad_bias[n] += sum of grad_output (fp32; NULL to leave out). `input` is the forward pass's. */
MPT_API mpt_status mpt_linear_backward(mpt_session *session, int layer,
                                       const mpt_tensor *grad_output, const mpt_tensor *input,
                                       const mpt_tensor *weight, const mpt_tensor *grad_input,
                                       bool accumulate_input, const mpt_tensor *grad_weight,
                                       const mpt_tensor *grad_bias, mpt_error *error);

/* A forward pass that waits for its backward pass, for layers that run more than once in a step: 0
 * is none; a token is good until the backward pass that it is given to, the next micro-batch or the
 * end of the step. At most mpt_session_layer.calls of a layer may wait at one time. */
typedef uint64_t mpt_call;
/* mpt_linear_forward. *call 0 is a new pass, and becomes its token; the token of one that waits is
 * that pass again, recomputed from the same values: statistics count it once. Copies that the
 * layers of an input name share are shared by passes of theirs that follow each other. */
MPT_API mpt_status mpt_linear_forward_call(mpt_session *session, int layer, const mpt_tensor *input,
                                           const mpt_tensor *weight, const mpt_tensor *bias,
                                           const mpt_tensor *output, mpt_call *call,
                                           mpt_error *error);
/* mpt_linear_backward of that pass, in any order. `input` has the values that it had in the forward
 * pass: where another pass came in between, they are cast again. */
MPT_API mpt_status mpt_linear_backward_call(mpt_session *session, int layer, mpt_call call,
                                            const mpt_tensor *grad_output, const mpt_tensor *input,
                                            const mpt_tensor *weight, const mpt_tensor *grad_input,
                                            bool accumulate_input, const mpt_tensor *grad_weight,
                                            const mpt_tensor *grad_bias, mpt_error *error);

/* Looks at the gradients, moves the loss scale and the histories of amax,
 * delivers statistics. The state is in device memory and belongs to the session: hand it to the
 * optimizer operations before the next step begins. `state` may be NULL. In the modes that only go
 * forward it ends the step and looks at nothing. */
MPT_API mpt_status mpt_session_step_end(mpt_session *session, const mpt_tensor *const *gradients,
                                        int count, float max_norm, const mpt_step_state **state,
                                        mpt_error *error);

/* Forgets what the optimizer made. Call it between steps when weights change in another way (they
 * are loaded, averaged, moved). mpt_session_set_mode, mpt_session_set_state and, with another
 * choice, mpt_session_set_statistics do. */
MPT_API mpt_status mpt_session_forget_weights(mpt_session *session, mpt_error *error);

/* A step that the device is about to run again from a recording (mpt_queue_replay) which holds one
 * from mpt_session_step_begin to the optimizer: what the host keeps of a step. The recorded step
 * must have collected statistics just as this one does (mpt_session_collects, the mode unchanged):
 * keep two recordings, and call mpt_session_deliver before making one (and after the first step, so
 * that the recorded one need not look for histories that have begun). If it began with copies that
 * the optimizer had made, so must this one. Recordings made before mpt_session_set_state are of no
 * use after it. */
MPT_API mpt_status mpt_session_step_again(mpt_session *session, int64_t step, mpt_error *error);

/* ---- what happened ---- */
typedef struct mpt_layer_counters {
  uint64_t saturated[MPT_OPERAND_COUNT]; /* by casts to fp8 and fp16 since open, by operand */
  uint64_t vanished[MPT_OPERAND_COUNT];
  uint64_t cast[MPT_OPERAND_COUNT]; /* elements cast to a format narrower than storage; a copy
                                       that several layers share counts for each */
} mpt_layer_counters;
MPT_API mpt_status mpt_session_counters(const mpt_session *session, int layer,
                                        mpt_layer_counters *counters, mpt_error *error);

typedef struct mpt_session_report {
  int64_t steps, skipped; /* steps ended, and those whose update was skipped */
  float loss_scale;
  bool loss_scale_at_floor; /* no loss scale helps */
  int blamed_layer;         /* whose gradient overflowed first at the last skip, -1 */
  int64_t nonfinite_step;   /* first step with a non-finite value seen, -1: by statistics, by an fp8
                               scale, or in gradients that no dynamic loss scale governs */
  int nonfinite_layer;      /* and its first layer */
  mpt_operand nonfinite_operand;
} mpt_session_report;
/* Waits for the device; what cannot be read from it stays as it was last known. */
MPT_API mpt_session_report mpt_session_get_report(mpt_session *session);

/* ---- checkpoints ---- */
/* What a session carries from step to step (steps applied, loss scale, histories of amax), to save
 * beside the weights: a run that is continued with it gives the same bits. Between steps. Opaque
 * bytes for this machine, of a size fixed at open; setting what another plan saved is
 * MPT_ERROR_MISMATCH. */
MPT_API size_t mpt_session_state_bytes(const mpt_session *session);
MPT_API mpt_status mpt_session_get_state(const mpt_session *session, void *bytes, size_t size,
                                         mpt_error *error);
MPT_API mpt_status mpt_session_set_state(mpt_session *session, const void *bytes, size_t size,
                                         mpt_error *error);
/* The same for a run that goes on under another policy: of what that policy's session saved, this
 * one takes the count of steps applied (Adam corrects by it) and, where that one had a loss scale
 * and this one moves its own, the loss scale; histories of amax only where the plan is the same.
 * The others begin with the tensors of the next step, as at a start. `size` is the saved bytes'. */
MPT_API mpt_status mpt_session_adopt_state(mpt_session *session, const void *bytes, size_t size,
                                           mpt_error *error);

#ifdef __cplusplus
}
#endif
#endif
