#include "store/run_winner.h"
#include "store/record.h"

static const record_member interval_members[] = {
    NUMBER_MEMBER(store_interval, lower, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_interval, upper, record_number, RECORD_NULL),
    FLAG_MEMBER(store_interval, relative, record_flag),
    NUMBER_MEMBER(store_interval, confidence, record_share, RECORD_NULL)};
static const record_type interval_type = RECORD_OBJECT_OF(interval_members);

static const record_member accuracy_members[] = {
    NUMBER_MEMBER(store_accuracy, metric, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_accuracy, reference_metric, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_accuracy, worse_by_absolute, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_accuracy, worse_by_relative, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_accuracy, deviation_of_pairs, record_positive, RECORD_NULL),
    OBJECT_MEMBER(store_accuracy, interval, store_interval, interval_type, RECORD_NULL),
    WHOLE_MEMBER(store_accuracy, pairs, record_count, RECORD_NULL),
    FLAG_MEMBER(store_accuracy, fresh, record_flag),
    WHOLE_MEMBER(store_accuracy, diverged, record_count, RECORD_NULL),
    WHOLE_MEMBER(store_accuracy, given_up, record_count, RECORD_NULL),
    WHOLE_MEMBER(store_accuracy, reference_diverged, record_count, RECORD_NULL)};
static const record_type accuracy_type = RECORD_OBJECT_OF(accuracy_members);
static const record accuracy_record = {
    .name = "accuracy", .size = sizeof(store_accuracy), .whole = {.type = &accuracy_type}};

static const record_member row_members[] = {
    TEXT_MEMBER(store_row, label, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_row, policy, record_text, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_row, step_seconds, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_row, predicted_seconds, record_positive, RECORD_NULL),
    FLAG_MEMBER(store_row, measured, record_flag),
    NUMBER_MEMBER(store_row, ratio, record_positive, RECORD_NULL),
    TEXT_MEMBER(store_row, verdict, record_text, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_row, winner, record_flag),
    FLAG_MEMBER(store_row, reference, record_flag),
    WHOLE_MEMBER(store_row, memory_bytes, record_count, RECORD_NULL),
    OBJECT_MEMBER(store_row, accuracy, store_accuracy, accuracy_type, RECORD_LEFT_OUT)};
static const record_type row_type = RECORD_OBJECT_OF(row_members);
static const record_type rows_type = RECORD_LIST_OF(store_row, row_type);
static const record row_record = {
    .name = "row", .size = sizeof(store_row), .whole = {.type = &row_type}};

static const record_member reason_members[] = {
    TEXT_MEMBER(store_reason, layer, record_layer, RECORD_REQUIRED),
    TEXT_MEMBER(store_reason, formats, record_formats, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_reason, reason, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_reason, flip, record_text, RECORD_LEFT_OUT)};
static const record_type reason_type = RECORD_OBJECT_OF(reason_members);
static const record_type reasons_type = RECORD_LIST_OF(store_reason, reason_type);

static const char *verdict_word(int verdict) {
  return mpt_verdict_name((mpt_verdict)verdict);
}

static const record_type verdict_type = {.kind = RECORD_WORD,
                                         .word = verdict_word,
                                         .word_count = MPT_VERDICT_COUNT,
                                         .what = "a verdict"};
static const record_type assignment_type = {.kind = RECORD_MAP, .of = &record_formats};

static const record_member winner_members[] = {
    WORD_MEMBER(store_winner, verdict, int, verdict_type, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_winner, gain, record_flag),
    TEXT_MEMBER(store_winner, message, record_text, RECORD_LEFT_OUT),
    FLAG_MEMBER(store_winner, predicted, record_flag),
    LIST_MEMBER(store_winner, rows, store_row, row_count, rows_type, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, tuning_seconds, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, payback_seconds, record_number, RECORD_NULL),
    TEXT_MEMBER(store_winner, otherwise, record_text, RECORD_LEFT_OUT),
    WHOLE_MEMBER(store_winner, evaluations, record_count, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_winner, policy, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_winner, label, record_text, RECORD_LEFT_OUT),
    LIST_MEMBER(store_winner, assignment, store_pair, assignment_count, assignment_type,
                RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, step_seconds, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, reference_seconds, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, otherwise_seconds, record_positive, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_winner, ratio, record_positive, RECORD_LEFT_OUT),
    LIST_MEMBER(store_winner, reasons, store_reason, reason_count, reasons_type, RECORD_LEFT_OUT)};
static const record_type winner_type = RECORD_OBJECT_OF(winner_members);
static const record winner_record = {.name = "winner",
                                     .size = sizeof(store_winner),
                                     .whole = {.type = &winner_type},
                                     .spaced = true};

json_t *store_accuracy_json(const store_accuracy *accuracy) {
  return record_json(&accuracy_record, accuracy);
}

json_t *store_row_json(const store_row *row) {
  return record_json(&row_record, row);
}

mpt_status store_put_winner(store *s, const store_winner *winner, mpt_error *error) {
  return record_put(s, &winner_record, "winner", winner, false, error);
}

mpt_status store_get_winner(store *s, store_winner *winner, bool *found, mpt_error *error) {
  return record_get(s, &winner_record, "winner", winner, found, error);
}

void store_winner_clear(store_winner *winner) {
  record_clear(winner, sizeof *winner);
}

json_t *store_winner_json(const store_winner *winner) {
  return record_json(&winner_record, winner);
}
