/* Files damaged at random: whatever comes in, an answer comes out, and an error has a message.
 * Worth most under ./run-tests asan. */
#include "base/random.h"
#include "data/dataset.h"
#include "workload/profile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 10000, ROOM = 1 << 16 };

static char path[64], labels[64];
static uint64_t draws;

static uint32_t draw(uint32_t below) {
  uint32_t random[4];
  mpt_philox(2026, draws++, 0, random);
  return random[0] % below;
}

static void write_to(const char *name, const char *bytes, size_t length) {
  FILE *file = fopen(name, "wb");
  assert_non_null(file);
  fwrite(bytes, 1, length, file);
  fclose(file);
}

/* Changes, drops, doubles, copies or cuts off a few stretches. */
static size_t damage(char *bytes, size_t length) {
  for (uint32_t times = 1 + draw(4); times > 0 && length > 0; times--) {
    size_t at = draw((uint32_t)length), span = 1 + draw(12);
    span = span < length - at ? span : length - at;
    switch (draw(5)) {
    case 0:
      bytes[at] = (char)draw(256);
      break;
    case 1:
      bytes[at] = "{}[]:,-#&*!|>'\"%@ \n\t09.e"[draw(24)];
      break;
    case 2:
      memmove(bytes + at, bytes + at + span, length - at - span);
      length -= span;
      break;
    case 3:
      if (length + span < ROOM) {
        memmove(bytes + at + span, bytes + at, length - at);
        length += span;
      }
      break;
    default:
      memmove(bytes + at, bytes + draw((uint32_t)(length - span + 1)), span);
      length = draw(8) == 0 ? at : length;
    }
  }
  return length;
}

static size_t read_whole(const char *name, char *bytes) {
  FILE *file = fopen(name, "rb");
  assert_non_null(file);
  size_t length = fread(bytes, 1, ROOM / 2, file);
  fclose(file);
  return length;
}

static void answered(mpt_status status, const mpt_error *error) {
  if (status != MPT_OK && (error->message[0] == '\0' || error->status != status))
    fail_msg("%s without a message", mpt_status_name(status));
}

static void workloads(void **state) {
  (void)state;
  static const char *const names[] = {"text-gpt", "fashion-cnn", "breast-cancer",
                                      "tiny-classifier"};
  static char whole[ROOM], bytes[ROOM];
  for (int i = 0; i < ROUNDS; i++) {
    char name[256];
    workload *w = NULL;
    mpt_error error = {.message = ""};
    sprintf(name, "%s/profiles/workloads/%s.yaml", MPTUNE_SOURCE_DIR, names[i % 4]);
    size_t length = read_whole(name, whole);
    memcpy(bytes, whole, length);
    write_to(path, bytes, damage(bytes, length));
    answered(workload_load(path, &w, &error), &error);
    if (w != NULL) {
      model_spec model = {.layers = NULL};
      int64_t batch, sequence;
      answered(workload_priced_model(w, &model, &batch, &sequence, &error), &error);
      model_free(&model);
    }
    workload_free(w);
  }
}

static void profiles(void **state) {
  (void)state;
  static char whole[ROOM], bytes[ROOM];
  size_t length = read_whole(MPTUNE_SOURCE_DIR "/profiles/devices/nvidia-h200.yaml", whole);
  for (int i = 0; i < ROUNDS / 10; i++) {
    profile *p = NULL;
    mpt_error error = {.message = ""};
    memcpy(bytes, whole, length);
    write_to(path, bytes, damage(bytes, length));
    answered(profile_load(path, &p, &error), &error);
    profile_free(p);
  }
}

static void try_data(const data_spec *spec) {
  dataset *data = NULL;
  mpt_error error = {.message = ""};
  answered(dataset_open(spec, &data, &error), &error);
  if (data != NULL) {
    dataset_batch batch;
    int64_t filled;
    assert_int_equal(dataset_batch_make(data, 1, &batch, NULL), MPT_OK);
    assert_int_equal(dataset_training_batch(data, 1, 5, &batch, NULL), MPT_OK);
    assert_int_equal(dataset_held_out_batch(data, 0, &batch, &filled, NULL), MPT_OK);
    dataset_batch_free(&batch);
  }
  dataset_close(data);
}

static void tables(void **state) {
  (void)state;
  static const char whole[] = "a,b,\"c\",label\n1.5,2,-3,0\n4e3,5,.6,1\n7,8,9,2\n1,2,3,0\n";
  static char bytes[ROOM];
  data_spec spec = data_spec_default(DATA_CSV);
  strcpy(spec.files[0], path);
  spec.header = spec.standardize = true;
  spec.classes = 3;
  for (int i = 0; i < ROUNDS; i++) {
    memcpy(bytes, whole, sizeof whole);
    write_to(path, bytes, damage(bytes, sizeof whole - 1));
    strcpy(spec.label, i % 3 == 0 ? "label" : "");
    strcpy(spec.columns, i % 2 == 0 ? "0-1" : "");
    try_data(&spec);
  }
}

static void images_and_tokens(void **state) {
  (void)state;
  static const char images[] = "\0\0\10\3\0\0\0\4\0\0\0\2\0\0\0\2abcdefghijklmnop";
  static const char classes[] = "\0\0\10\1\0\0\0\4\0\1\2\0";
  static char bytes[ROOM];
  data_spec idx = data_spec_default(DATA_IDX), tokens = data_spec_default(DATA_TOKENS);
  strcpy(idx.files[0], path);
  strcpy(idx.files[1], labels);
  strcpy(tokens.files[0], path);
  idx.classes = 3;
  tokens.sequence = 3;
  tokens.vocabulary = 30000;
  for (int i = 0; i < ROUNDS; i++) {
    memcpy(bytes, images, sizeof images - 1);
    write_to(path, bytes, i % 3 == 1 ? sizeof images - 1 : damage(bytes, sizeof images - 1));
    memcpy(bytes, classes, sizeof classes - 1);
    write_to(labels, bytes, i % 3 == 0 ? sizeof classes - 1 : damage(bytes, sizeof classes - 1));
    try_data(&idx);
    try_data(&tokens);
  }
}

static int make_paths(void **state) {
  (void)state;
  strcpy(path, "/tmp/mptune-damaged-XXXXXX");
  int file = mkstemp(path);
  if (file < 0)
    return 1;
  close(file);
  unlink(path);
  sprintf(labels, "%s.labels", path);
  strcat(path, ".yaml");
  return 0;
}

static int remove_paths(void **state) {
  (void)state;
  return unlink(path) | unlink(labels);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(workloads),
      cmocka_unit_test(profiles),
      cmocka_unit_test(tables),
      cmocka_unit_test(images_and_tokens),
  };
  return cmocka_run_group_tests(tests, make_paths, remove_paths);
}
