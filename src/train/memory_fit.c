/* First fit by offset: one buffer after the other goes to the lowest place that is free whenever it
 * is in use. Large ones first, so that small ones fill the gaps between them. */
#include "train/memory_fit.h"
#include "base/error.h"
#include <stdbool.h>
#include <stdlib.h>

static const size_t alignment = 256;

static size_t aligned(size_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

static bool meet(memory_span a, memory_span b) {
  return a.first <= a.last && b.first <= b.last && a.first <= b.last && b.first <= a.last;
}

static bool in_use_together(const memory_buffer *a, const memory_buffer *b) {
  for (int i = 0; i < MEMORY_SPANS; i++)
    for (int k = 0; k < MEMORY_SPANS; k++)
      if (meet(a->spans[i], b->spans[k]))
        return true;
  return false;
}

/* The largest first; of equals the one that is used first, then by place in the array. */
static int by_size(const void *a, const void *b) {
  const memory_buffer *x = *(memory_buffer *const *)a, *y = *(memory_buffer *const *)b;
  if (x->bytes != y->bytes)
    return x->bytes < y->bytes ? 1 : -1;
  if (x->spans[0].first != y->spans[0].first)
    return x->spans[0].first - y->spans[0].first;
  return (x > y) - (x < y);
}

/* The lowest place for a buffer among those that are placed, which are in the order of offsets. */
static size_t lowest(const memory_buffer *buffer, memory_buffer *const *placed, int count) {
  size_t place = 0;
  for (int i = 0; i < count; i++) {
    const size_t behind = placed[i]->offset + aligned(placed[i]->bytes);
    if (behind <= place || !in_use_together(buffer, placed[i])) /* the cheap question first */
      continue;
    if (place + aligned(buffer->bytes) <= placed[i]->offset)
      return place;
    place = behind;
  }
  return place;
}

static void insert(memory_buffer *buffer, memory_buffer **placed, int count) {
  int i = count;
  for (; i > 0 && placed[i - 1]->offset > buffer->offset; i--)
    placed[i] = placed[i - 1];
  placed[i] = buffer;
}

mpt_status memory_fit(memory_buffer *buffers, int count, size_t *bytes, mpt_error *error) {
  memory_buffer **order = malloc(2 * (size_t)(count + 1) * sizeof *order);
  if (order == NULL)
    return mpt_fail_memory(error, "places of buffers", (size_t)count * sizeof *order);
  memory_buffer **placed = order + count;
  for (int i = 0; i < count; i++)
    order[i] = &buffers[i];
  qsort(order, (size_t)count, sizeof *order, by_size);
  *bytes = 0;
  for (int i = 0; i < count; i++) {
    order[i]->offset = lowest(order[i], placed, i);
    insert(order[i], placed, i);
    size_t end = order[i]->offset + aligned(order[i]->bytes);
    *bytes = end > *bytes ? end : *bytes;
  }
  free(order);
  return MPT_OK;
}

/* What a time adds to the bytes in use, or takes off. */
typedef struct change {
  int time;
  size_t more, less;
} change;

static int by_moment(const void *a, const void *b) {
  const change *x = a, *y = b;
  return (x->time > y->time) - (x->time < y->time);
}

/* The spans of a buffer as one or two that are apart. */
static int spans_apart(const memory_buffer *buffer, memory_span apart[MEMORY_SPANS]) {
  int count = 0;
  for (int i = 0; i < MEMORY_SPANS; i++) {
    const memory_span s = buffer->spans[i];
    if (s.first > s.last)
      continue;
    if (count > 0 && meet(apart[0], s)) {
      apart[0].first = s.first < apart[0].first ? s.first : apart[0].first;
      apart[0].last = s.last > apart[0].last ? s.last : apart[0].last;
    } else {
      apart[count++] = s;
    }
  }
  return count;
}

mpt_status memory_in_use(const memory_buffer *buffers, int count, size_t *bytes, mpt_error *error) {
  const size_t most = 2 * MEMORY_SPANS * (size_t)count + 1;
  change *changes = malloc(most * sizeof *changes);
  if (changes == NULL)
    return mpt_fail_memory(error, "places of buffers", most * sizeof *changes);
  size_t changed = 0;
  for (int i = 0; i < count; i++) {
    memory_span apart[MEMORY_SPANS];
    const int spans = spans_apart(&buffers[i], apart);
    const size_t size = aligned(buffers[i].bytes);
    for (int k = 0; k < spans; k++) {
      changes[changed++] = (change){.time = apart[k].first, .more = size};
      changes[changed++] = (change){.time = apart[k].last + 1, .less = size};
    }
  }
  qsort(changes, changed, sizeof *changes, by_moment);
  size_t now = 0;
  *bytes = 0;
  for (size_t i = 0; i < changed; i++) {
    now += changes[i].more - changes[i].less; /* modulo 2^64, as all sums of it */
    if (i + 1 == changed || changes[i + 1].time != changes[i].time)
      *bytes = now > *bytes ? now : *bytes;
  }
  free(changes);
  return MPT_OK;
}
