/* The policies of the summary: what the search noted of their times, and what the records say of
 * their accuracy. */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

bool report_has_memory(const report_data *d) {
  for (int i = 0; i < d->winner.row_count; i++)
    if (d->winner.rows[i].memory_bytes > 0)
      return true;
  return false;
}

static void add_accuracy(const report_data *d, const report_point *p, report_row *row) {
  char lower[FIGURE_SIZE], upper[FIGURE_SIZE];
  const evidence *e = &p->seen;
  figure_value(e->metric, row->metric);
  figure_change(d, p->reference ? NAN : report_change(d, e), row->worse);
  if (e->pairs > 0 && !p->reference)
    snprintf(row->pairs, sizeof row->pairs, "%d%s", e->pairs, e->fresh ? " fresh" : "");
  if (p->reference || !isfinite(e->interval.upper) || !isfinite(e->interval.lower))
    return;
  figure_lower(d, e->interval.lower, lower);
  figure_upper(d, e->interval.upper, upper);
  snprintf(row->interval, sizeof row->interval, "%s to %s", lower, upper);
}

void report_row_make(const report_data *d, const store_row *from, report_row *row) {
  const report_point *p = report_find(d, text_or(from->policy, ""));
  *row = (report_row){.label = text_or(from->label, "?"),
                      .verdict = text_or(from->verdict, ""),
                      .winner = from->winner};
  figure_time(from->step_seconds, row->time);
  figure_time(from->predicted_seconds, row->predicted);
  if (!d->predicted && !from->measured)
    snprintf(row->time, sizeof row->time, "not measured");
  figure_percent(from->ratio, 1, row->ratio);
  figure_bytes((double)from->memory_bytes, row->memory);
  figure_value(NAN, row->metric);
  figure_value(NAN, row->worse);
  figure_value(NAN, row->interval);
  figure_value(NAN, row->pairs);
  if (p == NULL)
    return;
  add_accuracy(d, p, row);
  /* A verdict is what the records say now; what stands in its place is as the search noted it. */
  if (p->seen.attempted && !p->reference)
    row->verdict = p->verdict;
}
