#include "base/number.h"
#include "cli/commands.h"
#include "cli/decimal.h"
#include <math.h>
#include <string.h>

/* VALUE as it was written, and as tensors hold it: other formats are cast from fp32. */
typedef struct shown_value {
  const char *text; /* NULL: none was given */
  float number;
} shown_value;

static mpt_status error_of(const shown_value *value, float rounded, double *relative,
                           mpt_error *error) {
  *relative = NAN; /* of infinities and NaN there is none */
  if (strpbrk(value->text, "in") != NULL)
    return MPT_OK;
  return cli_relative_error(value->text, rounded, relative, error);
}

static mpt_status print_json(const shown_value *value, mpt_error *error) {
  json_t *rows = json_array();
  for (int i = 0; i < MPT_FORMAT_COUNT; i++) {
    const mpt_format_info *f = mpt_format_get((mpt_format)i);
    json_t *row =
        mpt_json_pack("{s:s,s:i,s:i,s:f,s:f,s:f,s:b}", "format", f->name, "exponent_bits",
                      f->exponent_bits, "mantissa_bits", f->mantissa_bits, "max_finite",
                      (double)f->max_finite, "min_normal", (double)f->min_normal, "min_subnormal",
                      (double)f->min_subnormal, "infinity", f->has_infinity);
    if (value->text != NULL) {
      const float rounded = mpt_format_round((mpt_format)i, value->number, true);
      double relative;
      const mpt_status status = error_of(value, rounded, &relative, error);
      if (status != MPT_OK) {
        json_decref(row);
        json_decref(rows);
        return status;
      }
      mpt_json_set(&row, "value", mpt_json_real((double)rounded));
      mpt_json_set(&row, "error", mpt_json_real(relative));
    }
    mpt_json_append(&rows, row);
  }
  cli_print_json("mptune/formats@1", mpt_json_pack("{s:o}", "formats", rows));
  return MPT_OK;
}

static mpt_status print_table(const shown_value *value, mpt_error *error) {
  cli_table table = {.columns = value->text == NULL ? 6 : 9};
  mpt_status status = MPT_OK;
  cli_table_row(&table, (const char *[]){"format", "bits e/m", "max finite", "min normal",
                                         "min subnormal", "infinity", "value", "bits", "error"});
  for (int i = 0; i < MPT_FORMAT_COUNT && status == MPT_OK; i++) {
    const mpt_format_info *f = mpt_format_get((mpt_format)i);
    char bits[24], max[24], normal[24], subnormal[24], rounded[32] = "", encoded[24] = "",
                                                       percent[24] = "";
    snprintf(bits, sizeof bits, "%d/%d", f->exponent_bits, f->mantissa_bits);
    snprintf(max, sizeof max, "%.5g", (double)f->max_finite);
    snprintf(normal, sizeof normal, "%.5g", (double)f->min_normal);
    snprintf(subnormal, sizeof subnormal, "%.5g", (double)f->min_subnormal);
    if (value->text != NULL) {
      const float r = mpt_format_round((mpt_format)i, value->number, true);
      double relative;
      status = error_of(value, r, &relative, error);
      snprintf(rounded, sizeof rounded, "%.9g", (double)r);
      snprintf(encoded, sizeof encoded, "0x%0*X", f->bits / 4,
               mpt_format_encode((mpt_format)i, value->number, true));
      if (isnan(relative))
        snprintf(percent, sizeof percent, "-");
      else
        snprintf(percent, sizeof percent, relative >= 0.1 && relative < 1e4 ? "%.0f%%" : "%.2g%%",
                 100 * relative);
    }
    cli_table_row(&table,
                  (const char *[]){f->name, bits, max, normal, subnormal,
                                   f->has_infinity ? "yes" : "no", rounded, encoded, percent});
  }
  if (status == MPT_OK)
    cli_table_print(&table);
  return status;
}

/* Infinities and NaN besides numbers: formats differ in what they make of them. */
static bool read_value(const char *text, float *value) {
  if (mpt_float_read(text, strlen(text), value))
    return true;
  if (strcmp(text, "nan") == 0)
    *value = NAN;
  else if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0)
    *value = *text == '-' ? -INFINITY : INFINITY;
  else
    return false;
  return true;
}

static int run(const cli_values *values) {
  shown_value value = {0};
  mpt_error error = {0};
  if (values->argument_count == 1) {
    value.text = values->arguments[0];
    if (!read_value(value.text, &value.number))
      return cli_mistake("'%s' is not a decimal number, inf or nan", value.text);
  }
  const mpt_status status = values->json ? print_json(&value, &error) : print_table(&value, &error);
  return status == MPT_OK ? EXIT_DONE : cli_failed(&error);
}

const cli_command command_formats = {
    .name = "formats",
    .arguments = "[VALUE]",
    .argument_low = 0,
    .argument_high = 1,
    .summary = "the formats, their ranges, and VALUE in each",
    .examples = "  mptune formats\n  mptune formats 0.1\n  mptune formats -- -3e5\n",
    .text =
        "VALUE is a decimal number, inf or nan. fp8 saturates: values beyond the largest "
        "finite one, infinities too, become it.\n"
        "Every format rounds what fp32 holds of VALUE, as in training. The error is that against\n"
        "VALUE as it is written, relative, from their exact difference.\n",
    .run = run,
};
