#include "base/error.h"
#include "base/random.h"
#include "train/network.h"
#include <stdlib.h>

/* FNV-1a (Fowler, Noll, Vo) of the parameter's name: its stream of random numbers. */
static uint64_t stream_of(const char *name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (; *name != '\0'; name++)
    hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
  return hash;
}

static void draw(const network_parameter *p, uint64_t seed, float *values) {
  uint64_t stream = stream_of(p->name);
  uint32_t words[4];
  for (int64_t i = 0; i < p->count; i++)
    switch (p->what.initial) {
    case LAYER_ZEROS:
      values[i] = 0.0f;
      break;
    case LAYER_ONES:
      values[i] = 1.0f;
      break;
    case LAYER_NORMAL:
      values[i] = (float)(p->what.scale * mpt_normal(seed, (uint64_t)i, stream));
      break;
    case LAYER_UNIFORM:
      mpt_philox(seed, (uint64_t)i, stream, words);
      values[i] = (float)(p->what.scale * (2.0 * mpt_uniform(words[0]) - 1.0));
    }
}

mpt_status network_initialise(network *n, uint64_t seed, mpt_error *error) {
  for (int i = 0; i < n->parameter_count; i++) {
    const network_parameter *p = &n->parameters[i];
    size_t bytes = (size_t)p->count * sizeof(float);
    float *values = malloc(bytes);
    if (values == NULL)
      return mpt_fail_memory(error, p->name, bytes);
    draw(p, seed, values);
    mpt_status status = mpt_tensor_upload(n->queue, values, &p->weight, error);
    free(values);
    MPT_RETURN_IF_FAILED(status);
  }
  return MPT_OK;
}
