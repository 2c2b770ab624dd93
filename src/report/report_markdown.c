/* The report as Markdown: what fits into an issue or a terminal. */
#include "base/shown.h"
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The next character, escaped where Markdown would take it for markup. */
static void add_character(mpt_text *page, const char **text) {
  const mpt_shown shown = mpt_shown_next(text);
  const char *c = shown.bytes;
  if (*c == '<' || *c == '>' || *c == '&') {
    mpt_text_add(page, *c == '<' ? "&lt;" : *c == '>' ? "&gt;" : "&amp;");
    return;
  }
  if (strchr("\\`*_[]|#~!$", *c) != NULL)
    mpt_text_add(page, "\\");
  mpt_text_add(page, c);
}

/* Text in a cell or a sentence. */
static void add_plain(mpt_text *page, const char *text) {
  while (text != NULL && *text != '\0')
    add_character(page, &text);
}

static void add_cell(mpt_text *page, const char *text) {
  mpt_text_add(page, " ");
  add_plain(page, text);
  mpt_text_add(page, " |");
}

static void add_verdict(const report_data *d, mpt_text *page) {
  report_verdict v;
  report_verdict_make(d, &v);
  page->failed = page->failed || v.sentence.failed || v.notes.failed;
  mpt_text_add(page, "# ");
  add_plain(page, report_name(d));
  mpt_text_addf(page, "\n\n**%s**: ", v.word);
  for (const char *c = v.sentence.data; c != NULL && *c != '\0';) {
    if (*c != NUMBER_BEGIN && *c != NUMBER_END)
      add_character(page, &c);
    else
      mpt_text_add(page, "**"), c++;
  }
  mpt_text_add(page, "\n\n");
  for (const char *line = v.notes.data; line != NULL && *line != '\0';) {
    mpt_text_add(page, "- ");
    while (*line != '\n' && *line != '\0')
      add_character(page, &line);
    mpt_text_add(page, "\n");
    line += *line == '\n';
  }
  const char *message = text_or(d->winner.message, "");
  if (!d->winner.gain && message[0] != '\0') {
    mpt_text_add(page, "\n");
    add_plain(page, message);
    mpt_text_add(page, ".\n");
  }
  report_verdict_clear(&v);
}

static void add_policies(const report_data *d, mpt_text *page) {
  if (d->winner.row_count == 0)
    return;
  const bool memory = report_has_memory(d);
  mpt_text_addf(page,
                "\n| policy | step (%s) |%s of reference | %s | worse by | between | pairs |%s "
                "verdict |\n| --- | ---: |%s ---: | ---: | ---: | ---: | ---: |%s --- |\n",
                report_times(d), d->predicted ? "" : " predicted |", report_metric(d),
                memory ? " memory |" : "", d->predicted ? "" : " ---: |", memory ? " ---: |" : "");
  for (int i = 0; i < d->winner.row_count; i++) {
    report_row row;
    report_row_make(d, &d->winner.rows[i], &row);
    mpt_text_add(page, "|");
    add_cell(page, row.label);
    add_cell(page, row.time);
    if (!d->predicted)
      add_cell(page, row.predicted);
    const char *const cells[] = {row.ratio, row.metric, row.worse, row.interval, row.pairs};
    for (size_t c = 0; c < sizeof cells / sizeof cells[0]; c++)
      add_cell(page, cells[c]);
    if (memory)
      add_cell(page, row.memory);
    add_cell(page, row.verdict);
    mpt_text_add(page, "\n");
  }
}

static void add_layers(const report_data *d, mpt_text *page) {
  if (!report_has_policy(d) || d->layer_count == 0)
    return;
  mpt_text_addf(page,
                "\n## Formats\n\nTimes that a format saves are %s.\n\n"
                "| layer | formats | reason | what would flip it |\n| --- | --- | --- | --- |\n",
                report_savings(d));
  for (int i = 0; i < d->layer_count; i++) {
    const report_layer *layer = &d->layers[i];
    mpt_text_add(page, "|");
    add_cell(page, layer->name);
    add_cell(page, layer->formats_text);
    add_cell(page, layer->reason);
    add_cell(page, layer->flip);
    mpt_text_add(page, "\n");
  }
}

static void add_evaluations(const report_data *d, mpt_text *page) {
  if (d->evaluation_count == 0)
    return;
  mpt_text_addf(page,
                "\n## Evaluations\n\n| # | policy | for | seed | steps | %s | worse by | result |\n"
                "| ---: | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
                report_metric(d));
  for (int i = 0; i < d->evaluation_count; i++) {
    const store_evaluation *e = &d->evaluations[i];
    const report_point *p = report_find(d, e->policy);
    char steps[96], metric[FIGURE_SIZE], worse[FIGURE_SIZE], outcome[512];
    report_condition(d, e, steps, sizeof steps);
    figure_value(e->metric, metric);
    figure_change(d, report_change_of(d, e), worse);
    report_outcome(e, outcome, sizeof outcome);
    mpt_text_addf(page, "| %lld |", (long long)e->id);
    add_cell(page, p == NULL ? e->policy : p->policy->label);
    add_cell(page, e->purpose);
    mpt_text_addf(page, " %llu |", (unsigned long long)e->seed);
    add_cell(page, steps);
    add_cell(page, metric);
    add_cell(page, worse);
    add_cell(page, outcome);
    mpt_text_add(page, "\n");
  }
}

void report_markdown(const report_data *d, mpt_text *page) {
  add_verdict(d, page);
  add_policies(d, page);
  add_layers(d, page);
  add_evaluations(d, page);
  mpt_text_addf(page,
                "\n## Measured and predicted\n\nMetrics, differences and bounds are measured. "
                "Step times are %s",
                report_times(d));
  if (d->predicted) {
    mpt_text_add(page, " from the device profile ");
    add_plain(page, text_or(d->definition.target.name, "unknown"));
  }
  mpt_text_add(page, ".\n");
  if (report_has_policy(d)) {
    mpt_text command = {0};
    report_train_command(d, &command);
    mpt_text_addf(page, "\n## Apply\n\n    %s\n", command.failed ? "" : command.data);
    page->failed = page->failed || command.failed;
    mpt_text_free(&command);
  }
  if (d->definition.command != NULL && d->definition.command[0] != '\0') {
    mpt_text_add(page, "\nMade by: ");
    add_plain(page, d->definition.command);
    mpt_text_add(page, "\n");
  }
}
