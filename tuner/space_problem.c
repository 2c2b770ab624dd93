#include "tuner/space_problem.h"
#include "base/error.h"
#include "base/hash.h"
#include "tuner/cost.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static mpt_status no_memory(mpt_error *error) {
  return mpt_fail_memory(error, "the solver's memories", sizeof(memories));
}

/* ---- which terms read from afar ---- */

bool problem_drops(const space_problem *sp, int index, int unit) {
  return unit < sp->last[index] - 1 && sp->forgotten[unit];
}

static bool is_distant(const space_problem *sp, int index) {
  const term *t = &sp->terms.terms[index];
  for (int i = 0; i < t->read_count; i++)
    if (t->reads[i].unit < sp->last[index] - 1 && !problem_drops(sp, index, t->reads[i].unit))
      return true;
  for (int i = 0; i < t->sharer_count; i++)
    if (t->sharers[i] < sp->last[index] - 1)
      return true;
  return false;
}

static mpt_status sort_terms(space_problem *sp, mpt_error *error) {
  const int units = sp->problem.layer_count;
  const size_t count = (size_t)sp->terms.count;
  int *last = realloc(sp->last, (count + 1) * sizeof *last);
  sp->last = last != NULL ? last : sp->last;
  bool *distant = realloc(sp->distant, (count + 1) * sizeof *distant);
  sp->distant = distant != NULL ? distant : sp->distant;
  int *order = realloc(sp->of_last, (count + 1) * sizeof *order);
  sp->of_last = order != NULL ? order : sp->of_last;
  int *start = realloc(sp->of_last_start, ((size_t)units + 2) * sizeof *start);
  sp->of_last_start = start != NULL ? start : sp->of_last_start;
  if (last == NULL || distant == NULL || order == NULL || start == NULL)
    return no_memory(error);
  memset(start, 0, ((size_t)units + 2) * sizeof *start);
  for (int i = 0; i < sp->terms.count; i++) {
    last[i] = term_last(&sp->terms.terms[i]);
    if (last[i] >= 0)
      start[last[i] + 2]++;
  }
  for (int u = 0; u < units; u++)
    start[u + 2] += start[u + 1];
  for (int i = 0; i < sp->terms.count; i++)
    if (last[i] >= 0)
      order[start[last[i] + 1]++] = i;
  for (int i = 0; i < sp->terms.count; i++)
    distant[i] = sp->terms.terms[i].stands && is_distant(sp, i);
  return MPT_OK;
}

/* ---- memories ---- */

static void free_memories(memories *m) {
  for (int i = 0; i < m->cell_count; i++)
    ranking_free(&m->cells[i].by);
  free(m->cells), free(m->values);
  *m = (memories){0};
}

/* What terms of unit i and later ones will read of unit u from a memory. */
static unsigned awaited(const space_problem *sp, int i, int u) {
  unsigned aspects = 0;
  for (const int *k = sp->terms.of_unit[u]; *k >= 0; k++) {
    const term_read *read = term_reads(&sp->terms.terms[*k], u);
    if (sp->distant[*k] && sp->last[*k] >= i && read != NULL && !problem_drops(sp, *k, u))
      aspects |= read->aspects;
  }
  return aspects;
}

static bool add_cell(memories *m, memory_cell cell) {
  memory_cell *grown = realloc(m->cells, (size_t)(m->cell_count + 1) * sizeof *grown);
  if (grown == NULL)
    return false;
  m->cells = grown;
  m->cells[m->cell_count++] = cell;
  return true;
}

static bool add_aspects(const space_problem *sp, int i, int u, memories *here) {
  memory_cell cell = {.unit = u, .term = -1};
  const unsigned aspects = awaited(sp, i, u);
  if (aspects == 0)
    return true;
  if (!ranking_make(&sp->terms.space->units[u], aspects, &cell.by))
    return false;
  if (add_cell(here, cell))
    return true;
  ranking_free(&cell.by);
  return false;
}

/* Those that were open before the unit before, and that unit. */
static bool open_cells(const space_problem *sp, int i, memories *here) {
  if (i == 0)
    return true;
  const memories *before = &sp->before[i - 1];
  for (int k = 0; k < before->cell_count; k++) {
    const memory_cell *cell = &before->cells[k];
    if (cell->unit >= 0 && !add_aspects(sp, i, cell->unit, here))
      return false;
    if (cell->unit < 0 && sp->last[cell->term] >= i &&
        !add_cell(here, (memory_cell){.unit = -1, .term = cell->term}))
      return false;
  }
  if (!add_aspects(sp, i, i - 1, here))
    return false;
  for (const int *k = sp->terms.of_unit[i - 1]; *k >= 0; k++) {
    const term *t = &sp->terms.terms[*k];
    if (sp->distant[*k] && sp->last[*k] >= i && t->sharer_count > 0 && t->sharers[0] == i - 1 &&
        !add_cell(here, (memory_cell){.unit = -1, .term = *k}))
      return false;
  }
  return true;
}

static int find_cell(const memories *m, int unit, int shared) {
  for (int i = 0; i < m->cell_count; i++)
    if (m->cells[i].unit == unit && m->cells[i].term == shared)
      return i;
  return -1;
}

/* The cell's value after unit i - 1 took choice q in memory `from` before it. */
static uint32_t next_value(const space_problem *sp, int i, const memory_cell *cell, int old,
                           const uint32_t *from, int q) {
  const memories *before = &sp->before[i - 1];
  if (cell->unit >= 0)
    return (uint32_t)
        cell->by.rank[cell->unit == i - 1 ? q : before->cells[old].by.sample[from[old]]];
  const copy_set so_far = old < 0 ? 0 : from[old];
  return term_shares(&sp->terms.terms[cell->term], i - 1)
             ? so_far | term_needs(&sp->terms, i - 1, q)
             : so_far;
}

/* Memories by their values. */
typedef struct memory_index {
  int *slots; /* -1: free */
  uint32_t size;
} memory_index;

static uint32_t hash_of(const uint32_t *values, size_t bytes) {
  return (uint32_t)mpt_hash_bytes(MPT_HASH_START, values, bytes);
}

static bool index_grow(memory_index *index, const memories *m) {
  const uint32_t size = index->size == 0 ? 64 : 2 * index->size;
  int *slots = malloc(size * sizeof *slots);
  if (slots == NULL)
    return false;
  for (uint32_t i = 0; i < size; i++)
    slots[i] = -1;
  const size_t bytes = (size_t)m->cell_count * sizeof *m->values;
  for (int k = 0; k < m->count; k++) {
    uint32_t at = hash_of(m->values + k * m->cell_count, bytes) & (size - 1);
    while (slots[at] >= 0)
      at = (at + 1) & (size - 1);
    slots[at] = k;
  }
  free(index->slots);
  *index = (memory_index){slots, size};
  return true;
}

/* The memory with these values, added when it is new; -1 without memory. */
static int find_memory(memories *m, memory_index *index, const uint32_t *values) {
  const size_t bytes = (size_t)m->cell_count * sizeof *values;
  if (2 * (uint32_t)m->count >= index->size && !index_grow(index, m))
    return -1;
  uint32_t at = hash_of(values, bytes) & (index->size - 1);
  for (; index->slots[at] >= 0; at = (at + 1) & (index->size - 1))
    if (memcmp(m->values + index->slots[at] * m->cell_count, values, bytes) == 0)
      return index->slots[at];
  if (m->count == m->capacity) {
    const int capacity = 2 * m->capacity + 16;
    uint32_t *grown = realloc(m->values, (size_t)capacity * (bytes + 1));
    if (grown == NULL)
      return -1;
    m->values = grown, m->capacity = capacity;
  }
  memcpy(m->values + m->count * m->cell_count, values, bytes);
  index->slots[at] = m->count;
  return m->count++;
}

/* The memories before unit i, from those before unit i - 1 and its choices; *fits is false when
 * they are too many. */
static mpt_status make_memories(space_problem *sp, int i, bool *fits, mpt_error *error) {
  const memories *before = &sp->before[i - 1];
  memories *here = &sp->before[i];
  frontier_layer *l = &sp->problem.layers[i];
  const int choices = l[-1].choice_count;
  /* What unit i - 1 alone leaves behind can't be forgotten. */
  const int least = choices * l->choice_count;
  const int limit = sp->forgotten_count > 0 ? sp->relaxed_states : sp->exact_states;
  const int states = limit > least ? limit : least;
  memory_index index = {0};
  mpt_status status = MPT_OK;
  free_memories(here);
  int *next = realloc(l->next, (size_t)before->count * (size_t)choices * sizeof *next);
  l->next = next != NULL ? next : l->next;
  const bool opened = open_cells(sp, i, here);
  const size_t cells = (size_t)here->cell_count + 1;
  uint32_t *values = calloc(cells, sizeof *values);
  int *old = calloc(cells, sizeof *old);
  if (next == NULL || !opened || values == NULL || old == NULL) {
    status = no_memory(error);
    goto fail;
  }
  for (int k = 0; k < here->cell_count; k++)
    old[k] = find_cell(before, here->cells[k].unit, here->cells[k].term);
  *fits = true;
  for (int k = 0; k < before->count * choices && *fits; k++) {
    const uint32_t *from = before->values + k / choices * before->cell_count;
    for (int j = 0; j < here->cell_count; j++)
      values[j] = next_value(sp, i, &here->cells[j], old[j], from, k % choices);
    next[k] = find_memory(here, &index, values);
    if (next[k] < 0) {
      status = no_memory(error);
      goto fail;
    }
    *fits = here->count * l->choice_count <= states;
  }
  l->memory_count = here->count;
fail:
  free(index.slots), free(values), free(old);
  return status;
}

/* ---- forgetting ---- */

/* How many terms read what the cell holds. */
static int use_of(const space_problem *sp, const memory_cell *cell) {
  int count = 0;
  if (cell->unit < 0)
    return 1;
  for (const int *k = sp->terms.of_unit[cell->unit]; *k >= 0; k++)
    count += sp->distant[*k] && term_reads(&sp->terms.terms[*k], cell->unit) != NULL;
  return count;
}

static int end_of(const space_problem *sp, const memory_cell *cell) {
  int end = 0;
  if (cell->unit < 0)
    return sp->last[cell->term];
  for (const int *k = sp->terms.of_unit[cell->unit]; *k >= 0; k++)
    if (sp->distant[*k] && sp->last[*k] > end)
      end = sp->last[*k];
  return end;
}

/* Of what is remembered before unit i, what the fewest terms read, and that for the longest; unions
 * last: their relaxation is the coarsest. */
static mpt_status forget_one(space_problem *sp, int i, mpt_error *error) {
  const memories *here = &sp->before[i];
  const memory_cell *worst = NULL;
  for (int k = 0; k < here->cell_count; k++) {
    const memory_cell *cell = &here->cells[k];
    /* What unit i reads of the unit before is not remembered for longer. */
    if (cell->unit >= 0 &&
        (sp->forgotten[cell->unit] || (cell->unit == i - 1 && end_of(sp, cell) == i)))
      continue;
    if (worst == NULL || (cell->unit >= 0 && worst->unit < 0)) {
      worst = cell;
      continue;
    }
    if (cell->unit < 0 && worst->unit >= 0)
      continue;
    const int more = use_of(sp, cell) - use_of(sp, worst);
    if (more < 0 || (more == 0 && end_of(sp, cell) > end_of(sp, worst)))
      worst = cell;
  }
  if (worst == NULL)
    return mpt_fail(error, MPT_ERROR_INTERNAL, "the solver cannot forget more");
  sp->forgotten_count++;
  if (worst->unit < 0) {
    MPT_RETURN_IF_FAILED(terms_split(&sp->terms, worst->term, error));
    MPT_RETURN_IF_FAILED(terms_index(&sp->terms, error));
  } else {
    sp->forgotten[worst->unit] = true;
  }
  return sort_terms(sp, error);
}

/* A price for each value of what a term drops. */
static mpt_status make_prices(space_problem *sp, mpt_error *error) {
  for (int i = 0; i < sp->terms.count; i++) {
    term *t = &sp->terms.terms[i];
    for (int k = 0; k < t->read_count; k++) {
      term_read *read = &t->reads[k];
      if (!t->stands || read->price != NULL || !problem_drops(sp, i, read->unit))
        continue;
      read->price = calloc((size_t)read->by.count, sizeof *read->price);
      if (read->price == NULL)
        return no_memory(error);
    }
  }
  return MPT_OK;
}

/* ---- times ---- */

double problem_relaxed(space_problem *sp, int index, int *rank, copy_set set) {
  term *t = &sp->terms.terms[index];
  int dropped[MOST_READS], at[MOST_READS], count = 0, best[MOST_READS];
  for (int k = 0; k < t->read_count; k++)
    if (problem_drops(sp, index, t->reads[k].unit)) {
      best[count] = at[count] = 0;
      dropped[count++] = k;
    }
  if (count == 0)
    return term_seconds(&sp->terms, t, rank, set);
  double least = INFINITY;
  for (bool more = true; more;) {
    double seconds = 0;
    for (int d = 0; d < count; d++) {
      rank[dropped[d]] = at[d];
      seconds -= t->reads[dropped[d]].price[at[d]];
    }
    seconds += term_seconds(&sp->terms, t, rank, set);
    if (seconds < least) {
      least = seconds;
      memcpy(best, at, sizeof best);
    }
    more = false;
    for (int d = 0; d < count && !more; d++) {
      more = ++at[d] < t->reads[dropped[d]].by.count;
      at[d] = more ? at[d] : 0;
    }
  }
  for (int d = 0; d < count; d++)
    rank[dropped[d]] = best[d];
  return least;
}

static void add_own(space_problem *sp, int i) {
  frontier_layer *l = &sp->problem.layers[i];
  for (int c = 0; c < l->choice_count; c++) {
    l->seconds[c] += unit_seconds(&sp->terms, i, c);
    for (const int *k = sp->terms.of_unit[i]; *k >= 0; k++) {
      const term_read *read = term_reads(&sp->terms.terms[*k], i);
      if (sp->terms.terms[*k].stands && read != NULL && read->price != NULL)
        l->seconds[c] += read->price[read->by.rank[c]];
    }
  }
}

/* A term that reads unit i, and unit i - 1 perhaps, and drops the others. */
static void add_local(space_problem *sp, int i, int index) {
  const term *t = &sp->terms.terms[index];
  frontier_layer *l = &sp->problem.layers[i];
  const bool pair = i > 0 && (term_reads(t, i - 1) != NULL || term_shares(t, i - 1));
  for (int q = 0; q < (pair ? l[-1].choice_count : 1); q++)
    for (int c = 0; c < l->choice_count; c++) {
      int rank[MOST_READS] = {0};
      copy_set set = 0;
      for (int k = 0; k < t->read_count; k++)
        if (!problem_drops(sp, index, t->reads[k].unit))
          rank[k] = t->reads[k].by.rank[t->reads[k].unit == i ? c : q];
      for (int k = 0; k < t->sharer_count; k++)
        set |= term_needs(&sp->terms, t->sharers[k], t->sharers[k] == i ? c : q);
      const double seconds = problem_relaxed(sp, index, rank, set);
      *(pair ? &l->conversion[q * l->choice_count + c] : &l->seconds[c]) += seconds;
    }
}

static void add_distant(space_problem *sp, int i, int index) {
  const term *t = &sp->terms.terms[index];
  const memories *here = &sp->before[i];
  frontier_layer *l = &sp->problem.layers[i];
  int cell[MOST_READS];
  const int shared = find_cell(here, -1, index);
  const bool shares = term_shares(t, i);
  for (int k = 0; k < t->read_count; k++)
    cell[k] = find_cell(here, t->reads[k].unit, -1);
  for (int m = 0; m < here->count; m++) {
    const uint32_t *values = here->values + m * here->cell_count;
    for (int c = 0; c < l->choice_count; c++) {
      int rank[MOST_READS] = {0};
      for (int k = 0; k < t->read_count; k++)
        if (t->reads[k].unit == i)
          rank[k] = t->reads[k].by.rank[c];
        else if (!problem_drops(sp, index, t->reads[k].unit))
          rank[k] = t->reads[k].by.rank[here->cells[cell[k]].by.sample[values[cell[k]]]];
      const copy_set set =
          (shared < 0 ? 0 : values[shared]) | (shares ? term_needs(&sp->terms, i, c) : 0);
      l->memory_seconds[m * l->choice_count + c] += problem_relaxed(sp, index, rank, set);
    }
  }
}

/* Prices may make times negative, which the solver does not take: what all of them have is fixed.
 */
static void raise(space_problem *sp, double *values, size_t count) {
  double least = 0;
  for (size_t i = 0; i < count; i++)
    least = fmin(least, values[i]);
  for (size_t i = 0; i < count && least < 0; i++)
    values[i] = fmax(0, values[i] - least);
  sp->problem.fixed_seconds += least;
}

void problem_fill(space_problem *sp) {
  term_list *terms = &sp->terms;
  sp->problem.fixed_seconds = cost_optimizer(terms->graph, terms->profile, terms->optimizer);
  for (int k = 0; k < terms->count; k++)
    if (sp->last[k] < 0)
      sp->problem.fixed_seconds += term_seconds(terms, &terms->terms[k], NULL, 0);
  for (int i = 0; i < sp->problem.layer_count; i++) {
    frontier_layer *l = &sp->problem.layers[i];
    const size_t count = (size_t)l->choice_count, memory_count = (size_t)l->memory_count,
                 befores = i > 0 ? (size_t)l[-1].choice_count : 1;
    memset(l->seconds, 0, count * sizeof *l->seconds);
    memset(l->conversion, 0, befores * count * sizeof *l->conversion);
    memset(l->memory_seconds, 0, memory_count * count * sizeof *l->memory_seconds);
    add_own(sp, i);
    for (int k = sp->of_last_start[i]; k < sp->of_last_start[i + 1]; k++) {
      if (sp->distant[sp->of_last[k]])
        add_distant(sp, i, sp->of_last[k]);
      else if (terms->terms[sp->of_last[k]].stands)
        add_local(sp, i, sp->of_last[k]);
    }
    if (sp->forgotten_count > 0) {
      raise(sp, l->seconds, count);
      raise(sp, l->conversion, befores * count);
      raise(sp, l->memory_seconds, memory_count * count);
    }
  }
}

/* ---- the problem ---- */

static mpt_status begin(space_problem *sp, double *const *increase, mpt_error *error) {
  const space *s = sp->terms.space;
  sp->problem.layer_count = s->unit_count;
  sp->problem.layers = calloc((size_t)s->unit_count + 1, sizeof *sp->problem.layers);
  sp->before = calloc((size_t)s->unit_count + 1, sizeof *sp->before);
  sp->forgotten = calloc((size_t)s->unit_count + 1, sizeof *sp->forgotten);
  if (sp->problem.layers == NULL || sp->before == NULL || sp->forgotten == NULL)
    return no_memory(error);
  for (int i = 0; i < s->unit_count; i++) {
    sp->problem.layers[i].choice_count = s->units[i].choice_count;
    sp->problem.layers[i].increase = increase[i];
    sp->problem.layers[i].memory_count = 1;
  }
  sp->before[0].count = 1;
  return sort_terms(sp, error);
}

mpt_status problem_make(space_problem *sp, double *const *increase, mpt_error *error) {
  MPT_RETURN_IF_FAILED(begin(sp, increase, error));
  const int units = sp->problem.layer_count;
  for (int i = 1; i < units; i++) {
    bool fits = true;
    MPT_RETURN_IF_FAILED(make_memories(sp, i, &fits, error));
    if (fits)
      continue;
    MPT_RETURN_IF_FAILED(forget_one(sp, i, error));
    i = 0;
  }
  MPT_RETURN_IF_FAILED(make_prices(sp, error));
  for (int i = 0; i < units; i++) {
    frontier_layer *l = &sp->problem.layers[i];
    const size_t count = (size_t)l->choice_count;
    l->seconds = malloc(count * sizeof *l->seconds);
    l->conversion =
        malloc((i > 0 ? (size_t)l[-1].choice_count : 1) * count * sizeof *l->conversion);
    l->memory_seconds = malloc((size_t)l->memory_count * count * sizeof *l->memory_seconds);
    if (l->seconds == NULL || l->conversion == NULL || l->memory_seconds == NULL)
      return no_memory(error);
  }
  problem_fill(sp);
  return MPT_OK;
}

void problem_free(space_problem *sp) {
  for (int i = 0; sp->problem.layers != NULL && i < sp->problem.layer_count; i++) {
    frontier_layer *l = &sp->problem.layers[i];
    free(l->seconds), free(l->conversion), free(l->memory_seconds), free(l->next);
  }
  for (int i = 0; sp->before != NULL && i < sp->problem.layer_count; i++)
    free_memories(&sp->before[i]);
  free(sp->problem.layers), free(sp->before), free(sp->forgotten);
  free(sp->last), free(sp->distant), free(sp->of_last), free(sp->of_last_start);
  terms_free(&sp->terms);
}
