/* The CUDA backend: a queue is a stream and the memory that its operations share. */
#include "kernels/cuda/cuda.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A device that is the current one already is left alone: to set it is not free. */
static int enter_device(int device) {
  int before = device;
  if (cudaGetDevice(&before) != cudaSuccess || before == device)
    return device;
  cudaSetDevice(device);
  return before;
}

static int cuda_enter(void *opaque) {
  return enter_device(((cuda_context *)opaque)->device);
}

static void cuda_leave(void *opaque, int entered) {
  if (entered != ((cuda_context *)opaque)->device)
    cudaSetDevice(entered);
}

static void release_all(cuda_context *c) {
  if (c->stream != NULL || !c->owns_stream)
    cudaStreamSynchronize(c->stream);
  mpt_cuda_gemm_close(c);
  mpt_cuda_give(c, c->scratch);
  mpt_cuda_give(c, c->tickets);
  mpt_cuda_give(c, c->bins);
  mpt_cuda_give(c, c->gemm_workspace);
  mpt_cuda_give(c, c->fault);
  cudaFreeHost(c->staging);
  cudaFreeHost(c->fetched);
  for (int i = 0; i < MPT_FETCH_SLOTS; i++)
    if (c->fetches[i] != NULL)
      cudaEventDestroy(c->fetches[i]);
  if (c->staging_free != NULL)
    cudaEventDestroy(c->staging_free);
  if (c->stream_order != NULL)
    cudaEventDestroy(c->stream_order);
  if (c->owns_stream && c->stream != NULL)
    cudaStreamDestroy(c->stream);
}

static void cuda_close(void *opaque) {
  cuda_context *c = opaque;
  if (c == NULL)
    return;
  int entered = cuda_enter(c);
  release_all(c);
  cuda_leave(c, entered);
  free(c);
}

static mpt_status take_memory(cuda_context *c, mpt_error *error) {
  const char *what = "opening a cuda queue";
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, CUDA_SCRATCH_BYTES, &c->scratch, what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, CUDA_GEMM_BYTES, &c->gemm_workspace, what, error));
  size_t tickets = CUDA_TICKETS * sizeof *c->tickets;
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, tickets, (void **)&c->tickets, what, error));
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaMemsetAsync(c->tickets, 0, tickets, c->stream), what, error));
  size_t bins = MPT_EXPONENT_BINS * sizeof *c->bins;
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, bins, (void **)&c->bins, what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaMemsetAsync(c->bins, 0, bins, c->stream), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, sizeof *c->fault, (void **)&c->fault, what, error));
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaMemsetAsync(c->fault, 0, sizeof *c->fault, c->stream), what, error));
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaMallocHost((void **)&c->staging, CUDA_STAGING_BYTES), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaMallocHost((void **)&c->fetched, MPT_FETCH_SLOTS * MPT_FETCH_BYTES), what, error));
  for (int i = 0; i < MPT_FETCH_SLOTS; i++)
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventCreate(&c->fetches[i]), what, error));
  c->last_fetched = -1;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaEventCreateWithFlags(&c->stream_order, cudaEventDisableTiming), what, error));
  return mpt_cuda_check(cudaEventCreateWithFlags(&c->staging_free, cudaEventDisableTiming), what,
                        error);
}

/* What the device is. */
static mpt_status know_device(cuda_context *c, mpt_error *error) {
  struct cudaDeviceProp p;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaGetDeviceProperties(&p, c->device), "cuda", error));
  c->multiprocessors = p.multiProcessorCount;
  c->capability = 10 * p.major + p.minor;
  c->l2_bytes = (size_t)p.l2CacheSize;
  snprintf(c->name, sizeof c->name, "%s", p.name);
  if (c->capability >= 80)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                  "%s has compute capability %d.%d, the cuda backend needs 8.0 or later; use the "
                  "cpu backend",
                  c->name, p.major, p.minor);
}

static mpt_status open_on_device(cuda_context *c, const mpt_queue_config *config,
                                 mpt_error *error) {
  MPT_RETURN_IF_FAILED(know_device(c, error));
  if (c->owns_stream)
    MPT_RETURN_IF_FAILED(mpt_cuda_check(
        cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "cuda", error));
  else
    c->stream = config->stream;
  MPT_RETURN_IF_FAILED(take_memory(c, error));
  return mpt_cuda_gemm_open(c, error);
}

static mpt_status cuda_open(const mpt_queue_config *config, void **out, mpt_error *error) {
  int count = 0;
  MPT_RETURN_IF_FAILED(mpt_cuda_device_count(&count, error));
  if (config->device_index < 0 || config->device_index >= count)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "there is no cuda device %d, only 0 to %d",
                    config->device_index, count - 1);
  cuda_context *c = calloc(1, sizeof *c);
  if (c == NULL)
    return mpt_fail_memory(error, "a cuda queue", sizeof *c);
  c->device = config->device_index;
  c->owns_stream = config->owns_stream;
  if (config->allocator != NULL)
    c->allocator = *config->allocator;
  int entered = cuda_enter(c);
  mpt_status status = open_on_device(c, config, error);
  cuda_leave(c, entered);
  if (status == MPT_OK)
    *out = c;
  else
    cuda_close(c);
  return status;
}

/* The memory that operations share is ordered by the stream: the new one begins where the old one
 * ends. A stream that is being captured waits for nothing outside of its graph. */
static mpt_status cuda_set_stream(void *opaque, void *stream, mpt_error *error) {
  cuda_context *c = opaque;
  const char *what = "a queue's new stream";
  enum cudaStreamCaptureStatus old = cudaStreamCaptureStatusNone, new = old;
  if ((cudaStream_t)stream == c->stream)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamIsCapturing(stream, &new), what, error));
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamIsCapturing(c->stream, &old), what, error));
  if (old == cudaStreamCaptureStatusNone && new == cudaStreamCaptureStatusNone) {
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventRecord(c->stream_order, c->stream), what, error));
    MPT_RETURN_IF_FAILED(
        mpt_cuda_check(cudaStreamWaitEvent(stream, c->stream_order, 0), what, error));
  }
  if (c->owns_stream)
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamDestroy(c->stream), what, error));
  c->owns_stream = false;
  c->stream = stream;
  return MPT_OK;
}

static void *cuda_stream(const void *opaque) {
  return ((const cuda_context *)opaque)->stream;
}

static mpt_status read_fault(cuda_context *c, mpt_error *error) {
  cuda_fault fault;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaMemcpy(&fault, c->fault, sizeof fault, cudaMemcpyDeviceToHost), "cuda", error));
  if (fault.kind == CUDA_FAULT_NONE)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaMemset(c->fault, 0, sizeof fault), "cuda", error));
  return mpt_fail(error, MPT_ERROR_ARGUMENT, "%s %d of row %lld is not in 0 to %lld",
                  fault.kind == CUDA_FAULT_LABEL ? "label" : "id", fault.value,
                  (long long)fault.row, (long long)fault.limit - 1);
}

static mpt_status cuda_synchronize(void *opaque, mpt_error *error) {
  cuda_context *c = opaque;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaStreamSynchronize(c->stream), "cuda", error));
  c->staging_used = 0;
  return read_fault(c, error);
}

static mpt_status cuda_allocate(void *opaque, size_t bytes, void **data, mpt_error *error) {
  cuda_context *c = opaque;
  void *memory = NULL;
  MPT_RETURN_IF_FAILED(mpt_cuda_take(c, bytes, &memory, NULL, error));
  mpt_status status =
      mpt_cuda_check(cudaMemsetAsync(memory, 0, bytes > 0 ? bytes : 1, c->stream), "memory", error);
  if (status == MPT_OK)
    *data = memory;
  else
    mpt_cuda_give(c, memory);
  return status;
}

static void cuda_release(void *opaque, void *data) {
  mpt_cuda_give(opaque, data);
}

/* A graph would read what the ring holds when it is replayed. */
static mpt_status refuse_capture(const cuda_context *c, mpt_error *error) {
  enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaStreamIsCapturing(c->stream, &capture), "an upload", error));
  if (capture == cudaStreamCaptureStatusNone)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_DEVICE,
                  "an upload while a graph is captured: run a step before, and begin the captured "
                  "one with the number that follows");
}

/* Small uploads go through the ring, so that the caller's memory is free at once and nobody waits;
 * a ring that is full waits for what is on its way. Large ones wait for their copy. */
static mpt_status cuda_write(void *opaque, const void *host, size_t bytes, void *data,
                             mpt_error *error) {
  cuda_context *c = opaque;
  const char *what = "an upload to the device";
  MPT_RETURN_IF_FAILED(refuse_capture(c, error));
  if (bytes > CUDA_STAGING_BYTES) {
    MPT_RETURN_IF_FAILED(mpt_cuda_check(
        cudaMemcpyAsync(data, host, bytes, cudaMemcpyHostToDevice, c->stream), what, error));
    return mpt_cuda_check(cudaStreamSynchronize(c->stream), what, error);
  }
  size_t whole = (bytes + 255) / 256 * 256;
  if (c->staging_used + whole > CUDA_STAGING_BYTES) {
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventRecord(c->staging_free, c->stream), what, error));
    MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventSynchronize(c->staging_free), what, error));
    c->staging_used = 0;
  }
  char *place = c->staging + c->staging_used;
  c->staging_used += whole;
  memcpy(place, host, bytes);
  return mpt_cuda_check(cudaMemcpyAsync(data, place, bytes, cudaMemcpyHostToDevice, c->stream),
                        what, error);
}

static mpt_status cuda_read(void *opaque, const void *data, size_t bytes, void *host,
                            mpt_error *error) {
  cuda_context *c = opaque;
  const char *what = "a download from the device";
  MPT_RETURN_IF_FAILED(mpt_cuda_check(
      cudaMemcpyAsync(host, data, bytes, cudaMemcpyDeviceToHost, c->stream), what, error));
  return mpt_cuda_check(cudaStreamSynchronize(c->stream), what, error);
}

static mpt_status cuda_fetch(void *opaque, int slot, const void *data, size_t bytes,
                             mpt_error *error) {
  cuda_context *c = opaque;
  const char *what = "a fetch from the device";
  if (c->last_fetched == slot) /* no time is counted from an event that is recorded again */
    c->last_fetched = -1;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaMemcpyAsync(c->fetched + slot * MPT_FETCH_BYTES, data,
                                                      bytes, cudaMemcpyDeviceToHost, c->stream),
                                      what, error));
  return mpt_cuda_check(cudaEventRecord(c->fetches[slot], c->stream), what, error);
}

static mpt_status cuda_fetched(void *opaque, int slot, size_t bytes, void *host, double *seconds,
                               mpt_error *error) {
  cuda_context *c = opaque;
  const char *what = "the queue, up to a fetch";
  float milliseconds = NAN;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaEventSynchronize(c->fetches[slot]), what, error));
  if (c->last_fetched >= 0 && c->last_fetched != slot)
    MPT_RETURN_IF_FAILED(mpt_cuda_check(
        cudaEventElapsedTime(&milliseconds, c->fetches[c->last_fetched], c->fetches[slot]), what,
        error));
  memcpy(host, c->fetched + slot * MPT_FETCH_BYTES, bytes);
  if (seconds != NULL)
    *seconds = 1e-3 * (double)milliseconds;
  c->last_fetched = slot;
  return MPT_OK;
}

/* ---- recordings: CUDA graphs ---- */
struct mpt_recording {
  cudaGraphExec_t graph;
};

static mpt_status cuda_record_begin(void *opaque, mpt_error *error) {
  cuda_context *c = opaque;
  return mpt_cuda_check(cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal),
                        "recording a step", error);
}

static mpt_status cuda_record_end(void *opaque, mpt_recording **out, mpt_error *error) {
  cuda_context *c = opaque;
  cudaGraph_t graph = NULL;
  MPT_RETURN_IF_FAILED(
      mpt_cuda_check(cudaStreamEndCapture(c->stream, &graph), "recording a step", error));
  mpt_status status = MPT_OK;
  mpt_recording *recording = calloc(1, sizeof *recording);
  if (recording == NULL)
    status = mpt_fail_memory(error, "a recording", sizeof *recording);
  if (status == MPT_OK)
    status = mpt_cuda_check(cudaGraphInstantiate(&recording->graph, graph, 0), "recording a step",
                            error);
  cudaGraphDestroy(graph);
  if (status != MPT_OK) {
    free(recording);
    return status;
  }
  *out = recording;
  return MPT_OK;
}

static mpt_status cuda_replay(void *opaque, const mpt_recording *recording, mpt_error *error) {
  cuda_context *c = opaque;
  return mpt_cuda_check(cudaGraphLaunch(recording->graph, c->stream), "replaying a step", error);
}

static void cuda_recording_free(void *opaque, mpt_recording *recording) {
  (void)opaque;
  cudaGraphExecDestroy(recording->graph);
  free(recording);
}

/* Pieces of a contiguous tensor go through scratch as fp32, converted on the device. */
enum { PIECE = CUDA_SCRATCH_BYTES / sizeof(float) };

static void view_piece(cuda_context *c, mpt_t tensor, int64_t first, int64_t count,
                       mpt_tensor *floats, mpt_tensor *piece) {
  *floats = mpt_tensor_of(c->scratch, MPT_FP32, 1, &count);
  floats->device = tensor->device;
  *piece = *floats;
  piece->format = tensor->format;
  piece->data = (char *)tensor->data + first * (mpt_format_get(tensor->format)->bits / 8);
}

static mpt_status cuda_upload(void *opaque, const float *host, mpt_t tensor, mpt_error *error) {
  cuda_context *c = opaque;
  mpt_queue queue = {.backend = &mpt_backend_cuda, .context = c};
  int64_t count = mpt_tensor_count(tensor);
  for (int64_t first = 0; first < count; first += PIECE) {
    int64_t n = count - first < PIECE ? count - first : PIECE;
    mpt_tensor floats, piece;
    view_piece(c, tensor, first, n, &floats, &piece);
    MPT_RETURN_IF_FAILED(
        cuda_write(c, host + first, (size_t)n * sizeof(float), floats.data, error));
    MPT_RETURN_IF_FAILED(mpt_cuda_copy(&queue, &floats, &piece, error));
  }
  return MPT_OK;
}

static mpt_status cuda_download(void *opaque, mpt_t tensor, float *host, mpt_error *error) {
  cuda_context *c = opaque;
  mpt_queue queue = {.backend = &mpt_backend_cuda, .context = c};
  int64_t count = mpt_tensor_count(tensor);
  for (int64_t first = 0; first < count; first += PIECE) {
    int64_t n = count - first < PIECE ? count - first : PIECE;
    mpt_tensor floats, piece;
    view_piece(c, tensor, first, n, &floats, &piece);
    MPT_RETURN_IF_FAILED(mpt_cuda_copy(&queue, &piece, &floats, error));
    MPT_RETURN_IF_FAILED(cuda_read(c, floats.data, (size_t)n * sizeof(float), host + first, error));
  }
  return MPT_OK;
}

#define SERVES_LITE(operation) (1ull << MPT_OPERATION_##operation)

const mpt_backend mpt_backend_cuda = {
    .name = "cuda",
    .device_kind = MPT_DEVICE_CUDA,
    .gemm_wants_rows_of_k = true,
    .fuses_lite = SERVES_LITE(add) | SERVES_LITE(accumulate_tensor) |
                  SERVES_LITE(activation_forward) | SERVES_LITE(activation_backward) |
                  SERVES_LITE(dropout) | SERVES_LITE(layernorm_forward) |
                  SERVES_LITE(layernorm_backward) | SERVES_LITE(attention_forward) |
                  SERVES_LITE(attention_backward) | SERVES_LITE(cross_entropy),
    .device_count = mpt_cuda_device_count,
    .device_describe = mpt_cuda_device_describe,
    .device_observe = mpt_cuda_device_observe,
    .open = cuda_open,
    .close = cuda_close,
    .enter = cuda_enter,
    .leave = cuda_leave,
    .set_stream = cuda_set_stream,
    .stream = cuda_stream,
    .synchronize = cuda_synchronize,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .write = cuda_write,
    .read = cuda_read,
    .fetch = cuda_fetch,
    .fetched = cuda_fetched,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .recording_free = cuda_recording_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .gemm_time = mpt_cuda_gemm_time,
    .fill = mpt_cuda_fill,
    .copy = mpt_cuda_copy,
    .accumulate_tensor = mpt_cuda_accumulate_tensor,
    .add = mpt_cuda_add,
    .cast = mpt_cuda_cast,
    .scale_measure = mpt_cuda_scale_measure,
    .scale_from_lite = mpt_cuda_scale_from_lite,
    .quantize = mpt_cuda_quantize,
    .amax = mpt_cuda_amax,
    .collect = mpt_cuda_collect,
    .collect_lite = mpt_cuda_collect_lite,
    .collect_all = mpt_cuda_collect_all,
    .merge_statistics = mpt_cuda_merge_statistics,
    .quantization_error = mpt_cuda_quantization_error,
    .compare = mpt_cuda_compare,
    .gemm = mpt_cuda_gemm,
    .bias_backward = mpt_cuda_bias_backward,
    .embedding_forward = mpt_cuda_embedding_forward,
    .embedding_backward = mpt_cuda_embedding_backward,
    .layernorm_forward = mpt_cuda_layernorm_forward,
    .layernorm_backward = mpt_cuda_layernorm_backward,
    .activation_forward = mpt_cuda_activation_forward,
    .activation_backward = mpt_cuda_activation_backward,
    .softmax_forward = mpt_cuda_softmax_forward,
    .softmax_backward = mpt_cuda_softmax_backward,
    .attention_forward = mpt_cuda_attention_forward,
    .attention_backward = mpt_cuda_attention_backward,
    .im2col = mpt_cuda_im2col,
    .col2im = mpt_cuda_col2im,
    .rows_to_image = mpt_cuda_rows_to_image,
    .image_to_rows = mpt_cuda_image_to_rows,
    .pool_forward = mpt_cuda_pool_forward,
    .pool_backward = mpt_cuda_pool_backward,
    .dropout = mpt_cuda_dropout,
    .cross_entropy = mpt_cuda_cross_entropy,
    .nll = mpt_cuda_nll,
    .binary_cross_entropy = mpt_cuda_binary_cross_entropy,
    .mean_squared_error = mpt_cuda_mean_squared_error,
    .curvature_signs = mpt_cuda_curvature_signs,
    .gradient_check = mpt_cuda_gradient_check,
    .step_begin = mpt_cuda_step_begin,
    .sgd_step = mpt_cuda_sgd_step,
    .adam_step = mpt_cuda_adam_step,
    .adam_steps = mpt_cuda_adam_steps,
};
