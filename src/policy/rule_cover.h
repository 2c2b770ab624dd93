/* Few rules, the first that matches wins, that give every layer a class it accepts. */
#ifndef MPT_RULE_COVER_H
#define MPT_RULE_COVER_H

#include "policy/glob_candidates.h"

typedef struct cover_rule {
  int group;  /* which the rule gives */
  int *globs; /* indices of candidates */
  int glob_count;
} cover_rule;

typedef struct rule_cover {
  cover_rule *rules;
  int rule_count;
  int glob_count; /* of all rules */
} rule_cover;

/* How a greedy step judges a glob. */
typedef enum cover_style {
  COVER_HARMLESS,  /* it may take no layer from a rule that was right */
  COVER_EXCEPTIONS /* it may, when it sets more right than wrong: exceptions follow, before it */
} cover_style;

/* Layers that no rule matches are right where `accepts_default` has them; `accepts[class_count]`
 * says which layers accept each class; every layer accepts one. The caller frees the cover with
 * mpt_rule_cover_free, after a failure too. */
mpt_status mpt_rule_cover_find(const glob_candidates *candidates, uint64_t *const *accepts,
                               int class_count, const uint64_t *accepts_default, int layer_count,
                               cover_style style, rule_cover *cover, mpt_error *error);
void mpt_rule_cover_free(rule_cover *cover);

#endif
