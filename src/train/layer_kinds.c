/* The table of layer kinds: one line for each. */
#include "train/layer.h"
#include <stdio.h>
#include <string.h>

extern const layer_kind layer_linear, layer_conv2d, layer_embedding, layer_layernorm,
    layer_attention, layer_relu, layer_sigmoid, layer_tanh, layer_gelu, layer_softmax,
    layer_maxpool, layer_avgpool, layer_flatten, layer_residual, layer_dropout, layer_scale;

static const layer_kind *const kinds[] = {
    &layer_linear,    &layer_conv2d,   &layer_embedding, &layer_layernorm,
    &layer_attention, &layer_relu,     &layer_sigmoid,   &layer_tanh,
    &layer_gelu,      &layer_softmax,  &layer_maxpool,   &layer_avgpool,
    &layer_flatten,   &layer_residual, &layer_dropout,   &layer_scale,
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

const layer_kind *layer_kind_find(const char *name) {
  for (int i = 0; i < KIND_COUNT; i++)
    if (strcmp(kinds[i]->name, name) == 0)
      return kinds[i];
  return NULL;
}

void layer_kind_names(char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; i < KIND_COUNT && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, i == 0 ? "%s" : ", %s", kinds[i]->name);
}

mpt_tensor layer_rows(const mpt_tensor *tensor) {
  mpt_tensor rows = *tensor;
  int64_t width = tensor->shape[tensor->rank - 1];
  rows.rank = 2;
  rows.shape[0] = mpt_tensor_count(tensor) / width;
  rows.shape[1] = rows.strides[0] = width;
  rows.strides[1] = 1;
  return rows;
}
