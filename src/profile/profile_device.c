/* Profiles and the device at hand. */
#include "base/error.h"
#include "base/text.h"
#include "profile/profile.h"
#include <ctype.h>
#include <string.h>

void profile_name_of(const char *device, char *name, size_t size) {
  size_t length = 0;
  for (const char *c = device; *c != '\0' && length + 1 < size; c++)
    if (isalnum((unsigned char)*c))
      name[length++] = (char)tolower((unsigned char)*c);
    else if (length > 0 && name[length - 1] != '-')
      name[length++] = '-';
  while (length > 0 && name[length - 1] == '-')
    length--;
  name[length] = '\0';
}

static void compare(mpt_text *differences, const char *what, const char *there, const char *here) {
  if (there[0] != '\0' && strcmp(there, here) != 0)
    mpt_text_addf(differences, "%s%s %s here and %s in the profile",
                  differences->length > 0 ? "; " : "", what, here[0] != '\0' ? here : "unknown",
                  there);
}

mpt_status profile_check_device(const profile *p, const mpt_device_info *here, mpt_error *error) {
  if (p->synthetic)
    return mpt_fail(error, MPT_ERROR_MISMATCH,
                    "'%s' is a made-up device, so its times are not those of %s", p->name,
                    here->name);
  mpt_text differences = {0};
  compare(&differences, "the device is", p->device, here->name);
  compare(&differences, "compute capability is", p->compute_capability, here->capability);
  compare(&differences, "the driver is", p->driver, here->driver);
  compare(&differences, "CUDA is", p->cuda, here->cuda);
  compare(&differences, "cuBLASLt is", p->cublaslt, here->cublaslt);
  mpt_status status = MPT_OK;
  if (differences.failed)
    status = mpt_fail_memory(error, "a comparison of devices", 512);
  else if (differences.length > 0)
    status = mpt_fail(error, MPT_ERROR_MISMATCH, "device profile '%s' was measured elsewhere: %s",
                      p->name, differences.data);
  mpt_text_free(&differences);
  return status;
}
