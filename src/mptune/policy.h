/* Policies: which formats each layer trains in. Loaded from YAML (mptune/policy@1), matched against
 * a model's layers, saved, compared. docs/policy.md describes the file. */
#ifndef MPTUNE_POLICY_H
#define MPTUNE_POLICY_H

#include "mptune/format.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MPT_MAX_NAME 128

typedef enum mpt_gemm_kind { MPT_FPROP, MPT_DGRAD, MPT_WGRAD, MPT_GEMM_COUNT } mpt_gemm_kind;
typedef enum mpt_operand { MPT_INPUT, MPT_WEIGHT, MPT_GRAD_OUTPUT, MPT_OPERAND_COUNT } mpt_operand;

/* What a rule may name for a GEMM: a format, or fp8 for the pair of e4m3 (input, weight) and e5m2
 * (grad_output). */
typedef enum mpt_precision {
  MPT_PRECISION_FP32,
  MPT_PRECISION_TF32,
  MPT_PRECISION_BF16,
  MPT_PRECISION_FP16,
  MPT_PRECISION_FP8,
  MPT_PRECISION_COUNT
} mpt_precision;

typedef enum mpt_accumulate { MPT_ACCUMULATE_SPLIT, MPT_ACCUMULATE_FAST } mpt_accumulate;
typedef enum mpt_scaling_mode { MPT_SCALING_CURRENT, MPT_SCALING_DELAYED } mpt_scaling_mode;
typedef enum mpt_loss_scale_mode {
  MPT_LOSS_SCALE_DYNAMIC,
  MPT_LOSS_SCALE_STATIC,
  MPT_LOSS_SCALE_NONE
} mpt_loss_scale_mode;
typedef enum mpt_verdict {
  MPT_VERDICT_UNVERIFIED,
  MPT_VERDICT_PASS,
  MPT_VERDICT_FAIL,
  MPT_VERDICT_INCONCLUSIVE,
  MPT_VERDICT_REFERENCE, /* the policy that others are compared with */
  MPT_VERDICT_COUNT
} mpt_verdict;

/* A GEMM's operand formats. fprop: input, weight; dgrad: grad_output, weight; wgrad: grad_output,
 * input, in that order. */
typedef struct mpt_gemm_policy {
  mpt_precision precision;
  mpt_format operand[2];
  mpt_accumulate accumulate; /* fp8 only */
} mpt_gemm_policy;

typedef struct mpt_scaling {
  mpt_scaling_mode mode;
  int history; /* delayed: steps of amax kept, 1 to 1024 */
  int margin;  /* delayed: binades kept free above the largest amax, 0 to 16 */
} mpt_scaling;

/* The formats of one layer, resolved. A layer without a GEMM uses gemm[MPT_FPROP].precision. */
typedef struct mpt_layer_policy {
  mpt_gemm_policy gemm[MPT_GEMM_COUNT];
  mpt_scaling scaling; /* of its fp8 operands */
  int rule;            /* index of the rule that matched, -1 for the default */
} mpt_layer_policy;

typedef struct mpt_loss_scale_policy {
  mpt_loss_scale_mode mode;
  float initial;
} mpt_loss_scale_policy;

/* What the policy was made for, or is matched against. `kind` is a layer kind's name. */
typedef struct mpt_layer_info {
  char name[MPT_MAX_NAME]; /* "blocks.0.attn.qkv" */
  char kind[24];           /* "linear" */
  int rank;
  int64_t shape[4]; /* linear: [out_features, in_features] */
  int64_t rows;     /* of the GEMM per step, tokens or pixels; 0 when unknown */
} mpt_layer_info;

typedef struct mpt_policy_result {
  mpt_verdict verdict;
  double worse_by;    /* relative to the reference's metric; NaN when unknown */
  double upper_bound; /* of worse_by, at `confidence`; NaN when unknown */
  double confidence;
  double step_time_ratio; /* to the reference; NaN when unknown */
  bool time_measured;     /* else predicted */
  int64_t steps;          /* verified for this many */
} mpt_policy_result;

/* ---- names ---- */
MPT_API const char *mpt_precision_name(mpt_precision precision);
MPT_API mpt_status mpt_precision_parse(const char *name, mpt_precision *precision,
                                       mpt_error *error);
MPT_API const char *mpt_gemm_name(mpt_gemm_kind gemm);     /* "fprop" */
MPT_API const char *mpt_operand_name(mpt_operand operand); /* "grad_output" */
MPT_API const char *mpt_verdict_name(mpt_verdict verdict);
MPT_API const char *mpt_loss_scale_mode_name(mpt_loss_scale_mode mode); /* "dynamic" */
/* Storage format of what a GEMM or a layer of that precision writes: fp32 for fp32 and tf32, bf16
 * for bf16 and fp8, fp16 for fp16. */
MPT_API mpt_format mpt_precision_storage(mpt_precision precision);
/* Which operand of the layer is operand `index` (0, 1) of the GEMM. */
MPT_API mpt_operand mpt_gemm_operand(mpt_gemm_kind gemm, int index);

/* The default policy of a GEMM in that precision: operands, and accumulation split. */
MPT_API mpt_gemm_policy mpt_gemm_policy_of(mpt_gemm_kind gemm, mpt_precision precision);
/* All three GEMMs in that precision, current scaling, rule -1. */
MPT_API mpt_layer_policy mpt_layer_policy_of(mpt_precision precision);
/* Equal in everything but `rule`. */
MPT_API bool mpt_layer_policy_equal(const mpt_layer_policy *a, const mpt_layer_policy *b);
/* Whether layers of that kind have the three GEMMs: "linear", "conv2d", and "" (unknown). */
MPT_API bool mpt_layer_has_gemm(const char *kind);
/* What a precision means for a layer of that kind. Without GEMMs it is the layer's storage: fp8
 * means bf16, tf32 means fp32 (for "attention", which multiplies, tf32). */
MPT_API mpt_precision mpt_precision_for(const char *kind, mpt_precision precision);
/* The same of a layer's formats: without GEMMs fprop's precision for the whole layer. */
MPT_API mpt_layer_policy mpt_layer_policy_for(const char *kind, const mpt_layer_policy *formats);
/* Storage format of what a layer writes in `gemm`: in fprop its output, in dgrad the gradient of
 * its input. A layer without GEMMs stores both as fprop. */
MPT_API mpt_format mpt_layer_policy_storage(const mpt_layer_policy *formats, bool has_gemm,
                                            mpt_gemm_kind gemm);
/* Canonical text of one layer's formats, "fp8" or "fprop=fp8,dgrad=bf16,wgrad=bf16" with scaling
 * and accumulation where not the default; writes at most `size` bytes with the NUL. */
MPT_API void mpt_layer_policy_text(const mpt_layer_policy *layer, char *text, size_t size);
/* Its inverse; rule is -1. MPT_ERROR_SYNTAX when it is not such a text. */
MPT_API mpt_status mpt_layer_policy_parse(const char *text, mpt_layer_policy *layer,
                                          mpt_error *error);

/* ---- policies ---- */
typedef struct mpt_policy mpt_policy;

/* Reads a policy file of at most 4 MiB and nesting depth 16. The caller frees *policy with
 * mpt_policy_free. Errors carry file, line and column; nothing is loaded half. */
MPT_API mpt_status mpt_policy_load(const char *path, mpt_policy **policy, mpt_error *error);
/* The same from memory; `name` stands for the file in messages. */
MPT_API mpt_status mpt_policy_parse(const char *text, size_t length, const char *name,
                                    mpt_policy **policy, mpt_error *error);
/* One precision for every layer, no rules. */
MPT_API mpt_status mpt_policy_uniform(mpt_precision precision, mpt_policy **policy,
                                      mpt_error *error);
/* The policy with the fewest rules and globs found that resolves to `assignment` on `layers` (to
 * what it means for their kinds: mpt_layer_policy_for); `layers` is stored in the policy. */
MPT_API mpt_status mpt_policy_from_assignment(const char *name, const mpt_layer_info *layers,
                                              const mpt_layer_policy *assignment, int count,
                                              mpt_loss_scale_policy loss_scale, mpt_policy **policy,
                                              mpt_error *error);
MPT_API void mpt_policy_free(mpt_policy *policy); /* NULL is allowed */

/* Writes beside the file, fsyncs, renames. Save -> load -> save gives the same bytes. */
MPT_API mpt_status mpt_policy_save(const mpt_policy *policy, const char *path, mpt_error *error);
/* The text that save writes; the caller frees it with free(). */
MPT_API mpt_status mpt_policy_text(const mpt_policy *policy, char **text, mpt_error *error);

MPT_API const char *mpt_policy_name(const mpt_policy *policy);
MPT_API mpt_precision mpt_policy_default(const mpt_policy *policy);
MPT_API int mpt_policy_rule_count(const mpt_policy *policy);
/* Whether the policy says how the loss is scaled. One that does not leaves it to the program:
 * mptune takes the workload's loss_scale. */
MPT_API bool mpt_policy_has_loss_scale(const mpt_policy *policy);
/* What it says; dynamic from 65536 when it says nothing. */
MPT_API mpt_loss_scale_policy mpt_policy_loss_scale(const mpt_policy *policy);
/* The layers the policy was made for; *count 0 when it does not say. Owned by the policy. */
MPT_API const mpt_layer_info *mpt_policy_layers(const mpt_policy *policy, int *count);
MPT_API mpt_policy_result mpt_policy_get_result(const mpt_policy *policy);

/* Provenance is an ordered map of strings, and the result. `value` is copied. */
MPT_API mpt_status mpt_policy_set_provenance(mpt_policy *policy, const char *key, const char *value,
                                             mpt_error *error);
MPT_API const char *mpt_policy_get_provenance(const mpt_policy *policy, const char *key);
MPT_API mpt_status mpt_policy_set_result(mpt_policy *policy, const mpt_policy_result *result,
                                         mpt_error *error);

/* Which formats a device has natively, as a bit set of 1 << mpt_format. */
#define MPT_ALL_FORMATS ((1u << MPT_FORMAT_COUNT) - 1u)

typedef struct mpt_resolve_options {
  uint32_t struct_size;
  bool strict;             /* a rule that matches no layer is an error (default), else a warning */
  bool force;              /* accept a policy made for other layers or shapes */
  bool promote;            /* replace formats the device lacks by bf16, then fp16, then fp32 */
  uint32_t device_formats; /* default MPT_ALL_FORMATS */
  void (*on_warning)(void *context, const char *message); /* may be NULL */
  void *context;
} mpt_resolve_options;
MPT_API mpt_resolve_options mpt_resolve_options_default(void);

/* Writes the formats of `count` layers to assignment[count], as mpt_layer_policy_for puts them;
 * `options` may be NULL. MPT_ERROR_MISMATCH names the layers that differ from those the policy was
 * made for, or the rule that matches none; MPT_ERROR_UNSUPPORTED the layers whose format the device
 * lacks. */
MPT_API mpt_status mpt_policy_resolve(const mpt_policy *policy, const mpt_layer_info *layers,
                                      int count, const mpt_resolve_options *options,
                                      mpt_layer_policy *assignment, mpt_error *error);

/* What two policies decide differently for those layers: for each a line "NAME FROM -> TO\n" with
 * the texts of mpt_layer_policy_text, and a line "loss_scale FROM -> TO\n", "unset" where a policy
 * leaves it to the program; "" when they agree.
 * Both are resolved with `options` (NULL: the default). The caller frees *text with free(). */
MPT_API mpt_status mpt_policy_diff(const mpt_policy *from, const mpt_policy *to,
                                   const mpt_layer_info *layers, int count,
                                   const mpt_resolve_options *options, char **text,
                                   mpt_error *error);

/* Whether `name` matches the glob: * ? [abc] [a-c] [!abc], characters being those of UTF-8, as
 * Python's fnmatchcase and C's fnmatch without escapes and flags. A '[' without its ']' is itself.
 */
MPT_API bool mpt_glob_match(const char *glob, const char *name);

#ifdef __cplusplus
}
#endif
#endif
