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

/* A window whose first pixel is x[0], or would be: the part of it inside the image. */
typedef struct window_area {
  int64_t top, bottom, left, right; /* in the window */
  bool whole;
} window_area;

static window_area area_at(const window_task *t, int64_t top, int64_t left) {
  int64_t height = t->w.kernel_height, width = t->w.kernel_width;
  window_area a = {top < 0 ? -top : 0, top + height > t->height ? t->height - top : height,
                   left < 0 ? -left : 0, left + width > t->width ? t->width - left : width, false};
  a.whole = a.top == 0 && a.left == 0 && a.bottom == height && a.right == width;
  return a;
}

/* Most windows lie inside the image. Their kernel rows are a few floats, copied and added fastest
 * when the compiler knows how many. */
MPT_INLINE void copy_inside(const window_task *t, const float *x, float *restrict out,
                            int64_t width) {
  for (int64_t c = 0; c < t->channels; c++, x += t->height * t->width)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, out += width)
      for (int64_t kw = 0; kw < width; kw++)
        out[kw] = x[kh * t->width + kw];
}

MPT_INLINE void add_inside(const window_task *t, float *restrict x, const float *restrict in,
                           int64_t width) {
  for (int64_t c = 0; c < t->channels; c++, x += t->height * t->width)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, in += width)
      for (int64_t kw = 0; kw < width; kw++)
        x[kh * t->width + kw] += in[kw];
}

/* `first` is where the window's first pixel would be, from x[0]. */
static void copy_border(const window_task *t, window_area a, const float *x, int64_t first,
                        float *restrict out) {
  int64_t width = t->w.kernel_width;
  memset(out, 0, (size_t)t->columns->shape[1] * sizeof(float));
  for (int64_t c = 0; c < t->channels; c++, first += t->height * t->width)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, out += width)
      for (int64_t kw = a.left; kh >= a.top && kh < a.bottom && kw < a.right; kw++)
        out[kw] = x[first + kh * t->width + kw];
}

static void add_border(const window_task *t, window_area a, float *x, int64_t first,
                       const float *in) {
  int64_t width = t->w.kernel_width;
  for (int64_t c = 0; c < t->channels; c++, first += t->height * t->width)
    for (int64_t kh = 0; kh < t->w.kernel_height; kh++, in += width)
      for (int64_t kw = a.left; kh >= a.top && kh < a.bottom && kw < a.right; kw++)
        x[first + kh * t->width + kw] += in[kw];
}

static void copy_window(const window_task *t, const float *image, int64_t top, int64_t left,
                        float *restrict out) {
  window_area a = area_at(t, top, left);
  int64_t first = top * t->width + left;
  if (!a.whole)
    copy_border(t, a, image, first, out);
  else if (t->w.kernel_width == 3)
    copy_inside(t, image + first, out, 3);
  else if (t->w.kernel_width == 5)
    copy_inside(t, image + first, out, 5);
  else
    copy_inside(t, image + first, out, t->w.kernel_width);
}

static void add_window(const window_task *t, float *image, int64_t top, int64_t left,
                       const float *restrict in) {
  window_area a = area_at(t, top, left);
  int64_t first = top * t->width + left;
  if (!a.whole)
    add_border(t, a, image, first, in);
  else if (t->w.kernel_width == 3)
    add_inside(t, image + first, in, 3);
  else if (t->w.kernel_width == 5)
    add_inside(t, image + first, in, 5);
  else
    add_inside(t, image + first, in, t->w.kernel_width);
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
