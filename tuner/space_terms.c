#include "tuner/space_terms.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- aspects ---- */

static unsigned aspect_bits(unsigned value) {
  return value & 7u;
}

static unsigned storage_of(const mpt_gemm_policy *gemm) {
  return aspect_bits(mpt_precision_storage(gemm->precision));
}

/* Equal for two choices of one unit exactly when they agree in these aspects. */
static uint32_t signature(const mpt_layer_policy *p, unsigned aspects) {
  uint32_t s = 0;
  if (aspects & ASPECT_STORAGE)
    s |= storage_of(&p->gemm[MPT_FPROP]);
  if (aspects & ASPECT_FORMAT)
    s |= aspect_bits(p->gemm[MPT_FPROP].operand[0]) << 3;
  if (aspects & ASPECT_DGRAD)
    s |= storage_of(&p->gemm[MPT_DGRAD]) << 6;
  if (aspects & ASPECT_INPUT)
    s |= aspect_bits(p->gemm[MPT_FPROP].operand[0]) << 9 |
         aspect_bits(p->gemm[MPT_WGRAD].operand[1]) << 12;
  if (aspects & ASPECT_GRADIENT)
    s |= aspect_bits(p->gemm[MPT_DGRAD].operand[0]) << 15 |
         aspect_bits(p->gemm[MPT_WGRAD].operand[0]) << 18;
  return s;
}

bool ranking_make(const space_unit *unit, unsigned aspects, ranking *out) {
  const size_t count = (size_t)unit->choice_count;
  *out = (ranking){.rank = malloc(count * sizeof *out->rank),
                   .sample = malloc(count * sizeof *out->sample)};
  if (out->rank == NULL || out->sample == NULL) {
    ranking_free(out);
    return false;
  }
  for (int c = 0; c < unit->choice_count; c++) {
    const uint32_t wanted = signature(&unit->choices[c], aspects);
    int r = 0;
    while (r < out->count && signature(&unit->choices[out->sample[r]], aspects) != wanted)
      r++;
    if (r == out->count)
      out->sample[out->count++] = c;
    out->rank[c] = r;
  }
  return true;
}

void ranking_free(ranking *r) {
  free(r->rank), free(r->sample);
  *r = (ranking){0};
}

/* ---- what a term reads ---- */

static void reads(term_list *list, term *t, int unit, unsigned aspects) {
  int i = 0;
  if (unit < 0)
    return;
  while (i < t->read_count && t->reads[i].unit != unit)
    i++;
  if (i == t->read_count) {
    term_read *grown = realloc(t->reads, (size_t)(i + 1) * sizeof *grown);
    if (grown == NULL) {
      list->failed = true;
      return;
    }
    t->reads = grown;
    t->reads[t->read_count++] = (term_read){.unit = unit};
  }
  t->reads[i].aspects |= aspects;
}

static void reads_storage(term_list *list, term *t, int tensor) {
  const int producer = list->graph->tensors[tensor].producer;
  if (producer >= 0)
    reads(list, t, list->space->leader_of_layer[producer], ASPECT_STORAGE);
}

static void reads_gradient_storage(term_list *list, term *t, int tensor) {
  const int reader = list->graph->tensors[tensor].last_consumer;
  if (reader < 0)
    reads_storage(list, t, tensor);
  else
    reads(list, t, list->space->leader_of_layer[reader],
          list->graph->layers[reader].has_gemm ? ASPECT_DGRAD : ASPECT_STORAGE);
}

static void free_term(term *t) {
  for (int i = 0; i < t->read_count; i++)
    ranking_free(&t->reads[i].by), free(t->reads[i].price);
  free(t->reads), free(t->sharers), free(t->value), free(t->unions);
}

/* Takes *t over. */
static void add_term(term_list *list, term *t) {
  size_t values = 1;
  for (int i = 0; i < t->read_count && !list->failed; i++) {
    term_read *read = &t->reads[i];
    list->failed = !ranking_make(&list->space->units[read->unit], read->aspects, &read->by);
    values *= (size_t)read->by.count;
  }
  if (t->sharer_count == 0 && !list->failed) {
    t->value = malloc(values * sizeof *t->value);
    list->failed = t->value == NULL;
    for (size_t i = 0; i < values && !list->failed; i++)
      t->value[i] = NAN;
  }
  if (list->count == list->capacity && !list->failed) {
    const int capacity = 2 * list->capacity + 64;
    term *grown = realloc(list->terms, (size_t)capacity * sizeof *grown);
    list->failed = grown == NULL;
    if (grown != NULL)
      list->terms = grown, list->capacity = capacity;
  }
  if (list->failed)
    free_term(t);
  else
    list->terms[list->count++] = *t;
}

static term begin_term(term_kind kind, int index) {
  return (term){.kind = kind, .index = index, .weight = 1, .stands = true, .real = true};
}

static void add_passes(term_list *list, int layer) {
  const graph_layer *l = &list->graph->layers[layer];
  const int unit = list->space->leader_of_layer[layer];
  term t = begin_term(TERM_PASSES, layer);
  reads(list, &t, unit,
        unit >= 0 && list->space->units[unit].layer == layer ? ASPECT_STORAGE | ASPECT_FORMAT
                                                             : ASPECT_STORAGE);
  for (int i = 0; i < l->input_count; i++) {
    reads_storage(list, &t, l->inputs[i]);
    reads_gradient_storage(list, &t, l->inputs[i]);
  }
  reads_gradient_storage(list, &t, l->output);
  add_term(list, &t);
}

static void add_column_copies(term_list *list, int layer) {
  if (!cost_reads_copies(list->graph, layer) || cost_shares_copies(list->graph, layer))
    return;
  term t = begin_term(TERM_COLUMN_COPIES, layer);
  reads_storage(list, &t, list->graph->layers[layer].inputs[0]);
  reads(list, &t, list->space->leader_of_layer[layer], ASPECT_INPUT);
  add_term(list, &t);
}

/* Whoever reads copies is a unit. */
static void add_shared_copies(term_list *list, int tensor) {
  const graph_tensor *x = &list->graph->tensors[tensor];
  term t = begin_term(TERM_SHARED_COPIES, tensor);
  const int most = x->last_consumer - x->producer;
  t.sharers = malloc((size_t)(most > 0 ? most : 1) * sizeof *t.sharers);
  list->failed = list->failed || t.sharers == NULL;
  for (int i = x->producer + 1; !list->failed && i <= x->last_consumer; i++)
    for (int k = 0; k < list->graph->layers[i].input_count; k++)
      if (list->graph->layers[i].inputs[k] == tensor && cost_shares_copies(list->graph, i)) {
        t.sharers[t.sharer_count++] = list->space->leader_of_layer[i];
        break;
      }
  if (t.sharer_count == 0) {
    free_term(&t);
    return;
  }
  reads_storage(list, &t, tensor);
  add_term(list, &t);
}

static void add_gradient_copies(term_list *list, int tensor) {
  const int producer = list->graph->tensors[tensor].producer;
  if (producer < 0 || !cost_reads_copies(list->graph, producer))
    return;
  term t = begin_term(TERM_GRADIENT_COPIES, tensor);
  reads(list, &t, list->space->leader_of_layer[producer], ASPECT_GRADIENT);
  reads_gradient_storage(list, &t, tensor);
  add_term(list, &t);
}

static mpt_status no_memory(mpt_error *error) {
  return mpt_fail_memory(error, "the solver's terms", sizeof(term));
}

mpt_status terms_make(term_list *list, mpt_error *error) {
  const graph *g = list->graph;
  list->assignment = malloc((size_t)g->layer_count * sizeof *list->assignment);
  if (list->assignment == NULL)
    return no_memory(error);
  for (int i = 0; i < g->layer_count; i++)
    list->assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  for (int i = 0; i < g->layer_count; i++) {
    add_passes(list, i);
    add_column_copies(list, i);
  }
  for (int i = 0; i < g->tensor_count; i++) {
    add_shared_copies(list, i);
    add_gradient_copies(list, i);
  }
  term loss = begin_term(TERM_LOSS, 0);
  reads_storage(list, &loss, g->output);
  add_term(list, &loss);
  return list->failed ? no_memory(error) : terms_index(list, error);
}

mpt_status terms_split(term_list *list, int term_index, mpt_error *error) {
  const int count = list->terms[term_index].sharer_count;
  for (int k = 0; k < count && !list->failed; k++) {
    term t = begin_term(TERM_SHARED_COPIES, list->terms[term_index].index);
    t.weight = list->terms[term_index].weight / count;
    t.real = false;
    t.sharers = malloc(sizeof *t.sharers);
    list->failed = t.sharers == NULL;
    if (!list->failed)
      t.sharers[t.sharer_count++] = list->terms[term_index].sharers[k];
    reads_storage(list, &t, t.index);
    add_term(list, &t);
  }
  list->terms[term_index].stands = false;
  return list->failed ? no_memory(error) : MPT_OK;
}

mpt_status terms_index(term_list *list, mpt_error *error) {
  const int units = list->space->unit_count;
  int *count = calloc((size_t)units + 1, sizeof *count);
  if (list->of_unit == NULL)
    list->of_unit = calloc((size_t)units + 1, sizeof *list->of_unit);
  if (count == NULL || list->of_unit == NULL) {
    free(count);
    return no_memory(error);
  }
  for (int turn = 0; turn < 2; turn++) {
    for (int u = 0; turn == 1 && u < units; u++) {
      int *grown = realloc(list->of_unit[u], ((size_t)count[u] + 1) * sizeof *grown);
      if (grown == NULL) {
        free(count);
        return no_memory(error);
      }
      list->of_unit[u] = grown;
      grown[count[u]] = -1;
      count[u] = 0;
    }
    for (int i = 0; i < list->count; i++) {
      const term *t = &list->terms[i];
      for (int k = 0; k < t->read_count + t->sharer_count; k++) {
        const bool shares = k >= t->read_count;
        const int u = shares ? t->sharers[k - t->read_count] : t->reads[k].unit;
        if (shares && term_reads(t, u) != NULL)
          continue;
        if (turn == 1)
          list->of_unit[u][count[u]] = i;
        count[u]++;
      }
    }
  }
  free(count);
  return MPT_OK;
}

void terms_free(term_list *list) {
  for (int i = 0; i < list->count; i++)
    free_term(&list->terms[i]);
  for (int u = 0; list->of_unit != NULL && u < list->space->unit_count; u++)
    free(list->of_unit[u]);
  free(list->terms), free(list->of_unit), free(list->assignment);
}

int term_last(const term *t) {
  int last = -1;
  for (int i = 0; i < t->read_count; i++)
    last = t->reads[i].unit > last ? t->reads[i].unit : last;
  for (int i = 0; i < t->sharer_count; i++)
    last = t->sharers[i] > last ? t->sharers[i] : last;
  return last;
}

const term_read *term_reads(const term *t, int unit) {
  for (int i = 0; i < t->read_count; i++)
    if (t->reads[i].unit == unit)
      return &t->reads[i];
  return NULL;
}

bool term_shares(const term *t, int unit) {
  for (int i = 0; i < t->sharer_count; i++)
    if (t->sharers[i] == unit)
      return true;
  return false;
}

/* ---- seconds ---- */

copy_set term_needs(const term_list *list, int unit, int choice) {
  const space_unit *u = &list->space->units[unit];
  return cost_copies_read(list->graph, u->layer, &u->choices[choice]);
}

static void set_unit(term_list *list, int unit, int choice) {
  const space_unit *u = &list->space->units[unit];
  for (int i = u->layer; i < list->graph->layer_count; i++)
    if (list->space->leader_of_layer[i] == unit)
      list->assignment[i] = space_layer_policy(list->space, i, &u->choices[choice]);
}

static double evaluate(term_list *list, const term *t, const int *rank, copy_set set) {
  const graph *g = list->graph;
  const profile *p = list->profile;
  for (int i = 0; i < t->read_count; i++)
    set_unit(list, t->reads[i].unit, t->reads[i].by.sample[rank[i]]);
  const mpt_layer_policy *a = list->assignment;
  const double scale = list->batches * t->weight;
  switch (t->kind) {
  case TERM_PASSES:
    return scale * cost_passes(g, p, t->index, a);
  case TERM_COLUMN_COPIES:
    return scale * cost_column_copies(g, p, t->index, a);
  case TERM_SHARED_COPIES:
    return scale * cost_shared_copies(g, p, t->index, graph_tensor_format(g, a, t->index), set);
  case TERM_GRADIENT_COPIES:
    return scale * cost_gradient_copies(g, p, t->index, a);
  default:
    return scale * cost_loss(g, p, a);
  }
}

static double shared_seconds(term_list *list, term *t, const int *rank, copy_set set) {
  const int stored = t->read_count == 0 ? 0 : rank[0];
  for (int i = 0; i < t->union_count; i++)
    if (t->unions[i].rank == stored && t->unions[i].set == set)
      return t->unions[i].seconds;
  const double seconds = evaluate(list, t, rank, set);
  known_union *grown = realloc(t->unions, (size_t)(t->union_count + 1) * sizeof *grown);
  if (grown != NULL) { /* else it is worked out again the next time */
    t->unions = grown;
    t->unions[t->union_count++] = (known_union){stored, set, seconds};
  }
  return seconds;
}

double term_seconds(term_list *list, term *t, const int *rank, copy_set set) {
  size_t at = 0;
  if (t->sharer_count > 0)
    return shared_seconds(list, t, rank, set);
  for (int i = 0; i < t->read_count; i++)
    at = at * (size_t)t->reads[i].by.count + (size_t)rank[i];
  if (isnan(t->value[at]))
    t->value[at] = evaluate(list, t, rank, set);
  return t->value[at];
}

double term_seconds_of(term_list *list, term *t, const int *choice) {
  int rank[MOST_READS] = {0};
  copy_set set = 0;
  for (int i = 0; i < t->read_count; i++)
    rank[i] = t->reads[i].by.rank[choice[t->reads[i].unit]];
  for (int i = 0; i < t->sharer_count; i++)
    set |= term_needs(list, t->sharers[i], choice[t->sharers[i]]);
  return term_seconds(list, t, rank, set);
}

double unit_seconds(const term_list *list, int unit, int choice) {
  const space_unit *u = &list->space->units[unit];
  const mpt_layer_policy *formats = &u->choices[choice];
  return list->batches * cost_gemms(list->graph, list->profile, u->layer, formats, NULL) +
         cost_weight_copies(list->graph, list->profile, list->optimizer, u->layer, formats);
}
