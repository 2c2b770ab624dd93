/* Readers of the members of events that are lists. Private to this room.
 *
 * A fault is words for event_read to put the event's name before: false, and `why` says what. */
#ifndef EVENT_LISTS_H
#define EVENT_LISTS_H

#include "contract/event.h"

#define EVENT_WHY_SIZE 500

bool event_read_names(const json_t *json, event_names *out, char why[EVENT_WHY_SIZE]);
bool event_read_histogram(const json_t *json, uint64_t *histogram, char why[EVENT_WHY_SIZE]);
bool event_read_layers(const json_t *json, event_layers *out, char why[EVENT_WHY_SIZE]);
bool event_read_formats(const json_t *json, event_applied *out, char why[EVENT_WHY_SIZE]);

/* A whole number, also one that was written as 3.0. */
bool event_read_integer(const json_t *json, double low, double high, int64_t *out);
bool event_read_text(const json_t *json, char *out, size_t size, char why[EVENT_WHY_SIZE]);
/* "a text", "a list": what a value is, for messages. */
const char *event_value_name(const json_t *json);

#endif
