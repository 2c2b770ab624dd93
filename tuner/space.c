#include "tuner/space.h"
#include "base/error.h"
#include <stdlib.h>

/* ---- choices ---- */

static bool is_native(const profile *p, mpt_precision precision) {
  static const uint32_t formats[MPT_PRECISION_COUNT] = {[MPT_PRECISION_FP32] = 1u << MPT_FP32,
                                                        [MPT_PRECISION_TF32] = 1u << MPT_TF32,
                                                        [MPT_PRECISION_BF16] = 1u << MPT_BF16,
                                                        [MPT_PRECISION_FP16] = 1u << MPT_FP16,
                                                        [MPT_PRECISION_FP8] = 1u << MPT_FP8_E4M3 |
                                                                              1u << MPT_FP8_E5M2};
  return (p->formats & formats[precision]) == formats[precision];
}

mpt_layer_policy space_policy_of(const space *s, mpt_precision precision) {
  mpt_layer_policy policy = mpt_layer_policy_of(precision);
  if (s->fast && precision == MPT_PRECISION_FP8)
    policy.gemm[MPT_FPROP].accumulate = MPT_ACCUMULATE_FAST;
  return policy;
}

static mpt_layer_policy mixed(const space *s, mpt_precision fprop, mpt_precision dgrad,
                              mpt_precision wgrad) {
  mpt_layer_policy policy = space_policy_of(s, fprop);
  policy.gemm[MPT_DGRAD] = mpt_gemm_policy_of(MPT_DGRAD, dgrad);
  policy.gemm[MPT_WGRAD] = mpt_gemm_policy_of(MPT_WGRAD, wgrad);
  return policy;
}

static void add_choice(space_unit *unit, mpt_layer_policy policy) {
  for (int c = 0; c < unit->choice_count; c++)
    if (mpt_layer_policy_equal(&unit->choices[c], &policy))
      return;
  unit->choices[unit->choice_count++] = policy;
}

/* The uniform choices in the order of `precisions`, then the mixed ones. A layer that makes no
 * dgrad has none to choose: it is written as its fprop. */
static void add_choices(const space *s, const graph *g, space_unit *unit,
                        const mpt_precision *precisions, int count, bool per_gemm) {
  const char *kind = g->layers[unit->layer].info.kind;
  for (int a = 0; a < count; a++)
    add_choice(unit, space_policy_of(s, mpt_precision_for(kind, precisions[a])));
  if (!per_gemm || !g->layers[unit->layer].has_gemm)
    return;
  for (int a = 0; a < count; a++)
    for (int b = 0; b < count; b++)
      for (int c = 0; c < count; c++)
        if (graph_makes_dgrad(g, unit->layer) || a == b)
          add_choice(unit, mixed(s, precisions[a], precisions[b], precisions[c]));
}

static const pin_spec *find_pin(const workload *w, const char *name) {
  for (int i = 0; i < w->pin_count; i++)
    if (mpt_glob_match(w->pins[i].layers, name))
      return &w->pins[i];
  return NULL;
}

static mpt_status make_choices(const space *s, const workload *w, const profile *p,
                               space_unit *unit, mpt_error *error) {
  const graph *g = s->graph;
  const pin_spec *pin = find_pin(w, g->layers[unit->layer].info.name);
  mpt_precision permitted[MPT_PRECISION_COUNT];
  int count = 0;
  if (pin != NULL)
    permitted[count++] = pin->precision;
  for (int turn = 0; pin == NULL && turn < 2; turn++)
    for (int q = 0; q < MPT_PRECISION_COUNT; q++) {
      const mpt_precision precision = (mpt_precision)q;
      if ((precision == w->reference) == (turn == 0) && is_native(p, precision) &&
          (w->excluded >> q & 1) == 0)
        permitted[count++] = precision;
    }
  if (count == 0)
    return mpt_fail(error, MPT_ERROR_SYNTAX,
                    "'%s' excludes every format that the device '%s' has; leave one in", w->path,
                    p->name);
  unit->choices = malloc((size_t)(count * count * count + count) * sizeof *unit->choices);
  if (unit->choices == NULL)
    return mpt_fail_memory(error, "the search space", sizeof *unit->choices);
  add_choices(s, g, unit, permitted, count, w->per_gemm);
  return MPT_OK;
}

static mpt_status check_pins(const workload *w, const graph *g, const profile *p,
                             mpt_error *error) {
  for (int i = 0; i < w->pin_count; i++) {
    const pin_spec *pin = &w->pins[i];
    bool matched = false;
    for (int k = 0; k < g->layer_count && !matched; k++)
      matched = mpt_glob_match(pin->layers, g->layers[k].info.name);
    if (!matched)
      return mpt_fail_at(error, MPT_ERROR_SYNTAX, w->path, pin->line, pin->column,
                         "pin '%s' matches no layer; 'mptune observe' lists them", pin->layers);
    if (!is_native(p, pin->precision))
      return mpt_fail_at(error, MPT_ERROR_SYNTAX, w->path, pin->line, pin->column,
                         "pin '%s' asks for %s, which the device '%s' lacks", pin->layers,
                         mpt_precision_name(pin->precision), p->name);
  }
  return MPT_OK;
}

/* ---- units ---- */

mpt_status space_build(const workload *w, const graph *g, const profile *p, bool fast, space **out,
                       mpt_error *error) {
  mpt_status status = MPT_OK;
  const size_t count = (size_t)g->layer_count;
  space *s = calloc(1, sizeof *s);
  if (s == NULL)
    return mpt_fail_memory(error, "the search space", sizeof *s);
  s->workload = w;
  s->graph = g;
  s->fast = fast;
  s->units = calloc(count, sizeof *s->units);
  s->leader_of_layer = calloc(count, sizeof *s->leader_of_layer);
  if (s->units == NULL || s->leader_of_layer == NULL) {
    status = mpt_fail_memory(error, "the search space", count * sizeof *s->units);
    goto fail;
  }
  MPT_TRY(check_pins(w, g, p, error));
  for (int i = 0; i < g->layer_count; i++) {
    const int producer = g->tensors[g->layers[i].inputs[0]].producer;
    const int leader = producer < 0 ? -1 : s->leader_of_layer[producer];
    s->leader_of_layer[i] = leader;
    if (!graph_is_chosen(w, g, i))
      continue;
    s->leader_of_layer[i] = s->unit_count;
    space_unit *unit = &s->units[s->unit_count++];
    unit->layer = i, unit->leader = leader;
    MPT_TRY(make_choices(s, w, p, unit, error));
  }
  *out = s;
  return MPT_OK;
fail:
  space_free(s);
  return status;
}

void space_free(space *s) {
  if (s == NULL)
    return;
  for (int u = 0; s->units != NULL && u < s->unit_count; u++)
    free(s->units[u].choices);
  free(s->units);
  free(s->leader_of_layer);
  free(s);
}

/* ---- assignments ---- */

mpt_layer_policy space_layer_policy(const space *s, int layer, const mpt_layer_policy *leader) {
  const int u = s->leader_of_layer[layer];
  if (u >= 0 && s->units[u].layer == layer)
    return *leader;
  const char *kind = s->graph->layers[layer].info.kind; /* of one that follows: without GEMMs */
  return mpt_layer_policy_of(mpt_precision_for(kind, leader->gemm[MPT_FPROP].precision));
}

void space_assignment(const space *s, const int *choice, mpt_layer_policy *assignment) {
  for (int i = 0; i < s->graph->layer_count; i++) {
    const int u = s->leader_of_layer[i];
    assignment[i] = u < 0 ? mpt_layer_policy_of(MPT_PRECISION_FP32)
                          : space_layer_policy(s, i, &s->units[u].choices[choice[u]]);
  }
}

static bool find_choice(const space_unit *unit, const mpt_layer_policy *policy, int *choice) {
  for (int c = 0; c < unit->choice_count; c++)
    if (mpt_layer_policy_equal(&unit->choices[c], policy)) {
      *choice = c;
      return true;
    }
  return false;
}

bool space_choices(const space *s, const mpt_layer_policy *assignment, int *choice) {
  const mpt_layer_policy data = mpt_layer_policy_of(MPT_PRECISION_FP32);
  for (int u = 0; u < s->unit_count; u++)
    if (!find_choice(&s->units[u], &assignment[s->units[u].layer], &choice[u]))
      return false;
  for (int i = 0; i < s->graph->layer_count; i++) {
    const int u = s->leader_of_layer[i];
    const mpt_layer_policy expected =
        u < 0 ? data : space_layer_policy(s, i, &s->units[u].choices[choice[u]]);
    if (!mpt_layer_policy_equal(&expected, &assignment[i]))
      return false;
  }
  return true;
}

static bool uses(const mpt_layer_policy *policy, uint32_t precisions) {
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    if ((precisions >> policy->gemm[g].precision & 1) != 0)
      return true;
  return false;
}

const char *space_refusal(const space *s, const profile *p, const mpt_layer_policy *assignment) {
  uint32_t foreign = 0;
  for (int q = 0; q < MPT_PRECISION_COUNT; q++)
    foreign |= is_native(p, (mpt_precision)q) ? 0 : 1u << q;
  for (int u = 0; u < s->unit_count; u++) {
    int choice;
    const int layer = s->units[u].layer;
    if (find_choice(&s->units[u], &assignment[layer], &choice))
      continue;
    if (find_pin(s->workload, s->graph->layers[layer].info.name) != NULL)
      return "against a pin";
    if (uses(&assignment[layer], s->workload->excluded))
      return "excluded";
    return uses(&assignment[layer], foreign) ? "not native" : "not searched";
  }
  return NULL;
}

/* Whether the whole unit may have that precision. */
static bool has_uniform(const space *s, const space_unit *unit, mpt_precision precision) {
  const char *kind = s->graph->layers[unit->layer].info.kind;
  const mpt_layer_policy policy = space_policy_of(s, mpt_precision_for(kind, precision));
  int choice;
  return find_choice(unit, &policy, &choice);
}

/* The precision itself, or what stands in for it. */
static mpt_precision nearest_permitted(const space *s, const space_unit *unit,
                                       mpt_precision wanted) {
  static const mpt_precision stand_ins[MPT_PRECISION_COUNT][MPT_PRECISION_COUNT] = {
      [MPT_PRECISION_FP32] = {MPT_PRECISION_FP32, MPT_PRECISION_TF32, MPT_PRECISION_FP16,
                              MPT_PRECISION_BF16, MPT_PRECISION_FP8},
      [MPT_PRECISION_TF32] = {MPT_PRECISION_TF32, MPT_PRECISION_FP32, MPT_PRECISION_FP16,
                              MPT_PRECISION_BF16, MPT_PRECISION_FP8},
      [MPT_PRECISION_BF16] = {MPT_PRECISION_BF16, MPT_PRECISION_FP16, MPT_PRECISION_TF32,
                              MPT_PRECISION_FP32, MPT_PRECISION_FP8},
      [MPT_PRECISION_FP16] = {MPT_PRECISION_FP16, MPT_PRECISION_BF16, MPT_PRECISION_TF32,
                              MPT_PRECISION_FP32, MPT_PRECISION_FP8},
      [MPT_PRECISION_FP8] = {MPT_PRECISION_FP8, MPT_PRECISION_BF16, MPT_PRECISION_FP16,
                             MPT_PRECISION_TF32, MPT_PRECISION_FP32}};
  for (int i = 0; i < MPT_PRECISION_COUNT; i++)
    if (has_uniform(s, unit, stand_ins[wanted][i]))
      return stand_ins[wanted][i];
  return wanted;
}

static mpt_layer_policy project_unit(const space *s, const space_unit *unit,
                                     const mpt_layer_policy *wanted) {
  const char *kind = s->graph->layers[unit->layer].info.kind;
  mpt_layer_policy policy = mpt_layer_policy_for(kind, wanted); /* attention in fp8 is in bf16 */
  int choice;
  if (find_choice(unit, &policy, &choice))
    return policy;
  for (int g = 0; g < MPT_GEMM_COUNT; g++) {
    const mpt_precision p =
        mpt_precision_for(kind, nearest_permitted(s, unit, policy.gemm[g].precision));
    if (p != policy.gemm[g].precision)
      policy.gemm[g] = space_policy_of(s, p).gemm[g];
  }
  return policy;
}

bool space_project(const space *s, mpt_layer_policy *assignment) {
  bool changed = false;
  for (int i = 0; i < s->graph->layer_count; i++) {
    const int u = s->leader_of_layer[i];
    const mpt_layer_policy old = assignment[i];
    if (u < 0)
      assignment[i] = mpt_layer_policy_of(MPT_PRECISION_FP32);
    else if (s->units[u].layer == i)
      assignment[i] = project_unit(s, &s->units[u], &old);
    else
      assignment[i] = space_layer_policy(s, i, &assignment[s->units[u].layer]);
    changed = changed || !mpt_layer_policy_equal(&old, &assignment[i]);
  }
  return changed;
}

void space_uniform(const space *s, mpt_precision precision, mpt_layer_policy *assignment,
                   bool *permitted) {
  graph_uniform(s->workload, s->graph, precision, s->fast, assignment);
  *permitted = true;
  for (int u = 0; u < s->unit_count; u++) {
    int choice;
    *permitted = *permitted && find_choice(&s->units[u], &assignment[s->units[u].layer], &choice);
  }
}
