/* A tree from libyaml's events. */
#include "base/yaml.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct mpt_yaml {
  mpt_arena arena; /* nodes and strings */
  const mpt_yaml_node *root;
};

typedef struct reader {
  yaml_parser_t parser;
  const char *text;
  mpt_yaml *yaml;
  const char *file;
  int depth_limit;
  mpt_error *error;
} reader;

static mpt_status fail_mark(reader *r, yaml_mark_t mark, const char *message) {
  return mpt_fail_at(r->error, MPT_ERROR_SYNTAX, r->file, (int)mark.line + 1, (int)mark.column + 1,
                     "%s", message);
}

/* libyaml reads ahead: of bytes that are no text it tells the offset alone. */
static mpt_status fail_unreadable(reader *r) {
  int line = 1, column = 1;
  for (size_t i = 0; i < r->parser.problem_offset; i++) {
    const unsigned char byte = (unsigned char)r->text[i];
    line += byte == '\n';
    column = byte == '\n' ? 1 : column + ((byte & 0xC0) != 0x80);
  }
  return mpt_fail_at(r->error, MPT_ERROR_SYNTAX, r->file, line, column, "not YAML: %s",
                     r->parser.problem);
}

static mpt_status next_event(reader *r, yaml_event_t *event) {
  if (yaml_parser_parse(&r->parser, event))
    return MPT_OK;
  if (r->parser.error == YAML_MEMORY_ERROR)
    return mpt_fail_memory(r->error, r->file, 0);
  if (r->parser.error == YAML_READER_ERROR)
    return fail_unreadable(r);
  const yaml_mark_t mark = r->parser.problem_mark;
  return mpt_fail_at(r->error, MPT_ERROR_SYNTAX, r->file, (int)mark.line + 1, (int)mark.column + 1,
                     "not YAML: %s", r->parser.problem == NULL ? "unreadable" : r->parser.problem);
}

/* Anchors and tags would make two texts of one policy, aliases bombs. */
static mpt_status check_plain(reader *r, const yaml_event_t *e, const yaml_char_t *anchor,
                              const yaml_char_t *tag) {
  if (anchor != NULL)
    return fail_mark(r, e->start_mark, "anchors are not taken; write it out");
  if (tag != NULL)
    return fail_mark(r, e->start_mark, "tags are not taken; leave it out");
  return MPT_OK;
}

static mpt_yaml_node *new_node(reader *r, mpt_yaml_kind kind, yaml_mark_t mark) {
  mpt_yaml_node *node = mpt_arena_take(&r->yaml->arena, sizeof *node);
  if (node == NULL)
    return NULL;
  node->kind = kind;
  node->file = r->file;
  node->line = (int)mark.line + 1;
  node->column = (int)mark.column + 1;
  node->scalar = "";
  return node;
}

static mpt_status read_node(reader *r, yaml_event_t *event, int depth, const mpt_yaml_node **out);

static mpt_status read_scalar(reader *r, const yaml_event_t *e, const mpt_yaml_node **out) {
  MPT_RETURN_IF_FAILED(check_plain(r, e, e->data.scalar.anchor, e->data.scalar.tag));
  const size_t length = e->data.scalar.length;
  if (memchr(e->data.scalar.value, '\0', length) != NULL)
    return fail_mark(r, e->start_mark, "a NUL character is not taken");
  mpt_yaml_node *node = new_node(r, MPT_YAML_SCALAR, e->start_mark);
  char *text = mpt_arena_text(&r->yaml->arena, (const char *)e->data.scalar.value, length);
  if (node == NULL || text == NULL)
    return mpt_fail_memory(r->error, r->file, length);
  node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  const bool null = !node->quoted && (strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
  node->scalar = null ? "" : text;
  *out = node;
  return MPT_OK;
}

/* A growing list of nodes, copied into the tree when its end is known. */
typedef struct node_list {
  const mpt_yaml_node **nodes;
  size_t count, capacity;
} node_list;

static mpt_status push(reader *r, node_list *list, const mpt_yaml_node *node) {
  if (list->count == list->capacity) {
    const size_t capacity = 2 * list->capacity + 8;
    const mpt_yaml_node **grown = realloc(list->nodes, capacity * sizeof *grown);
    if (grown == NULL)
      return mpt_fail_memory(r->error, r->file, capacity * sizeof *grown);
    list->nodes = grown;
    list->capacity = capacity;
  }
  list->nodes[list->count++] = node;
  return MPT_OK;
}

static const mpt_yaml_node **settle(reader *r, const node_list *list) {
  const mpt_yaml_node **kept = mpt_arena_take(&r->yaml->arena, (list->count + 1) * sizeof *kept);
  if (kept != NULL && list->count > 0)
    memcpy(kept, list->nodes, list->count * sizeof *kept);
  return kept;
}

static int by_text_then_place(const void *a, const void *b) {
  const mpt_yaml_node *x = *(const mpt_yaml_node *const *)a, *y = *(const mpt_yaml_node *const *)b;
  const int order = strcmp(x->scalar, y->scalar);
  if (order != 0)
    return order;
  return x->line != y->line ? x->line - y->line : x->column - y->column;
}

/* Sorted, because a hostile file may hold a million keys. */
static mpt_status check_duplicates(reader *r, const node_list *keys) {
  const size_t bytes = keys->count * sizeof *keys->nodes;
  if (keys->count < 2)
    return MPT_OK;
  const mpt_yaml_node **sorted = malloc(bytes);
  if (sorted == NULL)
    return mpt_fail_memory(r->error, r->file, bytes);
  memcpy(sorted, keys->nodes, bytes);
  qsort(sorted, keys->count, sizeof *sorted, by_text_then_place);
  mpt_status status = MPT_OK;
  for (size_t i = 1; i < keys->count && status == MPT_OK; i++)
    if (strcmp(sorted[i - 1]->scalar, sorted[i]->scalar) == 0)
      status = mpt_yaml_fail(sorted[i], r->error, "duplicate key '%s' (first on line %d)",
                             sorted[i]->scalar, sorted[i - 1]->line);
  free(sorted);
  return status;
}

static mpt_status read_collection(reader *r, const yaml_event_t *start, int depth,
                                  const mpt_yaml_node **out) {
  const bool map = start->type == YAML_MAPPING_START_EVENT;
  if (depth >= r->depth_limit)
    return fail_mark(r, start->start_mark, "nested too deeply");
  mpt_yaml_node *node = new_node(r, map ? MPT_YAML_MAP : MPT_YAML_LIST, start->start_mark);
  if (node == NULL)
    return mpt_fail_memory(r->error, r->file, sizeof *node);
  node_list keys = {0}, items = {0};
  mpt_status status = MPT_OK;
  for (;;) {
    yaml_event_t event;
    const mpt_yaml_node *child = NULL;
    MPT_TRY(next_event(r, &event));
    const yaml_event_type_t type = event.type;
    if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT) {
      yaml_event_delete(&event);
      break;
    }
    status = read_node(r, &event, depth + 1, &child);
    yaml_event_delete(&event);
    if (status != MPT_OK)
      goto fail;
    if (map && keys.count == items.count) {
      if (child->kind != MPT_YAML_SCALAR) {
        status = mpt_yaml_fail(child, r->error, "a key must be a plain word");
        goto fail;
      }
      MPT_TRY(push(r, &keys, child));
    } else {
      MPT_TRY(push(r, &items, child));
    }
  }
  MPT_TRY(check_duplicates(r, &keys));
  node->count = items.count;
  node->items = settle(r, &items);
  node->keys = settle(r, &keys);
  if (node->items == NULL || node->keys == NULL)
    status = mpt_fail_memory(r->error, r->file, items.count * sizeof *items.nodes);
  *out = node;
fail:
  free(keys.nodes);
  free(items.nodes);
  return status;
}

static mpt_status read_node(reader *r, yaml_event_t *e, int depth, const mpt_yaml_node **out) {
  switch (e->type) {
  case YAML_SCALAR_EVENT:
    return read_scalar(r, e, out);
  case YAML_ALIAS_EVENT:
    return fail_mark(r, e->start_mark, "aliases are not taken; write it out");
  case YAML_SEQUENCE_START_EVENT:
    MPT_RETURN_IF_FAILED(
        check_plain(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag));
    return read_collection(r, e, depth, out);
  case YAML_MAPPING_START_EVENT:
    MPT_RETURN_IF_FAILED(
        check_plain(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag));
    return read_collection(r, e, depth, out);
  default:
    return fail_mark(r, e->start_mark, "not a value");
  }
}

/* Stream start, document start, the root, document end, and nothing after it. */
static mpt_status read_document(reader *r) {
  for (bool root_read = false;;) {
    yaml_event_t event;
    MPT_RETURN_IF_FAILED(next_event(r, &event));
    const yaml_event_type_t type = event.type;
    mpt_status status = MPT_OK;
    if (type == YAML_DOCUMENT_START_EVENT && root_read)
      status = fail_mark(r, event.start_mark, "several documents in one file");
    else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
             type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT) {
      status = read_node(r, &event, 0, &r->yaml->root);
      root_read = true;
    }
    yaml_event_delete(&event);
    if (status != MPT_OK)
      return status;
    if (type == YAML_STREAM_END_EVENT)
      break;
  }
  if (r->yaml->root == NULL)
    return mpt_fail_at(r->error, MPT_ERROR_SYNTAX, r->file, 0, 0, "the file is empty");
  return MPT_OK;
}

mpt_status mpt_yaml_parse(const char *text, size_t length, const char *name, int depth_limit,
                          mpt_yaml **yaml, mpt_error *error) {
  reader r = {.text = text, .depth_limit = depth_limit, .error = error};
  r.yaml = calloc(1, sizeof *r.yaml);
  char *file = r.yaml == NULL ? NULL : mpt_arena_text(&r.yaml->arena, name, strlen(name));
  if (file == NULL || !yaml_parser_initialize(&r.parser)) {
    mpt_yaml_free(r.yaml);
    return mpt_fail_memory(error, name, length);
  }
  r.file = file;
  /* A byte order mark may begin a file (YAML 1.2, section 5.2): editors on Windows write it. */
  if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
    r.text += 3, length -= 3;
  yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, length);
  yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
  mpt_status status = read_document(&r);
  yaml_parser_delete(&r.parser);
  if (status == MPT_OK)
    *yaml = r.yaml;
  else
    mpt_yaml_free(r.yaml);
  return status;
}

mpt_status mpt_yaml_load(const char *path, size_t size_limit, int depth_limit, mpt_yaml **yaml,
                         mpt_error *error) {
  char *text = NULL;
  size_t length = 0;
  MPT_RETURN_IF_FAILED(mpt_file_read(path, size_limit, &text, &length, error));
  mpt_status status = mpt_yaml_parse(text, length, path, depth_limit, yaml, error);
  free(text);
  return status;
}

void mpt_yaml_free(mpt_yaml *yaml) {
  if (yaml == NULL)
    return;
  mpt_arena_free(&yaml->arena);
  free(yaml);
}

const mpt_yaml_node *mpt_yaml_root(const mpt_yaml *yaml) {
  return yaml->root;
}

const mpt_yaml_node *mpt_yaml_get(const mpt_yaml_node *map, const char *key) {
  if (map == NULL || map->kind != MPT_YAML_MAP)
    return NULL;
  for (size_t i = 0; i < map->count; i++)
    if (strcmp(map->keys[i]->scalar, key) == 0)
      return map->items[i];
  return NULL;
}

mpt_status mpt_yaml_fail(const mpt_yaml_node *node, mpt_error *error, const char *format, ...) {
  char message[sizeof error->message];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return mpt_fail_at(error, MPT_ERROR_SYNTAX, node->file, node->line, node->column, "%s", message);
}

mpt_status mpt_yaml_expect(const mpt_yaml_node *node, mpt_yaml_kind kind, const char *what,
                           mpt_error *error) {
  static const char *const kinds[] = {"a single value", "a list", "a map of keys to values"};
  if (node->kind == kind)
    return MPT_OK;
  return mpt_yaml_fail(node, error, "%s must be %s, not %s", what, kinds[kind], kinds[node->kind]);
}

mpt_status mpt_yaml_check_keys(const mpt_yaml_node *map, const char *what, const char *const *known,
                               size_t known_count, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(map, MPT_YAML_MAP, what, error));
  for (size_t i = 0; i < map->count; i++) {
    const char *key = map->keys[i]->scalar;
    bool found = strncmp(key, "x-", 2) == 0;
    for (size_t j = 0; j < known_count && !found; j++)
      found = strcmp(key, known[j]) == 0;
    if (found)
      continue;
    const char *near = mpt_nearest_word(key, known, known_count);
    if (near != NULL)
      return mpt_yaml_fail(map->keys[i], error, "unknown key '%s' in %s; did you mean '%s'?", key,
                           what, near);
    mpt_text list = {0};
    for (size_t j = 0; j < known_count; j++)
      mpt_text_addf(&list, "%s%s", j ? ", " : "", known[j]);
    mpt_status status = mpt_yaml_fail(map->keys[i], error, "unknown key '%s' in %s (known: %s)",
                                      key, what, list.data == NULL ? "" : list.data);
    mpt_text_free(&list);
    return status;
  }
  return MPT_OK;
}

mpt_status mpt_yaml_string(const mpt_yaml_node *node, const char *what, const char **value,
                           mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_SCALAR, what, error));
  *value = node->scalar;
  return MPT_OK;
}

mpt_status mpt_yaml_integer(const mpt_yaml_node *node, const char *what, int64_t low, int64_t high,
                            int64_t *value, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_SCALAR, what, error));
  const size_t length = strlen(node->scalar);
  int64_t number = 0;
  double beyond; /* 64 bits */
  const bool whole = !node->quoted && node->scalar[strspn(node->scalar, "+-0123456789")] == '\0' &&
                     mpt_number_read(node->scalar, length, &beyond);
  if (!whole)
    return mpt_yaml_fail(node, error, "%s must be a whole number, not '%s'", what, node->scalar);
  if (!mpt_integer_read(node->scalar, length, &number) || number < low || number > high)
    return mpt_yaml_fail(node, error, "%s must be from %lld to %lld, not %s", what, (long long)low,
                         (long long)high, node->scalar);
  *value = number;
  return MPT_OK;
}

mpt_status mpt_yaml_number(const mpt_yaml_node *node, const char *what, double low, double high,
                           double *value, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_SCALAR, what, error));
  double number;
  if (node->quoted || !mpt_number_read(node->scalar, strlen(node->scalar), &number))
    return mpt_yaml_fail(node, error, "%s must be a finite number, not '%s'", what, node->scalar);
  if (number < low || number > high)
    return mpt_yaml_fail(node, error, "%s must be from %g to %g, not %s", what, low, high,
                         node->scalar);
  *value = number;
  return MPT_OK;
}

mpt_status mpt_yaml_boolean(const mpt_yaml_node *node, const char *what, bool *value,
                            mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(node, MPT_YAML_SCALAR, what, error));
  const bool yes = !node->quoted && strcmp(node->scalar, "true") == 0;
  if (!yes && (node->quoted || strcmp(node->scalar, "false") != 0))
    return mpt_yaml_fail(node, error, "%s must be true or false, not '%s'", what, node->scalar);
  *value = yes;
  return MPT_OK;
}
