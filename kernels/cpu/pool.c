/* The largest or the average value of each window, padding left out; shared among the team by
 * channels of images. Of equal largest values the first gets the gradient; a NaN counts as
 * largest.
 *
 * A run of outputs of one row is computed at a time, one place of the window after the other: the
 * inner loops go over outputs, and vectorise. */
#include "kernels/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { RUN = 128 };

typedef struct pool_task {
  mpt_pooling kind;
  mpt_t x, y, grad_y, grad_x;
  mpt_window w;
  int64_t height, width, out_height, out_width;
  int tasks;
} pool_task;

/* Outputs [first, first + count) of row oh of a plane. */
typedef struct pool_run {
  int64_t oh, first, count;
  float value[RUN];   /* the largest or the sum, then the average; backward, the share of each */
  int32_t place[RUN]; /* of the largest, in the plane */
  float size[RUN];    /* of the window inside the image */
} pool_run;

/* Calls use for each place of the window that is inside the image, with the pixel that it has for
 * output `from`, and outputs [from, to) of the run for which it is. Pixels are `stride` apart. */
typedef void pool_use(pool_run *run, void *plane, int64_t pixel, int64_t stride, int64_t from,
                      int64_t to);

static void walk_window(const pool_task *t, pool_run *run, void *plane, pool_use *use) {
  int64_t stride = t->w.stride, padding = t->w.padding, end = run->first + run->count;
  for (int64_t kh = 0; kh < t->w.kernel_height; kh++) {
    int64_t h = run->oh * stride - padding + kh;
    if (h < 0 || h >= t->height)
      continue;
    for (int64_t kw = 0; kw < t->w.kernel_width; kw++) {
      int64_t from = kw < padding ? (padding - kw + stride - 1) / stride : 0;
      int64_t room = t->width - 1 + padding - kw, to = room < 0 ? 0 : room / stride + 1;
      from = from < run->first ? run->first : from;
      to = to > end ? end : to;
      if (from < to)
        use(run, plane, h * t->width + from * stride - padding + kw, stride, from - run->first,
            to - run->first);
    }
  }
}

MPT_INLINE void keep_larger(pool_run *run, const float *x, int64_t pixel, int64_t stride,
                            int64_t from, int64_t to) {
  float *restrict value = run->value;
  int32_t *restrict place = run->place;
  const float *restrict row = x + pixel;
  int32_t count = (int32_t)(to - from), step = (int32_t)stride, first = (int32_t)pixel;
  value += from, place += from;
  for (int32_t i = 0; i < count; i++) {
    float v = row[i * step], best = value[i];
    bool take = (v > best) | (place[i] < 0) | ((v != v) & (best == best));
    value[i] = take ? v : best;
    place[i] = take ? first + i * step : place[i];
  }
}

MPT_VECTOR_CLONES
static void use_larger(pool_run *run, void *plane, int64_t pixel, int64_t stride, int64_t from,
                       int64_t to) {
  if (stride == 1)
    keep_larger(run, plane, pixel, 1, from, to);
  else if (stride == 2)
    keep_larger(run, plane, pixel, 2, from, to);
  else
    keep_larger(run, plane, pixel, stride, from, to);
}

MPT_VECTOR_CLONES
static void use_sum(pool_run *run, void *plane, int64_t pixel, int64_t stride, int64_t from,
                    int64_t to) {
  const float *x = plane;
  for (int64_t i = from; i < to; i++) {
    run->value[i] += x[pixel + (i - from) * stride];
    run->size[i]++;
  }
}

static void use_count(pool_run *run, void *plane, int64_t pixel, int64_t stride, int64_t from,
                      int64_t to) {
  (void)plane, (void)pixel, (void)stride;
  for (int64_t i = from; i < to; i++)
    run->size[i]++;
}

static void use_spread(pool_run *run, void *plane, int64_t pixel, int64_t stride, int64_t from,
                       int64_t to) {
  float *grad_x = plane;
  for (int64_t i = from; i < to; i++)
    grad_x[pixel + (i - from) * stride] += run->value[i];
}

static void find_largest(const pool_task *t, pool_run *run, const float *x) {
  for (int64_t i = 0; i < run->count; i++) {
    run->value[i] = -INFINITY;
    run->place[i] = -1;
  }
  walk_window(t, run, (void *)x, use_larger);
}

static void forward_run(const pool_task *t, pool_run *run, const float *x, float *y) {
  if (t->kind == MPT_POOL_MAX) {
    find_largest(t, run, x);
    memcpy(y, run->value, (size_t)run->count * sizeof(float));
    return;
  }
  memset(run->value, 0, sizeof run->value);
  memset(run->size, 0, sizeof run->size);
  walk_window(t, run, (void *)x, use_sum);
  for (int64_t i = 0; i < run->count; i++)
    y[i] = run->value[i] / run->size[i];
}

static void backward_run(const pool_task *t, pool_run *run, const float *x, const float *grad_y,
                         float *grad_x) {
  if (t->kind == MPT_POOL_MAX) {
    find_largest(t, run, x);
    for (int64_t i = 0; i < run->count; i++)
      grad_x[run->place[i]] += grad_y[i];
    return;
  }
  memset(run->size, 0, sizeof run->size);
  walk_window(t, run, NULL, use_count);
  for (int64_t i = 0; i < run->count; i++)
    run->value[i] = grad_y[i] / run->size[i];
  walk_window(t, run, grad_x, use_spread);
}

/* Both passes: of a plane of x and y, forward, or of grad_x and grad_y. */
static void pool_part(void *context, int task) {
  const pool_task *t = context;
  const bool forward = t->grad_x == NULL;
  int64_t begin, end, pixels = t->height * t->width, outputs = t->out_height * t->out_width;
  mpt_cpu_part(t->x->shape[0] * t->x->shape[1], 1, t->tasks, task, &begin, &end);
  pool_run run;
  for (int64_t plane = begin; plane < end; plane++) {
    const float *x = (const float *)t->x->data + plane * pixels;
    float *y = (float *)(forward ? t->y : t->grad_y)->data + plane * outputs;
    float *grad_x = forward ? NULL : (float *)t->grad_x->data + plane * pixels;
    if (!forward)
      memset(grad_x, 0, (size_t)pixels * sizeof(float));
    for (run.oh = 0; run.oh < t->out_height; run.oh++)
      for (run.first = 0; run.first < t->out_width; run.first += RUN) {
        int64_t left = t->out_width - run.first;
        run.count = left < RUN ? left : RUN;
        float *at = y + run.oh * t->out_width + run.first;
        if (forward)
          forward_run(t, &run, x, at);
        else
          backward_run(t, &run, x, at, grad_x);
      }
    if (forward)
      mpt_cpu_round(t->y, y, outputs);
    else
      mpt_cpu_round(t->grad_x, grad_x, pixels);
  }
}

static pool_task make_task(const mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window w) {
  pool_task t = {.kind = kind, .x = x, .w = w, .height = x->shape[2], .width = x->shape[3]};
  t.out_height = (t.height + 2 * w.padding - w.kernel_height) / w.stride + 1;
  t.out_width = (t.width + 2 * w.padding - w.kernel_width) / w.stride + 1;
  t.tasks = mpt_cpu_tasks(queue, 2 * mpt_tensor_count(x));
  return t;
}

mpt_status mpt_cpu_pool_forward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                mpt_t y, mpt_error *error) {
  (void)error;
  pool_task t = make_task(queue, kind, x, window);
  t.y = y;
  mpt_cpu_parallel(queue, t.tasks, pool_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_pool_backward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                 mpt_t grad_y, mpt_t grad_x, mpt_error *error) {
  (void)error;
  pool_task t = make_task(queue, kind, x, window);
  t.grad_y = grad_y;
  t.grad_x = grad_x;
  mpt_cpu_parallel(queue, t.tasks, pool_part, &t);
  return MPT_OK;
}
