#include "base/struct_size.h"
#include "runtime/backends.h"
#include "runtime/checks.h"
#include <stdlib.h>
#include <string.h>

mpt_queue_config mpt_queue_config_default(void) {
  return (mpt_queue_config){
      .struct_size = sizeof(mpt_queue_config), .backend = "cpu", .threads = 1, .owns_stream = true};
}

/* Before owns_stream was there, a stream was the caller's unless it was NULL. */
static mpt_status take_config(const mpt_queue_config *given, mpt_queue_config *config,
                              mpt_error *error) {
  *config = mpt_queue_config_default();
  MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_queue_config",
                                        MPT_END_OF(mpt_queue_config, stream), config,
                                        sizeof *config, error));
  if (given->struct_size < MPT_END_OF(mpt_queue_config, owns_stream))
    config->owns_stream = config->stream == NULL;
  if (config->backend == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "queue_open: the backend is NULL");
  if (config->threads < 1 || config->threads > 256)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "queue_open: threads is %d, expected 1 to 256",
                    config->threads);
  if (config->owns_stream && config->stream != NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "queue_open: a stream is given, and owns_stream says that the queue makes its "
                    "own: set owns_stream to false");
  return MPT_OK;
}

/* The allocator as the backend reads it: whole, or none. */
static mpt_status take_allocator(const mpt_allocator *given, mpt_allocator *allocator,
                                 mpt_error *error) {
  *allocator = (mpt_allocator){.struct_size = sizeof *allocator};
  if (given == NULL)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_allocator", MPT_END_OF(mpt_allocator, context),
                                        allocator, sizeof *allocator, error));
  if (allocator->allocate == NULL || allocator->release == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "queue_open: an allocator has functions for both, allocate and release");
  return MPT_OK;
}

mpt_status mpt_queue_open(const mpt_queue_config *given, mpt_queue **out, mpt_error *error) {
  mpt_queue_config config;
  mpt_allocator allocator;
  const mpt_backend *backend = NULL;
  if (given == NULL || out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "queue_open: an argument is NULL");
  MPT_RETURN_IF_FAILED(take_config(given, &config, error));
  MPT_RETURN_IF_FAILED(take_allocator(config.allocator, &allocator, error));
  config.allocator = &allocator;
  MPT_RETURN_IF_FAILED(mpt_backend_find(config.backend, &backend, error));
  mpt_queue *queue = calloc(1, sizeof *queue);
  if (queue == NULL)
    return mpt_fail_memory(error, "a queue", sizeof *queue);
  queue->backend = backend;
  queue->device = (mpt_device){backend->device_kind, config.device_index};
  queue->threads = config.threads;
  mpt_status status = backend->open(&config, &queue->context, error);
  if (status != MPT_OK) {
    free(queue);
    return status;
  }
  *out = queue;
  return MPT_OK;
}

void mpt_queue_close(mpt_queue *queue) {
  if (queue == NULL)
    return;
  queue->backend->close(queue->context);
  free(queue);
}

mpt_status mpt_queue_set_stream(mpt_queue *queue, void *stream, mpt_error *error) {
  op_scope c = OP_CHECK(queue, set_stream, error);
  return c.status != MPT_OK ? c.status : queue->backend->set_stream(queue->context, stream, error);
}

void *mpt_queue_stream(const mpt_queue *queue) {
  return queue->backend->stream != NULL ? queue->backend->stream(queue->context) : NULL;
}

mpt_status mpt_queue_synchronize(mpt_queue *queue, mpt_error *error) {
  op_scope c = OP_CHECK(queue, synchronize, error);
  return c.status != MPT_OK ? c.status : queue->backend->synchronize(queue->context, error);
}

mpt_status mpt_queue_record_begin(mpt_queue *queue, mpt_error *error) {
  op_scope c = OP_CHECK(queue, record_begin, error);
  MPT_RETURN_IF_FAILED(c.status);
  MPT_RETURN_IF_FAILED(queue->backend->record_begin(queue->context, error));
  queue->recording = true;
  return MPT_OK;
}

mpt_status mpt_queue_record_end(mpt_queue *queue, mpt_recording **recording, mpt_error *error) {
  op_scope c = OP_CHECK(queue, record_end, error);
  mpt_op_require(&c, recording != NULL, "recording is NULL");
  MPT_RETURN_IF_FAILED(c.status);
  queue->recording = false;
  return queue->backend->record_end(queue->context, recording, error);
}

mpt_status mpt_queue_replay(mpt_queue *queue, const mpt_recording *recording, mpt_error *error) {
  op_scope c = OP_CHECK(queue, replay, error);
  mpt_op_require(&c, recording != NULL, "recording is NULL");
  return c.status != MPT_OK ? c.status : queue->backend->replay(queue->context, recording, error);
}

void mpt_recording_free(mpt_queue *queue, mpt_recording *recording) {
  op_scope c = mpt_op_check_begin(queue, "recording_free", true, NULL);
  if (c.status == MPT_OK && recording != NULL)
    queue->backend->recording_free(queue->context, recording);
}

mpt_device mpt_queue_device(const mpt_queue *queue) {
  return queue->device;
}

const char *mpt_queue_backend(const mpt_queue *queue) {
  return queue->backend->name;
}

int mpt_queue_threads(const mpt_queue *queue) {
  return queue->threads;
}

mpt_status mpt_memory_allocate(mpt_queue *queue, size_t bytes, void **data, mpt_error *error) {
  op_scope c = OP_CHECK(queue, allocate, error);
  mpt_op_require(&c, data != NULL, "data is NULL");
  return c.status != MPT_OK ? c.status
                            : queue->backend->allocate(queue->context, bytes, data, error);
}

void mpt_memory_free(mpt_queue *queue, void *data) {
  op_scope c = mpt_op_check_begin(queue, "memory_free", true, NULL);
  if (c.status == MPT_OK && data != NULL)
    queue->backend->release(queue->context, data);
}

mpt_status mpt_memory_upload(mpt_queue *queue, const void *host, size_t bytes, void *data,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, write, error);
  mpt_op_require(&c, bytes == 0 || (host != NULL && data != NULL), "host or data is NULL");
  return c.status != MPT_OK || bytes == 0
             ? c.status
             : queue->backend->write(queue->context, host, bytes, data, error);
}

mpt_status mpt_memory_download(mpt_queue *queue, const void *data, size_t bytes, void *host,
                               mpt_error *error) {
  op_scope c = OP_CHECK(queue, read, error);
  mpt_op_require(&c, bytes == 0 || (host != NULL && data != NULL), "host or data is NULL");
  return c.status != MPT_OK || bytes == 0
             ? c.status
             : queue->backend->read(queue->context, data, bytes, host, error);
}

static void check_slot(op_check *c, int slot, size_t bytes) {
  mpt_op_require(c, slot >= 0 && slot < MPT_FETCH_SLOTS, "there is no slot %d", slot);
  mpt_op_require(c, bytes >= 1 && bytes <= MPT_FETCH_BYTES, "%zu bytes, a slot has %d", bytes,
                 MPT_FETCH_BYTES);
}

mpt_status mpt_memory_fetch(mpt_queue *queue, int slot, const void *data, size_t bytes,
                            mpt_error *error) {
  op_scope c = OP_CHECK(queue, fetch, error);
  check_slot(&c, slot, bytes);
  mpt_op_require(&c, data != NULL, "data is NULL");
  return c.status != MPT_OK ? c.status
                            : queue->backend->fetch(queue->context, slot, data, bytes, error);
}

mpt_status mpt_memory_fetched(mpt_queue *queue, int slot, size_t bytes, void *host, double *seconds,
                              mpt_error *error) {
  op_scope c = OP_CHECK(queue, fetched, error);
  check_slot(&c, slot, bytes);
  mpt_op_require(&c, host != NULL, "host is NULL");
  return c.status != MPT_OK
             ? c.status
             : queue->backend->fetched(queue->context, slot, bytes, host, seconds, error);
}

mpt_status mpt_tensor_upload(mpt_queue *queue, const float *host, const mpt_tensor *tensor,
                             mpt_error *error) {
  op_scope c = OP_CHECK(queue, upload, error);
  mpt_op_require(&c, host != NULL, "host is NULL");
  mpt_op_contiguous(&c, "tensor", tensor);
  return c.status != MPT_OK ? c.status
                            : queue->backend->upload(queue->context, host, tensor, error);
}

mpt_status mpt_tensor_download(mpt_queue *queue, const mpt_tensor *tensor, float *host,
                               mpt_error *error) {
  op_scope c = OP_CHECK(queue, download, error);
  mpt_op_require(&c, host != NULL, "host is NULL");
  mpt_op_contiguous(&c, "tensor", tensor);
  return c.status != MPT_OK ? c.status
                            : queue->backend->download(queue->context, tensor, host, error);
}
