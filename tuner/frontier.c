/* How it works. The states of a layer are (memory, choice). Backward dynamic programming with
 * weights (1, lambda) gives every state its potential: the least seconds + lambda * increase of the
 * layers to come. That is a lower bound of what a label (a partial assignment) can become,
 *
 *   seconds >= label.seconds + lambda label.increase + potential - lambda budget,
 *
 * for every lambda >= 0 (Lagrangian relaxation of the budget; Handler and Zang 1980), and the path
 * behind a potential is a completion to try. lambda = 0 bounds the seconds, lambda = infinity the
 * increase. The best lambda is found by secants of the convex dual. A forward pass then keeps, for
 * each state, the labels that no other dominates and that no bound excludes.
 */
#include "tuner/frontier.h"
#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_POTENTIALS 8
#define MAX_SECANTS    64
#define ROUNDING                                                                                   \
  1e-12 /* relative error allowed where sums are not exact: lambda times increase                  \
         */

typedef struct potential {
  double value; /* seconds + lambda * increase of the best completion */
  double seconds, increase;
  int next; /* its choice at the next layer */
} potential;

/* One layer without the choices that are never needed. A state is memory * choice_count + choice.
 */
typedef struct stage {
  int choice_count, memory_count, state_count;
  int *original;                 /* [choice] in the problem */
  double *increase;              /* [choice], rounded */
  double *arc;                   /* [choice of the stage before][choice]: seconds and conversion */
  double *extra;                 /* [memory][choice]: seconds that depend on the memory */
  int *next;                     /* [state of the stage before]: memory */
  potential *of[MAX_POTENTIALS]; /* [state] */
} stage;

typedef struct label {
  double seconds, increase;
  int32_t parent; /* label of the stage before, -1 */
  int32_t state;
} label;

typedef struct solver {
  int stage_count;
  stage *stages; /* [layer_count + 1]; stage 0 has one state and stands before the first layer */
  double seconds_quantum, increase_quantum;
  double budget;                 /* in steps of its quantum, those of rounding added */
  double most_increase;          /* of one choice, unrounded */
  double lambda[MAX_POTENTIALS]; /* 0: fastest, INFINITY: least increase, then secants */
  int potential_count;
  label *labels;
  int64_t label_count, label_capacity;
  bool found;
  double best_seconds, best_increase;
  int *best; /* [layer] choice of its stage */
} solver;

static double quantum_of(double total) {
  return total > 0.0 && isfinite(total) ? ldexp(1.0, ilogb(total) - 51) : 1.0;
}
static double rounded(double value, double quantum) {
  return rint(value / quantum) * quantum;
}

/* ---- reading the problem ---- */

static bool valid(const double *values, int count, bool finite) {
  for (int i = 0; values != NULL && i < count; i++)
    if (!(values[i] >= 0.0) || (finite && isinf(values[i])))
      return false;
  return true;
}

static mpt_status check(const frontier_problem *p, double budget, mpt_error *error) {
  if (p->layer_count <= 0 || isnan(budget) || !isfinite(p->fixed_seconds))
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the solver was given no layers or no budget");
  for (int i = 0; i < p->layer_count; i++) {
    const frontier_layer *l = &p->layers[i];
    const int before = i > 0 ? p->layers[i - 1].choice_count : 0;
    if (!valid(l->seconds, l->choice_count, true) || !valid(l->increase, l->choice_count, false) ||
        !valid(l->conversion, before * l->choice_count, true) ||
        !valid(l->memory_seconds, l->memory_count * l->choice_count, true))
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "the solver was given a time or an increase of layer %d that is negative or "
                      "not a number",
                      i);
  }
  return MPT_OK;
}

static double conversion_of(const frontier_problem *p, int i, int q, int c) {
  const frontier_layer *l = &p->layers[i];
  return i == 0 || l->conversion == NULL ? 0.0 : l->conversion[q * l->choice_count + c];
}

static double memory_of(const frontier_layer *l, int memory, int c) {
  return l->memory_seconds == NULL ? 0.0 : l->memory_seconds[memory * l->choice_count + c];
}

static int next_of(const frontier_problem *p, int i, int memory, int q) {
  const frontier_layer *l = &p->layers[i];
  return i == 0 || l->next == NULL ? 0 : l->next[memory * p->layers[i - 1].choice_count + q];
}

static double largest(const double *values, int count) {
  double most = 0.0;
  for (int i = 0; values != NULL && i < count; i++)
    most = fmax(most, values[i]);
  return most;
}

/* Largest possible total, which sets the step that times are rounded to. */
static double total_seconds(const frontier_problem *p) {
  double total = 0.0;
  for (int i = 0; i < p->layer_count; i++) {
    const frontier_layer *l = &p->layers[i];
    total += largest(l->seconds, l->choice_count) +
             largest(l->memory_seconds, l->memory_count * l->choice_count);
    if (i > 0)
      total += largest(l->conversion, p->layers[i - 1].choice_count * l->choice_count);
  }
  return total;
}

/* Largest total of increases that may matter: choices above the budget never do. */
static double total_increase(const frontier_problem *p, double most_increase) {
  double total = 0.0;
  for (int i = 0; i < p->layer_count; i++) {
    double most = 0.0;
    for (int c = 0; c < p->layers[i].choice_count; c++) {
      const double increase = p->layers[i].increase[c];
      if (isfinite(increase) && increase <= most_increase)
        most = fmax(most, increase);
    }
    total += most;
  }
  return total;
}

/* Whether choice d of layer i serves at least as well as c, whatever the others are. */
static bool serves_as_well(const frontier_problem *p, int i, int d, int c) {
  const frontier_layer *l = &p->layers[i];
  if (l->increase[d] > l->increase[c] || l->seconds[d] > l->seconds[c])
    return false;
  double worse = l->seconds[d] - l->seconds[c];
  double most = i > 0 ? -INFINITY : 0.0;
  for (int q = 0; i > 0 && q < p->layers[i - 1].choice_count; q++)
    most = fmax(most, conversion_of(p, i, q, d) - conversion_of(p, i, q, c));
  if ((worse += most) > 0.0)
    return false;
  most = -INFINITY;
  for (int m = 0; m < l->memory_count; m++)
    most = fmax(most, memory_of(l, m, d) - memory_of(l, m, c));
  if ((worse += most) > 0.0)
    return false;
  if (i + 1 == p->layer_count)
    return true;
  most = -INFINITY;
  for (int n = 0; n < p->layers[i + 1].choice_count; n++)
    most = fmax(most, conversion_of(p, i + 1, d, n) - conversion_of(p, i + 1, c, n));
  for (int m = 0; m < l->memory_count; m++)
    if (next_of(p, i + 1, m, d) != next_of(p, i + 1, m, c))
      return false;
  return worse + most <= 0.0;
}

static bool needed(const solver *s, const frontier_problem *p, int i, int c) {
  const frontier_layer *l = &p->layers[i];
  if (!isfinite(l->increase[c]) || l->increase[c] > s->most_increase)
    return false;
  for (int d = 0; d < l->choice_count; d++)
    if (d != c && serves_as_well(p, i, d, c) && (d < c || !serves_as_well(p, i, c, d)))
      return false;
  return true;
}

/* Stage i + 1 from layer i; false when memory runs out. */
static bool make_stage(solver *s, const frontier_problem *p, int i) {
  const frontier_layer *l = &p->layers[i];
  stage *t = &s->stages[i + 1];
  const stage *before = t - 1;
  const size_t most = (size_t)l->choice_count;
  t->memory_count = l->memory_count;
  t->original = malloc(most * sizeof *t->original);
  t->increase = malloc(most * sizeof *t->increase);
  t->arc = malloc((size_t)before->choice_count * most * sizeof *t->arc);
  t->extra = malloc((size_t)t->memory_count * most * sizeof *t->extra);
  t->next = malloc((size_t)before->state_count * sizeof *t->next);
  if (t->original == NULL || t->increase == NULL || t->arc == NULL || t->extra == NULL ||
      t->next == NULL)
    return false;
  for (int c = 0; c < l->choice_count; c++)
    if (needed(s, p, i, c)) {
      t->increase[t->choice_count] = rounded(l->increase[c], s->increase_quantum);
      t->original[t->choice_count++] = c;
    }
  for (int c = 0; c < t->choice_count; c++) {
    const int o = t->original[c];
    for (int q = 0; q < before->choice_count; q++)
      t->arc[q * t->choice_count + c] =
          rounded(l->seconds[o], s->seconds_quantum) +
          rounded(conversion_of(p, i, before->original[q], o), s->seconds_quantum);
    for (int m = 0; m < t->memory_count; m++)
      t->extra[m * t->choice_count + c] = rounded(memory_of(l, m, o), s->seconds_quantum);
  }
  for (int state = 0; state < before->state_count; state++)
    t->next[state] =
        next_of(p, i, state / before->choice_count, before->original[state % before->choice_count]);
  t->state_count = t->memory_count * t->choice_count;
  return true;
}

static mpt_status make_stages(solver *s, const frontier_problem *p, mpt_error *error) {
  const size_t count = (size_t)p->layer_count + 1;
  s->stage_count = p->layer_count + 1;
  s->stages = calloc(count, sizeof *s->stages);
  s->best = malloc(count * sizeof *s->best);
  if (s->stages == NULL || s->best == NULL)
    return mpt_fail_memory(error, "the solver's layers", sizeof(stage) * count);
  stage *start = &s->stages[0];
  start->choice_count = start->memory_count = start->state_count = 1;
  start->original = calloc(1, sizeof *start->original);
  for (int i = 0; i < p->layer_count; i++) {
    if (start->original == NULL || !make_stage(s, p, i))
      return mpt_fail_memory(error, "the solver's choices",
                             (size_t)p->layers[i].choice_count * sizeof(double));
    if (s->stages[i + 1].choice_count == 0)
      return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                      "nothing meets the budget: no choice of layer %d alone is within it", i);
  }
  return MPT_OK;
}

/* ---- arcs: from a state of the stage before to choice c of stage t ---- */

static inline int arc_target(const stage *t, int state, int c) {
  return t->next[state] * t->choice_count + c;
}

static inline double arc_seconds(const stage *t, int q, int state, int c) {
  return t->arc[q * t->choice_count + c] + t->extra[arc_target(t, state, c)];
}

/* ---- potentials ---- */

static double weighted(double lambda, double seconds, double increase) {
  return isinf(lambda) ? increase : seconds + lambda * increase;
}

/* Least value, then least of what lambda leaves out. */
static bool better(double lambda, const potential *a, const potential *b) {
  if (a->value != b->value)
    return a->value < b->value;
  return isinf(lambda) ? a->seconds < b->seconds : a->increase < b->increase;
}

/* Fills slot `slot` for its lambda. */
static bool make_potentials(solver *s, int slot) {
  const double lambda = s->lambda[slot];
  for (int i = s->stage_count - 1; i >= 0; i--) {
    stage *t = &s->stages[i];
    if (t->of[slot] == NULL)
      t->of[slot] = malloc((size_t)t->state_count * sizeof *t->of[slot]);
    if (t->of[slot] == NULL)
      return false;
    for (int state = 0; state < t->state_count; state++) {
      potential best = {.next = -1};
      const stage *next = t + 1;
      const int q = state % t->choice_count;
      for (int c = 0; i + 1 < s->stage_count && c < next->choice_count; c++) {
        const potential *rest = &next->of[slot][arc_target(next, state, c)];
        potential made = {.next = c};
        made.seconds = arc_seconds(next, q, state, c) + rest->seconds;
        made.increase = next->increase[c] + rest->increase;
        made.value = weighted(lambda, made.seconds, made.increase);
        if (c == 0 || better(lambda, &made, &best))
          best = made;
      }
      t->of[slot][state] = best;
    }
  }
  return true;
}

/* Takes the completion of slot `slot` behind label `from` of stage `i` as the best so far, when it
 * is; from -1 is the start. */
static void offer(solver *s, int slot, int i, int64_t from) {
  label at = {.parent = -1};
  if (from >= 0)
    at = s->labels[from];
  const potential *rest = &s->stages[i].of[slot][at.state];
  const double seconds = at.seconds + rest->seconds, increase = at.increase + rest->increase;
  if (increase > s->budget ||
      (s->found &&
       (seconds > s->best_seconds || (seconds == s->best_seconds && increase >= s->best_increase))))
    return;
  s->found = true, s->best_seconds = seconds, s->best_increase = increase;
  int64_t walk = from;
  for (int j = i; j > 0; j--) {
    s->best[j - 1] = s->labels[walk].state % s->stages[j].choice_count;
    walk = s->labels[walk].parent;
  }
  for (int j = i, state = at.state; j + 1 < s->stage_count; j++) {
    s->best[j] = s->stages[j].of[slot][state].next;
    state = arc_target(&s->stages[j + 1], state, s->best[j]);
  }
}

/* Maximises the dual over lambda: the secant through the last assignment above the budget and the
 * last within it touches the convex hull of all assignments, or finds a better one. Slots 0 and 1
 * are fastest and least increase; the others are used in turn, the last one is the best lambda. */
static bool find_lambda(solver *s, double *dual) {
  potential above = s->stages[0].of[0][0], within = s->stages[0].of[1][0];
  *dual = above.seconds;
  for (int turn = 0; turn < MAX_SECANTS && above.increase > s->budget; turn++) {
    const double lambda = (within.seconds - above.seconds) / (above.increase - within.increase);
    const int slot = 2 + turn % (MAX_POTENTIALS - 2);
    if (slot >= s->potential_count)
      s->potential_count = slot + 1;
    s->lambda[slot] = lambda;
    if (!make_potentials(s, slot))
      return false;
    offer(s, slot, 0, -1);
    const potential found = s->stages[0].of[slot][0];
    *dual = fmax(*dual, found.value - lambda * s->budget);
    const double secant = above.seconds + lambda * above.increase;
    if (found.value >= secant - ROUNDING * fabs(secant))
      break;
    if (found.increase > s->budget)
      above = found;
    else
      within = found;
  }
  return true;
}

/* ---- labels ---- */

/* Least seconds that the label can end with; INFINITY when it can't beat the best so far. */
static double label_bound(const solver *s, const stage *t, const label *l) {
  const potential *least = &t->of[1][l->state];
  if (l->increase + least->increase > s->budget)
    return INFINITY;
  double bound = l->seconds + t->of[0][l->state].seconds;
  double slack = 0.0;
  for (int slot = 2; slot < s->potential_count; slot++) {
    const double rest = s->lambda[slot] * s->budget;
    const double relaxed =
        l->seconds + s->lambda[slot] * l->increase + t->of[slot][l->state].value - rest;
    if (relaxed > bound) {
      bound = relaxed;
      slack = ROUNDING * (s->best_seconds + rest);
    }
  }
  if (bound > s->best_seconds + slack)
    return INFINITY;
  /* No faster: only less increase at the same seconds would be better. */
  if (bound >= s->best_seconds - slack && l->increase + least->increase >= s->best_increase)
    return INFINITY;
  return bound - slack;
}

static int compare_labels(const void *a, const void *b) {
  const label *x = a, *y = b;
  if (x->state != y->state)
    return x->state < y->state ? -1 : 1;
  if (x->seconds != y->seconds)
    return x->seconds < y->seconds ? -1 : 1;
  if (x->increase != y->increase)
    return x->increase < y->increase ? -1 : 1;
  return x->parent < y->parent ? -1 : x->parent > y->parent;
}

static bool reserve(solver *s, int64_t count) {
  if (count <= s->label_capacity)
    return true;
  const int64_t capacity = count > 2 * s->label_capacity ? count : 2 * s->label_capacity;
  label *grown = realloc(s->labels, (size_t)capacity * sizeof *grown);
  if (grown == NULL)
    return false;
  s->labels = grown, s->label_capacity = capacity;
  return true;
}

/* Extends the labels [from, to) of stage i to stage i + 1; leaves those that are not dominated at
 * the end of the array, the ones that may end fastest having been completed. */
static bool extend(solver *s, int i, int64_t from, int64_t to, int64_t limit) {
  const stage *t = &s->stages[i], *next = t + 1;
  for (int64_t k = from; k < to; k++)
    for (int c = 0; c < next->choice_count; c++) {
      const label *l = &s->labels[k];
      const int q = l->state % t->choice_count;
      const label made = {.seconds = l->seconds + arc_seconds(next, q, l->state, c),
                          .increase = l->increase + next->increase[c],
                          .parent = (int32_t)k,
                          .state = arc_target(next, l->state, c)};
      if (isinf(label_bound(s, next, &made)))
        continue;
      if (s->label_count >= limit || !reserve(s, s->label_count + 1))
        return false;
      s->labels[s->label_count++] = made;
      for (int slot = 0; slot < s->potential_count; slot++)
        offer(s, slot, i + 1, s->label_count - 1);
    }
  if (s->label_count == to)
    return true;
  qsort(s->labels + to, (size_t)(s->label_count - to), sizeof(label), compare_labels);
  int64_t kept = to;
  for (int64_t k = to; k < s->label_count; k++) {
    const label l = s->labels[k], *last = &s->labels[kept - 1];
    if (kept > to && last->state == l.state && last->increase <= l.increase)
      continue;
    if (isfinite(label_bound(s, next, &l)))
      s->labels[kept++] = l;
  }
  s->label_count = kept;
  return true;
}

/* Least seconds that any label of [from, to) of stage i can end with. */
static double frontier_bound(const solver *s, int i, int64_t from, int64_t to) {
  double bound = s->best_seconds;
  for (int64_t k = from; k < to; k++)
    bound = fmin(bound, label_bound(s, &s->stages[i], &s->labels[k]));
  return bound;
}

static mpt_status search(solver *s, int64_t label_limit, double *bound, mpt_error *error) {
  for (int slot = 0; slot < 2; slot++) {
    s->lambda[slot] = slot == 0 ? 0.0 : INFINITY;
    if (!make_potentials(s, slot))
      return mpt_fail_memory(error, "the solver's potentials", sizeof(potential));
  }
  s->potential_count = 2;
  const potential least = s->stages[0].of[1][0];
  if (least.increase > s->budget)
    return mpt_fail(error, MPT_ERROR_NOT_FOUND,
                    "nothing meets the budget %g: the least increase predicted is %g", s->budget,
                    least.increase);
  offer(s, 0, 0, -1);
  offer(s, 1, 0, -1);
  double dual;
  if (!find_lambda(s, &dual) || !reserve(s, 1024))
    return mpt_fail_memory(error, "the solver's labels", sizeof(label));
  s->labels[0] = (label){.parent = -1};
  s->label_count = 1;
  int64_t from = 0;
  for (int i = 0; i + 1 < s->stage_count; i++) {
    const int64_t to = s->label_count;
    if (!extend(s, i, from, to, label_limit)) {
      *bound = fmin(s->best_seconds, fmax(dual, frontier_bound(s, i, from, to)));
      return MPT_OK;
    }
    from = to;
  }
  *bound = s->best_seconds;
  return MPT_OK;
}

static void free_solver(solver *s) {
  for (int i = 0; s->stages != NULL && i < s->stage_count; i++) {
    stage *t = &s->stages[i];
    free(t->original), free(t->increase), free(t->arc), free(t->extra), free(t->next);
    for (int slot = 0; slot < MAX_POTENTIALS; slot++)
      free(t->of[slot]);
  }
  free(s->stages), free(s->labels), free(s->best);
}

/* Seconds and increase of choices, in the problem's own numbers. */
static void evaluate(const frontier_problem *p, frontier_solution *solution) {
  int memory = 0;
  solution->seconds = p->fixed_seconds, solution->increase = 0.0;
  for (int i = 0; i < p->layer_count; i++) {
    const int c = solution->choice[i], q = i > 0 ? solution->choice[i - 1] : 0;
    memory = next_of(p, i, memory, q);
    solution->seconds +=
        p->layers[i].seconds[c] + conversion_of(p, i, q, c) + memory_of(&p->layers[i], memory, c);
    solution->increase += p->layers[i].increase[c];
  }
}

mpt_status frontier_solve(const frontier_problem *problem, double budget, int64_t label_limit,
                          frontier_solution *solution, mpt_error *error) {
  solver s = {0};
  double bound = 0.0;
  int *choice = NULL;
  mpt_status status = check(problem, budget, error);
  if (status != MPT_OK)
    return status;
  s.seconds_quantum = quantum_of(total_seconds(problem));
  s.most_increase = budget * (1.0 + ROUNDING);
  const double total = total_increase(problem, s.most_increase);
  s.increase_quantum = quantum_of(total);
  /* Rounding moves a sum by half a step for each layer at most. */
  s.budget = fmin(budget, total) + problem->layer_count * s.increase_quantum * (total > 0.0);
  MPT_TRY(make_stages(&s, problem, error));
  label_limit = label_limit < INT32_MAX ? label_limit : INT32_MAX;
  MPT_TRY(search(&s, label_limit, &bound, error));
  choice = malloc((size_t)problem->layer_count * sizeof *choice);
  if (choice == NULL) {
    status = mpt_fail_memory(error, "the solver's answer", sizeof *choice);
    goto fail;
  }
  for (int i = 0; i < problem->layer_count; i++)
    choice[i] = s.stages[i + 1].original[s.best[i]];
  *solution = (frontier_solution){.choice = choice, .labels = s.label_count};
  evaluate(problem, solution);
  solution->gap = s.best_seconds - bound;
  solution->bound = solution->seconds - solution->gap;
fail:
  free_solver(&s);
  return status;
}

void frontier_clear(frontier_solution *solution) {
  free(solution->choice);
  *solution = (frontier_solution){0};
}
