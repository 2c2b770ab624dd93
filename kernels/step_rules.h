/* What moves between steps: the loss scale and the scales of low-precision copies. One text for the
 * processor and the GPU, where a kernel runs it so that no step waits for the host. */
#ifndef MPT_KERNELS_STEP_RULES_H
#define MPT_KERNELS_STEP_RULES_H

#include "mptune/ops.h"
#include <string.h>

#ifdef __CUDACC__
#define MPT_RULE static __host__ __device__ inline
#else
#define MPT_RULE static inline
#endif

enum { RULE_INFINITY_BITS = 0x7F800000, RULE_MAX_EXPONENT = 126 };

MPT_RULE uint32_t rule_float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* 2^e, e within +-126 */
MPT_RULE float rule_power_of_two(int e) {
  uint32_t bits = (uint32_t)(e + 127) << 23;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* floor(log2(max_finite / amax)) - margin, within +-126; 0 for a zero or non-finite amax. */
MPT_RULE int rule_scale_exponent(float max_finite, uint32_t amax_bits, int margin) {
  if (amax_bits == 0 || amax_bits >= RULE_INFINITY_BITS)
    return 0;
  uint32_t max_bits = rule_float_bits(max_finite);
  int exponent = (int)(amax_bits >> 23);
  uint32_t fraction = amax_bits & 0x7FFFFFu;
  if (exponent == 0) { /* subnormal: as if it were normal */
    exponent = 1;
    while ((fraction & 0x800000u) == 0) {
      fraction <<= 1;
      exponent--;
    }
    fraction &= 0x7FFFFFu;
  }
  int e = (int)(max_bits >> 23) - exponent - ((max_bits & 0x7FFFFFu) < fraction) - margin;
  return e > RULE_MAX_EXPONENT    ? RULE_MAX_EXPONENT
         : e < -RULE_MAX_EXPONENT ? -RULE_MAX_EXPONENT
                                  : e;
}

/* The scale that suits values up to amax. */
MPT_RULE void rule_scale_set(mpt_scale *scale, uint32_t amax_bits) {
  int e = rule_scale_exponent(scale->max_finite, amax_bits, scale->delayed ? scale->margin : 0);
  scale->scale = rule_power_of_two(e);
  scale->inverse = rule_power_of_two(-e);
}

/* Whether the scale follows from the tensor at hand: without delay always, and with it until a step
 * has left its amax in the history. Steps in which the tensor was all zero leave none. */
MPT_RULE bool rule_scale_is_own(const mpt_scale *scale) {
  return !scale->delayed || scale->filled == 0;
}

/* What goes into a history is what training steps cast, which is not all that is measured. */
MPT_RULE void rule_scale_measured(mpt_scale *scale, uint32_t amax_bits) {
  if (!rule_scale_is_own(scale))
    return;
  if (!scale->delayed && scale->amax_bits < amax_bits)
    scale->amax_bits = amax_bits;
  rule_scale_set(scale, amax_bits);
}

/* Delayed scaling: the largest amax of the last steps. One that is zero or not finite says nothing
 * of the scale that the next steps need and stays out of the history. */
MPT_RULE bool rule_scale_moves(const mpt_scale *scale, uint32_t amax_bits) {
  return scale->delayed && amax_bits != 0 && amax_bits < RULE_INFINITY_BITS;
}

/* Entries of the history once this step's amax is in it, and what entry i is then. */
MPT_RULE int rule_history_filled(const mpt_scale *scale) {
  return scale->filled < scale->length ? scale->filled + 1 : scale->length;
}
MPT_RULE uint32_t rule_history_entry(const mpt_scale *scale, int i, uint32_t amax_bits) {
  return i == scale->next ? amax_bits : scale->history[i];
}
MPT_RULE uint32_t rule_history_largest(const mpt_scale *scale, uint32_t amax_bits) {
  uint32_t largest = 0;
  for (int i = 0; i < rule_history_filled(scale); i++)
    if (largest < rule_history_entry(scale, i, amax_bits))
      largest = rule_history_entry(scale, i, amax_bits);
  return largest;
}

/* The scale that rule_scale_step will take from the history at the next step's begin, known as soon
 * as this step has seen its amax; `largest` is that of the history with it. */
MPT_RULE float rule_scale_coming(const mpt_scale *scale, uint32_t largest) {
  if (!rule_scale_moves(scale, scale->amax_bits))
    return scale->scale;
  return rule_power_of_two(rule_scale_exponent(scale->max_finite, largest, scale->margin));
}

/* The amax that came ahead is that of the step which begins. */
MPT_RULE void rule_scale_step(mpt_scale *scale, int64_t step, bool ended) {
  uint32_t amax_bits = ended ? scale->amax_bits : 0;
  if (amax_bits >= RULE_INFINITY_BITS) {
    if (!scale->nonfinite)
      scale->nonfinite_step = step;
    scale->nonfinite = 1;
  }
  if (rule_scale_moves(scale, amax_bits)) {
    rule_scale_set(scale, rule_history_largest(scale, amax_bits));
    int filled = rule_history_filled(scale);
    scale->history[scale->next] = amax_bits;
    scale->next = (scale->next + 1) % scale->length;
    scale->filled = filled;
  }
  scale->amax_bits = scale->coming_bits;
  if (scale->comes && rule_scale_is_own(scale))
    rule_scale_set(scale, scale->coming_bits);
  scale->coming_bits = 0;
  scale->comes = 0;
}

/* Counts the step that ended and moves the loss scale. */
MPT_RULE void rule_state_step(mpt_step_state *s) {
  if (s->pending == 0)
    return;
  s->steps++;
  s->applied += s->pending == 1 && !s->overflow;
  s->pending = 0;
  if (!s->overflow) {
    s->at_floor = 0;
    if (s->dynamic && ++s->good_steps >= s->interval) {
      s->loss_scale = 2.0f * s->loss_scale < s->ceiling ? 2.0f * s->loss_scale : s->ceiling;
      s->good_steps = 0;
    }
    return;
  }
  s->skipped++;
  s->good_steps = 0;
  if (!s->dynamic)
    return;
  s->at_floor = s->loss_scale <= s->floor;
  s->loss_scale = 0.5f * s->loss_scale > s->floor ? 0.5f * s->loss_scale : s->floor;
}

/* What a step begins with. */
MPT_RULE void rule_state_begin(mpt_step_state *s) {
  s->overflow = 0;
  s->clip = 1.0f;
  s->gradient_norm = 0.0f;
}

#endif
