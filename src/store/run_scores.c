#include "store/run_scores.h"
#include "store/record.h"
#include <stdio.h>

static const record_member seen_members[] = {
    NUMBER_MEMBER(store_operand_seen, saturated, record_share, RECORD_REQUIRED),
    NUMBER_MEMBER(store_operand_seen, vanished, record_share, RECORD_REQUIRED),
    NUMBER_MEMBER(store_operand_seen, amax, record_positive, RECORD_NULL)};
static const record_type seen_type = RECORD_OBJECT_OF(seen_members);

#define OPERAND_AT(operand) ((operand) * sizeof(store_operand_seen))
static const record_member operands_members[] = {
    {"input", &seen_type, OPERAND_AT(MPT_INPUT), 0, RECORD_REQUIRED},
    {"weight", &seen_type, OPERAND_AT(MPT_WEIGHT), 0, RECORD_REQUIRED},
    {"grad_output", &seen_type, OPERAND_AT(MPT_GRAD_OUTPUT), 0, RECORD_REQUIRED}};
static const record_type operands_type = RECORD_OBJECT_OF(operands_members);

static const record_member score_members[] = {
    TEXT_MEMBER(store_score, layer, record_layer, RECORD_REQUIRED),
    WORD_MEMBER(store_score, precision, mpt_precision, record_precision, RECORD_REQUIRED),
    NUMBER_MEMBER(store_score, forward, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_score, dgrad, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_score, wgrad, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_score, output_amax, record_positive, RECORD_NULL),
    {"operands", &operands_type, offsetof(store_score, operands), 0, RECORD_REQUIRED}};
static const record_type score_type = RECORD_OBJECT_OF(score_members);
static const record_type scores_type = RECORD_LIST_OF(store_score, score_type);
static const record scores_record = {.name = "sensitivity measurements",
                                     .size = sizeof(store_scores),
                                     .whole =
                                         RECORD_LIST_IN(store_scores, scores, count, scores_type)};

/* 2: the increase of the loss with its curvature, and biases of gradients. What older versions
 * measured under "scores KEY" were other figures; the reference is observed again. */
static void name_scores(const char *key, char name[80]) {
  snprintf(name, 80, "scores@2 %.64s", key);
}

mpt_status store_put_scores(store *s, const char *key, const store_scores *scores,
                            mpt_error *error) {
  char name[80];
  name_scores(key, name);
  return record_put(s, &scores_record, name, scores, false, error);
}

mpt_status store_get_scores(store *s, const char *key, store_scores *scores, bool *found,
                            mpt_error *error) {
  char name[80];
  name_scores(key, name);
  return record_get(s, &scores_record, name, scores, found, error);
}

void store_scores_clear(store_scores *scores) {
  record_clear(scores, sizeof *scores);
}

/* ---- what the search made of them ---- */

static const char *gemm_word(int gemm) {
  return mpt_gemm_name((mpt_gemm_kind)gemm);
}

static const record_type gemm_type = {
    .kind = RECORD_WORD, .word = gemm_word, .word_count = MPT_GEMM_COUNT, .what = "a GEMM"};
static const record_member row_members[] = {
    TEXT_MEMBER(store_sensitivity_row, layer, record_layer, RECORD_REQUIRED),
    WORD_MEMBER(store_sensitivity_row, precision, mpt_precision, record_precision, RECORD_REQUIRED),
    WORD_MEMBER(store_sensitivity_row, gemm, mpt_gemm_kind, gemm_type, RECORD_REQUIRED),
    NUMBER_MEMBER(store_sensitivity_row, forward, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_sensitivity_row, backward, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_sensitivity_row, predicted, record_number, RECORD_NULL),
    TEXT_MEMBER(store_sensitivity_row, veto, record_text, RECORD_NULL)};
static const record_type row_type = RECORD_OBJECT_OF(row_members);
static const record_type rows_type = RECORD_LIST_OF(store_sensitivity_row, row_type);
static const record sensitivity_record = {
    .name = "sensitivity",
    .size = sizeof(store_sensitivity),
    .whole = RECORD_LIST_IN(store_sensitivity, rows, count, rows_type)};

mpt_status store_put_sensitivity(store *s, const store_sensitivity *sensitivity, mpt_error *error) {
  return record_put(s, &sensitivity_record, "sensitivity", sensitivity, false, error);
}

mpt_status store_get_sensitivity(store *s, store_sensitivity *sensitivity, bool *found,
                                 mpt_error *error) {
  return record_get(s, &sensitivity_record, "sensitivity", sensitivity, found, error);
}

void store_sensitivity_clear(store_sensitivity *sensitivity) {
  record_clear(sensitivity, sizeof *sensitivity);
}

json_t *store_sensitivity_json(const store_sensitivity *sensitivity) {
  return record_json(&sensitivity_record, sensitivity);
}
