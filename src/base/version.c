#include "mptune/version.h"

int mpt_version_number(void) {
  return MPTUNE_VERSION_NUMBER;
}

const char *mpt_version(void) {
  return MPTUNE_VERSION;
}
