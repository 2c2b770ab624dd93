#include "cli/commands.h"
#include <gsl/gsl_version.h>
#include <sqlite3.h>
#include <string.h>
#include <yaml.h>
#include <zlib.h>

static const char *vector_width(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return "AVX-512";
  if (__builtin_cpu_supports("avx2"))
    return "AVX2";
  return "SSE2";
#else
  return "baseline";
#endif
}

static bool is_cpu(const char *backend) {
  return strcmp(backend, "cpu") == 0;
}

static int numerics(const char *backend) {
  return is_cpu(backend) ? MPTUNE_CPU_NUMERICS : MPTUNE_CUDA_NUMERICS;
}

static const char *or_not_found(const char *text) {
  return text[0] != '\0' ? text : "not found";
}

/* ---- for people ---- */
static void print_gpu(int index, const mpt_device_info *d) {
  char memory[32];
  cli_bytes((double)d->memory_bytes, memory, sizeof memory);
  printf("  device %d %s, compute capability %s, %d multiprocessors, %s\n           %s\n", index,
         d->name, d->capability, d->processors, memory, d->uuid);
  printf("  driver   %s, for CUDA up to %s\n  runtime  CUDA %s\n", or_not_found(d->driver),
         d->driver_cuda, d->cuda);
  printf("  cuBLASLt %s%s\n", or_not_found(d->cublaslt),
         d->cublaslt[0] != '\0' ? "" : ": no matrix products; set LD_LIBRARY_PATH or CUDA_HOME");
  printf("  NVML     %s\n",
         d->nvml ? "found" : "not found: energy, clocks and other processes stay unknown");
  if (d->standing[MPT_BF16] == MPT_ABSENT)
    printf("  too old: the cuda backend needs compute capability 8.0\n");
}

static void print_device(const char *backend, int index, const mpt_device_info *d) {
  if (is_cpu(backend))
    printf("  device   %s, %d cores, %s\n", d->name, d->processors, vector_width());
  else
    print_gpu(index, d);
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    printf("  %-9s%s\n", mpt_format_get((mpt_format)f)->name, mpt_standing_name(d->standing[f]));
}

static void print_backend(const char *backend) {
  mpt_error error = {0};
  int count = 0;
  printf("\nbackend %s (numerics %d)\n", backend, numerics(backend));
  mpt_status status = mpt_device_count(backend, &count, &error);
  for (int i = 0; status == MPT_OK && i < count; i++) {
    mpt_device_info info;
    status = mpt_device_describe(backend, i, &info, &error);
    if (status == MPT_OK)
      print_device(backend, i, &info);
  }
  if (status != MPT_OK) {
    printf("  ");
    cli_print_shown(error.message, 0);
    putchar('\n');
  }
}

/* ---- for programs ---- */
static json_t *json_formats(const mpt_device_info *d) {
  json_t *formats = json_object();
  for (int f = 0; f < MPT_FORMAT_COUNT; f++)
    mpt_json_set(&formats, mpt_format_get((mpt_format)f)->name,
                 mpt_json_text(mpt_standing_name(d->standing[f])));
  return formats;
}

static json_t *json_gpu(const mpt_device_info *d) {
  return mpt_json_pack("{s:s,s:s,s:s,s:i,s:I,s:s,s:s,s:s,s:s,s:b,s:o}", "device", d->name, "uuid",
                       d->uuid, "compute_capability", d->capability, "multiprocessors",
                       d->processors, "memory_bytes", (json_int_t)d->memory_bytes, "driver",
                       d->driver, "driver_cuda", d->driver_cuda, "cuda", d->cuda, "cublaslt",
                       d->cublaslt, "nvml", (int)d->nvml, "formats", json_formats(d));
}

static json_t *json_cpu(const mpt_device_info *d) {
  return mpt_json_pack("{s:s,s:i,s:s,s:s,s:o}", "device", d->name, "cores", d->processors,
                       "vectors", vector_width(), "blas", d->blas, "formats", json_formats(d));
}

static json_t *json_backend(const char *backend) {
  mpt_error error = {0};
  mpt_device_info info;
  json_t *devices = json_array();
  int count = 0;
  mpt_status status = mpt_device_count(backend, &count, &error);
  for (int i = 0; status == MPT_OK && i < count; i++) {
    status = mpt_device_describe(backend, i, &info, &error);
    if (status == MPT_OK)
      mpt_json_append(&devices, is_cpu(backend) ? json_cpu(&info) : json_gpu(&info));
  }
  return mpt_json_pack("{s:s,s:i,s:o,s:s}", "name", backend, "numerics", numerics(backend),
                       "devices", devices, "why_none", status == MPT_OK ? NULL : error.message);
}

static void print_json(void) {
  json_t *backends = json_array();
  for (int i = 0; mpt_backend_name(i) != NULL; i++)
    mpt_json_append(&backends, json_backend(mpt_backend_name(i)));
  cli_print_json("mptune/doctor@1",
                 mpt_json_pack("{s:s,s:o,s:{s:s,s:s,s:s,s:s,s:s}}", "mptune", MPTUNE_VERSION,
                               "backends", backends, "libraries", "gsl", GSL_VERSION, "sqlite",
                               sqlite3_libversion(), "libyaml", yaml_get_version_string(),
                               "jansson", JANSSON_VERSION, "zlib", zlibVersion()));
}

static int run(const cli_values *values) {
  if (values->json) {
    print_json();
    return EXIT_DONE;
  }
  printf("mptune %s\n", MPTUNE_VERSION);
  for (int i = 0; mpt_backend_name(i) != NULL; i++)
    print_backend(mpt_backend_name(i));
  if (mpt_backend_name(1) == NULL)
    printf("\nbackend cuda\n  not built in: ./mptune builds it where there are nvcc and a GPU, or "
           "with MPTUNE_CUDA=ON\n");
  printf("\nlibraries\n  GSL %s, SQLite %s, libyaml %s, Jansson %s, zlib %s\n", GSL_VERSION,
         sqlite3_libversion(), yaml_get_version_string(), JANSSON_VERSION, zlibVersion());
  return EXIT_DONE;
}

const cli_command command_doctor = {
    .name = "doctor",
    .arguments = "",
    .argument_low = 0,
    .argument_high = 0,
    .summary = "devices, versions, which formats are native, emulated, absent",
    .examples = "  mptune doctor\n  mptune doctor --json\n",
    .run = run,
};
