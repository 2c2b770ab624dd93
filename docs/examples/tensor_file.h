/* The files that `mptune train --save-init` and `--save-batches` write: one line of JSON that has
 * {"name": ..., "shape": [...]} for each tensor, then the tensors in that order, raw fp32 of a
 * little-endian machine. */
#ifndef TENSOR_FILE_H
#define TENSOR_FILE_H

#include <stdint.h>

enum { TENSOR_FILE_MAX = 64 };

typedef struct tensor_file_entry {
  char name[128];
  int rank;
  int64_t shape[8];
  float *data; /* inside the file's memory */
} tensor_file_entry;

typedef struct tensor_file {
  int count;
  tensor_file_entry entries[TENSOR_FILE_MAX];
  float *memory;
} tensor_file;

/* Ends the program with a message when the file is not one of those. */
void tensor_file_read(const char *path, tensor_file *file);
void tensor_file_free(tensor_file *file);
/* NULL when there is none of that name. */
const tensor_file_entry *tensor_file_find(const tensor_file *file, const char *name);

#endif
