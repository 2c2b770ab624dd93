/* The parts of the csv reader, private to this room: csv_scan.c divides text into records and
 * fields, csv_columns.c knows the columns by header and workload, csv.c makes numbers of them.
 *
 * Why no library: libcsv, the one in Debian, hands over fields without their place in the file, and
 * messages here name line and column. What it would take over is the part of csv_scan.c that knows
 * quotes; streams, places, headers, columns and numbers would stay, and whoever builds would have
 * one more package to install. */
#ifndef CSV_H
#define CSV_H

#include "data/source.h"

enum { CSV_MAX_COLUMNS = 100000 };

typedef struct csv_field {
  size_t start; /* in the record's text; NUL-terminated there, blanks around it taken off */
  size_t length;
  int64_t line, column; /* of its first character, from 1 */
  bool quoted;
} csv_field;

/* A line of the table; quotes may let it run over several lines of the file. */
typedef struct csv_record {
  char *text;
  csv_field *fields;
  int count;
  size_t length, room;
  int field_room;
} csv_record;

typedef struct csv_scanner {
  data_stream stream;
  uint8_t buffer[1 << 16];
  int64_t at, filled;
  int64_t line, column; /* of the next character */
  mpt_status status;
  mpt_error *error;
} csv_scanner;

mpt_status csv_scan_open(csv_scanner *s, const char *path, mpt_error *error);
/* The next record that is not blank; none left: record->count is 0. */
mpt_status csv_scan_next(csv_scanner *s, csv_record *record);
mpt_status csv_scan_close(csv_scanner *s, mpt_status status);
void csv_record_free(csv_record *record);

const char *csv_text(const csv_record *record, int field);
/* mpt_fail_at the place of a field. */
mpt_status csv_fail(const char *path, const csv_field *field, mpt_error *error, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

/* What the header and the workload say of the columns. */
typedef struct csv_columns {
  int count;
  char **names;   /* NULL: there are none */
  bool row_names; /* the first column has no name: it holds the names of the rows */
  int *features, *labels;
  int feature_count, label_count;
} csv_columns;

/* `header` is NULL where the file has none, `first` the first record of samples. */
mpt_status csv_columns_read(const data_spec *spec, const char *path, const csv_record *header,
                            const csv_record *first, csv_columns *columns, mpt_error *error);
void csv_columns_free(csv_columns *columns);

#endif
