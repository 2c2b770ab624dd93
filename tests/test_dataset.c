/* Data sets: what comes out of good files, batches as a function of (seed, step), bad files. */
#include "data/source.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char folder[64];

/* A path in the test's folder; four may be in use at once. */
static const char *in_folder(const char *name) {
  static char paths[4][160];
  static int next;
  char *path = paths[next++ % 4];
  sprintf(path, "%s/%s", folder, name);
  return path;
}

static const char *put(const char *name, const void *bytes, size_t length) {
  const char *path = in_folder(name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
  return path;
}

static const char *put_gzip(const char *name, const void *bytes, size_t length) {
  const char *path = in_folder(name);
  gzFile file = gzopen(path, "wb");
  assert_int_equal(gzwrite(file, bytes, (unsigned)length), length);
  gzclose(file);
  return path;
}

static const char *put_text(const char *name, const char *text) {
  return put(name, text, strlen(text));
}

static data_spec spec_of(data_kind kind, const char *file) {
  data_spec spec = data_spec_default(kind);
  snprintf(spec.files[0], sizeof spec.files[0], "%s", file);
  return spec;
}

static dataset *open_data(const data_spec *spec) {
  dataset *data = NULL;
  mpt_error error;
  if (dataset_open(spec, &data, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return data;
}

static void refused(const data_spec *spec, mpt_status wanted, const char *says) {
  dataset *data = NULL;
  mpt_error error = {.message = ""};
  mpt_status status = dataset_open(spec, &data, &error);
  if (status != wanted || strstr(error.message, says) == NULL)
    fail_msg("wanted %s '%s', got %s '%s'", mpt_status_name(wanted), says, mpt_status_name(status),
             error.message);
  assert_null(data);
}

/* ---- the order of samples ---- */

static void every_epoch_is_a_permutation(void **state) {
  (void)state;
  static const int64_t counts[] = {1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
      int64_t count = counts[c];
      char *seen = calloc((size_t)count, 1);
      for (int64_t i = 0; i < count; i++) {
        int64_t to = shuffle_index(7, epoch, count, i);
        assert_true(to >= 0 && to < count && !seen[to]);
        seen[to] = 1;
      }
      free(seen);
    }
}

/* Over keys, each place receives each sample about equally often: chi-square of 10 x 10 counts,
 * 81 degrees of freedom, below its 99.99% point. */
static void permutations_are_even(void **state) {
  (void)state;
  enum { SIZE = 10, KEYS = 20000 };
  int counts[SIZE][SIZE] = {{0}};
  for (uint64_t key = 0; key < KEYS; key++)
    for (int i = 0; i < SIZE; i++)
      counts[i][shuffle_index(key, key % 3, SIZE, i)]++;
  double chi = 0.0, expected = (double)KEYS / SIZE;
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++)
      chi += (counts[i][j] - expected) * (counts[i][j] - expected) / expected;
  assert_true(chi < 137.0);
}

/* ---- features: idx and synthetic ---- */

static data_spec synthetic(int64_t samples) {
  data_spec spec = data_spec_default(DATA_SYNTHETIC);
  spec.features = 3;
  spec.classes = 4;
  spec.samples = samples;
  spec.held_out = 5;
  spec.seed = 1;
  return spec;
}

/* The features of a sample name it, since they are random. */
static int find(const float *rows, int64_t count, const float *row) {
  for (int64_t i = 0; i < count; i++)
    if (memcmp(rows + 3 * i, row, 3 * sizeof *row) == 0)
      return (int)i;
  return -1;
}

static void batches_go_through_every_sample_once_an_epoch(void **state) {
  (void)state;
  data_spec spec = synthetic(33); /* 28 to train on: 4 batches of 7 an epoch */
  dataset *data = open_data(&spec);
  dataset_batch batch;
  int64_t filled;
  float seen[2][28 * 3];
  assert_int_equal(dataset_get_info(data)->training, 28);
  assert_int_equal(dataset_batch_make(data, 7, &batch, NULL), MPT_OK);
  for (int step = 0; step < 8; step++) {
    assert_int_equal(dataset_training_batch(data, 9, step, &batch, NULL), MPT_OK);
    for (int row = 0; row < 7; row++) {
      int place = step % 4 * 7 + row;
      assert_int_equal(find(seen[step / 4], place, batch.features + 3 * row), -1);
      memcpy(seen[step / 4] + 3 * place, batch.features + 3 * row, 3 * sizeof(float));
    }
  }
  for (int i = 0; i < 28; i++)
    assert_true(find(seen[0], 28, seen[1] + 3 * i) >= 0);
  assert_memory_not_equal(seen[0], seen[1], sizeof seen[0]); /* in another order */

  assert_int_equal(dataset_held_out_batch(data, 0, &batch, &filled, NULL), MPT_OK);
  assert_int_equal(filled, 5);
  for (int row = 0; row < 5; row++) {
    assert_int_equal(find(seen[0], 28, batch.features + 3 * row), -1);
    assert_int_equal(find(batch.features, row, batch.features + 3 * row), -1);
  }
  dataset_batch_free(&batch);
  dataset_close(data);
}

static void a_batch_is_a_function_of_seed_and_step(void **state) {
  (void)state;
  data_spec spec = synthetic(50);
  dataset *data = open_data(&spec), *again = open_data(&spec);
  dataset_batch a, b;
  assert_int_equal(dataset_batch_make(data, 10, &a, NULL), MPT_OK);
  assert_int_equal(dataset_batch_make(again, 10, &b, NULL), MPT_OK);
  assert_string_equal(dataset_get_info(data)->hash, dataset_get_info(again)->hash);
  dataset_training_batch(data, 3, 0, &a, NULL);
  dataset_training_batch(data, 3, 11, &a, NULL);
  dataset_training_batch(again, 3, 11, &b, NULL);
  assert_memory_equal(a.features, b.features, 30 * sizeof(float));
  assert_memory_equal(a.labels, b.labels, 10 * sizeof(int32_t));
  dataset_training_batch(again, 4, 11, &b, NULL);
  assert_memory_not_equal(a.features, b.features, 30 * sizeof(float));
  dataset_batch_free(&a);
  dataset_batch_free(&b);
  dataset_close(data);
  dataset_close(again);
}

static void a_batch_larger_than_the_data_is_refused(void **state) {
  (void)state;
  data_spec spec = synthetic(20);
  dataset *data = open_data(&spec);
  dataset_batch batch;
  mpt_error error;
  assert_int_equal(dataset_batch_make(data, 16, &batch, &error), MPT_ERROR_ARGUMENT);
  assert_non_null(strstr(error.message, "make the batch smaller"));
  assert_int_equal(dataset_batch_make(data, 0, &batch, &error), MPT_ERROR_ARGUMENT);
  dataset_close(data);
  spec.samples = 5;
  refused(&spec, MPT_ERROR_ARGUMENT, "leave none to train on");
}

static void synthetic_columns_have_their_scales(void **state) {
  (void)state;
  data_spec spec = synthetic(4000);
  spec.scale_low = 1e-3;
  spec.scale_high = 10.0;
  dataset *data = open_data(&spec);
  for (int j = 0; j < 3; j++) {
    double sum = 0.0;
    for (int i = 0; i < 4000; i++)
      sum += (double)data->features[3 * i + j] * (double)data->features[3 * i + j];
    double scale = sqrt(sum / 4000), wanted = pow(10.0, -3.0 + 2.0 * j);
    assert_true(fabs(scale / wanted - 1.0) < 0.05);
  }
  dataset_close(data);
}

static void synthetic_answers_come_from_the_teacher(void **state) {
  (void)state;
  data_spec spec = synthetic(1000);
  dataset *data = open_data(&spec);
  int counts[4] = {0};
  for (int i = 0; i < 1000; i++)
    counts[data->labels[i]]++;
  for (int c = 0; c < 4; c++)
    assert_true(counts[c] > 20);
  dataset_close(data);

  /* Targets of a linear teacher without noise obey their own least-squares fit: any four samples
   * of three features determine it, checked through linearity of differences. */
  spec.classes = 0;
  spec.targets = 1;
  data = open_data(&spec);
  assert_int_equal(dataset_get_info(data)->targets, 1);
  const float *x = data->features;
  double a[3][4];
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 4; c++)
      a[r][c] = c < 3 ? x[3 * r + c] : data->targets[r];
  for (int p = 0; p < 3; p++)
    for (int r = 0; r < 3; r++) {
      double factor = r == p ? 0.0 : a[r][p] / a[p][p];
      for (int c = 0; c < 4; c++)
        a[r][c] -= factor * a[p][c];
    }
  for (int i = 3; i < 100; i++) {
    double answer = 0.0;
    for (int c = 0; c < 3; c++)
      answer += x[3 * i + c] * a[c][3] / a[c][c];
    assert_true(fabs(answer - data->targets[i]) < 1e-4);
  }
  dataset_close(data);
}

static void synthetic_images_and_tokens(void **state) {
  (void)state;
  data_spec spec = synthetic(30);
  spec.shape[0] = 2, spec.shape[1] = 3, spec.shape[2] = 4;
  spec.features = 24;
  spec.hidden = 5;
  dataset *data = open_data(&spec);
  assert_int_equal(dataset_get_info(data)->rank, 3);
  assert_int_equal(dataset_get_info(data)->shape[1], 3);
  dataset_close(data);

  spec = data_spec_default(DATA_SYNTHETIC);
  spec.sequence = 8;
  spec.vocabulary = 11;
  spec.samples = 20000;
  data = open_data(&spec);
  assert_true(dataset_get_info(data)->tokens);
  assert_int_equal(dataset_get_info(data)->classes, 11);
  /* The likeliest successor of an id follows it about half of the time. */
  int follows[11][11] = {{0}}, likeliest = 0;
  for (int i = 0; i + 1 < 20000; i++)
    follows[data->ids[i]][data->ids[i + 1]]++;
  for (int a = 0; a < 11; a++) {
    int best = 0;
    for (int b = 0; b < 11; b++)
      best = follows[a][b] > best ? follows[a][b] : best;
    likeliest += best;
  }
  assert_true(likeliest > 9500 && likeliest < 16000);
  dataset_close(data);
}

/* ---- idx ---- */

/* Four images of 2 x 3 whose pixels are 10 * image + place, labels 0 1 2 1. */
static size_t idx_images(uint8_t *out, int images) {
  const uint8_t header[16] = {0, 0, 8, 3, 0, 0, 0, (uint8_t)images, 0, 0, 0, 2, 0, 0, 0, 3};
  memcpy(out, header, 16);
  for (int i = 0; i < 6 * images; i++)
    out[16 + i] = (uint8_t)(10 * (i / 6) + i % 6);
  return 16 + 6 * (size_t)images;
}

static size_t idx_labels(uint8_t *out, int images) {
  const uint8_t header[8] = {0, 0, 8, 1, 0, 0, 0, (uint8_t)images};
  memcpy(out, header, 8);
  for (int i = 0; i < images; i++)
    out[8 + i] = (uint8_t)(i == 3 ? 1 : i);
  return 8 + (size_t)images;
}

static data_spec idx_spec(bool separate) {
  uint8_t bytes[64];
  data_spec spec = data_spec_default(DATA_IDX);
  spec.classes = 3;
  strcpy(spec.files[0], put_gzip("images.gz", bytes, idx_images(bytes, 4)));
  strcpy(spec.files[1], put("labels", bytes, idx_labels(bytes, 4)));
  if (separate) {
    strcpy(spec.files[2], put("images2", bytes, idx_images(bytes, 3)));
    strcpy(spec.files[3], put_gzip("labels2.gz", bytes, idx_labels(bytes, 3)));
  }
  return spec;
}

static void idx_files_plain_and_gzipped_are_read(void **state) {
  (void)state;
  data_spec spec = idx_spec(true);
  dataset *data = open_data(&spec);
  const dataset_info *info = dataset_get_info(data);
  dataset_batch batch;
  int64_t filled;
  assert_int_equal(info->rank, 3);
  assert_int_equal(info->shape[0], 1);
  assert_int_equal(info->shape[1], 2);
  assert_int_equal(info->shape[2], 3);
  assert_int_equal(info->classes, 3);
  assert_int_equal(info->training, 4);
  assert_int_equal(info->held_out, 3);
  assert_int_equal(dataset_batch_make(data, 4, &batch, NULL), MPT_OK);
  dataset_training_batch(data, 1, 0, &batch, NULL);
  for (int row = 0; row < 4; row++) {
    int image = (int)lroundf(batch.features[6 * row] * 255.0f) / 10;
    assert_int_equal(batch.labels[row], image == 3 ? 1 : image);
    for (int i = 0; i < 6; i++)
      assert_true(batch.features[6 * row + i] == (float)(10 * image + i) / 255.0f);
  }
  dataset_held_out_batch(data, 1, &batch, &filled, NULL);
  assert_int_equal(filled, 2);
  assert_true(batch.features[0] == 10.0f / 255.0f && batch.labels[1] == 2);
  dataset_batch_free(&batch);
  dataset_close(data);

  spec.held_out = 1;
  spec.samples = 2;
  data = open_data(&spec);
  assert_int_equal(dataset_get_info(data)->training, 2);
  assert_int_equal(dataset_get_info(data)->held_out, 1);
  assert_int_equal(dataset_batch_make(data, 2, &batch, NULL), MPT_OK);
  dataset_held_out_batch(data, 0, &batch, &filled, NULL);
  assert_int_equal(filled, 1);
  assert_true(batch.features[1] == 1.0f / 255.0f);
  dataset_batch_free(&batch);
  assert_int_equal(data->samples, 3); /* no more was read, so the rest may be damaged or huge */
  char hash[65];
  strcpy(hash, data->info.hash);
  dataset_close(data);
  uint8_t bytes[64];
  size_t length = idx_images(bytes, 4);
  strcpy(spec.files[0], put("cut", bytes, length - 12));
  data = open_data(&spec);
  assert_string_equal(data->info.hash, hash); /* of what training sees */
  dataset_close(data);
  strcpy(spec.files[0], put("cut", bytes, length - 13));
  refused(&spec, MPT_ERROR_SYNTAX, "truncated: the idx file needs 12 bytes and has 11");
  idx_images(bytes, 5);
  strcpy(spec.files[0], put("more", bytes, length));
  refused(&spec, MPT_ERROR_SHAPE, "4 labels for 5 images");
}

static void bad_idx_files_are_refused(void **state) {
  (void)state;
  uint8_t bytes[64];
  data_spec spec = idx_spec(true);
  spec.classes = 2;
  refused(&spec, MPT_ERROR_SYNTAX, "label 2 of sample 2 is out of range");
  spec.classes = 3;
  spec.held_out = 4;
  refused(&spec, MPT_ERROR_ARGUMENT, "held_out is 4");
  spec = idx_spec(false);

  size_t length = idx_images(bytes, 4);
  strcpy(spec.files[0], put("cut", bytes, length - 1));
  refused(&spec, MPT_ERROR_SYNTAX, "truncated: the idx file needs 24 bytes and has 23");
  strcpy(spec.files[0], put("cut", bytes, 9));
  refused(&spec, MPT_ERROR_SYNTAX, "truncated: the idx header");
  strcpy(spec.files[0], put("cut", bytes, 0));
  refused(&spec, MPT_ERROR_SYNTAX, "truncated");
  bytes[length] = 0;
  strcpy(spec.files[0], put("long", bytes, length + 1));
  refused(&spec, MPT_ERROR_SYNTAX, "longer than");
  bytes[2] = 13;
  strcpy(spec.files[0], put("floats", bytes, length));
  refused(&spec, MPT_ERROR_UNSUPPORTED, "type 0x0d");
  memset(bytes + 4, 255, 12);
  bytes[2] = 8;
  strcpy(spec.files[0], put("huge", bytes, length));
  refused(&spec, MPT_ERROR_SYNTAX, "claims more than");
  strcpy(spec.files[0], put_text("text", "hello, world"));
  refused(&spec, MPT_ERROR_SYNTAX, "not an idx file");
  strcpy(spec.files[0], in_folder("absent"));
  refused(&spec, MPT_ERROR_NOT_FOUND, "no file");
  strcpy(spec.files[0], folder);
  refused(&spec, MPT_ERROR_IO, "is a directory");
  strcpy(spec.files[0], spec.files[1]);
  refused(&spec, MPT_ERROR_SHAPE, "swapped");
}

static void truncated_gzip_is_refused_wherever_it_ends(void **state) {
  (void)state;
  data_spec spec = idx_spec(false);
  char gzip[256];
  FILE *file = fopen(spec.files[0], "rb");
  size_t length = fread(gzip, 1, sizeof gzip, file);
  fclose(file);
  for (size_t cut = 2; cut < length; cut++) {
    dataset *data = NULL;
    strcpy(spec.files[0], put("cut.gz", gzip, cut));
    if (dataset_open(&spec, &data, NULL) == MPT_OK)
      fail_msg("accepted %zu of %zu bytes", cut, length);
  }
  gzip[length - 6] ^= 1; /* its checksum */
  strcpy(spec.files[0], put("bad.gz", gzip, length));
  refused(&spec, MPT_ERROR_IO, "fetch the file again");
}

/* ---- text ---- */

static void text_windows_follow_each_other_and_never_overlap_the_held_out(void **state) {
  (void)state;
  char text[500];
  for (int i = 0; i < 500; i++)
    text[i] = (char)('a' + i % 23);
  put("t1.txt", text, 200);
  put("t2.txt", text + 200, 300);
  data_spec spec = spec_of(DATA_BYTES, in_folder("t?.txt"));
  spec.sequence = 10;
  spec.held_out = 4;
  assert_int_equal(symlink("t1.txt", in_folder("t3.txt")), 0); /* counts once */
  dataset *data = open_data(&spec);
  const dataset_info *info = dataset_get_info(data);
  assert_true(info->tokens);
  assert_int_equal(info->classes, 256);
  assert_int_equal(info->held_out, 4);
  assert_int_equal(info->training, 500 - 41 - 10);
  assert_int_equal(data->id_count, 500);
  dataset_batch batch;
  int64_t filled;
  assert_int_equal(dataset_batch_make(data, 8, &batch, NULL), MPT_OK);
  char seen[500] = {0};
  for (int step = 0; step < 300; step++) {
    dataset_training_batch(data, 5, step, &batch, NULL);
    for (int row = 0; row < 8; row++) {
      for (int t = 0; t < 10; t++) {
        assert_int_equal(batch.labels[10 * row + t],
                         'a' + (batch.ids[10 * row + t] - 'a' + 1) % 23);
        if (t < 9)
          assert_int_equal(batch.ids[10 * row + t + 1], batch.labels[10 * row + t]);
      }
      seen[batch.ids[10 * row] - 'a'] = 1;
    }
  }
  for (int i = 0; i < 23; i++)
    assert_true(seen[i]);
  dataset_held_out_batch(data, 1, &batch, &filled, NULL);
  assert_int_equal(filled, 3);
  assert_int_equal(batch.ids[0], text[500 - 41 + 10]);
  assert_int_equal(batch.labels[29], text[499]);
  dataset_batch_free(&batch);
  dataset_close(data);

  spec.samples = 250;
  data = open_data(&spec);
  assert_int_equal(data->id_count, 250);
  dataset_close(data);
  spec.samples = 50;
  refused(&spec, MPT_ERROR_ARGUMENT, "too few");
  unlink(in_folder("t3.txt"));
}

static void package_data_is_found_in_the_cache_or_its_package_is_named(void **state) {
  (void)state;
  char command[400];
  data_spec spec = spec_of(DATA_BYTES, "usr/share/mptune-test-absent/*.txt");
  strcpy(spec.package, "mptune-test-package");
  spec.sequence = 4;
  setenv("MPTUNE_CACHE", folder, 1);
  refused(&spec, MPT_ERROR_NOT_FOUND, "apt-get install mptune-test-package");
  sprintf(command, "mkdir -p %s/packages/mptune-test-package/usr/share/mptune-test-absent", folder);
  assert_int_equal(system(command), 0);
  put_text("packages/mptune-test-package/usr/share/mptune-test-absent/a.txt",
           "some words that are long enough to train on and to hold out");
  dataset *data = open_data(&spec);
  assert_true(dataset_get_info(data)->training > 0);
  dataset_close(data);
  unsetenv("MPTUNE_CACHE");
  spec = spec_of(DATA_BYTES, put_text("empty.txt", ""));
  spec.sequence = 4;
  refused(&spec, MPT_ERROR_SYNTAX, "empty");
}

static void another_content_has_another_hash(void **state) {
  (void)state;
  data_spec spec = synthetic(40);
  dataset *data = open_data(&spec);
  char hash[65];
  strcpy(hash, dataset_get_info(data)->hash);
  dataset_close(data);
  spec.seed = 2;
  data = open_data(&spec);
  assert_string_not_equal(hash, dataset_get_info(data)->hash);
  dataset_close(data);
}

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/mptune-data-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
  (void)state;
  char command[128];
  sprintf(command, "rm -r %s", folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_epoch_is_a_permutation),
      cmocka_unit_test(permutations_are_even),
      cmocka_unit_test(batches_go_through_every_sample_once_an_epoch),
      cmocka_unit_test(a_batch_is_a_function_of_seed_and_step),
      cmocka_unit_test(a_batch_larger_than_the_data_is_refused),
      cmocka_unit_test(synthetic_columns_have_their_scales),
      cmocka_unit_test(synthetic_answers_come_from_the_teacher),
      cmocka_unit_test(synthetic_images_and_tokens),
      cmocka_unit_test(idx_files_plain_and_gzipped_are_read),
      cmocka_unit_test(bad_idx_files_are_refused),
      cmocka_unit_test(truncated_gzip_is_refused_wherever_it_ends),
      cmocka_unit_test(text_windows_follow_each_other_and_never_overlap_the_held_out),
      cmocka_unit_test(package_data_is_found_in_the_cache_or_its_package_is_named),
      cmocka_unit_test(another_content_has_another_hash),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
