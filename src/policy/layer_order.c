/* Lists of layers in the order of their names, to compare two of them and to find duplicates. */
#include "base/error.h"
#include "policy/policy_data.h"
#include <stdlib.h>
#include <string.h>

static int by_name_then_place(const void *a, const void *b) {
  const mpt_layer_info *x = *(const mpt_layer_info *const *)a;
  const mpt_layer_info *y = *(const mpt_layer_info *const *)b;
  const int order = strcmp(x->name, y->name);
  return order != 0 ? order : (x > y) - (x < y);
}

mpt_status mpt_policy_sort_layers(const mpt_layer_info *layers, int count,
                                  const mpt_layer_info ***sorted, mpt_error *error) {
  const size_t bytes = ((size_t)count + 1) * sizeof **sorted;
  const mpt_layer_info **list = malloc(bytes);
  if (list == NULL)
    return mpt_fail_memory(error, "the order of layers", bytes);
  for (int i = 0; i < count; i++)
    list[i] = &layers[i];
  qsort(list, (size_t)count, sizeof *list, by_name_then_place);
  *sorted = list;
  return MPT_OK;
}

mpt_status mpt_policy_find_duplicate(const mpt_layer_info *layers, int count, int *twice,
                                     mpt_error *error) {
  const mpt_layer_info **sorted = NULL;
  MPT_RETURN_IF_FAILED(mpt_policy_sort_layers(layers, count, &sorted, error));
  *twice = -1;
  for (int i = 1; i < count && *twice < 0; i++)
    if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
      *twice = (int)(sorted[i] - layers);
  free(sorted);
  return MPT_OK;
}
