/* Events as lines of JSON. A line is made whole, then written by one write, so that of several
 * processes that append to a file none breaks another's. */
#include "mptune/events.h"
#include "base/shown.h"
#include "base/struct_size.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mpt_events {
  int file;
  char *path;
  mpt_text line; /* room that is used again */
};

static mpt_status fail_io(const mpt_events *e, const char *what, mpt_error *error) {
  return mpt_fail_at(error, MPT_ERROR_IO, e->path, 0, 0, "%s: %s", what, strerror(errno));
}

mpt_status mpt_events_open(const char *path, mpt_events **out, mpt_error *error) {
  if (out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "events_open: events is NULL");
  if (path == NULL)
    path = getenv("MPTUNE_EVENTS");
  if (path == NULL || path[0] == '\0') {
    *out = NULL;
    return MPT_OK;
  }
  mpt_events *e = calloc(1, sizeof *e);
  if (e == NULL || (e->path = strdup(path)) == NULL) {
    free(e);
    return mpt_fail_memory(error, "events", sizeof *e);
  }
  e->file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (e->file < 0) {
    mpt_status status = fail_io(e, "events cannot be appended", error);
    free(e->path);
    free(e);
    return status;
  }
  *out = e;
  return MPT_OK;
}

void mpt_events_close(mpt_events *e) {
  if (e == NULL)
    return;
  close(e->file);
  mpt_text_free(&e->line);
  free(e->path);
  free(e);
}

/* ---- values ---- */
static void add_string(mpt_text *t, const char *string) {
  mpt_text valid = {0};
  mpt_text_add_utf8(&valid, string);
  t->failed = t->failed || valid.failed;
  mpt_text_add(t, "\"");
  for (const char *at = valid.data; at != NULL && *at != '\0'; at++)
    if (*at == '"' || *at == '\\')
      mpt_text_addf(t, "\\%c", *at);
    else if ((unsigned char)*at < 0x20 || *at == 0x7F)
      mpt_text_addf(t, "\\u%04x", (unsigned)(unsigned char)*at);
    else
      mpt_text_add_bytes(t, at, 1);
  mpt_text_add(t, "\"");
  mpt_text_free(&valid);
}

static void add_number(mpt_text *t, double value) {
  if (isfinite(value))
    mpt_text_add_number(t, value);
  else
    mpt_text_add(t, "null");
}

/* ---- members, each after another ---- */
static void add_name(mpt_text *t, const char *name) {
  mpt_text_addf(t, ",\"%s\":", name);
}

static void member_string(mpt_text *t, const char *name, const char *value) {
  add_name(t, name);
  add_string(t, value);
}

static void member_number(mpt_text *t, const char *name, double value) {
  add_name(t, name);
  add_number(t, value);
}

static void member_integer(mpt_text *t, const char *name, int64_t value) {
  mpt_text_addf(t, ",\"%s\":%" PRId64, name, value);
}

static void member_count(mpt_text *t, const char *name, uint64_t value) {
  mpt_text_addf(t, ",\"%s\":%" PRIu64, name, value);
}

static void member_strings(mpt_text *t, const char *name, const char *const *strings) {
  if (strings == NULL)
    return;
  add_name(t, name);
  mpt_text_add(t, "[");
  for (int i = 0; strings[i] != NULL; i++) {
    mpt_text_add(t, i == 0 ? "" : ",");
    add_string(t, strings[i]);
  }
  mpt_text_add(t, "]");
}

/* ---- a line ---- */
static mpt_text *begin(mpt_events *e, const char *event) {
  e->line.length = 0;
  e->line.failed = false;
  mpt_text_addf(&e->line, "{\"event\":\"%s\"", event);
  return &e->line;
}

/* Nobody can put right what was written in part: that is an error, and a line's end keeps the next
 * line whole. */
static mpt_status end(mpt_events *e, mpt_error *error) {
  mpt_text_add(&e->line, "}\n");
  if (e->line.failed)
    return mpt_fail_memory(error, "an event", e->line.capacity);
  ssize_t written;
  do
    written = write(e->file, e->line.data, e->line.length);
  while (written < 0 && errno == EINTR);
  if (written == (ssize_t)e->line.length)
    return MPT_OK;
  if (written < 0)
    return fail_io(e, "an event cannot be written", error);
  errno = ENOSPC;
  mpt_status status = fail_io(e, "an event was written in part", error);
  if (write(e->file, "\n", 1) != 1)
    return status;
  return status;
}

#define REFUSE_IF(bad, what)                                                                       \
  if (bad)                                                                                         \
  return mpt_fail(error, MPT_ERROR_ARGUMENT, what)

/* ---- events ---- */
mpt_status mpt_events_hello(mpt_events *e, const mpt_events_hello_info *given, mpt_error *error) {
  mpt_events_hello_info hello = {0};
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(given == NULL, "events_hello: hello is NULL");
  MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_events_hello_info",
                                        MPT_END_OF(mpt_events_hello_info, precisions), &hello,
                                        sizeof hello, error));
  REFUSE_IF(hello.program == NULL || hello.program[0] == '\0',
            "events_hello: the program has no name");
  mpt_text *t = begin(e, "hello");
  member_integer(t, "protocol", MPT_EVENTS_PROTOCOL);
  member_string(t, "program", hello.program);
  if (hello.device != NULL)
    member_string(t, "device", hello.device);
  if (hello.versions != NULL) {
    add_name(t, "versions");
    for (int i = 0; hello.versions[i] != NULL && hello.versions[i + 1] != NULL; i += 2) {
      mpt_text_add(t, i == 0 ? "{" : ",");
      add_string(t, hello.versions[i]);
      mpt_text_add(t, ":");
      add_string(t, hello.versions[i + 1]);
    }
    mpt_text_add(t, hello.versions[0] == NULL || hello.versions[1] == NULL ? "{}" : "}");
  }
  member_strings(t, "capabilities", hello.capabilities);
  if (hello.precisions != 0) {
    const char *names[MPT_PRECISION_COUNT + 1] = {NULL};
    int count = 0;
    for (int p = 0; p < MPT_PRECISION_COUNT; p++)
      if ((hello.precisions & 1u << p) != 0)
        names[count++] = mpt_precision_name((mpt_precision)p);
    member_strings(t, "formats", names);
  }
  return end(e, error);
}

static void add_layer(mpt_text *t, const mpt_layer_info *layer) {
  mpt_text_add(t, "{\"name\":");
  add_string(t, layer->name);
  member_string(t, "kind", layer->kind);
  add_name(t, "shape");
  for (int i = 0; i < layer->rank; i++)
    mpt_text_addf(t, "%s%" PRId64, i == 0 ? "[" : ",", layer->shape[i]);
  mpt_text_add(t, "]");
  if (layer->rows > 0)
    member_integer(t, "rows", layer->rows);
  mpt_text_add(t, "}");
}

static bool are_layers(const mpt_layer_info *layers, int count) {
  for (int i = 0; i < count; i++)
    if (layers == NULL || layers[i].rank < 1 || layers[i].rank > 4 || layers[i].name[0] == '\0' ||
        memchr(layers[i].name, '\0', sizeof layers[i].name) == NULL ||
        memchr(layers[i].kind, '\0', sizeof layers[i].kind) == NULL)
      return false;
  return count >= 0;
}

mpt_status mpt_events_layers(mpt_events *e, const mpt_layer_info *layers, int count,
                             const char *const *uncovered, mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(!are_layers(layers, count), "events_layers: a layer has no name, kind or shape");
  mpt_text *t = begin(e, "layers");
  mpt_text_add(t, ",\"layers\":[");
  for (int i = 0; i < count; i++) {
    mpt_text_add(t, i == 0 ? "" : ",");
    add_layer(t, &layers[i]);
  }
  mpt_text_add(t, "]");
  member_strings(t, "uncovered", uncovered);
  return end(e, error);
}

mpt_status mpt_events_applied(mpt_events *e, const mpt_layer_info *layers,
                              const mpt_layer_policy *formats, int count, mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(!are_layers(layers, count) || (count > 0 && formats == NULL),
            "events_applied: a layer has no name, kind or shape, or formats are NULL");
  mpt_text *t = begin(e, "applied");
  mpt_text_add(t, ",\"layers\":[");
  for (int i = 0; i < count; i++) {
    char text[512];
    mpt_layer_policy_text(&formats[i], text, sizeof text);
    mpt_text_add(t, i == 0 ? "{\"name\":" : ",{\"name\":");
    add_string(t, layers[i].name);
    member_string(t, "format", text);
    mpt_text_add(t, "}");
  }
  mpt_text_add(t, "]");
  return end(e, error);
}

mpt_status mpt_events_step(mpt_events *e, int64_t step, double loss, double seconds,
                           mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  mpt_text *t = begin(e, "step");
  member_integer(t, "step", step);
  member_number(t, "loss", loss);
  if (!isnan(seconds))
    member_number(t, "seconds", seconds);
  return end(e, error);
}

mpt_status mpt_events_time(mpt_events *e, const mpt_events_time_info *given, mpt_error *error) {
  mpt_events_time_info time = {.spread = NAN, .compile = NAN, .peak_bytes = -1};
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(given == NULL, "events_time: time is NULL");
  MPT_RETURN_IF_FAILED(mpt_options_take(given, "mpt_events_time_info",
                                        MPT_END_OF(mpt_events_time_info, peak_bytes), &time,
                                        sizeof time, error));
  mpt_text *t = begin(e, "time");
  member_number(t, "median", time.median);
  member_integer(t, "steps", time.steps);
  if (!isnan(time.spread))
    member_number(t, "spread", time.spread);
  if (!isnan(time.compile))
    member_number(t, "compile", time.compile);
  if (time.peak_bytes >= 0)
    member_integer(t, "peak_bytes", time.peak_bytes);
  return end(e, error);
}

/* The largest finite magnitude: where amax is not finite itself, the upper end of the largest
 * binade in use, 0 where that is not known. */
static double finite_amax(const mpt_statistics *s) {
  double amax = (double)mpt_statistics_amax(s);
  if (isfinite(amax))
    return amax;
  for (int bin = 254; s->full && bin >= 0; bin--)
    if (s->histogram[bin] > (bin == 0 ? s->zeros : 0))
      return ldexp(2.0 - 0x1p-23, bin > 0 ? bin - 127 : -127);
  return 0.0;
}

static double finite_amin(const mpt_statistics *s) {
  const mpt_statistics least = {.amax_bits = s->amin_bits};
  double amin = (double)mpt_statistics_amax(&least);
  return isfinite(amin) ? amin : 0.0;
}

mpt_status mpt_events_statistics(mpt_events *e, int64_t step, const char *layer,
                                 mpt_operand operand, const mpt_statistics *s, mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(layer == NULL || s == NULL || (unsigned)operand >= MPT_OPERAND_COUNT,
            "events_statistics: the layer, the operand or the statistics are missing");
  mpt_text *t = begin(e, "stats");
  member_integer(t, "step", step);
  member_string(t, "layer", layer);
  member_string(t, "operand", mpt_operand_name(operand));
  member_count(t, "count", s->count);
  member_count(t, "zeros", s->zeros);
  member_count(t, "nans", s->nans);
  member_count(t, "infinities", s->infinities);
  member_number(t, "amax", finite_amax(s));
  member_number(t, "amin", finite_amin(s));
  if (s->full) {
    member_number(t, "sum", s->sum);
    member_number(t, "sum_of_squares", s->sum_of_squares);
    add_name(t, "histogram");
    for (int bin = 0; bin < MPT_EXPONENT_BINS; bin++)
      mpt_text_addf(t, "%s%" PRIu64, bin == 0 ? "[" : ",", s->histogram[bin]);
    mpt_text_add(t, "]");
  }
  return end(e, error);
}

mpt_status mpt_events_probe(mpt_events *e, const char *layer, mpt_precision precision,
                            double forward, double dgrad, double wgrad, double output_amax,
                            mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(layer == NULL || (unsigned)precision >= MPT_PRECISION_COUNT,
            "events_probe: the layer or its precision are missing");
  mpt_text *t = begin(e, "probe");
  member_string(t, "layer", layer);
  member_string(t, "format", mpt_precision_name(precision));
  member_number(t, "forward", forward);
  member_number(t, "dgrad", dgrad);
  member_number(t, "wgrad", wgrad);
  member_number(t, "output_amax", output_amax);
  return end(e, error);
}

mpt_status mpt_events_nonfinite(mpt_events *e, int64_t step, const char *layer, mpt_operand operand,
                                mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(layer != NULL && (unsigned)operand >= MPT_OPERAND_COUNT,
            "events_nonfinite: the operand is unknown");
  mpt_text *t = begin(e, "nonfinite");
  member_integer(t, "step", step);
  if (layer != NULL) {
    member_string(t, "layer", layer);
    member_string(t, "operand", mpt_operand_name(operand));
  }
  return end(e, error);
}

mpt_status mpt_events_skipped(mpt_events *e, int64_t step, mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  member_integer(begin(e, "skipped"), "step", step);
  return end(e, error);
}

mpt_status mpt_events_metric(mpt_events *e, const char *name, double value, bool larger_is_better,
                             mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  REFUSE_IF(name == NULL || name[0] == '\0', "events_metric: the metric has no name");
  mpt_text *t = begin(e, "metric");
  member_string(t, "name", name);
  member_number(t, "value", value);
  member_string(t, "goal", larger_is_better ? "max" : "min");
  return end(e, error);
}

mpt_status mpt_events_done(mpt_events *e, int64_t steps, mpt_error *error) {
  if (e == NULL)
    return MPT_OK;
  member_integer(begin(e, "done"), "steps", steps);
  return end(e, error);
}
