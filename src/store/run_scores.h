/* What rounding would do to each layer: as it was measured in an instrumented training, and what
 * the search made of it. */
#ifndef RUN_SCORES_H
#define RUN_SCORES_H

#include "base/arena.h"
#include "store/store.h"

/* Shares of an operand's values that are not zero, when it is cast at its best scale. */
typedef struct store_operand_seen {
  double saturated, vanished;
  double amax; /* NaN: not finite */
} store_operand_seen;

/* NaN: not finite. */
typedef struct store_score {
  const char *layer;
  mpt_precision precision;
  double forward;      /* expected increase of the training loss */
  double dgrad, wgrad; /* bias of the gradient by rounding, over its square (train/scores.h) */
  double output_amax;
  store_operand_seen operands[MPT_OPERAND_COUNT];
} store_score;

typedef struct store_scores {
  mpt_arena memory; /* what was read, or made */
  const store_score *scores;
  int count;
} store_scores;

/* Of the training with that key. */
mpt_status store_put_scores(store *s, const char *key, const store_scores *scores,
                            mpt_error *error);
mpt_status store_get_scores(store *s, const char *key, store_scores *scores, bool *found,
                            mpt_error *error);
void store_scores_clear(store_scores *scores);

typedef struct store_sensitivity_row {
  const char *layer;
  mpt_precision precision;
  mpt_gemm_kind gemm;
  double forward, backward; /* scores */
  double predicted;         /* increase of the metric in its units */
  const char *veto;         /* why it is not tried, or NULL */
} store_sensitivity_row;

typedef struct store_sensitivity {
  mpt_arena memory;
  const store_sensitivity_row *rows;
  int count;
} store_sensitivity;

mpt_status store_put_sensitivity(store *s, const store_sensitivity *sensitivity, mpt_error *error);
mpt_status store_get_sensitivity(store *s, store_sensitivity *sensitivity, bool *found,
                                 mpt_error *error);
void store_sensitivity_clear(store_sensitivity *sensitivity);
struct json_t *store_sensitivity_json(const store_sensitivity *sensitivity); /* NULL: no memory */

#endif
