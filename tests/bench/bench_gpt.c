/* Steps of a GPT on a GPU under several policies: time, tokens a second, memory, energy (of the
 * whole card, by NVML).
 *
 *   bench_gpt WORKLOAD STEPS [CASE...]
 *
 * A case is a precision (all-tf32, all-bf16, all-fp16, all-fp8), `rule` (fp8 where torchao's rule
 * on weight shapes allows it, bf16 elsewhere), or fp8 in layers whose names end so, bf16 elsewhere:
 * fp8:qkv,fc1,fc2. A word +delayed after it takes delayed scaling. Data are random token ids: times
 * do not depend on them. Statistics: +lite or +full, at every step, or +full50 at every 50th: then
 * STEPS must be 104 or more, so that a step of the second half collects from a recording made
 * before, and the time is a mean in which steps that have nothing to do with it count as their
 * median: a run's noise is larger than what is sought.
 *
 * The cases take turns for several rounds, so that what changes on the card changes for all.
 * pytorch_gpt.py beside it runs the same networks in PyTorch. Exits 2 without a GPU.
 */
#include "mptune/device.h"
#include "train/trainer.h"
#include "tuner/recipes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 2, MAX_CASES = 24, HISTORY = 16 };

typedef struct bench_case {
  const char *text;
  mpt_layer_policy *assignment;
  mpt_statistics_mode statistics;
  int64_t every;
  double seconds;
  double joules; /* a step */
  size_t memory;
  double loss;
} bench_case;

static int fail(const mpt_error *error) {
  fprintf(stderr, "bench_gpt: %s\n", error->message);
  return 1;
}

static bool has_word(const char *text, const char *word) {
  return strstr(text, word) != NULL;
}

/* Whether the layer's name ends in one of the words between commas. */
static bool ends_in(const char *name, const char *words) {
  char list[256];
  snprintf(list, sizeof list, "%s", words);
  list[strcspn(list, "+")] = '\0';
  const char *last = strrchr(name, '.');
  last = last != NULL ? last + 1 : name;
  for (char *save = NULL, *word = strtok_r(list, ",", &save); word != NULL;
       word = strtok_r(NULL, ",", &save))
    if (strcmp(last, word) == 0)
      return true;
  return false;
}

static mpt_precision precision_of(const char *text, const graph_layer *layer, mpt_error *error) {
  mpt_precision p = MPT_PRECISION_BF16;
  char name[32];
  if (strncmp(text, "all-", 4) == 0) {
    snprintf(name, sizeof name, "%s", text + 4);
    name[strcspn(name, "+")] = '\0';
    if (mpt_precision_parse(name, &p, error) != MPT_OK)
      exit(fail(error));
    return p;
  }
  bool fp8 = strncmp(text, "rule", 4) == 0 ? recipe_torchao_takes(layer)
                                           : layer->has_gemm && ends_in(layer->info.name, text + 4);
  return fp8 ? MPT_PRECISION_FP8 : MPT_PRECISION_BF16;
}

static void make_case(bench_case *c, const char *text, const graph *g, mpt_error *error) {
  *c = (bench_case){.text = text, .every = 1, .seconds = INFINITY};
  c->assignment = calloc((size_t)g->layer_count, sizeof *c->assignment);
  if (c->assignment == NULL)
    exit(1);
  for (int i = 0; i < g->layer_count; i++) {
    mpt_layer_policy *p = &c->assignment[i];
    *p = mpt_layer_policy_of(precision_of(text, &g->layers[i], error));
    if (has_word(text, "+delayed"))
      p->scaling = (mpt_scaling){.mode = MPT_SCALING_DELAYED, .history = HISTORY};
    p->gemm[MPT_FPROP].accumulate = p->gemm[MPT_FPROP].precision == MPT_PRECISION_FP8
                                        ? MPT_ACCUMULATE_FAST
                                        : MPT_ACCUMULATE_SPLIT;
  }
  if (has_word(text, "+full"))
    c->statistics = MPT_STATISTICS_FULL;
  if (has_word(text, "+lite"))
    c->statistics = MPT_STATISTICS_LITE;
  if (has_word(text, "+full50"))
    c->every = 50;
}

/* Steps of the second half count, for all cases alike: the first find how to run each product, and
 * a card that gets warm gets slower. Of a case that collects now and then, a step that does is
 * dear, and the next, which begins by moving what was collected. */
typedef struct watch {
  int64_t first, steps, seen, every, dear_steps;
  double dear; /* seconds of all those */
  double *seconds, loss, joules;
  int64_t since; /* the step at whose end `joules` began to count */
} watch;

/* Of the card since its driver was loaded; NAN where nobody counts. */
static double joules_now(void) {
  mpt_device_activity activity;
  return mpt_device_observe("cuda", 0, &activity, NULL) == MPT_OK ? activity.energy_joules : NAN;
}

static bool on_step(void *context, const train_step *step) {
  watch *w = context;
  bool dear = w->every > 1 && step->step % w->every <= 1;
  if (step->step >= w->first && isfinite(step->seconds)) {
    w->dear += dear ? step->seconds : 0;
    w->dear_steps += dear;
    if (!dear)
      w->seconds[w->seen++] = step->seconds;
  }
  w->loss = step->loss;
  if (step->step == w->first || step->step + 1 == w->steps) {
    double now = joules_now();
    w->joules = step->step == w->first ? now : (now - w->joules) / (double)(step->step - w->since);
    w->since = step->step;
  }
  return step->step + 1 < w->steps;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static mpt_status run_case(bench_case *c, train_options options, int64_t steps, mpt_error *error) {
  train_result result;
  watch w = {.first = steps / 2,
             .steps = steps,
             .every = c->every,
             .seconds = calloc((size_t)steps + 1, sizeof(double))};
  if (w.seconds == NULL)
    return MPT_ERROR_MEMORY;
  options.assignment = c->assignment;
  options.statistics = c->statistics;
  options.statistics_every = c->every;
  options.steps = steps + 2; /* stopped before the end: no evaluation */
  options.on_step = on_step;
  options.context = &w;
  mpt_status status = train_run(&options, &result, error);
  if (status == MPT_OK) {
    qsort(w.seconds, (size_t)w.seen, sizeof *w.seconds, by_value);
    double typical = w.seen > 0 ? w.seconds[w.seen / 2] : INFINITY;
    if (c->every > 1)
      typical += 2.0 * (w.dear / (double)w.dear_steps - typical) / (double)c->every;
    c->seconds = typical < c->seconds ? typical : c->seconds;
    c->joules = w.joules;
    c->memory = result.memory_bytes;
    c->loss = w.loss;
    fprintf(stderr, "%s: %.2f ms\n", c->text, 1e3 * typical);
    train_result_clear(&result);
  }
  free(w.seconds);
  return status;
}

int main(int argc, char **argv) {
  static const char *const usual[] = {"all-tf32", "all-bf16", "all-fp16", "all-fp8", "rule"};
  workload *w;
  dataset *data;
  graph *g;
  mpt_queue *queue;
  mpt_error error = {0};
  mpt_queue_config config = mpt_queue_config_default();
  bench_case cases[MAX_CASES];
  if (argc < 3 || argc - 3 > MAX_CASES) {
    fprintf(stderr, "usage: bench_gpt WORKLOAD STEPS [CASE...]\n");
    return 2;
  }
  config.backend = "cuda";
  if (mpt_queue_open(&config, &queue, &error) != MPT_OK) {
    fprintf(stderr, "bench_gpt: %s\n", error.message);
    return 2;
  }
  mpt_queue_close(queue);
  if (workload_load(argv[1], &w, &error) != MPT_OK)
    return fail(&error);
  data_spec spec = data_spec_default(DATA_SYNTHETIC);
  spec.sequence = w->data.sequence;
  spec.vocabulary = 50304;
  spec.samples = w->data.sequence * w->batch * 64;
  spec.held_out = w->batch;
  spec.seed = 3;
  if (dataset_open(&spec, &data, &error) != MPT_OK ||
      graph_build(w, &w->model, w->batch, w->data.sequence, dataset_get_info(data), &g, &error) !=
          MPT_OK)
    return fail(&error);
  int count = argc > 3 ? argc - 3 : (int)(sizeof usual / sizeof *usual);
  for (int i = 0; i < count; i++) {
    make_case(&cases[i], argc > 3 ? argv[3 + i] : usual[i], g, &error);
    long long least = 2 * cases[i].every + 4;
    if (cases[i].every > 1 && atoll(argv[2]) < least) {
      fprintf(stderr, "bench_gpt: %s takes %lld steps or more\n", cases[i].text, least);
      exit(2);
    }
  }
  train_options options = train_options_default();
  options.workload = w;
  options.graph = g;
  options.data = data;
  options.backend = "cuda";
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < count; i++)
      if (run_case(&cases[i], options, atoll(argv[2]), &error) != MPT_OK)
        exit(fail(&error));
  double tokens = (double)(w->batch * w->data.sequence);
  printf("%s, %lld parameters, %.0f tokens a step\n", w->name, (long long)g->parameters, tokens);
  printf("%-28s %10s %12s %10s %10s %10s\n", "policy", "step, ms", "tokens/s", "GiB", "mJ/token",
         "loss");
  for (int i = 0; i < count; i++) {
    printf("%-28s %10.2f %12.0f %10.2f %10.3f %10.4f\n", cases[i].text, 1e3 * cases[i].seconds,
           tokens / cases[i].seconds, (double)cases[i].memory / 1073741824.0,
           1e3 * cases[i].joules / tokens, cases[i].loss);
    free(cases[i].assignment);
  }
  graph_free(g);
  dataset_close(data);
  workload_free(w);
  return 0;
}
