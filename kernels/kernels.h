/* The backend table: what a backend implements, one function per operation of mptune/ops.h.
 *
 * src/runtime/ops.c checks the arguments and calls through the table, so kernels may assume valid
 * shapes. A slot left NULL is reported as unsupported by its name. A new operation is one line in
 * MPT_OPERATIONS, its public function in mptune/ops.h and runtime/ops.c, and one file per backend,
 * kernels/<backend>/<operation>.c, with its line in the backend's table.
 */
#ifndef MPTUNE_KERNELS_H
#define MPTUNE_KERNELS_H

#include "mptune/device.h"
#include "mptune/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef const mpt_tensor *mpt_t; /* a tensor argument: a view, read or written as the op says */

/* ENTRY(name, arguments after the queue and before the error) */
#define MPT_OPERATIONS(ENTRY)                                                                      \
  ENTRY(fill, (mpt_queue *, mpt_t x, float value, mpt_error *))                                    \
  ENTRY(copy, (mpt_queue *, mpt_t x, mpt_t y, mpt_error *))                                        \
  ENTRY(accumulate_tensor, (mpt_queue *, mpt_t x, mpt_t y, mpt_error *))                           \
  ENTRY(add, (mpt_queue *, mpt_t a, mpt_t b, mpt_t out, mpt_error *))                              \
  ENTRY(cast, (mpt_queue *, mpt_t x, int scale_exponent, mpt_t y, mpt_cast_counts *, mpt_error *)) \
  ENTRY(scale_measure, (mpt_queue *, mpt_t x, mpt_scale *, mpt_error *))                           \
  ENTRY(scale_from_lite, (mpt_queue *, const mpt_lite *, mpt_scale *, mpt_error *))                \
  ENTRY(quantize, (mpt_queue *, mpt_t x, mpt_scale *, unsigned flags, mpt_t y, mpt_t y_transposed, \
                   mpt_error *))                                                                   \
  ENTRY(amax, (mpt_queue *, mpt_t x, uint32_t * amax_bits, mpt_error *))                           \
  ENTRY(collect, (mpt_queue *, mpt_t x, bool full, mpt_statistics *, mpt_error *))                 \
  ENTRY(collect_lite, (mpt_queue *, mpt_t x, mpt_lite *, mpt_error *))                             \
  ENTRY(collect_all, (mpt_queue *, const mpt_collection *collections, int count, mpt_error *))     \
  ENTRY(merge_statistics,                                                                          \
        (mpt_queue *, mpt_statistics * into, mpt_statistics * from, mpt_error *))                  \
  ENTRY(quantization_error, (mpt_queue *, mpt_t x, mpt_format, int scale_exponent,                 \
                             double *error_squared, double *signal_squared, mpt_error *))          \
  ENTRY(compare, (mpt_queue *, mpt_t x, mpt_t y, mpt_t gradient, mpt_comparison *, mpt_error *))   \
  ENTRY(gemm, (mpt_queue *, const mpt_gemm_args *, mpt_error *))                                   \
  ENTRY(bias_backward, (mpt_queue *, mpt_t grad, mpt_t grad_bias, bool accumulate, mpt_error *))   \
  ENTRY(embedding_forward,                                                                         \
        (mpt_queue *, const int32_t *ids, mpt_t table, mpt_t position, mpt_t y, mpt_error *))      \
  ENTRY(embedding_backward, (mpt_queue *, const int32_t *ids, mpt_t grad_y, mpt_t grad_table,      \
                             mpt_t grad_position, mpt_error *))                                    \
  ENTRY(layernorm_forward, (mpt_queue *, mpt_t x, mpt_t gamma, mpt_t beta, float epsilon, mpt_t y, \
                            mpt_t mean, mpt_t rstd, mpt_error *))                                  \
  ENTRY(layernorm_backward,                                                                        \
        (mpt_queue *, mpt_t grad_y, mpt_t x, mpt_t gamma, mpt_t mean, mpt_t rstd, mpt_t grad_x,    \
         bool accumulate, mpt_t grad_gamma, mpt_t grad_beta, mpt_error *))                         \
  ENTRY(activation_forward, (mpt_queue *, mpt_activation, mpt_t x, mpt_t y, mpt_error *))          \
  ENTRY(activation_backward,                                                                       \
        (mpt_queue *, mpt_activation, mpt_t x, mpt_t y, mpt_t grad_y, mpt_t grad_x, mpt_error *))  \
  ENTRY(softmax_forward, (mpt_queue *, mpt_t x, mpt_t y, mpt_error *))                             \
  ENTRY(softmax_backward, (mpt_queue *, mpt_t y, mpt_t grad_y, mpt_t grad_x, mpt_error *))         \
  ENTRY(attention_forward, (mpt_queue *, const mpt_attention_args *, mpt_error *))                 \
  ENTRY(attention_backward, (mpt_queue *, const mpt_attention_args *, mpt_t grad_y,                \
                             mpt_t grad_query, mpt_t grad_key, mpt_t grad_value, mpt_error *))     \
  ENTRY(im2col, (mpt_queue *, mpt_t x, mpt_window, mpt_t columns, mpt_error *))                    \
  ENTRY(col2im, (mpt_queue *, mpt_t columns, mpt_window, mpt_t grad_x, mpt_error *))               \
  ENTRY(rows_to_image, (mpt_queue *, mpt_t rows, mpt_t image, mpt_error *))                        \
  ENTRY(image_to_rows, (mpt_queue *, mpt_t image, mpt_t rows, mpt_error *))                        \
  ENTRY(pool_forward, (mpt_queue *, mpt_pooling, mpt_t x, mpt_window, mpt_t y, mpt_error *))       \
  ENTRY(pool_backward,                                                                             \
        (mpt_queue *, mpt_pooling, mpt_t x, mpt_window, mpt_t grad_y, mpt_t grad_x, mpt_error *))  \
  ENTRY(dropout, (mpt_queue *, mpt_t x, float probability, mpt_dropout_key, mpt_t y, mpt_error *)) \
  ENTRY(cross_entropy,                                                                             \
        (mpt_queue *, mpt_t logits, const int32_t *labels, float scale, const mpt_step_state *,    \
         double *loss, int64_t *correct, mpt_t grad_logits, mpt_error *))                          \
  ENTRY(nll, (mpt_queue *, mpt_t probabilities, const int32_t *labels, float scale,                \
              const mpt_step_state *, double *loss, int64_t *correct, mpt_t grad_probabilities,    \
              mpt_error *))                                                                        \
  ENTRY(binary_cross_entropy,                                                                      \
        (mpt_queue *, mpt_t logits, mpt_t targets, float scale, const mpt_step_state *,            \
         double *loss, mpt_t grad_logits, mpt_error *))                                            \
  ENTRY(mean_squared_error,                                                                        \
        (mpt_queue *, mpt_t outputs, mpt_t targets, float scale, const mpt_step_state *,           \
         double *loss, mpt_t grad_outputs, mpt_error *))                                           \
  ENTRY(curvature_signs, (mpt_queue *, mpt_curvature, mpt_t outputs, float scale,                  \
                          const mpt_step_state *, mpt_dropout_key, mpt_t u, mpt_error *))          \
  ENTRY(gradient_check, (mpt_queue *, mpt_t const *gradients, int count, float max_norm,           \
                         mpt_step_state *, int64_t *overflows, mpt_error *))                       \
  ENTRY(step_begin, (mpt_queue *, mpt_step_state *, mpt_scale * scales, int count, mpt_error *))   \
  ENTRY(sgd_step, (mpt_queue *, mpt_t weight, mpt_t gradient, mpt_t momentum_buffer,               \
                   float learning_rate, const float *learning_rate_factor, float momentum,         \
                   float weight_decay, const mpt_step_state *, mpt_error *))                       \
  ENTRY(adam_step,                                                                                 \
        (mpt_queue *, mpt_t weight, mpt_t gradient, mpt_t first_moment, mpt_t second_moment,       \
         const mpt_adam_args *, const mpt_step_state *, mpt_error *))                              \
  ENTRY(adam_steps, (mpt_queue *, const mpt_adam_parameter *parameters, int count,                 \
                     const mpt_adam_args *, const mpt_step_state *, mpt_error *))

#define MPT_OPERATION_SLOT(name, arguments)   mpt_status(*name) arguments;
#define MPT_OPERATION_NUMBER(name, arguments) MPT_OPERATION_##name,
typedef enum mpt_operation {
  MPT_OPERATIONS(MPT_OPERATION_NUMBER) MPT_OPERATION_COUNT
} mpt_operation;

/* What a queue's memory and life cycle need of a backend. Slots are required
 * where nothing else is said. */
typedef struct mpt_backend {
  const char *name;
  mpt_device_kind device_kind;
  bool gemm_wants_rows_of_k; /* see mpt_gemm_wants_rows_of_k */
  uint64_t fuses_lite; /* 1 << mpt_operation of those that serve an output's `lite` themselves */
  mpt_status (*device_count)(int *count, mpt_error *);
  mpt_status (*device_describe)(int index, mpt_device_info *, mpt_error *);
  mpt_status (*device_observe)(int index, mpt_device_activity *, mpt_error *); /* optional */
  mpt_status (*open)(const mpt_queue_config *, void **context, mpt_error *);
  void (*close)(void *context);
  /* Optional, both or none: around every call that follows for a queue, so that the backend's
   * device is the thread's current one, and afterwards the one that was. */
  int (*enter)(void *context);
  void (*leave)(void *context, int entered);
  mpt_status (*set_stream)(void *context, void *stream, mpt_error *); /* optional, both or none */
  void *(*stream)(const void *context);
  mpt_status (*synchronize)(void *context, mpt_error *);
  mpt_status (*allocate)(void *context, size_t bytes, void **data, mpt_error *); /* zeroed */
  void (*release)(void *context, void *data);
  mpt_status (*write)(void *context, const void *host, size_t bytes, void *data, mpt_error *);
  mpt_status (*read)(void *context, const void *data, size_t bytes, void *host, mpt_error *);
  mpt_status (*fetch)(void *context, int slot, const void *data, size_t bytes, mpt_error *);
  mpt_status (*fetched)(void *context, int slot, size_t bytes, void *host, double *seconds,
                        mpt_error *);
  mpt_status (*upload)(void *context, const float *host, mpt_t tensor, mpt_error *);
  mpt_status (*download)(void *context, mpt_t tensor, float *host, mpt_error *);
  mpt_status (*record_begin)(void *context, mpt_error *); /* optional, all four or none */
  mpt_status (*record_end)(void *context, mpt_recording **, mpt_error *);
  mpt_status (*replay)(void *context, const mpt_recording *, mpt_error *);
  void (*recording_free)(void *context, mpt_recording *);
  mpt_status (*gemm_time)(mpt_queue *, const mpt_gemm_shape *, double *seconds,
                          mpt_error *); /* optional */
  MPT_OPERATIONS(MPT_OPERATION_SLOT)    /* optional slots, from here on */
} mpt_backend;

struct mpt_queue {
  const mpt_backend *backend;
  void *context; /* the backend's own */
  mpt_device device;
  int threads;
  bool recording; /* between record_begin and record_end */
};

extern const mpt_backend mpt_backend_cpu;
#ifdef MPTUNE_CUDA
extern const mpt_backend mpt_backend_cuda;
#endif

#ifdef __cplusplus
}
#endif

#endif
