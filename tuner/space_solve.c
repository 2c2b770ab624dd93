/* From a space to a problem for the solver.
 *
 * The step time is a sum of terms (cost.h), and each term reads the choices of a few units: copies
 * of a tensor those of its producer and its readers, a norm's pass those of the unit it follows and
 * of the layer that reads it. A term belongs to the last unit that it reads, i:
 *
 *   it reads i alone              seconds[c]
 *   it reads i - 1 and i          conversion[q][c]
 *   it reads units further back   memory_seconds[memory][c]
 *
 * The memory before unit i holds, of the units before it, what terms of the third kind still will
 * read: not the whole choice but an aspect of it (the storage format, the formats in which it reads
 * its input), so it has few values: 3 for a residual stream.
 */
#include "base/error.h"
#include "tuner/space.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_TERM_UNITS = 12, MAX_MEMORIES = 8192 };

/* Aspects of a choice. */
enum {
  STORAGE = 1 << 0, /* of the output */
  FORMAT = 1 << 1,  /* of fprop: tells tf32 from fp32 */
  DGRAD = 1 << 2,   /* storage of the input's gradient */
  INPUT = 1 << 3,   /* formats in which GEMMs read the input */
  GRADIENT = 1 << 4 /* and the output's gradient */
};

typedef enum term_kind {
  TERM_PASSES,
  TERM_INPUT_COPIES,
  TERM_GRADIENT_COPIES,
  TERM_LOSS
} term_kind;

typedef struct term {
  term_kind kind;
  int index; /* layer or tensor */
  int unit_count;
  int units[MAX_TERM_UNITS];
  unsigned aspects[MAX_TERM_UNITS];
  bool too_many;
} term;

typedef struct memories {
  int unit_count; /* that are open */
  int *units;
  unsigned *aspects;
  int count, capacity;
  int *choices; /* [memory][open unit]: one that stands for all with its aspects */
} memories;

typedef struct builder {
  const space *space;
  const graph *graph;
  const profile *profile;
  const optimizer_spec *optimizer;
  double batches;
  term *terms;
  int term_count;
  mpt_layer_policy *assignment; /* [graph layers] */
  frontier_problem problem;
  double *const *increase; /* [unit][choice] */
  double *rows;            /* scratch: [choice before][choice] */
} builder;

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
  if (aspects & STORAGE)
    s |= storage_of(&p->gemm[MPT_FPROP]);
  if (aspects & FORMAT)
    s |= aspect_bits(p->gemm[MPT_FPROP].operand[0]) << 3;
  if (aspects & DGRAD)
    s |= storage_of(&p->gemm[MPT_DGRAD]) << 6;
  if (aspects & INPUT)
    s |= aspect_bits(p->gemm[MPT_FPROP].operand[0]) << 9 |
         aspect_bits(p->gemm[MPT_WGRAD].operand[1]) << 12;
  if (aspects & GRADIENT)
    s |= aspect_bits(p->gemm[MPT_DGRAD].operand[0]) << 15 |
         aspect_bits(p->gemm[MPT_WGRAD].operand[0]) << 18;
  return s;
}

/* The first choice of the unit that agrees with `choice` in these aspects. */
static int representative(const space_unit *unit, int choice, unsigned aspects) {
  const uint32_t wanted = signature(&unit->choices[choice], aspects);
  int c = 0;
  while (signature(&unit->choices[c], aspects) != wanted)
    c++;
  return c;
}

/* ---- terms ---- */

static void reads(term *t, int unit, unsigned aspects) {
  int i = 0;
  while (i < t->unit_count && t->units[i] != unit)
    i++;
  if (unit < 0)
    return;
  if (i == MAX_TERM_UNITS) {
    t->too_many = true;
    return;
  }
  if (i == t->unit_count) {
    t->units[t->unit_count] = unit;
    t->aspects[t->unit_count++] = 0;
  }
  t->aspects[i] |= aspects;
}

static void reads_storage(const builder *b, term *t, int tensor) {
  const int producer = b->graph->tensors[tensor].producer;
  if (producer >= 0)
    reads(t, b->space->leader_of_layer[producer], STORAGE);
}

static void reads_gradient_storage(const builder *b, term *t, int tensor) {
  const int reader = b->graph->tensors[tensor].last_consumer;
  if (reader < 0)
    reads_storage(b, t, tensor);
  else
    reads(t, b->space->leader_of_layer[reader],
          b->graph->layers[reader].has_gemm ? DGRAD : STORAGE);
}

static void add_term(builder *b, const term *t) {
  b->terms[b->term_count++] = *t;
}

static void add_passes(builder *b, int layer) {
  const graph_layer *l = &b->graph->layers[layer];
  term t = {.kind = TERM_PASSES, .index = layer};
  const int unit = b->space->leader_of_layer[layer];
  reads(&t, unit, unit >= 0 && b->space->units[unit].layer == layer ? STORAGE | FORMAT : STORAGE);
  for (int i = 0; i < l->input_count; i++) {
    reads_storage(b, &t, l->inputs[i]);
    reads_gradient_storage(b, &t, l->inputs[i]);
  }
  reads_gradient_storage(b, &t, l->output);
  add_term(b, &t);
}

static void add_input_copies(builder *b, int tensor) {
  const graph_tensor *x = &b->graph->tensors[tensor];
  term t = {.kind = TERM_INPUT_COPIES, .index = tensor};
  reads_storage(b, &t, tensor);
  for (int i = x->producer + 1; i <= x->last_consumer; i++)
    for (int k = 0; k < b->graph->layers[i].input_count; k++)
      if (b->graph->layers[i].inputs[k] == tensor && cost_reads_copies(b->graph, i))
        reads(&t, b->space->leader_of_layer[i], INPUT);
  add_term(b, &t);
}

static void add_gradient_copies(builder *b, int tensor) {
  const int producer = b->graph->tensors[tensor].producer;
  term t = {.kind = TERM_GRADIENT_COPIES, .index = tensor};
  if (producer < 0 || !cost_reads_copies(b->graph, producer))
    return;
  reads(&t, b->space->leader_of_layer[producer], GRADIENT);
  reads_gradient_storage(b, &t, tensor);
  add_term(b, &t);
}

static mpt_status make_terms(builder *b, mpt_error *error) {
  const graph *g = b->graph;
  const size_t most = (size_t)g->layer_count + 2 * (size_t)g->tensor_count + 1;
  b->terms = malloc(most * sizeof *b->terms);
  if (b->terms == NULL)
    return mpt_fail_memory(error, "the solver's terms", most * sizeof *b->terms);
  for (int i = 0; i < g->layer_count; i++)
    add_passes(b, i);
  for (int i = 0; i < g->tensor_count; i++) {
    add_input_copies(b, i);
    add_gradient_copies(b, i);
  }
  term loss = {.kind = TERM_LOSS};
  reads_storage(b, &loss, g->output);
  add_term(b, &loss);
  for (int i = 0; i < b->term_count; i++)
    if (b->terms[i].too_many)
      return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                      "the search takes at most %d layers that read one tensor",
                      MAX_TERM_UNITS - 2);
  return MPT_OK;
}

static double term_seconds(const builder *b, const term *t) {
  switch (t->kind) {
  case TERM_PASSES:
    return b->batches * cost_passes(b->graph, b->profile, t->index, b->assignment);
  case TERM_INPUT_COPIES:
    return b->batches * cost_input_copies(b->graph, b->profile, t->index, b->assignment);
  case TERM_GRADIENT_COPIES:
    return b->batches * cost_gradient_copies(b->graph, b->profile, t->index, b->assignment);
  default:
    return b->batches * cost_loss(b->graph, b->profile, b->assignment);
  }
}

static int last_unit(const term *t) {
  int last = -1;
  for (int i = 0; i < t->unit_count; i++)
    last = t->units[i] > last ? t->units[i] : last;
  return last;
}

/* Whether it reads no unit before `last` - 1. */
static bool is_local(const term *t, int last) {
  for (int i = 0; i < t->unit_count; i++)
    if (t->units[i] < last - 1)
      return false;
  return true;
}

static unsigned aspects_of(const term *t, int unit) {
  for (int i = 0; i < t->unit_count; i++)
    if (t->units[i] == unit)
      return t->aspects[i];
  return 0;
}

/* ---- the assignment that terms are evaluated at ---- */

static void set_unit(builder *b, int unit, int choice) {
  const space_unit *u = &b->space->units[unit];
  for (int i = u->layer; i < b->graph->layer_count; i++)
    if (b->space->leader_of_layer[i] == unit)
      b->assignment[i] = space_layer_policy(b->space, i, &u->choices[choice]);
}

/* ---- seconds of one unit, of neighbours, and by memory ---- */

static void add_own(builder *b, int i) {
  const space_unit *u = &b->space->units[i];
  for (int c = 0; c < u->choice_count; c++)
    b->problem.layers[i].seconds[c] +=
        b->batches * cost_gemms(b->graph, b->profile, u->layer, &u->choices[c], NULL) +
        cost_weight_copies(b->graph, b->profile, b->optimizer, u->layer, &u->choices[c]);
}

/* The term for every choice of unit i, the others as they are set: evaluated once for all choices
 * that agree in what it reads. */
static void evaluate_row(builder *b, int i, const term *t, double *row) {
  const space_unit *unit = &b->space->units[i];
  for (int c = 0; c < unit->choice_count; c++) {
    const int same = representative(unit, c, aspects_of(t, i));
    if (same == c)
      set_unit(b, i, c);
    row[c] = same == c ? term_seconds(b, t) : row[same];
  }
}

static void add_row(double *to, const double *row, int count) {
  for (int c = 0; c < count; c++)
    to[c] += row[c];
}

/* A term that reads unit i, and unit i - 1 perhaps. */
static void add_local(builder *b, int i, const term *t) {
  const int count = b->space->units[i].choice_count;
  frontier_layer *l = &b->problem.layers[i];
  if (i == 0 || aspects_of(t, i - 1) == 0) {
    evaluate_row(b, i, t, b->rows);
    add_row(l->seconds, b->rows, count);
    return;
  }
  const space_unit *before = &b->space->units[i - 1];
  for (int q = 0; q < before->choice_count; q++) {
    const int same = representative(before, q, aspects_of(t, i - 1));
    if (same == q) {
      set_unit(b, i - 1, q);
      evaluate_row(b, i, t, b->rows + q * count);
    }
    add_row(l->conversion + q * count, b->rows + same * count, count);
  }
}

static void add_distant(builder *b, int i, const term *t, const memories *open) {
  const int count = b->space->units[i].choice_count;
  for (int m = 0; m < open->count; m++) {
    for (int k = 0; k < open->unit_count; k++)
      if (aspects_of(t, open->units[k]) != 0)
        set_unit(b, open->units[k], open->choices[m * open->unit_count + k]);
    evaluate_row(b, i, t, b->rows);
    add_row(b->problem.layers[i].memory_seconds + m * count, b->rows, count);
  }
}

/* ---- memories ---- */

static void free_memories(memories *m) {
  free(m->units), free(m->aspects), free(m->choices);
  *m = (memories){0};
}

/* Which units before i are open: distant terms of i or of later units read them. */
static mpt_status open_units(const builder *b, int i, memories *here, mpt_error *error) {
  here->units = calloc((size_t)i + 1, sizeof *here->units);
  here->aspects = calloc((size_t)i + 1, sizeof *here->aspects);
  if (here->units == NULL || here->aspects == NULL)
    return mpt_fail_memory(error, "the solver's memories", (size_t)i * sizeof(int));
  for (int u = 0; u < i; u++) {
    unsigned aspects = 0;
    for (int k = 0; k < b->term_count; k++) {
      const int last = last_unit(&b->terms[k]);
      if (last >= i && !is_local(&b->terms[k], last))
        aspects |= aspects_of(&b->terms[k], u);
    }
    if (aspects == 0)
      continue;
    here->units[here->unit_count] = u;
    here->aspects[here->unit_count++] = aspects;
  }
  return MPT_OK;
}

enum { TOO_MANY = -1, NO_ROOM = -2 };

/* The memory with these choices, added when it is new. */
static int find_memory(memories *m, const int *choices) {
  const size_t size = (size_t)m->unit_count * sizeof *choices;
  for (int i = 0; i < m->count; i++)
    if (memcmp(m->choices + i * m->unit_count, choices, size) == 0)
      return i;
  if (m->count == MAX_MEMORIES)
    return TOO_MANY;
  if (m->count == m->capacity) {
    const int capacity = 2 * m->capacity + 16;
    int *grown = realloc(m->choices, (size_t)capacity * (size + 1));
    if (grown == NULL)
      return NO_ROOM;
    m->choices = grown, m->capacity = capacity;
  }
  memcpy(m->choices + m->count * m->unit_count, choices, size);
  return m->count++;
}

/* The memories before unit i, from those before unit i - 1 and its choices. */
static mpt_status make_memories(builder *b, int i, const memories *before, memories *here,
                                mpt_error *error) {
  mpt_status status = MPT_OK;
  frontier_layer *l = &b->problem.layers[i];
  const int count = i > 0 ? b->space->units[i - 1].choice_count : 1;
  int *choices = calloc((size_t)i + 1, sizeof *choices);
  l->next = calloc((size_t)before->count * (size_t)count, sizeof *l->next);
  MPT_TRY(open_units(b, i, here, error));
  if (choices == NULL || l->next == NULL) {
    status = mpt_fail_memory(error, "the solver's memories", (size_t)i * sizeof *choices);
    goto fail;
  }
  for (int k = 0; k < before->count * count; k++) {
    for (int o = 0, from = 0; o < here->unit_count; o++) {
      while (from < before->unit_count && before->units[from] < here->units[o])
        from++;
      const int choice = here->units[o] == i - 1
                             ? k % count
                             : before->choices[k / count * before->unit_count + from];
      choices[o] = representative(&b->space->units[here->units[o]], choice, here->aspects[o]);
    }
    l->next[k] = find_memory(here, choices);
    if (l->next[k] == NO_ROOM) {
      status = mpt_fail_memory(error, "the solver's memories", (size_t)here->count * sizeof(int));
      goto fail;
    }
    if (l->next[k] == TOO_MANY) {
      status = mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                        "too many tensors of the network are read far behind where they are made "
                        "(at layer '%s')",
                        b->graph->layers[b->space->units[i].layer].info.name);
      goto fail;
    }
  }
  l->memory_count = here->count;
fail:
  free(choices);
  return status;
}

/* ---- the problem ---- */

static mpt_status make_layer(builder *b, int i, const memories *before, memories *here,
                             mpt_error *error) {
  frontier_layer *l = &b->problem.layers[i];
  const size_t count = (size_t)b->space->units[i].choice_count;
  const size_t befores = i > 0 ? (size_t)b->space->units[i - 1].choice_count : 1;
  MPT_RETURN_IF_FAILED(make_memories(b, i, before, here, error));
  l->choice_count = (int)count;
  l->increase = b->increase[i];
  l->seconds = calloc(count, sizeof *l->seconds);
  l->conversion = calloc(befores * count, sizeof *l->conversion);
  l->memory_seconds = calloc((size_t)l->memory_count * count, sizeof *l->memory_seconds);
  double *rows = realloc(b->rows, befores * count * sizeof *rows);
  b->rows = rows != NULL ? rows : b->rows;
  if (l->seconds == NULL || l->conversion == NULL || l->memory_seconds == NULL || rows == NULL)
    return mpt_fail_memory(error, "the solver's times", befores * count * sizeof *rows);
  add_own(b, i);
  for (int k = 0; k < b->term_count; k++) {
    const term *t = &b->terms[k];
    if (last_unit(t) != i)
      continue;
    if (is_local(t, i))
      add_local(b, i, t);
    else
      add_distant(b, i, t, here);
  }
  return MPT_OK;
}

static mpt_status make_problem(builder *b, mpt_error *error) {
  mpt_status status = MPT_OK;
  memories before = {.count = 1}, here = {0};
  for (int u = 0; u < b->space->unit_count; u++)
    set_unit(b, u, 0);
  for (int i = 0; i < b->problem.layer_count; i++) {
    MPT_TRY(make_layer(b, i, &before, &here, error));
    free_memories(&before);
    before = here;
    here = (memories){0};
  }
  b->problem.fixed_seconds = cost_optimizer(b->graph, b->profile, b->optimizer);
  for (int k = 0; k < b->term_count; k++)
    if (b->terms[k].unit_count == 0)
      b->problem.fixed_seconds += term_seconds(b, &b->terms[k]);
fail:
  free_memories(&before);
  free_memories(&here);
  return status;
}

static void free_builder(builder *b) {
  for (int i = 0; b->problem.layers != NULL && i < b->problem.layer_count; i++) {
    frontier_layer *l = &b->problem.layers[i];
    free(l->seconds), free(l->conversion), free(l->memory_seconds), free(l->next);
  }
  free(b->problem.layers), free(b->terms), free(b->assignment), free(b->rows);
}

mpt_status space_solve(const space *s, const graph *priced, const profile *p,
                       const optimizer_spec *optimizer, double *const *increase, double budget,
                       int *choice, frontier_solution *certificate, mpt_error *error) {
  mpt_status status = MPT_OK;
  const size_t layers = (size_t)priced->layer_count, units = (size_t)s->unit_count;
  builder b = {.space = s,
               .graph = priced,
               .profile = p,
               .optimizer = optimizer,
               .batches = (double)optimizer->accumulate,
               .increase = increase};
  b.problem.layer_count = s->unit_count;
  b.problem.layers = calloc(units + 1, sizeof *b.problem.layers);
  b.assignment = malloc(layers * sizeof *b.assignment);
  if (b.problem.layers == NULL || b.assignment == NULL) {
    status = mpt_fail_memory(error, "the solver's problem", layers * sizeof *b.assignment);
    goto fail;
  }
  for (int i = 0; i < priced->layer_count; i++)
    b.assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
  MPT_TRY(make_terms(&b, error));
  MPT_TRY(make_problem(&b, error));
  MPT_TRY(frontier_solve(&b.problem, budget, FRONTIER_LABELS, certificate, error));
  memcpy(choice, certificate->choice, units * sizeof *choice);
fail:
  free_builder(&b);
  return status;
}
