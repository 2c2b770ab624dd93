/* Whole trainings of a GPT under bf16, under fp8 and under fp8 with other formats in the head: what
 * a policy costs at the end of a training, along it, and in forks of it; and what rounding does to
 * the head's gradient. docs/benchmarks/horizon.md has what came out.
 *
 *   bench_horizon DIR [--minutes M] [OPTION...]    measures what DIR has not yet
 *   bench_horizon DIR --report                     prints the tables
 *
 *   --workload FILE     a preset gpt, whose head is the layer "head" (gpt2-124m)
 *   --steps N           length of the training, in place of the workload's (2000)
 *   --seeds N           runs of each policy, paired by seed (4)
 *   --trajectories N    of the reference, from which forks begin: those of the first seeds (2)
 *   --points A,B,...    steps at which they begin (100,300,500,700,1000,1500)
 *   --fork-steps N      their length (60)
 *   --scratch DIR       for the trajectories' checkpoints (/tmp/bench_horizon)
 *   --backend NAME      cuda or cpu (cuda)
 *   --jobs A,B,...      only these: runs, forks (forks)
 *
 * Made for machines that forget everything between commands: whatever ends, ends as a record in
 * DIR/horizon.jsonl, and the next command goes on with what is missing, seed by seed; a training
 * that is not done when the minutes are over is dropped, and, but for the first, none is begun that
 * would not be, by what the like took before. A trajectory's checkpoints live only as long as the
 * command: where forks are missing, it is trained again up to the last of them. Exits 0 with
 * nothing left to do, 3 where the minutes were over before.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "tests/bench/horizon/horizon.h"
#include "tuner/place.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_POINTS = 32, PLACES = 10 };

typedef struct bench {
  const char *directory, *workload_name, *scratch, *backend;
  double deadline; /* of base/clock.h */
  int64_t steps, seeds, trajectories, fork_steps, points[MOST_POINTS];
  int point_count;
  bool no_runs, no_forks, report;
  workload *w;
  dataset *data;
  graph *g;
  bool fast;
  mpt_layer_policy *assignments[HORIZON_POLICIES];
  horizon_store store;
  char device[512];
} bench;

/* ---- what is done already ---- */

static const json_t *run_record(const bench *b, int policy, int64_t seed) {
  return horizon_find(&b->store, "run", horizon_policy_names[policy], seed, -1);
}

static const json_t *fork_record(const bench *b, int policy, int64_t seed, int64_t step) {
  return horizon_find(&b->store, "fork", horizon_policy_names[policy], seed, step);
}

/* What fast sums alone do is looked at in one trajectory, at every second point, where there are
 * any. */
static bool is_forked(const bench *b, int policy, int64_t seed, int64_t step) {
  bool second = false;
  for (int i = 1; i < b->point_count; i += 2)
    second = second || b->points[i] == step;
  return policy < HORIZON_RUNS || (b->fast && seed == 1 && second);
}

static bool fork_is_open(const bench *b, int policy, int64_t seed, int64_t step) {
  return is_forked(b, policy, seed, step) &&
         (fork_record(b, policy, seed, step) == NULL ||
          (policy == HORIZON_REFERENCE &&
           horizon_find(&b->store, "bias", NULL, seed, step) == NULL));
}

/* How many forks are missing that begin at a point of a trajectory. */
static int open_forks(const bench *b, int64_t seed, int64_t step) {
  int count = 0;
  for (int p = 0; p < HORIZON_POLICIES; p++)
    count += fork_is_open(b, p, seed, step);
  return count;
}

/* Seconds that such a record took at most; 0 where there is none to tell by. */
static double longest(const bench *b, const char *kind, const char *policy) {
  double most = 0;
  for (int i = 0; i < b->store.count; i++) {
    const json_t *r = b->store.records[i];
    if (strcmp(json_string_value(json_object_get(r, "kind")), kind) == 0 &&
        (policy == NULL || strcmp(json_string_value(json_object_get(r, "policy")), policy) == 0))
      most = fmax(most, horizon_real(r, "seconds"));
  }
  return most;
}

static bool fits(const bench *b, double seconds) {
  return mpt_clock_seconds() + 1.03 * seconds < b->deadline;
}

/* ---- a training ---- */

typedef struct watch {
  const bench *b;
  json_t *held_out; /* [[steps done, loss], ...] */
  bool probes;
  int32_t *labels;
  json_t *bias;
  mpt_error error; /* of the probe */
  int head;
} watch;

static bool go_on(void *context, const train_step *step) {
  const watch *w = context;
  (void)step;
  return mpt_clock_seconds() < w->b->deadline;
}

static void note_held_out(void *context, int64_t steps_done, double loss) {
  watch *w = context;
  json_t *pair = json_array();
  mpt_json_append(&pair, json_integer(steps_done));
  mpt_json_append(&pair, mpt_json_real(loss));
  mpt_json_append(&w->held_out, pair);
}

static void probe(void *context, mpt_queue *queue, int64_t step, int layer, const mpt_tensor *input,
                  const mpt_tensor *weight, const mpt_tensor *grad) {
  watch *w = context;
  (void)step;
  if (layer == w->head && w->bias == NULL && w->error.status == MPT_OK)
    w->error.status = horizon_bias(queue, input, weight, grad, w->labels, &w->bias, &w->error);
}

static train_options options_for(const bench *b, int policy, int64_t seed, watch *w) {
  train_options o = train_options_default();
  *w = (watch){.b = b, .held_out = json_array(), .head = horizon_head(b->g)};
  o.workload = b->w;
  o.graph = b->g;
  o.data = b->data;
  o.assignment = b->assignments[policy];
  o.loss_scale = b->w->loss_scale;
  o.seed = (uint64_t)seed;
  o.steps = b->steps;
  o.threads = b->w->threads;
  o.backend = b->backend;
  o.on_step = go_on;
  o.context = w;
  return o;
}

static json_t *numbers(const double *values, int64_t first, int64_t end) {
  json_t *list = json_array();
  for (int64_t i = first; i < end; i++)
    mpt_json_append(&list, mpt_json_real(values[i]));
  return list;
}

/* Of the head, and of all layers together: elements cast, saturated, vanished, by operand. */
static json_t *counters(const bench *b, const train_result *r) {
  json_t *out = json_object();
  for (int o = 0; o < MPT_OPERAND_COUNT; o++) {
    uint64_t all[3] = {0};
    for (int i = 0; i < r->layer_count; i++) {
      all[0] += r->counters[i].cast[o];
      all[1] += r->counters[i].saturated[o];
      all[2] += r->counters[i].vanished[o];
    }
    const mpt_layer_counters *head = &r->counters[horizon_head(b->g)];
    mpt_json_set(&out, mpt_operand_name((mpt_operand)o),
                 mpt_json_pack("[I,I,I,I,I,I]", (json_int_t)head->cast[o],
                               (json_int_t)head->saturated[o], (json_int_t)head->vanished[o],
                               (json_int_t)all[0], (json_int_t)all[1], (json_int_t)all[2]));
  }
  return out;
}

/* What a run and a fork have in common. */
static json_t *record_of(const bench *b, const char *kind, int policy, int64_t seed,
                         const train_result *r, double seconds) {
  json_t *record = mpt_json_pack(
      "{s:s,s:s,s:I,s:I,s:o,s:f,s:f,s:f,s:f,s:b,s:s,s:I,s:f,s:I,s:f,s:s,s:o}", "kind", kind,
      "policy", horizon_policy_names[policy], "seed", (json_int_t)seed, "until",
      (json_int_t)r->steps_done, "losses", numbers(r->losses, r->first_step, r->steps_done),
      "metric", r->metric, "metric_plain", r->metric_plain, "held_out_loss", r->held_out_loss,
      "output_difference", r->output_difference, "diverged", r->diverged, "failure",
      r->failure[0] == '\0' ? NULL : r->failure, "skipped", (json_int_t)r->report.skipped,
      "step_seconds", r->step_seconds, "memory_bytes", (json_int_t)r->memory_bytes, "seconds",
      seconds, "device", b->device, "counters", counters(b, r));
  return record;
}

static mpt_status out_of_time(mpt_error *error) {
  return mpt_fail(error, MPT_ERROR_INTERRUPTED, "the minutes are over");
}

/* A whole training; of the reference, also what forks need. Its losses go to `losses`, [steps]. */
static mpt_status train_whole(bench *b, int policy, int64_t seed, int64_t until,
                              const train_point *points, int point_count, double *losses,
                              mpt_error *error) {
  watch w;
  train_result r = {0};
  mpt_status status = MPT_OK;
  const double began = mpt_clock_seconds();
  train_options o = options_for(b, policy, seed, &w);
  o.until = until;
  o.points = points;
  o.point_count = point_count;
  o.on_held_out = note_held_out;
  o.held_out_every = b->steps / PLACES > 0 ? b->steps / PLACES : 1;
  MPT_TRY(train_run(&o, &r, error));
  if (r.stopped)
    MPT_TRY(out_of_time(error));
  const double seconds = mpt_clock_seconds() - began;
  if (losses != NULL)
    memcpy(losses, r.losses, (size_t)r.steps_done * sizeof *losses);
  printf("%-28s seed %lld  %5lld steps  held-out %.5f  in fp32 %.5f  %.1f s%s%s\n",
         horizon_policy_names[policy], (long long)seed, (long long)r.steps_done, r.metric,
         r.metric_plain, seconds, r.diverged ? "  diverged: " : "", r.failure);
  if (run_record(b, policy, seed) == NULL && (r.diverged || r.steps_done == b->steps)) {
    json_t *record = record_of(b, "run", policy, seed, &r, seconds);
    mpt_json_set(&record, "held_out", json_incref(w.held_out));
    MPT_TRY(horizon_store_add(&b->store, record, error));
  }
fail:
  json_decref(w.held_out);
  train_result_clear(&r);
  return status;
}

/* ---- forks ---- */

typedef struct trajectory {
  int64_t seed;
  double *losses; /* [steps], as far as they are known */
  char paths[MOST_POINTS][4200];
} trajectory;

/* Labels of the step's batch, that the probe needs. */
static mpt_status labels_of(const bench *b, int64_t seed, int64_t step, int32_t **labels,
                            mpt_error *error) {
  dataset_batch batch = {0};
  const size_t rows = (size_t)b->g->rows;
  MPT_RETURN_IF_FAILED(dataset_batch_make(b->data, b->g->batch, &batch, error));
  mpt_status status = dataset_training_batch(b->data, (uint64_t)seed,
                                             step * b->w->optimizer.accumulate, &batch, error);
  *labels = malloc(rows * sizeof **labels);
  if (*labels == NULL)
    status = mpt_fail_memory(error, "labels", rows * sizeof **labels);
  if (status == MPT_OK)
    memcpy(*labels, batch.labels, rows * sizeof **labels);
  dataset_batch_free(&batch);
  return status;
}

/* The reference's own fork also measures the bias, at its first step. */
static mpt_status prepare_probe(const bench *b, int64_t seed, int64_t step, train_options *o,
                                watch *w, mpt_error *error) {
  MPT_RETURN_IF_FAILED(labels_of(b, seed, step, &w->labels, error));
  o->on_layer = probe;
  o->probe_every = step > 0 ? step : b->steps;
  return MPT_OK;
}

static mpt_status record_bias(bench *b, int64_t seed, int64_t step, watch *w, mpt_error *error) {
  if (w->error.status != MPT_OK) {
    *error = w->error;
    return error->status;
  }
  json_t *record = mpt_json_pack("{s:s,s:I,s:I}", "kind", "bias", "seed", (json_int_t)seed, "step",
                                 (json_int_t)step);
  mpt_json_set(&record, "head", w->bias);
  w->bias = NULL;
  return horizon_store_add(&b->store, record, error);
}

static mpt_status record_fork(bench *b, const trajectory *t, int policy, int64_t step,
                              const train_result *r, double seconds, mpt_error *error) {
  json_t *record = record_of(b, "fork", policy, t->seed, r, seconds);
  const size_t length = (size_t)(r->steps_done - step) * sizeof *r->losses;
  const bool same = memcmp(r->losses + step, t->losses + step, length) == 0;
  mpt_json_set(&record, "step", json_integer(step));
  mpt_json_set(&record, "trajectory", numbers(t->losses, step, r->steps_done));
  mpt_json_set(&record, "same_bits", same ? json_true() : json_false());
  printf("  fork from %5lld  %-28s seed %lld  at once %+.4f%%  %.1f s%s\n", (long long)step,
         horizon_policy_names[policy], (long long)t->seed,
         1e2 * (r->losses[step] / t->losses[step] - 1.0), seconds,
         policy != HORIZON_REFERENCE ? ""
         : same                      ? "  the trajectory's bits"
                                     : "  NOT the trajectory's bits");
  return horizon_store_add(&b->store, record, error);
}

static mpt_status fork_once(bench *b, const trajectory *t, int policy, int point,
                            mpt_error *error) {
  watch w;
  train_result r = {0};
  mpt_status status = MPT_OK;
  const int64_t step = b->points[point];
  const double began = mpt_clock_seconds();
  train_options o = options_for(b, policy, t->seed, &w);
  o.fork_from = t->paths[point];
  o.until = step + b->fork_steps < b->steps ? step + b->fork_steps : b->steps;
  if (policy == HORIZON_REFERENCE)
    MPT_TRY(prepare_probe(b, t->seed, step, &o, &w, error));
  MPT_TRY(train_run(&o, &r, error));
  if (r.stopped)
    MPT_TRY(out_of_time(error));
  if (policy == HORIZON_REFERENCE && horizon_find(&b->store, "bias", NULL, t->seed, step) == NULL)
    MPT_TRY(record_bias(b, t->seed, step, &w, error));
  MPT_TRY(record_fork(b, t, policy, step, &r, mpt_clock_seconds() - began, error));
fail:
  json_decref(w.held_out);
  json_decref(w.bias);
  free(w.labels);
  train_result_clear(&r);
  return status;
}

static mpt_status fork_all(bench *b, const trajectory *t, mpt_error *error) {
  for (int i = 0; i < b->point_count; i++) {
    for (int policy = 0; policy < HORIZON_POLICIES; policy++) {
      if (!fork_is_open(b, policy, t->seed, b->points[i]))
        continue;
      if (!fits(b, longest(b, "fork", NULL)))
        return out_of_time(error);
      MPT_RETURN_IF_FAILED(fork_once(b, t, policy, i, error));
    }
    unlink(t->paths[i]);
  }
  return MPT_OK;
}

/* Points whose forks are missing, with a file to come for each. */
static int open_points(const bench *b, trajectory *t, train_point *points) {
  int count = 0;
  for (int i = 0; i < b->point_count; i++) {
    snprintf(t->paths[i], sizeof t->paths[i], "%s/seed%lld-step%lld.ckpt", b->scratch,
             (long long)t->seed, (long long)b->points[i]);
    if (!b->no_forks && t->seed <= b->trajectories && open_forks(b, t->seed, b->points[i]) > 0)
      points[count++] = (train_point){b->points[i], t->paths[i]};
  }
  return count;
}

/* A trajectory that is trained again, for its checkpoints, should be what it was. */
static void compare_with_record(const json_t *run, const trajectory *t, int64_t until) {
  int64_t same = 0;
  while (same < until && t->losses[same] == horizon_number(run, "losses", same))
    same++;
  printf("  the trajectory of seed %lld again: %s%lld of %lld steps are the record's bits\n",
         (long long)t->seed, same < until ? "only " : "", (long long)same, (long long)until);
}

/* The reference's run and its forks. */
static mpt_status follow(bench *b, int64_t seed, mpt_error *error) {
  mpt_status status = MPT_OK;
  train_point points[MOST_POINTS];
  trajectory t = {.seed = seed, .losses = calloc((size_t)b->steps, sizeof(double))};
  const json_t *run = run_record(b, HORIZON_REFERENCE, seed);
  const int count = open_points(b, &t, points);
  int64_t until = b->steps;
  if (t.losses == NULL)
    MPT_TRY(mpt_fail_memory(error, "losses", (size_t)b->steps * sizeof(double)));
  if (run != NULL && count > 0)
    until = points[count - 1].step + b->fork_steps;
  until = until < b->steps ? until : b->steps;
  MPT_TRY(train_whole(b, HORIZON_REFERENCE, seed, until, points, count, t.losses, error));
  if (run != NULL)
    compare_with_record(run, &t, until);
  if (count > 0)
    MPT_TRY(fork_all(b, &t, error));
fail:
  for (int i = 0; i < count; i++)
    unlink(points[i].path);
  free(t.losses);
  return status;
}

/* ---- what to do next ---- */

typedef struct job {
  int policy;
  int64_t seed;
  double seconds; /* about, 0 where nothing is known */
} job;

static int forks_of_job(const bench *b, int policy, int64_t seed) {
  int count = 0;
  if (policy == HORIZON_REFERENCE && seed <= b->trajectories && !b->no_forks)
    for (int i = 0; i < b->point_count; i++)
      count += open_forks(b, seed, b->points[i]);
  return count;
}

static double job_seconds(const bench *b, int policy, int64_t seed) {
  double seconds = longest(b, "run", horizon_policy_names[policy]);
  if (seconds == 0.0)
    seconds = longest(b, "run", NULL);
  return seconds + forks_of_job(b, policy, seed) * longest(b, "fork", NULL);
}

static bool job_is_open(const bench *b, int policy, int64_t seed) {
  return forks_of_job(b, policy, seed) > 0 || (!b->no_runs && run_record(b, policy, seed) == NULL);
}

/* The first job that is not done and that the time left allows, or the first at all; *left counts
 * those that are not done. */
static bool next_job(const bench *b, bool any, job *next, int *left) {
  bool found = false;
  *left = 0;
  for (int64_t seed = 1; seed <= b->seeds; seed++)
    for (int policy = 0; policy < HORIZON_RUNS; policy++) {
      if (!job_is_open(b, policy, seed))
        continue;
      ++*left;
      const job this = {policy, seed, job_seconds(b, policy, seed)};
      if (!found && (any || fits(b, this.seconds))) {
        *next = this;
        found = true;
      }
    }
  return found;
}

static mpt_status work(bench *b, mpt_error *error) {
  job next;
  int left;
  for (bool first = true; next_job(b, first, &next, &left); first = false) {
    mpt_status status = next.policy == HORIZON_REFERENCE
                            ? follow(b, next.seed, error)
                            : train_whole(b, next.policy, next.seed, 0, NULL, 0, NULL, error);
    if (status == MPT_ERROR_INTERRUPTED && fits(b, 0)) /* a fork did not fit: nor will the job */
      return MPT_OK;
    if (status != MPT_OK && status != MPT_ERROR_INTERRUPTED)
      return status;
  }
  return MPT_OK;
}

static void tell_left(const bench *b) {
  job next;
  int left;
  next_job(b, false, &next, &left);
  printf("%d of %lld jobs left (a reference with its forks is one)\n", left,
         (long long)b->seeds * HORIZON_RUNS);
}

/* ---- opening ---- */

static mpt_status check_store(bench *b, mpt_error *error) {
  char training[65];
  MPT_RETURN_IF_FAILED(workload_training_hash(b->w, training, error));
  const char *data = dataset_get_info(b->data)->hash;
  const json_t *first = horizon_find(&b->store, "bench", NULL, -1, -1);
  if (first == NULL)
    return horizon_store_add(&b->store,
                             mpt_json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:I,s:I}", "kind", "bench",
                                           "schema", "mptune/horizon@1", "workload", b->w->name,
                                           "training", training, "data", data, "steps",
                                           (json_int_t)b->steps, "backend", b->backend,
                                           "fork_steps", (json_int_t)b->fork_steps, "held_out",
                                           (json_int_t)dataset_get_info(b->data)->held_out),
                             error);
  const bool same = strcmp(json_string_value(json_object_get(first, "training")), training) == 0 &&
                    strcmp(json_string_value(json_object_get(first, "data")), data) == 0 &&
                    strcmp(json_string_value(json_object_get(first, "backend")), b->backend) == 0 &&
                    horizon_integer(first, "fork_steps") == b->fork_steps;
  return same ? MPT_OK
              : mpt_fail(error, MPT_ERROR_MISMATCH,
                         "'%s' is of another training, other data, another backend or other forks",
                         b->store.path);
}

static mpt_status make_assignments(bench *b, mpt_error *error) {
  if (horizon_head(b->g) < 0)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "workload '%s' has no layer 'head'", b->w->name);
  for (int p = 0; p < HORIZON_POLICIES; p++) {
    char text[256];
    b->assignments[p] = calloc((size_t)b->g->layer_count, sizeof(mpt_layer_policy));
    if (b->assignments[p] == NULL)
      return mpt_fail_memory(error, "formats", sizeof(mpt_layer_policy));
    horizon_assign(b->w, b->g, b->fast, p, b->assignments[p]);
    mpt_layer_policy_text(&b->assignments[p][horizon_head(b->g)], text, sizeof text);
    fprintf(stderr, "%-28s head %s\n", horizon_policy_names[p], text);
  }
  return MPT_OK;
}

static mpt_status open_training(bench *b, mpt_error *error) {
  uint32_t formats;
  mpt_device_info info;
  MPT_RETURN_IF_FAILED(place_backend(b->backend, 0, &b->backend, error));
  MPT_RETURN_IF_FAILED(place_formats(b->backend, 0, &formats, &b->fast, error));
  MPT_RETURN_IF_FAILED(mpt_device_describe(b->backend, 0, &info, error));
  snprintf(b->device, sizeof b->device, "%s, driver %s, cuBLASLt %s", info.name, info.driver,
           info.cublaslt);
  MPT_RETURN_IF_FAILED(workload_load(b->workload_name, &b->w, error));
  b->w->steps = b->steps; /* the schedule at full length, whatever the file says */
  MPT_RETURN_IF_FAILED(dataset_open(&b->w->data, &b->data, error));
  MPT_RETURN_IF_FAILED(graph_build(b->w, &b->w->model, b->w->batch, b->w->data.sequence,
                                   dataset_get_info(b->data), &b->g, error));
  MPT_RETURN_IF_FAILED(mpt_directory_make(b->scratch, error));
  return make_assignments(b, error);
}

static void close_bench(bench *b) {
  for (int p = 0; p < HORIZON_POLICIES; p++)
    free(b->assignments[p]);
  graph_free(b->g);
  dataset_close(b->data);
  workload_free(b->w);
  horizon_store_close(&b->store);
}

/* ---- arguments ---- */

static int usage(const char *why, const char *what) {
  fprintf(stderr,
          "bench_horizon: %s%s\nusage: bench_horizon DIR [--minutes M] [--report] "
          "[--workload FILE] [--steps N] [--seeds N] [--trajectories N] [--points A,B] "
          "[--fork-steps N] [--scratch DIR] [--backend NAME] [--jobs runs,forks]\n",
          why, what);
  exit(2);
}

static int64_t whole(const char *text, int64_t least) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < least || value > 1000000000)
    usage("not a number that fits: ", text);
  return value;
}

static void set_points(bench *b, char *list) {
  int64_t least = 0;
  b->point_count = 0;
  for (char *save = NULL, *word = strtok_r(list, ",", &save); word != NULL;
       word = strtok_r(NULL, ",", &save)) {
    if (b->point_count == MOST_POINTS)
      usage("too many points: ", word);
    const int64_t point = whole(word, least);
    b->points[b->point_count++] = point;
    least = point + 1;
  }
}

static void set_jobs(bench *b, char *list) {
  b->no_runs = b->no_forks = true;
  for (char *save = NULL, *word = strtok_r(list, ",", &save); word != NULL;
       word = strtok_r(NULL, ",", &save))
    if (strcmp(word, "runs") == 0)
      b->no_runs = false;
    else if (strcmp(word, "forks") == 0)
      b->no_forks = false;
    else
      usage("no such jobs: ", word);
}

static void set_option(bench *b, const char *name, char *value) {
  char *end;
  if (strcmp(name, "--minutes") == 0) {
    const double minutes = strtod(value, &end);
    if (end == value || *end != '\0' || !(minutes > 0.0 && minutes < 1e6))
      usage("not a number of minutes: ", value);
    b->deadline = mpt_clock_seconds() + 60.0 * minutes;
  } else if (strcmp(name, "--workload") == 0) {
    b->workload_name = value;
  } else if (strcmp(name, "--steps") == 0) {
    b->steps = whole(value, 2);
  } else if (strcmp(name, "--seeds") == 0) {
    b->seeds = whole(value, 1);
  } else if (strcmp(name, "--trajectories") == 0) {
    b->trajectories = whole(value, 0);
  } else if (strcmp(name, "--fork-steps") == 0) {
    b->fork_steps = whole(value, 1);
  } else if (strcmp(name, "--points") == 0) {
    set_points(b, value);
  } else if (strcmp(name, "--scratch") == 0) {
    b->scratch = value;
  } else if (strcmp(name, "--backend") == 0) {
    b->backend = value;
  } else if (strcmp(name, "--jobs") == 0) {
    set_jobs(b, value);
  } else {
    usage("unknown option ", name);
  }
}

static void read_arguments(bench *b, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--report") == 0)
      b->report = true;
    else if (argv[i][0] != '-' && b->directory == NULL)
      b->directory = argv[i];
    else if (strncmp(argv[i], "--", 2) == 0 && i + 1 < argc)
      set_option(b, argv[i], argv[i + 1]), i++;
    else
      usage("what is ", argv[i]);
  }
  if (b->directory == NULL)
    usage("a directory for the records is missing", "");
  if (b->point_count > 0 && b->points[b->point_count - 1] >= b->steps)
    usage("points lie before the last step", "");
}

int main(int argc, char **argv) {
  mpt_error error = {0};
  bench b = {.workload_name = "gpt2-124m",
             .scratch = "/tmp/bench_horizon",
             .backend = "cuda",
             .deadline = INFINITY,
             .steps = 2000,
             .seeds = 4,
             .trajectories = 2,
             .fork_steps = 60,
             .points = {100, 300, 500, 700, 1000, 1500},
             .point_count = 6};
  read_arguments(&b, argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0); /* a command may be killed */
  mpt_status status = horizon_store_open(&b.store, b.directory, &error);
  int left = 0;
  job next;
  if (status == MPT_OK && b.report) {
    horizon_report(&b.store);
  } else if (status == MPT_OK) {
    status = open_training(&b, &error);
    if (status == MPT_OK)
      status = check_store(&b, &error);
    if (status == MPT_OK)
      status = work(&b, &error);
    if (b.g != NULL)
      tell_left(&b);
    if (b.g != NULL)
      next_job(&b, false, &next, &left);
  }
  close_bench(&b);
  if (status != MPT_OK)
    fprintf(stderr, "bench_horizon: %s\n", error.message);
  return status == MPT_ERROR_MISMATCH ? 2 : status != MPT_OK ? 1 : left > 0 ? 3 : 0;
}
