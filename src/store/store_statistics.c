/* Statistics of layers in the store. */
#include "base/error.h"
#include "store/database.h"
#include <stdlib.h>
#include <string.h>

/* A run that was killed after its statistics and before its record writes them again. */
mpt_status store_put_statistics(store *s, const char *key, int64_t step, const char *layer,
                                mpt_operand operand, const mpt_statistics *statistics,
                                mpt_error *error) {
  query q = query_begin(s, "INSERT OR REPLACE INTO statistics (key, step, layer, operand, count, "
                           "zeros, nans, infinities, amax_bits, amin_bits, sum, sum_of_squares, "
                           "histogram) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  bind_text(&q, key);
  bind_integer(&q, step);
  bind_text(&q, layer);
  bind_integer(&q, operand);
  bind_integer(&q, (int64_t)statistics->count);
  bind_integer(&q, (int64_t)statistics->zeros);
  bind_integer(&q, (int64_t)statistics->nans);
  bind_integer(&q, (int64_t)statistics->infinities);
  bind_integer(&q, statistics->amax_bits);
  bind_integer(&q, statistics->amin_bits);
  bind_real(&q, statistics->sum);
  bind_real(&q, statistics->sum_of_squares);
  bind_blob(&q, statistics->full ? statistics->histogram : NULL, sizeof statistics->histogram);
  return query_end(&q, error);
}

static void read_statistics(query *q, store_statistics *row) {
  size_t bytes = 0;
  mpt_statistics *x = &row->statistics;
  *row = (store_statistics){.step = column_integer(q)};
  column_string(q, row->layer, sizeof row->layer);
  row->operand = (mpt_operand)column_integer(q);
  x->count = (uint64_t)column_integer(q);
  x->zeros = (uint64_t)column_integer(q);
  x->nans = (uint64_t)column_integer(q);
  x->infinities = (uint64_t)column_integer(q);
  x->amax_bits = (uint32_t)column_integer(q);
  x->amin_bits = (uint32_t)column_integer(q);
  x->sum = column_real(q);
  x->sum_of_squares = column_real(q);
  void *histogram = column_blob(q, &bytes);
  x->full = histogram != NULL && bytes == sizeof x->histogram;
  if (x->full)
    memcpy(x->histogram, histogram, bytes);
  free(histogram);
}

mpt_status store_all_statistics(store *s, const char *key, store_statistics **rows, int *count,
                                mpt_error *error) {
  void *all = NULL;
  int n = 0;
  query q =
      query_begin(s, "SELECT step, layer, operand, count, zeros, nans, infinities, amax_bits, "
                     "amin_bits, sum, sum_of_squares, histogram FROM statistics "
                     "WHERE ?1 IS NULL OR key = ?1 ORDER BY step, id");
  bind_text(&q, key);
  while (query_row(&q) && list_grow(&q, &all, n, sizeof(store_statistics)))
    read_statistics(&q, (store_statistics *)all + n++);
  mpt_status status = query_end(&q, error);
  if (status != MPT_OK) {
    free(all);
    return status;
  }
  *rows = all;
  *count = n;
  return MPT_OK;
}
