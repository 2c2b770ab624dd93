/* What members of records may be, where several tables need it. */
#include "store/record.h"
#include <math.h>
#include <string.h>

#define MOST_WHOLE 9007199254740992.0 /* 2^53 */
#define LAST_TIME  253402300799.0     /* the end of the year 9999 */

static bool is_layer(const char *word) {
  const size_t length = strlen(word);
  return length > 0 && length < MPT_MAX_NAME;
}

static bool is_formats(const char *word) {
  mpt_layer_policy read;
  return mpt_layer_policy_parse(word, &read, NULL) == MPT_OK;
}

static const char *precision_word(int value) {
  return mpt_precision_name((mpt_precision)value);
}

static const char *operand_word(int value) {
  return mpt_operand_name((mpt_operand)value);
}

const record_type record_operand = {.kind = RECORD_WORD,
                                    .word = operand_word,
                                    .word_count = MPT_OPERAND_COUNT,
                                    .what = "an operand"};
const record_type record_text = {.kind = RECORD_TEXT, .what = "a text"};
const record_type record_layer = {.kind = RECORD_TEXT, .known = is_layer, .what = "a layer's name"};
const record_type record_formats = {
    .kind = RECORD_TEXT, .known = is_formats, .what = "a layer's formats"};
const record_type record_precision = {.kind = RECORD_WORD,
                                      .word = precision_word,
                                      .word_count = MPT_PRECISION_COUNT,
                                      .what = "a precision"};
const record_type record_flag = {.kind = RECORD_FLAG, .what = "true or false"};
const record_type record_number = {
    .kind = RECORD_NUMBER, .low = -INFINITY, .high = INFINITY, .what = "a number"};
const record_type record_positive = {
    .kind = RECORD_NUMBER, .low = 0, .high = INFINITY, .what = "a number that is not negative"};
const record_type record_share = {
    .kind = RECORD_NUMBER, .low = 0, .high = 1, .what = "a share from 0 to 1"};
const record_type record_count = {
    .kind = RECORD_WHOLE, .low = 0, .high = MOST_WHOLE, .what = "a count"};
const record_type record_some = {
    .kind = RECORD_WHOLE, .low = 1, .high = MOST_WHOLE, .what = "a count of at least 1"};
const record_type record_seconds = {
    .kind = RECORD_NUMBER, .low = 1e-300, .high = 1e300, .what = "a time above 0"};
const record_type record_moment = {
    .kind = RECORD_WHOLE, .low = 0, .high = LAST_TIME, .what = "a time"};
const record_type record_counts = RECORD_LIST_OF(int64_t, record_count);
const record_type record_numbers = RECORD_LIST_OF(double, record_number);
