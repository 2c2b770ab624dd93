/* UNSTABLE: what is declared here may change with every version, without a new name.
 * mptune/mptune.h leaves it out; whoever includes it builds against one version.
 *
 * Operations on tensors, run on a queue.
 *
 * Shapes are checked here, once, for every backend. Arithmetic is fp32; an output is rounded to its
 * tensor's format, so `output.format` is the storage format of the edge. Inputs may have any
 * format. Unless said otherwise an output may not overlap an input. An operation that the queue's
 * backend lacks gives MPT_ERROR_UNSUPPORTED and is named; an empty tensor gives MPT_ERROR_SHAPE.
 * Sums are taken in an order that depends on shapes and the queue's threads alone, so results
 * repeat bit for bit.
 *
 * Where an output's `lite` is set, the counts and extremes of what was written are added there, as
 * by mpt_collect_lite: by mpt_copy, mpt_cast, mpt_add, mpt_accumulate_tensor, mpt_gemm, and the
 * operations of layers and losses, of the tensors they write for each sample (not of parameter
 * gradients).
 *
 * Everything that an operation reads or writes lies in the memory of the queue's device: besides
 * tensors the ids, labels, losses, counts, statistics, scales and states that pointers lead to
 * (mpt_memory_upload, mpt_memory_download). So no operation waits for the device. What is wrong
 * with the data itself, a label out of range say, is found where the operation runs: the CPU's
 * returns the error, on a GPU mpt_queue_synchronize does.
 */
#ifndef MPTUNE_OPS_H
#define MPTUNE_OPS_H

#include "mptune/statistics.h"
#include "mptune/step_state.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mpt_activation { MPT_RELU, MPT_SIGMOID, MPT_TANH, MPT_GELU } mpt_activation;
typedef enum mpt_pooling { MPT_POOL_MAX, MPT_POOL_AVERAGE } mpt_pooling;

typedef struct mpt_cast_counts {
  uint64_t count;
  uint64_t saturated; /* finite magnitudes above the limit, and infinities */
  uint64_t vanished;  /* non-zero values that became zero, of either sign */
} mpt_cast_counts;

/* The scale of a tensor's copy in a narrow format, a power of two, and what it rests on. In device
 * memory; `history` leads to device memory too. */
typedef struct mpt_scale {
  float inverse; /* 2^-e: what a GEMM multiplies its product by; first, where mpt_gemm wants it */
  float scale;   /* 2^e: the copy holds round(x * scale) */
  int32_t format;
  float max_finite;       /* of the format */
  int32_t delayed;        /* from the history if it holds anything, else from the tensor itself */
  int32_t margin;         /* delayed: binades left free above the largest amax seen */
  int32_t length;         /* of the history */
  int32_t filled, next;   /* entries in use, and where the next goes */
  uint32_t *history;      /* amax bits of the last steps, a ring; NULL unless delayed */
  uint32_t amax_bits;     /* largest of what was measured or cast in this step */
  int32_t nonfinite;      /* whether any of it was Inf or NaN, in any step so far */
  int64_t nonfinite_step; /* and the first such step */
  mpt_cast_counts counts; /* of all casts that count */
  uint32_t coming_bits;   /* amax of the values of the next step, where its producer has seen it */
  int32_t comes;          /* whether it has */
} mpt_scale;

/* ---- memory ---- */
MPT_API mpt_status mpt_fill(mpt_queue *queue, const mpt_tensor *x, float value, mpt_error *error);
/* y = x, rounded to y's format; same shape. x may be y. */
MPT_API mpt_status mpt_copy(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                            mpt_error *error);
/* y += x */
MPT_API mpt_status mpt_accumulate_tensor(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                                         mpt_error *error);
/* out = a + b: a residual connection. `out` may be `a` or `b`. */
MPT_API mpt_status mpt_add(mpt_queue *queue, const mpt_tensor *a, const mpt_tensor *b,
                           const mpt_tensor *out, mpt_error *error);

/* ---- conversion and statistics ---- */
/* y = round(x * 2^scale_exponent) to y's format, fp8 saturating; adds to `counts` unless it is NULL
 * what was cast, saturated and vanished. */
MPT_API mpt_status mpt_cast(mpt_queue *queue, const mpt_tensor *x, int scale_exponent,
                            const mpt_tensor *y, mpt_cast_counts *counts, mpt_error *error);
/* Sets scale and inverse from the amax of x itself (mpt_scale_exponent, no margin), and moves
 * scale->amax_bits up to it. A delayed scale takes it, with its margin, while its history is empty,
 * and is left alone otherwise; its amax_bits are mpt_quantize's to move. */
MPT_API mpt_status mpt_scale_measure(mpt_queue *queue, const mpt_tensor *x, mpt_scale *scale,
                                     mpt_error *error);
/* The same from the extremes that whoever wrote x collected of it and of nothing else. */
MPT_API mpt_status mpt_scale_from_lite(mpt_queue *queue, const mpt_lite *lite, mpt_scale *scale,
                                       mpt_error *error);

enum {
  MPT_QUANTIZE_COUNT = 1, /* add to scale->counts */
  MPT_QUANTIZE_AMAX = 2   /* move scale->amax_bits up to the amax of x */
};
/* y = round(x * scale->scale), y_transposed its transpose: one pass over x [rows, columns] makes
 * both. Either may be NULL; both have scale->format. */
MPT_API mpt_status mpt_quantize(mpt_queue *queue, const mpt_tensor *x, mpt_scale *scale,
                                unsigned flags, const mpt_tensor *y, const mpt_tensor *y_transposed,
                                mpt_error *error);
/* *amax_bits = integer maximum over the magnitude bits of x; 0x7f800000 Inf, above it NaN. */
MPT_API mpt_status mpt_amax(mpt_queue *queue, const mpt_tensor *x, uint32_t *amax_bits,
                            mpt_error *error);
/* Counts and extremes; with `full` also histogram and sums. */
MPT_API mpt_status mpt_collect(mpt_queue *queue, const mpt_tensor *x, bool full,
                               mpt_statistics *statistics, mpt_error *error);
/* Adds the counts and extremes of x to `lite`. */
MPT_API mpt_status mpt_collect_lite(mpt_queue *queue, const mpt_tensor *x, mpt_lite *lite,
                                    mpt_error *error);
/* A contiguous tensor, and where what is collected of it goes: added to `lite`, or `full`, as
 * above.
 */
typedef struct mpt_collection {
  const mpt_tensor *x;
  mpt_lite *lite;       /* or NULL */
  mpt_statistics *full; /* or NULL */
} mpt_collection;
/* What mpt_collect_lite, or mpt_collect in full, finds in each of `count` tensors, in one pass over
 * all: of one kind, and each with a place of its own. */
MPT_API mpt_status mpt_collect_all(mpt_queue *queue, const mpt_collection *collections, int count,
                                   mpt_error *error);
/* Adds what `from` holds to `into`, as mpt_statistics_merge does; clears `from`. */
MPT_API mpt_status mpt_merge_statistics(mpt_queue *queue, mpt_statistics *into,
                                        mpt_statistics *from, mpt_error *error);
/* Sum over the finite elements of (round(x*2^e)/2^e - x)^2 and of x^2, for signal to noise in
 * `format`. Infinite when a value overflows to infinity. */
MPT_API mpt_status mpt_quantization_error(mpt_queue *queue, const mpt_tensor *x, mpt_format format,
                                          int scale_exponent, double *error_squared,
                                          double *signal_squared, mpt_error *error);

/* What is between x and y, both [rows, columns]: sums in double. */
typedef struct mpt_comparison {
  double difference_squared; /* sum of (y - x)^2 */
  double signal_squared;     /* sum of x^2 */
  double slope;              /* sum over rows of <g, y - x>, where g is given; else 0 */
  double slope_squared;      /* sum over rows of <g, y - x>^2 */
} mpt_comparison;
/* `gradient` is shaped as x, or NULL. */
MPT_API mpt_status mpt_compare(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                               const mpt_tensor *gradient, mpt_comparison *result,
                               mpt_error *error);

/* ---- GEMM ---- */
/* out[m,n] = alpha * scale_a * scale_b * op(a)[m,k] * op(b)[k,n] + beta * out (+ bias[n]),
 * accumulated in fp32, where op transposes when asked. a and b hold values of their formats; both
 * 16- or 32-bit and alike, or both fp8 and not both e5m2: MPT_ERROR_ARGUMENT otherwise. tf32
 * operands are rounded by the caller (mpt_cast). `fast` allows fp8 sums the width that tensor cores
 * prefer; the CPU's are fp32 either way. */
typedef struct mpt_gemm_args {
  const mpt_tensor *a, *b, *out;
  const mpt_tensor *bias; /* [n] fp32, or NULL */
  bool transpose_a, transpose_b;
  bool fast;
  float alpha, beta;
  const float *scale_a, *scale_b; /* one float each, as mpt_scale.inverse, on a GPU 16-byte
                                     aligned; NULL: 1 */
  bool prepared; /* only as it has run before: MPT_ERROR_UNPREPARED where an algorithm would be
                    chosen or memory taken for it */
} mpt_gemm_args;
/* Whether fp8 products of this queue want op(a) [m,k] and op(b) [k,n] such that k runs along rows
 * of memory in both (a not transposed, b transposed), as on Hopper's tensor cores: whoever makes
 * the copies makes transposed ones too. Other layouts work and are slower. */
MPT_API bool mpt_gemm_wants_rows_of_k(const mpt_queue *queue);
MPT_API mpt_status mpt_gemm(mpt_queue *queue, const mpt_gemm_args *args, mpt_error *error);
/* A product to be timed: out[m,n] (+)= op(a)[m,k] op(b)[k,n] (+ bias[n]), as in mpt_gemm_args. A
 * forward pass has transpose_b, and a step's wgrad (16- and 32-bit) transpose_a. */
typedef struct mpt_gemm_shape {
  int64_t m, n, k;
  mpt_format a, b, out;
  bool transpose_a, transpose_b, bias, accumulate, fast;
} mpt_gemm_shape;
/* Measures what the product of mpt_gemm takes: the median on random operands. What a bias that the
 * product does not take as it is costs in a kernel of its own is not in it. Takes memory for the
 * operands and waits. MPT_ERROR_UNSUPPORTED where the device has no such product, and on the CPU.
 */
MPT_API mpt_status mpt_gemm_time(mpt_queue *queue, const mpt_gemm_shape *product, double *seconds,
                                 mpt_error *error);
/* grad_bias[n] = sum over rows of grad[m,n] (+ grad_bias when `accumulate`). */
MPT_API mpt_status mpt_bias_backward(mpt_queue *queue, const mpt_tensor *grad,
                                     const mpt_tensor *grad_bias, bool accumulate,
                                     mpt_error *error);

/* ---- layers ---- */
/* y[r,:] = table[ids[r],:] + position[r % T,:]; `position` [T,C] may be NULL. ids in [0, vocab). */
MPT_API mpt_status mpt_embedding_forward(mpt_queue *queue, const int32_t *ids,
                                         const mpt_tensor *table, const mpt_tensor *position,
                                         const mpt_tensor *y, mpt_error *error);
/* Adds into grad_table [V,C] and grad_position [T,C] (NULL allowed), in fp32. */
MPT_API mpt_status mpt_embedding_backward(mpt_queue *queue, const int32_t *ids,
                                          const mpt_tensor *grad_y, const mpt_tensor *grad_table,
                                          const mpt_tensor *grad_position, mpt_error *error);

/* y[r,:] = gamma * (x[r,:] - mean_r) * rstd_r + beta over the last dimension C. mean and rstd
 * [rows] are written for the backward pass; biased variance, rstd = 1/sqrt(var + epsilon). */
MPT_API mpt_status mpt_layernorm_forward(mpt_queue *queue, const mpt_tensor *x,
                                         const mpt_tensor *gamma, const mpt_tensor *beta,
                                         float epsilon, const mpt_tensor *y, const mpt_tensor *mean,
                                         const mpt_tensor *rstd, mpt_error *error);
/* Writes grad_x (+ grad_x when `accumulate`); adds into grad_gamma and grad_beta. */
MPT_API mpt_status mpt_layernorm_backward(mpt_queue *queue, const mpt_tensor *grad_y,
                                          const mpt_tensor *x, const mpt_tensor *gamma,
                                          const mpt_tensor *mean, const mpt_tensor *rstd,
                                          const mpt_tensor *grad_x, bool accumulate,
                                          const mpt_tensor *grad_gamma, const mpt_tensor *grad_beta,
                                          mpt_error *error);

/* GELU is the tanh approximation, as in GPT-2. Backward takes x and y: gelu reads x alone,
 * the others y alone. */
MPT_API mpt_status mpt_activation_forward(mpt_queue *queue, mpt_activation kind,
                                          const mpt_tensor *x, const mpt_tensor *y,
                                          mpt_error *error);
MPT_API mpt_status mpt_activation_backward(mpt_queue *queue, mpt_activation kind,
                                           const mpt_tensor *x, const mpt_tensor *y,
                                           const mpt_tensor *grad_y, const mpt_tensor *grad_x,
                                           mpt_error *error);

/* Over the last dimension. */
MPT_API mpt_status mpt_softmax_forward(mpt_queue *queue, const mpt_tensor *x, const mpt_tensor *y,
                                       mpt_error *error);
MPT_API mpt_status mpt_softmax_backward(mpt_queue *queue, const mpt_tensor *y,
                                        const mpt_tensor *grad_y, const mpt_tensor *grad_x,
                                        mpt_error *error);

/* Scaled dot-product attention, y = softmax(q k^T / sqrt(C/heads)) v per batch element and head.
 * q, k, v and y are [B, T, C], rows may be strided views (one packed [B,T,3C] tensor as three
 * views). `format` (fp32, tf32, bf16, fp16) is what the operands of both products are rounded to;
 * probabilities too. Softmax is fp32. `lse` [B, heads, T] is written for the backward pass. No
 * T x T matrix outlives a block. */
typedef struct mpt_attention_args {
  const mpt_tensor *query, *key, *value;
  const mpt_tensor *y;
  const mpt_tensor *lse;
  int heads;
  bool causal;
  mpt_format format;
} mpt_attention_args;
MPT_API mpt_status mpt_attention_forward(mpt_queue *queue, const mpt_attention_args *args,
                                         mpt_error *error);
MPT_API mpt_status mpt_attention_backward(mpt_queue *queue, const mpt_attention_args *args,
                                          const mpt_tensor *grad_y, const mpt_tensor *grad_query,
                                          const mpt_tensor *grad_key, const mpt_tensor *grad_value,
                                          mpt_error *error);

/* Images are [B, C, H, W] (NCHW). columns is [B*OH*OW, C*KH*KW], zero where padding is read;
 * OH = (H + 2*padding - KH)/stride + 1, likewise OW. col2im adds overlaps into grad_x. */
typedef struct mpt_window {
  int kernel_height, kernel_width, stride, padding;
} mpt_window;
MPT_API mpt_status mpt_im2col(mpt_queue *queue, const mpt_tensor *x, mpt_window window,
                              const mpt_tensor *columns, mpt_error *error);
MPT_API mpt_status mpt_col2im(mpt_queue *queue, const mpt_tensor *columns, mpt_window window,
                              const mpt_tensor *grad_x, mpt_error *error);
/* [B*H*W, C] rows to [B, C, H, W] and back: what a convolution's GEMM needs around it. */
MPT_API mpt_status mpt_rows_to_image(mpt_queue *queue, const mpt_tensor *rows,
                                     const mpt_tensor *image, mpt_error *error);
MPT_API mpt_status mpt_image_to_rows(mpt_queue *queue, const mpt_tensor *image,
                                     const mpt_tensor *rows, mpt_error *error);
/* Padding counts as -inf for max and is left out of the average. Ties of max go to the first. */
MPT_API mpt_status mpt_pool_forward(mpt_queue *queue, mpt_pooling kind, const mpt_tensor *x,
                                    mpt_window window, const mpt_tensor *y, mpt_error *error);
MPT_API mpt_status mpt_pool_backward(mpt_queue *queue, mpt_pooling kind, const mpt_tensor *x,
                                     mpt_window window, const mpt_tensor *grad_y,
                                     const mpt_tensor *grad_x, mpt_error *error);

/* y = x * keep / (1 - p), keep drawn by Philox4x32-10 keyed by (seed, step, layer) at the element's
 * index, so that it can be drawn again: the backward pass is the same call on the gradient. */
typedef struct mpt_dropout_key {
  uint64_t seed, step;
  uint32_t layer;
} mpt_dropout_key;
MPT_API mpt_status mpt_dropout(mpt_queue *queue, const mpt_tensor *x, float probability,
                               mpt_dropout_key key, const mpt_tensor *y, mpt_error *error);

/* ---- losses: the mean over rows, and its gradient times `scale` and state->loss_scale ---- */
/* `state` may be NULL: a loss scale of 1. */
/* logits [rows, classes], labels [rows] in [0, classes). *loss and *correct (rows whose largest
 * logit is the label) may be NULL, and so may grad_logits, which may be `logits`. A label out of
 * range is MPT_ERROR_ARGUMENT. */
MPT_API mpt_status mpt_cross_entropy(mpt_queue *queue, const mpt_tensor *logits,
                                     const int32_t *labels, float scale,
                                     const mpt_step_state *state, double *loss, int64_t *correct,
                                     const mpt_tensor *grad_logits, mpt_error *error);
/* Cross-entropy of probabilities (a softmax layer's output): -log max(y[label], 2^-126). */
MPT_API mpt_status mpt_nll(mpt_queue *queue, const mpt_tensor *probabilities, const int32_t *labels,
                           float scale, const mpt_step_state *state, double *loss, int64_t *correct,
                           const mpt_tensor *grad_probabilities, mpt_error *error);
/* Binary cross-entropy of logits [rows, n] against targets [rows, n] in [0, 1]; mean over all. */
MPT_API mpt_status mpt_binary_cross_entropy(mpt_queue *queue, const mpt_tensor *logits,
                                            const mpt_tensor *targets, float scale,
                                            const mpt_step_state *state, double *loss,
                                            const mpt_tensor *grad_logits, mpt_error *error);
/* Mean squared error over all elements. */
MPT_API mpt_status mpt_mean_squared_error(mpt_queue *queue, const mpt_tensor *outputs,
                                          const mpt_tensor *targets, float scale,
                                          const mpt_step_state *state, double *loss,
                                          const mpt_tensor *grad_outputs, mpt_error *error);

/* The curvature of the (mean) loss H in its outputs, by random signs: u has mean 0 and, over the
 * keys, E[u u'] = H (scale loss_scale)^2 / divisor, the divisor being rows for the losses of
 * labels and elements for the others. So divisor <u, d>^2 is an unbiased estimate of d' H d, and
 * what the backward pass makes of u the same for any tensor before it (Gauss-Newton). Signs rather
 * than labels drawn from the outputs: where a network is sure of itself, the curvature rests on
 * labels that are hardly ever drawn. Of the nll H is its mean over labels as the probabilities say.
 * Keyed as mpt_dropout, by the element's index in row-major order; u may be `outputs`. */
typedef enum mpt_curvature {
  MPT_CURVATURE_CROSS_ENTROPY,
  MPT_CURVATURE_NLL,
  MPT_CURVATURE_BINARY, /* of mpt_binary_cross_entropy */
  MPT_CURVATURE_SQUARED /* of mpt_mean_squared_error */
} mpt_curvature;
MPT_API mpt_status mpt_curvature_signs(mpt_queue *queue, mpt_curvature kind,
                                       const mpt_tensor *outputs, float scale,
                                       const mpt_step_state *state, mpt_dropout_key key,
                                       const mpt_tensor *u, mpt_error *error);

/* ---- optimizers: fp32 master weights, predicated on state->overflow == 0 ---- */
/* Looks at all gradients: sets state->overflow, gradient_norm (of gradients / loss_scale) and clip
 * = min(1, max_norm / norm), 1 when max_norm is 0. Where gradient i is not finite and `overflows`
 * is not NULL, overflows[i] becomes state->steps + 1. */
MPT_API mpt_status mpt_gradient_check(mpt_queue *queue, const mpt_tensor *const *gradients,
                                      int count, float max_norm, mpt_step_state *state,
                                      int64_t *overflows, mpt_error *error);
/* A new step: counts the one before when it is pending (applied and good_steps, or skipped), moves
 * the loss scale, pushes each scale's amax_bits into its history and takes its scale from there,
 * notes what was not finite; then clears overflow and clip, and amax_bits becomes coming_bits: that
 * sets a scale which is not delayed or whose history is empty, if it came. An amax of zero, or one
 * that is not finite, stays out of the history. `count` scales. */
MPT_API mpt_status mpt_step_begin(mpt_queue *queue, mpt_step_state *state, mpt_scale *scales,
                                  int count, mpt_error *error);
/* g = clip * grad / loss_scale + weight_decay * w; m = momentum * m + g; w -= learning_rate * m.
 * `momentum_buffer` may be NULL when momentum is 0. learning_rate_factor as in mpt_adam_args. */
MPT_API mpt_status mpt_sgd_step(mpt_queue *queue, const mpt_tensor *weight,
                                const mpt_tensor *gradient, const mpt_tensor *momentum_buffer,
                                float learning_rate, const float *learning_rate_factor,
                                float momentum, float weight_decay, const mpt_step_state *state,
                                mpt_error *error);
/* Adam (Kingma and Ba 2015, algorithm 1), weight decay added to the gradient, or decoupled as in
 * AdamW (Loshchilov and Hutter 2019, algorithm 2). */
typedef struct mpt_adam_args {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  bool decoupled;
  const float *learning_rate_factor; /* in device memory: multiplies learning_rate; NULL: 1 */
} mpt_adam_args;
MPT_API mpt_status mpt_adam_step(mpt_queue *queue, const mpt_tensor *weight,
                                 const mpt_tensor *gradient, const mpt_tensor *first_moment,
                                 const mpt_tensor *second_moment, const mpt_adam_args *args,
                                 const mpt_step_state *state, mpt_error *error);

/* A copy of a weight for the next step, made from the new weight whether or not the update was
 * skipped: round(weight * s), fp8 saturating, where s is 1 without a scale; with one, what
 * mpt_step_begin will set it to if it is delayed and its history will not be empty, else what it
 * is. Flags are mpt_quantize's, but the amax goes to coming_bits. Without tensors it is only
 * measured. */
typedef struct mpt_weight_copy {
  const mpt_tensor *tensor;     /* shaped as the weight, contiguous; or NULL */
  const mpt_tensor *transposed; /* fp8 [k, n] of a weight of n rows, contiguous; or NULL */
  mpt_scale *scale;             /* or NULL */
  unsigned flags;               /* 0 without a scale */
} mpt_weight_copy;

/* One parameter of a whole step: fp32 and contiguous. */
typedef struct mpt_adam_parameter {
  const mpt_tensor *weight, *gradient, *first_moment, *second_moment;
  float weight_decay;        /* instead of mpt_adam_args' */
  mpt_weight_copy copies[2]; /* all zero: none */
  mpt_lite *lite; /* of the new weight, added whether or not the update was skipped; or NULL */
} mpt_adam_parameter;
/* mpt_adam_step on every parameter, their copies and their counts and extremes in the same pass. */
MPT_API mpt_status mpt_adam_steps(mpt_queue *queue, const mpt_adam_parameter *parameters, int count,
                                  const mpt_adam_args *args, const mpt_step_state *state,
                                  mpt_error *error);

/* ---- with a session (mptune/session.h) ---- */
typedef struct mpt_session mpt_session;
/* Between a training step's end and mpt_adam_steps, on the parameters that are about to be given to
 * it: fills `copies` of each that is a weight which this step's products read in a narrow format,
 * so that the optimizer makes the copy that the next step will read (for fp8 with current scaling,
 * finds its amax), and the next step need not read the weight in fp32; and `lite` where every step
 * collects lite statistics, so that the next step's are found there too (and are delivered though
 * no layer should read the weight in it). The memory belongs to the session. Results are the same
 * bits as without; casts count where they are made, so mpt_layer_counters are ahead by those for
 * the step to come. At most two copies of a parameter; others are made in the step, as are all of a
 * parameter that is not given. */
MPT_API mpt_status mpt_session_offer_copies(mpt_session *session, mpt_adam_parameter *parameters,
                                            int count, mpt_error *error);

#ifdef __cplusplus
}
#endif
#endif
