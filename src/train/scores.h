/* What rounding would cost each layer, at the weights that a network has: from a few batches and
 * without a training step, so at any point of a training, a restored checkpoint too.
 *
 * Forward. A format of a layer's fprop changes its output by e; the loss rises by <g, e> + e'He/2.
 * g is the loss's gradient there, and H the Gauss-Newton curvature: with a vector u of random signs
 * whose E[u u'] is the curvature of the loss in the network's outputs (mpt_curvature_signs), a
 * backward pass makes v = J'u of it, and E<v, e>^2 = e'He. Samples of a batch do not mix, so
 * squares are taken sample by sample, and one backward pass gives as many independent estimates as
 * there are samples; the rows of one sample (tokens, pixels) may mix, and are taken together.
 *
 * Backward. A format of a dgrad or a wgrad changes the gradient of the parameters that it reaches
 * by d, in every batch another. What stays in the mean over batches is its bias, and ends in the
 * weights; the rest is noise as batches have it, too. |mean d|^2 over B batches contains 1/B of
 * that noise, so the bias is the mean of <d_i, d_j> over all pairs of different batches i < j,
 * which is the mean over all ways to take products of disjoint halves. d lies in a space of all
 * parameters: what is kept of it is a sketch of SCORE_SKETCH numbers, sums of it under random
 * signs, in which squared lengths are kept but for sqrt(2 / SCORE_SKETCH), a standard deviation of
 * 4.4%. For a wgrad d is there at once; for a dgrad the change of the input's gradient is sent
 * through the backward pass of the layers below (network_backward_aside). The dgrad of a layer
 * below which nothing learns is not made, and not scored. (Of a convolution's dgrad, what rounding
 * does where windows are added up is left out: a quarter of it in fp16, little in fp8.)
 *
 * Where Adam trains the network, g and d are what it makes of them, divided by the root of each
 * parameter's mean square (score_update.c): a wgrad that rounds away all gradients of a weight's
 * small inputs changes the length of g by nothing, and these weights by everything.
 *
 * What it takes, for B batches and L layers: B forward and 2B backward passes, with Adam B more of
 * both; for each dgrad and format that is sent down a backward pass of the layers below (L / 2
 * backward passes a batch and format); and for each product and format its casts and product once
 * more, fprop's twice. On a GPU the host waits four times in a batch, and for each layer once where
 * fp16 is scored. docs/benchmarks/scores.md has times.
 *
 * Everything is keyed by `seed`, so that it repeats bit for bit, and like the training on a backend
 * and number of threads. */
#ifndef SCORES_H
#define SCORES_H

#include "train/trainer.h"

enum { SCORE_SKETCH = 1024, SCORE_MAX_BATCHES = 64 };

typedef struct score_options {
  const train_snapshot *at; /* the weights, those of a training with these options; NULL: those
                               that it would begin with */
  int batches;              /* B, 2 to SCORE_MAX_BATCHES */
  int64_t first_step;       /* the batches are the training's own of the steps from here on */
  unsigned precisions;      /* to score: bit set of 1 << mpt_precision; fp32 costs nothing */
  /* Of them, those in which a dgrad's change is sent down; 0: all. What others come to is taken to
   * be in proportion to the squares of what they change in the gradient of the input. */
  unsigned sent;
  const bool *layers; /* [layer_count]; NULL: all that have products */
  uint64_t seed;      /* of the random signs */
} score_options;

/* Of the loss, a mean over batches; with standard errors. */
typedef struct forward_score {
  double first, first_error;   /* <g, e> */
  double second, second_error; /* e'He / 2 */
} forward_score;

/* Over |mean g|^2, g the gradient of all parameters: so they add up over layers. Where that is less
 * than its standard error, over that. */
typedef struct backward_score {
  double bias, bias_error; /* |mean d|^2, from pairs: it may be below 0 */
  double variance;         /* E|d - mean d|^2 of a batch */
} backward_score;

typedef struct layer_scores {
  bool scored;       /* else all is 0 */
  bool scored_dgrad; /* else there is none */
  forward_score forward[MPT_PRECISION_COUNT];
  backward_score dgrad[MPT_PRECISION_COUNT], wgrad[MPT_PRECISION_COUNT];
} layer_scores;

typedef struct network_scores {
  layer_scores *layers; /* [layer_count] */
  int layer_count;
  int64_t samples;             /* of a batch */
  double loss;                 /* of the batches, in the network's formats */
  double signal, signal_error; /* |mean g|^2, from pairs */
  double noise;                /* E|g - mean g|^2 of a batch */
} network_scores;

/* The scores of the network that a training with these options would begin with (its initial
 * weights, those of a checkpoint, a fork's) or of a snapshot. Nothing is trained. Values that are
 * not finite are NaN. Where the device has too little memory, which scores take three to four times
 * as much of as a training, batches are halved until they fit; first_step counts those. The caller
 * clears *scores, also after a failure. */
mpt_status train_score(const train_options *options, const score_options *score,
                       network_scores *scores, mpt_error *error);
void network_scores_clear(network_scores *scores);

/* What a layer's forward pass in that format is expected to cost: the second order, and of the
 * first what stands out of its error twice, since rounding errors of the weights have either sign
 * and are others a step later. */
double score_forward(const forward_score *score);

#endif
