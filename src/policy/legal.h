/* What formats of a layer may be, whether a file, a program or a search chose them. */
#ifndef MPT_POLICY_LEGAL_H
#define MPT_POLICY_LEGAL_H

#include "mptune/policy.h"

enum { POLICY_MAX_HISTORY = 1024, POLICY_MAX_MARGIN = 16 }; /* of delayed scaling */

/* Whether tensor cores multiply them: two operands of one 16- or 32-bit format, or two of fp8 that
 * are not both e5m2. False where one is no format. */
bool mpt_policy_operands_multiply(const mpt_format operand[2]);
/* The precision of a GEMM with those operands; MPT_ERROR_UNSUPPORTED says why there is none. */
mpt_status mpt_policy_operands_precision(const mpt_format operand[2], mpt_precision *precision,
                                         mpt_error *error);

/* MPT_ERROR_ARGUMENT names the layer when delayed scaling has a history or margin out of range. */
mpt_status mpt_policy_check_scaling(const char *layer, const mpt_scaling *scaling,
                                    mpt_error *error);

#endif
