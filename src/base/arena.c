#include "base/arena.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)4000)

struct mpt_arena_block {
  struct mpt_arena_block *next;
  size_t used, capacity;
  max_align_t data[];
};

void *mpt_arena_take(mpt_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 2)
    return NULL;
  const size_t step = _Alignof(max_align_t), rounded = (bytes + step - 1) / step * step;
  struct mpt_arena_block *block = arena->blocks;
  if (block == NULL || block->capacity - block->used < rounded) {
    const size_t capacity = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
    block = calloc(1, sizeof *block + capacity);
    if (block == NULL)
      return NULL;
    block->capacity = capacity;
    block->next = arena->blocks;
    arena->blocks = block;
  }
  void *taken = (char *)block->data + block->used;
  block->used += rounded;
  return taken;
}

char *mpt_arena_text(mpt_arena *arena, const char *bytes, size_t length) {
  char *text = mpt_arena_take(arena, length + 1);
  if (text != NULL)
    memcpy(text, bytes, length);
  return text;
}

void mpt_arena_free(mpt_arena *arena) {
  while (arena->blocks != NULL) {
    struct mpt_arena_block *next = arena->blocks->next;
    free(arena->blocks);
    arena->blocks = next;
  }
}
