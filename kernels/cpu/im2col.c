/* Windows of an image as rows of a matrix, [B*OH*OW, C*KH*KW], and their sum back into an image.
 * im2col is shared among the team by rows of windows, col2im by images: windows overlap. */
#include "kernels/cpu/cpu.h"
#include <string.h>

typedef struct window_task {
  mpt_t image, columns;
  mpt_window w;
  int64_t channels, height, width, out_height, out_width;
  int tasks;
} window_task;

/* The columns [*begin, *end) of a kernel row that lie inside the image, for a window at `left`. */
static void inside(const window_task *t, int64_t left, int64_t *begin, int64_t *end) {
  *begin = left < 0 ? -left : 0;
  *end = left + t->w.kernel_width > t->width ? t->width - left : t->w.kernel_width;
  if (*end < *begin)
    *end = *begin;
}

static void copy_window(const window_task *t, const float *image, int64_t top, int64_t left,
                        float *restrict out) {
  int64_t begin, end, kernel_width = t->w.kernel_width;
  inside(t, left, &begin, &end);
  for (int64_t c = 0; c < t->channels; c++)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, out += kernel_width) {
      int64_t h = top + kh;
      const float *row = image + (c * t->height + h) * t->width + left;
      bool outside = h < 0 || h >= t->height;
      for (int64_t kw = 0; kw < kernel_width; kw++)
        out[kw] = outside || kw < begin || kw >= end ? 0.0f : row[kw];
    }
}

static void add_window(const window_task *t, float *image, int64_t top, int64_t left,
                       const float *restrict in) {
  int64_t begin, end, kernel_width = t->w.kernel_width;
  inside(t, left, &begin, &end);
  for (int64_t c = 0; c < t->channels; c++)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, in += kernel_width) {
      int64_t h = top + kh;
      if (h < 0 || h >= t->height)
        continue;
      float *row = image + (c * t->height + h) * t->width + left;
      for (int64_t kw = begin; kw < end; kw++)
        row[kw] += in[kw];
    }
}

static void im2col_part(void *context, int task) {
  const window_task *t = context;
  int64_t begin, end, size = t->columns->shape[1];
  mpt_cpu_part(t->image->shape[0] * t->out_height, 1, t->tasks, task, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t batch = i / t->out_height, oh = i % t->out_height;
    const float *image = (const float *)t->image->data + batch * t->image->strides[0];
    float *out = (float *)t->columns->data + i * t->out_width * size;
    for (int64_t ow = 0; ow < t->out_width; ow++)
      copy_window(t, image, oh * t->w.stride - t->w.padding, ow * t->w.stride - t->w.padding,
                  out + ow * size);
    if (t->columns->format != t->image->format)
      mpt_cpu_round(t->columns, out, t->out_width * size);
  }
}

static void col2im_part(void *context, int task) {
  const window_task *t = context;
  int64_t begin, end, size = t->columns->shape[1], pixels = t->channels * t->height * t->width;
  mpt_cpu_part(t->image->shape[0], 1, t->tasks, task, &begin, &end);
  for (int64_t batch = begin; batch < end; batch++) {
    float *image = (float *)t->image->data + batch * pixels;
    const float *in = (const float *)t->columns->data + batch * t->out_height * t->out_width * size;
    memset(image, 0, (size_t)pixels * sizeof(float));
    for (int64_t oh = 0; oh < t->out_height; oh++)
      for (int64_t ow = 0; ow < t->out_width; ow++, in += size)
        add_window(t, image, oh * t->w.stride - t->w.padding, ow * t->w.stride - t->w.padding, in);
    mpt_cpu_round(t->image, image, pixels);
  }
}

static window_task make_task(const mpt_queue *queue, mpt_t image, mpt_t columns, mpt_window w) {
  window_task t = {.image = image, .columns = columns, .w = w};
  t.channels = image->shape[1], t.height = image->shape[2], t.width = image->shape[3];
  t.out_height = (t.height + 2 * w.padding - w.kernel_height) / w.stride + 1;
  t.out_width = (t.width + 2 * w.padding - w.kernel_width) / w.stride + 1;
  t.tasks = mpt_cpu_tasks(queue, 4 * mpt_tensor_count(columns));
  return t;
}

mpt_status mpt_cpu_im2col(mpt_queue *queue, mpt_t x, mpt_window window, mpt_t columns,
                          mpt_error *error) {
  (void)error;
  window_task t = make_task(queue, x, columns, window);
  mpt_cpu_parallel(queue, t.tasks, im2col_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_col2im(mpt_queue *queue, mpt_t columns, mpt_window window, mpt_t grad_x,
                          mpt_error *error) {
  (void)error;
  window_task t = make_task(queue, grad_x, columns, window);
  mpt_cpu_parallel(queue, t.tasks, col2im_part, &t);
  return MPT_OK;
}
