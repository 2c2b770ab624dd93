/* What makes two policies one: the formats of every layer, and the loss scale where fp16 needs it.
 */
#include "base/text.h"
#include "tuner/candidate.h"
#include <assert.h>

static bool has_fp16(const graph *g, const mpt_layer_policy *assignment) {
  for (int i = 0; i < g->layer_count; i++)
    for (int m = 0; m < MPT_GEMM_COUNT; m++)
      if (assignment[i].gemm[m].precision == MPT_PRECISION_FP16)
        return true;
  return false;
}

static bool same_scale(mpt_loss_scale_policy a, mpt_loss_scale_policy b) {
  return a.mode == b.mode && (a.mode == MPT_LOSS_SCALE_NONE || a.initial == b.initial);
}

mpt_loss_scale_policy candidate_scale(const problem *p, const mpt_layer_policy *assignment,
                                      mpt_loss_scale_policy scale) {
  const mpt_loss_scale_policy own = p->workload->loss_scale;
  return !has_fp16(p->graph, assignment) || same_scale(scale, own) ? own : scale;
}

char *candidate_text(const problem *p, const mpt_layer_policy *assignment,
                     mpt_loss_scale_policy scale) {
  const graph *g = p->graph;
  mpt_text text = {0};
  for (int i = 0; i < g->layer_count; i++) {
    if (!g->layers[i].has_format)
      continue;
    char formats[160];
    mpt_layer_policy_text(&assignment[i], formats, sizeof formats);
    mpt_text_addf(&text, "%s %s\n", g->layers[i].info.name, formats);
  }
  if (!same_scale(scale, p->workload->loss_scale))
    mpt_text_addf(&text, "loss_scale %s %.9g\n", mpt_loss_scale_mode_name(scale.mode),
                  scale.mode == MPT_LOSS_SCALE_NONE ? 1.0 : (double)scale.initial);
  if (!text.failed)
    return text.data;
  mpt_text_free(&text);
  return NULL;
}

void candidate_key(const problem *p, const candidate *c, uint64_t seed, char key[65]) {
  char memory[512];
  mpt_text text = mpt_text_over(memory, sizeof memory);
  const mpt_loss_scale_policy *scale = &c->loss_scale;
  mpt_text_addf(&text, "policy %s\ncondition %s\nseed %llu\nloss scale %d %.9g\n", c->hash,
                p->condition.hash, (unsigned long long)seed, (int)scale->mode,
                (double)scale->initial);
  assert(!text.failed);
  store_hash(text.data, text.length, key);
}
