/* A policy in memory. Private to src/policy/. */
#ifndef MPT_POLICY_DATA_H
#define MPT_POLICY_DATA_H

#include "base/arena.h"
#include "base/text.h"
#include "base/yaml.h"
#include "mptune/policy.h"

#define POLICY_SCHEMA     "mptune/policy@1"
#define POLICY_LOSS_SCALE 65536.0

/* How a rule names one GEMM. */
typedef enum gemm_form {
  GEMM_FORM_ABSENT, /* takes the rule's format, else the default */
  GEMM_FORM_SHORT,  /* fprop: fp8 */
  GEMM_FORM_LONG    /* dgrad: {grad_output: fp8_e5m2, weight: fp8_e4m3, accumulate: split} */
} gemm_form;

typedef struct policy_rule {
  const char **globs;
  size_t glob_count;
  bool has_format;
  mpt_precision format;
  gemm_form form[MPT_GEMM_COUNT];
  mpt_gemm_policy gemm[MPT_GEMM_COUNT]; /* where form is not absent */
  bool has_scaling;
  mpt_scaling scaling;
  bool has_fallback;
  mpt_precision fallback;    /* kept for the run-time guard */
  const mpt_yaml_node *node; /* for its x- keys and for messages; NULL when not loaded */
} policy_rule;

/* One entry of provenance: text set by the program, or a value as it was loaded. */
typedef struct provenance_entry {
  struct provenance_entry *next;
  const char *key;
  const char *text; /* NULL: node */
  const mpt_yaml_node *node;
} provenance_entry;

struct mpt_policy {
  mpt_arena arena;    /* everything below */
  mpt_yaml *document; /* what was loaded, which nodes point into; or NULL */
  char name[MPT_MAX_NAME];
  mpt_precision base; /* `default` */
  policy_rule *rules;
  int rule_count;
  bool has_loss_scale; /* else it is left to the program, and `loss_scale` the default */
  mpt_loss_scale_policy loss_scale;
  mpt_layer_info *layers;
  int layer_count;
  provenance_entry *provenance, *last_provenance; /* in order */
  bool has_result;
  mpt_policy_result result;
  const mpt_yaml_node *result_node; /* for its unknown keys, or NULL */
};

/* A policy of fp32 without rules; NULL when there is no memory. */
mpt_policy *mpt_policy_new(void);
/* Text is copied; a node is kept, and lives as long as the document. */
mpt_status mpt_policy_add_provenance(mpt_policy *policy, const char *key, const char *text,
                                     const mpt_yaml_node *node, mpt_error *error);

/* The formats that a rule gives a layer, -1 the default. */
mpt_layer_policy mpt_policy_rule_formats(const mpt_policy *policy, int rule);

/* Layers in the order of their names; the caller frees *sorted with free(). */
mpt_status mpt_policy_sort_layers(const mpt_layer_info *layers, int count,
                                  const mpt_layer_info ***sorted, mpt_error *error);
/* The index of a layer whose name an earlier one has, -1 when there is none. */
mpt_status mpt_policy_find_duplicate(const mpt_layer_info *layers, int count, int *twice,
                                     mpt_error *error);

/* Why a glob is refused, NULL when it is good: what C, Python and YAML readers take differently. */
const char *mpt_policy_glob_problem(const char *glob);

/* ---- reading (load.c, load_rules.c) ---- */
mpt_status mpt_policy_read_precision(const mpt_yaml_node *node, const char *what,
                                     mpt_precision *out, mpt_error *error);
mpt_status mpt_policy_read_word(const mpt_yaml_node *node, const char *what,
                                const char *const *words, int count, int *out, mpt_error *error);
mpt_status mpt_policy_read_rules(const mpt_yaml_node *node, mpt_policy *policy, mpt_error *error);

#endif
