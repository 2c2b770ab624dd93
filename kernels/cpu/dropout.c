/* y = x keep / (1 - p): element i is kept when word i % 4 of the i / 4-th block of Philox numbers,
 * as a uniform number on (0, 1], is above p. */
#include "base/random.h"
#include "kernels/cpu/cpu.h"

typedef struct dropout_task {
  mpt_t x, y;
  mpt_dropout_key key;
  float scale;
  uint64_t threshold; /* words below it are dropped */
  int tasks;
} dropout_task;

MPT_VECTOR_CLONES
static void draw(mpt_dropout_key key, uint64_t first_block, int64_t blocks, uint32_t *words) {
  for (int64_t i = 0; i < blocks; i++)
    mpt_philox(key.seed, (first_block + (uint64_t)i) | (uint64_t)key.layer << 40, key.step,
               words + 4 * i);
}

MPT_VECTOR_CLONES
static void drop(const dropout_task *t, const float *x, const uint32_t *restrict words, float *y,
                 int64_t n) {
  const uint32_t threshold = (uint32_t)t->threshold;
  const float scale = t->scale;
  for (int64_t i = 0; i < n; i++)
    y[i] = words[i] >= threshold ? x[i] * scale : 0.0f;
}

static void dropout_part(void *context, int task) {
  const dropout_task *t = context;
  uint32_t words[MPT_CPU_CHUNK + 8];
  for (mpt_cpu_span s = mpt_cpu_span_first(t->x, t->tasks, task); s.count > 0;
       mpt_cpu_span_next(&s)) {
    int64_t first = s.index / 4, last = (s.index + s.count - 1) / 4;
    draw(t->key, (uint64_t)first, last - first + 1, words);
    float *y = mpt_cpu_at(t->y, &s);
    drop(t, mpt_cpu_at(t->x, &s), words + s.index % 4, y, s.count);
    mpt_cpu_round(t->y, y, s.count);
  }
}

mpt_status mpt_cpu_dropout(mpt_queue *queue, mpt_t x, float probability, mpt_dropout_key key,
                           mpt_t y, mpt_error *error) {
  (void)error;
  dropout_task t = {.x = x, .y = y, .key = key, .scale = 1.0f / (1.0f - probability)};
  /* (word + 1) / 2^32 > p  when  word >= floor(p 2^32) */
  t.threshold = (uint64_t)((double)probability * 4294967296.0);
  t.tasks = mpt_cpu_tasks(queue, 8 * mpt_tensor_count(x));
  mpt_cpu_parallel(queue, t.tasks, dropout_part, &t);
  return MPT_OK;
}
