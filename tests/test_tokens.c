/* Token files: the same ids from every form that is read; what is no file of ids is refused by its
 * name, with what to do. */
#include "data/source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { COUNT = 200, VOCABULARY = 519, MOST = 1 << 20 };

static char path[64];
static uint8_t file[MOST];
static size_t length;

/* 0 to 6 in the low byte, 0 to 2 in the high byte: at most 518. */
static uint64_t id_of(int i) {
  return (uint64_t)(i % 7 + 256 * (i % 3));
}

static void begin(const void *bytes, size_t count) {
  memcpy(file, bytes, count);
  length = count;
}

static void add_id(uint64_t id, int size, bool big) {
  for (int b = 0; b < size; b++)
    file[length++] = (uint8_t)(id >> 8 * (big ? size - 1 - b : b));
}

static void add_ids(int count, int size, bool big) {
  for (int i = 0; i < count; i++)
    add_id(size == 1 ? id_of(i) % 256 : id_of(i), size, big);
}

static void begin_llmc(uint32_t magic, uint32_t version, uint32_t count) {
  const uint32_t header[256] = {magic, version, count};
  begin(header, sizeof header);
}

/* As numpy writes it, padded with blanks and a newline. */
static void begin_npy(int version, const char *descr, const char *order, const char *shape) {
  char text[256];
  int size = sprintf(text, "{'descr': %s, 'fortran_order': %s, 'shape': %s, }%*s\n", descr, order,
                     shape, 20, "");
  uint8_t prefix[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0, (uint8_t)size};
  begin(prefix, version == 1 ? 10 : 12);
  memcpy(file + length, text, (size_t)size);
  length += (size_t)size;
}

static void write_file(bool gzipped) {
  gzFile out = gzopen(path, gzipped ? "wb" : "wbT");
  assert_non_null(out);
  assert_int_equal(length > 0 ? gzwrite(out, file, (unsigned)length) : 0, length);
  assert_int_equal(gzclose(out), Z_OK);
}

static data_spec spec_of(int64_t vocabulary) {
  data_spec spec = data_spec_default(DATA_TOKENS);
  strcpy(spec.files[0], path);
  spec.sequence = 5;
  spec.vocabulary = vocabulary;
  return spec;
}

static dataset *opened(const data_spec *spec, const char *what) {
  dataset *data = NULL;
  mpt_error error = {.message = ""};
  if (dataset_open(spec, &data, &error) != MPT_OK)
    fail_msg("%s: %s", what, error.message);
  return data;
}

/* The ids of the file are those of id_of, whatever form they have. */
static void assert_ids(id_type dtype, const char *what) {
  data_spec spec = spec_of(VOCABULARY);
  spec.dtype = dtype;
  write_file(false);
  dataset *data = opened(&spec, what);
  if (data->id_count != COUNT)
    fail_msg("%s: %lld ids", what, (long long)data->id_count);
  for (int i = 0; i < COUNT; i++)
    if (data->ids[i] != id_of(i))
      fail_msg("%s: id %d is %d", what, i, data->ids[i]);
  dataset_close(data);
}

static void refused_with(const data_spec *spec, mpt_status wanted, const char *says) {
  dataset *data = NULL;
  mpt_error error = {.message = ""};
  mpt_status status = dataset_open(spec, &data, &error);
  if (status != wanted || strstr(error.message, says) == NULL)
    fail_msg("wanted %s '%s', got %s '%s'", mpt_status_name(wanted), says, mpt_status_name(status),
             error.message);
  assert_null(data);
  assert_string_equal(error.file, path);
}

static void refused(id_type dtype, mpt_status wanted, const char *says) {
  data_spec spec = spec_of(VOCABULARY);
  spec.dtype = dtype;
  write_file(false);
  refused_with(&spec, wanted, says);
}

static void every_form_of_the_same_ids_is_the_same_data(void **state) {
  (void)state;
  static const struct {
    const char *descr;
    int size;
    bool big;
  } types[] = {{"'<u2'", 2, false}, {"'>u2'", 2, true},  {"'<u4'", 4, false}, {"'>u4'", 4, true},
               {"'<u8'", 8, false}, {"'<i2'", 2, false}, {"'<i4'", 4, false}, {"'>i4'", 4, true},
               {"'<i8'", 8, false}, {"'>i8'", 8, true},  {"'=u2'", 2, false}};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (int version = 1; version <= 3; version++) {
      begin_npy(version, types[t].descr, "False", version == 2 ? "(20, 10)" : "(200,)");
      add_ids(COUNT, types[t].size, types[t].big);
      assert_ids(ID_NOT_GIVEN, types[t].descr);
    }
  begin_npy(1, "'<u2'", "True", "(200L,)"); /* of one dimension, Fortran's order is the same */
  add_ids(COUNT, 2, false);
  assert_ids(ID_NOT_GIVEN, "Fortran's order");
  assert_ids(ID_UINT16, "a dtype that the header has");

  begin_llmc(20240520, 1, COUNT);
  add_ids(COUNT, 2, false);
  assert_ids(ID_NOT_GIVEN, "llm.c, 16 bits");
  begin_llmc(20240801, 7, COUNT);
  add_ids(COUNT, 4, false);
  assert_ids(ID_NOT_GIVEN, "llm.c, 32 bits");
  assert_ids(ID_UINT32, "a dtype that the header has");

  static const id_type plain[] = {ID_UINT16, ID_UINT32, ID_UINT64, ID_INT16, ID_INT32, ID_INT64};
  for (size_t t = 0; t < sizeof plain / sizeof *plain; t++) {
    length = 0;
    add_ids(COUNT, token_bytes(plain[t]), false);
    assert_ids(plain[t], id_type_name(plain[t]));
  }
  length = 0;
  add_ids(COUNT, 2, false);
  assert_ids(ID_NOT_GIVEN, "ids alone");
}

static void bytes_are_ids_too_and_files_may_be_gzipped(void **state) {
  (void)state;
  data_spec spec = spec_of(7);
  for (int form = 0; form < 3; form++) {
    if (form == 0)
      begin_npy(1, "'|u1'", "False", "(200,)");
    else
      length = 0;
    spec.dtype = form == 0 ? ID_NOT_GIVEN : form == 1 ? ID_UINT8 : ID_INT8;
    add_ids(COUNT, 1, false);
    write_file(form == 1);
    dataset *data = opened(&spec, "bytes");
    assert_int_equal(data->id_count, COUNT);
    assert_int_equal(data->ids[199], 199 % 7);
    dataset_close(data);
  }
}

static void a_vocabulary_of_any_size_has_its_ids(void **state) {
  (void)state;
  static const uint64_t ids[] = {65535, 65536, 128255, 7};
  char hash[65] = "";
  for (int wide = 0; wide < 2; wide++) { /* past 16 bits, and the same ids in a larger one */
    data_spec spec = spec_of(wide ? 1000000000 : 128256);
    begin_llmc(20240801, 7, COUNT);
    for (int i = 0; i < COUNT; i++)
      add_id(ids[i % 4], 4, false);
    write_file(false);
    dataset *data = opened(&spec, "a wide vocabulary");
    dataset_batch batch;
    mpt_error error;
    int64_t filled;
    assert_int_equal(dataset_batch_make(data, 1, &batch, &error), MPT_OK);
    assert_int_equal(dataset_held_out_batch(data, 0, &batch, &filled, &error), MPT_OK);
    const int64_t first = COUNT - (dataset_get_info(data)->held_out * 5 + 1);
    for (int t = 0; t < 5; t++) {
      assert_int_equal(batch.ids[t], ids[(first + t) % 4]);
      assert_int_equal(batch.labels[t], ids[(first + t + 1) % 4]);
    }
    assert_string_not_equal(hash, dataset_get_info(data)->hash);
    strcpy(hash, dataset_get_info(data)->hash);
    dataset_batch_free(&batch);
    dataset_close(data);
    spec.vocabulary = 128255;
    refused_with(&spec, MPT_ERROR_SYNTAX, "id 128255 at place 2 is out of range");
  }
}

static void ids_out_of_range_are_named_with_their_place(void **state) {
  (void)state;
  length = 0;
  add_ids(COUNT, 2, false);
  write_file(false);
  data_spec spec = spec_of(518);
  refused_with(&spec, MPT_ERROR_SYNTAX,
               "id 518 at place 20 is out of range: the vocabulary has 518");
  begin_npy(1, "'<i4'", "False", "(200,)");
  add_ids(150, 4, false);
  add_id((uint64_t)-1, 4, false);
  add_ids(49, 4, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "id -1 at place 150 is out of range");
  length = 0;
  add_ids(150, 8, false);
  add_id((uint64_t)-1, 8, false);
  add_ids(49, 8, false);
  refused(ID_UINT64, MPT_ERROR_SYNTAX, "id 18446744073709551615 at place 150");
  refused(ID_INT64, MPT_ERROR_SYNTAX, "id -1 at place 150");
}

static void a_length_that_the_header_does_not_say_is_told(void **state) {
  (void)state;
  begin_llmc(20240520, 1, 190);
  add_ids(COUNT, 2, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX,
          "too long: the header says 190 ids of 16 bits, and 200 are there");
  begin_llmc(20240801, 7, COUNT);
  add_ids(COUNT, 4, false);
  length -= 4;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX,
          "truncated: the header says 200 ids of 32 bits, and 199 are there");
  length += 3;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX,
          "truncated: the header says 200 ids of 32 bits, and 199 "
          "and a part of one are there");
  begin_npy(1, "'<u2'", "False", "(201,)");
  add_ids(COUNT, 2, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "truncated: the header says 201 ids");
  begin_npy(1, "'<u2'", "False", "(10, 10)");
  add_ids(COUNT, 2, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "too long: the header says 100 ids");
  length = 0;
  add_ids(COUNT, 2, false);
  length--;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "399 bytes: not a whole number of 16-bit ids");
  length = 0;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "the file is empty");
  begin_npy(1, "'<u2'", "False", "(0,)");
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "no ids");
}

static void headers_that_are_not_read_are_refused_with_the_remedy(void **state) {
  (void)state;
  static const struct {
    uint32_t magic, version;
    mpt_status status;
    const char *says;
  } llmc[] = {
      {20240520, 2, MPT_ERROR_VERSION, "20240520 of version 2; version 1 is read (uint16)"},
      {20240801, 1, MPT_ERROR_VERSION, "20240801 of version 1; version 7 is read (uint32)"},
      {20240522, 1, MPT_ERROR_SYNTAX, "20240522: questions with answers"},
      {20240326, 3, MPT_ERROR_SYNTAX, "20240326: the weights of a model"},
      {20240328, 2, MPT_ERROR_SYNTAX, "20240328: a tokenizer"},
  };
  for (size_t i = 0; i < sizeof llmc / sizeof *llmc; i++) {
    begin_llmc(llmc[i].magic, llmc[i].version, COUNT);
    add_ids(COUNT, 2, false);
    refused(ID_NOT_GIVEN, llmc[i].status, llmc[i].says);
  }
  begin_llmc(20240520, 1, COUNT);
  length = 700;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX,
          "truncated in its header: llm.c's has 1024 bytes, and "
          "700 are there");
  static const struct {
    const char *descr, *order, *shape, *says;
  } npy[] = {
      {"'<f4'", "False", "(200,)", "of type <f4, and ids are whole numbers; save the ids as"},
      {"'|b1'", "False", "(200,)", "of type |b1"},
      {"'<U10'", "False", "(200,)", "of type <U10"},
      {"'|O'", "False", "(200,)", "of type |O"},
      {"'<u16'", "False", "(200,)", "of type <u16"},
      {"[('a', '<u2')]", "False", "(200,)", "of records"},
      {"'<u2'", "True", "(20, 10)", "in Fortran's order; save numpy.ascontiguousarray"},
      {"'<u2'", "False", "()", "a single number"},
      {"'<u2'", "False", "(x,)", "not understood"},
      {"'<u2'", "False", "(-200,)", "not understood"},
      {"'<u2'", "False", "(200", "not understood"},
      {"'<u2'", "False", "(4294967296, 4294967296)", "not understood"},
      {"", "False", "(200,)", "of records"},
  };
  for (size_t i = 0; i < sizeof npy / sizeof *npy; i++) {
    begin_npy(1, npy[i].descr, npy[i].order, npy[i].shape);
    add_ids(COUNT, 2, false);
    refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, npy[i].says);
  }
  begin_npy(4, "'<u2'", "False", "(200,)");
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "of a version that is not known");
  begin_npy(2, "'<u2'", "False", "(200,)");
  file[10] = 255; /* a header of 16 MiB */
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "not understood");
  begin_npy(1, "'<u2'", "False", "(200,)");
  add_ids(COUNT, 2, false);
  refused(ID_INT64, MPT_ERROR_ARGUMENT, "header says uint16, and the workload's dtype is int64");
  begin_llmc(20240801, 7, COUNT);
  add_ids(COUNT, 4, false);
  refused(ID_UINT16, MPT_ERROR_ARGUMENT, "header says uint32, and the workload's dtype is uint16");
}

static void a_npy_file_cut_anywhere_is_refused(void **state) {
  (void)state;
  data_spec spec = spec_of(VOCABULARY);
  begin_npy(1, "'<u2'", "False", "(200,)");
  add_ids(COUNT, 2, false);
  const size_t whole = length;
  for (length = 6; length < whole; length++) {
    dataset *data = NULL;
    mpt_error error;
    write_file(false);
    if (dataset_open(&spec, &data, &error) == MPT_OK)
      fail_msg("taken at %zu of %zu bytes", length, whole);
  }
}

static void other_files_are_refused_and_dtype_insists(void **state) {
  (void)state;
  begin("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\11\0\0\0arr_0.npy", 39);
  add_ids(COUNT, 2, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "a zip file (.npz, or PyTorch's); save the ids alone");
  begin("\x89HDF\r\n\x1a\n", 8);
  add_ids(COUNT, 2, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "an HDF5 file; save the ids alone");

  length = 0;
  for (int i = 0; i < 100; i++)
    length += (size_t)sprintf((char *)file + length, "%d\n", 100 * i);
  length -= length % 2;
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "text, not ids");
  data_spec spec = spec_of(65536);
  spec.dtype = ID_UINT16;
  dataset_close(opened(&spec, "text that is ids"));

  length = 0;
  add_ids(COUNT, 4, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "every second id of 16 bits is 0");
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "say 'dtype: uint32'");
  dataset *data = opened(&spec, "ids with zeros between");
  assert_int_equal(data->id_count, 2 * COUNT);
  dataset_close(data);
  length = 0;
  add_ids(COUNT, 8, false);
  refused(ID_NOT_GIVEN, MPT_ERROR_SYNTAX, "say 'dtype: int64'");
  /* One id in the upper half, and 16 bits it may be; nothing but zeros says nothing. */
  length = 0;
  add_ids(COUNT, 4, false);
  file[402] = 1;
  spec = spec_of(VOCABULARY);
  write_file(false);
  dataset_close(opened(&spec, "zeros, but for one"));
  memset(file, 0, length);
  write_file(false);
  dataset_close(opened(&spec, "zeros"));
}

/* 0x8b1f is how gzip begins, and an id. */
static void ids_may_begin_as_gzip_does(void **state) {
  (void)state;
  data_spec spec = spec_of(65536);
  static const uint64_t second[] = {0, 7, 9, 0x2008, 0xff08};
  for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
    length = 0;
    add_id(0x8b1f, 2, false);
    add_id(second[i], 2, false);
    add_ids(COUNT, 2, false);
    for (int gzipped = 0; gzipped < 2; gzipped++) {
      write_file(gzipped);
      dataset *data = opened(&spec, "ids that begin as gzip does");
      assert_int_equal(data->id_count, COUNT + 2);
      assert_int_equal(data->ids[0], 0x8b1f);
      assert_int_equal(data->ids[1], second[i]);
      dataset_close(data);
    }
  }
}

static void ids_go_on_across_pieces_and_no_further_than_asked_for(void **state) {
  (void)state;
  enum { MANY = 40000 }; /* of 8 bytes, behind a header of odd length: some lie across */
  char shape[32];
  sprintf(shape, "(%d,)", MANY);
  begin_npy(1, "'<i8'", "False", shape);
  if (length % 8 == 0)
    begin_npy(1, "'<i8' ", "False", shape);
  assert_int_not_equal(length % 8, 0);
  add_ids(MANY, 8, false);
  assert_true(length > 2 * TOKEN_HEAD);
  write_file(false);
  data_spec spec = spec_of(VOCABULARY);
  dataset *data = opened(&spec, "many ids");
  assert_int_equal(data->id_count, MANY);
  for (int i = 0; i < MANY; i++)
    if (data->ids[i] != id_of(i))
      fail_msg("id %d is %d", i, data->ids[i]);
  dataset_close(data);

  const int64_t samples[] = {100, 16384, 16400, MANY - 1};
  for (int i = 0; i < 4; i++) {
    spec.samples = samples[i];
    data = opened(&spec, "a part");
    assert_int_equal(data->id_count, samples[i]);
    assert_int_equal(data->ids[samples[i] - 1], id_of((int)samples[i] - 1));
    dataset_close(data);
  }
  length -= 4; /* behind what is used */
  write_file(false);
  dataset_close(opened(&spec, "a part of a truncated file"));
  spec.samples = MANY;
  refused_with(&spec, MPT_ERROR_SYNTAX, "truncated");
  spec.samples = 0;
  refused_with(&spec, MPT_ERROR_SYNTAX, "truncated");
}

int main(void) {
  sprintf(path, "/tmp/mptune-tokens-%d.bin", (int)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_form_of_the_same_ids_is_the_same_data),
      cmocka_unit_test(bytes_are_ids_too_and_files_may_be_gzipped),
      cmocka_unit_test(a_vocabulary_of_any_size_has_its_ids),
      cmocka_unit_test(ids_out_of_range_are_named_with_their_place),
      cmocka_unit_test(a_length_that_the_header_does_not_say_is_told),
      cmocka_unit_test(headers_that_are_not_read_are_refused_with_the_remedy),
      cmocka_unit_test(a_npy_file_cut_anywhere_is_refused),
      cmocka_unit_test(other_files_are_refused_and_dtype_insists),
      cmocka_unit_test(ids_may_begin_as_gzip_does),
      cmocka_unit_test(ids_go_on_across_pieces_and_no_further_than_asked_for),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  remove(path);
  return failed;
}
