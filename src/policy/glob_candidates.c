/* Globs worth trying. Names are tokens between '.' and '_':
 *
 *   blocks.10.mlp.fc1     ->  blocks | 10 | mlp | fc1
 *
 * Each token stays, becomes '*', or, when it ends in digits, keeps its letters: fc*. One token's
 * number may become a pattern of digits instead, [0-3] or 1? or [4-9]*, where layers of one class
 * have a run of numbers. */
#include "policy/glob_candidates.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define FREE_TOKENS 7      /* tokens from the end that are generalised */
#define HOLE        '\001' /* stands for the number that becomes a pattern */

typedef struct token {
  const char *text;
  size_t length, digits; /* digits at its end */
  char separator;        /* after it; '\0' at the end of the name */
} token;

/* A template with the number that a layer has in its hole. */
typedef struct filled_hole {
  const char *pattern, *number;
  int layer;
} filled_hole;

typedef struct maker {
  const mpt_layer_info *layers;
  int layer_count;
  uint64_t *const *accepts;
  int class_count;
  mpt_arena scratch;
  const char **globs;
  size_t glob_count, glob_capacity;
  filled_hole *holes;
  size_t hole_count, hole_capacity;
  bool failed;
} maker;

/* ---- growing lists ---- */
static bool grow(maker *m, void **list, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity)
    return true;
  const size_t larger = 2 * *capacity + 256;
  void *grown = realloc(*list, larger * size);
  if (grown == NULL) {
    m->failed = true;
    return false;
  }
  *list = grown;
  *capacity = larger;
  return true;
}

static const char *keep(maker *m, const char *text, size_t length) {
  const char *kept = mpt_arena_text(&m->scratch, text, length);
  m->failed = m->failed || kept == NULL;
  return kept;
}

static void add_glob(maker *m, const mpt_text *text) {
  m->failed = m->failed || text->failed;
  if (m->failed || !grow(m, (void **)&m->globs, m->glob_count, &m->glob_capacity, sizeof *m->globs))
    return;
  m->globs[m->glob_count++] = keep(m, text->data, text->length);
}

static void add_hole(maker *m, const mpt_text *text, const token *t, int layer) {
  m->failed = m->failed || text->failed;
  if (m->failed || !grow(m, (void **)&m->holes, m->hole_count, &m->hole_capacity, sizeof *m->holes))
    return;
  filled_hole *hole = &m->holes[m->hole_count++];
  hole->layer = layer;
  hole->pattern = keep(m, text->data, text->length);
  hole->number = keep(m, t->text + t->length - t->digits, t->digits);
}

/* ---- patterns of one name ---- */
static int split(const char *name, token *tokens) {
  int count = 0;
  for (;;) {
    token *t = &tokens[count++];
    t->text = name;
    t->length = strcspn(name, "._");
    t->separator = name[t->length];
    for (t->digits = 0; t->digits < t->length; t->digits++)
      if (!isdigit((unsigned char)name[t->length - 1 - t->digits]))
        break;
    if (t->separator == '\0')
      return count;
    name += t->length + 1;
  }
}

static void add_literal(mpt_text *text, const char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (strchr("*?[", bytes[i]) != NULL)
      mpt_text_addf(text, "[%c]", bytes[i]);
    else
      mpt_text_add_bytes(text, &bytes[i], 1);
  }
}

typedef enum token_form { TOKEN_SAME, TOKEN_ANY, TOKEN_LETTERS, TOKEN_HOLE } token_form;

/* '*' takes dots as well, so two of them with nothing between but a separator are one. */
static void write_pattern(const token *tokens, const token_form *forms, int count, mpt_text *text) {
  mpt_text_free(text);
  mpt_text_add(text, "");
  for (int i = 0; i < count; i++) {
    const token *t = &tokens[i];
    if (forms[i] == TOKEN_ANY && i > 0 && forms[i - 1] == TOKEN_ANY) {
      text->data[--text->length] = '\0'; /* the separator */
    } else if (forms[i] == TOKEN_ANY) {
      mpt_text_add(text, "*");
    } else {
      add_literal(text, t->text, t->length - (forms[i] == TOKEN_SAME ? 0 : t->digits));
      if (forms[i] != TOKEN_SAME)
        mpt_text_add(text, forms[i] == TOKEN_HOLE ? (char[]){HOLE, '\0'} : "*");
    }
    if (t->separator != '\0')
      mpt_text_add_bytes(text, &t->separator, 1);
    if (text->failed)
      return;
  }
}

/* All combinations of forms of the last tokens, as numbers with a digit for each token. */
static void patterns_of(maker *m, int layer, token *tokens, mpt_text *text) {
  token_form forms[MPT_MAX_NAME] = {TOKEN_SAME};
  const int count = split(m->layers[layer].name, tokens);
  const int first = count > FREE_TOKENS ? count - FREE_TOKENS : 0;
  for (;;) {
    write_pattern(tokens, forms, count, text);
    add_glob(m, text);
    for (int i = first; i < count && !m->failed; i++) {
      if (forms[i] != TOKEN_SAME || tokens[i].digits == 0)
        continue;
      forms[i] = TOKEN_HOLE;
      write_pattern(tokens, forms, count, text);
      add_hole(m, text, &tokens[i], layer);
      forms[i] = TOKEN_SAME;
    }
    int i = first;
    for (; i < count; i++) {
      const bool letters = tokens[i].digits > 0 && tokens[i].digits < tokens[i].length;
      if (forms[i] < (letters ? TOKEN_LETTERS : TOKEN_ANY)) {
        forms[i]++;
        break;
      }
      forms[i] = TOKEN_SAME;
    }
    if (i == count || m->failed)
      return;
  }
}

/* ---- runs of numbers ---- */

/* The numbers seen in one hole, and whether a class wants most of the layers that have it. */
typedef struct hole_number {
  const char *digits;
  int wanted, unwanted; /* layers */
} hole_number;

static void add_number_glob(maker *m, const char *pattern, const char *number) {
  mpt_text text = {0};
  for (const char *c = pattern; *c != '\0'; c++) {
    if (*c == HOLE)
      mpt_text_add(&text, number);
    else
      mpt_text_add_bytes(&text, c, 1);
  }
  add_glob(m, &text);
  mpt_text_free(&text);
}

/* Of the numbers that go on with `prefix` and a digit (and are `width` long, when it is not 0):
 * 1 when all of them are wanted, -1 when one is not, 0 when there is none. */
static int digit_wanted(const hole_number *numbers, int count, const char *prefix, char digit,
                        size_t width) {
  const size_t length = strlen(prefix);
  int found = 0;
  for (int i = 0; i < count; i++) {
    const char *digits = numbers[i].digits;
    if (strncmp(digits, prefix, length) != 0 || digits[length] != digit ||
        (width > 0 && strlen(digits) != width))
      continue;
    if (numbers[i].unwanted >= numbers[i].wanted)
      return -1;
    found = 1;
  }
  return found;
}

/* The longest runs of digits after `prefix` that are all wanted, with what fills the width. */
static void add_runs(maker *m, const char *pattern, const hole_number *numbers, int count,
                     const char *prefix, size_t width) {
  for (int low = '0'; low <= '9'; low++) {
    if (digit_wanted(numbers, count, prefix, (char)low, width) != 1)
      continue;
    int high = low;
    for (int next = low + 1; next <= '9'; next++) {
      const int wanted = digit_wanted(numbers, count, prefix, (char)next, width);
      if (wanted < 0)
        break;
      high = wanted > 0 ? next : high;
    }
    char number[MPT_MAX_NAME + 16];
    mpt_text text = {0};
    mpt_text_addf(&text, low == high ? "%s%c" : "%s[%c-%c]", prefix, low, high);
    if (width == 0)
      mpt_text_add(&text, "*");
    for (size_t i = strlen(prefix) + 1; i < width; i++)
      mpt_text_add(&text, "?");
    m->failed = m->failed || text.failed;
    if (!m->failed && text.length < sizeof number)
      add_number_glob(m, pattern, text.data);
    mpt_text_free(&text);
    low = high;
  }
}

/* Whether an earlier number has the same length and begins alike. */
static bool seen_before(const hole_number *numbers, int i, size_t length, size_t width) {
  for (int j = 0; j < i; j++)
    if (strlen(numbers[j].digits) == width &&
        strncmp(numbers[j].digits, numbers[i].digits, length) == 0)
      return true;
  return false;
}

/* Runs at every digit of every number: of those with its first digits and its length. */
static void runs_of_hole(maker *m, const char *pattern, const hole_number *numbers, int count) {
  add_runs(m, pattern, numbers, count, "", 0);
  for (int i = 0; i < count && !m->failed; i++) {
    char prefix[MPT_MAX_NAME] = "";
    const size_t width = strlen(numbers[i].digits);
    for (size_t length = 0; length < width; length++) {
      memcpy(prefix, numbers[i].digits, length);
      prefix[length] = '\0';
      if (!seen_before(numbers, i, length, width))
        add_runs(m, pattern, numbers, count, prefix, width);
    }
  }
}

static int by_pattern_then_number(const void *a, const void *b) {
  const filled_hole *x = a, *y = b;
  const int order = strcmp(x->pattern, y->pattern);
  return order != 0 ? order : strcmp(x->number, y->number);
}

static void runs_of_class(maker *m, const filled_hole *holes, size_t hole_count,
                          const uint64_t *accepts, hole_number *numbers) {
  int count = 0, wanted = 0;
  for (size_t i = 0; i < hole_count; i++) {
    if (i == 0 || strcmp(holes[i].number, holes[i - 1].number) != 0)
      numbers[count++] = (hole_number){.digits = holes[i].number};
    if (layer_set_has(accepts, holes[i].layer))
      numbers[count - 1].wanted++;
    else
      numbers[count - 1].unwanted++;
  }
  for (int i = 0; i < count; i++)
    wanted += numbers[i].wanted > numbers[i].unwanted;
  if (wanted > 1 && wanted < count)
    runs_of_hole(m, holes[0].pattern, numbers, count);
}

static void add_all_runs(maker *m) {
  if (m->hole_count == 0 || m->failed)
    return;
  hole_number *numbers = malloc(m->hole_count * sizeof *numbers);
  m->failed = numbers == NULL;
  qsort(m->holes, m->hole_count, sizeof *m->holes, by_pattern_then_number);
  for (size_t start = 0, end; start < m->hole_count && !m->failed; start = end) {
    for (end = start + 1; end < m->hole_count; end++)
      if (strcmp(m->holes[start].pattern, m->holes[end].pattern) != 0)
        break;
    for (int k = 0; k < m->class_count; k++)
      runs_of_class(m, &m->holes[start], end - start, m->accepts[k], numbers);
  }
  free(numbers);
}

/* ---- one candidate for each set of layers ---- */
typedef struct glob_rank {
  int mixed, literal, length; /* dotted parts */
} glob_rank;

static glob_rank rank_of(const char *glob) {
  glob_rank rank = {.length = (int)strlen(glob)};
  for (const char *part = glob;; part += strcspn(part, ".") + 1) {
    const size_t length = strcspn(part, ".");
    const bool wild = strcspn(part, "*?[") < length;
    rank.literal += !wild;
    rank.mixed += wild && !(length == 1 && part[0] == '*');
    if (part[length] == '\0')
      return rank;
  }
}

/* Whole parts before pieces of one, the specific before the general, the short before the long. */
static int by_reading(const void *a, const void *b) {
  const char *x = ((const glob_candidate *)a)->glob, *y = ((const glob_candidate *)b)->glob;
  const glob_rank p = rank_of(x), q = rank_of(y);
  if (p.mixed != q.mixed)
    return p.mixed - q.mixed;
  if (p.literal != q.literal)
    return q.literal - p.literal;
  return p.length != q.length ? p.length - q.length : strcmp(x, y);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keeps the first of the candidates that match the same layers, with an open hash table. */
static bool keep_distinct(glob_candidates *c) {
  size_t size = 64;
  while (size < 2 * (size_t)c->count)
    size *= 2;
  int *table = calloc(size, sizeof *table); /* index + 1 */
  const size_t bytes = (size_t)c->words * sizeof(uint64_t);
  int kept = 0;
  if (table == NULL)
    return false;
  for (int i = 0; i < c->count; i++) {
    const uint64_t *set = c->list[i].matches;
    size_t slot = mpt_hash_bytes(MPT_HASH_START, set, bytes) & (size - 1);
    while (table[slot] != 0 && memcmp(c->list[table[slot] - 1].matches, set, bytes) != 0)
      slot = (slot + 1) & (size - 1);
    if (table[slot] != 0)
      continue;
    c->list[kept] = c->list[i];
    table[slot] = ++kept;
  }
  c->count = kept;
  free(table);
  return true;
}

static bool collect(maker *m, glob_candidates *c) {
  c->list = mpt_arena_take(&c->arena, m->glob_count * sizeof *c->list);
  if (c->list == NULL || m->glob_count == 0)
    return c->list != NULL;
  qsort(m->globs, m->glob_count, sizeof *m->globs, by_text);
  for (size_t i = 0; i < m->glob_count; i++) {
    if (i > 0 && strcmp(m->globs[i], m->globs[i - 1]) == 0)
      continue;
    glob_candidate *g = &c->list[c->count++];
    g->glob = mpt_arena_text(&c->arena, m->globs[i], strlen(m->globs[i]));
    g->matches = mpt_arena_take(&c->arena, (size_t)c->words * sizeof *g->matches);
    if (g->glob == NULL || g->matches == NULL)
      return false;
    for (int layer = 0; layer < m->layer_count; layer++)
      if (mpt_glob_match(g->glob, m->layers[layer].name))
        layer_set_add(g->matches, layer);
  }
  qsort(c->list, (size_t)c->count, sizeof *c->list, by_reading);
  return keep_distinct(c);
}

mpt_status mpt_glob_candidates_make(const mpt_layer_info *layers, int count,
                                    uint64_t *const *accepts, int class_count,
                                    glob_candidates *candidates, mpt_error *error) {
  maker m = {
      .layers = layers, .layer_count = count, .accepts = accepts, .class_count = class_count};
  token tokens[MPT_MAX_NAME];
  mpt_text text = {0};
  *candidates = (glob_candidates){.words = LAYER_SET_WORDS(count)};
  for (int i = 0; i < count && !m.failed; i++)
    patterns_of(&m, i, tokens, &text);
  add_all_runs(&m);
  const bool good = !m.failed && collect(&m, candidates);
  mpt_text_free(&text);
  free(m.globs);
  free(m.holes);
  mpt_arena_free(&m.scratch);
  return good ? MPT_OK : mpt_fail_memory(error, "globs of layers", 0);
}
