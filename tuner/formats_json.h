/* Formats as objects for programs, a member for each GEMM; docs/json.md names the members. */
#ifndef FORMATS_JSON_H
#define FORMATS_JSON_H

#include "mptune/policy.h"
#include "store/run_definition.h"
#include <jansson.h>

/* `gemm`: whether the layer has GEMMs; without them only the text says its format. */
json_t *formats_json(const mpt_layer_policy *formats, bool gemm);
/* Of a text that the store holds; null where it is NULL or no layer's formats. */
json_t *formats_json_of(const char *text, bool gemm);
json_t *loss_scale_json(mpt_loss_scale_policy scale);
/* A policy's canonical text (store_policy); `layers`: those of the run. */
json_t *assignment_json(const char *text, const store_layers *layers);

#endif
