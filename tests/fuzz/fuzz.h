/* What the fuzz targets share. A target is one file, fuzz_NAME.c, with LLVMFuzzerTestOneInput; its
 * seeds are files of corpus/NAME. `./run-tests fuzz` links it with clang's fuzzer, every other
 * build with replay.c, which gives it the seeds: that is a short test.
 *
 * A target aborts where something that must hold does not; the sanitizers see the rest. */
#ifndef FUZZ_H
#define FUZZ_H

#include "mptune/mptune.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_REQUIRE(condition)                                                                    \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);               \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/* What fails says so: a message, and the same status. True where it succeeded. */
bool fuzz_succeeded(mpt_status status, const mpt_error *error);
/* What a target needs for itself, and can't go on without. */
void fuzz_must(mpt_status status, const mpt_error *error);

/* The folder of this process, which is removed as it ends. */
const char *fuzz_folder(void);
/* The path of a file with those bytes in it; of at most four names. */
const char *fuzz_file(const char *name, const void *data, size_t size);

#endif
