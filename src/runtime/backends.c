#include "runtime/backends.h"
#include "base/error.h"
#include <string.h>

static const mpt_backend *const backends[] = {
    &mpt_backend_cpu,
#ifdef MPTUNE_CUDA
    &mpt_backend_cuda,
#endif
};
enum { BACKENDS = sizeof backends / sizeof backends[0] };

const char *mpt_backend_name(int index) {
  return index >= 0 && index < BACKENDS ? backends[index]->name : NULL;
}

mpt_status mpt_backend_find(const char *name, const mpt_backend **backend, mpt_error *error) {
  char known[128] = "";
  for (int i = 0; i < BACKENDS; i++) {
    if (strcmp(backends[i]->name, name) == 0) {
      *backend = backends[i];
      return MPT_OK;
    }
    strncat(known, i == 0 ? "" : ", ", sizeof known - strlen(known) - 1);
    strncat(known, backends[i]->name, sizeof known - strlen(known) - 1);
  }
  return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "backend '%s' is not built in (built: %s)", name,
                  known);
}
