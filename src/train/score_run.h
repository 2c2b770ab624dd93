/* Scores under way: what the files of scores share. */
#ifndef SCORE_RUN_H
#define SCORE_RUN_H

#include "train/score_pairs.h"
#include "train/training.h"

/* Device memory that products are made in, of the largest that any layer needs. */
typedef enum score_buffer {
  SCORE_OPERAND_A, /* as the products take them, and rounded */
  SCORE_OPERAND_B,
  SCORE_ROUNDED_A,
  SCORE_ROUNDED_B,
  SCORE_EXACT, /* products of both */
  SCORE_ROUNDED,
  SCORE_CHANGE,
  SCORE_SIGNED,       /* a tensor under random signs */
  SCORE_UPDATE,       /* an update that is made of a gradient, ... */
  SCORE_UPDATE_FIRST, /* ... and the moments that it is made with */
  SCORE_UPDATE_SECOND,
  SCORE_SQUARES, /* mean squares of the gradients of all parameters */
  SCORE_BUFFER_COUNT
} score_buffer;

/* A sketch is made on the device in two halves: column sums of what the signs keep, twice, and of
 * all. */
typedef struct score_sketch {
  float kept[SCORE_SKETCH], all[SCORE_SKETCH];
} score_sketch;

typedef enum score_phase { SCORE_GRADIENT, SCORE_CURVATURE } score_phase;

typedef struct score_run {
  training *t;
  network *net;
  mpt_queue *queue;
  const graph *g;
  const score_options *options;
  double loss_scale; /* of this step */
  bool *scored;      /* [layer_count] */
  int fp16_scale;    /* exponent of what fp16 gradients are still to be multiplied by */
  int slot_count;
  int *slots;         /* [layer_count][2][MPT_PRECISION_COUNT] of a dgrad, a wgrad; -1: none */
  score_pairs *pairs; /* [slot_count + 1] the last: of the gradient itself */
  double *orders;     /* [layer_count][MPT_PRECISION_COUNT][SCORE_ORDERS] sums over batches */
  double *changes;    /* [layer_count][MPT_PRECISION_COUNT] squares of what dgrads change */

  void *buffers[SCORE_BUFFER_COUNT];      /* device */
  score_sketch *sketches, *sketches_read; /* [slot_count + 1] device, host: of a batch */
  /* [2][layer_count][MPT_PRECISION_COUNT] of a pass: fprop's, dgrad's */
  mpt_comparison *between, *between_read;
  mpt_scale *scales;      /* [2] device */
  mpt_step_state *update; /* device: of an update that is no step of a training */
  double *loss;           /* device: of a difference, not looked at */
  score_phase phase;
  mpt_error error; /* the first that a probe met */
} score_run;

enum { SCORE_FIRST, SCORE_FIRST_SQUARED, SCORE_SECOND, SCORE_SECOND_SQUARED, SCORE_ORDERS };

/* score_layer.c: a layer's probe (trainer.h), in either phase; `context` is the run. */
void score_layer(void *context, mpt_queue *queue, int64_t step, int layer, const mpt_tensor *input,
                 const mpt_tensor *weight, const mpt_tensor *grad_output);
/* The most elements that a buffer holds. */
int64_t score_buffer_elements(const score_run *r, score_buffer which);
/* The exponent by which the change of a dgrad is magnified on its way down, so that it is about as
 * large as the gradient and is not lost in a narrow format. */
int score_magnified(int precision);
/* Whether a format is scored, and whether the changes of dgrads in it are sent down. */
static inline bool score_wants(const score_run *r, int precision) {
  return precision != MPT_PRECISION_FP32 && (r->options->precisions >> precision & 1) != 0;
}
static inline bool score_sends(const score_run *r, int precision) {
  return score_wants(r, precision) &&
         (r->options->sent == 0 || (r->options->sent >> precision & 1) != 0);
}
static inline int score_cell(const score_run *r, mpt_gemm_kind gemm, int layer, int precision) {
  return ((gemm == MPT_DGRAD ? r->g->layer_count : 0) + layer) * MPT_PRECISION_COUNT + precision;
}
/* Where a dgrad's or a wgrad's sketches are. */
static inline int *score_slot(const score_run *r, int layer, mpt_gemm_kind gemm, int precision) {
  return &r->slots[(layer * 2 + (gemm == MPT_WGRAD)) * MPT_PRECISION_COUNT + precision];
}

/* score_update.c: gradients as the optimizer sees them. */
/* Adds the batch's gradient, the b-th from 0, to the mean squares. */
mpt_status score_squares_add(score_run *r, int b, mpt_error *error);
/* *update = what the optimizer makes of `x`, a change of the gradient of the parameters from number
 * `first` of the row on; contiguous. */
mpt_status score_update(score_run *r, const mpt_tensor *x, int64_t first, mpt_tensor *update,
                        mpt_error *error);
static inline bool score_is_scaled(const score_run *r) {
  return r->t->w->optimizer.kind != OPTIMIZER_SGD;
}

/* score_sketch.c: of `x`, contiguous fp32, into that slot; the signs are the slot's. */
mpt_status score_sketch_make(score_run *r, const mpt_tensor *x, int slot, mpt_error *error);
/* The sketch read from a device, `factor` times. */
void score_sketch_values(const score_sketch *s, double factor, double values[SCORE_SKETCH]);

#endif
