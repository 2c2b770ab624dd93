/* What stages ask for. A stage takes what it needs from the ledger and adds what is not there to a
 * list of requests; it is done when it has asked for nothing. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "tuner/model.h"

typedef struct asked {
  evaluation_request request;
  const candidate *candidate;
} asked;

typedef struct requests {
  asked *list; /* in the order in which one evaluator would carry them out */
  int count, capacity;
} requests;
void requests_clear(requests *all);

bool request_is_same(const evaluation_request *a, const evaluation_request *b); /* but for its id */
/* Adds it, unless it is among them. */
mpt_status requests_add(requests *all, const evaluation_request *r, const candidate *c,
                        mpt_error *error);
/* One of full length for that policy. An empty purpose shows no progress. */
evaluation_request request_of(const problem *p, const candidate *c, request_kind kind,
                              uint64_t seed, const char *purpose);

/* Asks for the training of `c` under `seed`, unless the ledger has it. Purpose "candidate": one
 * that turns out hopeless is given up. */
mpt_status ask_training(const problem *p, const ledger *l, const model *m, const candidate *c,
                        uint64_t seed, const char *purpose, requests *out, mpt_error *error);
#endif
