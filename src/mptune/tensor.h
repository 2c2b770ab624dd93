/* Tensors and queues: where data is and where work runs. */
#ifndef MPTUNE_TENSOR_H
#define MPTUNE_TENSOR_H

#include "mptune/format.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MPT_MAX_RANK 4

/* The numbers are DLPack's. */
typedef enum mpt_device_kind { MPT_DEVICE_CPU = 1, MPT_DEVICE_CUDA = 2 } mpt_device_kind;

typedef struct mpt_device {
  mpt_device_kind kind;
  int index;
} mpt_device;

/* A view of memory that somebody else owns.
 *
 * On the CPU, which emulates, every element is a 4-byte float whose value is one of `format`. On a
 * GPU, elements are packed: 4, 2 or 1 bytes. Strides are in elements. Rows are contiguous: the last
 * stride is 1.
 *
 * `lite` is where an operation that writes the tensor adds the counts and extremes of what it wrote
 * (mptune/statistics.h; device memory), in the same pass where its backend can; NULL: nowhere. */
struct mpt_lite;
typedef struct mpt_tensor {
  void *data;
  mpt_format format;
  int rank;
  int64_t shape[MPT_MAX_RANK];
  int64_t strides[MPT_MAX_RANK];
  mpt_device device;
  struct mpt_lite *lite;
} mpt_tensor;

/* A contiguous view of `data`, on the CPU. `rank` shape arguments of type int64_t follow in the
 * array `shape`. */
MPT_API mpt_tensor mpt_tensor_of(void *data, mpt_format format, int rank, const int64_t *shape);

/* Number of elements; 0 when any dimension is 0. */
MPT_API int64_t mpt_tensor_count(const mpt_tensor *tensor);

/* Bytes of one element in the device's memory: 4 on the CPU, whatever the format. */
MPT_API size_t mpt_element_bytes(mpt_device_kind device, mpt_format format);

/* Bytes that a contiguous tensor of this shape, format and device takes. */
MPT_API size_t mpt_tensor_bytes(const mpt_tensor *tensor);

/* A queue runs operations in order on one device: a CUDA stream, or a team of CPU threads. It may
 * be used from any thread, by one at a time. Operations may return before the work is done; the
 * CPU's never do. The device that a thread has set as its current one stays so. */
typedef struct mpt_queue mpt_queue;

/* Where device memory comes from, and goes: a framework's caching allocator, say. `allocate` gives
 * at least `bytes`, aligned to 256 bytes, to be used on `stream` from now on, or NULL; `release`
 * takes back what may still be in use there. Neither is called inside a step, nor by two threads at
 * once for one queue. */
typedef struct mpt_allocator {
  uint32_t struct_size; /* sizeof(mpt_allocator) */
  void *(*allocate)(void *context, size_t bytes, int device_index, void *stream);
  void (*release)(void *context, void *memory, int device_index, void *stream);
  void *context;
} mpt_allocator;

typedef struct mpt_queue_config {
  uint32_t struct_size; /* sizeof(mpt_queue_config), set by _default() */
  const char *backend;  /* "cpu", or "cuda" where it was built in */
  int device_index;
  int threads;      /* CPU threads that share each operation, 1 to 256; fixes the order of sums */
  void *stream;     /* a cudaStream_t of the caller's where owns_stream is false; NULL is then the
                       default stream, as everywhere in CUDA */
  bool owns_stream; /* the queue makes a stream of its own, which waits for no other (default) */
  const mpt_allocator *allocator; /* read by mpt_queue_open; NULL: the backend's own */
} mpt_queue_config;

MPT_API mpt_queue_config mpt_queue_config_default(void);

/* Opens a queue. The caller closes it with mpt_queue_close. MPT_ERROR_UNSUPPORTED names the
 * backends that were built when the one asked for was not. */
MPT_API mpt_status mpt_queue_open(const mpt_queue_config *config, mpt_queue **queue,
                                  mpt_error *error);
MPT_API void mpt_queue_close(mpt_queue *queue); /* NULL is allowed */
MPT_API mpt_status mpt_queue_synchronize(mpt_queue *queue, mpt_error *error);
MPT_API mpt_device mpt_queue_device(const mpt_queue *queue);
MPT_API const char *mpt_queue_backend(const mpt_queue *queue);
MPT_API int mpt_queue_threads(const mpt_queue *queue);
/* Where the queue's operations run from now on: a cudaStream_t of the caller's on the queue's
 * device, NULL for the default stream. What was queued before comes first, unless the new stream is
 * being captured: then whoever captures sees to it. Between operations, inside a step too.
 * MPT_ERROR_UNSUPPORTED on the CPU. */
MPT_API mpt_status mpt_queue_set_stream(mpt_queue *queue, void *stream, mpt_error *error);
MPT_API void *mpt_queue_stream(const mpt_queue *queue); /* NULL on the CPU */

/* A sequence of operations, recorded to be run again as a whole: a CUDA graph. Between begin and
 * end operations are noted, not run; one that would wait or allocate fails. The recording holds the
 * memory and the values that the operations were given. The caller frees it, before the queue.
 * MPT_ERROR_UNSUPPORTED on the CPU. */
typedef struct mpt_recording mpt_recording;
MPT_API mpt_status mpt_queue_record_begin(mpt_queue *queue, mpt_error *error);
MPT_API mpt_status mpt_queue_record_end(mpt_queue *queue, mpt_recording **recording,
                                        mpt_error *error);
MPT_API mpt_status mpt_queue_replay(mpt_queue *queue, const mpt_recording *recording,
                                    mpt_error *error);
MPT_API void mpt_recording_free(mpt_queue *queue, mpt_recording *recording); /* NULL is allowed */

/* Memory of the queue's device, 256-byte aligned, zeroed. Not for use inside a step. */
MPT_API mpt_status mpt_memory_allocate(mpt_queue *queue, size_t bytes, void **data,
                                       mpt_error *error);
MPT_API void mpt_memory_free(mpt_queue *queue, void *data); /* NULL is allowed */

/* Bytes between host memory and the queue's. Upload takes what is in `host` before it returns and
 * does not wait for the device; download waits for the queue and for completion. */
MPT_API mpt_status mpt_memory_upload(mpt_queue *queue, const void *host, size_t bytes, void *data,
                                     mpt_error *error);
MPT_API mpt_status mpt_memory_download(mpt_queue *queue, const void *data, size_t bytes, void *host,
                                       mpt_error *error);

/* What a running queue reports without being waited for: mpt_memory_fetch takes down `bytes` of
 * device memory at that point of the queue, in slot 0 to MPT_FETCH_SLOTS - 1, and returns at once;
 * mpt_memory_fetched waits until the queue has come there and hands them over. *seconds is the time
 * that the device spent since the fetch before this one, NaN where that is not known. */
#define MPT_FETCH_SLOTS 6
#define MPT_FETCH_BYTES 4096
MPT_API mpt_status mpt_memory_fetch(mpt_queue *queue, int slot, const void *data, size_t bytes,
                                    mpt_error *error);
MPT_API mpt_status mpt_memory_fetched(mpt_queue *queue, int slot, size_t bytes, void *host,
                                      double *seconds, mpt_error *error);

/* Between fp32 host memory and a contiguous tensor of the queue's device; waits for completion.
 * Upload rounds to the tensor's format. `host` has mpt_tensor_count elements. */
MPT_API mpt_status mpt_tensor_upload(mpt_queue *queue, const float *host, const mpt_tensor *tensor,
                                     mpt_error *error);
MPT_API mpt_status mpt_tensor_download(mpt_queue *queue, const mpt_tensor *tensor, float *host,
                                       mpt_error *error);

#ifdef __cplusplus
}
#endif
#endif
