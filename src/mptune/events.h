/* What a program tells the search that runs it: the events of docs/contract.md, version 1.
 *
 * A program that mptune runs (mptune tune --command) finds MPTUNE_EVENTS in its environment and
 * appends a line of JSON for each event, by one write. Of several processes rank 0 alone does.
 * Every function takes NULL for `events` and then does nothing, so that the program runs by itself,
 * too. A number that is not finite is written as null. Texts are UTF-8; bytes that are not become
 * U+FFFD.
 */
#ifndef MPTUNE_EVENTS_H
#define MPTUNE_EVENTS_H

#include "mptune/policy.h"
#include "mptune/statistics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MPT_EVENTS_PROTOCOL 1

typedef struct mpt_events mpt_events;

/* `path` NULL: what MPTUNE_EVENTS names; where it is not set *events becomes NULL, which is no
 * error. One thread at a time writes to it. The caller closes it. */
MPT_API mpt_status mpt_events_open(const char *path, mpt_events **events, mpt_error *error);
MPT_API void mpt_events_close(mpt_events *events); /* NULL is allowed */

typedef struct mpt_events_hello_info {
  uint32_t struct_size;        /* sizeof(mpt_events_hello_info) */
  const char *program;         /* its name */
  const char *device;          /* what it runs on; or NULL */
  const char *const *versions; /* names and versions by turns, then NULL: "torch", "2.11", NULL; or
                                  NULL */
  const char *const *capabilities; /* of fork, time, observe, serve, phases, then NULL; or NULL */
  uint32_t precisions;             /* it can apply, a bit set of 1 << mpt_precision; 0: all */
} mpt_events_hello_info;
/* The first event. */
MPT_API mpt_status mpt_events_hello(mpt_events *events, const mpt_events_hello_info *hello,
                                    mpt_error *error);
/* The layers that a policy can give a format, in the order of the forward pass. `uncovered` names
 * what of the model has none to give, then NULL; or it is NULL. */
MPT_API mpt_status mpt_events_layers(mpt_events *events, const mpt_layer_info *layers, int count,
                                     const char *const *uncovered, mpt_error *error);
/* The formats that each of them really got: mpt_session_layer_policy. Before any that follow. */
MPT_API mpt_status mpt_events_applied(mpt_events *events, const mpt_layer_info *layers,
                                      const mpt_layer_policy *formats, int count, mpt_error *error);
/* The training loss of a step, before its update; `seconds` that it took, NaN where not known. */
MPT_API mpt_status mpt_events_step(mpt_events *events, int64_t step, double loss, double seconds,
                                   mpt_error *error);

typedef struct mpt_events_time_info {
  uint32_t struct_size; /* sizeof(mpt_events_time_info) */
  int64_t steps;        /* that were timed */
  double median;        /* seconds of one of them */
  double spread;        /* their median absolute deviation; NaN: not known */
  double compile;       /* seconds before the first of them; NaN: not known */
  int64_t peak_bytes;   /* of device memory; below 0: not known */
} mpt_events_time_info;
MPT_API mpt_status mpt_events_time(mpt_events *events, const mpt_events_time_info *time,
                                   mpt_error *error);

/* What on_statistics of a session delivers. */
MPT_API mpt_status mpt_events_statistics(mpt_events *events, int64_t step, const char *layer,
                                         mpt_operand operand, const mpt_statistics *statistics,
                                         mpt_error *error);
/* What rounding the layer's operands to a precision does to its products; see docs/contract.md. */
MPT_API mpt_status mpt_events_probe(mpt_events *events, const char *layer, mpt_precision precision,
                                    double forward, double dgrad, double wgrad, double output_amax,
                                    mpt_error *error);
/* The first value that was not finite: `layer` NULL where it is not known, and then no operand. */
MPT_API mpt_status mpt_events_nonfinite(mpt_events *events, int64_t step, const char *layer,
                                        mpt_operand operand, mpt_error *error);
/* A step whose update was skipped. */
MPT_API mpt_status mpt_events_skipped(mpt_events *events, int64_t step, mpt_error *error);
/* On held-out data, after the last step. */
MPT_API mpt_status mpt_events_metric(mpt_events *events, const char *name, double value,
                                     bool larger_is_better, mpt_error *error);
/* The last event: everything was run. */
MPT_API mpt_status mpt_events_done(mpt_events *events, int64_t steps, mpt_error *error);

#ifdef __cplusplus
}
#endif
#endif
