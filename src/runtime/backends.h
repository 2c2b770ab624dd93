/* The backends that were built in. */
#ifndef MPT_RUNTIME_BACKENDS_H
#define MPT_RUNTIME_BACKENDS_H

#include "kernels/kernels.h"

/* MPT_ERROR_UNSUPPORTED names the built ones when `name` is not among them. */
mpt_status mpt_backend_find(const char *name, const mpt_backend **backend, mpt_error *error);

#endif
