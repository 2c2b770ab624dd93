/* All policies of a small network under many seeds: what a search can be held against.
 *
 * A network has a file DIRECTORY/NAME.table: a header of 128 bytes and, in the machine's byte
 * order, a float for each seed and policy: the held-out metric; infinite: diverged; NaN: not
 * trained yet. It is mapped, so that several processes fill it side by side, and one that is killed
 * loses nothing but the training that it was at. More seeds make it longer.
 */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include "tuner/space.h"

#define TABLE_UNITS    16
#define TABLE_POLICIES 8192

typedef struct table_network {
  const char *name;
  workload *w;
  dataset *data;
  graph *graph;
  profile *profile;
  space *space;
  int policies; /* products of the units' choices; 0 is the reference: the first choice of each */
  char hash[65];
} table_network;

/* Networks that are trained: table_cases, then the known answers'; behind them those that are
 * drawn.
 */
int table_network_count(void);
int drawn_network_count(void);
const char *table_network_name(int which);
/* The workload is written to DIRECTORY/NAME.yaml. Not MPT_OK where its data is not on this machine.
 * The caller closes *n, after a failure too. */
mpt_status table_network_open(const char *directory, int which, table_network *n, mpt_error *error);
void table_network_close(table_network *n);

/* Policies are numbers to the base of each unit's choices, the first unit's digit first. */
void table_choice(const space *s, int policy, int *choice);
int table_policy(const space *s, const int *choice);

typedef struct policy_table {
  int policies, seeds;
  float *metric; /* [seed][policy], mapped; seed i is the number i + 1 */
  void *mapping;
  size_t bytes;
} policy_table;
/* Makes it, or lengthens it to `seeds`; `writable` false: as it is, `seeds` is not looked at.
 * MPT_ERROR_MISMATCH for a file of another training, policies or kernels of OpenBLAS. */
mpt_status policy_table_open(const char *directory, const table_network *n, int seeds,
                             bool writable, policy_table *t, mpt_error *error);
void policy_table_close(policy_table *t);
/* How many of the first seeds are trained for every policy. */
int policy_table_whole(const policy_table *t);

#endif
