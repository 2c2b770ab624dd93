#include "tuner/progress_line.h"
#include "base/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *stage_name(const char *purpose) {
  static const char *const names[][2] = {{"reference", "reference"},
                                         {"uniform", "uniform policies"},
                                         {"candidate", "candidates"},
                                         {"verify", "verification"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i][0], purpose) == 0)
      return names[i][1];
  return purpose;
}

/* What matters most comes first: a narrow terminal cuts the line's end off. */
static void show_training(const search_clock *k, const evaluation_request *r, const char *label,
                          double share) {
  const int left = k->planned > k->finished ? k->planned - k->finished : 1;
  char time_left[48] = "", best[120] = "";
  if (k->finished > 0) {
    const double each = k->finished_seconds / k->finished;
    const double seconds = fmax(0, left - share) * each;
    snprintf(time_left, sizeof time_left, seconds < 120 ? " (%.0f s)" : " (%.0f minutes)",
             seconds < 120 ? seconds : seconds / 60);
  }
  if (k->best[0] != '\0')
    snprintf(best, sizeof best, "; best so far %s at %.1f%%", k->best, 100 * k->best_share);
  mpt_progress_update(stage_name(r->purpose),
                      "%d done, at most %d left%s%s; now %s, seed %llu, %.0f%%", k->finished, left,
                      time_left, best, label, (unsigned long long)r->seed, 100 * share);
}

void progress_show(const search_clock *k, const evaluation_request *r, const char *label,
                   int64_t step, int64_t steps) {
  if (r->purpose[0] == '\0' || !mpt_progress_due(stage_name(r->purpose)))
    return;
  if (r->kind == REQUEST_TIME)
    mpt_progress_update(r->purpose, "%s, step %lld", label, (long long)step + 1);
  else
    show_training(k, r, label, (double)(step + 1) / (double)steps);
}
