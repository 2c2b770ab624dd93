/* What a report says, read from a run store and put together; private to src/report/. Whatever a
 * search has not got to is absent: NULL, NaN, 0. */
#ifndef REPORT_DATA_H
#define REPORT_DATA_H

#include "base/text.h"
#include "store/run_definition.h"
#include "store/run_reference.h"
#include "store/run_scores.h"
#include "store/run_trajectory.h"
#include "store/run_winner.h"
#include "tuner/change.h"
#include "tuner/evidence.h"
#include <jansson.h>

/* A policy's place in the plane of step time and metric. */
typedef struct report_point {
  const store_policy *policy;
  double seconds;           /* of a step: measured where it was, else predicted; NaN */
  double predicted_seconds; /* NaN: none */
  bool measured;
  evidence seen; /* metric, difference, interval, pairs, verdict */
  bool uniform, reference;
  bool written;        /* it stands in policy.yaml */
  bool winner;         /* and was verified to meet the budget */
  bool frontier;       /* no other is both faster and more accurate */
  const char *verdict; /* "reference", "pass", ..., "unverified" */
} report_point;

typedef struct report_layer {
  const char *name, *kind;
  char shape[96];
  bool unit; /* its format was chosen; others follow the layer before them */
  bool gemm;
  bool chosen; /* there is a winner, with these formats here */
  mpt_layer_policy formats;
  const char *formats_text, *reason, *flip; /* NULL: none */
  mpt_statistics seen[MPT_OPERAND_COUNT];   /* of the reference, all sampled steps; count 0: none */
} report_layer;

typedef struct report_data {
  const char *run;
  /* Where there is none, all of it is none. */
  store_definition definition;
  store_layers layers_note;
  store_reference reference;
  store_sensitivity sensitivity;
  store_trajectory trajectory;
  store_winner winner;
  bool has_definition, has_reference, has_winner;
  store_policy *policies;
  evidence_records records;
  const store_evaluation *evaluations; /* those of the records */
  store_condition *conditions;
  double *measured; /* [policy_count]: step seconds on the target; NaN: not measured */
  int policy_count, evaluation_count, condition_count;
  report_point *points; /* [policy_count], the fastest first */
  report_layer *layers;
  int layer_count;
  double reference_mean, reference_deviation; /* over the search's seeds, metric units; NaN */
  int elsewhere;  /* evaluations under other conditions: listed, compared with nothing */
  bool predicted; /* step times */
  const store_evaluation *reference_curve, *winner_curve; /* of one seed; NULL */
} report_data;

mpt_status report_data_load(const char *run, report_data *data, mpt_error *error);
void report_data_clear(report_data *data);

static inline const char *text_or(const char *text, const char *otherwise) {
  return text == NULL ? otherwise : text;
}

const report_point *report_find(const report_data *data, const char *hash); /* NULL */
/* The difference of one evaluation to the reference's of the same seed, as the budget is given;
 * NaN. */
double report_change_of(const report_data *data, const store_evaluation *evaluation);
/* The same over all pairs of a policy. */
double report_change(const report_data *data, const evidence *seen);
/* "40 steps", or why an evaluation is not compared: "30 steps", "other data", "not known". */
void report_condition(const report_data *data, const store_evaluation *evaluation, char *text,
                      size_t size);

/* ---- verdict.c ---- */
/* The verdict in a word for its badge, and in a sentence whose numbers stand between the bytes
 * NUMBER_BEGIN and NUMBER_END. */
#define NUMBER_BEGIN '\001'
#define NUMBER_END   '\002'
typedef struct report_verdict {
  const char *word; /* "pass", "no gain", "fail", "inconclusive", "unverified", "unfinished" */
  mpt_text sentence;
  mpt_text notes; /* one on a line: what the sentence holds for */
} report_verdict;
void report_verdict_make(const report_data *data, report_verdict *verdict);
void report_verdict_clear(report_verdict *verdict);
/* What happened to an evaluation: "ok", "diverged: ...", "given up: ...". */
void report_outcome(const store_evaluation *evaluation, char *text, size_t size);
const char *report_times(const report_data *data); /* "predicted" or "measured" */
/* What the verdicts say and assume, in words: shares of pairs within the budget, divergence. */
void report_words(const report_data *data, mpt_text *page);
bool report_on_gpu(const report_data *data); /* where it was trained */
/* What is said of the time that a format saves: never measured by itself. */
const char *report_savings(const report_data *data);
const char *report_times_of(const report_point *point);
const char *report_name(const report_data *data); /* of the workload */
const char *report_metric(const report_data *data);
const char *report_device(const report_data *data, const char *otherwise);
/* "0.5%", as the workload states it. */
const char *report_budget(const report_data *data);
/* "mptune train WORKLOAD --policy RUN/policy.yaml", as a shell takes it. */
void report_train_command(const report_data *data, mpt_text *command);
/* Whether the search wrote a policy: it may be unfinished, or have found none that trains. */
bool report_has_policy(const report_data *data);

#define FIGURE_SIZE CHANGE_SIZE

/* ---- summary_rows.c: the policies of the summary, as every table of them shows them ---- */
typedef struct report_row {
  const char *label, *verdict;
  char time[FIGURE_SIZE], predicted[FIGURE_SIZE], ratio[FIGURE_SIZE], metric[FIGURE_SIZE],
      worse[FIGURE_SIZE], interval[2 * FIGURE_SIZE + 4], pairs[FIGURE_SIZE], memory[FIGURE_SIZE];
  bool winner;
} report_row;
void report_row_make(const report_data *data, const store_row *from, report_row *row);
bool report_has_memory(const report_data *data); /* of any of them */

/* ---- figures.c: numbers for people, always with their unit ---- */
void figure_time(double seconds, char text[FIGURE_SIZE]);     /* three digits: "12.3 ms" */
void figure_duration(double seconds, char text[FIGURE_SIZE]); /* "3.1 hours" */
void figure_bytes(double bytes, char text[FIGURE_SIZE]);
void figure_percent(double share, int digits, char text[FIGURE_SIZE]);
void figure_value(double value, char text[FIGURE_SIZE]); /* five significant digits */
/* A difference as the budget is given: "+0.31%", or "+0.0031"; "without limit" for infinity. */
void figure_change(const report_data *data, double change, char text[FIGURE_SIZE]);
/* Bounds of it, rounded outwards. */
void figure_lower(const report_data *data, double lower, char text[FIGURE_SIZE]);
void figure_upper(const report_data *data, double upper, char text[FIGURE_SIZE]);
/* The same of a predicted increase in the metric's units. */
void figure_increase(const report_data *data, double increase, char text[FIGURE_SIZE]);

/* ---- one file for each kind of report ---- */
void report_html(const report_data *data, mpt_text *page);
void report_markdown(const report_data *data, mpt_text *page);
json_t *report_json(const report_data *data);
/* What the page's charts show. */
json_t *report_charts(const report_data *data);

/* ---- html.c ---- */
/* %s: text, escaped; %h: HTML as it is; %d: int; %%. */
void html_add(mpt_text *page, const char *format, ...);
/* JSON inside a <script>: nothing in it can end the element. */
void html_add_json(mpt_text *page, json_t *json);             /* takes it */
void html_add_sentence(mpt_text *page, const char *sentence); /* numbers emphasised */

/* ---- parts of the page ---- */
void html_layer_map(const report_data *data, mpt_text *page);
void html_layer_reasons(const report_data *data, mpt_text *page);
void html_policies(const report_data *data, mpt_text *page);
void html_verification(const report_data *data, mpt_text *page);
void html_trajectory(const report_data *data, mpt_text *page);
void html_evaluations(const report_data *data, mpt_text *page);
void html_provenance(const report_data *data, mpt_text *page);
/* The exponents of a tensor over the ranges of the formats, as SVG. */
void html_histogram(const report_data *data, const report_layer *layer, mpt_operand operand,
                    mpt_text *page);

/* ---- made at build time by assets.cmake ---- */
extern const char report_chart_js[], report_chart_licence[], report_page_js[], report_page_css[];

#endif
