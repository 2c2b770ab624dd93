/* What a kind of data fills in, private to this room. To add a kind: one file with its opener, one
 * line in dataset.c's table, its keys in src/workload/data_spec.c. */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "data/dataset.h"

struct dataset {
  dataset_info info;
  /* Samples in the order of the files; a separate held-out part stands behind the training part.
   * Features are floats, or bytes that stand for byte / 255. */
  float *features;
  uint8_t *bytes;
  int32_t *labels;
  float *targets;
  int64_t samples;     /* stored */
  int64_t sample_size; /* product of info.shape */
  bool separate;       /* the held-out part came from files of its own; else drawn from all */
  /* Tokens: training ids, then held-out ids; the wide ones where 16 bits hold not every id of the
   * vocabulary. */
  uint16_t *ids;
  uint32_t *wide_ids;
  int64_t id_count;
};

mpt_status idx_open(const data_spec *spec, dataset *data, mpt_error *error);
mpt_status csv_open(const data_spec *spec, dataset *data, mpt_error *error);
mpt_status bytes_open(const data_spec *spec, dataset *data, mpt_error *error);
mpt_status tokens_open(const data_spec *spec, dataset *data, mpt_error *error);
mpt_status synthetic_open(const data_spec *spec, dataset *data, mpt_error *error);

/* The files that a path or glob of the spec stands for, sorted, each once though reached through
 * several links. A package's are on the machine where it is installed, else in the
 * cache. */
typedef struct file_list {
  char **paths;
  int count;
} file_list;
mpt_status files_find(const data_spec *spec, const char *pattern, file_list *files,
                      mpt_error *error);
void files_free(file_list *files);

/* A file of data, plain or gzipped, read from front to back and no further than asked for. Every
 * kind of data reads so, and none more than it can hold or uses. */
typedef enum stream_end {
  STREAM_WHOLE, /* more than `most` bytes are an error: of a plain file unread, of a gzipped one
                   when they come; `remedy` ends the message: "; split the file" */
  STREAM_PART   /* the stream ends there */
} stream_end;
typedef struct data_stream {
  const char *path; /* the caller's */
  void *file;       /* zlib's; NULL: plain */
  int plain;        /* file descriptor */
  int failure;      /* errno of the last read from it, or 0 */
  stream_end end;
  int64_t most, read;
  const char *remedy;
} data_stream;

mpt_status stream_open(const char *path, stream_end end, int64_t most, const char *remedy,
                       data_stream *s, mpt_error *error);
/* How many of `size` bytes there were; where fewer, stream_check tells whether that is the end. */
int64_t stream_read(data_stream *s, void *out, int64_t size);
mpt_status stream_check(data_stream *s, mpt_error *error);
/* Gives back `status`, or what closing finds: the gzip trailer is checked last. */
mpt_status stream_close(data_stream *s, mpt_status status, mpt_error *error);

/* How the ids of a token file lie in it. */
typedef struct token_layout {
  int64_t start; /* bytes before the first id */
  id_type type;
  bool big_endian;
  int64_t count; /* that the header says; -1 without one */
} token_layout;

/* From the first `length` bytes of the file, of which there are fewer only where it ends: a header
 * of llm.c's or of numpy's .npy, or none. What is known to be no file of ids is refused. */
enum { TOKEN_HEAD = 1 << 17 };
mpt_status token_layout_find(const data_spec *spec, const char *path, const uint8_t *head,
                             int64_t length, token_layout *layout, mpt_error *error);
int token_bytes(id_type type);

/* The sample stored at place `index` of the training part followed by the held-out part. */
int64_t dataset_stored_index(const dataset *data, int64_t index);

/* Sets info.training and info.held_out from what is stored and what the spec says; for data whose
 * held-out part is drawn from all samples. */
mpt_status dataset_split(const data_spec *spec, dataset *data, const char *file, mpt_error *error);

/* The same for ids: the held-out windows are the last ids, training windows end before them. */
mpt_status dataset_split_ids(const data_spec *spec, dataset *data, const char *file,
                             mpt_error *error);

/* A permutation of [0, count) for each (key, epoch): where it takes `index`. */
int64_t shuffle_index(uint64_t key, uint64_t epoch, int64_t count, int64_t index);

#endif
