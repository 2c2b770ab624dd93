/* conv2d: a square kernel over images [batch, channels, height, width], as a linear layer over the
 * lowered image: every window a row of columns [batch*OH*OW, C*K*K] (im2col). */
#include "base/error.h"
#include "train/layer.h"
#include <math.h>

static mpt_window window_of(const layer_spec *spec) {
  return (mpt_window){(int)spec->kernel, (int)spec->kernel, (int)(spec->stride ? spec->stride : 1),
                      (int)spec->padding};
}

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  mpt_window window = window_of(layer->spec);
  if (input->rank != 4) {
    char text[96];
    graph_shape_text(input, text);
    return graph_fail(g, layer, error,
                      "a conv2d reads images [batch, channels, height, width], "
                      "not %s",
                      text);
  }
  int64_t height = input->shape[2] + 2 * window.padding - window.kernel_height;
  int64_t width = input->shape[3] + 2 * window.padding - window.kernel_width;
  if (height < 0 || width < 0)
    return graph_fail(g, layer, error, "its kernel %d does not fit in %lld x %lld with padding %d",
                      window.kernel_height, (long long)input->shape[2], (long long)input->shape[3],
                      window.padding);
  output->rank = 4;
  output->shape[0] = input->shape[0];
  output->shape[1] = layer->spec->channels;
  output->shape[2] = height / window.stride + 1;
  output->shape[3] = width / window.stride + 1;
  layer->gemm.m = output->shape[0] * output->shape[2] * output->shape[3];
  layer->gemm.n = layer->spec->channels;
  layer->gemm.k = input->shape[1] * window.kernel_height * window.kernel_width;
  layer->info.rank = 4;
  layer->info.shape[0] = layer->spec->channels;
  layer->info.shape[1] = input->shape[1];
  layer->info.shape[2] = window.kernel_height;
  layer->info.shape[3] = window.kernel_width;
  return MPT_OK;
}

/* Uniform within 1/sqrt(inputs), as PyTorch's nn.Conv2d. */
static int parameters(const graph *g, const graph_layer *layer,
                      layer_parameter p[LAYER_MAX_PARAMETERS]) {
  (void)g;
  double bound = 1.0 / sqrt((double)layer->gemm.k);
  p[0] = (layer_parameter){.name = "weight",
                           .rank = 4,
                           .shape = {layer->info.shape[0], layer->info.shape[1],
                                     layer->info.shape[2], layer->info.shape[3]},
                           .initial = LAYER_UNIFORM,
                           .scale = bound * layer->spec->initial_scale};
  p[1] = (layer_parameter){.name = "bias",
                           .rank = 1,
                           .shape = {layer->gemm.n},
                           .initial = LAYER_UNIFORM,
                           .scale = bound};
  return layer->spec->no_bias ? 1 : 2;
}

/* Saved: the columns. Scratch: rows of the output (or of its gradient), gradient of the columns. */
static void memory(const graph *g, const graph_layer *layer, const mpt_layer_policy *assignment,
                   layer_memory *m) {
  const graph_gemm *gemm = &layer->gemm;
  mpt_format output = graph_tensor_format(g, assignment, layer->output);
  mpt_format gradient = graph_gradient_format(g, assignment, layer->output);
  mpt_format dgrad = mpt_layer_policy_storage(&assignment[layer - g->layers], true, MPT_DGRAD);
  bool wanted = graph_makes_dgrad(g, (int)(layer - g->layers));
  m->saved[0] =
      (layer_area){gemm->m * gemm->k, graph_tensor_format(g, assignment, layer->inputs[0])};
  m->scratch[0] = (layer_area){gemm->m * gemm->n, output == MPT_FP32 ? output : gradient};
  m->scratch[1] = (layer_area){wanted ? gemm->m * gemm->k : 0, dgrad};
}

/* Images are lowered to columns, and rows of products raised to images; back again for gradients.
 */
static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  const graph_layer *l = &g->layers[layer];
  const mpt_format x = graph_tensor_format(g, assignment, l->inputs[0]);
  const mpt_format y = graph_tensor_format(g, assignment, l->output);
  const mpt_format grad_y = graph_gradient_format(g, assignment, l->output);
  const double columns = (double)(l->gemm.m * l->gemm.k);
  pass_add(list, "columns", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, l->inputs[0]) + columns * mpt_format_get(x)->bits / 8, x);
  pass_add(list, "rows to image", PASS_ELEMENTWISE, layer,
           2.0 * pass_tensor(g, assignment, l->output), y);
  pass_add(list, "image to rows", PASS_ELEMENTWISE, layer,
           2.0 * pass_gradient(g, assignment, l->output), grad_y);
  if (graph_makes_dgrad(g, layer)) {
    const mpt_format stored = graph_gradient_format(g, assignment, l->inputs[0]);
    pass_add(list, "columns back", PASS_ELEMENTWISE, layer,
             columns * mpt_format_get(stored)->bits / 8 +
                 pass_input_gradient(g, assignment, layer, 0, list),
             stored);
  }
  if (!g->layers[layer].spec->no_bias)
    pass_add(list, "bias backward", PASS_COLUMN_SUM, layer,
             pass_gradient(g, assignment, g->layers[layer].output),
             graph_gradient_format(g, assignment, g->layers[layer].output));
}

/* A view of memory as the columns or the output rows of the batch at hand. */
static mpt_tensor matrix(const layer_run *run, void *data, mpt_format format, int64_t columns) {
  int64_t rows = run->output.shape[0] * run->output.shape[2] * run->output.shape[3];
  return layer_view(run, data, format, 2, (int64_t[]){rows, columns});
}

static const mpt_tensor *present(const mpt_tensor *tensor) {
  return tensor->data != NULL ? tensor : NULL;
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  const graph_gemm *gemm = &run->layer->gemm;
  mpt_tensor columns = matrix(run, run->saved[0], run->inputs[0].format, gemm->k);
  mpt_tensor rows = matrix(run, run->scratch[0], run->output.format, gemm->n);
  MPT_RETURN_IF_FAILED(
      mpt_im2col(run->queue, &run->inputs[0], window_of(run->layer->spec), &columns, error));
  MPT_RETURN_IF_FAILED(mpt_linear_forward(run->session, run->index, &columns, &run->parameters[0],
                                          present(&run->parameters[1]), &rows, error));
  return mpt_rows_to_image(run->queue, &rows, &run->output, error);
}

static mpt_status spread(layer_run *run, const mpt_tensor *product, const mpt_tensor *grad_input,
                         mpt_error *error) {
  return mpt_col2im(run->queue, product, window_of(run->layer->spec), grad_input, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  const graph_gemm *gemm = &run->layer->gemm;
  mpt_format grad_format = mpt_session_grad_input_format(run->session, run->index);
  bool wanted = run->grad_inputs[0].data != NULL;
  mpt_tensor columns = matrix(run, run->saved[0], run->inputs[0].format, gemm->k);
  mpt_tensor grad = matrix(run, run->scratch[0], run->grad_output.format, gemm->n);
  mpt_tensor grad_columns = matrix(run, run->scratch[1], grad_format, gemm->k);
  MPT_RETURN_IF_FAILED(mpt_image_to_rows(run->queue, &run->grad_output, &grad, error));
  if (run->probe != NULL)
    run->probe(run->probe_context, run->queue, run->step, run->index, &columns, &run->parameters[0],
               &grad);
  MPT_RETURN_IF_FAILED(mpt_linear_backward(
      run->session, run->index, &grad, &columns, &run->parameters[0], wanted ? &grad_columns : NULL,
      false, &run->gradients[0], present(&run->gradients[1]), error));
  if (!wanted)
    return MPT_OK;
  return spread(run, &grad_columns, &run->grad_inputs[0], error);
}

const layer_kind layer_conv2d = {
    .name = "conv2d",
    .fields = LAYER_CHANNELS | LAYER_KERNEL | LAYER_STRIDE | LAYER_PADDING | LAYER_BIAS |
              LAYER_INITIAL_SCALE,
    .needs = LAYER_CHANNELS | LAYER_KERNEL,
    .fewest_inputs = 1,
    .most_inputs = 1,
    .has_gemm = true,
    .shape = shape,
    .parameters = parameters,
    .memory = memory,
    .passes = passes,
    .forward = forward,
    .backward = backward,
    .spread = spread,
};
