/* Numbers as people read them. */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>

static void three_digits(double value, const char *unit, char text[FIGURE_SIZE]) {
  const double size = fabs(value);
  if (size < 0.9995) { /* of the smallest unit */
    snprintf(text, FIGURE_SIZE, "%.3g %s", value, unit);
    return;
  }
  const int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  snprintf(text, FIGURE_SIZE, "%.*f %s", decimals, value, unit);
}

void figure_time(double seconds, char text[FIGURE_SIZE]) {
  if (!isfinite(seconds))
    snprintf(text, FIGURE_SIZE, "–");
  else if (fabs(seconds) < 0.9995e-3)
    three_digits(1e6 * seconds, "µs", text);
  else if (fabs(seconds) < 0.9995)
    three_digits(1e3 * seconds, "ms", text);
  else
    three_digits(seconds, "s", text);
}

void figure_duration(double seconds, char text[FIGURE_SIZE]) {
  if (!isfinite(seconds) || seconds < 120)
    figure_time(seconds, text);
  else if (seconds < 7200)
    three_digits(seconds / 60, "minutes", text);
  else
    three_digits(seconds / 3600, "hours", text);
}

void figure_bytes(double bytes, char text[FIGURE_SIZE]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  if (!(bytes > 0)) {
    snprintf(text, FIGURE_SIZE, "–");
    return;
  }
  while (bytes >= 1024 && unit < 4)
    bytes /= 1024, unit++;
  if (unit == 0)
    snprintf(text, FIGURE_SIZE, "%.0f B", bytes);
  else
    three_digits(bytes, units[unit], text);
}

void figure_percent(double share, int digits, char text[FIGURE_SIZE]) {
  if (isfinite(share))
    snprintf(text, FIGURE_SIZE, "%.*f%%", digits, 100 * share);
  else
    snprintf(text, FIGURE_SIZE, "–");
}

void figure_value(double value, char text[FIGURE_SIZE]) {
  if (isfinite(value))
    snprintf(text, FIGURE_SIZE, "%.5g", value);
  else
    snprintf(text, FIGURE_SIZE, "–");
}

static void unbounded(double change, char text[FIGURE_SIZE]) {
  snprintf(text, FIGURE_SIZE, "%s", isinf(change) && change > 0 ? "without limit" : "–");
}

void figure_change(const report_data *data, double change, char text[FIGURE_SIZE]) {
  if (isfinite(change))
    change_text(data->records.rule.relative, change, text);
  else
    unbounded(change, text);
}

void figure_lower(const report_data *data, double lower, char text[FIGURE_SIZE]) {
  if (isfinite(lower))
    change_lower_text(data->records.rule.relative, lower, text);
  else
    unbounded(lower, text);
}

void figure_upper(const report_data *data, double upper, char text[FIGURE_SIZE]) {
  if (isfinite(upper))
    change_upper_text(data->records.rule.relative, upper, text);
  else
    unbounded(upper, text);
}

void figure_increase(const report_data *data, double increase, char text[FIGURE_SIZE]) {
  const double mean = data->records.of_error ? 1 - data->reference_mean : data->reference_mean;
  figure_change(data, data->records.rule.relative ? increase / fabs(mean) : increase, text);
}
