/* y = softmax(q k^T / sqrt(D)) v for each batch element and head, D channels a head.
 *
 * The team shares the B x heads pairs. A pair goes through its queries a block of rows at a time,
 * against all keys (those up to the diagonal when causal), so that a row's softmax is whole and
 * the block, P [rows, keys], stays in cache. The backward pass makes P again from lse, and with
 * dP = dy v^T and dS = P (dP - rowsum(P dP)):
 *   dv = P^T dy    dq = dS k / sqrt(D)    dk = dS^T q / sqrt(D)
 * What enters a product is rounded to the format of the products; sums are fp32. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_math.h"
#include <cblas.h>

enum { BLOCK_ROWS = 64, BLOCK_ELEMENTS = 1 << 16 };

typedef struct attention_task {
  const mpt_attention_args *args;
  mpt_t grad_y, grad_query, grad_key, grad_value;
  int64_t length, depth, rows; /* T, D, rows of a block */
  float scale;
  int tasks;
  char *scratch;
  size_t stride;
} attention_task;

/* One pair's memory; shapes as used. Rows of q, k, v and dy are ld_* apart. */
typedef struct head {
  const attention_task *t;
  int64_t batch, channel; /* channel: of the head's first column */
  const float *q, *k, *v, *dy;
  int64_t ld_q, ld_k, ld_v, ld_dy;
  float *q_copy, *k_copy, *v_copy, *dy_copy; /* [rows, D], [T, D], [T, D], [rows, D] */
  float *p, *rounded, *dp;                   /* [rows, T] */
  float *result;                             /* [rows, D] */
  float *dk, *dv;                            /* [T, D] */
  float *lse;                                /* [T] */
} head;

static size_t head_floats(const attention_task *t) {
  return (size_t)(3 * t->rows * t->length + 3 * t->rows * t->depth + 4 * t->length * t->depth);
}

static head head_memory(const attention_task *t, int task) {
  float *next = (float *)(t->scratch + (size_t)task * t->stride);
  int64_t block = t->rows * t->length, rows = t->rows * t->depth, all = t->length * t->depth;
  head h = {.t = t};
  h.p = next, next += block;
  h.rounded = next, next += block;
  h.dp = next, next += block;
  h.q_copy = next, next += rows;
  h.dy_copy = next, next += rows;
  h.result = next, next += rows;
  h.k_copy = next, next += all;
  h.v_copy = next, next += all;
  h.dk = next, next += all;
  h.dv = next;
  return h;
}

static float *head_rows(const head *h, mpt_t x, int64_t row) {
  return (float *)x->data + h->batch * x->strides[0] + row * x->strides[1] + h->channel;
}

/* The head's rows of x, as they enter a product: in place when they are of its format already. */
static const float *operand(const head *h, mpt_t x, int64_t row, int64_t rows, float *copy,
                            int64_t *ld) {
  mpt_format format = h->t->args->format;
  int64_t depth = h->t->depth;
  *ld = x->strides[1];
  if (*ld < depth) /* a single row may have any stride */
    *ld = depth;
  if (format == MPT_FP32 || x->format == format)
    return head_rows(h, x, row);
  for (int64_t i = 0; i < rows; i++)
    memcpy(copy + i * depth, head_rows(h, x, row + i), (size_t)depth * sizeof(float));
  mpt_format_round_array(format, copy, 1.0f, copy, (size_t)(rows * depth));
  *ld = depth;
  return copy;
}

/* Rounds values [rows, D] to x's format and stores them in the head's rows of x. */
static void store(const head *h, mpt_t x, int64_t row, int64_t rows, float *values) {
  int64_t depth = h->t->depth;
  mpt_cpu_round(x, values, rows * depth);
  for (int64_t i = 0; i < rows; i++)
    memcpy(head_rows(h, x, row + i), values + i * depth, (size_t)depth * sizeof(float));
}

/* c[m,n] = alpha op(a) op(b) + beta c */
static void multiply(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                     int64_t lda, const float *b, int64_t ldb, float beta, float *c) {
  cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m,
              (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)n);
}

static int64_t visible(const attention_task *t, int64_t query, int64_t keys) {
  return t->args->causal ? query + 1 : keys;
}

static const float *round_products(const head *h, const float *x, float *rounded, int64_t count) {
  if (h->t->args->format == MPT_FP32)
    return x;
  mpt_format_round_array(h->t->args->format, x, 1.0f, rounded, (size_t)count);
  return rounded;
}

/* p = softmax of the first n scores, zero beyond; returns log(sum exp). */
MPT_VECTOR_CLONES
static float softmax_scores(float *p, int64_t n, int64_t keys) {
  float largest = row_max(p, n);
  for (int64_t i = 0; i < n; i++)
    p[i] = vector_exp(p[i] - largest);
  float sum = row_sum(p, n), scale = 1.0f / sum;
  for (int64_t i = 0; i < n; i++)
    p[i] *= scale;
  for (int64_t i = n; i < keys; i++)
    p[i] = 0.0f;
  return largest + logf(sum);
}

static void forward_block(head *h, int64_t first, int64_t rows) {
  const attention_task *t = h->t;
  int64_t keys = t->args->causal ? first + rows : t->length, depth = t->depth;
  h->q = operand(h, t->args->query, first, rows, h->q_copy, &h->ld_q);
  multiply(false, true, rows, keys, depth, t->scale, h->q, h->ld_q, h->k, h->ld_k, 0, h->p);
  for (int64_t i = 0; i < rows; i++)
    h->lse[first + i] = softmax_scores(h->p + i * keys, visible(t, first + i, keys), keys);
  const float *p = round_products(h, h->p, h->p, rows * keys);
  multiply(false, false, rows, depth, keys, 1, p, keys, h->v, h->ld_v, 0, h->result);
  store(h, t->args->y, first, rows, h->result);
}

static void head_begin(head *h, int64_t pair) {
  const attention_task *t = h->t;
  const mpt_attention_args *args = t->args;
  h->batch = pair / args->heads;
  h->channel = pair % args->heads * t->depth;
  h->lse = (float *)args->lse->data + pair * t->length;
  h->k = operand(h, args->key, 0, t->length, h->k_copy, &h->ld_k);
  h->v = operand(h, args->value, 0, t->length, h->v_copy, &h->ld_v);
}

static void forward_part(void *context, int task) {
  const attention_task *t = context;
  int64_t begin, end;
  mpt_cpu_part(t->args->query->shape[0] * t->args->heads, 1, t->tasks, task, &begin, &end);
  head h = head_memory(t, task);
  for (int64_t pair = begin; pair < end; pair++) {
    head_begin(&h, pair);
    for (int64_t first = 0; first < t->length; first += t->rows)
      forward_block(&h, first, first + t->rows < t->length ? t->rows : t->length - first);
  }
}

/* p = exp(score - lse), zero beyond n */
MPT_VECTOR_CLONES
static void probabilities(float *p, float lse, int64_t n, int64_t keys) {
  for (int64_t i = 0; i < n; i++)
    p[i] = vector_exp(p[i] - lse);
  for (int64_t i = n; i < keys; i++)
    p[i] = 0.0f;
}

/* ds = p (dp - sum(p dp)); dp may be ds */
MPT_VECTOR_CLONES
static void score_gradients(const float *restrict p, float *restrict dp, int64_t n, int64_t keys) {
  float mean = row_dot(p, dp, n);
  for (int64_t i = 0; i < n; i++)
    dp[i] = p[i] * (dp[i] - mean);
  for (int64_t i = n; i < keys; i++)
    dp[i] = 0.0f;
}

static void backward_block(head *h, int64_t first, int64_t rows) {
  const attention_task *t = h->t;
  int64_t keys = t->args->causal ? first + rows : t->length, depth = t->depth;
  h->q = operand(h, t->args->query, first, rows, h->q_copy, &h->ld_q);
  h->dy = operand(h, t->grad_y, first, rows, h->dy_copy, &h->ld_dy);
  multiply(false, true, rows, keys, depth, t->scale, h->q, h->ld_q, h->k, h->ld_k, 0, h->p);
  for (int64_t i = 0; i < rows; i++)
    probabilities(h->p + i * keys, h->lse[first + i], visible(t, first + i, keys), keys);
  const float *p = round_products(h, h->p, h->rounded, rows * keys);
  multiply(true, false, keys, depth, rows, 1, p, keys, h->dy, h->ld_dy, 1, h->dv);
  multiply(false, true, rows, keys, depth, 1, h->dy, h->ld_dy, h->v, h->ld_v, 0, h->dp);
  for (int64_t i = 0; i < rows; i++)
    score_gradients(h->p + i * keys, h->dp + i * keys, visible(t, first + i, keys), keys);
  const float *ds = round_products(h, h->dp, h->dp, rows * keys);
  multiply(false, false, rows, depth, keys, t->scale, ds, keys, h->k, h->ld_k, 0, h->result);
  store(h, t->grad_query, first, rows, h->result);
  multiply(true, false, keys, depth, rows, t->scale, ds, keys, h->q, h->ld_q, 1, h->dk);
}

static void backward_part(void *context, int task) {
  const attention_task *t = context;
  int64_t begin, end;
  mpt_cpu_part(t->args->query->shape[0] * t->args->heads, 1, t->tasks, task, &begin, &end);
  head h = head_memory(t, task);
  for (int64_t pair = begin; pair < end; pair++) {
    head_begin(&h, pair);
    memset(h.dk, 0, (size_t)(t->length * t->depth) * sizeof(float));
    memset(h.dv, 0, (size_t)(t->length * t->depth) * sizeof(float));
    for (int64_t first = 0; first < t->length; first += t->rows)
      backward_block(&h, first, first + t->rows < t->length ? t->rows : t->length - first);
    store(&h, t->grad_key, 0, t->length, h.dk);
    store(&h, t->grad_value, 0, t->length, h.dv);
  }
}

static mpt_status prepare(mpt_queue *queue, attention_task *t, mpt_error *error) {
  mpt_t q = t->args->query;
  int64_t pairs = q->shape[0] * t->args->heads;
  t->length = q->shape[1];
  t->depth = q->shape[2] / t->args->heads;
  t->rows = BLOCK_ELEMENTS / t->length;
  t->rows = t->rows < 16 ? 16 : t->rows > BLOCK_ROWS ? BLOCK_ROWS : t->rows;
  t->rows = t->rows > t->length ? t->length : t->rows;
  t->scale = 1.0f / sqrtf((float)t->depth);
  t->tasks = mpt_cpu_tasks(queue, pairs * t->length * t->length);
  if (t->tasks > pairs)
    t->tasks = (int)pairs;
  return mpt_cpu_scratch(queue, t->tasks, head_floats(t) * sizeof(float), &t->scratch, &t->stride,
                         error);
}

mpt_status mpt_cpu_attention_forward(mpt_queue *queue, const mpt_attention_args *args,
                                     mpt_error *error) {
  attention_task t = {.args = args};
  MPT_RETURN_IF_FAILED(prepare(queue, &t, error));
  mpt_cpu_parallel_products(queue, t.tasks, forward_part, &t);
  return MPT_OK;
}

mpt_status mpt_cpu_attention_backward(mpt_queue *queue, const mpt_attention_args *args,
                                      mpt_t grad_y, mpt_t grad_query, mpt_t grad_key,
                                      mpt_t grad_value, mpt_error *error) {
  attention_task t = {.args = args,
                      .grad_y = grad_y,
                      .grad_query = grad_query,
                      .grad_key = grad_key,
                      .grad_value = grad_value};
  MPT_RETURN_IF_FAILED(prepare(queue, &t, error));
  mpt_cpu_parallel_products(queue, t.tasks, backward_part, &t);
  return MPT_OK;
}
