#include "tensor_file.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *path, const char *why) {
  fprintf(stderr, "error: %s: %s\n", path, why);
  exit(1);
}

/* The headers are written compactly, and no name has a quote in it: no JSON library is needed to
 * find what follows "name": and "shape":. */
static const char *find_after(const char *text, const char *key) {
  const char *found = strstr(text, key);
  return found != NULL ? found + strlen(key) : NULL;
}

static int64_t parse_header(const char *header, const char *path, tensor_file *file) {
  int64_t total = 0;
  for (const char *at = find_after(header, "\"name\":\""); at != NULL;
       at = find_after(at, "\"name\":\"")) {
    size_t length = strcspn(at, "\"");
    const char *shape = find_after(at, "\"shape\":[");
    if (file->count == TENSOR_FILE_MAX || length >= sizeof file->entries->name || shape == NULL)
      stop(path, "more or longer names than this program reads");
    tensor_file_entry *entry = &file->entries[file->count++];
    *entry = (tensor_file_entry){0};
    memcpy(entry->name, at, length);
    int64_t count = 1;
    for (char *end; *shape != ']'; shape = end + (*end == ',')) {
      int64_t size = strtoll(shape, &end, 10);
      if (end == shape || size < 1 || entry->rank == 8 ||
          __builtin_mul_overflow(count, size, &count))
        stop(path, "a shape that is none");
      entry->shape[entry->rank++] = size;
    }
    if (__builtin_add_overflow(total, count, &total))
      stop(path, "a shape that is none");
  }
  return total;
}

void tensor_file_read(const char *path, tensor_file *file) {
  *file = (tensor_file){0};
  FILE *stream = fopen(path, "rb");
  if (stream == NULL)
    stop(path, strerror(errno));
  char *header = NULL;
  size_t capacity = 0;
  if (getline(&header, &capacity, stream) < 2 || strncmp(header, "{\"schema\":\"mptune/", 18) != 0)
    stop(path, "not a file of mptune");
  int64_t total = parse_header(header, path, file);
  if (total == 0 || total > INT64_MAX / 8 ||
      (file->memory = malloc((size_t)total * sizeof(float))) == NULL ||
      fread(file->memory, sizeof(float), (size_t)total, stream) != (size_t)total)
    stop(path, "shorter than its header says");
  float *at = file->memory;
  for (int i = 0; i < file->count; i++) {
    file->entries[i].data = at;
    int64_t count = 1;
    for (int d = 0; d < file->entries[i].rank; d++)
      count *= file->entries[i].shape[d];
    at += count;
  }
  free(header);
  fclose(stream);
}

void tensor_file_free(tensor_file *file) {
  free(file->memory);
  *file = (tensor_file){0};
}

const tensor_file_entry *tensor_file_find(const tensor_file *file, const char *name) {
  for (int i = 0; i < file->count; i++)
    if (strcmp(file->entries[i].name, name) == 0)
      return &file->entries[i];
  return NULL;
}
