/* Messages that are looked at, and files to read from. */
#include "fuzz.h"
#include <ftw.h>
#include <string.h>
#include <unistd.h>

bool fuzz_succeeded(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return true;
  FUZZ_REQUIRE(error->status == status);
  FUZZ_REQUIRE(error->message[0] != '\0');
  FUZZ_REQUIRE(memchr(error->message, '\0', sizeof error->message) != NULL);
  return false;
}

void fuzz_must(mpt_status status, const mpt_error *error) {
  if (status == MPT_OK)
    return;
  fprintf(stderr, "the target cannot begin: %s\n", error->message);
  exit(2);
}

static char folder[256];

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *walk) {
  (void)what, (void)kind, (void)walk;
  return remove(path);
}

static void remove_folder(void) {
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void) {
  if (folder[0] != '\0')
    return folder;
  const char *place = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/mptune-fuzz-XXXXXX", place != NULL ? place : "/tmp");
  if (mkdtemp(folder) == NULL) {
    perror(folder);
    exit(2);
  }
  atexit(remove_folder);
  return folder;
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
  static char paths[4][512];
  int i = 0;
  char path[512];
  snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
  while (i < 3 && paths[i][0] != '\0' && strcmp(paths[i], path) != 0)
    i++;
  strcpy(paths[i], path);
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
    perror(path);
    exit(2);
  }
  return paths[i];
}
