/* The place of a search whose trainings somebody's program runs: where it runs is the program's to
 * say. Its times are measured where it can time its steps, and no other device is asked for. */
#include "base/error.h"
#include "tuner/evaluators/command.h"
#include "tuner/place.h"
#include <stdio.h>
#include <string.h>

static mpt_status check_target(const command_program *program, const char *target,
                               mpt_error *error) {
  const bool here = target != NULL && strcmp(target, "here") == 0;
  if (!here || (program->capabilities >> CAPABILITY_TIME & 1) != 0)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_ARGUMENT,
                  "target 'here' measures step times, and the program does not time its steps (it "
                  "has no capability 'time'); name a device profile (--target nvidia-h200), or let "
                  "it send 'time'");
}

static uint32_t formats_of(uint32_t precisions) {
  uint32_t formats = 0;
  for (int p = 0; p < MPT_PRECISION_COUNT; p++)
    for (int i = 0; i < 2 && (precisions >> p & 1) != 0; i++)
      formats |= 1u << mpt_gemm_policy_of(MPT_DGRAD, (mpt_precision)p).operand[i];
  return formats;
}

/* What ranks policies before they are timed: the program's device where there is a profile of it.
 */
static mpt_status load_ranks(const command_program *program, profile **p, mpt_error *error) {
  char name[64];
  profile_name_of(program->device, name, sizeof name);
  const mpt_status status = name[0] == '\0' ? MPT_ERROR_NOT_FOUND : profile_load(name, p, error);
  return status == MPT_ERROR_NOT_FOUND ? profile_load("nvidia-h200", p, error) : status;
}

/* A device that is named is predicted for; without a name the program's own is timed. */
mpt_status place_of_program(const workload *w, const tuner_options *options, place *out,
                            profile **p, mpt_error *error) {
  const command_program *program = options->program;
  const char *own = w->target[0] != '\0' ? w->target : NULL;
  const char *target = options->target != NULL ? options->target : own;
  char versions[65];
  MPT_RETURN_IF_FAILED(check_target(program, target, error));
  *out = (place){.backend = "program"};
  store_hash(program->versions, strlen(program->versions), versions);
  const char *device = program->device[0] != '\0' ? program->device : "a device without a name";
  out->measures = (target == NULL || strcmp(target, "here") == 0) &&
                  (program->capabilities >> CAPABILITY_TIME & 1) != 0;
  snprintf(out->backend_key, sizeof out->backend_key, "program %.80s on %.80s", program->program,
           device);
  snprintf(out->text, sizeof out->text, "the program %.120s on %.120s", program->program, device);
  snprintf(out->numerics, sizeof out->numerics, "program %.100s\ndevice %.100s\nversions %.16s",
           program->program, device, versions);
  if (out->measures)
    snprintf(out->device, sizeof out->device, "measured by %.80s on %.80s, versions %.16s",
             program->program, device, versions);
  const bool named = target != NULL && !out->measures;
  MPT_RETURN_IF_FAILED(named ? profile_load(target, p, error) : load_ranks(program, p, error));
  (*p)->formats &= formats_of(program->formats);
  return MPT_OK;
}
