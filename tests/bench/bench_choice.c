/* Ways to search, held against each other: each is played on the same tables (bench_enumerate) and
 * on the same drawn networks of 8 and 12 layers, and every training is counted, the reference's
 * too.
 *
 *   bench_choice DIRECTORY SEARCHES [FIGURE.svg]     about 1 second for each search of mptune's own
 *
 * DIRECTORY has the tables. SEARCHES: of each network and budget, each beginning at another seed;
 * of drawn networks each is another draw. Budgets are those of 0.2 0.5 1 2 5 10 20 50% at which the
 * best policy is neither the reference nor the fastest of all, at most three a network; of drawn
 * ones 15 and 40% of the fastest policy's damage.
 *
 * Prints, for tables and for drawn networks, a line for each method: trainings until it would
 * verify; how often what it would verify first meets the budget and is within 1% of the fastest
 * policy that meets it by a deviation of a pair; its regret (seconds a step more than that one; the
 * reference's, where it misses the budget and would fail); how often it misses it. The figure:
 * regret after so many trainings. Runs in the root of the source tree. */
#include "base/progress.h"
#include "tests/bench/tables/methods.h"
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EQUAL_TIME 0.01
#define MOST_CASES 4000
#define SHOWN      30 /* trainings in the figure */

typedef struct method_row {
  const char *name;
  search_method *play; /* NULL: mptune's own, which is played first */
  const char *color;
} method_row;

static const method_row methods[] = {
    {"mptune today", NULL, "#888888"},
    {"tuner/model", method_model, "#c0392b"},
    {"greedy promotion", method_promote, "#2980b9"},
    {"one at a time, cut", method_one_at_a_time, "#27ae60"},
    {"delta debugging", method_delta, "#8e44ad"},
    {"random among the faster", method_random, "#d35400"},
    {"fastest first", method_fastest, "#16a085"},
    {"scores only", method_scores, "#2c3e50"},
};
enum { METHODS = sizeof methods / sizeof *methods, GROUPS = 2 };

typedef struct tally {
  double trainings[MOST_CASES], regret[MOST_CASES];
  double curve[PLAYED_MOST + 1];
  int count, near, missed;
} tally;

static tally tallies[GROUPS][METHODS];

static void die(const mpt_error *error) {
  mpt_log_error(error);
  exit(1);
}

static void count_search(tally *t, const played *s) {
  if (t->count == MOST_CASES)
    return;
  const bool meets = world_meets(s->w, s->chosen, s->budget);
  const double regret = played_regret(s, s->chosen);
  t->trainings[t->count] = s->trainings;
  t->regret[t->count++] = regret;
  t->near += meets && regret <= EQUAL_TIME;
  t->missed += !meets;
  for (int i = 0; i <= PLAYED_MOST; i++)
    t->curve[i] += i < s->trainings ? s->regret[i] : regret;
}

static void play(const char *directory, const world *w, double budget, int search, int group) {
  played first;
  for (int i = 0; i < METHODS; i++) {
    played s;
    mpt_error error = {0};
    played_start(&s, w, budget, 3 * search);
    if (methods[i].play == NULL) {
      if (play_todays_search(&s, directory, &error) != MPT_OK)
        die(&error);
      first = s;
    } else {
      memcpy(s.score, first.score, sizeof s.score);
      methods[i].play(&s);
    }
    count_search(&tallies[group][i], &s);
  }
}

static int fastest_of(const world *w) {
  int fastest = 0;
  for (int p = 0; p < w->network->policies; p++)
    if (w->seconds[p] < w->seconds[fastest])
      fastest = p;
  return fastest;
}

/* The first, the middle and the last of those at which there is something to find. */
static int budgets_of(const world *w, double budgets[3]) {
  static const double shares[] = {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5};
  double good[8];
  int count = 0;
  for (int i = 0; i < 8; i++) {
    const double budget = shares[i] * fabs(w->reference);
    const int best = world_best(w, budget);
    if (best != 0 && w->seconds[best] > w->seconds[fastest_of(w)] * (1 + EQUAL_TIME) &&
        w->seconds[best] < w->seconds[0] * (1 - EQUAL_TIME))
      good[count++] = budget;
  }
  if (count <= 3) {
    memcpy(budgets, good, sizeof *good * (size_t)count);
    return count;
  }
  budgets[0] = good[0], budgets[1] = good[count / 2], budgets[2] = good[count - 1];
  return 3;
}

static void play_table(const char *directory, int which, int from, int searches) {
  table_network n;
  policy_table t = {0};
  world w = {0};
  mpt_error error = {0};
  double budgets[3];
  if (table_network_open(directory, which, &n, &error) != MPT_OK ||
      policy_table_open(directory, &n, 0, false, &t, &error) != MPT_OK ||
      world_of_table(&n, &t, &w, &error) != MPT_OK) {
    mpt_log_warning("'%s' is left out: %s", table_network_name(which), error.message);
  } else {
    const int count = budgets_of(&w, budgets);
    printf("| %s | %d | %d |", n.name, n.policies, w.seeds);
    for (int b = 0; b < count; b++) {
      const int best = world_best(&w, budgets[b]);
      printf(" %.3g%% (%.3f)", 100 * budgets[b] / fabs(w.reference),
             w.seconds[best] / w.seconds[0]);
    }
    printf(" |\n");
    fflush(stdout);
    for (int b = 0; b < count; b++)
      for (int k = from; k < from + searches; k++)
        play(directory, &w, budgets[b], k, 0);
  }
  world_clear(&w);
  policy_table_close(&t);
  table_network_close(&n);
}

static void play_drawn(const char *directory, int which, int from, int searches) {
  static const double shares[] = {0.15, 0.4};
  table_network n;
  mpt_error error = {0};
  if (table_network_open(directory, which, &n, &error) != MPT_OK)
    die(&error);
  for (int k = 3 * from; k < 3 * (from + searches); k++) {
    world w = {0};
    if (world_draw(&n, (uint64_t)k, &w, &error) != MPT_OK)
      die(&error);
    for (int b = 0; b < 2; b++)
      play(directory, &w, shares[b] * w.damage[fastest_of(&w)], k, 1);
    world_clear(&w);
  }
  table_network_close(&n);
}

static void print_group(const char *title, tally *group) {
  printf("\n%s, %d searches of each:\n\n", title, group[0].count);
  printf("| method | trainings, median | quartiles | within 1%% of the best | mean regret | chosen "
         "misses the budget |\n| --- | --- | --- | --- | --- | --- |\n");
  for (int i = 0; i < METHODS && group[0].count > 0; i++) {
    tally *t = &group[i];
    const size_t count = (size_t)t->count;
    gsl_sort(t->trainings, 1, count);
    printf("| %s | %.0f | %.0f to %.0f | %.0f%% | %.1f%% | %.0f%% |\n", methods[i].name,
           gsl_stats_median_from_sorted_data(t->trainings, 1, count),
           gsl_stats_quantile_from_sorted_data(t->trainings, 1, count, 0.25),
           gsl_stats_quantile_from_sorted_data(t->trainings, 1, count, 0.75),
           100.0 * t->near / t->count, 100 * gsl_stats_mean(t->regret, 1, count),
           100.0 * t->missed / t->count);
  }
}

/* ---- the figure ---- */

static void draw_group(FILE *file, const char *title, const tally *group, double left) {
  const double width = 380, height = 260, top = 40;
  double most = 0;
  for (int i = 0; i < METHODS; i++)
    most = fmax(most, group[i].curve[1] / group[i].count);
  fprintf(file, "<text x=\"%.0f\" y=\"24\" font-weight=\"bold\">%s</text>\n", left, title);
  for (int k = 0; k <= SHOWN; k += 5)
    fprintf(file,
            "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%d</text>\n"
            "<path d=\"M%.1f %.0fv4\" stroke=\"#444\"/>\n",
            left + width * k / SHOWN, top + height + 18, k, left + width * k / SHOWN, top + height);
  for (double y = 0; y <= most; y += most > 0.4 ? 0.1 : 0.05)
    fprintf(file,
            "<path d=\"M%.0f %.1fh%.0f\" stroke=\"#ddd\"/>"
            "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.0f%%</text>\n",
            left, top + height * (1 - y / most), width, left - 6, top + height * (1 - y / most) + 4,
            100 * y);
  for (int i = 0; i < METHODS; i++) {
    fprintf(file, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" d=\"", methods[i].color,
            i < 2 ? "2.5" : "1.3");
    for (int k = 0; k <= SHOWN; k++)
      fprintf(file, "%c%.1f %.1f", k == 0 ? 'M' : 'L', left + width * k / SHOWN,
              top + height * (1 - group[i].curve[k] / group[i].count / most));
    fprintf(file, "\"/>\n");
  }
}

static void draw_figure(const char *path) {
  FILE *file = fopen(path, "w");
  if (file == NULL) {
    fprintf(stderr, "error: '%s' cannot be written\n", path);
    exit(1);
  }
  fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1100\" height=\"350\" "
                "font-family=\"sans-serif\" font-size=\"12\">\n"
                "<rect width=\"1100\" height=\"350\" fill=\"white\"/>\n");
  draw_group(file, "mean regret on tables", tallies[0], 50);
  draw_group(file, "mean regret on drawn networks of 8 and 12 layers", tallies[1], 490);
  for (int i = 0; i < METHODS; i++)
    fprintf(file,
            "<path d=\"M890 %dh20\" stroke=\"%s\" stroke-width=\"3\"/>"
            "<text x=\"916\" y=\"%d\">%s</text>\n",
            60 + 20 * i, methods[i].color, 64 + 20 * i, methods[i].name);
  for (int g = 0; g < GROUPS; g++)
    fprintf(file,
            "<text x=\"%d\" y=\"342\" text-anchor=\"middle\">trainings, the reference's "
            "included</text>\n",
            240 + 440 * g);
  fprintf(file, "</svg>\n");
  fclose(file);
}

int main(int argc, char **argv) {
  const int from = argc > 3 ? atoi(argv[2]) : -1, searches = argc > 3 ? atoi(argv[3]) : 0;
  if (argc < 4 || argc > 5 || from < 0 || searches < 1) {
    fprintf(stderr, "usage: bench_choice DIRECTORY FIRST SEARCHES [FIGURE.svg]\n");
    return 2;
  }
  mpt_log_configure(0, MPT_COLOR_NEVER);
  printf(
      "| network | policies | seeds | budgets, of the reference's metric (the best policy's time) "
      "|\n| --- | --- | --- | --- |\n");
  for (int i = 0; i < table_network_count(); i++)
    play_table(argv[1], i, from, searches);
  for (int i = 0; i < drawn_network_count(); i++)
    play_drawn(argv[1], table_network_count() + i, from, searches);
  print_group("On tables", tallies[0]);
  print_group("On drawn networks", tallies[1]);
  if (argc > 4)
    draw_figure(argv[4]);
  return 0;
}
