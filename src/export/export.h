/* A policy in the words of other trainers. Each target writes what it can say of every layer; where
 * it cannot say what the policy says, it writes what comes nearest and notes the difference. The
 * caller decides whether differences are allowed.
 *
 * Adding a target is a file, export_NAME.c, and a line in export.c. */
#ifndef EXPORT_H
#define EXPORT_H

#include "base/text.h"
#include "mptune/mptune.h"

typedef struct export_layer {
  const char *name; /* as the target calls it */
  const mpt_layer_info *info;
  const mpt_layer_policy *formats;
} export_layer;

typedef struct export_plan {
  const char *policy; /* its name */
  const export_layer *layers;
  int count;
  mpt_text *differences; /* a line for each thing that the target cannot say */
  int difference_count;
} export_plan;

typedef struct export_target {
  const char *name; /* "megatron" */
  const char *what; /* for help: "Megatron-LM's --te-precision-config-file" */
  const char *note; /* what always differs from mptune's arithmetic, in lines */
  void (*write)(export_plan *plan, mpt_text *out);
} export_target;

extern const export_target *const export_targets[];
extern const int export_target_count;
/* NULL: there is none. */
const export_target *export_find(const char *name);

/* The text for `target`, and a line for each thing that it cannot say. The caller frees *out and
 * *differences with mpt_text_free. MPT_ERROR_UNSUPPORTED, unless
 * `approximate`, names what the target cannot say; MPT_ERROR_MISMATCH two layers that get one name
 * and different formats. */
mpt_status export_policy(const export_target *target, const mpt_policy *policy,
                         const mpt_layer_info *layers, const mpt_layer_policy *assignment,
                         char *const *names, int count, bool approximate, mpt_text *out,
                         mpt_text *differences, mpt_error *error);

/* ---- for targets ---- */

/* A difference: "LAYER: WHAT\n". */
void export_differs(export_plan *plan, const export_layer *layer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the GEMM is in fp8. */
bool export_is_fp8(const export_layer *layer, mpt_gemm_kind gemm);
/* Of a layer with GEMMs: how many of its three GEMMs are in fp8. */
int export_fp8_count(const export_layer *layer);
/* A layer that is neither fp8 nor bf16 somewhere, which most targets cannot say: notes it. Of a
 * layer without GEMMs, what it stores. */
void export_needs_16_bits(export_plan *plan, const export_layer *layer);
/* fp8 of what is not a linear layer. */
void export_needs_linear(export_plan *plan, const export_layer *layer);
/* Delayed scaling where the target has current scaling only. */
void export_needs_current(export_plan *plan, const export_layer *layer);
/* A name in double quotes, for Python, JSON and YAML alike. */
void export_add_quoted(mpt_text *out, const char *text);
/* The name as a regular expression that matches it alone, its dots replaced by `dot`. */
void export_add_pattern(mpt_text *out, const char *name, const char *dot);

/* ---- rename.c ---- */
/* Layers' names for the target: each rule "s/REGEX/REPLACEMENT/" (extended regular expressions, \1
 * to \9; any delimiter) is applied in its order. names[count] are the caller's, each freed with
 * free(). MPT_ERROR_SYNTAX says what is wrong with a rule. */
mpt_status export_rename(const mpt_layer_info *layers, int count, const char *const *rules,
                         int rule_count, char **names, mpt_error *error);

#endif
