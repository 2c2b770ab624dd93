#include "train/trainer.h"
#include <stdlib.h>

train_options train_options_default(void) {
  return (train_options){.loss_scale = {MPT_LOSS_SCALE_DYNAMIC, 65536.0f},
                         .seed = 1,
                         .threads = 1,
                         .backend = "cpu",
                         .statistics = MPT_STATISTICS_OFF,
                         .statistics_every = 1};
}

mpt_loss_scale_policy train_loss_scale(const workload *w, const mpt_policy *policy) {
  return mpt_policy_has_loss_scale(policy) ? mpt_policy_loss_scale(policy) : w->loss_scale;
}

void train_result_clear(train_result *result) {
  free(result->losses);
  free(result->counters);
  free(result->right);
  free(result->contributions);
  *result = (train_result){0};
}
