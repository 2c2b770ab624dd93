/* Globs worth trying for a list of layers, and the layers that each matches. */
#ifndef MPT_GLOB_CANDIDATES_H
#define MPT_GLOB_CANDIDATES_H

#include "base/arena.h"
#include "mptune/policy.h"

/* A set of layers is an array of words, one bit a layer. */
#define LAYER_SET_WORDS(count) (((count) + 63) / 64)

static inline bool layer_set_has(const uint64_t *set, int layer) {
  return set[layer / 64] >> (layer % 64) & 1;
}

static inline void layer_set_add(uint64_t *set, int layer) {
  set[layer / 64] |= (uint64_t)1 << (layer % 64);
}

typedef struct glob_candidate {
  const char *glob;
  uint64_t *matches; /* [words] */
} glob_candidate;

typedef struct glob_candidates {
  mpt_arena arena;
  int words;
  glob_candidate *list; /* no two match the same layers; the one that reads best comes first */
  int count;
} glob_candidates;

/* `accepts[class_count]` are sets of layers: runs of numbers are looked for in each. Every layer
 * has a candidate that matches it alone. Free with mpt_arena_free(&candidates->arena), after a
 * failure too. */
mpt_status mpt_glob_candidates_make(const mpt_layer_info *layers, int count,
                                    uint64_t *const *accepts, int class_count,
                                    glob_candidates *candidates, mpt_error *error);

#endif
