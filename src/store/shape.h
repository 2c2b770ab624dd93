/* What JSON from a store must look like. Private to src/store/.
 *
 * A shape is a tree of constants; a member that is absent or null passes unless it is required, and
 * members that a shape does not name are let be.
 */
#ifndef SHAPE_H
#define SHAPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct shape shape;
typedef struct shape_member {
  const char *name;
  const shape *is;
  bool required;
} shape_member;

struct shape {
  enum { TEXT, WORD, NUMBER, FLAG, LIST, MAP, OBJECT, ANYTHING } kind;
  double low, high;            /* NUMBER: both included */
  bool whole;                  /* NUMBER: an integer */
  bool (*known)(const char *); /* WORD */
  const char *what;            /* what a wrong value is not: "a count" */
  const shape *of;             /* LIST: every element; MAP: every value */
  const shape_member *members; /* OBJECT */
  size_t member_count;
};

typedef struct shape_fault {
  char place[200];  /* "[3].operands.input.amax" */
  const char *what; /* what is not there */
} shape_fault;

/* Whether `json` has that shape; *fault says where it has not. */
bool shape_fits(const shape *s, const json_t *json, shape_fault *fault);

#endif
