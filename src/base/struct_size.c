#include "base/struct_size.h"
#include "mptune/version.h"
#include <string.h>

mpt_status mpt_options_take(const void *given, const char *name, size_t first, void *options,
                            size_t size, mpt_error *error) {
  uint32_t bytes;
  memcpy(&bytes, given, sizeof bytes); /* struct_size is the first member */
  if (bytes > size)
    return mpt_fail(error, MPT_ERROR_VERSION,
                    "%s has %u bytes, and libmptune %s knows %zu: the program was compiled for a "
                    "newer one",
                    name, bytes, MPTUNE_VERSION, size);
  if (bytes < first)
    return mpt_fail(error, MPT_ERROR_VERSION,
                    "%s has a struct_size of %u, and no version of it is so small (at least %zu): "
                    "begin with its default, or sizeof",
                    name, bytes, first);
  memcpy(options, given, bytes);
  const uint32_t own = (uint32_t)size;
  memcpy(options, &own, sizeof own);
  return MPT_OK;
}
