#include "base/progress.h"
#include "base/clock.h"
#include "base/shown.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS   10.0

static int verbosity = 1;
static mpt_color color_mode = MPT_COLOR_AUTO;
static bool line_open;
static double last_drawn = -1e9;
static char last_stage[64];

static bool colored(int file) {
  if (color_mode != MPT_COLOR_AUTO)
    return color_mode == MPT_COLOR_ALWAYS;
  const char *no = getenv("NO_COLOR");
  return (no == NULL || no[0] == '\0') && isatty(file);
}

void mpt_log_configure(int level, mpt_color color) {
  verbosity = level;
  color_mode = color;
}

static void clear_line(void) {
  if (line_open)
    fputs("\r\033[K", stderr);
  line_open = false;
}

/* What names of files, layers and devices hold does nothing to the terminal. */
static void log_line(const char *style, const char *prefix, const char *format, va_list arguments) {
  char line[4096];
  clear_line();
  const bool paint = style[0] != '\0' && colored(STDERR_FILENO);
  fprintf(stderr, "%s%s%s", paint ? style : "", prefix, paint ? "\033[0m" : "");
  const int length = vsnprintf(line, sizeof line, format, arguments);
  if (length >= (int)sizeof line)
    mpt_utf8_trim(line);
  mpt_print_shown(stderr, line);
  fputc('\n', stderr);
}

void mpt_log_note(const char *format, ...) {
  if (verbosity < 1)
    return;
  va_list arguments;
  va_start(arguments, format);
  log_line("", "", format, arguments);
  va_end(arguments);
}

void mpt_log_detail(const char *format, ...) {
  if (verbosity < 2)
    return;
  va_list arguments;
  va_start(arguments, format);
  log_line("", "", format, arguments);
  va_end(arguments);
}

void mpt_log_warning(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_line("\033[33m", "warning: ", format, arguments);
  va_end(arguments);
}

static void log_error_text(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_line("\033[31m", "error: ", format, arguments);
  va_end(arguments);
}

void mpt_log_error(const mpt_error *error) {
  const char *message = error->message[0] != '\0' ? error->message : mpt_status_text(error->status);
  if (error->file[0] == '\0')
    log_error_text("%s", message);
  else if (error->line == 0)
    log_error_text("%s: %s", error->file, message);
  else
    log_error_text("%s:%d:%d: %s", error->file, error->line, error->column, message);
}

/* A line that wraps could not be cleared. */
static int terminal_columns(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

/* As many whole characters as there are columns for; gives the columns that are left. */
static int print_cut(const char *text, int columns) {
  while (*text != '\0') {
    const mpt_shown shown = mpt_shown_next(&text);
    const int width = mpt_shown_width(&shown);
    if (width > columns)
      return 0;
    fputs(shown.bytes, stderr);
    columns -= width;
  }
  return columns;
}

bool mpt_progress_due(const char *stage) {
  if (verbosity < 1)
    return false;
  const double since = mpt_clock_seconds() - last_drawn;
  const bool new_stage = strcmp(stage, last_stage) != 0;
  if (since >= LINE_SECONDS)
    return true;
  if (since < REDRAW_SECONDS && !new_stage)
    return false;
  return isatty(STDERR_FILENO) ? since >= REDRAW_SECONDS : new_stage;
}

void mpt_progress_update(const char *stage, const char *format, ...) {
  if (!mpt_progress_due(stage))
    return;
  const bool terminal = isatty(STDERR_FILENO);
  last_drawn = mpt_clock_seconds();
  snprintf(last_stage, sizeof last_stage, "%s", stage);
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  int left = terminal ? terminal_columns() - 1 : (int)sizeof line;
  if (terminal)
    fputs("\r\033[K", stderr);
  left = print_cut(stage, left);
  left = print_cut(": ", left);
  print_cut(line, left);
  if (!terminal)
    fputc('\n', stderr);
  fflush(stderr);
  line_open = terminal;
}

void mpt_progress_end(void) {
  clear_line();
  last_stage[0] = '\0';
  last_drawn = -1e9;
}
