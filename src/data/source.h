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
  uint16_t *ids;       /* tokens: training ids, then held-out ids */
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
