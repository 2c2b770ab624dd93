/* The largest or the average value of each window, padding left out; shared among the team by
 * channels of images. Of equal largest values the first gets the gradient; a NaN counts as
 * largest. */
#include "kernels/cpu/cpu.h"
#include <string.h>

typedef struct pool_task {
  mpt_pooling kind;
  mpt_t x, y, grad_y, grad_x;
  mpt_window w;
  int64_t height, width, out_height, out_width;
  int tasks;
} pool_task;

/* A window's part inside the image. */
typedef struct pool_area {
  int64_t top, bottom, left, right;
} pool_area;

static pool_area area_at(const pool_task *t, int64_t oh, int64_t ow) {
  int64_t top = oh * t->w.stride - t->w.padding, left = ow * t->w.stride - t->w.padding;
  int64_t bottom = top + t->w.kernel_height, right = left + t->w.kernel_width;
  return (pool_area){top < 0 ? 0 : top, bottom > t->height ? t->height : bottom,
                     left < 0 ? 0 : left, right > t->width ? t->width : right};
}

static int64_t largest_at(const float *x, int64_t width, pool_area a) {
  int64_t best = a.top * width + a.left;
  for (int64_t h = a.top; h < a.bottom; h++)
    for (int64_t w = a.left; w < a.right; w++) {
      float value = x[h * width + w];
      if (value > x[best] || (value != value && x[best] == x[best]))
        best = h * width + w;
    }
  return best;
}

static float average_of(const float *x, int64_t width, pool_area a) {
  float sum = 0;
  for (int64_t h = a.top; h < a.bottom; h++)
    for (int64_t w = a.left; w < a.right; w++)
      sum += x[h * width + w];
  return sum / (float)((a.bottom - a.top) * (a.right - a.left));
}

static void spread(float *grad_x, int64_t width, pool_area a, float grad) {
  float share = grad / (float)((a.bottom - a.top) * (a.right - a.left));
  for (int64_t h = a.top; h < a.bottom; h++)
    for (int64_t w = a.left; w < a.right; w++)
      grad_x[h * width + w] += share;
}

static void forward_part(void *context, int task) {
  const pool_task *t = context;
  int64_t begin, end, outputs = t->out_height * t->out_width;
  mpt_cpu_part(t->x->shape[0] * t->x->shape[1], 1, t->tasks, task, &begin, &end);
  for (int64_t plane = begin; plane < end; plane++) {
    const float *x = (const float *)t->x->data + plane * t->height * t->width;
    float *y = (float *)t->y->data + plane * outputs;
    for (int64_t i = 0; i < outputs; i++) {
      pool_area area = area_at(t, i / t->out_width, i % t->out_width);
      y[i] = t->kind == MPT_POOL_MAX ? x[largest_at(x, t->width, area)]
                                     : average_of(x, t->width, area);
    }
    mpt_cpu_round(t->y, y, outputs);
  }
}

static void backward_part(void *context, int task) {
  const pool_task *t = context;
  int64_t begin, end, pixels = t->height * t->width, outputs = t->out_height * t->out_width;
  mpt_cpu_part(t->x->shape[0] * t->x->shape[1], 1, t->tasks, task, &begin, &end);
  for (int64_t plane = begin; plane < end; plane++) {
    const float *x = (const float *)t->x->data + plane * pixels;
    const float *grad_y = (const float *)t->grad_y->data + plane * outputs;
    float *grad_x = (float *)t->grad_x->data + plane * pixels;
    memset(grad_x, 0, (size_t)pixels * sizeof(float));
    for (int64_t i = 0; i < outputs; i++) {
      pool_area area = area_at(t, i / t->out_width, i % t->out_width);
      if (t->kind == MPT_POOL_MAX)
        grad_x[largest_at(x, t->width, area)] += grad_y[i];
      else
        spread(grad_x, t->width, area, grad_y[i]);
    }
    mpt_cpu_round(t->grad_x, grad_x, pixels);
  }
}

static pool_task make_task(const mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window w) {
  pool_task t = {.kind = kind, .x = x, .w = w, .height = x->shape[2], .width = x->shape[3]};
  t.out_height = (t.height + 2 * w.padding - w.kernel_height) / w.stride + 1;
  t.out_width = (t.width + 2 * w.padding - w.kernel_width) / w.stride + 1;
  t.tasks = mpt_cpu_tasks(queue, 8 * mpt_tensor_count(x));
  return t;
}

mpt_status mpt_cpu_pool_forward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                mpt_t y, mpt_error *error) {
  (void)error;
  pool_task t = make_task(queue, kind, x, window);
  t.y = y;
  mpt_cpu_parallel(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_pool_backward(mpt_queue *queue, mpt_pooling kind, mpt_t x, mpt_window window,
                                 mpt_t grad_y, mpt_t grad_x, mpt_error *error) {
  (void)error;
  pool_task t = make_task(queue, kind, x, window);
  t.grad_y = grad_y;
  t.grad_x = grad_x;
  mpt_cpu_parallel(queue, t.tasks, backward_part, &t);
  return MPT_OK;
}
