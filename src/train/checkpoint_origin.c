/* What a checkpoint was trained on, as lines "key=value": the training part of the workload, then
 * the content of the data, seed, length, formats and loss scale. Kept as text rather than as a
 * hash, so that a difference can be named. */
#include "base/error.h"
#include "base/sha256.h"
#include "base/shown.h"
#include "train/checkpoint.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char data_content[] = "data content";
static const char of_formats[] = "formats of ", of_loss_scale[] = "loss scale of the policy";

static void add_formats(const training *t, mpt_text *text) {
  for (int i = 0; i < t->g->layer_count; i++) {
    char formats[256];
    const graph_layer *layer = &t->g->layers[i];
    const mpt_layer_policy policy =
        mpt_layer_policy_for(layer->kind->name, &t->options->assignment[i]);
    mpt_layer_policy_text(&policy, formats, sizeof formats);
    mpt_text_addf(text, "%s%s=%s\n", of_formats, layer->spec->name, formats);
  }
}

/* As a JSON string will give it back. */
mpt_status checkpoint_origin(training *t, mpt_error *error) {
  const train_options *o = t->options;
  char *training_part = NULL;
  mpt_text text = {0}, origin = {0};
  MPT_RETURN_IF_FAILED(workload_training_text(t->w, &training_part, error));
  mpt_sha256_hex(training_part, strlen(training_part), t->training_hash);
  mpt_text_add(&text, training_part);
  free(training_part);
  mpt_text_addf(&text, "%s=%s\n", data_content, dataset_get_info(o->data)->hash);
  mpt_text_addf(&text, "seed=%" PRIu64 "\nsteps of this run=%" PRId64 "\n", o->seed, o->steps);
  mpt_text_addf(&text, "%s=%d,%.9g\n", of_loss_scale, (int)o->loss_scale.mode,
                (double)o->loss_scale.initial);
  add_formats(t, &text);
  if (!text.failed)
    mpt_text_add_utf8(&origin, text.data);
  bool failed = text.failed || origin.failed;
  mpt_text_free(&text);
  if (failed) {
    mpt_text_free(&origin);
    return mpt_fail_memory(error, "what the checkpoint was trained on", text.length);
  }
  t->origin = origin.data;
  return MPT_OK;
}

/* ---- differences ---- */

typedef struct line {
  const char *next; /* where the line behind it begins */
  const char *key, *value;
  int key_length, value_length;
  const char *layer; /* of whose lines it is one; NULL */
  int layer_length;
} line;

static const char of_layer[] = "layer ", names_layer[] = "layer name";

static bool read_line(line *l) {
  const char *end = strchr(l->next, '\n');
  if (end == NULL)
    return false;
  const char *equals = memchr(l->next, '=', (size_t)(end - l->next));
  l->key = l->next;
  l->key_length = (int)((equals != NULL ? equals : end) - l->key);
  l->value = equals != NULL ? equals + 1 : end;
  l->value_length = (int)(end - l->value);
  l->next = end + 1;
  if (strncmp(l->key, names_layer, sizeof names_layer - 1) == 0)
    l->layer = l->value, l->layer_length = l->value_length;
  else if (strncmp(l->key, of_layer, sizeof of_layer - 1) != 0)
    l->layer = NULL, l->layer_length = 0;
  return true;
}

static bool same_text(const char *a, int a_length, const char *b, int b_length) {
  return a_length == b_length &&
         (a_length == 0 || (a != NULL && b != NULL && memcmp(a, b, (size_t)a_length) == 0));
}

static bool same_key(const line *a, const line *b) {
  return same_text(a->key, a->key_length, b->key, b->key_length) &&
         same_text(a->layer, a->layer_length, b->layer, b->layer_length);
}

/* The line of `wanted`'s key, most often the one behind `*l`. */
static bool find_line(const char *text, const line *wanted, line *l) {
  line at = *l;
  bool found = read_line(&at) && same_key(&at, wanted);
  if (!found)
    at = (line){.next = text};
  while (!found && read_line(&at))
    found = same_key(&at, wanted);
  if (found)
    *l = at;
  return found;
}

char *checkpoint_origin_of_any_policy(const char *origin) {
  mpt_text text = {0};
  line l = {.next = origin};
  mpt_text_add(&text, "");
  while (read_line(&l))
    if (strncmp(l.key, of_formats, sizeof of_formats - 1) != 0 &&
        strncmp(l.key, of_loss_scale, sizeof of_loss_scale - 1) != 0)
      mpt_text_add_bytes(&text, l.key, (size_t)(l.next - l.key));
  if (text.failed)
    mpt_text_free(&text);
  return text.data;
}

enum { NAMED = 4 }; /* differences that are spelled out */

static void begin_difference(mpt_text *text, const line *l) {
  mpt_text_add(text, text->length > 0 ? ", " : "");
  if (same_text(l->key, l->key_length, data_content, sizeof data_content - 1)) {
    mpt_text_add(text, "the data's content");
    return;
  }
  if (l->layer == NULL) {
    mpt_text_add_bytes(text, l->key, (size_t)l->key_length);
    return;
  }
  mpt_text_addf(text, "layer '%.*s'", l->layer_length, l->layer);
  if (strncmp(l->key, names_layer, sizeof names_layer - 1) != 0)
    mpt_text_addf(text, ": %.*s", l->key_length - (int)sizeof of_layer + 1,
                  l->key + sizeof of_layer - 1);
}

static void add_value(mpt_text *text, const char *word, const line *l) {
  char value[80];
  snprintf(value, sizeof value, "%.*s", l->value_length, l->value);
  mpt_utf8_trim(value);
  if (same_text(l->key, l->key_length, data_content, sizeof data_content - 1))
    snprintf(value + 8, sizeof value - 8, "..."); /* of a hash the beginning tells enough */
  mpt_text_addf(text, "%s%s", word, l->value_length > 0 ? value : "not given");
}

/* Lines of `a` that `b` lacks; what belongs to a layer goes with its name. */
static void list_missing(const char *a, const char *b, const char *words, mpt_text *text,
                         int *count) {
  line l = {.next = a}, cursor = {.next = b};
  while (read_line(&l)) {
    const bool of_it = l.layer != NULL && strncmp(l.key, names_layer, sizeof names_layer - 1) != 0;
    if (of_it || find_line(b, &l, &cursor) || (*count)++ >= NAMED)
      continue;
    begin_difference(text, &l);
    mpt_text_add(text, words);
  }
}

mpt_status checkpoint_origin_differences(const char *then, const char *now, char **out,
                                         mpt_error *error) {
  mpt_text text = {0};
  int count = 0;
  line l = {.next = now}, cursor = {.next = then};
  while (read_line(&l)) {
    if (!find_line(then, &l, &cursor) ||
        same_text(l.value, l.value_length, cursor.value, cursor.value_length) || count++ >= NAMED)
      continue;
    begin_difference(&text, &l);
    add_value(&text, " was ", &cursor);
    add_value(&text, " and is ", &l);
  }
  list_missing(now, then, " was not there", &text, &count);
  list_missing(then, now, " is not there any more", &text, &count);
  if (count > NAMED)
    mpt_text_addf(&text, " and %d more", count - NAMED);
  mpt_text_add(&text, count == 0 ? "it is described in another order" : "");
  if (text.failed) {
    mpt_text_free(&text);
    return mpt_fail_memory(error, "what differs", text.length);
  }
  *out = text.data;
  return MPT_OK;
}
