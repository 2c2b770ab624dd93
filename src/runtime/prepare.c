/* A session is prepared by rehearsal: steps are run on zeros, with every product as the real ones
 * will be, so that whatever happens once has happened. Then the session is put back as it was. */
#include "base/struct_size.h"
#include "runtime/plan.h"
#include <stdlib.h>
#include <string.h>

mpt_prepare_options mpt_prepare_options_default(void) {
  return (mpt_prepare_options){.struct_size = sizeof(mpt_prepare_options)};
}

/* ---- what the session was ---- */
typedef struct snapshot {
  mpt_session session;
  session_layer *layers;
  operand_source *sources;
  operand_copy *copies;
} snapshot;

static void *copy_of(const void *from, size_t count, size_t size) {
  void *to = calloc(count + 1, size);
  if (to != NULL && count > 0)
    memcpy(to, from, count * size);
  return to;
}

static mpt_status take_snapshot(const mpt_session *s, snapshot *was, mpt_error *error) {
  was->session = *s;
  was->layers = copy_of(s->layers, (size_t)s->layer_count, sizeof *s->layers);
  was->sources = copy_of(s->sources, (size_t)s->source_count, sizeof *s->sources);
  was->copies = copy_of(s->copies, (size_t)s->copy_count, sizeof *s->copies);
  return was->layers != NULL && was->sources != NULL && was->copies != NULL
             ? MPT_OK
             : mpt_fail_memory(error, "a rehearsal", (size_t)s->copy_count * sizeof *s->copies);
}

static mpt_status put_back(mpt_session *s, const snapshot *was, mpt_error *error) {
  memcpy(s->layers, was->layers, (size_t)s->layer_count * sizeof *s->layers);
  memcpy(s->sources, was->sources, (size_t)s->source_count * sizeof *s->sources);
  memcpy(s->copies, was->copies, (size_t)s->copy_count * sizeof *s->copies);
  memset(s->gradient_data, 0, (size_t)s->gradient_capacity * sizeof *s->gradient_data);
  memset(s->gradient_layer, 0, (size_t)s->gradient_capacity * sizeof *s->gradient_layer);
  *s = was->session;
  mpt_session_calls_forget(s);
  return mpt_session_start_workspace(s, error);
}

static void free_snapshot(snapshot *was) {
  free(was->layers);
  free(was->sources);
  free(was->copies);
}

/* ---- a rehearsal ---- */
typedef struct rehearsal {
  mpt_session *session;
  const mpt_prepare_options *options;
  char *memory; /* the queue's: tensors of the largest layer, zeros and staying so */
} rehearsal;

static size_t aligned(int64_t elements) {
  return ((size_t)elements * sizeof(float) + 255) / 256 * 256;
}

/* A tensor and its gradient are zeros in the same place: products of zeros leave it so. */
static size_t bytes_of(const session_layer *l) {
  return aligned(l->rows * l->k) + aligned(l->rows * l->n) + aligned(l->n * l->k) + aligned(l->n);
}

/* Where the next tensor goes; fp32 is the widest. */
static char *place(char **at, int64_t elements) {
  char *here = *at;
  *at += aligned(elements);
  return here;
}

static mpt_tensor view(const rehearsal *r, char *data, mpt_format format, int rank, int64_t rows,
                       int64_t columns) {
  mpt_tensor t = mpt_tensor_of(data, format, rank, (int64_t[]){rows, columns});
  t.device = mpt_queue_device(r->session->queue);
  return t;
}

/* A layer forward and backward, each in a micro-batch of its own: with a bias into a grad_input
 * that is written, and without into one that is added to. */
static mpt_status run_layer(rehearsal *r, int layer, int64_t rows, mpt_format input,
                            mpt_format grad_output, bool whole, mpt_error *error) {
  mpt_session *s = r->session;
  const session_layer *l = &s->layers[layer];
  char *at = r->memory;
  char *weight = place(&at, l->n * l->k); /* first: it stays where it is in a step */
  char *in = place(&at, l->rows * l->k), *out = place(&at, l->rows * l->n), *row = place(&at, l->n);
  mpt_tensor w = view(r, weight, l->given.weight_format, 2, l->n, l->k);
  mpt_tensor grad_w = view(r, weight, MPT_FP32, 2, l->n, l->k);
  mpt_tensor x = view(r, in, input, 2, rows, l->k);
  mpt_tensor grad_x = view(r, in, mpt_session_grad_input_format(s, layer), 2, rows, l->k);
  mpt_tensor y = view(r, out, mpt_session_output_format(s, layer), 2, rows, l->n);
  mpt_tensor grad_y = view(r, out, grad_output, 2, rows, l->n);
  mpt_tensor bias = view(r, row, MPT_FP32, 1, l->n, 1), grad_bias = bias;
  MPT_RETURN_IF_FAILED(mpt_session_microbatch(s, error));
  MPT_RETURN_IF_FAILED(mpt_linear_forward(s, layer, &x, &w, whole ? &bias : NULL, &y, error));
  if (s->mode != MPT_RUN_TRAIN)
    return MPT_OK;
  return mpt_linear_backward(s, layer, &grad_y, &x, &w, &grad_x, !whole, &grad_w,
                             whole ? &grad_bias : NULL, error);
}

/* Where it is not known how tensors are stored, they may be as any layer stores them. In a plain
 * run outputs are fp32. */
static mpt_status run_formats(rehearsal *r, int layer, int64_t rows, mpt_error *error) {
  static const mpt_format stored[] = {MPT_FP32, MPT_BF16, MPT_FP16};
  const mpt_session_layer *given = &r->session->layers[layer].given;
  const bool plain = r->session->mode == MPT_RUN_PLAIN;
  const bool known = given->formats_known && !plain;
  for (int i = 0; i < (known || plain ? 1 : 3); i++)
    for (int whole = 0; whole < 2; whole++)
      MPT_RETURN_IF_FAILED(run_layer(r, layer, rows, known ? given->input_format : stored[i],
                                     known ? given->grad_output_format : stored[i], whole != 0,
                                     error));
  return MPT_OK;
}

static mpt_status run_layers(rehearsal *r, mpt_error *error) {
  for (int i = 0; i < r->session->layer_count; i++) {
    const session_layer *l = &r->session->layers[i];
    if (!l->has_gemm)
      continue;
    MPT_RETURN_IF_FAILED(run_formats(r, i, l->rows, error));
    for (int j = 0; j < r->options->rows_count; j++)
      if (r->options->rows[j] < l->rows)
        MPT_RETURN_IF_FAILED(run_formats(r, i, r->options->rows[j], error));
  }
  return MPT_OK;
}

/* Two steps: the second counts the first, and takes its statistics away. */
static mpt_status run_steps(rehearsal *r, mpt_run_mode mode, mpt_statistics_mode statistics,
                            mpt_error *error) {
  mpt_session *s = r->session;
  MPT_RETURN_IF_FAILED(mpt_session_set_mode(s, mode, error));
  MPT_RETURN_IF_FAILED(mpt_session_set_statistics(s, statistics, 1, error));
  for (int step = 0; step < 2; step++) {
    mpt_tensor gradient = mpt_tensor_of(r->memory, MPT_FP32, 1, (int64_t[]){1});
    const mpt_tensor *const gradients[] = {&gradient};
    gradient.device = mpt_queue_device(s->queue);
    MPT_RETURN_IF_FAILED(mpt_session_step_begin(s, s->ended, error));
    MPT_RETURN_IF_FAILED(run_layers(r, error));
    MPT_RETURN_IF_FAILED(mpt_session_step_end(s, gradients, 1, 1.0f, NULL, error));
  }
  return MPT_OK;
}

static mpt_status rehearse(rehearsal *r, mpt_error *error) {
  mpt_session *s = r->session;
  const mpt_statistics_mode statistics = s->statistics;
  s->on_statistics = NULL;
  s->prepared = false;
  MPT_RETURN_IF_FAILED(run_steps(r, MPT_RUN_TRAIN, MPT_STATISTICS_OFF, error));
  if (statistics != MPT_STATISTICS_OFF)
    MPT_RETURN_IF_FAILED(run_steps(r, MPT_RUN_TRAIN, statistics, error));
  MPT_RETURN_IF_FAILED(run_steps(r, MPT_RUN_EVALUATE, statistics, error));
  if (r->options->plain)
    MPT_RETURN_IF_FAILED(run_steps(r, MPT_RUN_PLAIN, statistics, error));
  return mpt_queue_synchronize(s->queue, error);
}

/* ---- the whole ---- */
static mpt_status check_options(const mpt_session *s, const mpt_prepare_options *options,
                                mpt_error *error) {
  if (s->workspace == NULL || s->in_step || s->ended > 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT,
                    "a session is prepared once it has a workspace, and before its first step");
  if (options->rows_count < 0 || (options->rows_count > 0 && options->rows == NULL))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the rows to prepare are NULL");
  for (int i = 0; i < options->rows_count; i++)
    if (options->rows[i] < 1)
      return mpt_fail(error, MPT_ERROR_ARGUMENT, "products of %lld rows are to be prepared",
                      (long long)options->rows[i]);
  return MPT_OK;
}

static mpt_status keep_prepared(mpt_session *s, const mpt_prepare_options *options,
                                mpt_error *error) {
  int64_t *rows = copy_of(options->rows, (size_t)options->rows_count, sizeof *rows);
  if (rows == NULL)
    return mpt_fail_memory(error, "the rows to prepare", sizeof *rows);
  free(s->prepared_rows);
  s->prepared_rows = rows;
  s->prepared_count = options->rows_count;
  s->prepared_plain = options->plain;
  s->prepared = true;
  return MPT_OK;
}

mpt_status mpt_session_prepare(mpt_session *session, const mpt_prepare_options *given,
                               mpt_error *error) {
  mpt_prepare_options options = mpt_prepare_options_default();
  if (given != NULL)
    MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_prepare_options",
                                          MPT_END_OF(mpt_prepare_options, plain), &options,
                                          sizeof options, error));
  MPT_RETURN_IF_FAILED(check_options(session, &options, error));
  size_t bytes = 256;
  for (int i = 0; i < session->layer_count; i++)
    if (session->layers[i].has_gemm && bytes_of(&session->layers[i]) > bytes)
      bytes = bytes_of(&session->layers[i]);
  snapshot was = {0};
  rehearsal r = {.session = session, .options = &options};
  void *memory = NULL;
  mpt_status status = take_snapshot(session, &was, error);
  if (status == MPT_OK)
    status = mpt_memory_allocate(session->queue, bytes, &memory, error);
  if (status == MPT_OK) {
    r.memory = memory;
    status = rehearse(&r, error);
    mpt_status restored = put_back(session, &was, status == MPT_OK ? error : NULL);
    status = status == MPT_OK ? restored : status;
  }
  if (status == MPT_OK)
    status = mpt_queue_synchronize(session->queue, error);
  mpt_memory_free(session->queue, memory);
  free_snapshot(&was);
  return status == MPT_OK ? keep_prepared(session, &options, error) : status;
}
