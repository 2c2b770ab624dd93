/* Every stage of a search and every way to end, with its exit code, without a training: an
 * evaluator answers by a script, one request at a time and, in a second round, the last first of
 * four. */
#include "cli/cli.h"
#include "cli/summary.h"
#include "near.h"
#include "scripted_evaluator.h"
#include "tiny_search.h"

#define P(precision) [MPT_PRECISION_##precision]

/* fc1, fc2 and head, whose reference loses 1, under a budget of 0.02. synthetic-bits takes 4, 2, 2,
 * 2 and 1 for fp32, tf32, bf16, fp16 and fp8. */
#define BUDGET "budget: {worse_by: 0.02}\n"

static int capacity = 1;

static script quiet(void) {
  return (script){.capacity = capacity,
                  .order = capacity > 1 ? SCRIPTED_LAST_FIRST : SCRIPTED_IN_TURN,
                  .layer_count = 3,
                  .layers = {0, 2, 4},
                  .names = {"fc1", "fc2", "head"},
                  .metric = 1,
                  .seed_noise = 0.05,
                  .pair_noise = 0.001};
}

static void worse_everywhere(script *s, double tf32, double bf16, double fp16, double fp8) {
  for (int i = 0; i < s->layer_count; i++) {
    s->worse[i][MPT_PRECISION_TF32] = tf32 / s->layer_count;
    s->worse[i][MPT_PRECISION_BF16] = bf16 / s->layer_count;
    s->worse[i][MPT_PRECISION_FP16] = fp16 / s->layer_count;
    s->worse[i][MPT_PRECISION_FP8] = fp8 / s->layer_count;
  }
}

typedef struct ending {
  int code; /* as the command would exit */
  mpt_error error;
  tuner_summary summary;
  char run[600];
  int asked, trained, observed, timed, most_in_flight;
} ending;

static ending search_with(const char *directory, const workload *w, const script *s,
                          const tuner_options *given, const char *name) {
  ending e = {0};
  scripted_evaluator *p = scripted_open(s);
  tuner_options o = given != NULL ? *given : tuner_options_default();
  snprintf(e.run, sizeof e.run, "%s/%s", directory, name);
  o.run = e.run;
  o.backend = "cpu";
  o.evaluator = &p->base;
  const mpt_status status = tuner_run(w, &o, &e.summary, &e.error);
  e.code = status == MPT_OK ? cli_summary_code(&e.summary) : cli_exit_code(e.error.status);
  e.asked = p->asked, e.trained = p->trained, e.observed = p->observed, e.timed = p->timed;
  e.most_in_flight = p->most_in_flight;
  evaluator_close(&p->base);
  return e;
}

/* One of the tiny network, with `rest` after its budget. */
static ending search_of(const char *directory, const char *rest, const script *s) {
  char text[900];
  snprintf(text, sizeof text, "%s%s%s", MLP, ADAM, rest);
  workload *w = tiny(directory, text);
  ending e = search_with(directory, w, s, NULL, "run");
  workload_free(w);
  return e;
}

static const tuner_row *winner_of(const ending *e) {
  for (int i = 0; i < e->summary.row_count; i++)
    if (e->summary.rows[i].winner)
      return &e->summary.rows[i];
  return NULL;
}

static const char *verdict_of(const ending *e, const char *label) {
  return tuner_row_verdict(row_named(&e->summary, label));
}

static void says(const ending *e, const char *text) {
  if (e->summary.message == NULL || strstr(e->summary.message, text) == NULL)
    fail_msg("'%s' is not in '%s'", text,
             e->summary.message == NULL ? e->error.message : e->summary.message);
}

/* The formats of one product of the written policy's layers fc1, fc2 and head; whether there is a
 * policy. */
static bool written(const ending *e, mpt_gemm_kind gemm, mpt_precision formats[3]) {
  static const mpt_layer_info layers[] = {
      {.name = "fc1", .kind = "linear", .rank = 2, .shape = {32, 16}, .rows = 32},
      {.name = "relu1", .kind = "relu", .rank = 1, .shape = {32}, .rows = 32},
      {.name = "fc2", .kind = "linear", .rank = 2, .shape = {32, 32}, .rows = 32},
      {.name = "relu2", .kind = "relu", .rank = 1, .shape = {32}, .rows = 32},
      {.name = "head", .kind = "linear", .rank = 2, .shape = {16, 32}, .rows = 32}};
  mpt_layer_policy assignment[5];
  char path[700];
  mpt_error error = {0};
  mpt_policy *policy = NULL;
  snprintf(path, sizeof path, "%s/policy.yaml", e->run);
  memset(formats, 0, 3 * sizeof *formats);
  if (access(path, F_OK) != 0)
    return false;
  if (mpt_policy_load(path, &policy, &error) != MPT_OK)
    fail_msg("%s", error.message);
  const mpt_resolve_options options = mpt_resolve_options_default();
  if (mpt_policy_resolve(policy, layers, 5, &options, assignment, &error) != MPT_OK)
    fail_msg("%s", error.message);
  for (int i = 0; i < 3; i++)
    formats[i] = assignment[2 * i].gemm[gemm].precision;
  mpt_policy_free(policy);
  return true;
}

/* ---- 0: a winner ---- */

static void what_loses_nothing_and_is_fastest_wins(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0, 0, 0, 0.001);
  ending e = search_of(*state, BUDGET, &s);
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain && e.summary.found);
  assert_string_equal(winner_of(&e)->label, "all-fp8");
  assert_string_equal(verdict_of(&e, "all-fp8"), "pass");
  assert_string_equal(verdict_of(&e, "all-fp32"), "reference");
  assert_int_equal(e.observed, 1);
  assert_int_equal(e.timed, 0); /* times are predicted */
  assert_true(written(&e, MPT_FPROP, fprop));
  assert_int_equal(fprop[2], MPT_PRECISION_FP8);
  says(&e, "all-fp8");
  tuner_summary_clear(&e.summary);
}

static void a_layer_that_loses_too_much_keeps_a_wider_format(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0, 0.001, 0.001, 0.003);
  s.worse[1][MPT_PRECISION_FP8] = 0.1;
  ending e = search_of(*state, BUDGET, &s);
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain);
  assert_true(written(&e, MPT_FPROP, fprop));
  assert_int_equal(fprop[0], MPT_PRECISION_FP8);
  assert_int_not_equal(fprop[1], MPT_PRECISION_FP8);
  assert_int_not_equal(fprop[1], MPT_PRECISION_FP32);
  assert_int_equal(fprop[2], MPT_PRECISION_FP8);
  assert_true(winner_of(&e)->seen.fresh);
  assert_near(winner_of(&e)->seen.worse, 0.001 / 3 + 2 * 0.001, 0.001);
  tuner_summary_clear(&e.summary);
}

/* The gradient of fc1 vanishes in fp8, by the observation: no mixed policy has it there, though it
 * would lose nothing. */
static void a_vetoed_format_is_not_tried(void **state) {
  script s = quiet();
  s.vanished[0][MPT_PRECISION_FP8] = 0.9;
  s.worse[1][MPT_PRECISION_FP8] = 0.1; /* all-fp8, which is tried all the same, does not pass */
  ending e = search_of(*state, BUDGET, &s);
  mpt_precision wgrad[3];
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(written(&e, MPT_WGRAD, wgrad));
  assert_int_not_equal(wgrad[0], MPT_PRECISION_FP8);
  assert_int_equal(wgrad[2], MPT_PRECISION_FP8);
  tuner_summary_clear(&e.summary);
}

/* fp8 is predicted to take half of bf16's time, and was measured to take twice as long. */
static void measured_times_decide(void **state) {
  script s = quiet();
  const double seconds[MPT_PRECISION_COUNT] = {P(FP32) = 4e-3, P(TF32) = 3e-3, P(BF16) = 2e-3,
                                               P(FP16) = 2.5e-3, P(FP8) = 5e-3};
  memcpy(s.step_seconds, seconds, sizeof seconds);
  workload *w = tiny(*state, MLP ADAM BUDGET);
  tuner_options o = tuner_options_default();
  o.target = "here";
  o.emulated_times = true;
  ending e = search_with(*state, w, &s, &o, "run");
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain && !e.summary.predicted);
  assert_true(e.timed > 0);
  assert_string_equal(winner_of(&e)->label, "all-bf16");
  assert_near(winner_of(&e)->step_seconds, 18e-3, 1e-9);
  assert_true(written(&e, MPT_FPROP, fprop));
  assert_int_equal(fprop[0], MPT_PRECISION_BF16);
  tuner_summary_clear(&e.summary);
  workload_free(w);
}

/* ---- 0: no gain ---- */

static void where_all_lose_too_much_the_reference_stays(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0.1, 0.1, 0.1, 0.1);
  ending e = search_of(*state, BUDGET, &s);
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(!e.summary.gain && e.summary.found);
  assert_string_equal(winner_of(&e)->label, "all-fp32");
  says(&e, "no gain");
  assert_true(written(&e, MPT_FPROP, fprop));
  assert_int_equal(fprop[0], MPT_PRECISION_FP32);
  tuner_summary_clear(&e.summary);
}

/* Verification sees what three search seeds do not. */
static void worse_when_fresh(void *context, const evaluation_request *r, int nth,
                             evaluation_record *record) {
  (void)nth;
  if (r->seed > 1000 && !scripted_uniform(context, r, MPT_PRECISION_FP32))
    record->evaluation.metric += 0.1;
}

static void what_fails_on_fresh_seeds_is_not_the_winner(void **state) {
  script s = quiet();
  s.change = worse_when_fresh;
  s.context = &s;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(!e.summary.gain && e.summary.found);
  assert_string_equal(verdict_of(&e, "all-fp8"), "fail");
  says(&e, "no gain");
  tuner_summary_clear(&e.summary);
}

static void what_cannot_be_told_is_inconclusive(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0.018, 0.018, 0.018, 0.018);
  s.mixed_worse = 0.02; /* nor is there a mixed policy that would pass */
  s.pair_noise = 0.02;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(!e.summary.gain);
  assert_string_equal(verdict_of(&e, "all-fp8"), "inconclusive");
  says(&e, "is undecided after");
  tuner_summary_clear(&e.summary);
}

/* Seeds of the reference that differ by five budgets say nothing of pairs, which have them in
 * common: the search trains what it would train without them. */
static void noisy_seeds_do_not_make_pairs_noisy(void **state) {
  int trained[2];
  for (int noisy = 0; noisy < 2; noisy++) {
    script s = quiet();
    worse_everywhere(&s, 0.001, 0.001, 0.001, 0.03);
    s.seed_noise = noisy ? 0.1 : 0;
    workload *w = tiny(*state, MLP ADAM BUDGET);
    ending e = search_with(*state, w, &s, NULL, noisy ? "noisy" : "quiet");
    assert_true(e.summary.gain);
    trained[noisy] = e.summary.evaluations;
    tuner_summary_clear(&e.summary);
    workload_free(w);
  }
  assert_int_equal(trained[0], trained[1]);
}

static int given_up(const char *run) {
  mpt_error error = {0};
  store *s = fixture_open(run, STORE_READ);
  store_evaluation *all = NULL;
  int count = 0, stopped = 0;
  assert_int_equal(store_all_evaluations(s, &all, &count, &error), MPT_OK);
  for (int i = 0; i < count; i++) {
    stopped += all[i].stopped && all[i].steps_done < all[i].steps;
    store_evaluation_clear(&all[i]);
  }
  free(all);
  store_close(s);
  return stopped;
}

static void what_is_far_behind_is_given_up(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0, 0.001, 0.001, 0.003);
  s.worse[1][MPT_PRECISION_FP8] = 0.1;
  s.mixed_worse = 2;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain);
  assert_true(winner_of(&e)->step_seconds < row_named(&e.summary, "all-fp32")->step_seconds);
  assert_true(strncmp(winner_of(&e)->label, "all-", 4) == 0);
  assert_true(given_up(e.run) > 0);
  tuner_summary_clear(&e.summary);
}

/* ---- 3: nothing permitted meets the budget ---- */

static void what_loses_least_is_written_where_nothing_permitted_passes(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0.2, 0.1, 0.05, 0.3);
  ending e = search_of(*state, BUDGET "exclude: [fp32]\n", &s);
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_NO_POLICY);
  assert_true(!e.summary.found && !e.summary.gain);
  says(&e, "nothing permitted meets the budget; all-fp16 is the most accurate policy");
  says(&e, "the layers that block");
  assert_true(written(&e, MPT_FPROP, fprop));
  assert_int_equal(fprop[0], MPT_PRECISION_FP16);
  assert_null(winner_of(&e));
  tuner_summary_clear(&e.summary);
}

static void undecided_at_the_limit_is_no_winner_either(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0.015, 0.015, 0.015, 0.015);
  s.pair_noise = 0.02;
  ending e = search_of(*state, BUDGET "exclude: [fp32]\n", &s);
  assert_int_equal(e.code, EXIT_NO_POLICY);
  says(&e, "nothing permitted meets the budget");
  says(&e, "is undecided after");
  tuner_summary_clear(&e.summary);
}

static void diverges_but_in_fp32(void *context, const evaluation_request *r, int nth,
                                 evaluation_record *record) {
  (void)nth;
  if (r->kind != REQUEST_TIME && !scripted_uniform(context, r, MPT_PRECISION_FP32))
    scripted_diverge(record);
}

static void where_all_diverge_no_policy_is_written(void **state) {
  script s = quiet();
  s.change = diverges_but_in_fp32;
  s.context = &s;
  ending e = search_of(*state, BUDGET "exclude: [fp32]\n", &s);
  mpt_precision fprop[3];
  assert_int_equal(e.code, EXIT_NO_POLICY);
  says(&e, "nothing permitted trains without diverging");
  assert_string_equal(verdict_of(&e, "all-bf16"), "diverged");
  assert_string_equal(e.summary.policy_path, "");
  assert_false(written(&e, MPT_FPROP, fprop));
  tuner_summary_clear(&e.summary);
}

/* ---- divergence ---- */

static void diverges_when_fresh(void *context, const evaluation_request *r, int nth,
                                evaluation_record *record) {
  (void)nth;
  if (r->seed > 1000 && scripted_uniform(context, r, MPT_PRECISION_FP8))
    scripted_diverge(record);
}

static void what_diverges_on_a_fresh_seed_fails(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0.001, 0.001, 0.001, 0);
  s.change = diverges_when_fresh;
  s.context = &s;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_string_equal(verdict_of(&e, "all-fp8"), "fail");
  assert_true(row_named(&e.summary, "all-fp8")->seen.diverged > 0);
  assert_true(e.summary.gain); /* another passes */
  tuner_summary_clear(&e.summary);
}

typedef struct bad_seeds {
  const script *script;
  uint64_t first, last;
} bad_seeds;

static void reference_diverges(void *context, const evaluation_request *r, int nth,
                               evaluation_record *record) {
  const bad_seeds *bad = context;
  (void)nth;
  if (r->seed >= bad->first && r->seed <= bad->last &&
      scripted_uniform(bad->script, r, MPT_PRECISION_FP32))
    scripted_diverge(record);
}

static void a_seed_under_which_the_reference_diverges_is_replaced(void **state) {
  script s = quiet();
  bad_seeds bad = {.script = &s, .first = 2, .last = 2};
  s.change = reference_diverges;
  s.context = &bad;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain);
  tuner_summary_clear(&e.summary);
}

static void a_reference_that_diverges_ends_the_search(void **state) {
  script s = quiet();
  bad_seeds bad = {.script = &s, .first = 1, .last = 100};
  s.change = reference_diverges;
  s.context = &bad;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_FAILED);
  assert_int_equal(e.error.status, MPT_ERROR_NONFINITE);
  fixture_contains(&e.error, "the reference diverged under seed");
}

/* ---- 1: devices that fail, and too little memory ---- */

typedef struct fault {
  const script *script;
  mpt_precision precision; /* of all layers */
  mpt_status status;
  int times;
} fault;

static void fails(void *context, const evaluation_request *r, int nth, evaluation_record *record) {
  fault *f = context;
  (void)nth;
  if (f->times == 0 || !scripted_uniform(f->script, r, f->precision))
    return;
  f->times--;
  scripted_fail(record, f->status, "the device gave in");
}

static void same_rows(const ending *a, const ending *b) {
  assert_int_equal(a->code, b->code);
  assert_int_equal(a->summary.row_count, b->summary.row_count);
  assert_int_equal(a->summary.evaluations, b->summary.evaluations);
  assert_string_equal(a->summary.message, b->summary.message);
  for (int i = 0; i < a->summary.row_count; i++) {
    const tuner_row *x = &a->summary.rows[i], *y = &b->summary.rows[i];
    assert_string_equal(x->label, y->label);
    assert_string_equal(tuner_row_verdict(x), tuner_row_verdict(y));
    assert_int_equal(x->winner, y->winner);
    assert_memory_equal(&x->seen.worse, &y->seen.worse, sizeof x->seen.worse);
    assert_memory_equal(&x->seen.interval, &y->seen.interval, sizeof x->seen.interval);
  }
}

static void a_device_that_fails_once_ends_the_process_and_nothing_else(void **state) {
  script s = quiet();
  fault f = {.script = &s, .precision = MPT_PRECISION_FP8, .status = MPT_ERROR_DEVICE, .times = 1};
  workload *w = tiny(*state, MLP ADAM BUDGET);
  ending plain = search_with(*state, w, &s, NULL, "plain");
  s.change = fails;
  s.context = &f;
  ending first = search_with(*state, w, &s, NULL, "run");
  assert_int_equal(first.code, EXIT_FAILED);
  fixture_contains(&first.error, "what was learned is saved, the same command continues");
  ending second = search_with(*state, w, &s, NULL, "run");
  same_rows(&second, &plain);
  assert_in_range(first.asked + second.asked, plain.asked + 1, plain.asked + 1 + capacity);
  tuner_summary_clear(&plain.summary);
  tuner_summary_clear(&second.summary);
  workload_free(w);
}

static void what_makes_the_device_fail_twice_has_failed(void **state) {
  script s = quiet();
  fault f = {.script = &s, .precision = MPT_PRECISION_FP8, .status = MPT_ERROR_DEVICE, .times = 2};
  s.change = fails;
  s.context = &f;
  workload *w = tiny(*state, MLP ADAM BUDGET);
  for (int i = 0; i < 2; i++)
    assert_int_equal(search_with(*state, w, &s, NULL, "run").code, EXIT_FAILED);
  ending e = search_with(*state, w, &s, NULL, "run");
  assert_int_equal(e.code, EXIT_DONE);
  assert_string_equal(verdict_of(&e, "all-fp8"), "diverged");
  assert_true(e.summary.gain);
  tuner_summary_clear(&e.summary);
  workload_free(w);
}

static void what_does_not_fit_into_memory_is_left_out(void **state) {
  script s = quiet();
  fault f = {.script = &s,
             .precision = MPT_PRECISION_FP8,
             .status = MPT_ERROR_DEVICE_MEMORY,
             .times = 1000};
  s.change = fails;
  s.context = &f;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_DONE);
  assert_true(e.summary.gain);
  assert_string_not_equal(winner_of(&e)->label, "all-fp8");
  tuner_summary_clear(&e.summary);
}

static void a_reference_that_does_not_fit_ends_the_search(void **state) {
  script s = quiet();
  fault f = {.script = &s,
             .precision = MPT_PRECISION_FP32,
             .status = MPT_ERROR_DEVICE_MEMORY,
             .times = 1000};
  s.change = fails;
  s.context = &f;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_FAILED);
  fixture_contains(&e.error, "the device gave in");
}

/* ---- 2: refused ---- */

static void seeds_that_verification_used_are_refused(void **state) {
  script s = quiet();
  workload *w = tiny(*state, MLP ADAM BUDGET);
  ending e = search_with(*state, w, &s, NULL, "run");
  assert_int_equal(e.code, EXIT_DONE);
  tuner_summary_clear(&e.summary);
  tuner_options o = tuner_options_default();
  o.seed = 1001;
  e = search_with(*state, w, &s, &o, "run");
  assert_int_equal(e.code, EXIT_USAGE);
  assert_int_equal(e.asked, 0);
  fixture_contains(&e.error, "seed 1001 is taken");
  workload_free(w);
}

static void a_share_of_what_changes_sign_is_refused(void **state) {
  script s = quiet();
  s.metric = 0.001;
  ending e = search_of(*state, "budget: {worse_by: 1%}\n", &s);
  assert_int_equal(e.code, EXIT_USAGE);
  fixture_contains(&e.error, "a relative budget means nothing here");
}

/* ---- 130: interrupted and continued ---- */

typedef struct interruption {
  volatile int raised;
  int at; /* before the record of this request is given out */
} interruption;

static void interrupts(void *context, const evaluation_request *r, int nth,
                       evaluation_record *record) {
  interruption *i = context;
  (void)r, (void)record;
  i->raised = nth >= i->at;
}

static void interrupted_anywhere_it_comes_to_the_same(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0, 0.001, 0.001, 0.003);
  s.worse[1][MPT_PRECISION_FP8] = 0.1;
  workload *w = tiny(*state, MLP ADAM BUDGET);
  ending plain = search_with(*state, w, &s, NULL, "plain");
  assert_true(plain.asked > 12);
  interruption stop = {.at = 0};
  tuner_options o = tuner_options_default();
  o.interrupted = &stop.raised;
  s.change = interrupts;
  s.context = &stop;
  for (stop.at = 0; stop.at < plain.asked - 1; stop.at += 3) {
    char name[40];
    snprintf(name, sizeof name, "run%d", stop.at);
    stop.raised = 0;
    ending first = search_with(*state, w, &s, &o, name);
    assert_int_equal(first.code, EXIT_INTERRUPTED);
    ending second = search_with(*state, w, &s, NULL, name);
    same_rows(&second, &plain);
    /* Of what was in flight the record may be lost, and no other. */
    assert_in_range(first.asked + second.asked, plain.asked, plain.asked + capacity);
    tuner_summary_clear(&second.summary);
  }
  tuner_summary_clear(&plain.summary);
  workload_free(w);
}

/* An evaluator that gives a request up of itself would be asked the same again, for ever. */
static void gives_up(void *context, const evaluation_request *r, int nth,
                     evaluation_record *record) {
  (void)context, (void)r;
  if (nth == 2)
    scripted_fail(record, MPT_ERROR_INTERRUPTED, "interrupted");
}

static void an_evaluator_that_gives_up_ends_the_search(void **state) {
  script s = quiet();
  s.change = gives_up;
  ending e = search_of(*state, BUDGET, &s);
  assert_int_equal(e.code, EXIT_FAILED);
  fixture_contains(&e.error, "up without being told to");
}

/* ---- several in flight ---- */

static void answers_may_come_last_first(void **state) {
  script s = quiet();
  s.capacity = 4;
  s.order = SCRIPTED_LAST_FIRST;
  mpt_layer_policy assignment[5];
  for (int i = 0; i < 5; i++)
    assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  scripted_evaluator *p = scripted_open(&s);
  mpt_error error = {0};
  (void)state;
  for (int i = 0; i < 5; i++) {
    evaluation_request r = {.id = i, .steps = 10, .seed = (uint64_t)i, .assignment = assignment};
    assert_int_equal(evaluator_submit(&p->base, &r, &error), i < 4 ? MPT_OK : MPT_ERROR_BUSY);
  }
  evaluator_cancel(&p->base, 2);
  for (int i = 3; i >= 0; i--) {
    evaluation_record record;
    bool found = false;
    assert_int_equal(evaluator_poll(&p->base, NULL, NULL, &found, &record, &error), MPT_OK);
    assert_true(found);
    assert_int_equal(record.id, i);
    assert_int_equal(record.status, i == 2 ? MPT_ERROR_INTERRUPTED : MPT_OK);
    evaluation_record_clear(&record);
  }
  evaluator_close(&p->base);
}

static void a_search_minds_no_order_of_answers(void **state) {
  script s = quiet();
  worse_everywhere(&s, 0, 0.001, 0.001, 0.003);
  s.worse[1][MPT_PRECISION_FP8] = 0.1;
  workload *w = tiny(*state, MLP ADAM BUDGET);
  s.capacity = 1;
  ending one = search_with(*state, w, &s, NULL, "one");
  assert_int_equal(one.most_in_flight, 1);
  for (s.capacity = 2; s.capacity <= SCRIPTED_FLIGHT; s.capacity *= 2)
    for (s.order = SCRIPTED_IN_TURN; s.order <= SCRIPTED_LAST_FIRST; s.order++) {
      char name[40];
      snprintf(name, sizeof name, "%d.%d", s.capacity, (int)s.order);
      ending several = search_with(*state, w, &s, NULL, name);
      assert_true(several.most_in_flight > 1 && several.most_in_flight <= s.capacity);
      same_rows(&one, &several);
      tuner_summary_clear(&several.summary);
    }
  tuner_summary_clear(&one.summary);
  workload_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_in_memory, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_loses_nothing_and_is_fastest_wins),
      TEST(a_layer_that_loses_too_much_keeps_a_wider_format),
      TEST(a_vetoed_format_is_not_tried),
      TEST(measured_times_decide),
      TEST(where_all_lose_too_much_the_reference_stays),
      TEST(what_fails_on_fresh_seeds_is_not_the_winner),
      TEST(what_cannot_be_told_is_inconclusive),
      TEST(noisy_seeds_do_not_make_pairs_noisy),
      TEST(what_is_far_behind_is_given_up),
      TEST(what_loses_least_is_written_where_nothing_permitted_passes),
      TEST(undecided_at_the_limit_is_no_winner_either),
      TEST(where_all_diverge_no_policy_is_written),
      TEST(what_diverges_on_a_fresh_seed_fails),
      TEST(a_seed_under_which_the_reference_diverges_is_replaced),
      TEST(a_reference_that_diverges_ends_the_search),
      TEST(a_device_that_fails_once_ends_the_process_and_nothing_else),
      TEST(what_makes_the_device_fail_twice_has_failed),
      TEST(an_evaluator_that_gives_up_ends_the_search),
      TEST(what_does_not_fit_into_memory_is_left_out),
      TEST(a_reference_that_does_not_fit_ends_the_search),
      TEST(seeds_that_verification_used_are_refused),
      TEST(a_share_of_what_changes_sign_is_refused),
      TEST(interrupted_anywhere_it_comes_to_the_same),
      TEST(answers_may_come_last_first),
      TEST(a_search_minds_no_order_of_answers),
  };
  const int failed = cmocka_run_group_tests_name("one at a time", tests, NULL, NULL);
  capacity = 4;
  return failed + cmocka_run_group_tests_name("four at once", tests, NULL, NULL);
}
