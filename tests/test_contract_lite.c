/* What operations leave in an output's `lite`: the counts and extremes of what they wrote, added to
 * what was there, whether the backend collects them on the way or in a pass of its own. */
#include "contract.h"
#include "statistics_reference.h"

static const mpt_format stored[] = {MPT_FP32, MPT_BF16, MPT_FP16};
enum { STORED = sizeof stored / sizeof stored[0] };

/* An output that begins as NaN, and what its lite begins with. */
typedef struct watched {
  mpt_tensor y;
  mpt_lite before;
} watched;

/* Of something else, or of nothing. */
static void watch(contract *c, watched *w) {
  w->before = (mpt_lite){0};
  if (c_integer(c, 0, 1))
    w->before = (mpt_lite){100, 7, 3, 2, 0x40000000u + c_bits(c) % 1000000, 0u - 0x30000000u};
  w->y.lite = c_upload_bits(c, &w->before, sizeof w->before);
}

static watched output(contract *c, mpt_format format, int rank, const int64_t *shape) {
  watched w = {.y = c_tensor(c, format, NULL, rank, shape)};
  watch(c, &w);
  return w;
}

static void check_values(contract *c, const watched *w, const float *y, int64_t n) {
  double unused;
  mpt_lite raw;
  c_download_bits(c, w->y.lite, &raw, sizeof raw);
  mpt_statistics e = plain_statistics(y, n, &unused), got = mpt_lite_statistics(&raw);
  mpt_statistics before = mpt_lite_statistics(&w->before);
  assert_int_equal(got.count, before.count + e.count);
  assert_int_equal(got.zeros, before.zeros + e.zeros);
  assert_int_equal(got.nans, before.nans + e.nans);
  assert_int_equal(got.infinities, before.infinities + e.infinities);
  assert_int_equal(got.amax_bits, e.amax_bits > before.amax_bits ? e.amax_bits : before.amax_bits);
  assert_int_equal(got.amin_bits,
                   before.amin_bits - 1 < e.amin_bits - 1 ? before.amin_bits : e.amin_bits);
}

static void check(contract *c, const watched *w) {
  check_values(c, w, c_read(c, &w->y), mpt_tensor_count(&w->y));
}

/* Values of a format with everything among them. */
static mpt_tensor drawn(contract *c, mpt_format format, int special, int rank,
                        const int64_t *shape) {
  int64_t n = 1;
  for (int i = 0; i < rank; i++)
    n *= shape[i];
  float *x = c_floats(c, n);
  draw_values(c_bits(c), 0, 8, special, x, n);
  for (int64_t i = 0; i < n; i++)
    x[i] = mpt_format_round(format, x[i], true);
  return c_tensor(c, format, x, rank, shape);
}

/* The same without what is special, but every fifth channel may be zero. */
static mpt_tensor channels(contract *c, mpt_format format, bool zeros, int rank,
                           const int64_t *shape) {
  mpt_tensor t = drawn(c, format, 0, rank, shape);
  int64_t n = mpt_tensor_count(&t);
  float *x = c_read(c, &t);
  for (int64_t i = 0; zeros && i < n; i++)
    if (i % shape[rank - 1] % 5 == 0)
      x[i] = 0.0f;
  return c_tensor(c, format, x, rank, shape);
}

static void elements(contract *c, mpt_format in, mpt_format out, int64_t n) {
  mpt_tensor x = drawn(c, in, 2, C_SHAPE(n)), b = drawn(c, in, 2, C_SHAPE(n));
  watched w = output(c, out, C_SHAPE(n));
  C_RUN(mpt_copy, c->queue, &x, &w.y);
  check(c, &w);
  w = output(c, out, C_SHAPE(n));
  C_RUN(mpt_cast, c->queue, &x, 3, &w.y, NULL);
  check(c, &w);
  w = output(c, out, C_SHAPE(n));
  C_RUN(mpt_add, c->queue, &x, &b, &w.y);
  check(c, &w);
  w.y = drawn(c, out, 2, C_SHAPE(n));
  watch(c, &w);
  C_RUN(mpt_accumulate_tensor, c->queue, &x, &w.y);
  check(c, &w);
  for (int kind = MPT_RELU; kind <= MPT_GELU; kind++) {
    w = output(c, out, C_SHAPE(n));
    C_RUN(mpt_activation_forward, c->queue, (mpt_activation)kind, &x, &w.y);
    check(c, &w);
    mpt_tensor y = w.y;
    y.lite = NULL;
    w = output(c, out, C_SHAPE(n));
    C_RUN(mpt_activation_backward, c->queue, (mpt_activation)kind, &x, &y, &b, &w.y);
    check(c, &w);
  }
  w = output(c, out, C_SHAPE(n));
  C_RUN(mpt_dropout, c->queue, &x, 0.3f, (mpt_dropout_key){1, 2, 3}, &w.y);
  check(c, &w);
}

static void operations_on_elements(contract *c) {
  static const int64_t counts[] = {1, 9, 4097, 70008, 700001};
  for (int i = 0; i < STORED; i++)
    for (int j = 0; j < STORED; j++)
      for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
        if (counts[k] < 100000 || (i == j && c_on_gpu(c)))
          elements(c, stored[i], stored[j], counts[k]);
}

static void views_of_rows(contract *c) {
  mpt_tensor a = drawn(c, MPT_BF16, 2, C_SHAPE(33, 48)),
             wide = drawn(c, MPT_BF16, 1, C_SHAPE(33, 64));
  watched w = {.y = wide};
  w.y.shape[1] = 48;
  watch(c, &w);
  C_RUN(mpt_copy, c->queue, &a, &w.y);
  check_values(c, &w, c_read(c, &a), 33 * 48);
}

static void rows_of(contract *c, mpt_format format, int64_t rows, int64_t columns) {
  mpt_tensor x = drawn(c, format, 1, C_SHAPE(rows, columns));
  mpt_tensor g = drawn(c, format, 1, C_SHAPE(rows, columns));
  mpt_tensor gamma = drawn(c, MPT_FP32, 0, C_SHAPE(columns));
  mpt_tensor beta = drawn(c, MPT_FP32, 0, C_SHAPE(columns));
  mpt_tensor mean = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows));
  mpt_tensor rstd = c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows));
  float *zeros = c_floats(c, columns);
  mpt_tensor grad_gamma = c_tensor(c, MPT_FP32, zeros, C_SHAPE(columns));
  mpt_tensor grad_beta = c_tensor(c, MPT_FP32, zeros, C_SHAPE(columns));
  watched w = output(c, format, C_SHAPE(rows, columns));
  C_RUN(mpt_layernorm_forward, c->queue, &x, &gamma, &beta, 1e-5f, &w.y, &mean, &rstd);
  check(c, &w);
  w = output(c, format, C_SHAPE(rows, columns));
  C_RUN(mpt_layernorm_backward, c->queue, &g, &x, &gamma, &mean, &rstd, &w.y, false, &grad_gamma,
        &grad_beta);
  check(c, &w);
  w.y = drawn(c, format, 1, C_SHAPE(rows, columns));
  watch(c, &w);
  C_RUN(mpt_layernorm_backward, c->queue, &g, &x, &gamma, &mean, &rstd, &w.y, true, &grad_gamma,
        &grad_beta);
  check(c, &w);
  w = output(c, format, C_SHAPE(rows, columns));
  C_RUN(mpt_softmax_forward, c->queue, &x, &w.y);
  check(c, &w);
  int32_t *labels = c_host(c, (size_t)rows * sizeof *labels);
  for (int64_t i = 0; i < rows; i++)
    labels[i] = c_integer(c, 0, (int)columns - 1);
  int32_t *at = c_upload_bits(c, labels, (size_t)rows * sizeof *labels);
  double *loss = c_device(c, sizeof *loss);
  for (int in_place = 0; in_place < 2; in_place++) {
    w = output(c, format, C_SHAPE(rows, columns));
    if (in_place)
      w.y.data = x.data;
    C_RUN(mpt_cross_entropy, c->queue, &x, at, 0.5f, NULL, loss, NULL, &w.y);
    check(c, &w);
  }
}

static void operations_on_rows(contract *c) {
  static const int64_t columns[] = {5, 64, 768, 1001, 2048};
  for (int i = 0; i < STORED; i++)
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
      rows_of(c, stored[i], c_integer(c, 1, 70), columns[k]);
}

typedef struct attention_case {
  int64_t batch, length, depth;
  int heads;
  bool causal, packed;
} attention_case;

/* Packed: queries, keys and values in one tensor, so what the gradients' three views get adds up.
 */
static void attend(contract *c, attention_case k, mpt_format f, mpt_format products) {
  int64_t width = k.heads * k.depth, whole = k.packed ? 3 * width : width;
  size_t element = c_on_gpu(c) ? (size_t)mpt_format_get(f)->bits / 8 : sizeof(float);
  bool zeros = c_integer(c, 0, 1), special = c_integer(c, 0, 3) == 0;
  mpt_tensor from[3], parts[3], grads[3];
  mpt_tensor g = channels(c, f, zeros, C_SHAPE(k.batch, k.length, width));
  mpt_tensor lse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(k.batch, k.heads, k.length));
  watched y = output(c, f, C_SHAPE(k.batch, k.length, width)), to[3];
  for (int i = 0; i < 3; i++) {
    int at = k.packed ? 0 : i;
    if (i == at) {
      from[i] = special ? drawn(c, f, 1, C_SHAPE(k.batch, k.length, whole))
                        : channels(c, f, zeros, C_SHAPE(k.batch, k.length, whole));
      to[i] = output(c, f, C_SHAPE(k.batch, k.length, whole));
    }
    parts[i] = from[at], grads[i] = to[at].y;
    parts[i].shape[2] = grads[i].shape[2] = width;
    parts[i].data = (char *)parts[i].data + (size_t)((i - at) * width) * element;
    grads[i].data = (char *)grads[i].data + (size_t)((i - at) * width) * element;
  }
  mpt_attention_args args = {.query = &parts[0],
                             .key = &parts[1],
                             .value = &parts[2],
                             .y = &y.y,
                             .lse = &lse,
                             .heads = k.heads,
                             .causal = k.causal,
                             .format = products};
  C_RUN(mpt_attention_forward, c->queue, &args);
  check(c, &y);
  mpt_tensor forward = y.y;
  forward.lite = NULL;
  args.y = &forward;
  C_RUN(mpt_attention_backward, c->queue, &args, &g, &grads[0], &grads[1], &grads[2]);
  for (int i = 0; i < (k.packed ? 1 : 3); i++)
    check(c, &to[i]);
}

/* Every way in which a GPU stores rows: 16-byte pieces of heads of 32, 64 and 128 channels, other
 * heads element by element, in the format of the products or another. Sequences end inside blocks.
 */
static void attention(contract *c) {
  static const attention_case cases[] = {{2, 37, 32, 2, true, true},   {1, 1, 64, 1, true, false},
                                         {1, 129, 64, 2, true, true},  {2, 64, 64, 2, false, false},
                                         {1, 70, 128, 2, true, true},  {1, 33, 40, 2, false, true},
                                         {2, 19, 100, 1, true, false}, {1, 21, 160, 1, true, true}};
  static const mpt_format products[] = {MPT_FP32, MPT_TF32, MPT_BF16, MPT_FP16};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int i = 0; i < STORED; i++)
      for (size_t j = 0; j < sizeof products / sizeof *products; j++)
        attend(c, cases[k], stored[i], products[j]);
}

static void products(contract *c) {
  for (int i = 0; i < STORED; i++) {
    mpt_tensor a = drawn(c, stored[i], 0, C_SHAPE(48, 32)),
               b = drawn(c, stored[i], 0, C_SHAPE(16, 32));
    watched w = output(c, stored[i], C_SHAPE(48, 16));
    mpt_gemm_args args = {.a = &a, .b = &b, .out = &w.y, .transpose_b = true, .alpha = 1};
    C_RUN(mpt_gemm, c->queue, &args);
    check(c, &w);
  }
}

CONTRACT_MAIN(CONTRACT_TEST(operations_on_elements), CONTRACT_TEST(views_of_rows),
              CONTRACT_TEST(operations_on_rows), CONTRACT_TEST(attention), CONTRACT_TEST(products))
