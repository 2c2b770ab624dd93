/* A target without a fuzzer: runs it on each of the files, and of the files of each folder. */
#include "fuzz.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static int replayed;

static void replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  struct stat what;
  if (file == NULL || fstat(fileno(file), &what) != 0) {
    perror(path);
    exit(2);
  }
  /* Exactly as large as the input, so that the sanitizer sees what reads beyond it. */
  const size_t size = (size_t)what.st_size;
  uint8_t *data = malloc(size > 0 ? size : 1);
  if (data == NULL || fread(data, 1, size, file) != size) {
    perror(path);
    exit(2);
  }
  fclose(file);
  LLVMFuzzerTestOneInput(data, size);
  free(data);
  replayed++;
}

static void replay(const char *path) {
  DIR *entries = opendir(path);
  if (entries == NULL) {
    replay_file(path);
    return;
  }
  for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
    char name[4096];
    if (entry->d_name[0] == '.')
      continue;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    fprintf(stderr, "%s\n", name); /* the last line before a crash says what it was */
    replay_file(name);
  }
  closedir(entries);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    replay(argv[i]);
  if (replayed == 0) {
    fprintf(stderr, "usage: %s FILE|FOLDER...; no file was found\n", argv[0]);
    return 2;
  }
  printf("%d inputs\n", replayed);
  return 0;
}
