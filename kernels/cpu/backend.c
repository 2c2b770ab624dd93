/* The CPU backend: the specification that other backends agree with. */
#include "kernels/cpu/cpu.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256 };

static mpt_status cpu_open(const mpt_queue_config *config, void **context, mpt_error *error) {
  if (config->device_index != 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the cpu backend has device 0 only, not %d",
                    config->device_index);
  if (config->stream != NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the cpu backend has no streams, and one is given");
  MPT_RETURN_IF_FAILED(mpt_cpu_blas_room(config->threads, error));
  mpt_cpu_team *team;
  MPT_RETURN_IF_FAILED(mpt_cpu_team_open(config->threads, config->allocator, &team, error));
  *context = team;
  return MPT_OK;
}

static void cpu_close(void *context) {
  mpt_cpu_team_close(context);
}

static mpt_status cpu_synchronize(void *context, mpt_error *error) {
  (void)context, (void)error; /* every operation returns when it is done */
  return MPT_OK;
}

static void *take(const mpt_allocator *allocator, size_t bytes) {
  return allocator->allocate != NULL ? allocator->allocate(allocator->context, bytes, 0, NULL)
                                     : aligned_alloc(ALIGNMENT, bytes);
}

static void cpu_release(void *context, void *data) {
  const mpt_allocator *allocator = mpt_cpu_team_allocator(context);
  if (allocator->release != NULL)
    allocator->release(allocator->context, data, 0, NULL);
  else
    free(data);
}

static mpt_status cpu_allocate(void *context, size_t bytes, void **data, mpt_error *error) {
  size_t whole = bytes < SIZE_MAX - ALIGNMENT ? (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT : bytes;
  void *memory = take(mpt_cpu_team_allocator(context), whole);
  if (memory == NULL)
    return mpt_fail_memory(error, "a tensor", bytes);
  if ((uintptr_t)memory % ALIGNMENT != 0) {
    cpu_release(context, memory);
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "the program's allocator gave memory that is not aligned to %d bytes",
                    ALIGNMENT);
  }
  memset(memory, 0, whole);
  *data = memory;
  return MPT_OK;
}

static mpt_status cpu_write(void *context, const void *host, size_t bytes, void *data,
                            mpt_error *error) {
  (void)context, (void)error;
  memcpy(data, host, bytes);
  return MPT_OK;
}

static mpt_status cpu_read(void *context, const void *data, size_t bytes, void *host,
                           mpt_error *error) {
  return cpu_write(context, data, bytes, host, error);
}

static mpt_status cpu_fetch(void *context, int slot, const void *data, size_t bytes,
                            mpt_error *error) {
  (void)error;
  memcpy(mpt_cpu_team_fetch_slot(context, slot), data, bytes);
  return MPT_OK;
}

static mpt_status cpu_fetched(void *context, int slot, size_t bytes, void *host, double *seconds,
                              mpt_error *error) {
  (void)error;
  memcpy(host, mpt_cpu_team_fetch_slot(context, slot), bytes);
  if (seconds != NULL)
    *seconds = NAN;
  return MPT_OK;
}

static mpt_status cpu_upload(void *context, const float *host, mpt_t tensor, mpt_error *error) {
  (void)context, (void)error;
  mpt_format_round_array(tensor->format, host, 1.0f, tensor->data,
                         (size_t)mpt_tensor_count(tensor));
  return MPT_OK;
}

static mpt_status cpu_download(void *context, mpt_t tensor, float *host, mpt_error *error) {
  (void)context, (void)error;
  memcpy(host, tensor->data, mpt_tensor_bytes(tensor));
  return MPT_OK;
}

const mpt_backend mpt_backend_cpu = {
    .name = "cpu",
    .device_kind = MPT_DEVICE_CPU,
    .device_count = mpt_cpu_device_count,
    .device_describe = mpt_cpu_device_describe,
    .open = cpu_open,
    .close = cpu_close,
    .synchronize = cpu_synchronize,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .write = cpu_write,
    .read = cpu_read,
    .fetch = cpu_fetch,
    .fetched = cpu_fetched,
    .upload = cpu_upload,
    .download = cpu_download,
    .fill = mpt_cpu_fill,
    .copy = mpt_cpu_copy,
    .accumulate_tensor = mpt_cpu_accumulate_tensor,
    .add = mpt_cpu_add,
    .cast = mpt_cpu_cast,
    .scale_measure = mpt_cpu_scale_measure,
    .scale_from_lite = mpt_cpu_scale_from_lite,
    .quantize = mpt_cpu_quantize,
    .merge_statistics = mpt_cpu_merge_statistics,
    .amax = mpt_cpu_amax,
    .collect = mpt_cpu_collect,
    .collect_lite = mpt_cpu_collect_lite,
    .collect_all = mpt_cpu_collect_all,
    .quantization_error = mpt_cpu_quantization_error,
    .compare = mpt_cpu_compare,
    .gemm = mpt_cpu_gemm,
    .bias_backward = mpt_cpu_bias_backward,
    .embedding_forward = mpt_cpu_embedding_forward,
    .embedding_backward = mpt_cpu_embedding_backward,
    .layernorm_forward = mpt_cpu_layernorm_forward,
    .layernorm_backward = mpt_cpu_layernorm_backward,
    .activation_forward = mpt_cpu_activation_forward,
    .activation_backward = mpt_cpu_activation_backward,
    .softmax_forward = mpt_cpu_softmax_forward,
    .softmax_backward = mpt_cpu_softmax_backward,
    .attention_forward = mpt_cpu_attention_forward,
    .attention_backward = mpt_cpu_attention_backward,
    .im2col = mpt_cpu_im2col,
    .col2im = mpt_cpu_col2im,
    .rows_to_image = mpt_cpu_rows_to_image,
    .image_to_rows = mpt_cpu_image_to_rows,
    .pool_forward = mpt_cpu_pool_forward,
    .pool_backward = mpt_cpu_pool_backward,
    .dropout = mpt_cpu_dropout,
    .cross_entropy = mpt_cpu_cross_entropy,
    .nll = mpt_cpu_nll,
    .binary_cross_entropy = mpt_cpu_binary_cross_entropy,
    .mean_squared_error = mpt_cpu_mean_squared_error,
    .curvature_signs = mpt_cpu_curvature_signs,
    .gradient_check = mpt_cpu_gradient_check,
    .step_begin = mpt_cpu_step_begin,
    .sgd_step = mpt_cpu_sgd_step,
    .adam_step = mpt_cpu_adam_step,
    .adam_steps = mpt_cpu_adam_steps,
};
