/* The search as a machine, driven by hand: what it asks for, and that it comes to the same whatever
 * the order in which it is told. */
#include "base/text.h"
#include "scripted_evaluator.h"
#include "tiny_search.h"
#include "tuner/machine.h"

/* Of what is asked for, which is answered before it is asked again. */
typedef enum answers {
  FIRST,        /* one evaluator */
  LAST,         /* one that begins at the other end */
  ALL,          /* as many evaluators as there are requests */
  ALL_REVERSED, /* the same, and the last is done first */
  FIRST_TWO,    /* the second before the first */
  ANSWERS
} answers;

#define P(precision) [MPT_PRECISION_##precision]

/* fp8 is too much for fc2 and too close to tell for the others; pairs are noisy enough that several
 * seeds are needed, and the first policies that are verified fail. */
static script noisy(void) {
  return (script){.layer_count = 3,
                  .layers = {0, 2, 4},
                  .names = {"fc1", "fc2", "head"},
                  .metric = 1,
                  .worse = {{P(TF32) = 0.001, P(BF16) = 0.002, P(FP16) = 0.002, P(FP8) = 0.007},
                            {P(TF32) = 0.001, P(BF16) = 0.003, P(FP16) = 0.002, P(FP8) = 0.03},
                            {P(TF32) = 0.001, P(BF16) = 0.002, P(FP16) = 0.002, P(FP8) = 0.009}},
                  .mixed_worse = 0.004,
                  .seed_noise = 0.05,
                  .pair_noise = 0.004};
}

typedef struct bench {
  const workload *workload;
  tuner_options options;
  char run[600];
  scripted_evaluator *script;
} bench;

static bench bench_in(const char *directory, const workload *w, const script *s, bool measured,
                      const char *name) {
  bench b = {.workload = w, .options = tuner_options_default(), .script = scripted_open(s)};
  snprintf(b.run, sizeof b.run, "%s/%s", directory, name);
  b.options.backend = "cpu";
  b.options.target = measured ? "here" : NULL;
  b.options.emulated_times = measured;
  return b;
}

static void open_search(search *s, bench *b) {
  mpt_error error = {0};
  b->options.run = b->run;
  if (search_open(s, b->workload, &b->options, SEARCH_TUNE, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static const requests *ask(search *s) {
  mpt_error error = {0};
  const requests *wanted = NULL;
  if (search_ask(s, &wanted, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return wanted;
}

/* From the store, or as the script has it; whether it was made. */
static bool answer(search *s, bench *b, const asked *a) {
  mpt_error error = {0};
  evaluation_record record;
  bool found = false;
  if (search_recall(s, a, &found, &record, &error) != MPT_OK)
    fail_msg("%s", error.message);
  if (!found) {
    record = (evaluation_record){.id = a->request.id};
    assert_int_equal(scripted_answer(b->script, &a->request, &record, &error), MPT_OK);
    if (b->script->script.change != NULL)
      b->script->script.change(b->script->script.context, &a->request, 0, &record);
  }
  if (search_tell(s, &record, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return !found;
}

/* The indices of `count` requests that are answered now, in their order; how many. */
static int choose(answers which, int count, int *order) {
  const int most = which == FIRST || which == LAST ? 1 : which == FIRST_TWO ? 2 : count;
  const int n = most < count ? most : count;
  for (int i = 0; i < n; i++)
    order[i] = which == FIRST || which == ALL ? i : (which == FIRST_TWO ? n : count) - 1 - i;
  return n;
}

/* Until it is done, or `most` records were made. Whether it is done; *widest is the most that was
 * asked for at once. */
static bool drive(search *s, bench *b, answers which, int most, int *widest) {
  asked now[128];
  int order[128], made = 0;
  *widest = 0;
  for (;;) {
    const requests *wanted = ask(s);
    if (wanted->count == 0)
      return true;
    assert_true(wanted->count <= 128);
    *widest = wanted->count > *widest ? wanted->count : *widest;
    memcpy(now, wanted->list, (size_t)wanted->count * sizeof now[0]);
    const int count = choose(which, wanted->count, order);
    for (int i = 0; i < count; i++) {
      made += answer(s, b, &now[order[i]]);
      if (made > 0 && made == most)
        return false;
    }
  }
}

/* All that was decided and what it was decided by, to the last bit. */
static void describe(mpt_text *text, const candidate *c) {
  mpt_text_addf(text, "%s %.16s %.17g s of %d, untimed '%s', %s:", c->label, c->hash, c->seconds,
                c->timed.count, c->untimed, mpt_verdict_name(c->verdict));
  for (int i = 0; i < c->seed_count; i++)
    mpt_text_addf(text, " %.17g", c->difference[i]);
  mpt_text_addf(text, "; %d pairs, %.17g +- %.17g in [%.17g, %.17g]\n", c->seen.pairs,
                c->seen.worse, c->seen.deviation, c->seen.interval.lower, c->seen.interval.upper);
}

static char *outcome(search *s) {
  mpt_text text = {0};
  assert_int_equal(ledger_see(&s->ledger, NULL), MPT_OK);
  mpt_text_addf(&text, "winner %s, margin %.17g, noise %.17g, ceiling %.17g, %d trainings\n",
                s->verify.winner == NULL ? "none" : s->verify.winner->label, s->model.margin,
                s->model.noise, s->model.ceiling, s->ledger.trainings);
  describe(&text, &s->ledger.reference);
  for (int i = 0; i < s->ledger.candidate_count; i++)
    describe(&text, s->ledger.candidates[i]);
  for (int i = 0; i < s->ledger.records.attempt_count; i++) {
    const store_attempt *a = &s->ledger.records.attempts[i];
    mpt_text_addf(&text, "%d: %.16s, %.17g from %llu\n", a->position, a->policy, a->weight,
                  (unsigned long long)a->first_seed);
  }
  assert_false(text.failed);
  return text.data;
}

/* What a search comes to in a run of its own. */
static char *searched(const char *directory, const workload *w, const script *made, bool measured,
                      answers which, int *widest) {
  static int number;
  char name[16];
  search s;
  snprintf(name, sizeof name, "run%d", number++);
  bench b = bench_in(directory, w, made, measured, name);
  open_search(&s, &b);
  assert_true(drive(&s, &b, which, 0, widest));
  char *text = outcome(&s);
  search_close(&s);
  evaluator_close(&b.script->base);
  return text;
}

static void same_in_any_order(const char *directory, const workload *w, const script *made,
                              bool measured) {
  int widest[ANSWERS];
  char *alone = searched(directory, w, made, measured, FIRST, &widest[FIRST]);
  for (int i = LAST; i < ANSWERS; i++) {
    char *other = searched(directory, w, made, measured, (answers)i, &widest[i]);
    assert_string_equal(alone, other);
    free(other);
  }
  free(alone);
}

static void answers_in_any_order_come_to_the_same(void **state) {
  const script made = noisy();
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  same_in_any_order(*state, w, &made, false);
  workload_free(w);
}

static void measured_times_in_any_order_come_to_the_same(void **state) {
  script made = noisy();
  static const double seconds[MPT_PRECISION_COUNT] = {
      P(FP32) = 0.004, P(TF32) = 0.003, P(BF16) = 0.002, P(FP16) = 0.00201, P(FP8) = 0.0015};
  memcpy(made.step_seconds, seconds, sizeof seconds);
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  same_in_any_order(*state, w, &made, true);
  workload_free(w);
}

/* Every fifth training of a candidate, by its seed and policy, and one of the reference's. */
static void diverge_some(void *context, const evaluation_request *r, int nth,
                         evaluation_record *record) {
  (void)context;
  (void)nth;
  const bool reference = strcmp(r->purpose, "reference") == 0;
  if (r->kind == REQUEST_TIME || record->evaluation.stopped)
    return;
  if (reference ? r->seed == 2 : (r->seed + (unsigned char)r->policy[0]) % 5 == 0)
    scripted_diverge(record);
}

/* Half of the policies diverge under every fresh seed: four such pairs settle it. */
static void diverge_afresh(void *context, const evaluation_request *r, int nth,
                           evaluation_record *record) {
  (void)nth;
  if (strcmp(r->purpose, "verify") == 0 && r->policy[0] % 2 != 0 &&
      !scripted_uniform(context, r, MPT_PRECISION_FP32))
    scripted_diverge(record);
}

static void divergence_in_any_order_comes_to_the_same(void **state) {
  static const double seconds[MPT_PRECISION_COUNT] = {
      P(FP32) = 0.004, P(TF32) = 0.003, P(BF16) = 0.002, P(FP16) = 0.00201, P(FP8) = 0.0015};
  script made = noisy();
  made.change = diverge_some;
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02, max_diverged: 0.6}\n");
  same_in_any_order(*state, w, &made, false);
  workload_free(w);
  /* Others may have been timed by the time that it is settled. */
  memcpy(made.step_seconds, seconds, sizeof seconds);
  made.change = diverge_afresh;
  made.context = &made;
  w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02, max_diverged: 0.3}\n");
  same_in_any_order(*state, w, &made, true);
  workload_free(w);
}

/* ---- joined to an evaluator: driver.c ---- */

/* A whole search; the caller closes b->script. */
static tuner_summary run_search(bench *b) {
  mpt_error error = {0};
  tuner_summary summary;
  b->options.run = b->run;
  b->options.evaluator = &b->script->base;
  if (tuner_run(b->workload, &b->options, &summary, &error) != MPT_OK)
    fail_msg("%s", error.message);
  return summary;
}

/* A look is at pairs that finished: while they diverge, more are under way. */
static void what_is_not_needed_any_more_is_cancelled(void **state) {
  script made = noisy();
  made.change = diverge_afresh;
  made.context = &made;
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02, max_diverged: 0.3}\n");
  bench one = bench_in(*state, w, &made, false, "one");
  made.capacity = 8;
  bench eight = bench_in(*state, w, &made, false, "eight");
  tuner_summary a = run_search(&one), b = run_search(&eight);
  assert_string_equal(a.message, b.message);
  assert_int_equal(one.script->most_in_flight, 1);
  assert_int_equal(eight.script->most_in_flight, 8);
  assert_int_equal(one.script->cancelled, 0);
  assert_true(eight.script->cancelled > 0);
  assert_int_equal(eight.script->in_flight, 0);
  tuner_summary_clear(&a);
  tuner_summary_clear(&b);
  evaluator_close(&one.script->base);
  evaluator_close(&eight.script->base);
  workload_free(w);
}

static void without_scores_trainings_alone_decide(void **state) {
  script made = noisy();
  made.lacks = EVALUATOR_NO_SCORES;
  made.pair_noise = 0.001;
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, false, "run");
  tuner_summary summary = run_search(&b);
  assert_true(summary.gain);
  assert_true(row_named(&summary, "all-fp8")->seen.worse > 0.02);
  for (int i = 0; i < summary.row_count; i++)
    if (summary.rows[i].winner)
      assert_true(summary.rows[i].ratio < row_named(&summary, "all-bf16")->ratio);
  tuner_summary_clear(&summary);
  evaluator_close(&b.script->base);
  workload_free(w);
}

static bool has_fp8(const script *s, const evaluation_request *r) {
  for (int i = 0; i < s->layer_count; i++)
    for (int g = 0; g < MPT_GEMM_COUNT; g++)
      if (r->assignment[s->layers[i]].gemm[g].precision == MPT_PRECISION_FP8)
        return true;
  return false;
}

/* As a program does that exits with 125. */
static void no_fp8(void *context, const evaluation_request *r, int nth, evaluation_record *record) {
  (void)nth;
  if (has_fp8(context, r))
    scripted_fail(record, MPT_ERROR_PROGRAM, "it has no fp8");
}

static void what_cannot_be_tested_is_left_out(void **state) {
  script made = noisy();
  made.change = no_fp8;
  made.context = &made;
  made.pair_noise = 0.001;
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, false, "run");
  tuner_summary summary = run_search(&b);
  assert_true(summary.gain);
  assert_string_equal(tuner_row_verdict(row_named(&summary, "all-fp8")), "does not run here");
  for (int i = 0; i < summary.row_count; i++)
    if (summary.rows[i].winner)
      assert_true(summary.rows[i].ratio >= row_named(&summary, "all-fp16")->ratio);
  tuner_summary_clear(&summary);
  evaluator_close(&b.script->base);
  workload_free(w);
}

/* Trainings say what steps take; what was not trained is predicted. */
static void without_times_trainings_are_timed(void **state) {
  static const double seconds[MPT_PRECISION_COUNT] = {
      P(FP32) = 0.004, P(TF32) = 0.003, P(BF16) = 0.002, P(FP16) = 0.00201, P(FP8) = 0.0015};
  script made = noisy();
  made.lacks = EVALUATOR_NO_TIMES;
  made.pair_noise = 0.001;
  memcpy(made.step_seconds, seconds, sizeof seconds);
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, true, "run");
  tuner_summary summary = run_search(&b);
  assert_int_equal(b.script->timed, 0);
  assert_true(row_named(&summary, "all-bf16")->measured);
  assert_true(row_named(&summary, "all-bf16")->step_seconds == 3 * 3 * 0.002);
  tuner_summary_clear(&summary);
  evaluator_close(&b.script->base);
  workload_free(w);
}

/* The same requests under the same ids, and nothing is decided meanwhile. */
static void asking_again_changes_nothing(void **state) {
  const script made = noisy();
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, false, "run");
  search s;
  int count = 1;
  open_search(&s, &b);
  while (count > 0) {
    asked first[128];
    count = ask(&s)->count;
    assert_true(count <= 128);
    memcpy(first, s.wanted.list, (size_t)count * sizeof first[0]);
    const int trainings = s.ledger.trainings, candidates = s.ledger.candidate_count;
    const requests *again = ask(&s);
    assert_int_equal(again->count, count);
    for (int i = 0; i < count; i++) {
      assert_int_equal(again->list[i].request.id, first[i].request.id);
      assert_string_equal(again->list[i].request.key, first[i].request.key);
      assert_ptr_equal(again->list[i].candidate, first[i].candidate);
    }
    assert_int_equal(s.ledger.trainings, trainings);
    assert_int_equal(s.ledger.candidate_count, candidates);
    if (count > 0)
      answer(&s, &b, &first[0]);
  }
  assert_non_null(s.verify.winner);
  search_close(&s);
  evaluator_close(&b.script->base);
  workload_free(w);
}

/* What no answer can make superfluous is asked for at once. */
static void what_is_certain_is_asked_for_at_once(void **state) {
  const script made = noisy();
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, false, "run");
  search s;
  open_search(&s, &b);
  const requests *wanted = ask(&s);
  assert_int_equal(wanted->count, 1); /* all others compare with its losses */
  assert_int_equal(wanted->list[0].request.kind, REQUEST_OBSERVE);
  answer(&s, &b, &wanted->list[0]);
  wanted = ask(&s);
  assert_int_equal(wanted->count, w->reference_seeds - 1);
  while (s.stage < 2) {
    answer(&s, &b, &wanted->list[wanted->count - 1]);
    wanted = ask(&s);
  }
  assert_int_equal(wanted->count, 4); /* all of tf32, bf16, fp16, fp8 */
  for (int i = 0; i < wanted->count; i++)
    assert_string_equal(wanted->list[i].request.purpose, "uniform");
  while (s.stage < 3) {
    answer(&s, &b, &wanted->list[0]);
    wanted = ask(&s);
  }
  assert_int_equal(wanted->count, 2 * verify_look_sizes[0]);
  search_close(&s);
  /* One more would be past the limit if the first took all seeds. */
  b.options.max_evaluations = 2 * w->reference_seeds;
  snprintf(b.run, sizeof b.run, "%s/limited", (const char *)*state);
  open_search(&s, &b);
  wanted = ask(&s);
  while (s.stage < 2) {
    answer(&s, &b, &wanted->list[0]);
    wanted = ask(&s);
  }
  assert_int_equal(wanted->count, 2);
  search_close(&s);
  evaluator_close(&b.script->base);
  workload_free(w);
}

static void refused(search *s, evaluation_record *record, const char *words) {
  mpt_error error = {0};
  assert_int_equal(search_tell(s, record, &error), MPT_ERROR_ARGUMENT);
  fixture_contains(&error, words);
}

static void a_record_that_answers_nothing_is_named(void **state) {
  const script made = noisy();
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  bench b = bench_in(*state, w, &made, false, "run");
  mpt_error error = {0};
  search s;
  open_search(&s, &b);
  const asked first = ask(&s)->list[0];
  evaluation_record record = {.id = 77};
  refused(&s, &record, "record 77 answers nothing that was asked for");
  record = (evaluation_record){.id = first.request.id};
  refused(&s, &record, "record 1 is of policy");
  record = (evaluation_record){.id = first.request.id};
  assert_int_equal(scripted_answer(b.script, &first.request, &record, &error), MPT_OK);
  record.evaluation.seed++;
  refused(&s, &record, "seed 2; asked for was");
  answer(&s, &b, &first); /* and it still waits for the right one */
  assert_int_equal(ask(&s)->count, w->reference_seeds - 1);
  record = (evaluation_record){.id = first.request.id};
  assert_int_equal(scripted_answer(b.script, &first.request, &record, &error), MPT_OK);
  refused(&s, &record, "record 1 was told before");
  assert_int_equal(ask(&s)->count, w->reference_seeds - 1);
  search_close(&s);
  evaluator_close(&b.script->base);
  workload_free(w);
}

/* Ended after so many records, with others in flight, and continued: nothing is made twice. */
static void a_search_that_ended_goes_on_to_the_same(void **state) {
  const script made = noisy();
  int widest, whole = 0;
  workload *w = tiny(*state, MLP ADAM "budget: {worse_by: 0.02}\n");
  char *undisturbed = searched(*state, w, &made, false, FIRST, &widest);
  for (int after = 2; after < 60; after += 13) {
    char name[16];
    search s;
    snprintf(name, sizeof name, "ended%d", after);
    bench b = bench_in(*state, w, &made, false, name);
    open_search(&s, &b);
    const bool done = drive(&s, &b, ALL_REVERSED, after, &widest);
    search_close(&s);
    open_search(&s, &b);
    assert_true(drive(&s, &b, FIRST_TWO, 0, &widest));
    char *text = outcome(&s);
    assert_string_equal(undisturbed, text);
    free(text);
    assert_true(whole == 0 || b.script->trained == whole);
    whole = b.script->trained;
    search_close(&s);
    evaluator_close(&b.script->base);
    if (done)
      break;
  }
  free(undisturbed);
  workload_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(answers_in_any_order_come_to_the_same),
      TEST(measured_times_in_any_order_come_to_the_same),
      TEST(divergence_in_any_order_comes_to_the_same),
      TEST(what_is_not_needed_any_more_is_cancelled),
      TEST(without_scores_trainings_alone_decide),
      TEST(what_cannot_be_tested_is_left_out),
      TEST(without_times_trainings_are_timed),
      TEST(asking_again_changes_nothing),
      TEST(what_is_certain_is_asked_for_at_once),
      TEST(a_record_that_answers_nothing_is_named),
      TEST(a_search_that_ended_goes_on_to_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
