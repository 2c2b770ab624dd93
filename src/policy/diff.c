/* What two policies decide differently. */
#include "base/error.h"
#include "policy/policy_data.h"
#include <stdlib.h>

static void add_loss_scale(mpt_text *text, const mpt_policy *policy) {
  const mpt_loss_scale_policy scale = policy->loss_scale;
  mpt_text_add(text, policy->has_loss_scale ? mpt_loss_scale_mode_name(scale.mode) : "unset");
  if (!policy->has_loss_scale || scale.mode == MPT_LOSS_SCALE_NONE)
    return;
  mpt_text_add(text, " ");
  mpt_text_add_number(text, (double)scale.initial);
}

static bool loss_scale_equal(const mpt_policy *from, const mpt_policy *to) {
  const mpt_loss_scale_policy a = from->loss_scale, b = to->loss_scale;
  if (!from->has_loss_scale || !to->has_loss_scale)
    return from->has_loss_scale == to->has_loss_scale;
  return a.mode == b.mode && (a.mode == MPT_LOSS_SCALE_NONE || a.initial == b.initial);
}

mpt_status mpt_policy_diff(const mpt_policy *from, const mpt_policy *to,
                           const mpt_layer_info *layers, int count,
                           const mpt_resolve_options *options, char **out, mpt_error *error) {
  mpt_text text = {0};
  mpt_status status = MPT_OK;
  if (from == NULL || to == NULL || count < 0 || out == NULL)
    return mpt_fail(error, MPT_ERROR_ARGUMENT, "a policy or the place of the text is NULL");
  mpt_layer_policy *a = calloc((size_t)count + 1, sizeof *a);
  mpt_layer_policy *b = calloc((size_t)count + 1, sizeof *b);
  if (a == NULL || b == NULL) {
    status = mpt_fail_memory(error, "the layers' formats", (size_t)count * sizeof *a);
    goto fail;
  }
  MPT_TRY(mpt_policy_resolve(from, layers, count, options, a, error));
  MPT_TRY(mpt_policy_resolve(to, layers, count, options, b, error));
  mpt_text_add(&text, "");
  for (int i = 0; i < count; i++) {
    char left[160], right[160];
    if (mpt_layer_policy_equal(&a[i], &b[i]))
      continue;
    mpt_layer_policy_text(&a[i], left, sizeof left);
    mpt_layer_policy_text(&b[i], right, sizeof right);
    mpt_text_addf(&text, "%s %s -> %s\n", layers[i].name, left, right);
  }
  if (!loss_scale_equal(from, to)) {
    mpt_text_add(&text, "loss_scale ");
    add_loss_scale(&text, from);
    mpt_text_add(&text, " -> ");
    add_loss_scale(&text, to);
    mpt_text_add(&text, "\n");
  }
  if (text.failed) {
    status = mpt_fail_memory(error, "a difference", text.length);
    goto fail;
  }
  *out = text.data;
  text = (mpt_text){0};
fail:
  mpt_text_free(&text);
  free(a);
  free(b);
  return status;
}
