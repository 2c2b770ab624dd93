/* Buffers that share one block of memory, because they are in use at different times. */
#ifndef MEMORY_FIT_H
#define MEMORY_FIT_H

#include "mptune/status.h"
#include <stddef.h>

enum { MEMORY_SPANS = 2 };

typedef struct memory_span {
  int first, last; /* times in use, both ends included; none when first > last */
} memory_span;

typedef struct memory_buffer {
  size_t bytes;
  memory_span spans[MEMORY_SPANS];
  size_t offset; /* where memory_fit puts it */
} memory_buffer;

/* Gives each buffer a place in one block, apart from all that are in use at the same time; *bytes
 * is the block's size. The same buffers get the same places. */
mpt_status memory_fit(memory_buffer *buffers, int count, size_t *bytes, mpt_error *error);

/* The most bytes in use at any one time: no fit takes less. */
mpt_status memory_in_use(const memory_buffer *buffers, int count, size_t *bytes, mpt_error *error);

#endif
