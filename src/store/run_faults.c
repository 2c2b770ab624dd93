#include "store/run_faults.h"
#include "store/record.h"
#include <stdio.h>

typedef struct fault {
  mpt_arena memory;
  int64_t times;
} fault;

static const record fault_record = {
    .name = "a fault",
    .size = sizeof(fault),
    .whole = {.type = &record_some, .offset = offsetof(fault, times)}};

static void name_fault(const char *what, char name[100]) {
  snprintf(name, 100, "fault %.90s", what);
}

mpt_status store_put_fault(store *s, const char *what, mpt_error *error) {
  const fault once = {.times = 1};
  char name[100];
  name_fault(what, name);
  return record_put(s, &fault_record, name, &once, false, error);
}

mpt_status store_has_fault(store *s, const char *what, bool *has, mpt_error *error) {
  fault there;
  char name[100];
  name_fault(what, name);
  return record_get(s, &fault_record, name, &there, has, error);
}
