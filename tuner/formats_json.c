#include "tuner/formats_json.h"
#include "base/json.h"
#include "base/number.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *gemm_json(mpt_gemm_kind kind, const mpt_gemm_policy *p) {
  json_t *json = json_object();
  for (int i = 0; i < 2; i++)
    mpt_json_set(&json, mpt_operand_name(mpt_gemm_operand(kind, i)),
                 mpt_json_text(mpt_format_get(p->operand[i])->name));
  const char *accumulate = p->accumulate == MPT_ACCUMULATE_FAST ? "fast" : "split";
  mpt_json_set(&json, "accumulate",
               mpt_json_text(p->precision == MPT_PRECISION_FP8 ? accumulate : NULL));
  return json;
}

static json_t *scaling_json(const mpt_layer_policy *formats) {
  bool fp8 = false;
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    fp8 = fp8 || formats->gemm[g].precision == MPT_PRECISION_FP8;
  if (!fp8)
    return json_null();
  if (formats->scaling.mode == MPT_SCALING_CURRENT)
    return mpt_json_pack("{s:s,s:n,s:n}", "mode", "current", "history", "margin");
  return mpt_json_pack("{s:s,s:i,s:i}", "mode", "delayed", "history", formats->scaling.history,
                       "margin", formats->scaling.margin);
}

json_t *formats_json(const mpt_layer_policy *formats, bool gemm) {
  char text[160];
  mpt_layer_policy_text(formats, text, sizeof text);
  json_t *json = mpt_json_pack("{s:s}", "text", text);
  for (int g = 0; g < MPT_GEMM_COUNT; g++)
    mpt_json_set(&json, mpt_gemm_name((mpt_gemm_kind)g),
                 gemm ? gemm_json((mpt_gemm_kind)g, &formats->gemm[g]) : json_null());
  mpt_json_set(&json, "scaling", gemm ? scaling_json(formats) : json_null());
  return json;
}

json_t *formats_json_of(const char *text, bool gemm) {
  mpt_layer_policy formats;
  if (text == NULL || mpt_layer_policy_parse(text, &formats, NULL) != MPT_OK)
    return json_null();
  return formats_json(&formats, gemm);
}

json_t *loss_scale_json(mpt_loss_scale_policy scale) {
  return mpt_json_pack("{s:s,s:o}", "mode", mpt_loss_scale_mode_name(scale.mode), "initial",
                       scale.mode == MPT_LOSS_SCALE_NONE ? json_null()
                                                         : mpt_json_real((double)scale.initial));
}

/* "MODE INITIAL", as the store has it. */
static json_t *scale_of(const char *text) {
  mpt_loss_scale_policy scale = {.initial = 0};
  char mode[16];
  double initial = 0;
  const size_t length = strcspn(text, " ");
  snprintf(mode, sizeof mode, "%.*s", (int)length, text);
  for (int m = MPT_LOSS_SCALE_DYNAMIC; m <= MPT_LOSS_SCALE_NONE; m++) {
    scale.mode = (mpt_loss_scale_mode)m;
    if (strcmp(mode, mpt_loss_scale_mode_name(scale.mode)) != 0)
      continue;
    const char *number = text + length + (text[length] == ' ');
    if (!mpt_number_read(number, strlen(number), &initial))
      return json_null();
    scale.initial = (float)initial;
    return loss_scale_json(scale);
  }
  return json_null();
}

/* `line` is taken apart. */
static void add_line(char *line, const store_layers *all, json_t **layers, json_t **scale) {
  char *space = strchr(line, ' ');
  if (space == NULL)
    return;
  *space = '\0';
  mpt_layer_policy formats;
  if (mpt_layer_policy_parse(space + 1, &formats, NULL) == MPT_OK) {
    mpt_json_set(layers, line, formats_json(&formats, store_layers_has_gemm(all, line)));
  } else if (strcmp(line, "loss_scale") == 0) {
    json_decref(*scale);
    *scale = scale_of(space + 1);
  }
}

json_t *assignment_json(const char *text, const store_layers *layers) {
  if (text == NULL)
    return json_null();
  json_t *object = json_object(), *scale = json_null();
  char *copy = strdup(text), *at = copy;
  while (at != NULL && *at != '\0') {
    char *end = at + strcspn(at, "\n");
    const bool last = *end == '\0';
    *end = '\0';
    add_line(at, layers, &object, &scale);
    at = last ? end : end + 1;
  }
  if (copy == NULL) { /* no memory: nothing at all, and mpt_json_dump says so */
    json_decref(object);
    object = NULL;
  }
  free(copy);
  return mpt_json_pack("{s:o,s:o}", "layers", object, "loss_scale", scale);
}
