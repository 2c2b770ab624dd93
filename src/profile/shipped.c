#include "profile/shipped.h"
#include "base/error.h"
#include "base/text.h"
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
  const char *what, *folder, *environment;
} kinds[] = {
    [SHIPPED_PROFILE] = {"device profile", "devices", "MPTUNE_PROFILES"},
    [SHIPPED_WORKLOAD] = {"workload", "workloads", NULL},
};

/* ---- folders: strings one after the other, each with its NUL ---- */

static const char *next_of(const mpt_text *list, const char *at) {
  at = at == NULL ? list->data : at + strlen(at) + 1;
  return at != NULL && at < list->data + list->length ? at : NULL;
}

static bool has(const mpt_text *list, const char *string) {
  for (const char *s = NULL; (s = next_of(list, s)) != NULL;)
    if (strcmp(s, string) == 0)
      return true;
  return false;
}

static void add(mpt_text *list, const char *root, size_t length, const char *folder) {
  mpt_text path = {0};
  mpt_text_add_bytes(&path, root, length);
  mpt_text_add(&path, folder[0] == '\0' ? "" : "/");
  mpt_text_add(&path, folder);
  if (path.failed)
    list->failed = true;
  else if (!has(list, path.data))
    mpt_text_add_bytes(list, path.data, path.length + 1);
  mpt_text_free(&path);
}

/* PREFIX/share/mptune for PREFIX/bin/mptune: what is between them was settled by the installation's
 * folders, MPTUNE_DATA_FROM_BINARY is "../share/mptune". */
static void add_beside_program(mpt_text *list, const char *folder) {
  char program[PATH_MAX];
  const char *rest = MPTUNE_DATA_FROM_BINARY;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0)
    return; /* no such link in this system: the other folders remain */
  program[length] = '\0';
  *strrchr(program, '/') = '\0';
  for (char *end; strncmp(rest, "../", 3) == 0 && (end = strrchr(program, '/')) != NULL; rest += 3)
    *end = '\0';
  mpt_text root = {0};
  mpt_text_addf(&root, "%s/%s", program, rest);
  if (root.failed)
    list->failed = true;
  else
    add(list, root.data, root.length, folder);
  mpt_text_free(&root);
}

static void list_folders(shipped_kind kind, mpt_text *list) {
  const char *given = kinds[kind].environment != NULL ? getenv(kinds[kind].environment) : NULL;
  while (given != NULL && *given != '\0') {
    size_t length = strcspn(given, ":");
    if (length > 0)
      add(list, given, length, "");
    given += length + (given[length] == ':');
  }
  static const char source[] = MPTUNE_SOURCE_DIR "/profiles", installed[] = MPTUNE_DATA_DIR;
  add_beside_program(list, kinds[kind].folder);
  add(list, source, strlen(source), kinds[kind].folder);
  add(list, installed, strlen(installed), kinds[kind].folder);
}

/* ---- files ---- */

static bool ends_in(const char *name, const char *ending) {
  size_t length = strlen(name), end = strlen(ending);
  return length > end && strcmp(name + length - end, ending) == 0;
}

static bool is_file(shipped_kind kind, const char *name) {
  return strchr(name, '/') != NULL || ends_in(name, ".yaml") || ends_in(name, ".yml") ||
         (kind == SHIPPED_WORKLOAD && access(name, F_OK) == 0);
}

/* The names of the folder's files, but those that are there already. */
static void list_names(const char *folder, mpt_text *names) {
  mpt_text pattern = {0};
  glob_t found;
  mpt_text_addf(&pattern, "%s/*.yaml", folder);
  if (!pattern.failed && glob(pattern.data, 0, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; i++) {
      const char *base = strrchr(found.gl_pathv[i], '/') + 1;
      add(names, base, strlen(base) - strlen(".yaml"), "");
    }
    globfree(&found);
  }
  mpt_text_free(&pattern);
}

static void add_joined(mpt_text *text, const mpt_text *list) {
  if (list->length == 0)
    mpt_text_add(text, "none");
  for (const char *s = NULL; (s = next_of(list, s)) != NULL;)
    mpt_text_addf(text, "%s%s", s == list->data ? "" : ", ", s);
}

static mpt_status not_found(shipped_kind kind, const char *name, const mpt_text *folders,
                            mpt_error *error) {
  mpt_text names = {0}, known = {0}, searched = {0};
  for (const char *folder = NULL; (folder = next_of(folders, folder)) != NULL;)
    list_names(folder, &names);
  add_joined(&known, &names);
  add_joined(&searched, folders);
  mpt_status status = names.failed || known.failed || searched.failed
                          ? mpt_fail_memory(error, "names of files", names.length)
                          : mpt_fail(error, MPT_ERROR_NOT_FOUND,
                                     "no %s '%s' (known: %s); a file is also taken; searched: %s",
                                     kinds[kind].what, name, known.data, searched.data);
  mpt_text_free(&names);
  mpt_text_free(&known);
  mpt_text_free(&searched);
  return status;
}

static mpt_status find_in(const mpt_text *folders, shipped_kind kind, const char *name,
                          char path[SHIPPED_PATH], mpt_error *error) {
  for (const char *folder = NULL; (folder = next_of(folders, folder)) != NULL;) {
    mpt_text file = {0};
    mpt_text_addf(&file, "%s/%s.yaml", folder, name);
    if (file.failed)
      return mpt_fail_memory(error, "the name of a file", strlen(folder));
    bool there = access(file.data, R_OK) == 0, fits = file.length < SHIPPED_PATH;
    if (there && fits)
      strcpy(path, file.data);
    mpt_text_free(&file);
    if (there && !fits)
      return mpt_fail(error, MPT_ERROR_ARGUMENT,
                      "the path of the %s's file is longer than %d bytes", kinds[kind].what,
                      SHIPPED_PATH - 1);
    if (there)
      return MPT_OK;
  }
  return not_found(kind, name, folders, error);
}

mpt_status shipped_find(shipped_kind kind, const char *name, char path[SHIPPED_PATH],
                        mpt_error *error) {
  size_t length = strlen(name);
  if (length == 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the name of the %s is empty", kinds[kind].what);
  if (length >= SHIPPED_PATH)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "the name of the %s is longer than %d bytes",
                    kinds[kind].what, SHIPPED_PATH - 1);
  if (is_file(kind, name)) {
    memcpy(path, name, length + 1);
    return MPT_OK;
  }
  mpt_text folders = {0};
  list_folders(kind, &folders);
  mpt_status status = folders.failed ? mpt_fail_memory(error, "names of folders", folders.length)
                                     : find_in(&folders, kind, name, path, error);
  mpt_text_free(&folders);
  return status;
}
