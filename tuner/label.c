#include "tuner/label.h"
#include "base/error.h"
#include "base/shown.h"
#include <stdlib.h>
#include <string.h>

#define ELLIPSIS "…"

/* The longest end of a path that fits into `most` bytes: from a folder's slash, else from a
 * character of the last name. */
static const char *end_of(const char *path, size_t most) {
  const size_t length = strlen(path);
  const char *at = path + length - most;
  const char *slash = strchr(at, '/');
  if (slash != NULL)
    return slash;
  uint32_t character;
  const char *whole = path;
  while (whole < at) {
    const size_t step = mpt_utf8_decode(whole, &character);
    whole += step == 0 ? 1 : step; /* a byte that is none is one by itself */
  }
  return whole;
}

void label_path(const char *path, int number, char label[LABEL_SIZE]) {
  char suffix[16] = "";
  if (number > 1)
    snprintf(suffix, sizeof suffix, " (%d)", number);
  const size_t room = LABEL_SIZE - 1 - strlen(suffix);
  if (strlen(path) <= room)
    snprintf(label, LABEL_SIZE, "%.*s%s", (int)room, path, suffix);
  else
    snprintf(label, LABEL_SIZE, ELLIPSIS "%.*s%s", (int)room, end_of(path, room - strlen(ELLIPSIS)),
             suffix);
}

static bool taken(const tuner_policy *policies, char (*labels)[LABEL_SIZE], int i) {
  for (int k = 0; k < i; k++)
    if (strcmp(labels[k], labels[i]) == 0 && strcmp(policies[k].label, policies[i].label) != 0)
      return true;
  return false;
}

void label_paths(const tuner_policy *policies, int count, char (*labels)[LABEL_SIZE]) {
  for (int i = 0; i < count; i++) {
    int number = 0;
    do
      label_path(policies[i].label, ++number, labels[i]);
    while (taken(policies, labels, i));
  }
}

mpt_status label_candidate(store *s, const char *hash, int number, char label[LABEL_SIZE],
                           mpt_error *error) {
  char *known = NULL;
  bool taken = true;
  MPT_RETURN_IF_FAILED(store_policy_label(s, hash, &known, error));
  if (known != NULL && strncmp(known, LABEL_CANDIDATE, strlen(LABEL_CANDIDATE)) == 0) {
    mpt_copy_text(label, LABEL_SIZE, known);
    taken = false;
  }
  free(known);
  for (; taken; number++) {
    snprintf(label, LABEL_SIZE, LABEL_CANDIDATE "%d", number);
    MPT_RETURN_IF_FAILED(store_label_taken(s, label, hash, &taken, error));
  }
  return MPT_OK;
}
