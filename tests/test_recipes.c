/* Recipes, and their projection onto what a workload permits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_model.h"
#include "tuner/recipes.h"

typedef struct fixture {
  test_model m;
  graph *g;
  profile *p;
  space *s;
  mpt_layer_policy a[TEST_MAX_LAYERS];
} fixture;

static void begin(fixture *f) {
  mpt_error error = {0};
  if (profile_load("nvidia-h200", &f->p, &error) != MPT_OK ||
      test_graph(&f->m, 16, &f->g, &error) != MPT_OK ||
      space_build(&f->m.w, f->g, f->p, true, &f->s, &error) != MPT_OK)
    fail_msg("%s", error.message);
}

static void end(fixture *f) {
  space_free(f->s);
  graph_free(f->g);
  profile_free(f->p);
}

static const char *formats_of(const fixture *f, const char *layer) {
  static char text[160];
  mpt_layer_policy_text(&f->a[graph_find(f->g, layer)], text, sizeof text);
  return text;
}

static void recipes_of_a_gpt(void **state) {
  (void)state;
  static fixture f;
  test_gpt(&f.m, 64, 16, 2048, 2, false);
  begin(&f);
  const mpt_layer_policy expected = space_policy_of(f.s, MPT_PRECISION_FP8);
  char fp8[160];
  mpt_layer_policy_text(&expected, fp8, sizeof fp8);
  recipe_assignment(f.s, RECIPE_FP8_BUT_HEAD, f.a);
  assert_string_equal(formats_of(&f, "head"), "bf16");
  assert_string_equal(formats_of(&f, "blocks.1.mlp.fc2"), fp8);
  assert_string_equal(formats_of(&f, "embed"), "bf16");
  assert_string_equal(formats_of(&f, "blocks.0.attn.core"), "bf16");
  recipe_assignment(f.s, RECIPE_FP8_BUT_HEAD_GRADIENTS, f.a);
  const mpt_layer_policy *head = &f.a[graph_find(f.g, "head")];
  assert_int_equal(head->gemm[MPT_FPROP].precision, MPT_PRECISION_FP8);
  assert_int_equal(head->gemm[MPT_DGRAD].precision, MPT_PRECISION_BF16);
  assert_int_equal(head->gemm[MPT_WGRAD].precision, MPT_PRECISION_BF16);
  /* 9 layers with GEMMs: the last 2 of them. */
  recipe_assignment(f.s, RECIPE_FP8_BUT_LAST, f.a);
  assert_string_equal(formats_of(&f, "head"), "bf16");
  assert_string_equal(formats_of(&f, "blocks.1.mlp.fc2"), "bf16");
  assert_string_equal(formats_of(&f, "blocks.1.mlp.fc1"), fp8);
  recipe_assignment(f.s, RECIPE_FP8_BACKWARD, f.a);
  const mpt_layer_policy *fc1 = &f.a[graph_find(f.g, "blocks.0.mlp.fc1")];
  assert_int_equal(fc1->gemm[MPT_FPROP].precision, MPT_PRECISION_BF16);
  assert_int_equal(fc1->gemm[MPT_WGRAD].precision, MPT_PRECISION_FP8);
  assert_int_equal(fc1->gemm[MPT_WGRAD].operand[0], MPT_FP8_E5M2);
  /* torchao looks at shapes: a head of 64 outputs from 2048 is too small. */
  recipe_assignment(f.s, RECIPE_TORCHAO, f.a);
  assert_string_equal(formats_of(&f, "head"), "bf16");
  assert_string_equal(formats_of(&f, "blocks.0.attn.qkv"), fp8);
  end(&f);
}

/* A first layer makes no dgrad: its recipe is one that a search may propose. */
static void recipes_are_choices(void **state) {
  (void)state;
  static fixture f;
  int choice[TEST_MAX_LAYERS];
  test_mlp(&f.m, 64, 4096, 4096);
  f.m.w.per_gemm = true;
  begin(&f);
  for (int r = 0; r < RECIPE_COUNT; r++) {
    recipe_assignment(f.s, (recipe)r, f.a);
    assert_true(strlen(recipe_label((recipe)r)) > 0);
    assert_true(space_choices(f.s, f.a, choice));
    assert_false(space_project(f.s, f.a));
  }
  end(&f);
}

static void projection_keeps_pins_and_exclusions(void **state) {
  (void)state;
  static fixture f;
  static pin_spec pin = {.layers = "fc2", .precision = MPT_PRECISION_FP32};
  bool permitted;
  test_mlp(&f.m, 64, 4096, 4096);
  f.m.w.pins = &pin, f.m.w.pin_count = 1;
  begin(&f);
  space_uniform(f.s, MPT_PRECISION_FP8, f.a, &permitted);
  assert_false(permitted);
  assert_true(space_project(f.s, f.a));
  assert_string_equal(formats_of(&f, "fc2"), "fp32");
  assert_string_equal(formats_of(&f, "tanh1"), "fp32"); /* follows it */
  assert_int_equal(f.a[graph_find(f.g, "fc1")].gemm[MPT_FPROP].precision, MPT_PRECISION_FP8);
  assert_null(space_refusal(f.s, f.p, f.a));
  assert_false(space_project(f.s, f.a));
  end(&f);
  /* bf16 is excluded: fp16 stands in for it, also where a recipe mixes. */
  f.m.w.pin_count = 0, f.m.w.excluded = 1u << MPT_PRECISION_BF16;
  begin(&f);
  recipe_assignment(f.s, RECIPE_FP8_BACKWARD, f.a);
  assert_true(space_project(f.s, f.a));
  const mpt_layer_policy *fc2 = &f.a[graph_find(f.g, "fc2")];
  assert_int_equal(fc2->gemm[MPT_FPROP].precision, MPT_PRECISION_FP16);
  assert_int_equal(fc2->gemm[MPT_DGRAD].precision, MPT_PRECISION_FP8);
  end(&f);
  /* All but fp32 is excluded. */
  f.m.w.excluded = (1u << MPT_PRECISION_COUNT) - 1 - (1u << MPT_PRECISION_FP32);
  begin(&f);
  space_uniform(f.s, MPT_PRECISION_FP8, f.a, &permitted);
  assert_true(space_project(f.s, f.a));
  for (int i = 0; i < f.g->layer_count; i++)
    assert_int_equal(f.a[i].gemm[MPT_FPROP].precision, MPT_PRECISION_FP32);
  end(&f);
}

/* What a precision means for a layer of that kind: attention in fp8 is in bf16, or in its pin. */
static void projection_knows_kinds(void **state) {
  (void)state;
  static fixture f;
  static pin_spec pin = {.layers = "blocks.0.attn.core", .precision = MPT_PRECISION_FP16};
  for (int pinned = 0; pinned < 2; pinned++) {
    test_gpt(&f.m, 64, 16, 64, 1, false);
    f.m.w.pins = &pin, f.m.w.pin_count = pinned;
    begin(&f);
    for (int i = 0; i < f.g->layer_count; i++)
      f.a[i] = space_policy_of(f.s, MPT_PRECISION_FP8);
    assert_true(space_project(f.s, f.a));
    assert_string_equal(formats_of(&f, "blocks.0.attn.core"), pinned ? "fp16" : "bf16");
    assert_string_equal(formats_of(&f, "embed"), "bf16");
    assert_null(space_refusal(f.s, f.p, f.a));
    end(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(recipes_of_a_gpt),
      cmocka_unit_test(recipes_are_choices),
      cmocka_unit_test(projection_keeps_pins_and_exclusions),
      cmocka_unit_test(projection_knows_kinds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
