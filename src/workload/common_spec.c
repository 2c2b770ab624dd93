/* What a workload says however it is trained: its name, the formats that layers may have, how the
 * loss is scaled. */
#include "base/error.h"
#include "workload/sections.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PINS = 1000 };

static const char *const loss_scale_words[] = {"dynamic", "static", "none", NULL};

mpt_status workload_schema_read(const mpt_yaml_node *root, mpt_error *error) {
  const mpt_yaml_node *node = mpt_yaml_get(root, "schema");
  const char *schema;
  if (node == NULL)
    return mpt_yaml_fail(root, error,
                         "no 'schema'; a workload begins with 'schema: "
                         "mptune/workload@1'");
  MPT_RETURN_IF_FAILED(mpt_yaml_string(node, "schema", &schema, error));
  if (strcmp(schema, "mptune/workload@1") != 0)
    return mpt_yaml_fail(node, error, "schema is '%s'; this mptune reads mptune/workload@1",
                         schema);
  return MPT_OK;
}

static mpt_status add_pin(workload *w, const mpt_yaml_node *glob, mpt_precision precision,
                          mpt_error *error) {
  const char *text;
  MPT_RETURN_IF_FAILED(mpt_yaml_string(glob, "layers", &text, error));
  if (*text == '\0' || strlen(text) >= MPT_MAX_NAME)
    return mpt_yaml_fail(glob, error, "a layer pattern has 1 to %d characters", MPT_MAX_NAME - 1);
  if (strstr(text, "[^") != NULL || strchr(text, '\\') != NULL)
    return mpt_yaml_fail(glob, error,
                         "pattern '%s': write [!abc] for 'none of abc'; there are no "
                         "escapes",
                         text);
  if (w->pin_count == MAX_PINS)
    return mpt_yaml_fail(glob, error, "more than %d pins", MAX_PINS);
  pin_spec *pins = realloc(w->pins, ((size_t)w->pin_count + 1) * sizeof *pins);
  if (pins == NULL)
    return mpt_fail_memory(error, "pins", ((size_t)w->pin_count + 1) * sizeof *pins);
  w->pins = pins;
  pin_spec *pin = &pins[w->pin_count++];
  *pin = (pin_spec){.precision = precision, .line = glob->line, .column = glob->column};
  strcpy(pin->layers, text);
  return MPT_OK;
}

mpt_status pins_read(const mpt_yaml_node *list, workload *w, mpt_error *error) {
  static const mpt_field fields[] = {WORKLOAD_SECTION("layers", true),
                                     WORKLOAD_SECTION("format", true)};
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "pins", error));
  for (size_t i = 0; i < list->count; i++) {
    const mpt_yaml_node *map = list->items[i];
    int precision;
    MPT_RETURN_IF_FAILED(mpt_fields_read(map, "a pin", fields, MPT_FIELD_COUNT(fields), w, error));
    MPT_RETURN_IF_FAILED(
        mpt_fields_word(mpt_yaml_get(map, "format"), "format", precision_words, &precision, error));
    const mpt_yaml_node *layers = mpt_yaml_get(map, "layers");
    if (layers->kind != MPT_YAML_LIST) {
      MPT_RETURN_IF_FAILED(add_pin(w, layers, (mpt_precision)precision, error));
      continue;
    }
    for (size_t j = 0; j < layers->count; j++)
      MPT_RETURN_IF_FAILED(add_pin(w, layers->items[j], (mpt_precision)precision, error));
  }
  return MPT_OK;
}

mpt_status exclusions_read(const mpt_yaml_node *list, workload *w, mpt_error *error) {
  MPT_RETURN_IF_FAILED(mpt_yaml_expect(list, MPT_YAML_LIST, "exclude", error));
  for (size_t i = 0; i < list->count; i++) {
    int precision;
    MPT_RETURN_IF_FAILED(
        mpt_fields_word(list->items[i], "format", precision_words, &precision, error));
    w->excluded |= 1u << precision;
  }
  if (w->excluded == (1u << MPT_PRECISION_COUNT) - 1)
    return mpt_yaml_fail(list, error, "every format is excluded; leave at least one");
  return MPT_OK;
}

mpt_status loss_scale_read(const mpt_yaml_node *map, mpt_loss_scale_policy *scale,
                           mpt_error *error) {
  const char *const keys[] = {"mode", "initial"};
  double initial = scale->initial;
  int mode = (int)scale->mode;
  MPT_RETURN_IF_FAILED(mpt_yaml_check_keys(map, "loss_scale", keys, 2, error));
  const mpt_yaml_node *node = mpt_yaml_get(map, "mode");
  if (node != NULL)
    MPT_RETURN_IF_FAILED(mpt_fields_word(node, "mode", loss_scale_words, &mode, error));
  node = mpt_yaml_get(map, "initial");
  if (node != NULL && mode == (int)MPT_LOSS_SCALE_NONE)
    return mpt_yaml_fail(node, error, "a loss_scale of mode none takes no 'initial'");
  if (node != NULL) {
    int exponent;
    MPT_RETURN_IF_FAILED(mpt_yaml_number(node, "initial", 0x1p-24, 0x1p100, &initial, error));
    if (frexp(initial, &exponent) != 0.5)
      return mpt_yaml_fail(node, error, "initial is %s; a loss scale is a power of two, 65536",
                           node->scalar);
  }
  scale->mode = (mpt_loss_scale_mode)mode;
  scale->initial = (float)initial;
  return MPT_OK;
}

/* The name makes the directory runs/NAME, so it is kept to harmless characters. */
mpt_status workload_name_settle(const mpt_yaml_node *root, workload *w, mpt_error *error) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const mpt_yaml_node *node = mpt_yaml_get(root, "name");
  const bool given = node != NULL;
  if (!given) {
    const char *slash = strrchr(w->path, '/');
    const char *base = slash != NULL ? slash + 1 : w->path, *ending = strrchr(base, '.');
    const size_t length = ending != NULL ? (size_t)(ending - base) : strlen(base);
    node = root;
    if (length >= sizeof w->name) /* cut, two files could have one run */
      return mpt_yaml_fail(node, error,
                           "the file's name has %zu characters, and a run's at most %zu; give it a "
                           "'name'",
                           length, sizeof w->name - 1);
    snprintf(w->name, sizeof w->name, "%.*s", (int)length, base);
  }
  if (w->name[0] == '\0' || w->name[0] == '.' || w->name[strspn(w->name, allowed)] != '\0')
    return mpt_yaml_fail(node, error,
                         "name '%s' may hold letters, digits, '.', '_' and '-' only, and begins "
                         "with no '.'%s",
                         w->name, given ? "" : "; the file's does not, so give it a 'name'");
  return MPT_OK;
}
