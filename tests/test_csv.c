/* Csv files: headers and columns, quotes, places in messages, standardizing, what the hash holds.
 */
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

static char path[] = "/tmp/mptune-csv-XXXXXX";

static void put(const char *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
}

/* A csv file of this text, one sample held out. */
static data_spec csv(const char *text) {
  data_spec spec = data_spec_default(DATA_CSV);
  put(text, strlen(text));
  strcpy(spec.files[0], path);
  spec.held_out = 1;
  return spec;
}

static data_spec csv_with_header(const char *text) {
  data_spec spec = csv(text);
  spec.header = true;
  return spec;
}

/* Word lists that need no freeing. */
static mpt_word_list one(char *text) {
  static char *words[8];
  static int next;
  char **word = &words[next++ % 8];
  *word = text;
  return (mpt_word_list){.count = 1, .words = word, .one_text = true};
}
#define LIST(...)                                                                                  \
  (mpt_word_list) {                                                                                \
    .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), .words = (char *[]) {               \
      __VA_ARGS__                                                                                  \
    }                                                                                              \
  }

static dataset *open_data(const data_spec *spec) {
  dataset *data = NULL;
  mpt_error error;
  if (dataset_open(spec, &data, &error) != MPT_OK)
    fail_msg("%s:%d:%d: %s", error.file, error.line, error.column, error.message);
  return data;
}

/* The features of the stored sample `sample`, its label or targets behind them, as a text. */
static void holds(const data_spec *spec, int sample, const char *wanted) {
  dataset *data = open_data(spec);
  char text[200] = "";
  for (int64_t i = 0; i < data->sample_size; i++)
    sprintf(text + strlen(text), "%g ", (double)data->features[sample * data->sample_size + i]);
  strcat(text, "|");
  if (data->labels != NULL)
    sprintf(text + strlen(text), " %d", data->labels[sample]);
  for (int64_t i = 0; i < data->info.targets; i++)
    sprintf(text + strlen(text), " %g", (double)data->targets[sample * data->info.targets + i]);
  dataset_close(data);
  assert_string_equal(text, wanted);
}

static void refused(const data_spec *spec, int line, int column, const char *says) {
  dataset *data = NULL;
  mpt_error error = {.message = ""};
  mpt_status status = dataset_open(spec, &data, &error);
  if (status == MPT_OK || error.line != line || error.column != column ||
      strstr(error.message, says) == NULL)
    fail_msg("wanted %d:%d '%s', got %d:%d '%s'", line, column, says, error.line, error.column,
             error.message);
  assert_null(data);
  assert_string_equal(error.file, path);
}

/* ---- columns ---- */

static void columns_are_chosen_by_number_and_name(void **state) {
  (void)state;
  data_spec spec = csv_with_header("x,y,\"class\",z\n1,10,0,5\n2,20,1,6\n3,30,1,7\n");
  holds(&spec, 1, "2 20 1 | 6");
  spec.classes = 3;
  spec.label = one("class");
  holds(&spec, 1, "2 20 6 | 1");
  dataset *data = open_data(&spec);
  const dataset_info *info = dataset_get_info(data);
  assert_true(info->rank == 1 && info->shape[0] == 3 && info->targets == 0);
  assert_true(info->training == 2 && info->held_out == 1);
  dataset_close(data);
  spec.label = one("2");
  holds(&spec, 1, "2 20 6 | 1");
  spec.columns = one("z,0");
  holds(&spec, 1, "6 2 | 1");
  spec.columns = one("3,0-1");
  holds(&spec, 1, "6 2 20 | 1");
  spec.columns = one("y x");
  holds(&spec, 1, "20 2 | 1");
  spec.columns = one(" y , z\n");
  holds(&spec, 1, "20 6 | 1");
  spec.columns = LIST("z", "0-1");
  holds(&spec, 1, "6 2 20 | 1");
  spec.classes = 0;
  spec.columns = LIST("x");
  spec.label = LIST("z", "1");
  holds(&spec, 1, "2 | 6 20");
  spec.columns = (mpt_word_list){0};
  holds(&spec, 1, "2 1 | 6 20");
}

static void columns_that_are_not_there_are_refused(void **state) {
  (void)state;
  data_spec spec = csv_with_header("x,y,class\n1,2,0\n3,4,1\n");
  spec.label = one("clas");
  refused(&spec, 0, 0, "no column named 'clas'; did you mean 'class'?");
  spec.label = one("7");
  refused(&spec, 0, 0, "no column 7: there are 3, counted from 0");
  spec.label = one("99999999999999999999");
  refused(&spec, 0, 0, "no column named '99999999999999999999'");
  spec.label = LIST("x", "y", "0");
  refused(&spec, 0, 0, "column 0 is a label twice");
  spec.label = LIST("x", "y", "class");
  refused(&spec, 0, 0, "no column is left for features");
  spec.label = LIST("x", "y", "class", "x");
  refused(&spec, 0, 0, "4 labels, but 3 columns");
  spec.label = (mpt_word_list){0};
  spec.columns = one("0-2");
  refused(&spec, 0, 0, "column 2 is the label");
  spec.columns = one("1-0");
  refused(&spec, 0, 0, "columns '1-0' run backwards; write 0-1");
  spec.columns = LIST("0", "0");
  refused(&spec, 0, 0, "column 0 is taken twice");
  spec.columns = one(", ,");
  refused(&spec, 0, 0, "no column is left for features");
  spec.columns = LIST("x,y");
  refused(&spec, 0, 0, "no column named 'x,y'");
  spec.header = false;
  put("1,2,0\n3,4,1\n", 12);
  spec.columns = one("x");
  refused(&spec, 0, 0, "say 'header: true'");
}

static void names_have_blanks_commas_and_any_length(void **state) {
  (void)state;
  data_spec spec =
      csv_with_header("sepal length (cm),sepal width (cm),\"a, b\",\"say \"\"x\"\"\",y\n"
                      "1,2,3,4,5\n6,7,8,9,10\n");
  spec.columns = one("sepal length (cm),sepal width (cm)");
  holds(&spec, 0, "1 2 | 5");
  spec.columns = LIST("a, b", "sepal width (cm)");
  spec.label = one("say \"x\"");
  holds(&spec, 0, "3 2 | 4");
  spec.label = one("a, b");
  spec.columns = LIST("y");
  holds(&spec, 0, "5 | 3");
  spec.columns = one("sepal lenght (cm)");
  refused(&spec, 0, 0, "no column named 'sepal lenght (cm)'; did you mean 'sepal length (cm)'?");

  static char text[300000], name[100001];
  memset(name, 'n', 100000);
  sprintf(text, "%s,y\n1,2\n3,4\n", name);
  spec = csv_with_header(text);
  spec.label = one(name);
  holds(&spec, 0, "2 | 1");
}

static void names_that_are_numbers_or_come_twice(void **state) {
  (void)state;
  /* What pandas writes for columns without names, with its index. */
  data_spec spec = csv_with_header(",0,1,2\n0,10,20,30\n1,11,21,31\n");
  spec.label = one("1");
  holds(&spec, 0, "10 30 | 20");
  spec.columns = one("2");
  holds(&spec, 0, "30 | 20");
  spec.label = one("3"); /* no name, so a number */
  spec.columns = one("0-1");
  holds(&spec, 0, "10 20 | 30");
  spec = csv_with_header("a,b,a-b,2-3,b\n1,2,3,4,5\n1,2,3,4,5\n");
  spec.columns = LIST("a-b", "2-3");
  holds(&spec, 0, "3 4 | 5");
  spec.columns = one("b");
  refused(&spec, 0, 0, "several columns are named 'b'; give the number, from 0 to 4");
  spec.columns = one("1");
  holds(&spec, 0, "2 | 5");
}

/* ---- headers ---- */

static void a_header_is_compared_with_the_lines(void **state) {
  (void)state;
  /* write.table(sep = ","): no name above the names of the rows, which are quoted or not. */
  data_spec spec = csv_with_header("sl,sw,y\n1,5,3,0\n2,6,4,1\n");
  holds(&spec, 0, "5 3 | 0");
  spec.label = one("sw");
  holds(&spec, 0, "5 0 | 3");
  spec.columns = one("0,1");
  holds(&spec, 0, "1 5 | 3");
  spec = csv_with_header("\"sl\",\"sw\",\"y\"\n\"Mazda, RX4\",5,3,0\n\"Fiat\",6,4,1\n");
  holds(&spec, 0, "5 3 | 0");
  spec = csv_with_header("\"\",\"sl\",\"y\"\n\"Mazda\",5,0\n\"Fiat\",6,1\n"); /* write.csv */
  holds(&spec, 0, "5 | 0");

  spec = csv_with_header("a,b,c\n1,2\n3,4\n");
  refused(&spec, 1, 1, "the header has 3 names and the lines have 2 fields");
  spec = csv_with_header("a,b,\n1,2\n3,4\n");
  refused(&spec, 1, 1, "the header has 3 names");
  spec = csv_with_header("length (m, cm),b\n1,2\n3,4\n");
  refused(&spec, 1, 1, "quote names with commas");
  spec = csv_with_header("\n\na\n1,2,3\n4,5,6\n");
  refused(&spec, 3, 1, "the header has 1 name and the lines have 3 fields");
  spec = csv_with_header("1,2,3\n4,5,6\n7,8,9\n");
  refused(&spec, 1, 1, "'header: true', but the first line holds numbers");
  spec = csv_with_header("\"1\",\"2\",\"0\"\n4,5,6\n7,8,9\n"); /* names, since they are quoted */
  holds(&spec, 0, "4 5 | 6");
  spec = csv_with_header("a,b\n");
  refused(&spec, 0, 0, "no samples: the file has nothing but its header");
  spec = csv_with_header("");
  refused(&spec, 0, 0, "no samples: the file is empty");
}

static void the_first_line_of_scikit_learn_names_no_columns(void **state) {
  (void)state;
  data_spec spec = csv_with_header("2,3,malignant,benign\n1,2,3,0\n4,5,6,1\n");
  spec.label = one("3");
  spec.columns = one("0-1");
  holds(&spec, 1, "4 5 | 1");
  spec.label = one("benign");
  refused(&spec, 0, 0, "no column named 'benign'");
  spec = csv_with_header("2,4,virginica\n1,2,3,4,0\n4,5,6,7,1\n");
  holds(&spec, 1, "4 5 6 7 | 1");
  spec = csv_with_header("2,9,virginica\n1,2,3,4,0\n4,5,6,7,1\n");
  refused(&spec, 1, 1, "the header has 3 names and the lines have 5 fields");
}

/* ---- text ---- */

static void what_programs_write_is_read(void **state) {
  (void)state;
  static const char *const texts[] = {
      "1,2,3\n4,5,6\n",       "1,2,3\r\n4,5,6\r\n",           "1,2,3\r4,5,6\r",
      "1,2,3\n4,5,6",         "\357\273\2771,2,3\n4,5,6\n",   "\n \t\n1,2,3\n\n\r\n4,5,6\n\n",
      " 1 ,\t2, 3 \n4,5,6\n", "\"1\",\"2\" , \"3\"\n4,5,6\n", "1e0,+2,3.0\n.4e1,005,6\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    data_spec spec = csv(texts[i]);
    holds(&spec, 0, "1 2 | 3");
    holds(&spec, 1, "4 5 | 6");
  }
  data_spec spec = csv_with_header("\357\273\277sl,y\n1,2\n3,4\n");
  spec.label = one("sl");
  holds(&spec, 0, "2 | 1");
}

/* A quoted field runs over lines; columns that are not taken may hold anything. */
static void lines_are_counted_as_an_editor_does(void **state) {
  (void)state;
  data_spec spec = csv_with_header("\n\"id\r\nof it\",x,y\n"
                                   "\"first\nsample, \"\"one\"\"\",1,0\n\n"
                                   "NA,2,1\r\n"
                                   "\"\",\"\xC3\xA4\",1\n");
  spec.columns = one("x");
  refused(&spec, 8, 4, "'\xC3\xA4' is not a finite number");
  spec = csv_with_header("id,x,y\n\"\xC3\xA4\xE2\x82\xAC\",1,bad\n");
  spec.columns = one("x");
  refused(&spec, 2, 8, "'bad'");
  spec = csv_with_header("id,x,y\n\"first\nsample\",1,0\nNA,2,1\n,3,4\n");
  spec.columns = one("x");
  holds(&spec, 0, "1 | 0");
  holds(&spec, 2, "3 | 4");
}

static void bad_files_are_refused_at_their_place(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int line, column;
    const char *says;
  } files[] = {
      {"1,2,0\n3,four,1\n", 2, 3, "'four' is not a finite number"},
      {"a,b,c\n1,2,0\n", 1, 1, "'a' is not a finite number; say 'header: true'"},
      {"1,2,0\n\n\n\n3,x,1\n", 5, 3, "'x' is not a finite number"},
      {"1,2,0\r3,x,1\r", 2, 3, "'x' is not a finite number"},
      {"1,2,0\n3,,1\n", 2, 3, "an empty field"},
      {"1,2,0\n3,  ,1\n", 2, 5, "an empty field"},
      {"1,2,0\n3,\"\",1\n", 2, 3, "an empty field"},
      {"1,2,0\n3,4,\n5,6,1\n", 2, 5, "an empty field"},
      {"1,2,0\n3,nan,1\n", 2, 3, "'nan' is not a finite number"},
      {"1,2,0\n3,NA,1\n", 2, 3, "'NA' is not a finite number"},
      {"1,2,0\n3,0x10,1\n", 2, 3, "'0x10' is not a finite number"},
      {"1,2,0\n3,1_0,1\n", 2, 3, "'1_0' is not a finite number"},
      {"1,2,0\n3,1e999,1\n", 2, 3, "finite"},
      {"1,2,0\n3,1e99,1\n", 2, 3, "1e+99 is beyond the largest fp32 number"},
      {"1,2,0\n3,4 5,1\n", 2, 3, "'4 5'"},
      {"1,2,0\n3,4\n", 2, 1, "2 fields; the lines before have 3"},
      {"1,2,0\n3,4,5,6\n", 2, 1, "4 fields"},
      {"1;2;0\n3;4;1\n", 1, 1, "one column; 2 to 100000 are read, separated by commas"},
      {"1,2,0\n3,4,2\n", 2, 5, "label 2 is out of range"},
      {"1,2,0\n3,4,-1\n", 2, 5, "label -1 is out of range"},
      {"1,2,0\n3,4,0.5\n", 2, 5, "label 0.5 is out of range"},
      {"1,2,0\n3,4,1e300\n", 2, 5, "label 1e+300 is out of range"},
      {"# made by hand\n1,2,0\n", 1, 1, "one column"},
      {"1,2,0\n\"3,4,1\n5,6,0\n", 2, 1, "a quoted field that does not end"},
      {"1,2,0\n\"3\"4,4,1\n", 2, 4, "text behind a closing quote"},
      {"1\n2\n", 1, 1, "one column"},
      {"", 0, 0, "no samples: the file is empty"},
      {"\357\273\277", 0, 0, "no samples: the file is empty"},
      {"\n \n\r\n", 0, 0, "no samples: the file is empty"},
      {"1,2,0\n", 0, 0, "leave none to train on"},
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    data_spec spec = csv(files[i].text);
    spec.classes = 2;
    refused(&spec, files[i].line, files[i].column, files[i].says);
  }
  data_spec spec = csv("");
  put("1,2,0\n3,\0,1\n", 12);
  refused(&spec, 2, 3, "a NUL byte; a csv file is text");
  put("\xff\xfe"
      "1\0,\0002\0\n\0",
      10);
  refused(&spec, 1, 4, "if it is UTF-16, save it as UTF-8");
  put("1,\"2\0\",0\n", 9);
  refused(&spec, 1, 5, "a NUL byte");
}

static void lines_without_end_are_refused(void **state) {
  (void)state;
  size_t length = (size_t)20 << 20;
  char *text = malloc(length + 1);
  data_spec spec = csv("");
  memset(text, 'a', length);
  put(text, length);
  refused(&spec, 1, 1, "a line of more than 16 MiB");
  text[0] = '"';
  put(text, length);
  refused(&spec, 1, 1, "does a quoted field not end?");
  memset(text, ',', length);
  put(text, length);
  refused(&spec, 1, 1, "more than 100000 columns");
  free(text);
}

static void gzipped_files_are_read(void **state) {
  (void)state;
  static char text[200000];
  size_t length = (size_t)sprintf(text, "a,b,c\n");
  for (int i = 0; i < 10000; i++)
    length += (size_t)sprintf(text + length, "%d,%d,%d\n", i, i * i % 977, i % 2);
  data_spec spec = csv_with_header(text);
  dataset *plain = open_data(&spec);
  assert_int_equal(plain->samples, 10000);
  gzFile file = gzopen(path, "wb");
  assert_int_equal(gzwrite(file, text, (unsigned)length), length);
  gzclose(file);
  dataset *packed = open_data(&spec);
  assert_string_equal(plain->info.hash, packed->info.hash);
  dataset_close(plain);
  dataset_close(packed);
  FILE *whole = fopen(path, "rb");
  size_t size = fread(text, 1, sizeof text, whole);
  fclose(whole);
  put(text, size / 2);
  refused(&spec, 0, 0, "truncated: its gzip data ends in the middle");
}

/* ---- standardizing ---- */

/* Values around a large mean are what the column standardized beforehand gives, to fp32's rounding.
 * As floats 1013250 +- 0.03 has 3 values, seconds since 1970 have steps of 128. */
static void standardizing_keeps_small_deviations_of_large_numbers(void **state) {
  (void)state;
  enum { SAMPLES = 400 };
  static const double means[] = {0, 1013250, 1.7e9, -4e12, 1e100};
  static const double steps[] = {1, 1e-4, 60, 0.125, 1e90};
  for (size_t k = 0; k < sizeof means / sizeof *means; k++) {
    static char text[SAMPLES * 64];
    static double x[SAMPLES];
    size_t length = 0;
    for (int i = 0; i < SAMPLES; i++) {
      x[i] = means[k] + steps[k] * (i * 7919 % 601 - 300);
      length += (size_t)sprintf(text + length, "%.17g,7.1,%d\n", x[i], i % 2);
    }
    data_spec spec = csv(text);
    spec.held_out = 80;
    spec.standardize = true;
    spec.classes = 2;
    dataset *data = open_data(&spec);
    long double mean = 0, squares = 0;
    for (int i = 0; i < SAMPLES - 80; i++)
      mean += x[dataset_stored_index(data, i)] / (long double)(SAMPLES - 80);
    for (int i = 0; i < SAMPLES - 80; i++) {
      long double d = x[dataset_stored_index(data, i)] - mean;
      squares += d * d / (SAMPLES - 80);
    }
    for (int i = 0; i < SAMPLES; i++) {
      double wanted = (double)((x[i] - mean) / sqrtl(squares));
      if (!(fabs(data->features[2 * i] - wanted) <= 1e-6 * fabs(wanted) + 1e-7))
        fail_msg("mean %g: %.9g for %.9g", means[k], (double)data->features[2 * i], wanted);
      assert_true(data->features[2 * i + 1] == 0.0f); /* a constant column, not 7.1's rounding */
    }
    dataset_close(data);
  }
}

static void held_out_samples_have_no_part_in_the_mean(void **state) {
  (void)state;
  data_spec spec = csv("1,0\n2,0\n3,0\n4,0\n5,0\n6,0\n7,0\n8,0\n9,0\n10,0\n");
  spec.standardize = true;
  dataset *data = open_data(&spec);
  double sum = 0, squares = 0;
  for (int i = 0; i < 9; i++) {
    double value = data->features[dataset_stored_index(data, i)];
    sum += value;
    squares += value * value;
  }
  assert_true(fabs(sum) < 1e-6 && fabs(squares - 9) < 1e-5);
  dataset_close(data);
}

static void what_cannot_be_standardized_is_refused(void **state) {
  (void)state;
  data_spec spec = csv("5,1e308,0\n6,-1e308,0\n7,1e308,0\n8,-1e308,0\n");
  spec.standardize = true;
  refused(&spec, 0, 0, "column 1 cannot be standardized");
  spec = csv("5,1e99,0\n6,-1e99,0\n7,1e99,0\n8,-1e99,0\n"); /* beyond fp32, and none of it left */
  spec.standardize = true;
  dataset *data = open_data(&spec);
  for (int i = 0; i < 4; i++)
    assert_true(fabsf(data->features[2 * i + 1]) < 3);
  dataset_close(data);
  spec = csv("5,0\n6,1e99\n7,0\n");
  spec.standardize = true;
  refused(&spec, 2, 3, "beyond the largest fp32 number");
}

/* ---- what is trained on is what is hashed ---- */

static void hash_of(const char *text, mpt_word_list columns, mpt_word_list label, bool standardize,
                    char hash[65]) {
  data_spec spec = csv_with_header(text);
  spec.columns = columns;
  spec.label = label;
  spec.standardize = standardize;
  dataset *data = open_data(&spec);
  strcpy(hash, dataset_get_info(data)->hash);
  dataset_close(data);
}

static void the_hash_is_of_what_training_sees(void **state) {
  (void)state;
  static const char table[] = "a,b,y\n1013250.01,7,0\n1013250.03,8,1\n1013250.07,9,0\n";
  char hash[65], other[65];
  const mpt_word_list none = {0};
  hash_of(table, LIST("a"), LIST("y"), true, hash);
  hash_of(table, one("0"), one("2"), true, other); /* said otherwise */
  assert_string_equal(hash, other);
  hash_of("y,a\r\n0,1013250.01\r\n1,\"1013250.03\"\r\n0,1.01325007e6\r\n", LIST("a"), LIST("y"),
          true, other); /* written otherwise */
  assert_string_equal(hash, other);
  hash_of("a,b,y\n1013250.01,6,0\n1013250.03,6,1\n1013250.07,x,0\n", LIST("a"), LIST("y"), true,
          other); /* differs where nothing is taken */
  assert_string_equal(hash, other);

  hash_of("a,b,y\n1013250.01,7,0\n1013250.02,8,1\n1013250.07,9,0\n", LIST("a"), LIST("y"), true,
          other); /* differs by less than fp32 can hold of it */
  assert_string_not_equal(hash, other);
  hash_of("a,b,y\n1013250.01,7,1\n1013250.03,8,1\n1013250.07,9,0\n", LIST("a"), LIST("y"), true,
          other);
  assert_string_not_equal(hash, other);
  hash_of("a,b,y\n1013250.03,8,1\n1013250.01,7,0\n1013250.07,9,0\n", LIST("a"), LIST("y"), true,
          other); /* another order is another training */
  assert_string_not_equal(hash, other);
  hash_of(table, LIST("a"), LIST("y"), false, other);
  assert_string_not_equal(hash, other);
  hash_of(table, LIST("b"), LIST("y"), true, other);
  assert_string_not_equal(hash, other);
  hash_of(table, LIST("a"), LIST("b"), true, other);
  assert_string_not_equal(hash, other);
  hash_of(table, none, none, true, other);
  assert_string_not_equal(hash, other);
  hash_of(table, LIST("a"), LIST("y", "b"), true, other);
  assert_string_not_equal(hash, other);
  hash_of(table, LIST("a"), LIST("b", "y"), true, hash);
  assert_string_not_equal(hash, other);
}

/* ---- workload files ---- */

static workload *load(const char *data, mpt_error *error) {
  char text[1000];
  workload *w = NULL;
  snprintf(text, sizeof text,
           "schema: mptune/workload@1\nmodel: {preset: mlp, widths: [4], outputs: 2}\n"
           "data: {kind: csv, file: f, %s}\nloss: mse\nbatch: 2\nsteps: 2\n"
           "optimizer: {kind: sgd, learning_rate: 0.1}\nbudget: {worse_by: 1%%}\n",
           data);
  put(text, strlen(text));
  return workload_load(path, &w, error) == MPT_OK ? w : NULL;
}

static void training_text_says(const char *data, const char *wanted) {
  mpt_error error;
  char *text = NULL;
  workload *w = load(data, &error);
  if (w == NULL)
    fail_msg("%s: %d:%d: %s", data, error.line, error.column, error.message);
  assert_int_equal(workload_training_text(w, &text, NULL), MPT_OK);
  if (strstr(text, wanted) == NULL)
    fail_msg("%s: no '%s' in:\n%s", data, wanted, text);
  free(text);
  workload_free(w);
}

static void bad_workload(const char *data, int column, const char *says) {
  mpt_error error = {.message = ""};
  assert_null(load(data, &error));
  if (error.line != 3 || error.column != column || strstr(error.message, says) == NULL)
    fail_msg("%s: %d:%d: %s", data, error.line, error.column, error.message);
}

static void workloads_take_lists_of_columns(void **state) {
  (void)state;
  training_text_says("label: species", "data label=species\ndata columns=\n");
  training_text_says("label: 30, columns: 0-9", "data label=30\ndata columns=0-9\n");
  training_text_says("columns: \"sl, pw\"", "data columns=sl, pw\n");
  training_text_says("label: [a, b], columns: [0-9, sepal length (cm), 12]",
                     "data label=a,b\ndata columns=0-9,sepal length (cm),12\n");
  training_text_says("columns: [\"a,b\", \"c\\\"d\", e]", "data columns=\"a,b\",\"c\"\"d\",e\n");
  bad_workload("columns: []", 37, "columns is empty");
  bad_workload("columns: [a, \"\"]", 41, "columns is empty");
  bad_workload("columns: [[a]]", 38, "columns must be a single value, not a list");
  bad_workload("columns: {a: 1}", 37, "columns must be a list, not a map");
  bad_workload("classes: 2, label: [a, b]", 47, "2 columns as the label of classes");
}

static int make_path(void **state) {
  (void)state;
  int file = mkstemp(path);
  return file < 0 || close(file) != 0;
}

static int remove_path(void **state) {
  (void)state;
  return unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(columns_are_chosen_by_number_and_name),
      cmocka_unit_test(columns_that_are_not_there_are_refused),
      cmocka_unit_test(names_have_blanks_commas_and_any_length),
      cmocka_unit_test(names_that_are_numbers_or_come_twice),
      cmocka_unit_test(a_header_is_compared_with_the_lines),
      cmocka_unit_test(the_first_line_of_scikit_learn_names_no_columns),
      cmocka_unit_test(what_programs_write_is_read),
      cmocka_unit_test(lines_are_counted_as_an_editor_does),
      cmocka_unit_test(bad_files_are_refused_at_their_place),
      cmocka_unit_test(lines_without_end_are_refused),
      cmocka_unit_test(gzipped_files_are_read),
      cmocka_unit_test(standardizing_keeps_small_deviations_of_large_numbers),
      cmocka_unit_test(held_out_samples_have_no_part_in_the_mean),
      cmocka_unit_test(what_cannot_be_standardized_is_refused),
      cmocka_unit_test(the_hash_is_of_what_training_sees),
      cmocka_unit_test(workloads_take_lists_of_columns),
  };
  return cmocka_run_group_tests(tests, make_path, remove_path);
}
