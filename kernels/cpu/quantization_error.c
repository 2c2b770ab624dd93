/* The sums of (round(x * 2^e) / 2^e - x)^2 and of x^2 over the finite elements. */
#include "format/rounding.h"
#include "kernels/cpu/cpu.h"
#include <math.h>

enum { LANES = 128 }; /* of sums: element i of a chunk is added to i modulo LANES, on any vectors */

typedef struct sums {
  double error[LANES], signal[LANES];
} sums;

typedef struct error_task {
  mpt_t x;
  mpt_rounding rounding;
  int scale_exponent;
  int tasks;
  char *scratch; /* `sums` for each task */
  size_t stride;
} error_task;

MPT_VECTOR_CLONES
static void error_chunk(const mpt_rounding *rounding, int scale_exponent, const float *x,
                        int64_t count, double *restrict error, double *restrict signal) {
  const mpt_rounding r = *rounding;
  const float scale = ldexpf(1.0f, scale_exponent);
  const double back = ldexp(1.0, -scale_exponent);
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t lanes = count - i < LANES ? count - i : LANES;
    for (int64_t lane = 0; lane < lanes; lane++) {
      float value = mpt_finite_part(x[i + lane]);
      float rounded = mpt_bits_float(mpt_round_bits(&r, mpt_float_bits(value * scale)));
      double difference = (double)rounded * back - (double)value;
      error[lane] += difference * difference;
      signal[lane] += (double)value * (double)value;
    }
  }
}

static void error_part(void *context, int task) {
  const error_task *t = context;
  sums total = {0};
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s))
    error_chunk(&t->rounding, t->scale_exponent, mpt_cpu_at(t->x, &s), s.count, total.error,
                total.signal);
  *(sums *)(t->scratch + (size_t)task * t->stride) = total;
}

mpt_status mpt_cpu_quantization_error(mpt_queue *queue, mpt_t x, mpt_format format,
                                      int scale_exponent, double *error_squared,
                                      double *signal_squared, mpt_error *error) {
  error_task t = {.x = x,
                  .rounding = mpt_rounding_of(format, true),
                  .scale_exponent = scale_exponent,
                  .tasks = mpt_cpu_tasks(queue, mpt_tensor_count(x))};
  MPT_RETURN_IF_FAILED(mpt_cpu_scratch(queue, t.tasks, sizeof(sums), &t.scratch, &t.stride, error));
  mpt_cpu_parallel(queue, t.tasks, error_part, &t);
  *error_squared = *signal_squared = 0.0;
  for (int task = 0; task < t.tasks; task++) {
    const sums *part = (sums *)(t.scratch + (size_t)task * t.stride);
    for (int lane = 0; lane < LANES; lane++) {
      *error_squared += part->error[lane];
      *signal_squared += part->signal[lane];
    }
  }
  return MPT_OK;
}
