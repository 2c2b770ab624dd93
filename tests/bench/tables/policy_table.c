#include "tests/bench/tables/policy_table.h"
#include "base/error.h"
#include "store/store.h"
#include "tests/bench/tables/networks.h"
#include <cblas.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- networks ---- */

int table_network_count(void) {
  return TABLE_CASES + KNOWN_NETWORKS;
}

int drawn_network_count(void) {
  return DRAWN_CASES;
}

static table_case case_of(int which) {
  if (which < TABLE_CASES)
    return table_cases[which];
  which -= TABLE_CASES;
  if (which < KNOWN_NETWORKS)
    return (table_case){known_networks[which].name, BITS, known_networks[which].text};
  return drawn_cases[which - KNOWN_NETWORKS];
}

const char *table_network_name(int which) {
  return case_of(which).name;
}

static mpt_status write_workload(const char *path, int which, mpt_error *error) {
  const table_case c = case_of(which);
  const bool known = which >= TABLE_CASES && which < table_network_count();
  FILE *file = fopen(path, "w");
  if (file == NULL)
    return mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be written: %s", path, strerror(errno));
  fprintf(file,
          "schema: mptune/workload@1\nname: %s\n%s%smetric: loss\nbudget: {worse_by: 1%%}\n"
          "threads: 1\ntarget: %s\n",
          c.name, c.text, known ? NO_TF32 : "", c.device);
  return fclose(file) == 0 ? MPT_OK : mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be written", path);
}

mpt_status table_network_open(const char *directory, int which, table_network *n,
                              mpt_error *error) {
  char path[512], *text = NULL;
  *n = (table_network){.name = table_network_name(which)};
  snprintf(path, sizeof path, "%.400s/%s.yaml", directory, n->name);
  MPT_RETURN_IF_FAILED(write_workload(path, which, error));
  MPT_RETURN_IF_FAILED(workload_load(path, &n->w, error));
  MPT_RETURN_IF_FAILED(dataset_open(&n->w->data, &n->data, error));
  MPT_RETURN_IF_FAILED(graph_build(n->w, &n->w->model, n->w->batch, n->w->data.sequence,
                                   dataset_get_info(n->data), &n->graph, error));
  MPT_RETURN_IF_FAILED(profile_load(n->w->target, &n->profile, error));
  MPT_RETURN_IF_FAILED(space_build(n->w, n->graph, n->profile, false, &n->space, error));
  MPT_RETURN_IF_FAILED(workload_training_text(n->w, &text, error));
  store_hash(text, strlen(text), n->hash);
  free(text);
  n->policies = 1;
  for (int u = 0; u < n->space->unit_count; u++)
    n->policies *= n->space->units[u].choice_count;
  if (n->space->unit_count > TABLE_UNITS || n->policies > TABLE_POLICIES)
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED, "'%s' has %d policies", path, n->policies);
  return MPT_OK;
}

void table_network_close(table_network *n) {
  space_free(n->space);
  profile_free(n->profile);
  graph_free(n->graph);
  dataset_close(n->data);
  workload_free(n->w);
  *n = (table_network){0};
}

/* ---- policies ---- */

void table_choice(const space *s, int policy, int *choice) {
  for (int u = s->unit_count - 1; u >= 0; u--) {
    choice[u] = policy % s->units[u].choice_count;
    policy /= s->units[u].choice_count;
  }
}

int table_policy(const space *s, const int *choice) {
  int policy = 0;
  for (int u = 0; u < s->unit_count; u++)
    policy = policy * s->units[u].choice_count + choice[u];
  return policy;
}

/* ---- tables ---- */

#define MAGIC "mptable1"

typedef struct table_header {
  char magic[8], hash[64];
  char core[24]; /* OpenBLAS's kernels, on which sums depend */
  int32_t policies, zero[7];
} table_header;
_Static_assert(sizeof(table_header) == 128, "the header has 128 bytes");

static mpt_status map_table(int file, const char *path, const table_header *wanted, int seeds,
                            bool writable, policy_table *t, mpt_error *error) {
  struct stat is;
  table_header have = {0};
  const size_t row = (size_t)wanted->policies * sizeof(float);
  if (fstat(file, &is) != 0 ||
      (is.st_size > 0 && pread(file, &have, sizeof have, 0) != sizeof have))
    return mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be read", path);
  if (is.st_size > 0 && memcmp(&have, wanted, sizeof have) != 0)
    return mpt_fail(
        error, MPT_ERROR_MISMATCH,
        "'%s' is of another training or another OpenBLAS (%.23s, here %.23s); remove it", path,
        have.core, wanted->core);
  const int before = is.st_size > 0 ? (int)(((size_t)is.st_size - sizeof have) / row) : 0;
  const int count = writable && seeds > before ? seeds : before;
  t->policies = wanted->policies, t->seeds = count;
  t->bytes = sizeof have + (size_t)count * row;
  if (writable && ftruncate(file, (off_t)t->bytes) != 0)
    return mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be written: %s", path, strerror(errno));
  t->mapping = mmap(NULL, t->bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, file, 0);
  if (t->mapping == MAP_FAILED)
    return mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be mapped: %s", path, strerror(errno));
  t->metric = (float *)((char *)t->mapping + sizeof have);
  if (writable)
    memcpy(t->mapping, wanted, sizeof *wanted);
  for (int64_t i = (int64_t)before * t->policies; i < (int64_t)count * t->policies; i++)
    t->metric[i] = NAN;
  return MPT_OK;
}

mpt_status policy_table_open(const char *directory, const table_network *n, int seeds,
                             bool writable, policy_table *t, mpt_error *error) {
  char path[512];
  table_header wanted = {.policies = n->policies};
  *t = (policy_table){0};
  memcpy(wanted.magic, MAGIC, sizeof wanted.magic);
  memcpy(wanted.hash, n->hash, sizeof wanted.hash);
  snprintf(wanted.core, sizeof wanted.core, "%s", openblas_get_corename());
  snprintf(path, sizeof path, "%.400s/%s.table", directory, n->name);
  const int file = open(path, writable ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0666);
  if (file < 0)
    return mpt_fail(error, MPT_ERROR_IO, "'%s' cannot be opened: %s", path, strerror(errno));
  if (!writable && pread(file, wanted.core, sizeof wanted.core, 72) < 0)
    wanted.core[0] = '\0'; /* what it was made with does not matter to who reads it */
  mpt_status status = map_table(file, path, &wanted, seeds, writable, t, error);
  close(file);
  if (status != MPT_OK)
    policy_table_close(t);
  return status;
}

void policy_table_close(policy_table *t) {
  if (t->mapping != NULL && t->mapping != MAP_FAILED)
    munmap(t->mapping, t->bytes);
  *t = (policy_table){0};
}

int policy_table_whole(const policy_table *t) {
  int64_t i = 0;
  while (i < (int64_t)t->seeds * t->policies && !isnan(t->metric[i]))
    i++;
  return (int)(i / t->policies);
}
