/* A greedy decision list. It begins with no rules, and the layers that the default suits are right.
 * Each step adds the glob that sets right the most layers for what it costs: one for a glob, one
 * more for a new rule. A glob may join a rule of its class, or found a new rule before or after all
 * others. At the end globs that have become needless go, and rules of one class are united where
 * that changes nothing. */
#include "policy/rule_cover.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

typedef struct builder {
  const glob_candidates *candidates;
  uint64_t *const *accepts;
  int class_count;
  const uint64_t *accepts_default;
  int words, layer_count;
  cover_style style;
  rule_cover *cover;
  uint64_t *open;  /* [rule_count + 1][words]: layers that rules 0 .. r-1 leave */
  uint64_t *wrong; /* [words] */
} builder;

typedef struct step {
  int glob, group, gain, cost;
  int rule;  /* joined, or -1 for a new one */
  bool last; /* a new rule after all others, else before them */
} step;

static int set_size(const uint64_t *set, int words) {
  int size = 0;
  for (int w = 0; w < words; w++)
    size += __builtin_popcountll(set[w]);
  return size;
}

/* ---- the state after a change of rules ---- */
static bool reserve(builder *b) {
  const size_t rows = (size_t)b->cover->rule_count + 2;
  uint64_t *open = realloc(b->open, rows * (size_t)b->words * sizeof *open);
  if (open == NULL)
    return false;
  b->open = open;
  return true;
}

/* Fills `open` and `wrong`; there is room for the rules. */
static void refresh(builder *b) {
  const int words = b->words, count = b->layer_count;
  for (int w = 0; w < words; w++)
    b->open[w] = w < count / 64 ? ~(uint64_t)0 : ((uint64_t)1 << (count % 64)) - 1;
  memset(b->wrong, 0, (size_t)words * sizeof *b->wrong);
  for (int r = 0; r < b->cover->rule_count; r++) {
    const cover_rule *rule = &b->cover->rules[r];
    const uint64_t *before = b->open + (size_t)r * (size_t)words;
    uint64_t *after = b->open + (size_t)(r + 1) * (size_t)words;
    memcpy(after, before, (size_t)words * sizeof *after);
    for (int g = 0; g < rule->glob_count; g++)
      for (int w = 0; w < words; w++)
        after[w] &= ~b->candidates->list[rule->globs[g]].matches[w];
    for (int w = 0; w < words; w++)
      b->wrong[w] |= before[w] & ~after[w] & ~b->accepts[rule->group][w];
  }
  const uint64_t *rest = b->open + (size_t)b->cover->rule_count * (size_t)words;
  for (int w = 0; w < words; w++)
    b->wrong[w] |= rest[w] & ~b->accepts_default[w];
}

static bool all_right(builder *b) {
  refresh(b);
  return set_size(b->wrong, b->words) == 0;
}

/* ---- steps ---- */

/* What changes when the class takes those of the glob's layers that are in `reach`. */
static void weigh(const builder *b, const uint64_t *reach, step tried, step *best) {
  const uint64_t *matches = b->candidates->list[tried.glob].matches;
  const uint64_t *accepts = b->accepts[tried.group];
  int righted = 0, spoilt = 0;
  for (int w = 0; w < b->words; w++) {
    const uint64_t moved = matches[w] & reach[w];
    righted += __builtin_popcountll(moved & b->wrong[w] & accepts[w]);
    spoilt += __builtin_popcountll(moved & ~b->wrong[w] & ~accepts[w]);
  }
  tried.gain = righted - spoilt;
  if (tried.gain <= 0 || (spoilt > 0 && b->style == COVER_HARMLESS))
    return;
  const int more = tried.gain * best->cost - best->gain * tried.cost;
  if (best->glob < 0 || more > 0 || (more == 0 && tried.gain > best->gain))
    *best = tried;
}

static void weigh_glob(const builder *b, int glob, int group, step *best) {
  const int rule_count = b->cover->rule_count;
  const uint64_t *matches = b->candidates->list[glob].matches;
  int at_most = 0;
  for (int w = 0; w < b->words; w++)
    at_most += __builtin_popcountll(matches[w] & b->wrong[w] & b->accepts[group][w]);
  if (at_most == 0 || (best->glob >= 0 && at_most * best->cost < best->gain))
    return;
  for (int r = 0; r < rule_count; r++)
    if (b->cover->rules[r].group == group)
      weigh(b, b->open + (size_t)(r + 1) * (size_t)b->words,
            (step){.glob = glob, .group = group, .cost = 1, .rule = r}, best);
  step tried = {.glob = glob, .group = group, .cost = 2, .rule = -1};
  weigh(b, b->open, tried, best);
  tried.last = true;
  weigh(b, b->open + (size_t)rule_count * (size_t)b->words, tried, best);
}

static bool add_rule(rule_cover *cover, int place, int group) {
  cover_rule *grown = realloc(cover->rules, ((size_t)cover->rule_count + 1) * sizeof *cover->rules);
  if (grown == NULL)
    return false;
  cover->rules = grown;
  memmove(&grown[place + 1], &grown[place], (size_t)(cover->rule_count - place) * sizeof *grown);
  grown[place] = (cover_rule){.group = group};
  cover->rule_count++;
  return true;
}

static bool add_glob(cover_rule *rule, int glob) {
  int *grown = realloc(rule->globs, ((size_t)rule->glob_count + 1) * sizeof *grown);
  if (grown == NULL)
    return false;
  rule->globs = grown;
  grown[rule->glob_count++] = glob;
  return true;
}

static bool take_step(builder *b, const step *s) {
  int rule = s->rule;
  if (rule < 0) {
    rule = s->last ? b->cover->rule_count : 0;
    if (!add_rule(b->cover, rule, s->group))
      return false;
  }
  return add_glob(&b->cover->rules[rule], s->glob) && reserve(b);
}

/* A glob that matches one wrong layer alone sets it right and spoils none: every step gains. */
static bool build(builder *b) {
  while (!all_right(b)) {
    step best = {.glob = -1, .cost = 1};
    for (int g = 0; g < b->candidates->count; g++)
      for (int group = 0; group < b->class_count; group++)
        weigh_glob(b, g, group, &best);
    if (best.glob < 0 || !take_step(b, &best))
      return false;
  }
  return true;
}

/* ---- making it smaller ---- */
static void remove_rule(rule_cover *cover, int rule) {
  free(cover->rules[rule].globs);
  memmove(&cover->rules[rule], &cover->rules[rule + 1],
          (size_t)(cover->rule_count - rule - 1) * sizeof *cover->rules);
  cover->rule_count--;
}

static void drop_globs(builder *b) {
  rule_cover *cover = b->cover;
  for (int r = cover->rule_count - 1; r >= 0; r--) {
    cover_rule *rule = &cover->rules[r];
    for (int g = rule->glob_count - 1; g >= 0; g--) {
      const int glob = rule->globs[g], last = rule->globs[rule->glob_count - 1];
      rule->globs[g] = last;
      rule->glob_count--;
      if (all_right(b))
        continue;
      rule->glob_count++;
      rule->globs[rule->glob_count - 1] = last;
      rule->globs[g] = glob;
    }
    if (rule->glob_count == 0)
      remove_rule(cover, r);
  }
}

/* Moves all globs of one rule into another when nothing changes by it. */
static bool unite(builder *b, int from, int into) {
  cover_rule *source = &b->cover->rules[from], *target = &b->cover->rules[into];
  const int source_count = source->glob_count, target_count = target->glob_count;
  int *grown = realloc(target->globs, (size_t)(source_count + target_count) * sizeof *grown);
  if (grown == NULL)
    return false;
  target->globs = grown;
  memcpy(grown + target_count, source->globs, (size_t)source_count * sizeof *grown);
  target->glob_count += source_count;
  source->glob_count = 0;
  if (all_right(b)) {
    remove_rule(b->cover, from);
    return true;
  }
  source->glob_count = source_count;
  target->glob_count = target_count;
  return false;
}

static void unite_rules(builder *b) {
  for (int i = 0; i < b->cover->rule_count; i++)
    for (int j = 0; j < b->cover->rule_count; j++) {
      if (i == j || b->cover->rules[i].group != b->cover->rules[j].group || !unite(b, i, j))
        continue;
      i = -1;
      break;
    }
}

static int by_index(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

static void finish(builder *b) {
  unite_rules(b);
  drop_globs(b);
  for (int r = 0; r < b->cover->rule_count; r++) {
    cover_rule *rule = &b->cover->rules[r];
    qsort(rule->globs, (size_t)rule->glob_count, sizeof *rule->globs, by_index);
    b->cover->glob_count += rule->glob_count;
  }
}

mpt_status mpt_rule_cover_find(const glob_candidates *candidates, uint64_t *const *accepts,
                               int class_count, const uint64_t *accepts_default, int layer_count,
                               cover_style style, rule_cover *cover, mpt_error *error) {
  builder b = {.candidates = candidates,
               .accepts = accepts,
               .class_count = class_count,
               .accepts_default = accepts_default,
               .words = candidates->words,
               .layer_count = layer_count,
               .style = style,
               .cover = cover};
  *cover = (rule_cover){0};
  b.wrong = calloc((size_t)b.words + 1, sizeof *b.wrong);
  const bool good = b.wrong != NULL && reserve(&b) && build(&b);
  if (good)
    finish(&b);
  free(b.open);
  free(b.wrong);
  return good ? MPT_OK : mpt_fail_memory(error, "rules of layers", 0);
}

void mpt_rule_cover_free(rule_cover *cover) {
  for (int r = 0; r < cover->rule_count; r++)
    free(cover->rules[r].globs);
  free(cover->rules);
  *cover = (rule_cover){0};
}
