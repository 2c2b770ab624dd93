/* What a backend computes is held to its numerics number (mptune/version.h), which decides whether
 * results of two builds are compared: short trainings of every kind of arithmetic, to the bit.
 *
 *   tests/golden_bits/PLACE.txt    "numerics N", and for each training its name and a hash of its
 *                                  losses, metrics and final weights
 *   test_golden_bits --write       writes the file of this place. Where bits have changed it wants
 *                                  the number raised first
 *
 * What else decides the bits is in the file's name, and where there is no such file the test is
 * skipped with a word. On the processor that is OpenBLAS and the C library: the test starts itself
 * again with the kernels that every x86-64 has (Prescott), one thread, and a libm that uses no
 * fused operations. On a GPU it is the device and cuBLASLt, whose first algorithm is taken.
 */
#include "base/hash.h"
#include "session_rig.h"
#include "train_model.h"
#include <ctype.h>
#include <gnu/libc-version.h>
#include <unistd.h>

enum { STEPS = 6, BATCH = 8, MODELS = 3, POLICIES = 5, OPTIMIZERS = 3 };
enum { TRAININGS = MODELS * POLICIES * OPTIMIZERS };

static const char core[] = "Prescott";
static const char *const model_names[MODELS] = {"mlp", "cnn", "gpt"};
static const char *const policy_names[POLICIES] = {"fp32", "bf16", "fp16", "fp8", "fp8-delayed"};
static const char *const optimizer_names[OPTIMIZERS] = {"sgd", "adam", "adamw-clipped"};

static void make_model(test_model *m, int model, int optimizer) {
  if (model == 0) {
    test_mlp(m, 6, 16, 3);
    m->layers[2].initial_scale = 0.0; /* tensors that are zero at first */
  } else if (model == 1) {
    test_cnn(m, 8, 4, 3);
  } else {
    test_gpt(m, 13, 8, 16, 1, false);
  }
  optimizer_spec *o = &m->w.optimizer;
  o->kind = (optimizer_kind[]){OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW}[optimizer];
  o->learning_rate = optimizer == 0 ? 0.1 : 0.01;
  o->momentum = optimizer == 0 ? 0.9 : 0.0;
  o->weight_decay = optimizer == 2 ? 0.1 : 0.0;
  o->clip = optimizer == 2 ? 0.25 : 0.0;
  m->w.batch = BATCH;
  m->w.steps = STEPS;
}

static mpt_layer_policy policy_of(int policy) {
  static const mpt_precision precisions[POLICIES] = {MPT_PRECISION_FP32, MPT_PRECISION_BF16,
                                                     MPT_PRECISION_FP16, MPT_PRECISION_FP8,
                                                     MPT_PRECISION_FP8};
  mpt_layer_policy p = mpt_layer_policy_of(precisions[policy]);
  if (policy == 4)
    p.scaling = (mpt_scaling){MPT_SCALING_DELAYED, 3, 1};
  return p;
}

static void hash_bytes(uint64_t *hash, const void *data, size_t bytes) {
  *hash = mpt_hash_bytes(*hash, data, bytes);
}

/* Of a checkpoint what stands behind the header, but for the seconds at its end. */
static void hash_weights(uint64_t *hash, const char *path) {
  static char file[1 << 20];
  FILE *stream = fopen(path, "rb");
  assert_non_null(stream);
  const size_t size = fread(file, 1, sizeof file, stream);
  fclose(stream);
  const char *end = memchr(file, '\n', size);
  assert_true(size < sizeof file && end != NULL);
  hash_bytes(hash, end + 1, (size_t)(file + size - end - 1) - sizeof(double));
}

static uint64_t train(const char *backend, int model, int policy, int optimizer) {
  uint64_t hash = MPT_HASH_START;
  test_model m;
  graph *g;
  dataset *data;
  mpt_layer_policy assignment[TEST_MAX_LAYERS];
  train_result result;
  char path[64];
  make_model(&m, model, optimizer);
  OK(test_data(&m, m.info.tokens ? 500 : 80, &data, &ok_error));
  m.info = *dataset_get_info(data);
  OK(test_graph(&m, BATCH, &g, &ok_error));
  for (int i = 0; i < g->layer_count; i++)
    assignment[i] = policy_of(policy);
  snprintf(path, sizeof path, "test_golden_bits.%d.ckpt", (int)getpid());
  train_options o = train_options_default();
  o.workload = &m.w;
  o.graph = g;
  o.data = data;
  o.assignment = assignment;
  o.backend = backend;
  o.steps = STEPS;
  o.save_checkpoint = path;
  o.loss_scale.initial = 1024.0f;
  OK(train_run(&o, &result, &ok_error));
  assert_false(result.diverged);
  hash_bytes(&hash, result.losses, STEPS * sizeof *result.losses);
  hash_bytes(&hash, &result.metric, sizeof result.metric);
  hash_bytes(&hash, &result.metric_plain, sizeof result.metric_plain);
  hash_weights(&hash, path);
  unlink(path);
  train_result_clear(&result);
  graph_free(g);
  dataset_close(data);
  return hash;
}

/* ---- the files ---- */

typedef struct golden {
  const char *backend;
  int numerics; /* of this build */
  char path[512];
  bool there;
  int numerics_there;
  uint64_t hashes[TRAININGS];
} golden;

static void name_training(int index, char name[64]) {
  snprintf(name, 64, "%s %s %s", model_names[index / (POLICIES * OPTIMIZERS)],
           policy_names[index / OPTIMIZERS % POLICIES], optimizer_names[index % OPTIMIZERS]);
}

/* Letters, digits and points; everything else is one hyphen. */
static void name_file(golden *g, const char *place) {
  const int start = snprintf(g->path, sizeof g->path, "%s/tests/golden_bits/", MPTUNE_SOURCE_DIR);
  size_t used = (size_t)start;
  for (; *place != '\0' && used + 8 < sizeof g->path; place++)
    if (isalnum((unsigned char)*place) || *place == '.')
      g->path[used++] = (char)tolower((unsigned char)*place);
    else if (g->path[used - 1] != '-')
      g->path[used++] = '-';
  snprintf(g->path + used, sizeof g->path - used, ".txt");
}

static void read_golden(golden *g) {
  char line[128], name[64], expected[64];
  FILE *file = fopen(g->path, "r");
  g->there = file != NULL;
  if (file == NULL)
    return;
  if (fscanf(file, "numerics %d\n", &g->numerics_there) != 1)
    fail_msg("%s is damaged", g->path);
  for (int i = 0; i < TRAININGS; i++) {
    unsigned long long hash = 0;
    name_training(i, expected);
    if (fgets(line, sizeof line, file) == NULL || strrchr(line, ' ') == NULL)
      fail_msg("%s is damaged", g->path);
    snprintf(name, sizeof name, "%.*s", (int)(strrchr(line, ' ') - line), line);
    if (strcmp(name, expected) != 0 || sscanf(strrchr(line, ' '), "%llx", &hash) != 1)
      fail_msg("%s: '%s' where '%s' belongs", g->path, name, expected);
    g->hashes[i] = hash;
  }
  fclose(file);
}

static void write_golden(const golden *g, const uint64_t *hashes) {
  FILE *file = fopen(g->path, "w");
  if (file == NULL)
    fail_msg("%s cannot be written", g->path);
  fprintf(file, "numerics %d\n", g->numerics);
  for (int i = 0; i < TRAININGS; i++) {
    char name[64];
    name_training(i, name);
    fprintf(file, "%s %016llx\n", name, (unsigned long long)hashes[i]);
  }
  fclose(file);
  print_message("written: %s\n", g->path);
}

/* ---- the places ---- */

static bool writing;

static void check_place(golden *g, const char *place) {
  const char *macro =
      strcmp(g->backend, "cpu") == 0 ? "MPTUNE_CPU_NUMERICS" : "MPTUNE_CUDA_NUMERICS";
  uint64_t hashes[TRAININGS];
  int changed = -1;
  char name[64] = "";
  name_file(g, place);
  read_golden(g);
  if (!g->there && !writing) {
    print_message("skipped: no golden bits of %s (%s; --write makes them)\n", place, g->path);
    skip();
  }
  if (g->there && !writing && g->numerics_there != g->numerics)
    fail_msg("%s is of numerics %d, and %s is %d: run test_golden_bits --write, and commit it",
             g->path, g->numerics_there, macro, g->numerics);
  for (int i = 0; i < TRAININGS; i++) {
    hashes[i] =
        train(g->backend, i / (POLICIES * OPTIMIZERS), i / OPTIMIZERS % POLICIES, i % OPTIMIZERS);
    if (changed < 0 && hashes[i] != g->hashes[i])
      changed = i;
  }
  if (changed >= 0)
    name_training(changed, name);
  if (g->there && changed >= 0 && g->numerics_there == g->numerics)
    fail_msg("on %s '%s' gives other bits than numerics %d did: results are not comparable any "
             "more. Where that is meant, raise %s in src/mptune/version.h.in, then run "
             "test_golden_bits --write",
             place, name, g->numerics, macro);
  if (writing)
    write_golden(g, hashes);
}

static bool wanted(const char *backend) {
  const char *only = getenv("MPTUNE_TEST_BACKEND");
  return only == NULL || strcmp(only, backend) == 0;
}

static void the_processor_computes_what_its_number_says(void **unused) {
  (void)unused;
  static golden g = {.backend = "cpu", .numerics = MPTUNE_CPU_NUMERICS};
  mpt_device_info info;
  char place[256];
  if (!wanted("cpu"))
    skip();
  OK(mpt_device_describe("cpu", 0, &info, &ok_error));
  if (strstr(info.blas, core) == NULL) {
    print_message("skipped: the kernels are those of %s, not of %s\n", info.blas, core);
    skip();
  }
  snprintf(place, sizeof place, "cpu, %s, glibc %s", info.blas, gnu_get_libc_version());
  check_place(&g, place);
}

static void the_gpu_computes_what_its_number_says(void **unused) {
  (void)unused;
  static golden g = {.backend = "cuda", .numerics = MPTUNE_CUDA_NUMERICS};
  mpt_device_info info;
  mpt_error error = {0};
  char place[512];
  if (!wanted("cuda"))
    skip();
  if (mpt_device_describe("cuda", 0, &info, &error) != MPT_OK) {
    print_message("skipped: %s\n", error.message);
    skip();
  }
  snprintf(place, sizeof place, "cuda, %s, cublaslt %s", info.name, info.cublaslt);
  check_place(&g, place);
}

/* OpenBLAS and the C library choose when a program starts. */
static void start_again(char **words) {
  const char *given = getenv("OPENBLAS_CORETYPE");
  if (given != NULL && strcmp(given, core) == 0)
    return;
  setenv("OPENBLAS_CORETYPE", core, 1);
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  setenv("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2", 1);
  execv("/proc/self/exe", words);
}

int main(int count, char **words) {
  writing = count > 1 && strcmp(words[1], "--write") == 0;
  start_again(words);
  setenv("MPTUNE_GEMM_TUNE", "0", 1); /* a GPU would choose products by time, apart in each run */
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_processor_computes_what_its_number_says),
                                     cmocka_unit_test(the_gpu_computes_what_its_number_says)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
