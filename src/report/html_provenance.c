/* What is predicted and what is measured, how to apply the policy, and what it all was made with.
 */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void add_claims(const report_data *d, mpt_text *page) {
  const json_t *target = json_object_get(d->definition, "target");
  const char *device = member_text(target, "device", member_text(target, "name", "the target"));
  const char *metric = member_text(d->definition, "metric", "metric");
  mpt_text_add(page, "<section id=\"claims\"><h2>What is measured, what is predicted</h2><dl>");
  html_add(page,
           "<dt>Measured<dd>The %s of every run and its noise between seeds; by how much a policy "
           "is worse, with its bounds; overflow, divergence, statistics. %s",
           metric,
           report_on_gpu(d)
               ? "Formats and products are the GPU’s own."
               : "Formats are emulated bit for bit in conversion; products are accumulated in "
                 "fp32, not as a tensor core does it.");
  if (d->predicted)
    html_add(page,
             "<dt>Predicted<dd>Every step time on %s%s, from times of single operations in the "
             "device profile <code>%s</code>; so are ratios of step times, the time saved by a "
             "layer’s format, and when tuning pays back.",
             device, member_true(target, "synthetic") ? ", which does not exist" : "",
             member_text(target, "name", "unknown"));
  else
    html_add(page, "<dt>Measured too<dd>Every step time, on %s.", device);
  mpt_text_add(page,
               "<dt>Predicted, then measured<dd>What a policy would cost in the metric, while the "
               "search chose what to train: such figures rank, they prove nothing. The verdict "
               "rests on measurements alone.");
  if (member_true(json_object_get(d->definition, "proxy"), "priced"))
    html_add(page,
             "<dt>Not measured<dd>Accuracy at the size that times are for: %s. It was verified on "
             "the model as given, a proxy.",
             member_text(json_object_get(d->definition, "proxy"), "text", "a larger model"));
  mpt_text_add(page, "</dl></section>");
}

/* The inside of a string of C: what is no character by its number. */
static void add_c_string(mpt_text *text, const char *string) {
  mpt_text_add(text, "");
  for (const char *c = string; *c != '\0'; c++) {
    uint32_t character;
    const size_t length = mpt_utf8_decode(c, &character);
    if (*c == '"' || *c == '\\')
      mpt_text_addf(text, "\\%c", *c);
    else if (length == 0 || character < 0x20 || character == 0x7F)
      mpt_text_addf(text, "\\%03o", (unsigned char)*c);
    else
      mpt_text_add_bytes(text, c, 1);
    for (size_t i = 1; i < length; i++) /* the rest of a character */
      mpt_text_add_bytes(text, ++c, 1);
  }
}

static void add_use(const report_data *d, mpt_text *page) {
  html_add(page, "<section id=\"apply\"><h2>How to apply the policy</h2>");
  if (!report_has_policy(d)) {
    mpt_text_add(page, json_object_size(d->winner) == 0
                           ? "<p>Once the search has chosen one, it is in "
                             "<code>policy.yaml</code>, beside this report.</p></section>"
                           : "<p>There is none.</p></section>");
    return;
  }
  mpt_text command = {0}, path = {0};
  report_train_command(d, &command);
  add_c_string(&path, d->run);
  if (command.failed || path.failed)
    page->failed = true;
  else
    html_add(page,
             "<p>It is in <code>policy.yaml</code>, beside this report. Train under it:</p>"
             "<pre>%s</pre><p>or in a C program:</p>"
             "<pre>mpt_policy_load(\"%s/policy.yaml\", &amp;policy, &amp;error);\n"
             "config.policy = policy, mpt_session_open(&amp;config, layers, layer_count, "
             "&amp;session, &amp;error);</pre></section>",
             command.data, path.data);
  mpt_text_free(&command);
  mpt_text_free(&path);
}

static void add_fact(mpt_text *page, const char *name, const char *value) {
  if (value != NULL && value[0] != '\0')
    html_add(page, "<tr><th>%s<td class=\"word\">%s</tr>", name, value);
}

static void add_whole(mpt_text *page, const char *name, double value) {
  char text[32];
  snprintf(text, sizeof text, "%.0f", value);
  add_fact(page, name, isfinite(value) ? text : NULL);
}

static void add_seeds(const report_data *d, mpt_text *page) {
  const char *const purposes[] = {"reference", "verify"};
  for (int p = 0; p < 2; p++) {
    mpt_text seeds = {0};
    char name[64];
    for (int i = 0; i < d->evaluation_count; i++) {
      const store_evaluation *e = &d->evaluations[i];
      bool before = false;
      for (int j = 0; j < i && !before; j++)
        before = d->evaluations[j].seed == e->seed &&
                 strcmp(d->evaluations[j].purpose, purposes[p]) == 0;
      if (strcmp(e->purpose, purposes[p]) == 0 && !before)
        mpt_text_addf(&seeds, "%s%llu", seeds.length > 0 ? ", " : "", (unsigned long long)e->seed);
    }
    snprintf(name, sizeof name, "seeds, %s", p == 0 ? "search" : "verification");
    page->failed = page->failed || seeds.failed;
    add_fact(page, name, seeds.data);
    mpt_text_free(&seeds);
  }
}

static void add_versions(const report_data *d, mpt_text *page) {
  const char *name;
  json_t *value;
  json_object_foreach(json_object_get(d->definition, "versions"), name, value) {
    if (json_is_string(value))
      add_fact(page, name, json_string_value(value));
    else if (json_is_number(value))
      add_whole(page, name, json_number_value(value));
  }
}

void html_provenance(const report_data *d, mpt_text *page) {
  const json_t *target = json_object_get(d->definition, "target");
  const double started = member_number(d->definition, "started");
  char stamp[32] = "";
  add_claims(d, page);
  add_use(d, page);
  if (isfinite(started)) {
    const time_t at = (time_t)started;
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M UTC", &utc);
  }
  mpt_text_add(page, "<section id=\"provenance\"><h2>Made with</h2><div class=\"scroll\">"
                     "<table class=\"facts\"><tbody>");
  add_fact(page, "command", member_text(d->definition, "command", NULL));
  add_fact(page, "workload", member_text(d->definition, "workload_path", NULL));
  add_fact(page, "target", member_text(target, "name", NULL));
  add_fact(page, "device", member_text(target, "device", NULL));
  add_fact(page, "reference", member_text(d->definition, "reference", NULL));
  add_fact(page, "budget", member_text(json_object_get(d->definition, "budget"), "text", NULL));
  add_whole(page, "steps", member_number(d->definition, "steps"));
  add_whole(page, "seed", member_number(d->definition, "seed"));
  add_seeds(d, page);
  add_whole(page, "threads", member_number(d->definition, "threads"));
  add_fact(page, "started", stamp);
  add_versions(d, page);
  add_fact(page, "training hash", member_text(d->definition, "training_hash", NULL));
  add_fact(page, "data hash", member_text(d->definition, "data_hash", NULL));
  add_fact(page, "policy hash", member_text(d->winner, "policy", NULL));
  mpt_text_add(page, "</tbody></table></div>");
  const char *workload = member_text(d->definition, "workload_text", NULL);
  if (workload != NULL)
    html_add(page, "<details><summary>The workload file</summary><pre>%s</pre></details>",
             workload);
  mpt_text_add(page, "</section>");
}
