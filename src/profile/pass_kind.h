/* Kinds of passes over memory: a step's graph counts them, a profile has their prices. */
#ifndef PASS_KIND_H
#define PASS_KIND_H

/* What a pass over memory does, as far as its time depends on it. */
typedef enum pass_kind {
  PASS_ELEMENTWISE, /* sums, activations, copies, and whatever has no kind of its own */
  PASS_REDUCTION,   /* reads only: amax, the norm of gradients */
  PASS_COLUMN_SUM,  /* gradient of a bias */
  PASS_NORM_FORWARD,
  PASS_NORM_BACKWARD,
  PASS_LOSS, /* cross-entropy and its gradient */
  PASS_EMBEDDING_FORWARD,
  PASS_EMBEDDING_BACKWARD,
  PASS_QUANTIZE,      /* to fp8 */
  PASS_QUANTIZE_PAIR, /* to fp8 and its transpose, or to the transpose alone */
  PASS_OPTIMIZER,     /* Adam, and a copy of the weights in 16 bits */
  PASS_OPTIMIZER_FP8, /* and copies in fp8, transposed too */
  PASS_KIND_COUNT
} pass_kind;

const char *pass_kind_name(pass_kind kind); /* "norm_forward" */

#endif
