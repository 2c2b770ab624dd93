/* Structs of a caller's that begin with struct_size: one rule for all. */
#ifndef MPT_BASE_STRUCT_SIZE_H
#define MPT_BASE_STRUCT_SIZE_H

#include "base/error.h"
#include <stdint.h>

/* Copies what the caller's header knew of a struct over `options`, which holds the defaults and is
 * `size` bytes in this library; options' own struct_size becomes `size`. `first` is the end of the
 * members that every version has: what is smaller was never begun with a default. A larger one is
 * of a newer header, and might ask for what is not known here. Both are MPT_ERROR_VERSION. */
mpt_status mpt_options_take(const void *given, const char *name, size_t first, void *options,
                            size_t size, mpt_error *error);

/* The end of a member of a struct. */
#define MPT_END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

#endif
