/* What the tests of the command line need and a shell does not have:
 *   tool json               whether standard input is one JSON object
 *   tool json KEY...        and the value at that path, a number counting into a list
 *   tool documented FILE    whether FILE, docs/json.md, says what standard input has; its schema
 *   tool version FILE N     gives a run store the version N */
#include "json_document.h"
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int look(int count, char **keys) {
  json_error_t where;
  json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES, &where);
  if (!json_is_object(root)) {
    printf("not one JSON object: line %d: %s\n", where.line, where.text);
    return 1;
  }
  const json_t *at = root;
  for (int i = 0; i < count; i++)
    at = json_is_array(at) ? json_array_get(at, (size_t)atoi(keys[i]))
                           : json_object_get(at, keys[i]);
  char *text = at == NULL ? NULL : json_dumps(at, JSON_ENCODE_ANY | JSON_SORT_KEYS);
  if (count > 0)
    puts(text == NULL ? "absent" : text);
  free(text);
  json_decref(root);
  return 0;
}

static int documented(const char *document) {
  json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES, NULL);
  const int code = document_compare(document, root);
  json_decref(root);
  return code;
}

static int set_version(const char *file, const char *version) {
  sqlite3 *db = NULL;
  char command[64];
  snprintf(command, sizeof command, "PRAGMA user_version = %d", atoi(version));
  const int code = sqlite3_open(file, &db) == SQLITE_OK
                       ? sqlite3_exec(db, command, NULL, NULL, NULL)
                       : SQLITE_CANTOPEN;
  sqlite3_close(db);
  return code != SQLITE_OK;
}

int main(int count, char **words) {
  if (count > 1 && strcmp(words[1], "json") == 0)
    return look(count - 2, words + 2);
  if (count == 3 && strcmp(words[1], "documented") == 0)
    return documented(words[2]);
  if (count == 4 && strcmp(words[1], "version") == 0)
    return set_version(words[2], words[3]);
  return 2;
}
