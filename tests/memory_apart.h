/* memory_fit wrapped (-Wl,--wrap=memory_fit): where `memory_is_apart` no two buffers share a place,
 * so that a plan that lets them can be held against one that does not. */
#ifndef MEMORY_APART_H
#define MEMORY_APART_H

#include "train/memory_fit.h"
#include <stdbool.h>

static bool memory_is_apart;
static void (*memory_seen)(const memory_buffer *buffers, int count, size_t bytes); /* where it is */

mpt_status __real_memory_fit(memory_buffer *buffers, int count, size_t *bytes, mpt_error *error);
mpt_status __wrap_memory_fit(memory_buffer *buffers, int count, size_t *bytes, mpt_error *error);

mpt_status __wrap_memory_fit(memory_buffer *buffers, int count, size_t *bytes, mpt_error *error) {
  if (!memory_is_apart)
    return __real_memory_fit(buffers, count, bytes, error);
  *bytes = 0;
  for (int i = 0; i < count; i++) {
    buffers[i].offset = *bytes;
    *bytes += (buffers[i].bytes + 255) / 256 * 256;
  }
  if (memory_seen != NULL)
    memory_seen(buffers, count, *bytes);
  return MPT_OK;
}

#endif
