/* Files of data are read no further than they are used, and refused by their size, unread. */
#include "base/clock.h"
#include "data/source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char path[] = "/tmp/mptune-stream-XXXXXX";

static void put(const void *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
}

static size_t put_gzip(const void *bytes, size_t length) {
  gzFile file = gzopen(path, "wb");
  assert_int_equal(gzwrite(file, bytes, (unsigned)length), length);
  gzclose(file);
  FILE *packed = fopen(path, "rb");
  fseek(packed, 0, SEEK_END);
  size_t size = (size_t)ftell(packed);
  fclose(packed);
  return size;
}

/* What of the file there is to read, and what reading ends with. */
static int64_t read_all(stream_end end, int64_t most, mpt_status wanted, const char *says) {
  static char bytes[100000];
  data_stream s;
  mpt_error error = {0};
  int64_t got = 0;
  mpt_status status = stream_open(path, end, most, "; split it", &s, &error);
  if (status == MPT_OK) {
    got = stream_read(&s, bytes, sizeof bytes);
    status = stream_close(&s, stream_check(&s, &error), &error);
  }
  if (status != wanted || (wanted != MPT_OK && strstr(error.message, says) == NULL))
    fail_msg("status %d: %s: %s", (int)status, error.file, error.message);
  if (wanted != MPT_OK)
    assert_string_equal(error.file, path);
  return got;
}

static void plain_and_gzipped_files_are_one(void **state) {
  (void)state;
  static char text[50000];
  memset(text, 'a', sizeof text);
  for (int packed = 0; packed < 2; packed++) {
    if (packed)
      put_gzip(text, sizeof text);
    else
      put(text, sizeof text);
    assert_int_equal(read_all(STREAM_WHOLE, 50000, MPT_OK, NULL), 50000);
    assert_int_equal(read_all(STREAM_PART, 50001, MPT_OK, NULL), 50000);
    assert_int_equal(read_all(STREAM_PART, 49999, MPT_OK, NULL), 49999);
    assert_int_equal(read_all(STREAM_PART, 0, MPT_OK, NULL), 0);
    read_all(STREAM_WHOLE, 49999, MPT_ERROR_IO,
             packed ? "unpacks to more than 49999 bytes, the most that are read; split it"
                    : "50000 bytes; at most 49999 are read; split it");
  }
  put("", 0);
  assert_int_equal(read_all(STREAM_WHOLE, 0, MPT_OK, NULL), 0);
  unlink(path);
  read_all(STREAM_WHOLE, 10, MPT_ERROR_IO, "cannot read: No such file");
}

static void damaged_gzip_data_is_seen(void **state) {
  (void)state;
  static char text[50000], packed[50000];
  for (size_t i = 0; i < sizeof text; i++)
    text[i] = (char)(i * i >> 7);
  size_t size = put_gzip(text, sizeof text);
  FILE *file = fopen(path, "rb");
  assert_int_equal(fread(packed, 1, size, file), size);
  fclose(file);
  put(packed, size - 1);
  read_all(STREAM_WHOLE, 50000, MPT_ERROR_IO, "truncated");
  put(packed, size / 2);
  read_all(STREAM_WHOLE, 50000, MPT_ERROR_IO, "truncated");
  packed[size - 7] ^= 1; /* its checksum */
  put(packed, size);
  read_all(STREAM_WHOLE, 50000, MPT_ERROR_IO, "cannot read");
}

/* 10 GB without a block on disk: reading them would take seconds, holding them gigabytes. */
static void huge_files_are_refused_unread_or_read_in_part(void **state) {
  (void)state;
  put("abcdefghijklmnopqrstuvwxyz", 26);
  assert_int_equal(truncate(path, 10000000000), 0);
  const double began = mpt_clock_seconds();
  data_kind kinds[] = {DATA_CSV, DATA_BYTES};
  for (int i = 0; i < 2; i++) {
    data_spec spec = data_spec_default(kinds[i]);
    dataset *data = NULL;
    mpt_error error;
    strcpy(spec.files[0], path);
    spec.sequence = 4;
    assert_int_equal(dataset_open(&spec, &data, &error), MPT_ERROR_IO);
    assert_non_null(strstr(error.message, "10000000000 bytes; at most 4294967296 are read"));
    if (kinds[i] != DATA_BYTES)
      continue;
    assert_non_null(strstr(error.message, "'samples: N' takes the first N"));
    spec.samples = 20;
    assert_int_equal(dataset_open(&spec, &data, NULL), MPT_OK);
    assert_int_equal(data->id_count, 20);
    assert_int_equal(data->ids[19], 't');
    dataset_close(data);
  }
  assert_true(mpt_clock_seconds() - began < 2);
}

static int make_path(void **state) {
  (void)state;
  int file = mkstemp(path);
  return file < 0 || close(file) != 0;
}

static int remove_path(void **state) {
  (void)state;
  unlink(path);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_and_gzipped_files_are_one),
      cmocka_unit_test(damaged_gzip_data_is_seen),
      cmocka_unit_test(huge_files_are_refused_unread_or_read_in_part),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
