#include "kernels/cuda/nvml.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

/* Types and constants as NVML's documentation has them. */
typedef void *nvml_device;
typedef struct nvml_utilisation {
  unsigned gpu, memory; /* percent */
} nvml_utilisation;
typedef struct nvml_process {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
} nvml_process;
enum { NVML_DONE = 0, NVML_TOO_SMALL = 7, NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };

#define NVML_FUNCTIONS(ENTRY)                                                                      \
  ENTRY(nvmlInit_v2, (void))                                                                       \
  ENTRY(nvmlSystemGetDriverVersion, (char *, unsigned))                                            \
  ENTRY(nvmlDeviceGetHandleByUUID, (const char *, nvml_device *))                                  \
  ENTRY(nvmlDeviceGetTotalEnergyConsumption, (nvml_device, unsigned long long *millijoules))       \
  ENTRY(nvmlDeviceGetClockInfo, (nvml_device, int clock, unsigned *megahertz))                     \
  ENTRY(nvmlDeviceGetUtilizationRates, (nvml_device, nvml_utilisation *))                          \
  ENTRY(nvmlDeviceGetComputeRunningProcesses_v3, (nvml_device, unsigned *count, nvml_process *))   \
  ENTRY(nvmlDeviceGetCurrentClocksThrottleReasons, (nvml_device, unsigned long long *))

#define NVML_MEMBER(name, arguments) int(*name) arguments;
static struct { NVML_FUNCTIONS(NVML_MEMBER) } nvml;
static bool found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL)
    return;
#define NVML_FIND(name, arguments) nvml.name = (int(*) arguments)dlsym(library, #name);
  NVML_FUNCTIONS(NVML_FIND)
  found = nvml.nvmlInit_v2 != NULL && nvml.nvmlDeviceGetHandleByUUID != NULL &&
          nvml.nvmlInit_v2() == NVML_DONE;
}

bool mpt_nvml_found(void) {
  pthread_once(&once, load);
  return found;
}

/* Older drivers lack some functions, and some cards the thing they ask for. */
#define NVML_KNOWS(name, ...) (nvml.name != NULL && nvml.name(__VA_ARGS__) == NVML_DONE)

void mpt_nvml_driver_version(char *version, size_t size) {
  if (!mpt_nvml_found() || !NVML_KNOWS(nvmlSystemGetDriverVersion, version, (unsigned)size))
    version[0] = '\0';
}

static unsigned throttle_bits(unsigned long long reasons) {
  static const struct {
    unsigned long long reason;
    mpt_throttle bit;
  } names[] = {
      {0x02, MPT_THROTTLE_SETTING},              /* application clocks */
      {0x04, MPT_THROTTLE_POWER},                /* software power cap */
      {0x08, MPT_THROTTLE_OTHER},                /* hardware slowdown */
      {0x20 | 0x40, MPT_THROTTLE_THERMAL},       /* by software, by hardware */
      {0x10 | 0x80 | 0x100, MPT_THROTTLE_OTHER}, /* sync boost, power brake, display clock */
  };
  unsigned bits = 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if ((reasons & names[i].reason) != 0)
      bits |= names[i].bit;
  return bits;
}

/* Asked for no entries it says how many there are. */
static int count_processes(nvml_device device) {
  unsigned count = 0;
  if (nvml.nvmlDeviceGetComputeRunningProcesses_v3 == NULL)
    return -1;
  int result = nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, &count, NULL);
  return result == NVML_DONE || result == NVML_TOO_SMALL ? (int)count : -1;
}

bool mpt_nvml_observe(const char *uuid, mpt_device_activity *activity) {
  nvml_device device;
  unsigned long long millijoules, reasons;
  unsigned megahertz;
  nvml_utilisation used;
  if (!mpt_nvml_found() || nvml.nvmlDeviceGetHandleByUUID(uuid, &device) != NVML_DONE)
    return false;
  if (NVML_KNOWS(nvmlDeviceGetTotalEnergyConsumption, device, &millijoules))
    activity->energy_joules = 1e-3 * (double)millijoules;
  if (NVML_KNOWS(nvmlDeviceGetClockInfo, device, NVML_CLOCK_SM, &megahertz))
    activity->clock_hertz = 1e6 * megahertz;
  if (NVML_KNOWS(nvmlDeviceGetClockInfo, device, NVML_CLOCK_MEMORY, &megahertz))
    activity->memory_clock_hertz = 1e6 * megahertz;
  if (NVML_KNOWS(nvmlDeviceGetUtilizationRates, device, &used))
    activity->utilisation = 1e-2 * used.gpu;
  if (NVML_KNOWS(nvmlDeviceGetCurrentClocksThrottleReasons, device, &reasons))
    activity->throttled = throttle_bits(reasons);
  activity->processes = count_processes(device);
  return true;
}
