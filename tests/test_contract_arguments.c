/* What an operation refuses: the status, its name in the message, and outputs left alone. */
#include "contract.h"
#include "kernels/kernels.h"

#define REFUSED(expected, words, call, ...)                                                        \
  do {                                                                                             \
    mpt_error error_ = {0};                                                                        \
    refused(#call, expected, words, call(__VA_ARGS__, &error_), &error_);                          \
  } while (0)

/* The message begins with the operation: "mpt_gemm" says "gemm: ...". */
static void refused(const char *call, mpt_status expected, const char *words, mpt_status got,
                    const mpt_error *error) {
  const char *name = call + strlen("mpt_");
  if (got != expected)
    fail_msg("%s is %s (%s), expected %s: %s", call, mpt_status_name(got), error->message,
             mpt_status_name(expected), words);
  assert_int_equal(error->status, expected);
  if (strncmp(error->message, name, strlen(name)) != 0 || strstr(error->message, words) == NULL)
    fail_msg("'%s' does not begin with '%s' or lacks '%s'", error->message, name, words);
}

static mpt_tensor matrix(contract *c, int64_t rows, int64_t columns) {
  return c_tensor(c, MPT_FP32, NULL, C_SHAPE(rows, columns));
}

static void null_and_empty_tensors(contract *c) {
  mpt_tensor x = matrix(c, 3, 4), none = x, empty = x;
  none.data = NULL;
  empty.shape[0] = 0;
  REFUSED(MPT_ERROR_ARGUMENT, "queue is NULL", mpt_add, NULL, &x, &x, &x);
  REFUSED(MPT_ERROR_ARGUMENT, "b is NULL", mpt_add, c->queue, &x, NULL, &x);
  REFUSED(MPT_ERROR_ARGUMENT, "out is NULL", mpt_add, c->queue, &x, &x, &none);
  REFUSED(MPT_ERROR_SHAPE, "empty", mpt_fill, c->queue, &empty, 1);
  REFUSED(MPT_ERROR_SHAPE, "x is empty: its shape is [0, 4]", mpt_softmax_forward, c->queue, &empty,
          &empty);
  REFUSED(MPT_ERROR_SHAPE, "empty", mpt_gemm, c->queue,
          &((mpt_gemm_args){.a = &empty, .b = &x, .out = &x, .alpha = 1}));
  REFUSED(MPT_ERROR_SHAPE, "empty", mpt_mean_squared_error, c->queue, &empty, &empty, 1, NULL, NULL,
          NULL);
  assert_int_equal(mpt_add(c->queue, &x, NULL, &x, NULL), MPT_ERROR_ARGUMENT);
}

static void tensors_of_elsewhere(contract *c) {
  mpt_tensor x = matrix(c, 3, 4), other = x;
  other.device.index = 7;
  REFUSED(MPT_ERROR_ARGUMENT, "another device", mpt_copy, c->queue, &x, &other);
  other = x;
  other.format = MPT_FORMAT_COUNT;
  REFUSED(MPT_ERROR_ARGUMENT, "unknown format", mpt_copy, c->queue, &other, &x);
  other = x;
  other.rank = 5;
  REFUSED(MPT_ERROR_ARGUMENT, "rank 5", mpt_copy, c->queue, &other, &x);
  other = x;
  other.strides[1] = 2;
  REFUSED(MPT_ERROR_ARGUMENT, "not contiguous", mpt_copy, c->queue, &other, &x);
  other = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3, 4));
  other.strides[0] = 13;
  mpt_tensor same = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3, 4));
  REFUSED(MPT_ERROR_SHAPE, "equally spaced", mpt_copy, c->queue, &other, &same);
  other.shape[0] = other.shape[1] = other.shape[2] = INT64_C(1) << 40;
  REFUSED(MPT_ERROR_SHAPE, "fewer elements", mpt_fill, c->queue, &other, 0);
}

static void shapes_that_do_not_fit(contract *c) {
  mpt_tensor a = matrix(c, 3, 4), b = matrix(c, 4, 3), v = c_tensor(c, MPT_FP32, NULL, C_SHAPE(5));
  mpt_tensor flat = c_tensor(c, MPT_FP32, NULL, C_SHAPE(12));
  REFUSED(MPT_ERROR_SHAPE, "b has shape [4, 3], expected [3, 4]", mpt_add, c->queue, &a, &b, &a);
  REFUSED(MPT_ERROR_SHAPE, "y has shape [12], expected [3, 4]", mpt_copy, c->queue, &a, &flat);
  REFUSED(MPT_ERROR_SHAPE, "grad_bias", mpt_bias_backward, c->queue, &a, &v, false);
  REFUSED(MPT_ERROR_SHAPE, "gamma", mpt_layernorm_forward, c->queue, &a, &v, &v, 0, &a, &v, &v);
  REFUSED(MPT_ERROR_SHAPE, "grad_logits", mpt_cross_entropy, c->queue, &a, &(int32_t){0}, 1, NULL,
          NULL, NULL, &b);
  REFUSED(MPT_ERROR_SHAPE, "gradient", mpt_sgd_step, c->queue, &a, &b, NULL, 1, NULL, 0, 0,
          &(mpt_step_state){0});
}

static void gemm_operands(contract *c) {
  mpt_tensor a = matrix(c, 16, 32), b = matrix(c, 32, 8), out = matrix(c, 16, 8);
  mpt_tensor v = c_tensor(c, MPT_FP32, NULL, C_SHAPE(16));
  mpt_gemm_args args = {.a = &a, .b = &b, .out = &out, .alpha = 1};
  REFUSED(MPT_ERROR_ARGUMENT, "NULL", mpt_gemm, c->queue, NULL);
  args.transpose_b = true;
  REFUSED(MPT_ERROR_SHAPE, "b has shape [32, 8], expected [32, 32]", mpt_gemm, c->queue, &args);
  args.transpose_b = false;
  args.bias = &v;
  REFUSED(MPT_ERROR_SHAPE, "bias has shape [16], expected [8]", mpt_gemm, c->queue, &args);
  args.bias = NULL;
  args.out = &a;
  REFUSED(MPT_ERROR_SHAPE, "out has shape [16, 32], expected [16, 8]", mpt_gemm, c->queue, &args);
  mpt_tensor square = matrix(c, 8, 8), strided = square;
  strided.strides[0] = 9;
  REFUSED(MPT_ERROR_ARGUMENT, "out overlaps b", mpt_gemm, c->queue,
          &((mpt_gemm_args){.a = &strided, .b = &square, .out = &square, .alpha = 1}));
}

/* Section "operands" of the numerics: which pairs of formats multiply. */
static void gemm_operand_formats(contract *c) {
  mpt_tensor a = matrix(c, 16, 16), b = matrix(c, 16, 16), out = matrix(c, 16, 16);
  for (int x = 0; x < MPT_FORMAT_COUNT; x++)
    for (int y = 0; y < MPT_FORMAT_COUNT; y++) {
      bool fp8 = x >= MPT_FP8_E4M3 && y >= MPT_FP8_E4M3;
      bool good = fp8 ? x != MPT_FP8_E5M2 || y != MPT_FP8_E5M2 : x == y;
      a.format = (mpt_format)x;
      b.format = (mpt_format)y;
      mpt_gemm_args args = {.a = &a, .b = &b, .out = &out, .alpha = 1};
      if (good)
        C_RUN(mpt_gemm, c->queue, &args);
      else
        REFUSED(MPT_ERROR_ARGUMENT, mpt_format_get((mpt_format)x)->name, mpt_gemm, c->queue, &args);
    }
}

static void layers(contract *c) {
  mpt_tensor x = matrix(c, 6, 4), y = matrix(c, 6, 4), table = matrix(c, 10, 4);
  mpt_tensor places = matrix(c, 5, 4), v = c_tensor(c, MPT_FP32, NULL, C_SHAPE(4));
  mpt_tensor rows = c_tensor(c, MPT_FP32, NULL, C_SHAPE(6)), half = table;
  half.format = MPT_BF16;
  int32_t ids[6] = {0};
  REFUSED(MPT_ERROR_ARGUMENT, "ids is NULL", mpt_embedding_forward, c->queue, NULL, &table, NULL,
          &y);
  REFUSED(MPT_ERROR_ARGUMENT, "no multiple of the 5", mpt_embedding_forward, c->queue, ids, &table,
          &places, &y);
  REFUSED(MPT_ERROR_ARGUMENT, "grad_table is bf16, expected fp32", mpt_embedding_backward, c->queue,
          ids, &y, &half, NULL);
  REFUSED(MPT_ERROR_ARGUMENT, "epsilon", mpt_layernorm_forward, c->queue, &x, &v, &v, -1, &y, &rows,
          &rows);
  REFUSED(MPT_ERROR_ARGUMENT, "y overlaps x", mpt_layernorm_forward, c->queue, &x, &v, &v, 0, &x,
          &rows, &rows);
  REFUSED(MPT_ERROR_ARGUMENT, "overlaps", mpt_softmax_forward, c->queue, &x, &x);
  REFUSED(MPT_ERROR_ARGUMENT, "activation 9", mpt_activation_forward, c->queue, (mpt_activation)9,
          &x, &y);
  REFUSED(MPT_ERROR_ARGUMENT, "probability is 1", mpt_dropout, c->queue, &x, 1,
          ((mpt_dropout_key){0}), &y);
  REFUSED(MPT_ERROR_ARGUMENT, "no curvature 4", mpt_curvature_signs, c->queue, (mpt_curvature)4, &x,
          1, NULL, ((mpt_dropout_key){0}), &y);
  REFUSED(MPT_ERROR_ARGUMENT, "probability is nan", mpt_dropout, c->queue, &x, NAN,
          ((mpt_dropout_key){0}), &y);
}

/* What is wrong with the data is found where the operation runs: at once, before anything is
 * written, or, on a GPU, when the queue is next waited for. */
#define FAULTY(bad, words, words_gpu, call, ...)                                                   \
  do {                                                                                             \
    mpt_error error_ = {0};                                                                        \
    mpt_status status_ = call(__VA_ARGS__, &error_);                                               \
    if (c_on_gpu(c))                                                                               \
      faulty(c, bad, words_gpu, status_, &error_);                                                 \
    else                                                                                           \
      refused(#call, MPT_ERROR_ARGUMENT, words, status_, &error_);                                 \
  } while (0)

static void faulty(contract *c, int bad, const char *what, mpt_status status, mpt_error *error) {
  c_check(status, error);
  char words[64];
  snprintf(words, sizeof words, "%s %d of row 4 is not in 0 to ", what, bad);
  assert_int_equal(mpt_queue_synchronize(c->queue, error), MPT_ERROR_ARGUMENT);
  if (strstr(error->message, words) == NULL)
    fail_msg("'%s' lacks '%s'", error->message, words);
  C_RUN(mpt_queue_synchronize, c->queue); /* told once */
}

static void ids_and_labels_out_of_range(contract *c) {
  mpt_tensor x = matrix(c, 6, 4), y = matrix(c, 6, 4), table = matrix(c, 10, 4);
  for (int bad = -1; bad <= 10; bad += 11) {
    int32_t host[6] = {0, 1, 2, 3, bad, 0};
    int32_t *ids = c_upload_bits(c, host, sizeof host);
    double nothing = 42, loss;
    double *device_loss = c_upload_bits(c, &nothing, sizeof nothing);
    FAULTY(bad, bad < 0 ? "ids[4] is -1, expected 0 to 9" : "ids[4] is 10", "id",
           mpt_embedding_forward, c->queue, ids, &table, NULL, &y);
    FAULTY(bad, "ids[4]", "id", mpt_embedding_backward, c->queue, ids, &y, &table, NULL);
    FAULTY(bad, "labels[4]", "label", mpt_cross_entropy, c->queue, &x, ids, 1, NULL, device_loss,
           NULL, &y);
    FAULTY(bad, "labels[4]", "label", mpt_nll, c->queue, &x, ids, 1, NULL, device_loss, NULL, &y);
    if (c_on_gpu(c))
      continue;
    c_download_bits(c, device_loss, &loss, sizeof loss);
    assert_true(loss == nothing);
    float *got = c_read(c, &y);
    for (int i = 0; i < 24; i++)
      assert_true(isnan(got[i]));
  }
}

static void attention(contract *c) {
  mpt_tensor q = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3, 8)), y = q, flat = matrix(c, 6, 8);
  mpt_tensor lse = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 4, 3));
  mpt_attention_args good = {&q, &q, &q, &y, &lse, 4, false, MPT_FP32}, args = good;
  args.heads = 3;
  REFUSED(MPT_ERROR_ARGUMENT, "8 channels do not divide into 3 heads", mpt_attention_forward,
          c->queue, &args);
  args.heads = 2;
  REFUSED(MPT_ERROR_SHAPE, "lse has shape [2, 4, 3], expected [2, 2, 3]", mpt_attention_forward,
          c->queue, &args);
  args = good;
  args.format = MPT_FP8_E4M3;
  REFUSED(MPT_ERROR_ARGUMENT, "fp8", mpt_attention_forward, c->queue, &args);
  args = good;
  args.key = &flat;
  REFUSED(MPT_ERROR_SHAPE, "key has shape [6, 8]", mpt_attention_forward, c->queue, &args);
  REFUSED(MPT_ERROR_ARGUMENT, "grad_key is NULL", mpt_attention_backward, c->queue, &good, &q, &q,
          NULL, &q);
}

static void images(contract *c) {
  mpt_tensor x = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3, 5, 5));
  mpt_tensor y = c_tensor(c, MPT_FP32, NULL, C_SHAPE(2, 3, 2, 2)), columns = matrix(c, 8, 27);
  REFUSED(MPT_ERROR_SHAPE, "columns has shape [8, 27], expected [18, 27]", mpt_im2col, c->queue, &x,
          ((mpt_window){3, 3, 1, 0}), &columns);
  REFUSED(MPT_ERROR_SHAPE, "larger than an image", mpt_col2im, c->queue, &columns,
          ((mpt_window){9, 9, 1, 0}), &x);
  REFUSED(MPT_ERROR_ARGUMENT, "stride 0", mpt_im2col, c->queue, &x, ((mpt_window){3, 3, 0, 0}),
          &columns);
  REFUSED(MPT_ERROR_ARGUMENT, "as large as the window", mpt_pool_forward, c->queue, MPT_POOL_MAX,
          &x, ((mpt_window){2, 2, 1, 2}), &y);
  REFUSED(MPT_ERROR_SHAPE, "y has shape", mpt_pool_forward, c->queue, MPT_POOL_MAX, &x,
          ((mpt_window){2, 2, 1, 0}), &y);
  REFUSED(MPT_ERROR_SHAPE, "rows has shape", mpt_rows_to_image, c->queue, &columns, &x);
}

static void optimizers(contract *c) {
  mpt_tensor w = matrix(c, 3, 4), half = w, view = w;
  half.format = MPT_FP16;
  view.strides[0] = 5;
  mpt_step_state state = {.loss_scale = 1};
  mpt_adam_args args = {0};
  REFUSED(MPT_ERROR_ARGUMENT, "weight is fp16, expected fp32", mpt_sgd_step, c->queue, &half, &w,
          NULL, 1, NULL, 0, 0, &state);
  REFUSED(MPT_ERROR_ARGUMENT, "momentum needs a buffer", mpt_sgd_step, c->queue, &w, &w, NULL, 1,
          NULL, 0.9f, 0, &state);
  REFUSED(MPT_ERROR_ARGUMENT, "state is NULL", mpt_sgd_step, c->queue, &w, &w, NULL, 1, NULL, 0, 0,
          NULL);
  REFUSED(MPT_ERROR_ARGUMENT, "strided view", mpt_adam_step, c->queue, &w, &view, &w, &w, &args,
          &state);
  mpt_adam_parameter p = {.weight = &w, .gradient = &w, .first_moment = &w, .second_moment = &w};
  REFUSED(MPT_ERROR_ARGUMENT, "no parameters", mpt_adam_steps, c->queue, NULL, 0, &args, &state);
  REFUSED(MPT_ERROR_ARGUMENT, "NULL", mpt_adam_steps, c->queue, &p, 1, NULL, &state);
  p.second_moment = &half;
  REFUSED(MPT_ERROR_ARGUMENT, "second_moment is fp16", mpt_adam_steps, c->queue, &p, 1, &args,
          &state);
  p.second_moment = &w, p.copies[1].tensor = &half;
  REFUSED(MPT_ERROR_ARGUMENT, "a copy overlaps weight", mpt_adam_steps, c->queue, &p, 1, &args,
          &state);
  half.shape[0] = 2;
  REFUSED(MPT_ERROR_SHAPE, "a copy has shape [2, 4]", mpt_adam_steps, c->queue, &p, 1, &args,
          &state);
  mpt_tensor turned = c_tensor(c, MPT_BF16, NULL, C_SHAPE(4, 4));
  p.copies[1] = (mpt_weight_copy){.transposed = &turned};
  REFUSED(MPT_ERROR_SHAPE, "a transposed copy has shape [4, 4]", mpt_adam_steps, c->queue, &p, 1,
          &args, &state);
  turned.shape[1] = 3;
  turned.strides[0] = 3;
  REFUSED(MPT_ERROR_ARGUMENT, "a transposed copy is fp8", mpt_adam_steps, c->queue, &p, 1, &args,
          &state);
  p.copies[1] = (mpt_weight_copy){.flags = MPT_QUANTIZE_AMAX};
  REFUSED(MPT_ERROR_ARGUMENT, "without a scale", mpt_adam_steps, c->queue, &p, 1, &args, &state);
  REFUSED(MPT_ERROR_ARGUMENT, "no gradients", mpt_gradient_check, c->queue, NULL, 0, 0, &state,
          NULL);
  REFUSED(MPT_ERROR_ARGUMENT, "a gradient is NULL", mpt_gradient_check, c->queue,
          (const mpt_tensor *[]){NULL}, 1, 0, &state, NULL);
}

static void conversion(contract *c) {
  mpt_tensor x = matrix(c, 3, 4);
  double a, b;
  REFUSED(MPT_ERROR_ARGUMENT, "exponent is 127", mpt_cast, c->queue, &x, 127, &x, NULL);
  REFUSED(MPT_ERROR_ARGUMENT, "amax_bits is NULL", mpt_amax, c->queue, &x, NULL);
  REFUSED(MPT_ERROR_ARGUMENT, "statistics is NULL", mpt_collect, c->queue, &x, true, NULL);
  mpt_collection both[] = {{.x = &x, .lite = (mpt_lite *)&a}, {.x = &x, .full = (void *)&b}};
  REFUSED(MPT_ERROR_ARGUMENT, "no tensors", mpt_collect_all, c->queue, both, 0);
  REFUSED(MPT_ERROR_ARGUMENT, "of both kinds", mpt_collect_all, c->queue, both, 2);
  both[1].lite = both[0].lite;
  REFUSED(MPT_ERROR_ARGUMENT, "one of lite and full", mpt_collect_all, c->queue, both, 2);
  REFUSED(MPT_ERROR_ARGUMENT, "format is unknown", mpt_quantization_error, c->queue, &x,
          MPT_FORMAT_COUNT, 0, &a, &b);
}

/* A backend with no operations at all: each is reported by its name. */
static void operations_that_a_backend_lacks(contract *c) {
  mpt_backend nothing = {.name = "nothing"};
  mpt_queue *queue = malloc(sizeof *queue);
  *queue = *c->queue;
  queue->backend = &nothing;
  mpt_tensor x = matrix(c, 3, 4);
  mpt_error error;
  assert_int_equal(mpt_add(queue, &x, &x, &x, &error), MPT_ERROR_UNSUPPORTED);
  assert_string_equal(error.message, "the nothing backend does not support add");
  assert_int_equal(mpt_adam_step(queue, &x, &x, &x, &x, NULL, NULL, &error), MPT_ERROR_UNSUPPORTED);
  assert_string_equal(error.message, "the nothing backend does not support adam_step");
  free(queue);
}

CONTRACT_MAIN(CONTRACT_TEST(null_and_empty_tensors), CONTRACT_TEST(tensors_of_elsewhere),
              CONTRACT_TEST(shapes_that_do_not_fit), CONTRACT_TEST(gemm_operands),
              CONTRACT_TEST(gemm_operand_formats), CONTRACT_TEST(layers),
              CONTRACT_TEST(ids_and_labels_out_of_range), CONTRACT_TEST(attention),
              CONTRACT_TEST(images), CONTRACT_TEST(optimizers), CONTRACT_TEST(conversion),
              CONTRACT_TEST(operations_that_a_backend_lacks))
