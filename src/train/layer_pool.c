/* maxpool, avgpool: over square windows of images; the stride is the kernel's size unless given. */
#include "train/layer.h"
#include <string.h>

static mpt_window window_of(const layer_spec *spec) {
  return (mpt_window){(int)spec->kernel, (int)spec->kernel,
                      (int)(spec->stride ? spec->stride : spec->kernel), (int)spec->padding};
}

static mpt_status shape(const graph *g, graph_layer *layer, graph_tensor *output,
                        mpt_error *error) {
  const graph_tensor *input = &g->tensors[layer->inputs[0]];
  mpt_window window = window_of(layer->spec);
  if (input->rank != 4) {
    char text[96];
    graph_shape_text(input, text);
    return graph_fail(g, layer, error, "a %s reads images [batch, channels, height, width], not %s",
                      layer->spec->kind, text);
  }
  /* Every window must hold a pixel, or its largest value would be minus infinity. */
  if (2 * window.padding > window.kernel_height)
    return graph_fail(g, layer, error, "its padding %d is more than half of its kernel %d",
                      window.padding, window.kernel_height);
  int64_t height = input->shape[2] + 2 * window.padding - window.kernel_height;
  int64_t width = input->shape[3] + 2 * window.padding - window.kernel_width;
  if (height < 0 || width < 0)
    return graph_fail(g, layer, error, "its kernel %d does not fit in %lld x %lld",
                      window.kernel_height, (long long)input->shape[2], (long long)input->shape[3]);
  output->rank = 4;
  output->shape[0] = input->shape[0];
  output->shape[1] = input->shape[1];
  output->shape[2] = height / window.stride + 1;
  output->shape[3] = width / window.stride + 1;
  return MPT_OK;
}

static mpt_pooling pooling_of(const graph_layer *layer) {
  return strcmp(layer->kind->name, "maxpool") == 0 ? MPT_POOL_MAX : MPT_POOL_AVERAGE;
}

static void passes(const graph *g, int layer, const mpt_layer_policy *assignment, pass_list *list) {
  int in = g->layers[layer].inputs[0], out = g->layers[layer].output;
  /* the place of a maximum is found again in x; an average needs no x */
  double x = pooling_of(&g->layers[layer]) == MPT_POOL_MAX ? pass_tensor(g, assignment, in) : 0.0;
  pass_add(list, "pooling forward", PASS_ELEMENTWISE, layer,
           pass_tensor(g, assignment, in) + pass_tensor(g, assignment, out),
           graph_tensor_format(g, assignment, out));
  if (g->tensors[in].gradient)
    pass_add(list, "pooling backward", PASS_ELEMENTWISE, layer,
             x + pass_gradient(g, assignment, out) +
                 pass_input_gradient(g, assignment, layer, 0, list),
             graph_gradient_format(g, assignment, out));
}

static mpt_status forward(layer_run *run, mpt_error *error) {
  return mpt_pool_forward(run->queue, pooling_of(run->layer), &run->inputs[0],
                          window_of(run->layer->spec), &run->output, error);
}

static mpt_status backward(layer_run *run, mpt_error *error) {
  return mpt_pool_backward(run->queue, pooling_of(run->layer), &run->inputs[0],
                           window_of(run->layer->spec), &run->grad_output, &run->grad_inputs[0],
                           error);
}

#define POOL_KIND(word)                                                                            \
  const layer_kind layer_##word = {                                                                \
      .name = #word,                                                                               \
      .fields = LAYER_KERNEL | LAYER_STRIDE | LAYER_PADDING,                                       \
      .needs = LAYER_KERNEL,                                                                       \
      .fewest_inputs = 1,                                                                          \
      .most_inputs = 1,                                                                            \
      .reads_inputs = true,                                                                        \
      .keeps_bounds = true,                                                                        \
      .shape = shape,                                                                              \
      .passes = passes,                                                                            \
      .forward = forward,                                                                          \
      .backward = backward,                                                                        \
  }
POOL_KIND(maxpool);
POOL_KIND(avgpool);
