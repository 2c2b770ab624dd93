/* Policy files: what is loaded is saved to a text that loads to the same, and resolves. */
#include "fuzz.h"
#include <string.h>

enum { LAYERS = 4 };
static const mpt_layer_info layers[LAYERS] = {
    {.name = "blocks.0.attn.qkv", .kind = "linear", .rank = 2, .shape = {48, 16}, .rows = 64},
    {.name = "blocks.0.norm", .kind = "layernorm", .rank = 1, .shape = {16}, .rows = 64},
    {.name = "fc1", .kind = "linear", .rank = 2, .shape = {32, 16}, .rows = 8},
    {.name = "head", .kind = "conv2d", .rank = 4, .shape = {8, 4, 3, 3}, .rows = 0},
};

static void try_to_resolve(const mpt_policy *policy, bool strict, uint32_t formats) {
  mpt_error error = {0};
  mpt_layer_policy assignment[LAYERS];
  mpt_resolve_options options = mpt_resolve_options_default();
  options.strict = strict;
  options.force = !strict;
  options.promote = !strict;
  options.device_formats = formats;
  if (!fuzz_succeeded(mpt_policy_resolve(policy, layers, LAYERS, &options, assignment, &error),
                      &error))
    return;
  for (int i = 0; i < LAYERS; i++) {
    char text[256];
    mpt_layer_policy again;
    mpt_layer_policy_text(&assignment[i], text, sizeof text);
    fuzz_must(mpt_layer_policy_parse(text, &again, &error), &error);
    FUZZ_REQUIRE(mpt_layer_policy_equal(&assignment[i], &again));
  }
  char *text = NULL;
  fuzz_must(mpt_policy_diff(policy, policy, layers, LAYERS, &options, &text, &error), &error);
  FUZZ_REQUIRE(text[0] == '\0');
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mpt_policy *policy = NULL, *again = NULL;
  mpt_error error = {0};
  char *first = NULL, *second = NULL;
  if (!fuzz_succeeded(mpt_policy_parse((const char *)data, size, "input", &policy, &error), &error))
    return 0;
  FUZZ_REQUIRE(policy != NULL);
  if (!fuzz_succeeded(mpt_policy_text(policy, &first, &error), &error)) {
    mpt_policy_free(policy);
    return 0;
  }
  if (mpt_policy_parse(first, strlen(first), "saved", &again, &error) != MPT_OK) {
    fprintf(stderr, "%s:%d: %s\n%s", error.file, error.line, error.message, first);
    abort();
  }
  fuzz_must(mpt_policy_text(again, &second, &error), &error);
  FUZZ_REQUIRE(strcmp(first, second) == 0);
  FUZZ_REQUIRE(mpt_policy_rule_count(policy) == mpt_policy_rule_count(again));
  free(first);
  free(second);
  mpt_policy_free(again);
  try_to_resolve(policy, true, MPT_ALL_FORMATS);
  try_to_resolve(policy, false, 1u << MPT_FP32 | 1u << MPT_TF32);
  mpt_policy_free(policy);
  return 0;
}
