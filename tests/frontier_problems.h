/* Random problems for the solver, and what an answer costs, counted independently of it. */
#ifndef FRONTIER_PROBLEMS_H
#define FRONTIER_PROBLEMS_H

#include "tuner/frontier.h"
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdlib.h>

typedef struct problem_kind {
  int layers, choices;
  double group_share; /* of layers that stand in groups of three */
  double veto_share;  /* of choices */
  int levels;         /* 0: continuous; else times and increases are small integers: many ties */
  bool equal_layers;  /* every layer has the numbers of the first: a deep network of like blocks */
  double conversion;  /* of the size of a layer's time */
} problem_kind;

/* A chain in which groups of three layers read one tensor: each choice needs some copies of it, and
 * a copy is paid for once in the group. */
typedef struct chain {
  int layer_count, group_count;
  int *choice_count;
  double **seconds, **increase; /* [layer][choice] */
  double ***conversion;         /* [layer][choice before][choice] */
  int *group;                   /* [layer]: -1 none */
  uint32_t **copies;            /* [layer][choice]: bit set */
  double **copy_seconds;        /* [group][bit] */
  double fixed_seconds;
} chain;

static double problem_draw(gsl_rng *random, const problem_kind *kind) {
  return kind->levels > 0 ? (double)gsl_rng_uniform_int(random, (unsigned long)kind->levels)
                          : gsl_rng_uniform(random);
}

/* Faster choices tend to increase more, as formats do. */
static chain chain_make(gsl_rng *random, const problem_kind *kind) {
  chain p = {.layer_count = kind->layers, .fixed_seconds = 1.0};
  const size_t n = (size_t)kind->layers;
  p.choice_count = calloc(n, sizeof *p.choice_count);
  p.seconds = calloc(n, sizeof *p.seconds);
  p.increase = calloc(n, sizeof *p.increase);
  p.conversion = calloc(n, sizeof *p.conversion);
  p.group = calloc(n, sizeof *p.group);
  p.copies = calloc(n, sizeof *p.copies);
  p.copy_seconds = calloc(n, sizeof *p.copy_seconds);
  for (int i = 0; i < kind->layers; i++)
    p.group[i] = -1;
  for (int i = 0; i + 3 <= kind->layers; i += 3 + (int)gsl_rng_uniform_int(random, 3)) {
    if (gsl_rng_uniform(random) >= kind->group_share)
      continue;
    p.copy_seconds[p.group_count] = calloc(32, sizeof(double));
    for (int bit = 0; bit < 6; bit++)
      p.copy_seconds[p.group_count][bit] = problem_draw(random, kind);
    p.group[i] = p.group[i + 1] = p.group[i + 2] = p.group_count++;
  }
  for (int i = 0; i < kind->layers; i++) {
    const int m = p.choice_count[i] = kind->choices;
    p.seconds[i] = calloc((size_t)m, sizeof(double));
    p.increase[i] = calloc((size_t)m, sizeof(double));
    p.copies[i] = p.group[i] < 0 ? NULL : calloc((size_t)m, sizeof(uint32_t));
    for (int c = 0; c < m; c++) {
      p.seconds[i][c] = (m - c) + 2.0 * problem_draw(random, kind);
      p.increase[i][c] = c * problem_draw(random, kind);
      if (i > 0 && kind->equal_layers)
        p.seconds[i][c] = p.seconds[0][c], p.increase[i][c] = p.increase[0][c];
      if (c > 0 && gsl_rng_uniform(random) < kind->veto_share)
        p.increase[i][c] = INFINITY;
      for (int k = 0; p.copies[i] != NULL && k < 2; k++)
        p.copies[i][c] |= 1u << gsl_rng_uniform_int(random, 6);
    }
    if (i == 0)
      continue;
    p.conversion[i] = calloc((size_t)p.choice_count[i - 1], sizeof(double *));
    for (int q = 0; q < p.choice_count[i - 1]; q++) {
      p.conversion[i][q] = calloc((size_t)m, sizeof(double));
      for (int c = 0; c < m; c++)
        if (q != c)
          p.conversion[i][q][c] = i > 1 && kind->equal_layers
                                      ? p.conversion[1][q][c]
                                      : kind->conversion * problem_draw(random, kind);
    }
  }
  return p;
}

static void chain_free(chain *p) {
  for (int i = 0; i < p->layer_count; i++) {
    for (int q = 0; i > 0 && q < p->choice_count[i - 1]; q++)
      free(p->conversion[i][q]);
    free(p->conversion[i]), free(p->seconds[i]), free(p->increase[i]), free(p->copies[i]);
  }
  for (int g = 0; g < p->group_count; g++)
    free(p->copy_seconds[g]);
  free(p->choice_count), free(p->seconds), free(p->increase), free(p->conversion);
  free(p->group), free(p->copies), free(p->copy_seconds);
}

static void chain_count(const chain *p, const int *choice, double *seconds, double *increase) {
  *seconds = p->fixed_seconds, *increase = 0.0;
  for (int i = 0; i < p->layer_count; i++) {
    *seconds += p->seconds[i][choice[i]];
    *increase += p->increase[i][choice[i]];
    if (i > 0)
      *seconds += p->conversion[i][choice[i - 1]][choice[i]];
  }
  for (int g = 0; g < p->group_count; g++) {
    uint32_t needed = 0;
    for (int i = 0; i < p->layer_count; i++)
      if (p->group[i] == g)
        needed |= p->copies[i][choice[i]];
    for (int bit = 0; bit < 32; bit++)
      if (needed >> bit & 1)
        *seconds += p->copy_seconds[g][bit];
  }
}

/* The same for the solver: before a layer of a group, the memory is the set of copies made. */
static frontier_problem problem_of(const chain *p) {
  frontier_problem made = {.layer_count = p->layer_count, .fixed_seconds = p->fixed_seconds};
  uint32_t masks[2][64] = {{0}}, *before = masks[0], *here = masks[1];
  made.layers = calloc((size_t)p->layer_count, sizeof *made.layers);
  for (int i = 0; i < p->layer_count; i++) {
    frontier_layer *l = &made.layers[i];
    const int m = l->choice_count = p->choice_count[i], b = i > 0 ? p->choice_count[i - 1] : 0;
    const bool inside = i > 0 && p->group[i] >= 0 && p->group[i] == p->group[i - 1];
    l->seconds = p->seconds[i], l->increase = p->increase[i];
    l->conversion = i > 0 ? calloc((size_t)b * (size_t)m, sizeof(double)) : NULL;
    for (int q = 0; q < b; q++)
      for (int c = 0; c < m; c++)
        l->conversion[q * m + c] = p->conversion[i][q][c];
    l->memory_count = inside ? 0 : 1;
    here[0] = 0;
    if (inside) {
      l->next = calloc((size_t)made.layers[i - 1].memory_count * (size_t)b, sizeof(int));
      for (int k = 0; k < made.layers[i - 1].memory_count * b; k++) {
        const uint32_t mask = before[k / b] | p->copies[i - 1][k % b];
        int at = 0;
        while (at < l->memory_count && here[at] != mask)
          at++;
        if (at == l->memory_count)
          here[l->memory_count++] = mask;
        l->next[k] = at;
      }
    }
    l->memory_seconds = calloc((size_t)l->memory_count * (size_t)m, sizeof(double));
    for (int k = 0; p->group[i] >= 0 && k < l->memory_count * m; k++)
      for (int bit = 0; bit < 32; bit++)
        if ((p->copies[i][k % m] & ~here[k / m]) >> bit & 1)
          l->memory_seconds[k] += p->copy_seconds[p->group[i]][bit];
    uint32_t *swap = before;
    before = here, here = swap;
  }
  return made;
}

static void problem_free(frontier_problem *p) {
  for (int i = 0; i < p->layer_count; i++)
    free(p->layers[i].conversion), free(p->layers[i].memory_seconds), free(p->layers[i].next);
  free(p->layers);
}

#endif
