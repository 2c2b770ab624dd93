/* Records that are kept as JSON: tables that say what each member is called, what it may be, and
 * where it stands in a C struct. A record is read, checked and written by its one table, so that no
 * reader checks less than another. Private to src/store/.
 *
 * A record's struct begins with an mpt_arena, which holds what was read into it: texts and lists.
 * What is not there, or null, is none: NULL, NaN, -1, an empty list; of a flag what its type says.
 * Members of the JSON that the table does not name are let be. */
#ifndef RECORD_H
#define RECORD_H

#include "base/arena.h"
#include "store/database.h"
#include <jansson.h>
#include <stddef.h>

typedef struct record_type record_type;

typedef enum record_need {
  RECORD_NULL,     /* null where it is none */
  RECORD_LEFT_OUT, /* not there where it is none */
  RECORD_REQUIRED  /* one that is none is damage */
} record_need;

typedef struct record_member {
  const char *name;
  const record_type *type;
  size_t offset, count; /* in the struct; of a list's length, an int */
  record_need need;
} record_member;

typedef enum record_kind {
  RECORD_TEXT,   /* const char * */
  RECORD_NUMBER, /* double */
  RECORD_WHOLE,  /* int64_t */
  RECORD_FLAG,   /* bool; as two texts where it has words, of which NULL is one that is not there */
  RECORD_WORD,   /* int or enum, as a text */
  RECORD_OBJECT, /* a struct */
  RECORD_LIST,   /* const T *, and its length */
  RECORD_MAP     /* const store_pair *, and its length: an object of texts */
} record_kind;

struct record_type {
  record_kind kind;
  const char *what;                /* what a wrong value is not: "a count" */
  double low, high;                /* NUMBER, WHOLE: both included */
  bool (*known)(const char *text); /* TEXT: NULL: any */
  const char *(*word)(int value);  /* WORD */
  int word_count;
  const char *flag_words[2];    /* FLAG: false, true */
  bool otherwise;               /* FLAG: where it is none */
  size_t size;                  /* of what it is in C */
  const record_type *of;        /* LIST, MAP: every element */
  const record_member *members; /* OBJECT */
  int member_count;
};

/* A kind of record. Of an object the whole stands at 0; of a list, the place of both is said. */
typedef struct record {
  const char *name; /* as in "the note 'definition'" */
  size_t size;
  record_member whole;
  bool spaced; /* its text has blanks after commas */
} record;

/* The type of the member in C is checked when this is compiled. */
#define RECORD_AT(S, member, T)                                                                    \
  (offsetof(S, member) + 0 * sizeof(_Generic(((S *)0)->member, T : 1)))
#define TEXT_MEMBER(S, m, type, need)                                                              \
  { #m, &(type), RECORD_AT(S, m, const char *), 0, need }
#define NUMBER_MEMBER(S, m, type, need)                                                            \
  { #m, &(type), RECORD_AT(S, m, double), 0, need }
#define WHOLE_MEMBER(S, m, type, need)                                                             \
  { #m, &(type), RECORD_AT(S, m, int64_t), 0, need }
#define WORD_MEMBER(S, m, T, type, need)                                                           \
  { #m, &(type), RECORD_AT(S, m, T), 0, need }
#define FLAG_MEMBER(S, m, type)                                                                    \
  { #m, &(type), RECORD_AT(S, m, bool), 0, RECORD_NULL }
#define OBJECT_MEMBER(S, m, T, type, need)                                                         \
  { #m, &(type), RECORD_AT(S, m, T), 0, need }
#define LIST_MEMBER(S, m, T, length, type, need)                                                   \
  { #m, &(type), RECORD_AT(S, m, const T *), RECORD_AT(S, length, int), need }

#define RECORD_OBJECT_OF(list)                                                                     \
  { .kind = RECORD_OBJECT, .members = list, .member_count = (int)(sizeof list / sizeof list[0]) }
/* Of a note that is a list. */
#define RECORD_LIST_IN(S, m, length, list)                                                         \
  { .type = &(list), .offset = offsetof(S, m), .count = offsetof(S, length) }
#define RECORD_LIST_OF(T, element)                                                                 \
  { .kind = RECORD_LIST, .size = sizeof(T), .of = &(element) }

/* What several tables need. */
extern const record_type record_text, record_number, record_positive, record_share, record_count,
    record_some, record_seconds, record_moment, record_flag, record_operand, record_layer,
    record_formats, record_precision, record_counts, record_numbers;

/* From a text in the store; NULL gives a record of which all is none, as a failure does.
 * MPT_ERROR_DAMAGED: `why` says where, of `what`. */
#define RECORD_WHY 400
mpt_status record_read(const record *r, const char *what, const char *text, void *out,
                       char why[RECORD_WHY]);
json_t *record_json(const record *r, const void *in); /* NULL: no memory */
mpt_status record_print(const record *r, const void *in, char **text, mpt_error *error);
void record_clear(void *out, size_t size);

/* ---- notes: the records that a run has one of, or one for each `name` ---- */
/* `keep`: one that is there stays. */
mpt_status record_put(store *s, const record *r, const char *name, const void *in, bool keep,
                      mpt_error *error);
mpt_status record_get(store *s, const record *r, const char *name, void *out, bool *found,
                      mpt_error *error);

/* ---- records in a column of a row; NULL: none. Damage is the query's. ---- */
void column_record(query *q, const record *r, const char *what, void *out);

#endif
