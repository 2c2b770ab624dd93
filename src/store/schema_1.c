/* What a store of schema 1 holds, put into the tables of today.
 *
 * Its evaluations do not say under which condition they were made, but their key is a hash over it:
 * the condition that the run's definition describes is theirs where it gives their key. Of the
 * others nothing is known, and they are paired with nothing. Its verdicts were reached by other
 * rules, so they are not kept. */
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "store/database.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text == NULL ? "" : text;
}

/* As schema 1 spelt what the backend's results depend on. */
static void spell_numerics(const json_t *definition, char *numerics, size_t size) {
  const json_t *versions = json_object_get(definition, "versions");
  const json_t *cpu = json_object_get(versions, "cpu_numerics");
  const json_t *cuda = json_object_get(versions, "cuda_numerics");
  int version = 0, device = 0, end = 0;
  numerics[0] = '\0';
  if (json_is_integer(cpu)) {
    snprintf(numerics, size, "backend cpu %lld\nthreads %lld", (long long)json_integer_value(cpu),
             (long long)json_integer_value(json_object_get(definition, "threads")));
  } else if (json_is_integer(cuda)) { /* "cuda, numerics 1, NAME, compute capability 9.0" */
    static const char capability[] = ", compute capability ";
    const char *gpu = text_of(versions, "gpu"), *last = strstr(gpu, capability);
    if (sscanf(gpu, "cuda, numerics %d, %n%n", &version, &device, &end) == 1 && end > 0 &&
        last != NULL && last > gpu + device)
      snprintf(numerics, size, "backend cuda %d\n%.*s, %s", version, (int)(last - gpu - device),
               gpu + device, last + sizeof capability - 1);
  }
}

/* Scales are dynamic, static or none (0, 1, 2), and powers of two. */
enum { MODES = 3, LEAST_SCALE = -24, MOST_SCALE = 100 };

static bool key_matches(const store_condition *c, const char *policy, uint64_t seed, int mode,
                        int exponent, const char *key) {
  char hash[65], memory[1024];
  mpt_text text = mpt_text_over(memory, sizeof memory);
  mpt_text_addf(&text, "policy %s\ntraining %s\ndata %s\nseed %llu\nsteps %lld\n", policy,
                c->training, c->data, (unsigned long long)seed, (long long)c->steps);
  mpt_text_addf(&text, "%s\nloss scale %d %.9g\n", c->numerics, mode, ldexp(1.0, exponent));
  store_hash(text.data, text.length, hash);
  return strcmp(hash, key) == 0;
}

/* The scale is a part of the key, too; the one that was found last is tried first. */
static bool is_of(const store_condition *c, const store_evaluation *e, int *mode, int *exponent) {
  if (key_matches(c, e->policy, e->seed, *mode, *exponent, e->key))
    return true;
  for (int m = 0; m < MODES; m++) {
    for (int x = LEAST_SCALE; x <= MOST_SCALE; x++) {
      if (!key_matches(c, e->policy, e->seed, m, x, e->key))
        continue;
      *mode = m;
      *exponent = x;
      return true;
    }
  }
  return false;
}

static mpt_status set_condition(store *s, const store_evaluation *e, const store_condition *c,
                                mpt_error *error) {
  MPT_RETURN_IF_FAILED(store_put_condition(s, c, error));
  query q = query_begin(s, "UPDATE evaluations SET condition = ? WHERE id = ?");
  bind_text(&q, c->hash);
  bind_integer(&q, e->id);
  return query_end(&q, error);
}

static mpt_status find_conditions(store *s, const json_t *definition, mpt_error *error) {
  store_condition c = {0};
  store_evaluation *all = NULL;
  int count = 0, mode = 0, exponent = 16;
  snprintf(c.training, sizeof c.training, "%s", text_of(definition, "training_hash"));
  snprintf(c.data, sizeof c.data, "%s", text_of(definition, "data_hash"));
  spell_numerics(definition, c.numerics, sizeof c.numerics);
  MPT_RETURN_IF_FAILED(store_all_evaluations(s, &all, &count, error));
  mpt_status status = MPT_OK;
  for (int i = 0; i < count; i++) {
    c.steps = all[i].steps;
    store_condition_hash(&c);
    if (status == MPT_OK && is_of(&c, &all[i], &mode, &exponent))
      status = set_condition(s, &all[i], &c, error);
    store_evaluation_clear(&all[i]);
  }
  free(all);
  return status;
}

/* Takes the JSON. */
static mpt_status set_note(store *s, const char *name, json_t *json, mpt_error *error) {
  char *text = NULL;
  MPT_RETURN_IF_FAILED(mpt_json_dump(json, 0, name, &text, error));
  const mpt_status status = note_set(s, name, text, error);
  free(text);
  return status;
}

/* NULL where there is none, or no object. */
static mpt_status get_note(store *s, const char *name, json_t **json, mpt_error *error) {
  char *text = NULL;
  *json = NULL;
  MPT_RETURN_IF_FAILED(note_get(s, name, &text, error));
  const mpt_status status =
      text == NULL ? MPT_OK : mpt_json_parse(text, strlen(text), name, json, error);
  free(text);
  if (status == MPT_ERROR_MEMORY)
    return status;
  if (status != MPT_OK || json_is_object(*json))
    return MPT_OK;
  json_decref(*json);
  *json = NULL;
  return MPT_OK;
}

/* The condition that the run is about: of its last definition. */
static mpt_status migrate_definition(store *s, json_t *definition, mpt_error *error) {
  store_condition c = {.steps =
                           json_integer_value(json_object_get(definition, "evaluation_steps"))};
  snprintf(c.training, sizeof c.training, "%s", text_of(definition, "training_hash"));
  snprintf(c.data, sizeof c.data, "%s", text_of(definition, "data_hash"));
  spell_numerics(definition, c.numerics, sizeof c.numerics);
  store_condition_hash(&c);
  json_incref(definition);
  mpt_json_set(&definition, "condition", mpt_json_text(c.hash));
  mpt_json_set(&definition, "from_schema", json_integer(1));
  return set_note(s, "definition", definition, error);
}

/* Rows named their policies by label, and had verdicts that are not kept. */
static mpt_status migrate_rows(store *s, json_t *winner, mpt_error *error) {
  store_policy *policies = NULL;
  int count = 0;
  size_t i;
  json_t *row;
  MPT_RETURN_IF_FAILED(store_all_policies(s, &policies, &count, error));
  json_array_foreach(json_object_get(winner, "rows"), i, row) {
    const bool reference = json_is_true(json_object_get(row, "reference"));
    json_t *same = json_incref(row);
    for (int k = 0; k < count; k++)
      if (strcmp(policies[k].label, text_of(row, "label")) == 0)
        mpt_json_set(&same, "policy", mpt_json_text(policies[k].hash));
    mpt_json_set(&same, "verdict", mpt_json_text(reference ? "reference" : "unverified"));
    json_decref(same);
  }
  for (int k = 0; k < count; k++)
    free(policies[k].assignment);
  free(policies);
  return MPT_OK;
}

mpt_status schema_1_migrate(store *s, mpt_error *error) {
  json_t *definition = NULL, *winner = NULL;
  mpt_status status = MPT_OK;
  MPT_TRY(get_note(s, "definition", &definition, error));
  MPT_TRY(get_note(s, "winner", &winner, error));
  if (definition != NULL) {
    MPT_TRY(find_conditions(s, definition, error));
    MPT_TRY(migrate_definition(s, definition, error));
  }
  if (winner != NULL) {
    MPT_TRY(migrate_rows(s, winner, error));
    const bool gain = json_is_true(json_object_get(winner, "gain"));
    if (gain)
      mpt_json_set(&winner, "verdict", mpt_json_text("unverified"));
    MPT_TRY(set_note(s, "winner", json_incref(winner), error));
  }
  MPT_TRY(database_execute(s, "DELETE FROM notes WHERE name = 'verification'", error));
fail:
  json_decref(definition);
  json_decref(winner);
  return status;
}
