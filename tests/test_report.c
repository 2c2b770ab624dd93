/* A report is whole whatever the search came to, and nothing in a run can get out of its text. */
#include "report/report_data.h"
#include "report_fixture.h"
#include <sqlite3.h>

static char *text_of(const char *directory, fixture_case c, report_kind kind) {
  char *text = NULL;
  mpt_error error = {0};
  fixture_fill(directory, c);
  if (report_text(directory, kind, &text, &error) != MPT_OK)
    fail_msg("%s: %s", fixture_names[c], error.message);
  return text;
}

static void has(const char *text, const char *words) {
  if (strstr(text, words) == NULL)
    fail_msg("'%s' is not there", words);
}

static void has_not(const char *text, const char *words) {
  const char *at = strstr(text, words);
  if (at != NULL)
    fail_msg("'%s' is there: %.80s", words, at);
}

static int count_of(const char *text, const char *words) {
  int count = 0;
  for (; (text = strstr(text, words)) != NULL; text++)
    count++;
  return count;
}

/* Text between two marks, the first time; the caller frees it. */
static char *between(const char *text, const char *from, const char *to) {
  const char *begin = strstr(text, from);
  assert_non_null(begin);
  begin += strlen(from);
  const char *end = strstr(begin, to);
  assert_non_null(end);
  return strndup(begin, (size_t)(end - begin));
}

static void assert_sentence(const char *directory, fixture_case c, const char *expected) {
  char *page = text_of(directory, c, REPORT_HTML);
  char *sentence = between(page, "<p class=\"sentence\">", "</p>");
  assert_string_equal(sentence, expected);
  free(sentence);
  free(page);
}

static void a_winner_in_a_sentence_with_four_numbers(void **state) {
  assert_sentence(
      *state, FIXTURE_FULL,
      "<span class=\"badge pass\">pass</span> The policy candidate 8 takes <b>131 "
      "ms</b> a step (predicted), <b>1.10</b> times as fast as all-bf16 (predicted), and "
      "its loss is worse by at most <b>0.285%</b> with <b>95%</b> confidence.");
}

static void no_gain_in_a_sentence(void **state) {
  assert_sentence(*state, FIXTURE_NO_GAIN,
                  "<span class=\"badge no-gain\">no gain</span> No gain: the reference, all-fp32, "
                  "stays, at <b>982 ms</b> a step (predicted); of <b>8</b> policies trained, none "
                  "that is faster was verified to keep the loss within <b>0.5%</b> of the "
                  "reference’s with <b>95%</b> confidence.");
}

/* The pairs of the search were far apart, so that those of verification are not believed to be as
 * close as they lie: its table of looks says so as the other tables do. */
static void looks_are_judged_by_the_rule_of_the_verdict(void **state) {
  char path[300], bounds[2][32], interval[80];
  char *page = NULL;
  sqlite3 *database = NULL;
  fixture_fill(*state, FIXTURE_FULL);
  snprintf(path, sizeof path, "%s/run.sqlite", (char *)*state);
  assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
  assert_int_equal(
      sqlite3_exec(database,
                   "UPDATE evaluations SET policy = 'a7', seed = 2, metric = metric * 1.05 "
                   "WHERE policy = 'a6' AND seed = 1;"
                   "UPDATE evaluations SET policy = 'a7', seed = 3, metric = metric * 1.1 "
                   "WHERE policy = 'a8' AND seed = 1",
                   NULL, NULL, NULL),
      SQLITE_OK);
  sqlite3_close(database);
  assert_int_equal(report_text(*state, REPORT_HTML, &page, NULL), MPT_OK);
  char *look = between(page, "<tr><th>candidate 8<td>4<td>", "</tr>");
  assert_int_equal(sscanf(look, "%*[^<]<td>%31[^<]<td>%31[^<]", bounds[0], bounds[1]), 2);
  assert_true(strtod(bounds[1], NULL) > 1); /* of 0.285% that the fresh pairs alone give */
  has_not(look, "pass");
  has(page, "fresh training runs of 600 steps,"); /* which --steps may have shortened */
  snprintf(interval, sizeof interval, "%s to %s", bounds[0], bounds[1]);
  has(page, interval);
  free(look);
  free(page);
}

/* The reference is compared with nothing; that metrics of two rows may be of other seeds is said.
 */
static void the_reference_is_worse_by_nothing(void **state) {
  char *page = text_of(*state, FIXTURE_FULL, REPORT_HTML);
  char *row = between(page, "<tr><th>all-fp32<td>", "</tr>");
  has(row, "<td>–<td>–<td>–<td");
  has(row, "reference");
  has_not(row, "0.000%");
  has(page, "The loss is the mean over a policy’s own pairs");
  free(row);
  free(page);
}

static void times_have_three_digits(void **state) {
  (void)state;
  static const struct {
    double seconds;
    const char *text;
  } cases[] = {{7.684e-9, "0.00768 µs"}, {0.684e-6, "0.684 µs"},
               {0.9996e-6, "1.00 µs"},   {1.672e-6, "1.67 µs"},
               {44.91e-6, "44.9 µs"},    {0.99951e-3, "1.00 ms"},
               {131.22e-3, "131 ms"},    {0, "0 µs"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[FIGURE_SIZE];
    figure_time(cases[i].seconds, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void a_budget_not_met_in_a_sentence(void **state) {
  assert_sentence(*state, FIXTURE_NOT_MET,
                  "<span class=\"badge fail\">fail</span> Nothing permitted was verified to meet "
                  "the budget of <b>0.5%</b>: the most accurate policy, candidate 8, takes <b>131 "
                  "ms</b> a step (predicted), and its loss is worse by at most <b>1.284%</b> with "
                  "<b>95%</b> confidence.");
}

static void a_search_that_has_only_the_reference(void **state) {
  char *page = text_of(*state, FIXTURE_REFERENCE, REPORT_HTML);
  has(page, "The search is not finished: <b>1</b> training so far; the reference’s loss is <b>2.3");
  has(page, "its step <b>982 ms</b> (predicted)");
  has(page, "No policy was chosen yet.");
  has(page, "No policy was verified.");
  has(page, "id=\"frontier-chart\"");
  has(page, "<svg"); /* it was observed */
  free(page);
}

/* The end of a search in which nothing permitted trains: no policy, and not unfinished. */
static void a_search_that_wrote_no_policy(void **state) {
  fixture_fill(*state, FIXTURE_REFERENCE);
  store *s = fixture_open(*state, STORE_WRITE);
  fixture_note(s, "winner",
               json_pack("{s:s,s:b,s:s,s:b,s:[],s:f,s:i}", "verdict", "fail", "gain", false,
                         "message", "nothing permitted trains; the layers that block: head",
                         "predicted", true, "rows", "tuning_seconds", 1.5, "evaluations", 1));
  store_close(s);
  for (int kind = REPORT_HTML; kind <= REPORT_MARKDOWN; kind++) {
    char *page = NULL;
    mpt_error error = {0};
    if (report_text(*state, (report_kind)kind, &page, &error) != MPT_OK)
      fail_msg("%s", error.message);
    has(page, "Nothing permitted meets the budget");
    has(page, "the layers that block: head.");
    has_not(page, "not finished");
    has_not(page, "mptune train");
    free(page);
  }
}

static void a_search_that_has_nothing(void **state) {
  char *page = text_of(*state, FIXTURE_DEFINITION, REPORT_HTML);
  has(page, "Nothing was trained yet.");
  has(page, "No statistics yet.");
  has_not(page, "<canvas");
  free(page);
}

/* Members that are null or absent are unknown; wrong ones are damage (test_store_damaged). */
static void bare_notes_are_unknown(void **state) {
  for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++)
    free(text_of(*state, FIXTURE_BARE, (report_kind)kind));
}

static void what_the_issue_asks_for_is_there(void **state) {
  char *page = text_of(*state, FIXTURE_FULL, REPORT_HTML);
  const int layers = 8 * FIXTURE_BLOCKS + 1;
  has(page, "<meta name=\"viewport\"");
  assert_int_equal(count_of(page, "<details class=\"layer\""), 4 * FIXTURE_BLOCKS + 1);
  assert_int_equal(count_of(page, "<svg"), 3 * (4 * FIXTURE_BLOCKS + 1));
  char *map = between(page, "<ul class=\"map\">", "</ul>");
  assert_int_equal(count_of(map, "<li"), layers);
  has(map, "<i class=\"cell fp8\" title=\"blocks.0.attn.qkv, fprop: fp8\">8</i>"
           "<i class=\"cell bf16\" title=\"blocks.0.attn.qkv, dgrad: bf16\">B</i>"
           "<i class=\"cell tf32\" title=\"blocks.0.attn.qkv, wgrad: tf32\">T</i>");
  free(map);
  char *evaluations = between(page, "id=\"evaluations\"", "</section>");
  assert_int_equal(count_of(evaluations, "<tr") - 1, 3 + 8 + 10);
  has(evaluations, "diverged: blocks.3.mlp.fc2 is infinite at step 211");
  free(evaluations);
  has(page, "What would flip it:</b> bf16 would add 1.4 ms");
  free(page);
}

static void hostile_texts_stay_text(void **state) {
  char *page = text_of(*state, FIXTURE_HOSTILE, REPORT_HTML);
  has_not(page, "<script>document.title");
  has_not(page, "<img");
  has_not(page, "\033");
  has(page, "\\x1b[2J");
  assert_int_equal(count_of(page, "<script"), 3); /* charts, Chart.js, the page's own */
  assert_int_equal(count_of(page, "</script"), 3);
  has(page, "&lt;/script&gt;&lt;script&gt;document.title=&#39;taken&#39;");
  char *json = between(page, "type=\"application/json\">", "</script>");
  json_t *charts = json_loads(json, 0, NULL);
  assert_non_null(charts);
  assert_int_equal(json_array_size(json_object_get(json_object_get(charts, "frontier"), "points")),
                   FIXTURE_POLICIES - 1);
  json_decref(charts);
  free(json);
  free(page);
  page = text_of(*state, FIXTURE_HOSTILE, REPORT_MARKDOWN);
  has_not(page, "<script");
  has_not(page, "<img");
  has_not(page, "\033");
  free(page);
}

/* Accuracy: a larger metric is better, and the budget is absolute. */
static void worse_is_positive_for_every_metric(void **state) {
  char *page = text_of(*state, FIXTURE_HOSTILE, REPORT_HTML);
  has(page, "its accuracy is worse by at most <b>0.003568</b> with <b>95%</b>");
  char *json = between(page, "type=\"application/json\">", "</script>");
  json_t *charts = json_loads(json, 0, NULL), *point;
  size_t i;
  bool seen = false;
  json_array_foreach(json_object_get(json_object_get(charts, "frontier"), "points"), i, point) {
    if (strcmp(json_string_value(json_object_get(point, "label")), "all-fp8") != 0)
      continue;
    seen = true;
    assert_true(fabs(json_number_value(json_object_get(point, "y")) - 0.0093) < 1e-3);
  }
  assert_true(seen);
  json_decref(charts);
  free(json);
  free(page);
}

static void the_frontier_is_what_nothing_beats(void **state) {
  char *text = text_of(*state, FIXTURE_FULL, REPORT_JSON);
  json_t *report = json_loads(text, 0, NULL), *policies, *a, *b;
  assert_non_null(report);
  policies = json_object_get(report, "policies");
  assert_int_equal(json_array_size(policies), FIXTURE_POLICIES);
  size_t i, j;
  int on_it = 0;
  json_array_foreach(policies, i, a) {
    const double time = json_number_value(json_object_get(a, "step_seconds"));
    const json_t *worse = json_object_get(json_object_get(a, "accuracy"), "worse_by_relative");
    bool beaten = !json_is_number(worse);
    json_array_foreach(policies, j, b) {
      const json_t *other = json_object_get(json_object_get(b, "accuracy"), "worse_by_relative");
      if (i != j && json_is_number(other) &&
          json_number_value(json_object_get(b, "step_seconds")) <= time &&
          json_number_value(other) <= json_number_value(worse))
        beaten = true;
    }
    assert_int_equal(json_is_true(json_object_get(a, "frontier")), !beaten);
    on_it += !beaten;
  }
  assert_in_range(on_it, 4, FIXTURE_POLICIES - 2);
  assert_int_equal(json_array_size(json_object_get(report, "evaluations")), 3 + 8 + 10);
  json_decref(report);
  free(text);
}

/* Where the reference stays, it is the winner here as in the summary. */
static void the_reference_that_stays_wins(void **state) {
  char *text = text_of(*state, FIXTURE_NO_GAIN, REPORT_JSON);
  json_t *report = json_loads(text, 0, NULL), *policy;
  size_t i;
  int winners = 0;
  json_array_foreach(json_object_get(report, "policies"), i, policy) {
    const bool winner = json_is_true(json_object_get(policy, "winner"));
    assert_int_equal(winner, json_is_true(json_object_get(policy, "reference")));
    winners += winner;
  }
  assert_int_equal(winners, 1);
  json_decref(report);
  free(text);
}

static void markdown_has_the_same(void **state) {
  char *page = text_of(*state, FIXTURE_FULL, REPORT_MARKDOWN);
  has(page,
      "**pass**: The policy candidate 8 takes **131 ms** a step (predicted), **1.10** times as");
  has(page, "| candidate 8 | 131 ms | 13.4% | 2.3148 | +0.238% | +0.191% to +0.285% | 4 fresh |");
  has(page, "| all-fp16 | 146 ms | 14.9% | – | – | – | – | 81.0 MiB | diverged |");
  has(page, "Times that a format saves are predicted.");
  has(page, "| blocks.0.attn.qkv | fprop=fp8,dgrad=bf16,wgrad=tf32 | fp8 saves");
  free(page);
}

static void it_is_written_beside_the_store(void **state) {
  mpt_error error = {0};
  char path[256];
  assert_int_equal(report_write(*state, REPORT_HTML, &error), MPT_ERROR_NOT_FOUND);
  fixture_contains(&error, "there is no run in");
  fixture_fill(*state, FIXTURE_FULL);
  assert_int_equal(report_write(*state, REPORT_HTML, &error), MPT_OK);
  snprintf(path, sizeof path, "%s/report.html", (char *)*state);
  assert_int_equal(access(path, R_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_winner_in_a_sentence_with_four_numbers),
      TEST(no_gain_in_a_sentence),
      TEST(times_have_three_digits),
      TEST(a_budget_not_met_in_a_sentence),
      TEST(looks_are_judged_by_the_rule_of_the_verdict),
      TEST(the_reference_is_worse_by_nothing),
      TEST(a_search_that_has_only_the_reference),
      TEST(a_search_that_wrote_no_policy),
      TEST(a_search_that_has_nothing),
      TEST(bare_notes_are_unknown),
      TEST(what_the_issue_asks_for_is_there),
      TEST(hostile_texts_stay_text),
      TEST(worse_is_positive_for_every_metric),
      TEST(the_frontier_is_what_nothing_beats),
      TEST(markdown_has_the_same),
      TEST(the_reference_that_stays_wins),
      TEST(it_is_written_beside_the_store),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
