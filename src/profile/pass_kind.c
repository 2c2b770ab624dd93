#include "profile/pass_kind.h"

static const char *const names[PASS_KIND_COUNT] = {
    [PASS_ELEMENTWISE] = "elementwise",
    [PASS_REDUCTION] = "reduction",
    [PASS_COLUMN_SUM] = "column_sum",
    [PASS_NORM_FORWARD] = "norm_forward",
    [PASS_NORM_BACKWARD] = "norm_backward",
    [PASS_LOSS] = "loss",
    [PASS_EMBEDDING_FORWARD] = "embedding_forward",
    [PASS_EMBEDDING_BACKWARD] = "embedding_backward",
    [PASS_QUANTIZE] = "quantize",
    [PASS_QUANTIZE_PAIR] = "quantize_pair",
    [PASS_OPTIMIZER] = "optimizer",
    [PASS_OPTIMIZER_FP8] = "optimizer_fp8",
};

const char *pass_kind_name(pass_kind kind) {
  return names[kind];
}
