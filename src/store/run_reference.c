#include "store/run_reference.h"
#include "store/record.h"

static const record_member members[] = {
    TEXT_MEMBER(store_reference, policy, record_text, RECORD_LEFT_OUT),
    TEXT_MEMBER(store_reference, observed, record_text, RECORD_LEFT_OUT),
    LIST_MEMBER(store_reference, seeds, int64_t, seed_count, record_counts, RECORD_LEFT_OUT),
    LIST_MEMBER(store_reference, metrics, double, metric_count, record_numbers, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_reference, metric_mean, record_number, RECORD_NULL),
    NUMBER_MEMBER(store_reference, metric_deviation, record_positive, RECORD_NULL),
    TEXT_MEMBER(store_reference, noise_note, record_text, RECORD_LEFT_OUT),
    NUMBER_MEMBER(store_reference, step_seconds, record_positive, RECORD_NULL),
    NUMBER_MEMBER(store_reference, margin, record_positive, RECORD_NULL)};
static const record_type type = RECORD_OBJECT_OF(members);
static const record reference_record = {
    .name = "reference", .size = sizeof(store_reference), .whole = {.type = &type}, .spaced = true};

mpt_status store_put_reference(store *s, const store_reference *reference, bool keep,
                               mpt_error *error) {
  return record_put(s, &reference_record, "reference", reference, keep, error);
}

mpt_status store_get_reference(store *s, store_reference *reference, bool *found,
                               mpt_error *error) {
  return record_get(s, &reference_record, "reference", reference, found, error);
}

void store_reference_clear(store_reference *reference) {
  record_clear(reference, sizeof *reference);
}

json_t *store_reference_json(const store_reference *reference) {
  return record_json(&reference_record, reference);
}
