/* Stores as searches leave them at various points, with plausible numbers, for tests of reports. */
#ifndef REPORT_FIXTURE_H
#define REPORT_FIXTURE_H

#include "report/report.h"
#include "store/database.h"
#include "store/run_trajectory.h"
#include "store_fixture.h"
#include <jansson.h>

typedef enum fixture_case {
  FIXTURE_NOTHING,    /* not even a definition */
  FIXTURE_DEFINITION, /* nothing trained */
  FIXTURE_REFERENCE,  /* one run of the reference, observed */
  FIXTURE_FULL,       /* a winner */
  FIXTURE_NO_GAIN,    /* the reference stays */
  FIXTURE_NOT_MET,    /* nothing permitted meets the budget */
  FIXTURE_HOSTILE,    /* names and texts that are markup; accuracy; an absolute budget */
  FIXTURE_BARE,       /* notes whose members are missing or null */
  FIXTURE_CASES
} fixture_case;

static const char *const fixture_names[FIXTURE_CASES] = {
    "nothing", "definition", "reference", "full", "no-gain", "not-met", "hostile", "bare"};

#define HOSTILE                                                                                    \
  "</script><script>document.title='taken'</script><img src=\"http://198.51.100.1/x\">&'\033[2J"

#define FIXTURE_CONDITION "here"

enum { FIXTURE_STEPS = 600, FIXTURE_BLOCKS = 4, FIXTURE_POLICIES = 9 };

typedef struct fixture_policy {
  const char *hash, *label;
  double seconds, worse; /* relative; NaN: not trained, infinite: diverges */
} fixture_policy;

static const fixture_policy fixture_policies[FIXTURE_POLICIES] = {
    {"a0", "all-fp32", 0.98231, 0},         {"a1", "all-tf32", 0.2402, 0.0001},
    {"a2", "all-bf16", 0.14412, 0.0021},    {"a3", "all-fp16", 0.14631, INFINITY},
    {"a4", "all-fp8", 0.12833, 0.0093},     {"a5", "candidate 6", 0.12714, 0.0064},
    {"a6", "candidate 7", 0.12961, 0.0031}, {"a7", "candidate 8", 0.13122, 0.0024},
    {"a8", "candidate 9", 0.1353, 0.0018},
};

static const char *const fixture_kinds[] = {"layernorm", "linear", "attention", "linear",
                                            "layernorm", "linear", "gelu",      "linear"};
static const char *const fixture_parts[] = {"norm1", "attn.qkv", "attn",    "attn.proj",
                                            "norm2", "mlp.fc1",  "mlp.act", "mlp.fc2"};

static inline void fixture_note(store *s, const char *name, json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT);
  assert_non_null(text);
  assert_int_equal(note_set(s, name, text, NULL), MPT_OK);
  free(text);
  json_decref(json);
}

static inline json_t *fixture_definition(fixture_case c) {
  const bool hostile = c == FIXTURE_HOSTILE;
  return json_pack(
      "{s:s,s:s,s:f,s:i,s:s,s:s,s:s,s:o,s:i,s:i,s:i,s:i,s:s,s:b,s:o,s:s,s:o,s:o,s:i}", "name",
      hostile ? HOSTILE : "text-gpt", "condition", FIXTURE_CONDITION, "alpha", 0.05, "pairs", 13,
      "workload_path", "profiles/workloads/text-gpt.yaml", "workload_text",
      hostile ? HOSTILE : "name: text-gpt\nmodel: {preset: gpt, width: 128}\n", "command",
      hostile ? HOSTILE : "mptune tune profiles/workloads/text-gpt.yaml", "versions",
      json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s}", "mptune", "0.1.0", "backend", "cpu",
                "cpu_numerics", 1, "compiler", "12.2.0", "gsl", "2.7.1", "os", "6.1.0-18-amd64",
                "cpu", "a processor with two cores"),
      "seed", 1, "threads", 2, "steps", FIXTURE_STEPS, "evaluation_steps", FIXTURE_STEPS, "metric",
      hostile ? "accuracy" : "loss", "metric_higher_is_better", hostile, "budget",
      json_pack("{s:b,s:f,s:s}", "relative", !hostile, "worse_by", 0.005, "text",
                hostile ? "0.005" : "0.5%"),
      "reference", "fp32", "target",
      json_pack("{s:s,s:s,s:b,s:b}", "name", "nvidia-h200", "device", "NVIDIA H200", "synthetic",
                false, "predicted", true),
      "proxy", json_pack("{s:b,s:s}", "priced", true, "text", "width 2048, batch 8, sequence 2048"),
      "started", 1764000000);
}

static inline void fixture_layer_name(fixture_case c, int i, char name[MPT_MAX_NAME]) {
  const int block = i / 8, part = i % 8;
  if (c == FIXTURE_HOSTILE && i == 1)
    snprintf(name, MPT_MAX_NAME, "%s", HOSTILE);
  else if (i == 8 * FIXTURE_BLOCKS)
    snprintf(name, MPT_MAX_NAME, "head");
  else
    snprintf(name, MPT_MAX_NAME, "blocks.%d.%s", block, fixture_parts[part]);
}

static inline const char *fixture_formats(int i) {
  if (i == 8 * FIXTURE_BLOCKS)
    return "fp16";
  if (strcmp(fixture_kinds[i % 8], "linear") != 0 || i % 8 == 3)
    return "bf16";
  return i < 8 ? "fprop=fp8,dgrad=bf16,wgrad=tf32" : "fp8";
}

static inline void fixture_layers(store *s, fixture_case c) {
  json_t *layers = json_array();
  for (int i = 0; i <= 8 * FIXTURE_BLOCKS; i++) {
    char name[MPT_MAX_NAME];
    const char *kind = i == 8 * FIXTURE_BLOCKS ? "linear" : fixture_kinds[i % 8];
    const bool linear = strcmp(kind, "linear") == 0;
    fixture_layer_name(c, i, name);
    json_array_append_new(layers,
                          json_pack("{s:s,s:s,s:[i,i],s:i,s:b,s:b}", "name", name, "kind", kind,
                                    "shape", 512, 128, "rows", 1024, "unit",
                                    linear || strcmp(kind, "attention") == 0, "gemm", linear));
  }
  fixture_note(s, "layers", layers);
}

static inline double fixture_metric(fixture_case c, const fixture_policy *p, int seed) {
  const double noise = 0.002 * sin(12.9898 * seed) + 0.0004 * sin(7.7 * seed * (p->hash[1] - '0'));
  const double reference = c == FIXTURE_HOSTILE ? 0.9 : 2.31;
  const double worse = p->worse + (c == FIXTURE_NOT_MET && p->hash[1] != '0' ? 0.01 : 0);
  return reference + noise + (c == FIXTURE_HOSTILE ? -worse : worse * reference);
}

/* As many samples are right as make about the metric: the first ones. */
static inline void fixture_judge(store_evaluation *e) {
  enum { SAMPLES = 4000 };
  static uint8_t bits[SAMPLES / 8];
  const int right = (int)lround(e->metric * SAMPLES);
  memset(bits, 0, sizeof bits);
  for (int i = 0; i < right; i++)
    bits[i / 8] |= (uint8_t)(1 << i % 8);
  e->metric = (double)right / SAMPLES;
  e->judged = SAMPLES;
  e->right = bits;
  e->unit = 1;
}

static inline void fixture_evaluate(store *s, fixture_case c, const fixture_policy *p, int seed,
                                    const char *purpose) {
  static double losses[FIXTURE_STEPS];
  const bool diverges = isinf(p->worse);
  store_evaluation e = {.seed = (uint64_t)seed, .steps = FIXTURE_STEPS, .losses = losses};
  snprintf(e.key, sizeof e.key, "%s-%d", p->hash, seed);
  snprintf(e.policy, sizeof e.policy, "%s", p->hash);
  snprintf(e.condition, sizeof e.condition, FIXTURE_CONDITION);
  snprintf(e.purpose, sizeof e.purpose, "%s", purpose);
  e.steps_done = e.loss_count = diverges ? 211 : FIXTURE_STEPS;
  for (int i = 0; i < e.loss_count; i++)
    losses[i] = 2.2 * (1 + (diverges ? 0 : p->worse)) + 3.3 * exp(-i / 90.0) +
                0.06 * sin(i * 1.7 + seed) * cos(i * 0.37);
  e.diverged = diverges;
  if (diverges)
    e.failure =
        c == FIXTURE_HOSTILE ? (char *)HOSTILE : (char *)"blocks.3.mlp.fc2 is infinite at step 211";
  e.metric = diverges ? NAN : fixture_metric(c, p, seed);
  if (c == FIXTURE_HOSTILE && !diverges) /* an accuracy is of samples */
    fixture_judge(&e);
  e.metric_plain = diverges ? NAN : e.metric - 0.0003;
  e.held_out_loss = e.metric;
  e.output_difference = diverges ? NAN : 0.1 * p->worse;
  e.host_seconds = 0.0412;
  e.total_seconds = 26.2;
  e.memory_bytes = 81 << 20;
  e.time = 1764000000 + seed;
  assert_int_equal(store_put_evaluation(s, &e, NULL), MPT_OK);
}

static inline void fixture_policy_put(store *s, const fixture_policy *p) {
  store_policy policy = {.assignment = (char *)"blocks.0.attn.qkv fp8\n"};
  snprintf(policy.hash, sizeof policy.hash, "%s", p->hash);
  snprintf(policy.label, sizeof policy.label, "%s", p->label);
  policy.predicted_seconds = p->seconds;
  policy.predicted_increase = NAN;
  assert_int_equal(store_put_policy(s, &policy, NULL), MPT_OK);
}

/* A bell over exponents, with a long tail below, as gradients have. */
static inline mpt_statistics fixture_tensor(double center, double width) {
  mpt_statistics x = {.full = true, .zeros = 120};
  int low = 0, high = 0;
  x.count = x.zeros;
  for (int b = 1; b < 255; b++) {
    const double z = (b - 127 - center) / width;
    const double share = exp(-0.5 * z * z * (z > 0 ? 6 : 1));
    x.histogram[b] = (uint64_t)(400000 * share);
    x.count += x.histogram[b];
    if (x.histogram[b] > 0 && low == 0)
      low = b;
    if (x.histogram[b] > 0)
      high = b;
  }
  x.histogram[0] = x.zeros;
  x.amax_bits = (uint32_t)high << 23 | 0x400000;
  x.amin_bits = (uint32_t)low << 23;
  return x;
}

static inline void fixture_statistics(store *s, fixture_case c) {
  assert_int_equal(store_begin(s, NULL), MPT_OK);
  for (int i = 0; i <= 8 * FIXTURE_BLOCKS; i++) {
    char name[MPT_MAX_NAME];
    fixture_layer_name(c, i, name);
    for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
      static const double centers[] = {-1, -5, -19}, widths[] = {2, 1.6, 3.4};
      if (strcmp(fixture_formats(i), "bf16") == 0 && i % 8 != 3)
        continue;
      const mpt_statistics x = fixture_tensor(centers[o] - 0.2 * i, widths[o]);
      for (int step = 0; step < 2; step++)
        assert_int_equal(
            store_put_statistics(s, "a0-1", 300 * step, name, (mpt_operand)o, &x, NULL), MPT_OK);
    }
  }
  assert_int_equal(store_end(s, NULL), MPT_OK);
}

static inline json_t *fixture_rows(const fixture_policy *winner) {
  json_t *rows = json_array();
  const fixture_policy *order[] = {winner,
                                   &fixture_policies[0],
                                   &fixture_policies[1],
                                   &fixture_policies[2],
                                   &fixture_policies[3],
                                   &fixture_policies[4]};
  for (int i = winner == order[1] ? 1 : 0; i < 6; i++) {
    const fixture_policy *p = order[i];
    json_array_append_new(rows, json_pack("{s:s,s:s,s:f,s:f,s:s,s:b,s:b,s:I}", "label", p->label,
                                          "policy", p->hash, "step_seconds", p->seconds, "ratio",
                                          p->seconds / order[1]->seconds, "verdict",
                                          p == order[1]     ? "reference"
                                          : isinf(p->worse) ? "diverged"
                                                            : "unverified",
                                          "winner", p == winner, "reference", p == order[1],
                                          "memory_bytes", (json_int_t)81 << 20));
  }
  return rows;
}

static inline void fixture_winner(store *s, fixture_case c) {
  const fixture_policy *reference = &fixture_policies[0];
  const fixture_policy *p = c == FIXTURE_NO_GAIN ? reference : &fixture_policies[7];
  const bool gain = c == FIXTURE_FULL || c == FIXTURE_HOSTILE;
  json_t *assignment = json_object(), *reasons = json_array();
  for (int i = 0; i <= 8 * FIXTURE_BLOCKS; i++) {
    char name[MPT_MAX_NAME];
    const char *formats = c == FIXTURE_NO_GAIN ? "fp32" : fixture_formats(i);
    fixture_layer_name(c, i, name);
    json_object_set_new(assignment, name, json_string(formats));
    if (i < 8 * FIXTURE_BLOCKS && strcmp(fixture_kinds[i % 8], "linear") != 0)
      continue;
    json_array_append_new(
        reasons,
        json_pack("{s:s,s:s,s:s,s:s}", "layer", name, "formats", formats, "reason",
                  c == FIXTURE_HOSTILE && i == 1
                      ? HOSTILE
                      : "fp8 saves 2.13 ms of the step (1.5%) and is predicted to cost 4.1% of the "
                        "budget. seen: input amax 11.2 over 31 binades, weight amax 0.41 over 24 "
                        "binades, grad_output amax 0.000122 over 44 binades. ",
                  "flip", "bf16 would add 1.4 ms: no other format is faster here"));
  }
  fixture_note(
      s, "winner",
      json_pack("{s:s,s:s,s:o,s:s,s:f,s:f,s:f,s:s,s:f,s:b,s:s,s:b,s:o,s:o,s:f,s:o,s:i}", "policy",
                p->hash, "label", c == FIXTURE_HOSTILE ? HOSTILE : p->label, "assignment",
                assignment, "verdict",
                gain                   ? "pass"
                : c == FIXTURE_NO_GAIN ? "reference"
                                       : "fail",
                "step_seconds", p->seconds, "reference_seconds", reference->seconds, "ratio",
                p->seconds / reference->seconds, "otherwise", "all-bf16", "otherwise_seconds",
                fixture_policies[2].seconds, "gain", gain, "message",
                gain ? "candidate 8 is faster"
                     : "nothing permitted meets the budget; the layers that block: blocks.0.attn",
                "predicted", true, "reasons", reasons, "rows", fixture_rows(p), "tuning_seconds",
                148.2, "payback_seconds", gain ? json_real(18.4) : json_null(), "evaluations", 8));
}

static inline void fixture_search(store *s) {
  for (int i = 1; i < FIXTURE_POLICIES; i++) {
    const fixture_policy *p = &fixture_policies[i];
    const store_step step = {.evaluation = i,
                             .policy = p->hash,
                             .label = p->label,
                             .predicted_seconds = p->seconds,
                             .seconds = NAN,
                             .predicted_increase = i > 4 ? 0.0095 : NAN,
                             .measured_increase = isfinite(p->worse) ? 2.31 * p->worse : NAN,
                             .measured_change = isfinite(p->worse) ? p->worse : NAN,
                             .verdict_text = isinf(p->worse)     ? "failed"
                                             : p->worse < 0.0049 ? "meets the budget"
                                                                 : "misses the budget"};
    assert_int_equal(store_put_step(s, &step, NULL), MPT_OK);
  }
  store_attempt attempt = {.position = 1, .weight = 0.5, .first_seed = 1001};
  snprintf(attempt.condition, sizeof attempt.condition, FIXTURE_CONDITION);
  snprintf(attempt.policy, sizeof attempt.policy, "a7");
  const mpt_status status = store_put_attempts(s, &attempt, 1, NULL);
  assert_true(status == MPT_OK || status == MPT_ERROR_ARGUMENT); /* filled a second time */
}

static inline void fixture_bare(store *s) {
  note_set(s, "definition", "{\"budget\": {}, \"target\": null, \"versions\": {}}", NULL);
  note_set(s, "layers", "[{\"name\": \"a\"}, {\"name\": \"b\", \"rows\": null}]", NULL);
  note_set(s, "reference", "{}", NULL);
  note_set(s, "sensitivity", "[]", NULL);
  for (int i = 1; i <= 2; i++) /* of which nothing is known */
    store_put_step(s,
                   &(store_step){.evaluation = i,
                                 .predicted_seconds = NAN,
                                 .seconds = NAN,
                                 .predicted_increase = NAN,
                                 .measured_increase = NAN,
                                 .measured_change = NAN},
                   NULL);
  note_set(s, "winner", "{\"assignment\": {}, \"rows\": [{}], \"reasons\": null, \"ratio\": null}",
           NULL);
}

static inline void fixture_fill(const char *directory, fixture_case c) {
  store *s = fixture_open(directory, STORE_WRITE);
  if (c == FIXTURE_BARE)
    fixture_bare(s);
  if (c >= FIXTURE_DEFINITION && c != FIXTURE_BARE) {
    fixture_note(s, "definition", fixture_definition(c));
    fixture_layers(s, c);
  }
  if (c >= FIXTURE_REFERENCE && c != FIXTURE_BARE) {
    fixture_policy_put(s, &fixture_policies[0]);
    fixture_statistics(s, c);
    fixture_evaluate(s, c, &fixture_policies[0], 1, "reference");
  }
  if (c >= FIXTURE_FULL && c != FIXTURE_BARE) {
    for (int seed = 2; seed <= 3; seed++)
      fixture_evaluate(s, c, &fixture_policies[0], seed, "reference");
    fixture_note(s, "reference",
                 json_pack("{s:s,s:[i,i,i],s:f,s:f,s:s,s:f}", "policy", "a0", "seeds", 1, 2, 3,
                           "metric_mean", c == FIXTURE_HOSTILE ? 0.9 : 2.31, "metric_deviation",
                           0.0021, "noise_note", "", "step_seconds", fixture_policies[0].seconds));
    for (int i = 1; i < FIXTURE_POLICIES; i++) {
      fixture_policy_put(s, &fixture_policies[i]);
      fixture_evaluate(s, c, &fixture_policies[i], 1, i < 5 ? "uniform" : "candidate");
    }
    for (int seed = 1001; seed <= 1005; seed++) {
      fixture_evaluate(s, c, &fixture_policies[0], seed, "verify");
      fixture_evaluate(s, c, &fixture_policies[7], seed, "verify");
    }
    fixture_search(s);
    fixture_winner(s, c);
  }
  store_close(s);
}

#endif
