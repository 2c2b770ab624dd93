/* Prices of passes over memory and of attention. */
#include "base/error.h"
#include "profile/profile.h"
#include <math.h>
#include <stdlib.h>

/* ---- order ---- */
static int by(double a, double b) {
  return (a > b) - (a < b);
}

static int compare_passes(const void *a, const void *b) {
  const pass_row *x = a, *y = b;
  const int kinds = by(x->kind, y->kind), bits = by(x->bits, y->bits);
  return kinds != 0 ? kinds : bits != 0 ? bits : by(x->bytes, y->bytes);
}

static int compare_attention(const void *a, const void *b) {
  const attention_row *x = a, *y = b;
  const int formats = by(x->format, y->format);
  const int channels = by((double)x->channels, (double)y->channels);
  return formats != 0    ? formats
         : channels != 0 ? channels
                         : by((double)x->tokens, (double)y->tokens);
}

mpt_status profile_sort_tables(profile *p, mpt_error *error) {
  if (p->pass_count > 0)
    qsort(p->passes, (size_t)p->pass_count, sizeof *p->passes, compare_passes);
  for (int i = 1; i < p->pass_count; i++)
    if (compare_passes(&p->passes[i - 1], &p->passes[i]) == 0)
      return mpt_fail(error, MPT_ERROR_SYNTAX, "%s of %d bits and %.0f bytes is there twice",
                      pass_kind_name(p->passes[i].kind), p->passes[i].bits, p->passes[i].bytes);
  if (p->attention_count > 0)
    qsort(p->attention, (size_t)p->attention_count, sizeof *p->attention, compare_attention);
  for (int i = 1; i < p->attention_count; i++)
    if (compare_attention(&p->attention[i - 1], &p->attention[i]) == 0)
      return mpt_fail(error, MPT_ERROR_SYNTAX,
                      "attention in %s with %lld channels and %lld tokens is there twice",
                      mpt_format_get(p->attention[i].format)->name,
                      (long long)p->attention[i].channels, (long long)p->attention[i].tokens);
  return MPT_OK;
}

/* On the line through two points. */
static double on_line(double x0, double y0, double x1, double y1, double x) {
  return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

/* ---- passes ---- */
static double from_bandwidth(const profile *p, pass_kind kind, double bytes) {
  const bool casts = kind == PASS_QUANTIZE || kind == PASS_QUANTIZE_PAIR;
  return bytes / ((casts ? p->quantize_efficiency : p->pass_efficiency) * p->copy_bandwidth);
}

double profile_pass(const profile *p, pass_kind kind, int bits, double bytes) {
  const int wanted = bits == 32 ? 32 : 16;
  const pass_row *rows = NULL;
  int count = 0;
  for (int i = 0; i < p->pass_count; i++)
    if (p->passes[i].kind == kind && p->passes[i].bits == wanted) {
      rows = rows != NULL ? rows : &p->passes[i];
      count++;
    }
  double seconds;
  if (count == 0) {
    seconds = from_bandwidth(p, kind, bytes);
  } else if (count == 1) {
    seconds = rows->seconds * fmax(1.0, bytes / rows->bytes);
  } else {
    int i = 0;
    while (i + 2 < count && rows[i + 1].bytes <= bytes)
      i++;
    seconds = bytes <= rows->bytes ? rows->seconds
                                   : on_line(rows[i].bytes, rows[i].seconds, rows[i + 1].bytes,
                                             rows[i + 1].seconds, bytes);
    if (bytes > rows[count - 1].bytes) /* though noise made the larger one the faster */
      seconds = fmax(seconds, rows[count - 1].seconds);
  }
  return fmax(seconds, p->pass_floor);
}

/* ---- attention ---- */
static double measured(const attention_row *row, bool backward) {
  return backward ? row->backward : row->forward;
}

double profile_attention(const profile *p, mpt_format format, double total_tokens, int64_t sequence,
                         int64_t heads, int64_t channels, bool causal, bool backward) {
  const attention_row *rows = NULL;
  int count = 0; /* of the format and the head that is taken */
  for (int i = 0; i < p->attention_count; i++) {
    const attention_row *row = &p->attention[i];
    if (row->format != format ||
        (rows != NULL && rows->channels >= channels && rows->channels != row->channels))
      continue;
    if (rows == NULL || rows->channels != row->channels) {
      rows = row;
      count = 0;
    }
    count++;
  }
  if (rows == NULL)
    return NAN;
  const double tokens = (double)sequence, last = (double)rows[count - 1].tokens;
  double seconds;
  if (sequence >= rows[count - 1].tokens) {
    seconds = measured(&rows[count - 1], backward) * tokens / last;
  } else if (sequence <= rows->tokens) {
    seconds = measured(rows, backward);
  } else {
    int i = 0;
    while (rows[i + 1].tokens <= sequence)
      i++;
    seconds = on_line((double)rows[i].tokens, measured(&rows[i], backward),
                      (double)rows[i + 1].tokens, measured(&rows[i + 1], backward), tokens);
  }
  const double width = (double)heads * fmax((double)channels, (double)rows->channels);
  seconds *= total_tokens / ATTENTION_TOKENS * width / ATTENTION_WIDTH * (causal ? 1.0 : 2.0);
  return fmax(seconds, p->pass_floor);
}
