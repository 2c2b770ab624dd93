/* Memory that is taken in pieces and given back at once. Zero-initialise; free with mpt_arena_free.
 */
#ifndef MPT_BASE_ARENA_H
#define MPT_BASE_ARENA_H

#include <stddef.h>

typedef struct mpt_arena {
  struct mpt_arena_block *blocks; /* the newest first */
} mpt_arena;

/* Zeroed and aligned for any type; NULL when there is no memory. */
void *mpt_arena_take(mpt_arena *arena, size_t bytes);
/* A copy with a NUL after it. */
char *mpt_arena_text(mpt_arena *arena, const char *bytes, size_t length);
void mpt_arena_free(mpt_arena *arena);

#endif
