#include "mptune/tensor.h"

mpt_tensor mpt_tensor_of(void *data, mpt_format format, int rank, const int64_t *shape) {
  mpt_tensor t = {.data = data, .format = format, .rank = rank, .device = {MPT_DEVICE_CPU, 0}};
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    t.shape[i] = shape[i];
    t.strides[i] = stride;
    stride *= shape[i];
  }
  return t;
}

int64_t mpt_tensor_count(const mpt_tensor *tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->rank; i++)
    count *= tensor->shape[i];
  return count;
}

size_t mpt_element_bytes(mpt_device_kind device, mpt_format format) {
  return device == MPT_DEVICE_CPU ? sizeof(float) : (size_t)mpt_format_get(format)->bits / 8;
}

size_t mpt_tensor_bytes(const mpt_tensor *tensor) {
  return (size_t)mpt_tensor_count(tensor) * mpt_element_bytes(tensor->device.kind, tensor->format);
}
