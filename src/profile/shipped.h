/* What comes with mptune, found by name: device profiles and workloads. Looked for in the folders
 * of MPTUNE_PROFILES (profiles only, separated by ':'), beside the program wherever it was moved
 * (PREFIX/share/mptune for PREFIX/bin/mptune), in the source tree that it was built from, and where
 * it was to be installed. */
#ifndef SHIPPED_H
#define SHIPPED_H

#include "mptune/status.h"

typedef enum shipped_kind { SHIPPED_PROFILE, SHIPPED_WORKLOAD } shipped_kind;

enum { SHIPPED_PATH = 512 };

/* The file that `name` means: a name with a '/' or the ending .yaml or .yml is one itself, and so
 * is a workload's that is a file's. Where there is none by that name the error lists those that
 * there are and the folders, in the order in which they were searched. */
mpt_status shipped_find(shipped_kind kind, const char *name, char path[SHIPPED_PATH],
                        mpt_error *error);

#endif
