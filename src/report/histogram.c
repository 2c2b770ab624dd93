/* The exponents that a tensor's values were seen to have, over the ranges of the formats, as SVG:
 * one path, so that hundreds of them stay small, and sharp in print.
 *
 * The horizontal axis is the binary exponent, the same in every histogram of a page; heights are
 * the square root of the share, so that thin tails are seen. fp8 is shown at the power-of-two scale
 * that puts the largest value just inside; the other formats are used unscaled.
 */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LOW = -48, HIGH = 20, LEFT = 74, WIDTH = 236, RIGHT = 92, TOP = 4, HEIGHT = 56, ROW = 15 };

static double place(double exponent) {
  return LEFT + WIDTH * (fmin(fmax(exponent, LOW), HIGH) - LOW) / (double)(HIGH - LOW);
}

static void add_bars(mpt_text *page, const mpt_statistics *x) {
  double share[HIGH - LOW] = {0}, most = 0;
  for (int b = 1; b < MPT_EXPONENT_BINS - 1; b++) {
    int i = b - 127 - LOW;
    i = i < 0 ? 0 : i >= HIGH - LOW ? HIGH - LOW - 1 : i; /* what is beyond stands at the edge */
    share[i] += (double)x->histogram[b];
  }
  for (int i = 0; i < HIGH - LOW; i++)
    most = fmax(most, share[i]);
  mpt_text_add(page, "<path class=\"bars\" d=\"");
  for (int i = 0; i < HIGH - LOW && most > 0; i++) {
    const double height = HEIGHT * sqrt(share[i] / most);
    if (share[i] > 0)
      mpt_text_addf(page, "M%.1f %dv-%.1fh%.1fv%.1fz", place(i + LOW), TOP + HEIGHT,
                    fmax(height, 0.8), WIDTH / (double)(HIGH - LOW) - 0.4, fmax(height, 0.8));
  }
  mpt_text_add(page, "\"/>");
}

static void share_text(double count, double of, char text[FIGURE_SIZE]) {
  const double percent = 100 * count / of;
  if (count <= 0)
    snprintf(text, FIGURE_SIZE, "0%%");
  else if (percent < 0.01)
    snprintf(text, FIGURE_SIZE, "&lt;0.01%%");
  else
    snprintf(text, FIGURE_SIZE, "%.*f%%", percent < 1 ? 2 : percent < 99.95 ? 1 : 0, percent);
}

/* What is lost in the format, of the values that are not zero: the upper bounds. */
static void add_losses(mpt_text *page, const mpt_statistics *x, mpt_format format, int scale,
                       int y) {
  mpt_range_counts counts;
  char lost[FIGURE_SIZE];
  const double nonzero = (double)(x->count - x->zeros);
  if (nonzero <= 0 || mpt_statistics_range(x, format, scale, &counts, NULL) != MPT_OK)
    return;
  const bool over = counts.overflow_high > 0;
  share_text((double)(over ? counts.overflow_high : counts.vanish_high), nonzero, lost);
  mpt_text_addf(page, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s %s</text>", over ? "over" : "share",
                LEFT + WIDTH + 8, y + 9, lost, over ? "overflow" : "vanish");
}

static void add_range(mpt_text *page, const mpt_statistics *x, mpt_format format, const char *name,
                      bool used, int y) {
  const mpt_format_info *info = mpt_format_get(format);
  const int scale = mpt_format_is_fp8(format) ? mpt_scale_exponent(format, x->amax_bits, 0) : 0;
  const double tiny = info->min_exponent - info->mantissa_bits - scale;
  const double low = place(info->min_exponent - scale),
               high = place(info->max_exponent + 1 - scale);
  mpt_text_addf(page, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>", used ? "used" : "name",
                LEFT - 8, y + 9, name);
  mpt_text_addf(page, "<rect class=\"sub\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"7\"/>",
                place(tiny), y + 2, low - place(tiny));
  mpt_text_addf(page, "<rect class=\"range%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"7\"/>",
                used ? " used" : "", low, y + 2, high - low);
  add_losses(page, x, format, scale, y);
}

static void add_axis(mpt_text *page, int bottom) {
  for (int e = -40; e <= HIGH; e += 20) {
    mpt_text_addf(page, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>",
                  place(e), place(e), TOP, bottom);
    mpt_text_addf(page,
                  "<text class=\"tick\" x=\"%.1f\" y=\"%d\">2<tspan dy=\"-3\">%d</tspan></text>",
                  place(e), bottom + 12, e);
  }
}

/* The formats that the winner's GEMMs give this operand. */
static unsigned used_formats(const report_layer *layer, mpt_operand operand) {
  unsigned used = 0;
  if (!layer->chosen)
    return 0;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    for (int i = 0; i < 2; i++)
      if (layer->gemm && mpt_gemm_operand((mpt_gemm_kind)g, i) == operand)
        used |= 1u << layer->formats.gemm[g].operand[i];
  if (!layer->gemm)
    used = 1u << mpt_layer_policy_storage(&layer->formats, false, MPT_FPROP);
  return used;
}

void html_histogram(const report_data *data, const report_layer *layer, mpt_operand operand,
                    mpt_text *page) {
  (void)data;
  const mpt_statistics *x = &layer->seen[operand];
  const unsigned used = used_formats(layer, operand);
  const unsigned wide = 1u << MPT_FP32 | 1u << MPT_TF32 | 1u << MPT_BF16;
  static const mpt_format narrow[] = {MPT_FP16, MPT_FP8_E5M2, MPT_FP8_E4M3};
  const int ranges = TOP + HEIGHT + 4, bottom = ranges + 4 * ROW;
  char amax[32];
  snprintf(amax, sizeof amax, "%.3g", (double)mpt_statistics_amax(x));
  html_add(page,
           "<figure><figcaption>%s <span>amax %s, %d binades</span></figcaption>"
           "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"exponents of %s\">",
           mpt_operand_name(operand), amax, (int)lround(mpt_statistics_dynamic_range(x)),
           LEFT + WIDTH + RIGHT, bottom + 18, mpt_operand_name(operand));
  add_axis(page, bottom);
  add_bars(page, x);
  /* These have the same exponents. */
  add_range(page, x, MPT_BF16, (used >> MPT_TF32 & 1) != 0 ? "tf32 bf16" : "fp32 bf16",
            (used & wide) != 0, ranges);
  for (int f = 0; f < 3; f++)
    add_range(page, x, narrow[f], mpt_format_get(narrow[f])->name, (used >> narrow[f] & 1) != 0,
              ranges + (f + 1) * ROW);
  mpt_text_add(page, "</svg></figure>");
}
