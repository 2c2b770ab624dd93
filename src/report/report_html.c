/* The page: head, verdict, charts; then the parts. It is whole without a network, and its text and
 * tables without scripts. */
#include "base/shown.h"
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_head(const report_data *d, mpt_text *page) {
  /* The policy forbids the page to load anything, whatever stands in it. */
  html_add(page,
           "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
           "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
           "<meta name=\"color-scheme\" content=\"light dark\">"
           "<meta name=\"generator\" content=\"mptune %s\"><link rel=\"icon\" href=\"data:,\">"
           "<title>%s – mptune</title><style>%h</style></head><body><main>",
           MPTUNE_VERSION, report_name(d), report_page_css);
}

static void add_notes(const char *notes, mpt_text *page) {
  while (notes != NULL && *notes != '\0') {
    const size_t length = strcspn(notes, "\n");
    char line[1024];
    snprintf(line, sizeof line, "%.*s", (int)(length < 1000 ? length : mpt_utf8_cut(notes, 1000)),
             notes);
    html_add(page, "<li>%s", line);
    notes += length + (notes[length] == '\n');
  }
}

static void add_verdict(const report_data *d, mpt_text *page) {
  report_verdict v;
  report_verdict_make(d, &v);
  page->failed = page->failed || v.sentence.failed || v.notes.failed;
  char word[32];
  snprintf(word, sizeof word, "%.20s", v.word);
  for (char *c = word; *c != '\0'; c++)
    if (*c == ' ')
      *c = '-';
  html_add(page, "<header><p class=\"place\">mptune report</p><h1>%s</h1>", report_name(d));
  html_add(page, "<p class=\"place\">%s, budget %s, reference %s</p></header>",
           report_device(d, "device unknown"), report_budget(d),
           text_or(d->definition.reference, "unknown"));
  html_add(page,
           "<section id=\"verdict\"><p class=\"sentence\"><span class=\"badge %s\">%s</span> ",
           word, v.word);
  html_add_sentence(page, v.sentence.data);
  mpt_text_add(page, "</p>");
  if (v.notes.length > 0) {
    mpt_text_add(page, "<ul class=\"notes\">");
    add_notes(v.notes.data, page);
    mpt_text_add(page, "</ul>");
  }
  const char *message = text_or(d->winner.message, "");
  if (!d->winner.gain && message[0] != '\0')
    html_add(page, "<p class=\"message\">%s.</p>", message);
  html_policies(d, page);
  mpt_text_add(page, "</section>");
  report_verdict_clear(&v);
}

static int placed_points(const report_data *d) {
  int count = 0;
  for (int i = 0; i < d->policy_count; i++)
    count += isfinite(d->points[i].seen.worse) && isfinite(d->points[i].seconds);
  return count;
}

/* The policies that the chart cannot show. */
static void add_absent(const report_data *d, mpt_text *page) {
  const char *separator = "Not in it: ";
  for (int i = 0; i < d->policy_count; i++) {
    const report_point *p = &d->points[i];
    if (isfinite(p->seen.worse) && isfinite(p->seconds))
      continue;
    char time[FIGURE_SIZE];
    figure_time(p->seconds, time);
    html_add(page, "%s%s (%s %s, %s)", separator, p->policy->label, time, report_times_of(p),
             p->seen.diverged + p->seen.given_up > 0 ? "diverged or given up" : "not trained");
    separator = ", ";
  }
  if (separator[0] == ',')
    mpt_text_add(page, ".");
}

static void add_charts(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<section id=\"frontier\"><h2>Frontier</h2>");
  if (placed_points(d) > 0) {
    html_add(page,
             "<p>Every policy that was trained: its step time (%s) and by how much its %s is worse "
             "(measured: the mean over the fresh pairs of those that were verified, over the "
             "search’s of the others). Left is faster, down is "
             "more accurate; on the line "
             "through the frontier none is beaten in both. ",
             report_times(d), report_metric(d));
    add_absent(d, page);
    mpt_text_add(page, "</p><div class=\"chart\"><canvas id=\"frontier-chart\" role=\"img\" "
                       "aria-label=\"step time against loss of accuracy\"></canvas></div>");
  } else {
    mpt_text_add(page, "<p>No policy was trained yet.</p>");
  }
  mpt_text_add(page, "</section><section id=\"losses\"><h2>Training loss</h2>");
  if (d->reference_curve != NULL) {
    html_add(page,
             "<p>Measured, of %s.</p>"
             "<div class=\"chart\"><canvas id=\"loss-chart\" role=\"img\" "
             "aria-label=\"training loss by step\"></canvas></div>",
             d->winner_curve != NULL ? "the reference and the policy that was written, from the "
                                       "same initial weights, on the same batches"
                                     : "the reference");
  } else {
    mpt_text_add(page, "<p>No run was finished yet.</p>");
  }
  mpt_text_add(page, "</section>");
}

void report_html(const report_data *d, mpt_text *page) {
  add_head(d, page);
  add_verdict(d, page);
  add_charts(d, page);
  html_layer_map(d, page);
  html_layer_reasons(d, page);
  html_verification(d, page);
  html_trajectory(d, page);
  html_evaluations(d, page);
  html_provenance(d, page);
  mpt_text_add(page, "</main><script id=\"charts\" type=\"application/json\">");
  html_add_json(page, report_charts(d));
  html_add(page, "</script><script>/*\n%h*/\n%h</script><script>%h</script></body></html>\n",
           report_chart_licence, report_chart_js, report_page_js);
}
