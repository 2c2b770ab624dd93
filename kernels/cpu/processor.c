#include "kernels/cpu/cpu.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

mpt_status mpt_cpu_device_count(int *count, mpt_error *error) {
  (void)error;
  *count = 1;
  return MPT_OK;
}

static void processor_name(char *name, size_t size) {
  char line[256];
  FILE *file = fopen("/proc/cpuinfo", "r");
  snprintf(name, size, "unknown");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || colon == NULL)
      continue;
    snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  if (file != NULL)
    fclose(file);
}

/* Arithmetic is fp32; every other format is emulated on it, bit for bit. */
/* Another CBLAS than OpenBLAS lacks these. */
extern char *openblas_get_corename(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

/* OpenBLAS begins its configuration with its name and version, and chooses its kernels at start. */
static void describe_blas(char *text, size_t size) {
  if (openblas_get_corename == NULL || openblas_get_config == NULL) {
    snprintf(text, size, "a CBLAS that does not say its name");
    return;
  }
  const char *config = openblas_get_config(), *version = strchr(config, ' ');
  const size_t name =
      version == NULL ? strlen(config) : (size_t)(version - config) + 1 + strcspn(version + 1, " ");
  snprintf(text, size, "%.*s %.24s", (int)name, config, openblas_get_corename());
}

mpt_status mpt_cpu_device_describe(int index, mpt_device_info *info, mpt_error *error) {
  (void)index, (void)error;
  processor_name(info->name, sizeof info->name);
  describe_blas(info->blas, sizeof info->blas);
  info->processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
  info->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    info->standing[f] = f == MPT_FP32 ? MPT_NATIVE : MPT_EMULATED;
  return MPT_OK;
}
