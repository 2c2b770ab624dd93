/* What is known of a GPU without opening it. */
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/nvml.h"
#include <stdio.h>
#include <string.h>

/* Says why there is no device, in words that say what to do. */
mpt_status mpt_cuda_device_count(int *count, mpt_error *error) {
  int found = 0;
  cudaError_t result = cudaGetDeviceCount(&found);
  if (result == cudaErrorInsufficientDriver)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "the cuda backend needs an NVIDIA driver for CUDA %d.%d or later, and none was "
                    "found; use the cpu backend",
                    CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  if (result == cudaErrorNoDevice || (result == cudaSuccess && found == 0))
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                    "the cuda backend found no GPU (is CUDA_VISIBLE_DEVICES set?); use the "
                    "cpu backend");
  MPT_RETURN_IF_FAILED(mpt_cuda_check(result, "cuda", error));
  *count = found;
  return MPT_OK;
}

static void version_text(int version, char *text, size_t size) {
  snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
}

static void uuid_text(const struct cudaDeviceProp *p, char *text, size_t size) {
  const unsigned char *b = (const unsigned char *)p->uuid.bytes;
  snprintf(text, size, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
           b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
           b[14], b[15]);
}

/* The library counts major * 10000 + minor * 100 + patch. */
static void cublaslt_version(char *text, size_t size) {
  cublaslt library = {.library = NULL};
  if (mpt_cublaslt_load(&library, NULL) == MPT_OK)
    snprintf(text, size, "%zu", library.GetVersion());
  mpt_cublaslt_unload(&library);
}

/* Without NVML, from a line such as "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  …".
 */
static void driver_version(char *text, size_t size) {
  mpt_nvml_driver_version(text, size);
  FILE *file = text[0] == '\0' ? fopen("/proc/driver/nvidia/version", "r") : NULL;
  char line[256];
  if (file != NULL && fgets(line, sizeof line, file) != NULL)
    for (char *word = strtok(line, " \t\n"); word != NULL; word = strtok(NULL, " \t\n"))
      if (text[0] == '\0' && strspn(word, "0123456789.") == strlen(word) && strchr(word, '.'))
        snprintf(text, size, "%s", word);
  if (file != NULL)
    fclose(file);
}

/* tf32 and bf16 came with compute capability 8.0, fp8 with 8.9. */
static mpt_standing standing(mpt_format format, int capability) {
  const int needs = mpt_format_is_fp8(format) ? 89 : 80;
  return capability >= needs ? MPT_NATIVE : MPT_ABSENT;
}

mpt_status mpt_cuda_device_describe(int index, mpt_device_info *info, mpt_error *error) {
  struct cudaDeviceProp p;
  int version = 0;
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaGetDeviceProperties(&p, index), "cuda", error));
  snprintf(info->name, sizeof info->name, "%.127s", p.name);
  uuid_text(&p, info->uuid, sizeof info->uuid);
  snprintf(info->capability, sizeof info->capability, "%d.%d", p.major, p.minor);
  info->processors = p.multiProcessorCount;
  info->memory_bytes = (int64_t)p.totalGlobalMem;
  if (cudaDriverGetVersion(&version) == cudaSuccess)
    version_text(version, info->driver_cuda, sizeof info->driver_cuda);
  if (cudaRuntimeGetVersion(&version) == cudaSuccess)
    version_text(version, info->cuda, sizeof info->cuda);
  info->nvml = mpt_nvml_found();
  driver_version(info->driver, sizeof info->driver);
  cublaslt_version(info->cublaslt, sizeof info->cublaslt);
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    info->standing[f] = standing((mpt_format)f, 10 * p.major + p.minor);
  return MPT_OK;
}

mpt_status mpt_cuda_device_observe(int index, mpt_device_activity *activity, mpt_error *error) {
  struct cudaDeviceProp p;
  char uuid[48];
  MPT_RETURN_IF_FAILED(mpt_cuda_check(cudaGetDeviceProperties(&p, index), "cuda", error));
  uuid_text(&p, uuid, sizeof uuid);
  if (mpt_nvml_observe(uuid, activity))
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_UNSUPPORTED,
                  "%s: clocks, energy and other processes are not known, because NVML "
                  "(libnvidia-ml.so.1) %s",
                  p.name, mpt_nvml_found() ? "does not know the device" : "was not found");
}
