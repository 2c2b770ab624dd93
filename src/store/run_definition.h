/* What a search was asked for, with what, and the layers that it is about. */
#ifndef RUN_DEFINITION_H
#define RUN_DEFINITION_H

#include "base/arena.h"
#include "store/store.h"

/* Texts that are not known are NULL, numbers NaN, counts -1; of a flag that is not known, what is
 * said here. */

typedef struct store_budget {
  bool relative; /* worse_by is a share; false */
  double worse_by;
  const char *text;    /* for people */
  bool of_error;       /* of one less the metric; false */
  double max_diverged; /* share of trainings that may diverge; NaN: not asked for */
} store_budget;

typedef struct store_target {
  const char *name, *device;
  bool synthetic;    /* no real device; false */
  bool predicted;    /* step times; true */
  const char *times; /* identity of the device that they are measured on; empty: predicted */
} store_target;

typedef struct store_proxy {
  bool priced; /* step times are those of a larger network; false */
  const char *text;
} store_proxy;

/* Of programs, libraries and the machine, for people; those that a run has none of are NULL, -1. */
typedef struct store_versions {
  const char *mptune, *backend;
  int64_t cpu_numerics, cuda_numerics;
  const char *compiler, *gsl, *os, *cpu, *gpu;
} store_versions;

typedef struct store_definition {
  mpt_arena memory; /* what was read */
  const char *name; /* of the workload */
  const char *training_hash, *data_hash;
  const char *condition;                                       /* hash: store_condition */
  const char *workload_path, *workload_quoted, *workload_text; /* quoted: for a shell */
  const char *command;                                         /* as typed */
  const char *backend; /* where it is trained: results of others are not compared */
  store_versions versions;
  int64_t seed, threads;
  int64_t steps, evaluation_steps; /* the workload's, and those of the search's trainings */
  int metric;                      /* metric_kind; -1: not known */
  const char *metric_name;         /* of a program's metric; NULL: another */
  bool metric_higher_is_better;    /* false */
  bool over_population;            /* the metric; false: of what is held out */
  store_budget budget;
  double alpha;
  int64_t pairs;         /* of a policy that is verified, at most */
  const char *reference; /* its precision */
  store_target target;
  store_proxy proxy;
  int64_t started;     /* Unix */
  int64_t from_schema; /* of the store of an earlier mptune that began the run; -1: of this one */
} store_definition;

/* `keep`: one that is there stays. */
mpt_status store_put_definition(store *s, const store_definition *definition, bool keep,
                                mpt_error *error);
mpt_status store_get_definition(store *s, store_definition *definition, bool *found,
                                mpt_error *error);
void store_definition_clear(store_definition *definition);
struct json_t *store_definition_json(const store_definition *definition); /* NULL: no memory */
/* "loss", "accuracy", "f1", or the name that a program gives it; NULL: not known. */
const char *store_definition_metric(const store_definition *definition);

typedef struct store_layer {
  const char *name, *kind; /* kind NULL: not known */
  const int64_t *shape;    /* [rank]: of its weight, else of its output */
  int rank;
  int64_t rows; /* tokens, or samples, of a step; -1 */
  bool unit;    /* its format is chosen; others follow the layer before them */
  bool gemm;    /* it has GEMMs */
} store_layer;

typedef struct store_layers {
  mpt_arena memory;
  const store_layer *layers; /* [count], those that have a format */
  int count;
} store_layers;

mpt_status store_put_layers(store *s, const store_layers *layers, bool keep, mpt_error *error);
mpt_status store_get_layers(store *s, store_layers *layers, bool *found, mpt_error *error);
void store_layers_clear(store_layers *layers);
/* Of the layer of that name; true for one that is not there, so that nothing of it is left out. */
bool store_layers_has_gemm(const store_layers *layers, const char *name);

#endif
