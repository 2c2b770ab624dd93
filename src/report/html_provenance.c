/* What is predicted and what is measured, how to apply the policy, and what it all was made with.
 */
#include "report/report_data.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void add_claims(const report_data *d, mpt_text *page) {
  const store_target *target = &d->definition.target;
  const store_proxy *proxy = &d->definition.proxy;
  mpt_text_add(page, "<section id=\"claims\"><h2>What is measured, what is predicted</h2><dl>");
  html_add(page,
           "<dt>Measured<dd>The %s of every run and its noise between seeds; by how much a policy "
           "is worse, with its bounds; overflow, divergence, statistics. %s",
           report_metric(d),
           report_on_gpu(d)
               ? "Formats and products are the GPU’s own."
               : "Formats are emulated bit for bit in conversion; products are accumulated in "
                 "fp32, not as a tensor core does it.");
  if (d->predicted)
    html_add(page,
             "<dt>Predicted<dd>Every step time on %s%s, from times of single operations in the "
             "device profile <code>%s</code>; so are ratios of step times, the time saved by a "
             "layer’s format, and when tuning pays back.",
             report_device(d, "the target"), target->synthetic ? ", which does not exist" : "",
             text_or(target->name, "unknown"));
  else
    html_add(page, "<dt>Measured too<dd>Every step time, on %s.", report_device(d, "the target"));
  mpt_text_add(page,
               "<dt>Predicted, then measured<dd>What a policy would cost in the metric, while the "
               "search chose what to train: such figures rank, they prove nothing. The verdict "
               "rests on measurements alone.");
  if (proxy->priced)
    html_add(page,
             "<dt>Not measured<dd>Accuracy at the size that times are for: %s. It was verified on "
             "the model as given, a proxy.",
             text_or(proxy->text, "a larger model"));
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
    mpt_text_add(page, !d->has_winner
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

static void add_whole(mpt_text *page, const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)value);
  add_fact(page, name, value >= 0 ? text : NULL);
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
  const store_versions *v = &d->definition.versions;
  add_fact(page, "mptune", v->mptune);
  add_fact(page, "backend", v->backend);
  add_whole(page, "cpu_numerics", v->cpu_numerics);
  add_whole(page, "cuda_numerics", v->cuda_numerics);
  add_fact(page, "compiler", v->compiler);
  add_fact(page, "gsl", v->gsl);
  add_fact(page, "os", v->os);
  add_fact(page, "cpu", v->cpu);
  add_fact(page, "gpu", v->gpu);
}

void html_provenance(const report_data *d, mpt_text *page) {
  const store_definition *x = &d->definition;
  char stamp[32] = "";
  add_claims(d, page);
  add_use(d, page);
  if (x->started >= 0) {
    const time_t at = (time_t)x->started;
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M UTC", &utc);
  }
  mpt_text_add(page, "<section id=\"provenance\"><h2>Made with</h2><div class=\"scroll\">"
                     "<table class=\"facts\"><tbody>");
  add_fact(page, "command", x->command);
  add_fact(page, "workload", x->workload_path);
  add_fact(page, "target", x->target.name);
  add_fact(page, "device", x->target.device);
  add_fact(page, "reference", x->reference);
  add_fact(page, "budget", x->budget.text);
  add_whole(page, "steps", x->steps);
  add_whole(page, "seed", x->seed);
  add_seeds(d, page);
  add_whole(page, "threads", x->threads);
  add_fact(page, "started", stamp);
  add_versions(d, page);
  add_fact(page, "training hash", x->training_hash);
  add_fact(page, "data hash", x->data_hash);
  add_fact(page, "policy hash", d->winner.policy);
  mpt_text_add(page, "</tbody></table></div>");
  if (x->workload_text != NULL)
    html_add(page, "<details><summary>The workload file</summary><pre>%s</pre></details>",
             x->workload_text);
  mpt_text_add(page, "</section>");
}
