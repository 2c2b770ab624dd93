/* What a program prints: the beginning and the end of it, in a file. Private to this room. */
#ifndef PROCESS_LOG_H
#define PROCESS_LOG_H

#include "mptune/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROCESS_LOG_END = 65536 }; /* bytes of the end that are kept */

typedef struct process_log {
  int file;
  int64_t most;              /* bytes of the beginning */
  int64_t printed;           /* so far */
  char end[PROCESS_LOG_END]; /* a ring: byte i of all is end[i % PROCESS_LOG_END] */
} process_log;

mpt_status process_log_open(process_log *log, const char *path, int64_t most, mpt_error *error);
void process_log_add(process_log *log, const char *bytes, size_t length);
/* Writes the end, where the beginning was not all. */
void process_log_close(process_log *log);
void process_log_last_lines(const process_log *log, int lines, char *text, size_t size);

#endif
