#include "cli/commands.h"
#include <gsl/gsl_version.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>
#include <zlib.h>

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

/* The CPU backend has fp32 arithmetic; every other format is emulated on it, bit for bit. */
static const char *standing(mpt_format format) {
  return format == MPT_FP32 ? "native" : "emulated";
}

static void print_json(const char *processor, long cores) {
  json_t *formats = json_object();
  for (int i = 0; i < MPT_FORMAT_COUNT; i++)
    json_object_set_new(formats, mpt_format_get((mpt_format)i)->name,
                        json_string(standing((mpt_format)i)));
  cli_print_json(json_pack("{s:s,s:[{s:s,s:s,s:I,s:s,s:i,s:o}],s:{s:s,s:s,s:s,s:s,s:s}}", "mptune",
                           MPTUNE_VERSION, "backends", "name", "cpu", "device", processor, "cores",
                           (json_int_t)cores, "vectors", vector_width(), "numerics",
                           MPTUNE_CPU_NUMERICS, "formats", formats, "libraries", "gsl", GSL_VERSION,
                           "sqlite", sqlite3_libversion(), "libyaml", yaml_get_version_string(),
                           "jansson", JANSSON_VERSION, "zlib", zlibVersion()));
}

static int run(const cli_values *values) {
  char processor[128];
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  processor_name(processor, sizeof processor);
  if (values->json) {
    print_json(processor, cores);
    return EXIT_DONE;
  }
  printf("mptune %s\n\nbackend cpu (numerics %d)\n  device   %s, %ld cores, %s\n", MPTUNE_VERSION,
         MPTUNE_CPU_NUMERICS, processor, cores, vector_width());
  for (int i = 0; i < MPT_FORMAT_COUNT; i++)
    printf("  %-9s%s\n", mpt_format_get((mpt_format)i)->name, standing((mpt_format)i));
  printf("\nlibraries\n  GSL %s, SQLite %s, libyaml %s, Jansson %s, zlib %s\n", GSL_VERSION,
         sqlite3_libversion(), yaml_get_version_string(), JANSSON_VERSION, zlibVersion());
  return EXIT_DONE;
}

const cli_command command_doctor = {
    .name = "doctor",
    .arguments = "",
    .argument_low = 0,
    .argument_high = 0,
    .summary = "device, versions, which formats are native, emulated, absent",
    .examples = "  mptune doctor\n  mptune doctor --json\n",
    .run = run,
};
