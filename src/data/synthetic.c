/* Made-up data from a seed, for tests and for networks whose right answer is known.
 *
 * Features: x[i][j] = scale[j] z[i][j], z standard normal, scales log-spaced over the columns. A
 * random teacher looks at z, so that every column matters alike whatever its scale, and every
 * sample whether it is an outlier, many times as large as others, or blank: out = W2 tanh(W1 z /
 * sqrt(features)) / sqrt(hidden) + noise e,   or W z / sqrt(features) + noise e Targets are out; a
 * label is the index of its largest element.
 *
 * Tokens: a chain in which each id has three likely successors (1/2, 1/4, 1/8) and any other with
 * the rest, so that there is something to learn, and an entropy to learn it to.
 */
#include "base/error.h"
#include "base/random.h"
#include "data/source.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of random numbers of one seed. */
enum {
  STREAM_FEATURES,
  STREAM_FIRST,
  STREAM_SECOND,
  STREAM_NOISE,
  STREAM_CHAIN,
  STREAM_SUCCESSORS,
  STREAM_SAMPLES
};

typedef struct teacher {
  int64_t features, hidden, outputs;
  double *first;  /* [hidden][features], or [outputs][features] when it is linear */
  double *second; /* [outputs][hidden] */
  double *units;  /* [hidden] */
} teacher;

static double *random_matrix(uint64_t seed, uint64_t stream, int64_t rows, int64_t columns) {
  double scale = 1.0 / sqrt((double)columns);
  double *matrix = calloc((size_t)(rows * columns), sizeof *matrix);
  for (int64_t i = 0; matrix != NULL && i < rows * columns; i++)
    matrix[i] = scale * mpt_normal(seed, (uint64_t)i, stream);
  return matrix;
}

static void teacher_free(teacher *t) {
  free(t->first);
  free(t->second);
  free(t->units);
  *t = (teacher){0};
}

static mpt_status teacher_make(const data_spec *spec, int64_t outputs, teacher *t,
                               mpt_error *error) {
  uint64_t seed = (uint64_t)spec->seed;
  bool deep = spec->hidden > 0;
  *t = (teacher){.features = spec->features, .hidden = spec->hidden, .outputs = outputs};
  t->first = random_matrix(seed, STREAM_FIRST, deep ? spec->hidden : outputs, spec->features);
  if (deep) {
    t->second = random_matrix(seed, STREAM_SECOND, outputs, spec->hidden);
    t->units = calloc((size_t)spec->hidden, sizeof *t->units);
  }
  if (t->first == NULL || (deep && (t->second == NULL || t->units == NULL))) {
    teacher_free(t);
    return mpt_fail_memory(error, "a teacher", (size_t)spec->features * sizeof(double));
  }
  return MPT_OK;
}

/* out[r] = sum over c of matrix[r][c] in[c] */
static void multiply(const double *matrix, const double *in, int64_t rows, int64_t columns,
                     double *out) {
  for (int64_t r = 0; r < rows; r++) {
    out[r] = 0.0;
    for (int64_t c = 0; c < columns; c++)
      out[r] += matrix[r * columns + c] * in[c];
  }
}

static void teacher_answer(const teacher *t, const double *z, double *out) {
  if (t->hidden == 0) {
    multiply(t->first, z, t->outputs, t->features, out);
    return;
  }
  multiply(t->first, z, t->hidden, t->features, t->units);
  for (int64_t h = 0; h < t->hidden; h++)
    t->units[h] = tanh(t->units[h]);
  multiply(t->second, t->units, t->outputs, t->hidden, out);
}

/* ---- features ---- */

static void put_answer(const data_spec *spec, const double *out, int64_t sample, dataset *data) {
  if (data->labels == NULL) {
    for (int64_t o = 0; o < spec->targets; o++)
      data->targets[sample * spec->targets + o] = (float)out[o];
    return;
  }
  int32_t best = 0;
  for (int32_t o = 1; o < spec->classes; o++)
    best = out[o] > out[best] ? o : best;
  data->labels[sample] = best;
}

/* What multiplies a sample's features. */
static double sample_scale(const data_spec *spec, int64_t sample) {
  uint32_t draw[4];
  mpt_philox((uint64_t)spec->seed, (uint64_t)sample, STREAM_SAMPLES, draw);
  double place = ldexp((double)draw[0], -32);
  if (place < spec->outliers)
    return spec->outlier_scale;
  return place < spec->outliers + spec->blank ? 0.0 : 1.0;
}

static void fill_features(const data_spec *spec, const teacher *t, double *z, double *out,
                          dataset *data) {
  uint64_t seed = (uint64_t)spec->seed;
  int64_t size = spec->features;
  double ratio = spec->scale_high / spec->scale_low;
  for (int64_t i = 0; i < spec->samples; i++) {
    double scale = spec->scale_low * sample_scale(spec, i);
    for (int64_t j = 0; j < size; j++) {
      z[j] = mpt_normal(seed, (uint64_t)(i * size + j), STREAM_FEATURES);
      double place = size > 1 ? (double)j / (double)(size - 1) : 0.0;
      data->features[i * size + j] = (float)(scale * pow(ratio, place) * z[j]);
    }
    teacher_answer(t, z, out);
    for (int64_t o = 0; o < t->outputs; o++)
      out[o] += spec->noise * mpt_normal(seed, (uint64_t)(i * t->outputs + o), STREAM_NOISE);
    put_answer(spec, out, i, data);
  }
}

static void set_info(const data_spec *spec, dataset *data) {
  data->samples = spec->samples;
  data->sample_size = spec->features;
  data->info.targets = spec->classes > 0 ? 0 : spec->targets;
  data->info.rank = spec->shape[0] > 0 ? 3 : 1;
  memcpy(data->info.shape, spec->shape, sizeof data->info.shape);
  if (data->info.rank == 1)
    data->info.shape[0] = spec->features;
}

static mpt_status open_features(const data_spec *spec, dataset *data, mpt_error *error) {
  int64_t outputs = spec->classes > 0 ? spec->classes : spec->targets;
  size_t samples = (size_t)spec->samples;
  teacher t = {0};
  set_info(spec, data);
  MPT_RETURN_IF_FAILED(dataset_split(spec, data, "synthetic data", error));
  MPT_RETURN_IF_FAILED(teacher_make(spec, outputs, &t, error));
  double *z = calloc((size_t)(spec->features + outputs), sizeof *z);
  data->features = calloc(samples * (size_t)spec->features, sizeof *data->features);
  if (spec->classes > 0)
    data->labels = calloc(samples, sizeof *data->labels);
  else
    data->targets = calloc(samples * (size_t)spec->targets, sizeof *data->targets);
  mpt_status status = MPT_OK;
  if (z == NULL || data->features == NULL || (data->labels == NULL && data->targets == NULL))
    status = mpt_fail_memory(error, "synthetic data",
                             samples * (size_t)spec->features * sizeof *data->features);
  else
    fill_features(spec, &t, z, z + spec->features, data);
  free(z);
  teacher_free(&t);
  return status;
}

/* ---- tokens ---- */

static mpt_status open_tokens(const data_spec *spec, dataset *data, mpt_error *error) {
  uint64_t seed = (uint64_t)spec->seed;
  uint32_t vocabulary = (uint32_t)spec->vocabulary, id = 0;
  data->info.classes = spec->vocabulary;
  data->id_count = spec->samples;
  MPT_RETURN_IF_FAILED(dataset_split_ids(spec, data, "synthetic data", error));
  data->ids = calloc((size_t)spec->samples, sizeof *data->ids);
  if (data->ids == NULL)
    return mpt_fail_memory(error, "synthetic data", (size_t)spec->samples * sizeof *data->ids);
  for (int64_t i = 0; i < spec->samples; i++) {
    uint32_t draw[4], successors[4];
    mpt_philox(seed, (uint64_t)i, STREAM_CHAIN, draw);
    mpt_philox(seed, id, STREAM_SUCCESSORS, successors);
    uint32_t which = draw[0] >> 29; /* of eight: four, two and one for the likely ones */
    id = (which < 4   ? successors[0]
          : which < 6 ? successors[1]
          : which < 7 ? successors[2]
                      : draw[1]) %
         vocabulary;
    data->ids[i] = (uint16_t)id;
  }
  return MPT_OK;
}

mpt_status synthetic_open(const data_spec *spec, dataset *data, mpt_error *error) {
  return spec->sequence > 0 ? open_tokens(spec, data, error) : open_features(spec, data, error);
}
