/* The map of layers and GEMMs, and for each layer what was seen in it and why it has its format. */
#include "report/report_data.h"
#include <stdio.h>
#include <string.h>

static const char *const letters[MPT_PRECISION_COUNT] = {"S", "T", "B", "H", "8"};

static void add_legend(mpt_text *page) {
  mpt_text_add(page, "<p class=\"legend\">");
  for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
    const char *name = mpt_precision_name((mpt_precision)q);
    html_add(page, "<span><i class=\"cell %s\">%s</i> %s</span> ", name, letters[q], name);
  }
  mpt_text_add(page, "</p>");
}

static void add_cell(mpt_text *page, const char *layer, const char *gemm, mpt_precision precision,
                     const char *more) {
  const char *name = mpt_precision_name(precision);
  html_add(page, "<i class=\"cell %s%s\" title=\"%s, %s: %s\">%s</i>", name, more, layer, gemm,
           name, letters[precision]);
}

static void add_row(mpt_text *page, const report_layer *layer) {
  html_add(page, "<li%h><span class=\"name\">%s</span>", layer->unit ? "" : " class=\"follows\"",
           layer->name);
  if (!layer->chosen) {
    mpt_text_add(page, "<i class=\"cell whole unknown\">–</i>");
  } else if (layer->gemm) {
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      add_cell(page, layer->name, mpt_gemm_name((mpt_gemm_kind)g), layer->formats.gemm[g].precision,
               "");
  } else {
    add_cell(page, layer->name, "storage", layer->formats.gemm[MPT_FPROP].precision, " whole");
  }
  mpt_text_add(page, "</li>");
}

void html_layer_map(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<section id=\"formats\"><h2>Formats</h2>");
  if (d->layer_count == 0 || !report_has_policy(d)) {
    html_add(page, "<p>No policy was %s.</p></section>", !d->has_winner ? "chosen yet" : "written");
    return;
  }
  html_add(page,
           "<p>%s. The three cells of a layer are its GEMMs, fprop, dgrad and wgrad; a layer "
           "without them has one, its storage format. Layers whose name is grey follow the layer "
           "before them.</p>",
           text_or(d->winner.label, "The policy"));
  add_legend(page);
  mpt_text_add(page, "<ul class=\"map\">");
  for (int i = 0; i < d->layer_count; i++)
    add_row(page, &d->layers[i]);
  mpt_text_add(page, "</ul></section>");
}

static bool anything_seen(const report_layer *layer) {
  for (int o = 0; o < MPT_OPERAND_COUNT; o++)
    if (layer->seen[o].count > 0)
      return true;
  return false;
}

static void add_layer(const report_data *d, const report_layer *layer, bool open, mpt_text *page) {
  html_add(page, "<details class=\"layer\"%h><summary><span class=\"name\">%s</span> ",
           open ? " open" : "", layer->name);
  if (layer->formats_text != NULL)
    html_add(page, "<span class=\"format\">%s</span> ", layer->formats_text);
  html_add(page, "<span class=\"kind\">%s %s</span></summary>", layer->kind, layer->shape);
  if (layer->reason != NULL)
    html_add(page, "<p>%s</p>", layer->reason);
  if (layer->flip != NULL)
    html_add(page, "<p><b>What would flip it:</b> %s.</p>", layer->flip);
  if (anything_seen(layer)) {
    mpt_text_add(page, "<div class=\"histograms\">");
    for (int o = 0; o < MPT_OPERAND_COUNT; o++)
      if (layer->seen[o].count > 0)
        html_histogram(d, layer, (mpt_operand)o, page);
    mpt_text_add(page, "</div>");
  }
  mpt_text_add(page, "</details>");
}

enum { FEW_LAYERS = 12, OPEN_LAYERS = 3 }; /* of many, few are open at first */

void html_layer_reasons(const report_data *d, mpt_text *page) {
  int count = 0;
  for (int i = 0; i < d->layer_count; i++)
    count += d->layers[i].reason != NULL || anything_seen(&d->layers[i]);
  mpt_text_add(page, "<section id=\"layers\"><h2>Layer by layer</h2>");
  if (count == 0) {
    mpt_text_add(page, "<p>No statistics yet.</p></section>");
    return;
  }
  html_add(
      page,
      "<p>Measured in one run of the reference, at several steps: how the magnitudes of each "
      "tensor are spread over powers of two (height: square root of the share). Below it the range "
      "of each format, lighter where its values are subnormal, and the share of the values that "
      "are not zero that would overflow or vanish; fp8 at its best power-of-two scale, fp16 "
      "unscaled. The formats in bold are those that the policy uses. Times that a format saves are "
      "%s.</p>",
      report_savings(d));
  int shown = 0;
  for (int i = 0; i < d->layer_count; i++)
    if (d->layers[i].reason != NULL || anything_seen(&d->layers[i]))
      add_layer(d, &d->layers[i], count <= FEW_LAYERS || shown++ < OPEN_LAYERS, page);
  mpt_text_add(page, "</section>");
}
