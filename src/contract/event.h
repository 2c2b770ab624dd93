/* What a program under evaluation says: lines of JSON, an event each. docs/contract.md specifies
 * them; the tables here are what is checked, and the shipped schema has the same members (a test
 * compares them).
 *
 * A number that is not finite is null, and is NaN here. */
#ifndef EVENT_H
#define EVENT_H

#include "mptune/mptune.h"
#include <jansson.h>

#define CONTRACT_PROTOCOL 1

enum {
  EVENT_MOST_LAYERS = 65536,
  EVENT_MOST_NAMES = 4096,     /* of a list of names */
  EVENT_LINE_LIMIT = 16 << 20, /* bytes */
};
#define EVENT_MOST_STEPS 1e12 /* as a workload's steps */

typedef enum event_kind {
  EVENT_HELLO,
  EVENT_LAYERS,
  EVENT_APPLIED,
  EVENT_STEP,
  EVENT_TIME,
  EVENT_STATS,
  EVENT_PROBE,
  EVENT_NONFINITE,
  EVENT_SKIPPED,
  EVENT_METRIC,
  EVENT_DONE,
  EVENT_KIND_COUNT
} event_kind;

typedef enum event_capability {
  CAPABILITY_FORK,
  CAPABILITY_TIME,
  CAPABILITY_OBSERVE,
  CAPABILITY_SERVE,
  CAPABILITY_PHASES,
  CAPABILITY_COUNT
} event_capability;

/* Formats of a layer as the program says that it has them. */
typedef struct applied_layer {
  char name[MPT_MAX_NAME];
  mpt_layer_policy formats;
  bool accumulate_given[MPT_GEMM_COUNT], scaling_given;
} applied_layer;

typedef struct event_names { /* owned */
  int count;
  char (*names)[MPT_MAX_NAME];
} event_names;

typedef struct event_hello {
  int64_t protocol;
  char program[256], device[256];
  uint32_t capabilities; /* bit set of 1 << event_capability */
  uint32_t formats;      /* bit set of 1 << mpt_precision; all where it does not say */
  json_t *versions;      /* of names to texts, or NULL; owned */
} event_hello;

typedef struct event_layers {
  int count;
  mpt_layer_info *layers; /* owned */
  event_names uncovered;  /* what of the model it cannot give a format */
} event_layers;

typedef struct event_applied {
  int count;
  applied_layer *layers; /* owned */
} event_applied;

typedef struct event_step {
  int64_t step;
  double loss;
  double seconds; /* NaN: not said */
} event_step;

typedef struct event_time {
  double median, spread, compile; /* seconds; NaN: not said */
  int64_t steps, peak_bytes;      /* peak_bytes -1: not said */
} event_time;

typedef struct event_stats {
  int64_t step;
  char layer[MPT_MAX_NAME];
  int index;         /* of the layer, which answer_take finds */
  int operand;       /* mpt_operand */
  double amax, amin; /* of the finite elements; as the program wrote them */
  mpt_statistics statistics;
} event_stats;

typedef struct event_probe {
  char layer[MPT_MAX_NAME];
  int index;                    /* of the layer, which answer_take finds */
  int format;                   /* mpt_precision */
  double forward, dgrad, wgrad; /* as the probe of libmptune gives them */
  double output_amax;
} event_probe;

typedef struct event_place {
  int64_t step;
  char layer[MPT_MAX_NAME]; /* "": not said */
  int operand;              /* -1: not said */
} event_place;

typedef struct event_metric {
  char name[64];
  double value;
  int larger_is_better;
} event_metric;

typedef struct event_done {
  int64_t steps; /* -1: not said */
} event_done;

typedef struct event {
  event_kind kind;
  union {
    event_hello hello;
    event_layers layers;
    event_applied applied;
    event_step step;
    event_time time;
    event_stats stats;
    event_probe probe;
    event_place nonfinite, skipped;
    event_metric metric;
    event_done done;
  };
} event;

/* Reads a line. *known is false for an event of another kind, which is none of this version's.
 * MPT_ERROR_SYNTAX names the event, its member and the remedy; `file` and `line` are for messages.
 * The caller clears *out. */
mpt_status event_read(const char *text, size_t length, const char *file, int line, bool *known,
                      event *out, mpt_error *error);
void event_clear(event *e);

const char *event_name(event_kind kind);

/* ---- the tables ---- */

typedef enum member_type {
  MEMBER_TEXT,      /* char[size], not empty */
  MEMBER_INTEGER,   /* int64_t in [low, high] */
  MEMBER_NUMBER,    /* double in [low, high] */
  MEMBER_WORD,      /* int: the index among `words` */
  MEMBER_WORDS,     /* uint32_t: a bit for each of `words`; others are ignored */
  MEMBER_TEXTS,     /* json_t *: an object of texts */
  MEMBER_NAMES,     /* event_names */
  MEMBER_HISTOGRAM, /* uint64_t[MPT_EXPONENT_BINS] */
  MEMBER_LAYERS,    /* event_layers */
  MEMBER_FORMATS    /* event_applied */
} member_type;

typedef struct event_member {
  const char *name;
  member_type type;
  bool required, may_be_null;
  size_t offset, size;
  double low, high;
  const char *const *words; /* ends with NULL */
} event_member;

typedef struct event_type {
  const char *name;
  const event_member *members;
  int count;
} event_type;
extern const event_type event_types[EVENT_KIND_COUNT];
extern const char *const capability_words[];

#endif
