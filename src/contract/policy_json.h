/* A policy for programs that have no YAML reader: the file as JSON, which YAML's readers take too.
 */
#ifndef POLICY_JSON_H
#define POLICY_JSON_H

#include "mptune/mptune.h"

/* What mpt_policy_save would write. The caller frees *text with free(). */
mpt_status policy_json(const mpt_policy *policy, char **text, mpt_error *error);

#endif
