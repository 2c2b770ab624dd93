#include "tuner/change.h"
#include <math.h>
#include <stdio.h>

/* A percentage has three decimals, a difference four digits. */
static double unit_of(bool relative, double change) {
  if (relative)
    return 1e-5;
  return change == 0 ? 1 : pow(10, floor(log10(fabs(change))) - 3);
}

static void write_change(bool relative, double change, char text[CHANGE_SIZE]) {
  if (!isfinite(change))
    snprintf(text, CHANGE_SIZE, "-");
  else if (relative)
    snprintf(text, CHANGE_SIZE, "%+.3f%%", 100 * change);
  else
    snprintf(text, CHANGE_SIZE, "%+.4g", change);
}

void change_text(bool relative, double change, char text[CHANGE_SIZE]) {
  write_change(relative, change + 0.0, text); /* + 0.0: no -0 */
}

/* What is a multiple of the unit but for its binary form stays. */
void change_upper_text(bool relative, double upper, char text[CHANGE_SIZE]) {
  const double unit = unit_of(relative, upper);
  write_change(relative, ceil(upper / unit - 1e-6) * unit + 0.0, text);
}

void change_lower_text(bool relative, double lower, char text[CHANGE_SIZE]) {
  const double unit = unit_of(relative, lower);
  write_change(relative, floor(lower / unit + 1e-6) * unit + 0.0, text);
}
