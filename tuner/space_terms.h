/* The step time as a sum of terms, each of which reads the choices of a few units: a layer's
 * passes, copies of a tensor, the loss. Private to the solver of a space (space_solve.c).
 *
 * A term does not read a whole choice but an aspect of it (the storage format, the formats in which
 * it reads its input), so it has few values; each is worked out when it is first asked for. Copies
 * that several units share depend on the union of what these need, however many they are.
 */
#ifndef SPACE_TERMS_H
#define SPACE_TERMS_H

#include "tuner/cost.h"
#include "tuner/space.h"

/* Aspects of a choice. */
enum {
  ASPECT_STORAGE = 1 << 0, /* of the output */
  ASPECT_FORMAT = 1 << 1,  /* of fprop: tells tf32 from fp32 */
  ASPECT_DGRAD = 1 << 2,   /* storage of the input's gradient */
  ASPECT_INPUT = 1 << 3,   /* formats in which GEMMs read the input */
  ASPECT_GRADIENT = 1 << 4 /* and the output's gradient */
};

typedef enum term_kind {
  TERM_PASSES,          /* of a layer */
  TERM_COLUMN_COPIES,   /* of a convolution */
  TERM_SHARED_COPIES,   /* of a tensor */
  TERM_GRADIENT_COPIES, /* of a tensor */
  TERM_LOSS
} term_kind;

/* The choices of a unit, told apart by some aspects. */
typedef struct ranking {
  int *rank;   /* [choice]: equal for choices that agree, from 0 */
  int *sample; /* [rank]: a choice that has it */
  int count;   /* of ranks */
} ranking;
bool ranking_make(const space_unit *unit, unsigned aspects, ranking *out); /* false: no memory */
void ranking_free(ranking *r);

enum { MOST_READS = 2 * WORKLOAD_MAX_INPUTS + 2 };

typedef struct term_read {
  int unit;
  unsigned aspects;
  ranking by;
  double *price; /* [rank]: what the relaxation charges the unit for it (space_relax.c), or NULL */
} term_read;

typedef struct known_union {
  int rank;
  copy_set set;
  double seconds;
} known_union;

typedef struct term {
  term_kind kind;
  int index; /* layer or tensor */
  term_read *reads;
  int read_count;
  int *sharers; /* TERM_SHARED_COPIES: units, in their order, that read the tensor in copies */
  int sharer_count;
  double weight; /* of its seconds, 1 but for a share of what it stands for */
  bool stands;   /* counted in the relaxed problem */
  bool real;     /* counted in the step time */
  double *value; /* [ranks of the reads], NaN: not known yet; NULL with sharers */
  known_union *unions;
  int union_count;
} term;

typedef struct term_list {
  const space *space;
  const graph *graph;
  const profile *profile;
  const optimizer_spec *optimizer;
  double batches;
  term *terms;
  int count, capacity;
  int **of_unit;                /* [unit]: the terms that read it or share by it, ended by -1 */
  mpt_layer_policy *assignment; /* [graph layers], scratch */
  bool failed;                  /* for want of memory */
} term_list;

mpt_status terms_make(term_list *list, mpt_error *error);
void terms_free(term_list *list);
/* In place of the copies `term` that are shared: for each sharer an equal share of those that it
 * alone would need, which is no more. */
mpt_status terms_split(term_list *list, int term, mpt_error *error);
/* Fills list->of_unit anew. */
mpt_status terms_index(term_list *list, mpt_error *error);

/* The last unit that it reads, -1: none. */
int term_last(const term *t);
const term_read *term_reads(const term *t, int unit); /* NULL: it does not */
bool term_shares(const term *t, int unit);
/* What the unit's choice needs of a shared tensor. */
copy_set term_needs(const term_list *list, int unit, int choice);
/* Seconds of a step; `rank` [reads], `set` the union of what its sharers need. */
double term_seconds(term_list *list, term *t, const int *rank, copy_set set);
/* The same where every unit has a choice. */
double term_seconds_of(term_list *list, term *t, const int *choice);
/* What no other unit's choice changes: GEMMs and copies of the weight. */
double unit_seconds(const term_list *list, int unit, int choice);

#endif
