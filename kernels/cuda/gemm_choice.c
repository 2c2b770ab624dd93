/* What was chosen for products: kept for all queues of the process, and in a file of the user's
 * cache for later processes.
 *
 * A choice takes tens of milliseconds, those of a network seconds; and by timing it need not fall
 * the same way twice, while trainings of one search must repeat bit for bit, also where the search
 * was killed and goes on. The file has a line for each choice: its bytes in hexadecimal digits, and
 * their checksum. Lines are only added, under a lock, and the first for a product counts; one that
 * a crash cut short is passed over. Without the file, choices are made anew: nothing is wrong
 * then. */
#include "base/file.h"
#include "base/hash.h"
#include "kernels/cuda/gemm.h"
#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
  CHOICE_VERSION = 4, /* of candidates, checks and what is in a line */
  CHOICE_DIGITS = 2 * sizeof(gemm_choice),
  CHOICE_LINE = CHOICE_DIGITS + 1 + 16 + 1 /* digits, blank, checksum, end of line */
};
_Static_assert(sizeof(gemm_choice) == sizeof(gemm_key) + sizeof(cublasLtMatmulAlgo_t) + 24,
               "a choice has no gaps");

/* ---- a line ---- */
static uint64_t checksum(const gemm_choice *choice) {
  return mpt_hash_bytes(MPT_HASH_START, choice, sizeof *choice);
}

static void to_digits(const void *bytes, size_t count, char *digits) {
  for (size_t i = 0; i < count; i++)
    sprintf(digits + 2 * i, "%02x", ((const uint8_t *)bytes)[i]);
}

static bool from_digits(const char *digits, void *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    unsigned byte;
    if (!isxdigit((unsigned char)digits[2 * i]) || sscanf(digits + 2 * i, "%2x", &byte) != 1)
      return false;
    ((uint8_t *)bytes)[i] = (uint8_t)byte;
  }
  return true;
}

static bool parse_line(const char *line, gemm_choice *choice) {
  uint64_t sum;
  return strlen(line) == CHOICE_LINE && line[CHOICE_LINE - 1] == '\n' &&
         from_digits(line, choice, sizeof *choice) &&
         sscanf(line + CHOICE_DIGITS, " %16" SCNx64, &sum) == 1 && sum == checksum(choice);
}

static bool scan(FILE *file, gemm_choice *choice) {
  char line[CHOICE_LINE + 2], key[2 * sizeof choice->key + 1];
  gemm_choice found;
  to_digits(&choice->key, sizeof choice->key, key); /* a choice begins with its key */
  while (fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, key, strlen(key)) == 0 && parse_line(line, &found)) {
      *choice = found;
      return true;
    }
  return false;
}

static void write_line(FILE *file, const gemm_choice *choice) {
  char digits[CHOICE_DIGITS + 1];
  to_digits(choice, sizeof *choice, digits);
  fprintf(file, "%s %016" PRIx64 "\n", digits, checksum(choice));
}

/* ---- a file ---- */
bool mpt_gemm_choice_read(const char *path, gemm_choice *choice) {
  FILE *file = fopen(path, "re");
  bool found = file != NULL && scan(file, choice);
  if (file != NULL)
    fclose(file);
  return found;
}

void mpt_gemm_choice_share(const char *path, gemm_choice *choice) {
  FILE *file = fopen(path, "a+e");
  if (file == NULL)
    return;
  if (flock(fileno(file), LOCK_EX) == 0) { /* closing it unlocks it */
    rewind(file);
    if (!scan(file, choice)) {
      bool cut = fseek(file, -1, SEEK_END) == 0 && fgetc(file) != '\n';
      fseek(file, 0, SEEK_END);
      if (cut)
        fputc('\n', file);
      write_line(file, choice);
    }
  }
  fclose(file);
}

/* ---- this process and its file ---- */
typedef struct kept_choice {
  int device;
  gemm_choice choice;
  struct kept_choice *next;
} kept_choice;

static kept_choice *kept; /* until the process ends */
static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool recall(int device, gemm_choice *choice) {
  const kept_choice *x;
  pthread_mutex_lock(&kept_mutex);
  for (x = kept; x != NULL; x = x->next)
    if (x->device == device && memcmp(&x->choice.key, &choice->key, sizeof choice->key) == 0)
      break;
  pthread_mutex_unlock(&kept_mutex);
  if (x != NULL)
    *choice = x->choice;
  return x != NULL;
}

static void keep(int device, const gemm_choice *choice) {
  kept_choice *x = malloc(sizeof *x);
  if (x == NULL)
    return;
  pthread_mutex_lock(&kept_mutex);
  *x = (kept_choice){device, *choice, kept};
  kept = x;
  pthread_mutex_unlock(&kept_mutex);
}

bool mpt_gemm_choice_find(const cuda_context *c, gemm_choice *choice) {
  if (!c->gemm->tune)
    return false;
  if (recall(c->device, choice))
    return true;
  if (c->gemm->choices[0] == '\0' || !mpt_gemm_choice_read(c->gemm->choices, choice))
    return false;
  keep(c->device, choice);
  return true;
}

void mpt_gemm_choice_keep(const cuda_context *c, gemm_choice *choice) {
  if (!c->gemm->tune)
    return;
  if (c->gemm->choices[0] != '\0')
    mpt_gemm_choice_share(c->gemm->choices, choice);
  keep(c->device, choice);
}

void mpt_gemm_choice_open(cuda_context *c) {
  mpt_device_info info = {0};
  char folder[GEMM_PATH], name[256];
  c->gemm->choices[0] = '\0';
  if (!c->gemm->tune || mpt_cuda_device_describe(c->device, &info, NULL) != MPT_OK ||
      mpt_cache_path("products", folder, sizeof folder, NULL) != MPT_OK ||
      mpt_directory_make(folder, NULL) != MPT_OK)
    return;
  snprintf(name, sizeof name, "%s %d %s %s %d", info.name, info.processors, info.driver,
           info.cublaslt, CHOICE_VERSION);
  for (char *p = name; *p != '\0'; p++)
    if (!isalnum((unsigned char)*p) && *p != '.')
      *p = '-';
  if (snprintf(c->gemm->choices, GEMM_PATH, "%s/%s", folder, name) >= GEMM_PATH)
    c->gemm->choices[0] = '\0';
}
