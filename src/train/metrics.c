/* The metric on held-out data, in the policy's formats and in fp32. */
#include "base/error.h"
#include "train/judgements.h"
#include "train/training.h"
#include <math.h>
#include <stdio.h>

typedef struct tally {
  double loss; /* sum over rows */
  int64_t rows;
  judgements judged;
} tally;

mpt_status train_check_metric(const workload *w, const dataset_info *info, mpt_error *error) {
  if (w->metric == METRIC_LOSS || info->classes > 0 || w->loss == LOSS_BINARY)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "the metric %s needs classes, and the loss mse has none; use metric loss",
                  w->metric == METRIC_F1 ? "f1" : "accuracy");
}

static void judge_batch(const training *t, judgements *j, int64_t rows) {
  const int64_t outputs = j->classes;
  const float *targets = t->batch.targets != NULL ? t->batch.targets : t->targets;
  for (int64_t r = 0; r < rows; r++) {
    const float *row = t->outputs + r * outputs;
    if (j->targets)
      judgements_add_targets(j, row, targets + r * outputs);
    else
      judgements_add_label(j, row, t->batch.labels[r]);
  }
}

/* One batch from sample `first` on; *filled 0 at the end. */
static mpt_status evaluate_batch(training *t, int64_t first, float *probe, tally *y,
                                 int64_t *filled, mpt_error *error) {
  MPT_RETURN_IF_FAILED(dataset_held_out_batch(t->options->data, first, &t->batch, filled, error));
  if (*filled == 0)
    return MPT_OK;
  if (first > 0)
    MPT_RETURN_IF_FAILED(mpt_session_microbatch(t->net->session, error));
  MPT_RETURN_IF_FAILED(train_set_batch(t, *filled, error));
  MPT_RETURN_IF_FAILED(network_forward(t->net, error));
  double loss;
  MPT_RETURN_IF_FAILED(train_loss(t, 0.0f, t->device_losses, error));
  MPT_RETURN_IF_FAILED(train_read_loss(t, t->device_losses, &loss, error));
  int64_t rows = t->g->rows / t->g->batch * *filled;
  y->loss += loss * (double)rows;
  y->rows += rows;
  const mpt_tensor *out = network_output(t->net);
  if (first == 0) {
    mpt_tensor some = layer_rows(out);
    if (some.shape[0] > t->probe_rows)
      some.shape[0] = t->probe_rows;
    MPT_RETURN_IF_FAILED(mpt_tensor_download(t->net->queue, &some, probe, error));
  }
  if (t->w->metric == METRIC_LOSS)
    return MPT_OK;
  MPT_RETURN_IF_FAILED(mpt_tensor_download(t->net->queue, out, t->outputs, error));
  judge_batch(t, &y->judged, rows);
  return MPT_OK;
}

static mpt_status open_tally(const training *t, bool keep, tally *y, mpt_error *error) {
  const int64_t held_out = dataset_get_info(t->options->data)->held_out;
  const int64_t rows = t->g->rows / t->g->batch * held_out;
  *y = (tally){0};
  return judgements_open(&y->judged, t->w->metric, t->g->loss == LOSS_BINARY,
                         train_output_columns(t), keep ? rows : 0, error);
}

/* `probe` gets the outputs of the first held-out batch, `kept` (may be NULL) how each sample was
 * judged. */
static mpt_status evaluate(training *t, mpt_run_mode mode, float *probe, double *metric,
                           double *loss, train_result *kept, mpt_error *error) {
  mpt_status status = MPT_OK;
  tally y;
  MPT_TRY(open_tally(t, kept != NULL, &y, error));
  MPT_TRY(network_set_mode(t->net, mode, error));
  MPT_TRY(mpt_session_step_begin(t->net->session, t->step, error));
  int64_t filled = 0, first = 0, held_out = dataset_get_info(t->options->data)->held_out;
  do {
    MPT_TRY(evaluate_batch(t, first, probe, &y, &filled, error));
    first += filled;
  } while (filled > 0 && first < held_out);
  MPT_TRY(mpt_session_step_end(t->net->session, NULL, 0, 0.0f, NULL, error));
  MPT_TRY(network_set_mode(t->net, MPT_RUN_TRAIN, error));
  if (y.rows == 0) {
    status = mpt_fail(error, MPT_ERROR_ARGUMENT, "the data has no held-out samples to judge by");
    goto fail;
  }
  *loss = y.loss / (double)y.rows;
  *metric = t->w->metric == METRIC_LOSS ? *loss : judgements_metric(&y.judged);
  if (kept != NULL && isfinite(*loss))
    MPT_TRY(judgements_move(&y.judged, kept, error));
fail:
  judgements_close(&y.judged);
  return status;
}

mpt_status train_held_out_loss(training *t, double *loss, mpt_error *error) {
  double metric;
  return evaluate(t, MPT_RUN_EVALUATE, t->probe, &metric, loss, NULL, error);
}

static bool all_fp32(const training *t) {
  for (int i = 0; i < t->g->layer_count; i++)
    for (int gemm = 0; gemm < (t->g->layers[i].has_gemm ? MPT_GEMM_COUNT : 1); gemm++)
      if (t->options->assignment[i].gemm[gemm].precision != MPT_PRECISION_FP32)
        return false;
  return true;
}

/* ||policy - plain|| / ||plain|| */
static double difference(const float *policy, const float *plain, int64_t count) {
  double error = 0.0, norm = 0.0;
  for (int64_t i = 0; i < count; i++) {
    double d = (double)policy[i] - (double)plain[i];
    error += d * d;
    norm += (double)plain[i] * (double)plain[i];
  }
  return error == 0.0 ? 0.0 : sqrt(error / norm);
}

/* Weights that are finite can still give outputs that are not, on data they were not trained on. */
static void note_nonfinite(const training *t, train_result *result) {
  if (isfinite(result->held_out_loss))
    return;
  result->diverged = true;
  result->report = mpt_session_get_report(t->net->session);
  result->metric = NAN;
  snprintf(result->failure, sizeof result->failure, "the held-out loss is %s after %lld steps",
           isnan(result->held_out_loss) ? "not a number" : "infinite", (long long)t->step);
}

mpt_status train_evaluate(training *t, train_result *result, mpt_error *error) {
  float *probe = t->probe;
  MPT_RETURN_IF_FAILED(
      evaluate(t, MPT_RUN_EVALUATE, probe, &result->metric, &result->held_out_loss, result, error));
  note_nonfinite(t, result);
  if (result->diverged)
    return MPT_OK;
  if (all_fp32(t)) { /* the plain pass would give the same bits */
    result->metric_plain = result->metric;
    result->output_difference = 0.0;
    return MPT_OK;
  }
  int64_t held_out = dataset_get_info(t->options->data)->held_out;
  int64_t samples = held_out < t->g->batch ? held_out : t->g->batch;
  int64_t rows = t->g->rows / t->g->batch * samples;
  if (rows > t->probe_rows)
    rows = t->probe_rows;
  int64_t columns = train_output_columns(t);
  float *plain = probe + t->probe_rows * columns;
  double loss;
  MPT_RETURN_IF_FAILED(
      evaluate(t, MPT_RUN_PLAIN, plain, &result->metric_plain, &loss, NULL, error));
  result->output_difference = difference(probe, plain, rows * columns);
  return MPT_OK;
}
