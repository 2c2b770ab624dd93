#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "train/network.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A parameter's stream of random numbers. */
static uint64_t stream_of(const char *name) {
  return mpt_hash_bytes(MPT_HASH_START, name, strlen(name));
}

/* Drawn and uploaded in pieces: large models have weights by the hundred million, and a normal
 * number takes 50 ns, so the machine's cores share a piece. Each number depends on its place alone.
 */
enum { PIECE = 1 << 22, PART = 1 << 17, MAX_THREADS = 32 };

typedef struct piece {
  const network_parameter *parameter;
  uint64_t seed, stream;
  int64_t first, count;
  float *values;
  atomic_int next; /* part to be drawn */
} piece;

static void draw(const piece *d, int64_t from, int64_t to) {
  const layer_parameter *what = &d->parameter->what;
  uint32_t words[4];
  for (int64_t i = from; i < to; i++) {
    uint64_t place = (uint64_t)(d->first + i);
    switch (what->initial) {
    case LAYER_ZEROS:
      d->values[i] = 0.0f;
      break;
    case LAYER_ONES:
      d->values[i] = 1.0f;
      break;
    case LAYER_NORMAL:
      d->values[i] = (float)(what->scale * mpt_normal(d->seed, place, d->stream));
      break;
    case LAYER_UNIFORM:
      mpt_philox(d->seed, place, d->stream, words);
      d->values[i] = (float)(what->scale * (2.0 * mpt_uniform(words[0]) - 1.0));
    }
  }
}

static void *draw_parts(void *context) {
  piece *d = context;
  for (;;) {
    int64_t from = (int64_t)atomic_fetch_add(&d->next, 1) * PART;
    if (from >= d->count)
      return NULL;
    draw(d, from, from + PART < d->count ? from + PART : d->count);
  }
}

/* As many threads as there are parts and cores; without them the caller draws alone. */
static void draw_piece(piece *d) {
  pthread_t threads[MAX_THREADS];
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t wanted = (d->count + PART - 1) / PART - 1;
  int started = 0;
  atomic_init(&d->next, 0);
  while (started < wanted && started < cores - 1 && started < MAX_THREADS &&
         pthread_create(&threads[started], NULL, draw_parts, d) == 0)
    started++;
  draw_parts(d);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
}

static mpt_status initialise(network *n, const network_parameter *p, uint64_t seed, float *values,
                             mpt_error *error) {
  for (int64_t first = 0; first < p->count; first += PIECE) {
    piece d = {.parameter = p, .seed = seed, .stream = stream_of(p->name), .first = first};
    d.count = p->count - first < PIECE ? p->count - first : PIECE;
    d.values = values;
    draw_piece(&d);
    mpt_tensor view = mpt_tensor_of((float *)p->weight.data + first, MPT_FP32, 1, &d.count);
    view.device = p->weight.device;
    MPT_RETURN_IF_FAILED(mpt_tensor_upload(n->queue, values, &view, error));
  }
  return MPT_OK;
}

mpt_status network_initialise(network *n, uint64_t seed, mpt_error *error) {
  int64_t most = 0;
  for (int i = 0; i < n->parameter_count; i++)
    most = n->parameters[i].count > most ? n->parameters[i].count : most;
  size_t bytes = (size_t)(most < PIECE ? most : PIECE) * sizeof(float);
  float *values = malloc(bytes > 0 ? bytes : 1);
  if (values == NULL)
    return mpt_fail_memory(error, "initial weights", bytes);
  mpt_status status = MPT_OK;
  for (int i = 0; i < n->parameter_count && status == MPT_OK; i++)
    status = initialise(n, &n->parameters[i], seed, values, error);
  free(values);
  return status;
}
