/* u = c B s, where B B' is the Hessian of a loss in its outputs and s are random signs: s_i is bit
 * i % 128 of the i / 128-th block of Philox numbers. c is scale / rows, or scale / elements.
 *   cross-entropy    B s = r s - p <r, s>   p = softmax(x), r = sqrt(p); B B' = diag(p) - p p'
 *   nll              B s = s / sqrt(p)
 *   binary           B s = sqrt(q (1 - q)) s   q = 1 / (1 + e^-x)
 *   squared          B s = sqrt(2) s */
#include "base/random.h"
#include "kernels/cpu/loss.h"
#include "kernels/cpu/vector_math.h"

typedef struct signs_task {
  mpt_curvature kind;
  mpt_t x, u;
  mpt_dropout_key key;
  float scale;
  int tasks;
  char *scratch; /* for each task: the signs of a row */
  size_t stride;
} signs_task;

/* signs = those of elements [first, first + n) */
static void draw(mpt_dropout_key key, int64_t first, float *signs, int64_t n) {
  uint32_t words[4];
  int64_t block = -1;
  for (int64_t k = 0; k < n; k++) {
    const int64_t i = first + k;
    if (i / 128 != block) {
      block = i / 128;
      mpt_philox(key.seed, (uint64_t)block | (uint64_t)key.layer << 40, key.step, words);
    }
    signs[k] = words[i % 128 / 32] >> i % 32 & 1 ? 1.0f : -1.0f;
  }
}

/* ---- rows: the cross-entropy ---- */

MPT_VECTOR_CLONES
static float largest_of(const float *x, int64_t n) {
  return row_max(x, n);
}

/* u may be x */
MPT_VECTOR_CLONES
static void sign_row(const float *x, const float *signs, float largest, float scale, float *u,
                     int64_t n) {
  for (int64_t i = 0; i < n; i++)
    u[i] = vector_exp(0.5f * (x[i] - largest));
  const float factor = 1.0f / sqrtf(row_dot(u, u, n));
  const float mean = factor * row_dot(u, signs, n);
  for (int64_t i = 0; i < n; i++) {
    const float r = factor * u[i];
    u[i] = scale * (r * signs[i] - r * r * mean);
  }
}

static void rows_part(void *context, int task) {
  const signs_task *t = context;
  int64_t begin, end, n = t->x->shape[1];
  float *signs = (float *)(t->scratch + (size_t)task * t->stride);
  mpt_cpu_part(t->x->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t r = begin; r < end; r++) {
    const float *x = mpt_cpu_row(t->x, r);
    float *u = mpt_cpu_row(t->u, r);
    draw(t->key, r * n, signs, n);
    sign_row(x, signs, largest_of(x, n), t->scale, u, n);
    mpt_cpu_round(t->u, u, n);
  }
}

/* ---- elements: the others ---- */

MPT_VECTOR_CLONES
static void sign_elements(mpt_curvature kind, const float *x, const float *signs, float scale,
                          float *u, int64_t n) {
  if (kind == MPT_CURVATURE_SQUARED)
    for (int64_t i = 0; i < n; i++)
      u[i] = scale * 1.41421356f * signs[i];
  else if (kind == MPT_CURVATURE_NLL) /* where the loss is clamped it has no slope */
    for (int64_t i = 0; i < n; i++)
      u[i] = x[i] < 0x1p-126f ? 0.0f : scale * signs[i] / sqrtf(x[i]);
  else /* sqrt(q (1 - q)) is e / (1 + e^2), e = e^(-|x|/2) */
    for (int64_t i = 0; i < n; i++) {
      const float e = vector_exp(-0.5f * fabsf(x[i]));
      u[i] = scale * signs[i] * (e / (1.0f + e * e));
    }
}

static void elements_part(void *context, int task) {
  const signs_task *t = context;
  float signs[MPT_CPU_CHUNK];
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    float *u = mpt_cpu_at(t->u, &s);
    draw(t->key, s.index, signs, s.count);
    sign_elements(t->kind, mpt_cpu_at(t->x, &s), signs, t->scale, u, s.count);
    mpt_cpu_round(t->u, u, s.count);
  }
}

mpt_status mpt_cpu_curvature_signs(mpt_queue *queue, mpt_curvature kind, mpt_t x, float scale,
                                   const mpt_step_state *state, mpt_dropout_key key, mpt_t u,
                                   mpt_error *error) {
  const int64_t rows = x->shape[0], n = x->shape[1];
  const bool by_row = kind == MPT_CURVATURE_CROSS_ENTROPY;
  const int64_t divisor = by_row || kind == MPT_CURVATURE_NLL ? rows : rows * n;
  signs_task t = {.kind = kind,
                  .x = x,
                  .u = u,
                  .key = key,
                  .scale = loss_gradient_scale(scale, state) / (float)divisor,
                  .tasks = mpt_cpu_tasks(queue, 8 * rows * n)};
  if (by_row)
    MPT_RETURN_IF_FAILED(
        mpt_cpu_scratch(queue, t.tasks, (size_t)n * sizeof(float), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, by_row ? rows_part : elements_part, &t);
  return MPT_OK;
}
