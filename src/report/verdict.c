/* The verdict of a search in a sentence with four numbers, whatever the search came to. */
#include "base/shown.h"
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *report_times(const report_data *data) {
  return data->predicted ? "predicted" : "measured";
}

bool report_on_gpu(const report_data *d) {
  const char *backend = d->definition.versions.backend;
  return backend != NULL && strcmp(backend, "cpu") != 0;
}

const char *report_savings(const report_data *data) {
  return data->predicted ? "predicted" : "predicted, corrected by the step times measured";
}

const char *report_times_of(const report_point *point) {
  return point->measured ? "measured" : "predicted";
}

void report_train_command(const report_data *data, mpt_text *command) {
  mpt_text policy = {0};
  mpt_text_addf(&policy, "%s/policy.yaml", data->run);
  mpt_text_add(command, "mptune train ");
  const char *quoted = data->definition.workload_quoted, *path = data->definition.workload_path;
  if (quoted != NULL) /* whatever bytes the path has */
    mpt_text_add(command, quoted);
  else
    mpt_text_add_shell(command, text_or(path, "WORKLOAD"));
  mpt_text_add(command, " --policy ");
  mpt_text_add_shell(command, policy.failed ? "" : policy.data);
  command->failed = command->failed || policy.failed;
  mpt_text_free(&policy);
}

bool report_has_policy(const report_data *data) {
  return text_or(data->winner.policy, "")[0] != '\0';
}

const char *report_budget(const report_data *data) {
  const char *text = data->definition.budget.text;
  return text_or(text, "unknown");
}

const char *report_name(const report_data *data) {
  return text_or(data->definition.name, "run");
}

const char *report_device(const report_data *data, const char *otherwise) {
  const store_target *target = &data->definition.target;
  const char *name = target->name == NULL ? otherwise : target->name;
  return target->device == NULL ? name : target->device;
}

const char *report_metric(const report_data *data) {
  const char *name = store_definition_metric(&data->definition);
  return text_or(name, "metric");
}

void report_outcome(const store_evaluation *e, char *text, size_t size) {
  const char *why = text_or(e->failure, "");
  const char *separator = e->failure == NULL ? "" : ": ";
  if (e->diverged)
    snprintf(text, size, "diverged%s%s", separator, why);
  else if (e->stopped)
    snprintf(text, size, "%s", e->failure == NULL ? "given up early" : why);
  else
    snprintf(text, size, "ok");
}

static void say_words(const report_point *p, mpt_text *page) {
  const verify_result *v = &p->seen.verified;
  html_add(page, "<li>%s: %d of %d pairs within the budget", p->policy->label, v->within,
           v->finished);
  if (v->within_share > 0) {
    char share[FIGURE_SIZE];
    figure_percent(v->within_share, 0, share);
    html_add(page, ", so at least %s of such runs are (95%%)", share);
  }
  if (isfinite(v->diverged_bound)) {
    char bound[FIGURE_SIZE];
    figure_percent(v->diverged_bound, 0, bound);
    html_add(page, "; %d of %d diverged, at most %s do (95%%); of the reference %d",
             v->candidate_diverged, v->tried, bound, v->reference_diverged);
  }
  mpt_text_add(page, ".");
}

void report_words(const report_data *d, mpt_text *page) {
  mpt_text_add(page, "<ul class=\"notes\">");
  for (int i = 0; i < d->policy_count; i++)
    if (d->points[i].seen.attempted && d->points[i].seen.verified.finished > 0)
      say_words(&d->points[i], page);
  mpt_text_add(page, "</ul>");
}

static void number(mpt_text *text, const char *figure) {
  mpt_text_addf(text, "%c%s%c", NUMBER_BEGIN, figure, NUMBER_END);
}

static const report_point *written_point(const report_data *d) {
  return report_find(d, text_or(d->winner.policy, ""));
}

/* "is worse by at most 0.3%", or, when even the bound is below 0, "is better by at least 0.1%". */
static void add_bound(const report_data *d, mpt_text *text, const evidence *e) {
  char figure[FIGURE_SIZE];
  const double upper = e->interval.upper;
  figure_upper(d, upper, figure);
  mpt_text_add(text, upper < 0 ? "is better by at least " : "is worse by at most ");
  number(text, figure[0] == '+' || figure[0] == '-' ? figure + 1 : figure);
}

static void add_confidence(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  snprintf(figure, sizeof figure, "%.3g%%", 100 * (1 - d->records.rule.alpha));
  mpt_text_add(text, " with ");
  number(text, figure);
  mpt_text_add(text, " confidence");
}

static void add_step(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  figure_time(d->winner.step_seconds, figure);
  number(text, figure);
  const report_point *point = report_find(d, text_or(d->winner.policy, ""));
  if (!d->predicted && point != NULL && isfinite(point->predicted_seconds)) {
    figure_time(point->predicted_seconds, figure);
    mpt_text_addf(text, " a step (%s; %s were predicted)", report_times(d), figure);
    return;
  }
  mpt_text_addf(text, " a step (%s)", report_times(d));
}

/* Beside what people would have trained in without a search. */
static void add_ratio(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  const double own = d->winner.step_seconds;
  const double other = d->winner.otherwise_seconds;
  const char *otherwise = text_or(d->winner.otherwise, "");
  if (isfinite(other) && own < other) {
    snprintf(figure, sizeof figure, "%.2f", other / own);
    number(text, figure);
    mpt_text_addf(text, " times as fast as %s", otherwise);
    return;
  }
  figure_percent(d->winner.ratio, 1, figure);
  number(text, figure);
  mpt_text_add(text, " of the reference’s");
}

static void say_gain(const report_data *d, mpt_text *text) {
  const report_point *p = written_point(d);
  mpt_text_addf(text, "The policy %s takes ", text_or(d->winner.label, "that won"));
  add_step(d, text);
  mpt_text_add(text, ", ");
  add_ratio(d, text);
  mpt_text_addf(text, " (%s), and its %s ", report_times(d), report_metric(d));
  if (p != NULL && p->winner && isfinite(p->seen.interval.upper)) {
    add_bound(d, text, &p->seen);
    add_confidence(d, text);
  } else {
    char figure[FIGURE_SIZE];
    figure_change(d, p == NULL ? NAN : report_change(d, &p->seen), figure);
    mpt_text_add(text, "changed by ");
    number(text, figure);
    mpt_text_add(text, " (worse is positive), not verified");
  }
  mpt_text_add(text, ".");
}

static int tried(const report_data *d) {
  int count = 0;
  for (int i = 0; i < d->policy_count; i++)
    count += !d->points[i].reference &&
             d->points[i].seen.pairs + d->points[i].seen.diverged + d->points[i].seen.given_up > 0;
  return count;
}

static void say_no_gain(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  mpt_text_add(text, "No gain: the reference, ");
  mpt_text_add_shown(text, text_or(d->winner.label, "unknown"));
  mpt_text_add(text, ", stays, at ");
  add_step(d, text);
  mpt_text_add(text, "; of ");
  snprintf(figure, sizeof figure, "%d", tried(d));
  number(text, figure);
  mpt_text_addf(text, " policies trained, none that is faster was verified to keep the %s within ",
                report_metric(d));
  number(text, report_budget(d));
  mpt_text_add(text, " of the reference’s");
  add_confidence(d, text);
  mpt_text_add(text, ".");
}

static void say_not_met(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  mpt_text_add(text, "Nothing permitted was verified to meet the budget of ");
  number(text, report_budget(d));
  mpt_text_add(text, ": the most accurate policy, ");
  mpt_text_add_shown(text, text_or(d->winner.label, "unknown"));
  mpt_text_add(text, ", takes ");
  add_step(d, text);
  mpt_text_addf(text, ", and its %s ", report_metric(d));
  const report_point *p = written_point(d);
  if (p != NULL && p->seen.fresh && isfinite(p->seen.interval.upper)) {
    add_bound(d, text, &p->seen);
    add_confidence(d, text);
  } else {
    mpt_text_add(text, "changed by ");
    figure_change(d, p == NULL ? NAN : report_change(d, &p->seen), figure);
    number(text, figure);
    mpt_text_add(text, " (worse is positive), not verified");
  }
  mpt_text_add(text, ".");
}

static void say_nothing(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  mpt_text_add(text, "Nothing permitted meets the budget of ");
  number(text, report_budget(d));
  mpt_text_add(text, ": of ");
  snprintf(figure, sizeof figure, "%d", tried(d));
  number(text, figure);
  mpt_text_add(text, tried(d) == 1
                         ? " policy trained, none came to its end; no policy was written."
                         : " policies trained, none came to its end; no policy was written.");
}

static void say_unfinished(const report_data *d, mpt_text *text) {
  char figure[FIGURE_SIZE];
  if (d->evaluation_count == 0) {
    mpt_text_add(text, "Nothing was trained yet.");
    return;
  }
  mpt_text_add(text, "The search is not finished: ");
  snprintf(figure, sizeof figure, "%d", d->evaluation_count);
  number(text, figure);
  mpt_text_addf(text, " training%s so far", d->evaluation_count == 1 ? "" : "s");
  if (isfinite(d->reference_mean)) {
    mpt_text_addf(text, "; the reference’s %s is ", report_metric(d));
    figure_value(d->reference_mean, figure);
    number(text, figure);
  }
  if (isfinite(d->reference_deviation)) {
    mpt_text_add(text, " with a deviation of ");
    snprintf(figure, sizeof figure, "%.2g", d->reference_deviation);
    number(text, figure);
    mpt_text_add(text, " between seeds");
  }
  const report_point *reference = report_find(d, d->records.reference);
  if (reference != NULL && isfinite(reference->seconds)) {
    mpt_text_add(text, ", its step ");
    figure_time(reference->seconds, figure);
    number(text, figure);
    mpt_text_addf(text, " (%s)", report_times(d));
  }
  mpt_text_add(text, ".");
}

static void add_notes(const report_data *d, mpt_text *notes) {
  const store_target *target = &d->definition.target;
  const store_proxy *proxy = &d->definition.proxy;
  const long long steps = d->definition.evaluation_steps, whole = d->definition.steps;
  char cost[FIGURE_SIZE], payback[FIGURE_SIZE];
  if (target->synthetic) {
    mpt_text_add(notes, "The device is synthetic: ");
    mpt_text_add_shown(notes, text_or(target->name, "it")); /* a note is one line */
    mpt_text_add(notes, " does not exist, its times are made up.\n");
  }
  if (proxy->priced)
    mpt_text_addf(notes, "Accuracy %s on the proxy, the model as given; times are priced for %s.\n",
                  d->winner.gain ? "verified" : "measured", text_or(proxy->text, "a larger one"));
  const report_point *p = written_point(d);
  if (p != NULL && p->winner && !p->reference && steps >= 0)
    mpt_text_addf(notes, "Verified for %lld steps.\n", steps);
  if (steps >= 0 && whole >= 0 && steps != whole)
    mpt_text_addf(notes, "Evaluations were shortened from the workload’s %lld steps to %lld.\n",
                  whole, steps);
  if (d->definition.from_schema >= 0)
    mpt_text_add(notes,
                 "Made by an earlier mptune: its verdicts, which took the reference’s mean as "
                 "known, are not kept; mptune tune on the same workload verifies anew.\n");
  if (d->elsewhere > 0)
    mpt_text_addf(notes,
                  "%d evaluation%s of this run %s made under other conditions (length, data, "
                  "numerics): listed, compared with nothing.\n",
                  d->elsewhere, d->elsewhere == 1 ? "" : "s", d->elsewhere == 1 ? "was" : "were");
  const char *noise = d->reference.noise_note;
  if (noise != NULL && noise[0] != '\0')
    mpt_text_addf(notes, "About the noise: %s.\n", noise);
  figure_duration(d->winner.tuning_seconds, cost);
  figure_duration(d->winner.payback_seconds, payback);
  if (isfinite(d->winner.payback_seconds))
    mpt_text_addf(notes, "Tuning took %s and pays back after %s of training, beside %s (%s).\n",
                  cost, payback, text_or(d->winner.otherwise, "the reference"), report_times(d));
  else if (isfinite(d->winner.tuning_seconds))
    mpt_text_addf(notes, "Tuning took %s.\n", cost);
}

void report_verdict_make(const report_data *data, report_verdict *v) {
  *v = (report_verdict){0};
  const char *word = mpt_verdict_name(data->winner.verdict < 0 ? MPT_VERDICT_UNVERIFIED
                                                               : (mpt_verdict)data->winner.verdict);
  const bool stays = strcmp(text_or(data->winner.policy, ""), data->records.reference) == 0;
  if (!data->has_winner) {
    v->word = "unfinished";
    say_unfinished(data, &v->sentence);
  } else if (!report_has_policy(data)) {
    v->word = word;
    say_nothing(data, &v->sentence);
  } else if (data->winner.gain) {
    v->word = word;
    say_gain(data, &v->sentence);
  } else if (stays) {
    v->word = "no gain";
    say_no_gain(data, &v->sentence);
  } else {
    v->word = word;
    say_not_met(data, &v->sentence);
  }
  add_notes(data, &v->notes);
}

void report_verdict_clear(report_verdict *verdict) {
  mpt_text_free(&verdict->sentence);
  mpt_text_free(&verdict->notes);
}
