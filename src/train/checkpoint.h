/* What the files of checkpoints share. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "train/training.h"

#define CHECKPOINT_SCHEMA     "mptune/checkpoint@2"
#define CHECKPOINT_OLD_SCHEMA "mptune/checkpoint@1"

/* Of all parameters. */
size_t checkpoint_weight_count(const network *n);
/* The number of a backend's arithmetic. */
int checkpoint_numerics(const char *backend);

/* checkpoint_origin.c: what differs between two texts of training->origin, in words that the caller
 * frees. */
mpt_status checkpoint_origin_differences(const char *then, const char *now, char **out,
                                         mpt_error *error);
/* Such a text without what a policy decides, which the caller frees; NULL without memory. */
char *checkpoint_origin_of_any_policy(const char *origin);

#endif
