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

/* The counts of the histogram are those of the elements. */
static void check_statistics(query *q, const store_statistics *row, size_t histogram_bytes) {
  const mpt_statistics *x = &row->statistics;
  const uint64_t special = x->zeros + x->nans + x->infinities;
  uint64_t binned = 0;
  for (int b = 0; x->full && b < MPT_EXPONENT_BINS; b++)
    binned += x->histogram[b];
  if ((histogram_bytes != 0 && !x->full) || row->layer[0] == '\0' || special > x->count ||
      (x->full && binned != x->count))
    query_damaged(q, "the statistics of '%.64s', %s, step %lld do not add up", row->layer,
                  mpt_operand_name(row->operand), (long long)row->step);
}

static void read_statistics(query *q, store_statistics *row) {
  const int64_t most = INT64_MAX / 4; /* so that sums of counts do not overflow */
  size_t bytes = 0;
  mpt_statistics *x = &row->statistics;
  *row = (store_statistics){.step = column_count(q, INT64_MAX)};
  column_string(q, row->layer, sizeof row->layer);
  row->operand = (mpt_operand)column_count(q, MPT_OPERAND_COUNT - 1);
  x->count = (uint64_t)column_count(q, most);
  x->zeros = (uint64_t)column_count(q, most);
  x->nans = (uint64_t)column_count(q, most);
  x->infinities = (uint64_t)column_count(q, most);
  x->amax_bits = (uint32_t)column_count(q, INT32_MAX);
  x->amin_bits = (uint32_t)column_count(q, INT32_MAX);
  x->sum = column_real(q);
  x->sum_of_squares = column_real(q);
  void *histogram = column_blob(q, &bytes);
  x->full = histogram != NULL && bytes == sizeof x->histogram;
  if (x->full)
    memcpy(x->histogram, histogram, bytes);
  free(histogram);
  check_statistics(q, row, bytes);
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
