/* Linear layers in every precision: operands are exactly rounded, products right, copies shared. */
#include "session_rig.h"

static const mpt_format storage_of[MPT_PRECISION_COUNT] = {MPT_FP32, MPT_FP32, MPT_BF16, MPT_FP16,
                                                           MPT_BF16};

/* A layer with its tensors, sizes that are no multiples of 16 and no squares. */
typedef struct layer_data {
  int64_t rows, n, k;
  mpt_format in, out, grad_in;
  float *x, *w, *bias, *y, *dy, *dx, *dw, *db, *dw_start;
  mpt_lite *x_lite, *dy_lite; /* of x and dy, or NULL */
} layer_data;

static layer_data layer_data_make(int64_t rows, int64_t n, int64_t k, mpt_precision fprop,
                                  mpt_precision dgrad, uint64_t key) {
  layer_data d = {rows,
                  n,
                  k,
                  storage_of[fprop],
                  storage_of[fprop],
                  storage_of[dgrad],
                  numbers((size_t)(rows * k)),
                  numbers((size_t)(n * k)),
                  numbers((size_t)n),
                  numbers((size_t)(rows * n)),
                  numbers((size_t)(rows * n)),
                  numbers((size_t)(rows * k)),
                  numbers((size_t)(n * k)),
                  numbers((size_t)n),
                  numbers((size_t)(n * k)),
                  NULL,
                  NULL};
  fill(d.x, (size_t)(rows * k), key, 3.0f, d.in);
  fill(d.w, (size_t)(n * k), key + 1, 0.7f, MPT_FP32);
  fill(d.bias, (size_t)n, key + 2, 0.5f, MPT_FP32);
  fill(d.dy, (size_t)(rows * n), key + 3, 0.01f, d.out);
  fill(d.dw, (size_t)(n * k), key + 4, 0.02f, MPT_FP32);
  memcpy(d.dw_start, d.dw, (size_t)(n * k) * sizeof(float));
  return d;
}

static void layer_data_free(layer_data *d) {
  free(d->x), free(d->w), free(d->bias), free(d->y), free(d->dy);
  free(d->dx), free(d->dw), free(d->db), free(d->dw_start);
}

static void run_forward(rig *r, int layer, layer_data *d) {
  mpt_tensor x = matrix(d->x, d->rows, d->k, d->in), w = matrix(d->w, d->n, d->k, MPT_FP32);
  mpt_tensor y = matrix(d->y, d->rows, d->n, d->out), b = vector(d->bias, d->n);
  x.lite = d->x_lite;
  OK(mpt_linear_forward(r->session, layer, &x, &w, &b, &y, &ok_error));
}

static void run_backward(rig *r, int layer, layer_data *d) {
  mpt_tensor x = matrix(d->x, d->rows, d->k, d->in), w = matrix(d->w, d->n, d->k, MPT_FP32);
  mpt_tensor dy = matrix(d->dy, d->rows, d->n, d->out), db = vector(d->db, d->n);
  mpt_tensor dx = matrix(d->dx, d->rows, d->k, d->grad_in);
  mpt_tensor dw = matrix(d->dw, d->n, d->k, MPT_FP32);
  x.lite = d->x_lite, dy.lite = d->dy_lite;
  OK(mpt_linear_backward(r->session, layer, &dy, &x, &w, &dx, false, &dw, &db, &ok_error));
}

static void end_step(rig *r) {
  OK(mpt_session_step_end(r->session, NULL, 0, 0.0f, NULL, &ok_error));
}

static void check_layer(const layer_data *d, const mpt_layer_policy *p) {
  int64_t rows = d->rows, n = d->n, k = d->k;
  const mpt_format *f = p->gemm[MPT_FPROP].operand, *g = p->gemm[MPT_DGRAD].operand;
  const mpt_format *h = p->gemm[MPT_WGRAD].operand;
  double *x = reference_current(f[0], d->x, (size_t)(rows * k));
  double *w = reference_current(f[1], d->w, (size_t)(n * k));
  check_product(d->y, NULL, d->out, rows, n, k, x, k, 1, w, 1, k, d->bias);
  double *dy = reference_current(g[0], d->dy, (size_t)(rows * n));
  double *dgrad_w = reference_current(g[1], d->w, (size_t)(n * k));
  check_product(d->dx, NULL, d->grad_in, rows, k, n, dy, n, 1, dgrad_w, k, 1, NULL);
  double *wgrad_dy = reference_current(h[0], d->dy, (size_t)(rows * n));
  double *wgrad_x = reference_current(h[1], d->x, (size_t)(rows * k));
  check_product(d->dw, d->dw_start, MPT_FP32, n, k, rows, wgrad_dy, 1, n, wgrad_x, k, 1, NULL);
  for (int64_t j = 0; j < n; j++) {
    double sum = 0.0, size = 0.0;
    for (int64_t i = 0; i < rows; i++)
      sum += (double)d->dy[i * n + j], size += fabs((double)d->dy[i * n + j]);
    assert_true(fabs((double)d->db[j] - sum) <= size * (double)rows * 0x1p-24);
  }
  free(x), free(w), free(dy), free(dgrad_w), free(wgrad_dy), free(wgrad_x);
}

/* All 125 ways to choose a precision for each GEMM, the five uniform ones among them. */
static void every_mix_of_precisions_gives_the_product_of_rounded_operands(void **unused) {
  (void)unused;
  for (int mix = 0; mix < 125; mix++) {
    mpt_precision fprop = (mpt_precision)(mix % 5), dgrad = (mpt_precision)(mix / 5 % 5);
    mpt_layer_policy policy = formats_of(fprop, dgrad, (mpt_precision)(mix / 25));
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    mpt_session_layer layer = linear("fc", 19, 13, 21);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(19, 13, 21, fprop, dgrad, 100 + (uint64_t)mix);
    OK(mpt_session_step_begin(r.session, 0, &ok_error));
    run_forward(&r, 0, &d);
    run_backward(&r, 0, &d);
    end_step(&r);
    check_layer(&d, &policy);
    layer_data_free(&d);
    close_session(&r);
  }
}

/* Times the identity, a product shows its other operand as it is: every bit of it. */
static void operands_are_exactly_rounded(void **unused) {
  (void)unused;
  enum { n = 24 };
  for (int precision = 0; precision < MPT_PRECISION_COUNT; precision++) {
    mpt_precision p = (mpt_precision)precision;
    mpt_layer_policy policy = mpt_layer_policy_of(p);
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    mpt_session_layer layer = linear("fc", n, n, n);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(n, n, n, p, p, 7);
    d.in = d.out = MPT_FP32; /* so that the cast has something to round */
    fill(d.x, n * n, 8, 5.0f, MPT_FP32);
    fill(d.dy, n * n, 9, 0.003f, MPT_FP32);
    memset(d.bias, 0, n * sizeof(float));
    for (int pass = 0; pass < 2; pass++) {
      /* pass 0: identity weight shows input and grad_output; 1: identity input shows the weight,
         and grad_output in wgrad */
      float *identity = pass == 0 ? d.w : d.x;
      memset(identity, 0, n * n * sizeof(float));
      for (int i = 0; i < n; i++)
        identity[i * n + i] = 1.0f;
      if (pass == 1)
        fill(d.w, n * n, 10, 0.9f, MPT_FP32);
      memset(d.dw, 0, n * n * sizeof(float));
      OK(mpt_session_step_begin(r.session, pass, &ok_error));
      d.out = storage_of[p];
      run_forward(&r, 0, &d);
      d.out = MPT_FP32;
      run_backward(&r, 0, &d);
      end_step(&r);
      const mpt_gemm_policy *g = policy.gemm;
      double *x = reference_current(g[MPT_FPROP].operand[0], d.x, n * n);
      double *w = reference_current(g[MPT_FPROP].operand[1], d.w, n * n);
      double *dy = reference_current(g[MPT_DGRAD].operand[0], d.dy, n * n);
      for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
          if (pass == 0) {
            assert_true((double)d.y[i * n + j] == x[i * n + j]);
            assert_true((double)d.dx[i * n + j] == dy[i * n + j]);
          } else {
            assert_true((double)d.y[i * n + j] == w[j * n + i]);
            assert_true((double)d.dw[i * n + j] == dy[j * n + i]);
          }
      free(x), free(w), free(dy);
    }
    layer_data_free(&d);
    close_session(&r);
  }
}

static uint64_t casts(const rig *r, int layer, mpt_operand operand) {
  mpt_layer_counters counters;
  OK(mpt_session_counters(r->session, layer, &counters, &ok_error));
  return counters.cast[operand];
}

static void a_copy_serves_every_gemm_that_wants_its_format(void **unused) {
  (void)unused;
  enum { rows = 6, n = 5, k = 4 };
  const struct {
    mpt_precision fprop, dgrad, wgrad;
    int input, weight, grad_output; /* copies expected */
  } cases[] = {
      {MPT_PRECISION_FP8, MPT_PRECISION_FP8, MPT_PRECISION_FP8, 1, 1, 1},
      {MPT_PRECISION_FP8, MPT_PRECISION_FP16, MPT_PRECISION_FP8, 1, 2, 2},
      {MPT_PRECISION_FP8, MPT_PRECISION_TF32, MPT_PRECISION_TF32, 2, 2, 1},
      {MPT_PRECISION_BF16, MPT_PRECISION_BF16, MPT_PRECISION_FP8, 2, 1, 2},
      {MPT_PRECISION_FP32, MPT_PRECISION_FP32, MPT_PRECISION_FP32, 0, 0, 0},
      {MPT_PRECISION_TF32, MPT_PRECISION_FP32, MPT_PRECISION_TF32, 1, 1, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mpt_layer_policy policy = formats_of(cases[i].fprop, cases[i].dgrad, cases[i].wgrad);
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    mpt_session_layer layer = linear("fc", rows, n, k);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(rows, n, k, cases[i].fprop, cases[i].dgrad, 3);
    fill(d.x, rows * k, 4, 1.0f, MPT_FP32);
    fill(d.dy, rows * n, 5, 1.0f, MPT_FP32);
    OK(mpt_session_step_begin(r.session, 0, &ok_error));
    d.in = MPT_FP32;
    run_forward(&r, 0, &d);
    d.out = MPT_FP32;
    run_backward(&r, 0, &d);
    end_step(&r);
    assert_int_equal(casts(&r, 0, MPT_INPUT), cases[i].input * rows * k);
    assert_int_equal(casts(&r, 0, MPT_WEIGHT), cases[i].weight * n * k);
    assert_int_equal(casts(&r, 0, MPT_GRAD_OUTPUT), cases[i].grad_output * rows * n);
    layer_data_free(&d);
    close_session(&r);
  }
}

/* A stored tensor that has the operand's format already is used as it lies. */
static void nothing_is_copied_when_the_stored_format_fits(void **unused) {
  (void)unused;
  for (int p = MPT_PRECISION_BF16; p <= MPT_PRECISION_FP16; p++) {
    mpt_layer_policy policy = mpt_layer_policy_of((mpt_precision)p);
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    mpt_session_layer layer = linear("fc", 6, 5, 4);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(6, 5, 4, (mpt_precision)p, (mpt_precision)p, 3);
    OK(mpt_session_step_begin(r.session, 0, &ok_error));
    run_forward(&r, 0, &d);
    run_backward(&r, 0, &d);
    end_step(&r);
    assert_int_equal(casts(&r, 0, MPT_INPUT), 0);
    assert_int_equal(casts(&r, 0, MPT_GRAD_OUTPUT), 0);
    assert_int_equal(casts(&r, 0, MPT_WEIGHT), 20);
    check_layer(&d, &policy);
    layer_data_free(&d);
    close_session(&r);
  }
}

/* q, k and v read one input: cast once in each format, with the same results as three inputs. */
static void layers_share_the_copies_of_one_input(void **unused) {
  (void)unused;
  enum { rows = 9, n = 7, k = 11 };
  mpt_layer_policy policies[3] = {
      mpt_layer_policy_of(MPT_PRECISION_FP8), mpt_layer_policy_of(MPT_PRECISION_FP8),
      formats_of(MPT_PRECISION_FP16, MPT_PRECISION_BF16, MPT_PRECISION_BF16)};
  rig r = {0};
  mpt_session_config config = config_of(&r, policies);
  mpt_session_layer layers[3] = {linear("q", rows, n, k), linear("k", rows, n, k),
                                 linear("v", rows, n, k)};
  for (int i = 0; i < 3; i++)
    strcpy(layers[i].input_name, "norm");
  open_session(&r, &config, layers, 3);
  layer_data d[3];
  float *x = numbers(rows * k);
  fill(x, rows * k, 50, 2.0f, MPT_FP32);
  for (int i = 0; i < 3; i++) {
    d[i] = layer_data_make(rows, n, k, policies[i].gemm[0].precision, policies[i].gemm[1].precision,
                           60 + 10 * (uint64_t)i);
    memcpy(d[i].x, x, rows * k * sizeof(float));
    d[i].in = MPT_FP32;
  }
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  float *own[3] = {d[0].x, d[1].x, d[2].x};
  for (int i = 0; i < 3; i++) {
    d[i].x = x;
    run_forward(&r, i, &d[i]);
  }
  for (int i = 2; i >= 0; i--)
    run_backward(&r, i, &d[i]);
  end_step(&r);
  for (int i = 0; i < 3; i++)
    check_layer(&d[i], &policies[i]);
  assert_int_equal(casts(&r, 0, MPT_INPUT), rows * k); /* e4m3, made once for q and k */
  assert_int_equal(casts(&r, 1, MPT_INPUT), rows * k);
  assert_int_equal(casts(&r, 2, MPT_INPUT), 2 * rows * k); /* fp16, and bf16 for wgrad */

  OK(mpt_session_step_begin(r.session, 1, &ok_error));
  run_forward(&r, 0, &d[0]);
  d[1].x = own[1];
  mpt_tensor other = matrix(own[1], rows, k, MPT_FP32), w = matrix(d[1].w, n, k, MPT_FP32);
  mpt_tensor y = matrix(d[1].y, rows, n, d[1].out);
  FAILS(mpt_linear_forward(r.session, 1, &other, &w, NULL, &y, &ok_error), MPT_ERROR_ARGUMENT,
        "'k'", "'q'");
  for (int i = 0; i < 3; i++) {
    d[i].x = own[i];
    layer_data_free(&d[i]);
  }
  free(x);
  close_session(&r);
}

/* Copies that fprop alone uses take turns in one place: the one before is made again. */
static void a_copy_is_made_again_when_another_took_its_place(void **unused) {
  (void)unused;
  enum { rows = 9, n = 7, k = 11 };
  mpt_layer_policy policies[3] = {
      formats_of(MPT_PRECISION_FP8, MPT_PRECISION_BF16, MPT_PRECISION_BF16),
      formats_of(MPT_PRECISION_FP16, MPT_PRECISION_BF16, MPT_PRECISION_BF16),
      formats_of(MPT_PRECISION_FP8, MPT_PRECISION_BF16, MPT_PRECISION_BF16)};
  rig r = {0};
  mpt_session_config config = config_of(&r, policies);
  mpt_session_layer layers[3] = {linear("q", rows, n, k), linear("k", rows, n, k),
                                 linear("v", rows, n, k)};
  layer_data d[3];
  float *x = numbers(rows * k), *own[3];
  fill(x, rows * k, 50, 2.0f, MPT_FP32);
  for (int i = 0; i < 3; i++) {
    strcpy(layers[i].input_name, "norm");
    d[i] = layer_data_make(rows, n, k, policies[i].gemm[0].precision, policies[i].gemm[1].precision,
                           60 + 10 * (uint64_t)i);
    own[i] = d[i].x;
    d[i].x = x;
    d[i].in = MPT_FP32;
  }
  open_session(&r, &config, layers, 3);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  for (int i = 0; i < 3; i++)
    run_forward(&r, i, &d[i]);
  for (int i = 2; i >= 0; i--)
    run_backward(&r, i, &d[i]);
  end_step(&r);
  for (int i = 0; i < 3; i++) {
    check_layer(&d[i], &policies[i]);
    d[i].x = own[i];
    layer_data_free(&d[i]);
  }
  free(x);
  close_session(&r);
}

/* Two micro-batches add up in grad_weight as one batch of both; the weight is cast once. */
static void gradients_accumulate_over_microbatches(void **unused) {
  (void)unused;
  enum { rows = 6, n = 5, k = 8 };
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP16);
  rig r = {0};
  mpt_session_config config = config_of(&r, &policy);
  mpt_session_layer layer = linear("fc", rows, n, k);
  open_session(&r, &config, &layer, 1);
  layer_data d = layer_data_make(rows, n, k, MPT_PRECISION_FP16, MPT_PRECISION_FP16, 3);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  for (int batch = 0; batch < 2; batch++) {
    OK(mpt_session_microbatch(r.session, &ok_error));
    memcpy(d.dw_start, d.dw, n * k * sizeof(float));
    memset(d.db, 0, n * sizeof(float));
    fill(d.x, rows * k, 20 + (uint64_t)batch, 1.0f, MPT_FP16); /* new values, same memory */
    fill(d.dy, rows * n, 30 + (uint64_t)batch, 1.0f, MPT_BF16);
    run_forward(&r, 0, &d);
    d.out = MPT_BF16; /* stored otherwise than the operand: a copy */
    run_backward(&r, 0, &d);
    d.out = MPT_FP16;
    check_layer(&d, &policy);
  }
  /* a second backward pass has a grad_output of its own, in the same memory */
  memcpy(d.dw_start, d.dw, n * k * sizeof(float));
  memset(d.db, 0, n * sizeof(float));
  fill(d.dy, rows * n, 40, 1.0f, MPT_BF16);
  d.out = MPT_BF16;
  run_backward(&r, 0, &d);
  d.out = MPT_FP16;
  check_layer(&d, &policy);
  end_step(&r);
  assert_int_equal(casts(&r, 0, MPT_WEIGHT), n * k);
  layer_data_free(&d);
  close_session(&r);
}

/* As an operation that writes the tensor does. */
static mpt_lite *seen_by_its_writer(rig *r, mpt_operand operand, float *data, int64_t rows,
                                    int64_t columns) {
  mpt_lite *lite = mpt_session_lite(r->session, 0, operand);
  mpt_tensor written = matrix(data, rows, columns, MPT_BF16);
  if (lite != NULL)
    OK(mpt_collect_lite(r->queue, &written, lite, &ok_error));
  return lite;
}

/* Three micro-batches of ever smaller numbers: a scale that minded an earlier one would be too
 * small. Where statistics add them up, the later ones are measured. */
static void scales_follow_from_what_writers_saw(void **unused) {
  (void)unused;
  enum { rows = 6, n = 5, k = 8 };
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP8);
  for (int mode = MPT_STATISTICS_OFF; mode <= MPT_STATISTICS_FULL; mode++) {
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    config.statistics = (mpt_statistics_mode)mode;
    config.statistics_every = 1;
    mpt_session_layer layer = linear("fc", rows, n, k);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(rows, n, k, MPT_PRECISION_FP8, MPT_PRECISION_FP8, 3);
    d.in = d.out = d.grad_in = MPT_BF16;
    for (int step = 0; step < 2; step++) {
      OK(mpt_session_step_begin(r.session, step, &ok_error));
      for (int batch = 0; batch < 3; batch++) {
        if (batch > 0)
          OK(mpt_session_microbatch(r.session, &ok_error));
        memcpy(d.dw_start, d.dw, n * k * sizeof(float));
        memset(d.db, 0, n * sizeof(float));
        fill(d.x, rows * k, 20 + (uint64_t)batch, ldexpf(1.0f, -5 * batch - step), MPT_BF16);
        fill(d.dy, rows * n, 30 + (uint64_t)batch, ldexpf(1.0f, -4 * batch - step), MPT_BF16);
        d.x_lite = seen_by_its_writer(&r, MPT_INPUT, d.x, rows, k);
        assert_non_null(d.x_lite);
        run_forward(&r, 0, &d);
        assert_true(mode == MPT_STATISTICS_LITE || d.x_lite->count == rows * k);
        d.dy_lite = seen_by_its_writer(&r, MPT_GRAD_OUTPUT, d.dy, rows, n);
        assert_non_null(d.dy_lite);
        run_backward(&r, 0, &d);
        check_layer(&d, &policy);
        assert_true(mpt_session_lite(r.session, 0, MPT_INPUT) == NULL);
      }
      end_step(&r);
    }
    layer_data_free(&d);
    close_session(&r);
  }
}

/* What is not the amax that the writer left is seen in the copy: nothing is measured. */
static void what_writers_saw_is_believed(void **unused) {
  (void)unused;
  enum { rows = 6, n = 5, k = 8 };
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP8);
  mpt_layer_counters counters[2];
  for (int lie = 0; lie < 2; lie++) {
    rig r = {0};
    mpt_session_config config = config_of(&r, &policy);
    mpt_session_layer layer = linear("fc", rows, n, k);
    open_session(&r, &config, &layer, 1);
    layer_data d = layer_data_make(rows, n, k, MPT_PRECISION_FP8, MPT_PRECISION_FP8, 3);
    d.in = MPT_BF16;
    fill(d.x, rows * k, 20, 1.0f, MPT_BF16);
    OK(mpt_session_step_begin(r.session, 0, &ok_error));
    d.x_lite = seen_by_its_writer(&r, MPT_INPUT, d.x, rows, k);
    assert_non_null(d.x_lite);
    if (lie)
      d.x_lite->amax_bits += 30u << 23; /* 2^30 times as large */
    run_forward(&r, 0, &d);
    OK(mpt_session_counters(r.session, 0, &counters[lie], &ok_error));
    layer_data_free(&d);
    close_session(&r);
  }
  assert_int_equal(counters[0].vanished[MPT_INPUT], 0);
  assert_true(counters[1].vanished[MPT_INPUT] > rows * k / 2);
}

static void grad_input_is_added_to_when_asked(void **unused) {
  (void)unused;
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_BF16);
  rig r = {0};
  mpt_session_config config = config_of(&r, &policy);
  mpt_session_layer layer = linear("fc", 6, 5, 8);
  open_session(&r, &config, &layer, 1);
  layer_data d = layer_data_make(6, 5, 8, MPT_PRECISION_BF16, MPT_PRECISION_BF16, 3);
  float start[6 * 8];
  fill(d.dx, 6 * 8, 77, 0.05f, MPT_BF16);
  memcpy(start, d.dx, sizeof start);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  run_forward(&r, 0, &d);
  mpt_tensor x = matrix(d.x, 6, 8, MPT_BF16), w = matrix(d.w, 5, 8, MPT_FP32);
  mpt_tensor dy = matrix(d.dy, 6, 5, MPT_BF16), dx = matrix(d.dx, 6, 8, MPT_BF16);
  OK(mpt_linear_backward(r.session, 0, &dy, &x, &w, &dx, true, NULL, NULL, &ok_error));
  end_step(&r);
  double *g = reference_current(MPT_BF16, d.dy, 30),
         *rounded = reference_current(MPT_BF16, d.w, 40);
  check_product(d.dx, start, MPT_BF16, 6, 8, 5, g, 5, 1, rounded, 8, 1, NULL);
  free(g), free(rounded);
  layer_data_free(&d);
  close_session(&r);
}

/* fp16 overflows to infinity, in casts and in stored outputs; fp8 saturates; both are counted. */
static void what_a_cast_loses_is_counted(void **unused) {
  (void)unused;
  mpt_layer_policy policy = mpt_layer_policy_of(MPT_PRECISION_FP16);
  rig r = {0};
  mpt_session_config config = config_of(&r, &policy);
  mpt_session_layer layer = linear("fc", 2, 1, 2);
  open_session(&r, &config, &layer, 1);
  float x[4] = {1e6f, 1e-9f, 60000.0f, 0.0f}, w[2] = {1.0f, 2.0f}, y[2];
  mpt_tensor tx = matrix(x, 2, 2, MPT_FP32), tw = matrix(w, 1, 2, MPT_FP32);
  mpt_tensor ty = matrix(y, 2, 1, MPT_FP16);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  OK(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error));
  end_step(&r);
  assert_true(isinf(y[0]) && y[1] == 60000.0f);
  mpt_layer_counters counters;
  OK(mpt_session_counters(r.session, 0, &counters, &ok_error));
  assert_int_equal(counters.saturated[MPT_INPUT], 1);
  assert_int_equal(counters.vanished[MPT_INPUT], 1);
  assert_int_equal(counters.saturated[MPT_WEIGHT] + counters.vanished[MPT_WEIGHT], 0);
  x[0] = 60000.0f, w[0] = 2.0f; /* the operands fit, the product does not */
  OK(mpt_session_step_begin(r.session, 1, &ok_error));
  OK(mpt_linear_forward(r.session, 0, &tx, &tw, NULL, &ty, &ok_error));
  assert_true(isinf(y[0]));
  end_step(&r);
  close_session(&r);
}

/* A convolution's weight and a batch of sequences are matrices by their last dimensions. */
static void tensors_of_higher_rank_are_seen_as_matrices(void **unused) {
  (void)unused;
  mpt_layer_policy policies[2] = {mpt_layer_policy_of(MPT_PRECISION_FP32),
                                  mpt_layer_policy_of(MPT_PRECISION_FP32)};
  rig r = {0};
  mpt_session_config config = config_of(&r, policies);
  mpt_session_layer layers[2] = {linear("fc", 6, 5, 4), linear("conv", 6, 5, 0)};
  strcpy(layers[1].info.kind, "conv2d");
  layers[1].info.rank = 4;
  layers[1].info.shape[1] = 1, layers[1].info.shape[2] = layers[1].info.shape[3] = 2;
  open_session(&r, &config, layers, 2);
  layer_data d = layer_data_make(6, 5, 4, MPT_PRECISION_FP32, MPT_PRECISION_FP32, 3);
  OK(mpt_session_step_begin(r.session, 0, &ok_error));
  run_forward(&r, 0, &d);
  run_backward(&r, 0, &d);
  float y[6 * 5];
  int64_t xs[3] = {2, 3, 4}, ys[3] = {2, 3, 5}, ws[4] = {5, 1, 2, 2};
  mpt_tensor x = mpt_tensor_of(d.x, MPT_FP32, 3, xs), tensor_y = mpt_tensor_of(y, MPT_FP32, 3, ys);
  mpt_tensor w = mpt_tensor_of(d.w, MPT_FP32, 4, ws), b = vector(d.bias, 5);
  OK(mpt_linear_forward(r.session, 1, &x, &w, &b, &tensor_y, &ok_error));
  end_step(&r);
  assert_memory_equal(y, d.y, sizeof y);

  /* rows that lie apart: a view of the left half of a wider matrix */
  float wide[6 * 8], apart[6 * 5];
  for (int i = 0; i < 48; i++)
    wide[i] = i % 8 < 4 ? d.x[i / 8 * 4 + i % 8] : NAN;
  mpt_tensor view = matrix(wide, 6, 4, MPT_FP32), out = matrix(apart, 6, 5, MPT_FP32);
  view.strides[0] = 8;
  OK(mpt_session_step_begin(r.session, 1, &ok_error));
  OK(mpt_linear_forward(r.session, 0, &view, &w, &b, &out, &ok_error));
  end_step(&r);
  assert_memory_equal(apart, d.y, sizeof apart);
  layer_data_free(&d);
  close_session(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_mix_of_precisions_gives_the_product_of_rounded_operands),
      cmocka_unit_test(operands_are_exactly_rounded),
      cmocka_unit_test(a_copy_serves_every_gemm_that_wants_its_format),
      cmocka_unit_test(nothing_is_copied_when_the_stored_format_fits),
      cmocka_unit_test(layers_share_the_copies_of_one_input),
      cmocka_unit_test(a_copy_is_made_again_when_another_took_its_place),
      cmocka_unit_test(gradients_accumulate_over_microbatches),
      cmocka_unit_test(scales_follow_from_what_writers_saw),
      cmocka_unit_test(what_writers_saw_is_believed),
      cmocka_unit_test(grad_input_is_added_to_when_asked),
      cmocka_unit_test(what_a_cast_loses_is_counted),
      cmocka_unit_test(tensors_of_higher_rank_are_seen_as_matrices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
