/* Convolution's lowering, and pooling. col2im is the transpose of im2col, and a pooling's gradient
 * that of its forward pass, so both are compared with what the forward pass does. */
#include "contract.h"

typedef struct image_shape {
  int64_t batch, channels, height, width;
  mpt_window w;
} image_shape;

static int64_t out_height(image_shape s) {
  return (s.height + 2 * s.w.padding - s.w.kernel_height) / s.w.stride + 1;
}

static int64_t out_width(image_shape s) {
  return (s.width + 2 * s.w.padding - s.w.kernel_width) / s.w.stride + 1;
}

static image_shape random_shape(contract *c, int which, bool pooling) {
  if (which == 0)
    return (image_shape){1, 1, 1, 1, {1, 1, 1, 0}};
  if (which == 1)
    return (image_shape){9, 3, 28, 27, {3, 3, 1, 1}}; /* enough for several tasks */
  image_shape s = {c_integer(c, 1, 4),
                   c_integer(c, 1, 5),
                   c_integer(c, 1, 9),
                   c_integer(c, 1, 9),
                   {c_integer(c, 1, 4), c_integer(c, 1, 4), c_integer(c, 1, 3), 0}};
  int least = s.w.kernel_height < s.w.kernel_width ? s.w.kernel_height : s.w.kernel_width;
  s.w.padding = pooling ? c_integer(c, 0, least - 1) : c_integer(c, 0, 3);
  return out_height(s) < 1 || s.height + 2 * s.w.padding < s.w.kernel_height ||
                 s.width + 2 * s.w.padding < s.w.kernel_width
             ? random_shape(c, which, pooling)
             : s;
}

/* Calls visit for each (row of columns, column, pixel of x); pixel -1 in the padding. */
typedef void visitor(void *context, int64_t row, int64_t column, int64_t pixel);
static void visit_windows(image_shape s, visitor *visit, void *context) {
  for (int64_t b = 0; b < s.batch; b++)
    for (int64_t oh = 0; oh < out_height(s); oh++)
      for (int64_t ow = 0; ow < out_width(s); ow++)
        for (int64_t ch = 0; ch < s.channels; ch++)
          for (int64_t kh = 0; kh < s.w.kernel_height; kh++)
            for (int64_t kw = 0; kw < s.w.kernel_width; kw++) {
              int64_t h = oh * s.w.stride - s.w.padding + kh;
              int64_t w = ow * s.w.stride - s.w.padding + kw;
              bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
              visit(context, (b * out_height(s) + oh) * out_width(s) + ow,
                    (ch * s.w.kernel_height + kh) * s.w.kernel_width + kw,
                    inside ? ((b * s.channels + ch) * s.height + h) * s.width + w : -1);
            }
}

typedef struct lowering {
  int64_t size; /* of a row of columns */
  const float *x, *columns;
  float *expected;
  double *sums;
} lowering;

static void gather(void *context, int64_t row, int64_t column, int64_t pixel) {
  lowering *l = context;
  l->expected[row * l->size + column] = pixel < 0 ? 0.0f : l->x[pixel];
}

static void scatter(void *context, int64_t row, int64_t column, int64_t pixel) {
  lowering *l = context;
  if (pixel >= 0)
    l->sums[pixel] += (double)l->columns[row * l->size + column];
}

typedef struct window_context {
  mpt_tensor from;
  mpt_window w;
} window_context;

static void run_im2col(contract *c, const void *context, const mpt_tensor *columns) {
  const window_context *k = context;
  C_RUN(mpt_im2col, c->queue, &k->from, k->w, columns);
}

static void run_col2im(contract *c, const void *context, const mpt_tensor *image) {
  const window_context *k = context;
  C_RUN(mpt_col2im, c->queue, &k->from, k->w, image);
}

static void windows_become_rows_and_sum_back(contract *c) {
  for (int i = 0; i < 40; i++) {
    image_shape s = random_shape(c, i, false);
    int64_t pixels = s.batch * s.channels * s.height * s.width;
    int64_t rows = s.batch * out_height(s) * out_width(s);
    int64_t size = s.channels * s.w.kernel_height * s.w.kernel_width;
    float *x = c_random(c, pixels), *columns = c_random(c, rows * size);
    lowering l = {size, x, columns, c_floats(c, rows * size), c_doubles(c, pixels)};
    visit_windows(s, gather, &l);
    visit_windows(s, scatter, &l);
    window_context image = {
        c_tensor(c, MPT_FP32, x, C_SHAPE(s.batch, s.channels, s.height, s.width)), s.w};
    window_context lowered = {c_tensor(c, MPT_FP32, columns, C_SHAPE(rows, size)), s.w};
    mpt_tensor got_columns = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, size));
    mpt_tensor got_image =
        c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.channels, s.height, s.width));
    run_im2col(c, &image, &got_columns);
    c_same_bits("columns", c_read(c, &got_columns), l.expected, rows * size);
    run_col2im(c, &lowered, &got_image);
    c_near("grad_x", c_read(c, &got_image), l.sums, pixels, 2e-6, 1.0);
    c_rounds(c, run_im2col, &image, C_SHAPE(rows, size));
    c_rounds(c, run_col2im, &lowered, C_SHAPE(s.batch, s.channels, s.height, s.width));
  }
}

static void rows_and_images_are_transposes(contract *c) {
  for (int i = 0; i < 20; i++) {
    int64_t batch = c_integer(c, 1, 4), channels = c_integer(c, 1, 40);
    int64_t height = c_integer(c, 1, 20), width = c_integer(c, 1, 20);
    int64_t pixels = height * width, n = batch * channels * pixels;
    float *rows = c_random(c, n), *image = c_floats(c, n);
    for (int64_t j = 0; j < n; j++) {
      int64_t row = j / channels, channel = j % channels;
      image[(row / pixels * channels + channel) * pixels + row % pixels] = rows[j];
    }
    mpt_tensor trows = c_tensor(c, MPT_FP32, rows, C_SHAPE(batch * pixels, channels));
    mpt_tensor timage = c_tensor(c, MPT_FP32, NULL, C_SHAPE(batch, channels, height, width));
    mpt_tensor back = c_tensor(c, MPT_FP32, NULL, C_SHAPE(batch * pixels, channels));
    mpt_tensor half = c_tensor(c, MPT_FP16, NULL, C_SHAPE(batch * pixels, channels));
    C_RUN(mpt_rows_to_image, c->queue, &trows, &timage);
    c_same_bits("image", c_read(c, &timage), image, n);
    C_RUN(mpt_image_to_rows, c->queue, &timage, &back);
    c_same_bits("rows", c_read(c, &back), rows, n);
    C_RUN(mpt_image_to_rows, c->queue, &timage, &half);
    for (int64_t j = 0; j < n; j++)
      image[j] = mpt_format_round(MPT_FP16, rows[j], false);
    c_same_bits("rows in fp16", c_read(c, &half), image, n);
  }
}

/* ---- pooling ---- */
typedef struct pooling {
  image_shape s;
  const float *x, *grad_y;
  double *y, *grad_x, *count;
  int64_t *chosen;
  bool largest, backward;
} pooling;

/* visit_windows knows channels as parts of a row: [window, channel, place]. */
static void pool_visit(void *context, int64_t row, int64_t column, int64_t pixel) {
  pooling *p = context;
  if (pixel < 0)
    return;
  int64_t windows = out_height(p->s) * out_width(p->s);
  int64_t channel = column / (p->s.w.kernel_height * p->s.w.kernel_width);
  int64_t out = (row / windows * p->s.channels + channel) * windows + row % windows;
  double value = (double)p->x[pixel];
  if (p->backward) {
    if (!p->largest)
      p->grad_x[pixel] += (double)p->grad_y[out] / p->count[out];
    else if (p->chosen[out] == pixel)
      p->grad_x[pixel] += (double)p->grad_y[out];
  } else if (!p->largest) {
    p->y[out] += value;
    p->count[out]++;
  } else if (p->count[out]++ == 0 || value > p->y[out]) {
    p->y[out] = value;
    p->chosen[out] = pixel;
  }
}

typedef struct pool_context {
  mpt_pooling kind;
  mpt_window w;
  mpt_tensor x, grad_y;
} pool_context;

static void run_pool(contract *c, const void *context, const mpt_tensor *y) {
  const pool_context *k = context;
  C_RUN(mpt_pool_forward, c->queue, k->kind, &k->x, k->w, y);
}

static void run_pool_backward(contract *c, const void *context, const mpt_tensor *grad_x) {
  const pool_context *k = context;
  C_RUN(mpt_pool_backward, c->queue, k->kind, &k->x, k->w, &k->grad_y, grad_x);
}

static void check_pool(contract *c, image_shape s, mpt_pooling kind) {
  int64_t pixels = s.batch * s.channels * s.height * s.width;
  int64_t oh = out_height(s), ow = out_width(s), outputs = s.batch * s.channels * oh * ow;
  float *x = c_random(c, pixels), *grad_y = c_random(c, outputs);
  for (int64_t i = 0; i < pixels; i++)
    x[i] = rintf(2 * x[i]); /* ties */
  pooling p = {s,
               x,
               grad_y,
               c_doubles(c, outputs),
               c_doubles(c, pixels),
               c_doubles(c, outputs),
               c_host(c, (size_t)outputs * sizeof(int64_t)),
               kind == MPT_POOL_MAX,
               false};
  visit_windows(s, pool_visit, &p);
  p.backward = true;
  visit_windows(s, pool_visit, &p);
  for (int64_t i = 0; i < outputs; i++)
    p.y[i] /= kind == MPT_POOL_MAX ? 1 : p.count[i];
  pool_context k = {kind, s.w,
                    c_tensor(c, MPT_FP32, x, C_SHAPE(s.batch, s.channels, s.height, s.width)),
                    c_tensor(c, MPT_FP32, grad_y, C_SHAPE(s.batch, s.channels, oh, ow))};
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.channels, oh, ow));
  mpt_tensor grad_x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(s.batch, s.channels, s.height, s.width));
  run_pool(c, &k, &y);
  run_pool_backward(c, &k, &grad_x);
  c_near("y", c_read(c, &y), p.y, outputs, 1e-6, 1.0);
  c_near("grad_x", c_read(c, &grad_x), p.grad_x, pixels, 2e-6, 1.0);
  c_rounds(c, run_pool, &k, C_SHAPE(s.batch, s.channels, oh, ow));
  c_rounds(c, run_pool_backward, &k, C_SHAPE(s.batch, s.channels, s.height, s.width));
}

static void pooling_and_gradients(contract *c) {
  for (int i = 0; i < 30; i++) {
    check_pool(c, random_shape(c, i, true), MPT_POOL_MAX);
    check_pool(c, random_shape(c, i, true), MPT_POOL_AVERAGE);
  }
}

CONTRACT_MAIN(CONTRACT_TEST(windows_become_rows_and_sum_back),
              CONTRACT_TEST(rows_and_images_are_transposes), CONTRACT_TEST(pooling_and_gradients))
