#include "base/number.h"
#include "cli/commands.h"
#include <math.h>
#include <string.h>

static json_t *json_row(const mpt_format_info *f, const double *value) {
  json_t *row =
      mpt_json_pack("{s:s,s:i,s:i,s:f,s:f,s:f,s:b}", "format", f->name, "exponent_bits",
                    f->exponent_bits, "mantissa_bits", f->mantissa_bits, "max_finite",
                    (double)f->max_finite, "min_normal", (double)f->min_normal, "min_subnormal",
                    (double)f->min_subnormal, "infinity", f->has_infinity);
  if (value != NULL)
    mpt_json_set(&row, "value", mpt_json_real(*value));
  return row;
}

static void print_json(const float *value) {
  json_t *rows = json_array();
  for (int i = 0; i < MPT_FORMAT_COUNT; i++) {
    double rounded = 0;
    if (value != NULL)
      rounded = (double)mpt_format_round((mpt_format)i, *value, true);
    mpt_json_append(&rows,
                    json_row(mpt_format_get((mpt_format)i), value == NULL ? NULL : &rounded));
  }
  cli_print_json(mpt_json_pack("{s:o}", "formats", rows));
}

static void print_table(const float *value) {
  cli_table table = {.columns = value == NULL ? 6 : 9};
  cli_table_row(&table, (const char *[]){"format", "bits e/m", "max finite", "min normal",
                                         "min subnormal", "infinity", "value", "bits", "error"});
  for (int i = 0; i < MPT_FORMAT_COUNT; i++) {
    const mpt_format_info *f = mpt_format_get((mpt_format)i);
    char bits[24], max[24], normal[24], subnormal[24], rounded[32] = "", encoded[24] = "",
                                                       error[24] = "";
    snprintf(bits, sizeof bits, "%d/%d", f->exponent_bits, f->mantissa_bits);
    snprintf(max, sizeof max, "%.5g", (double)f->max_finite);
    snprintf(normal, sizeof normal, "%.5g", (double)f->min_normal);
    snprintf(subnormal, sizeof subnormal, "%.5g", (double)f->min_subnormal);
    if (value != NULL) {
      const float r = mpt_format_round((mpt_format)i, *value, true);
      snprintf(rounded, sizeof rounded, "%.9g", (double)r);
      snprintf(encoded, sizeof encoded, "0x%0*X", f->bits / 4,
               mpt_format_encode((mpt_format)i, *value, true));
      const double relative =
          *value != 0 ? fabs((double)r - (double)*value) / fabs((double)*value) : 0;
      if (!isnan(relative))
        snprintf(error, sizeof error, "%.2g%%", 100 * relative);
      else
        snprintf(error, sizeof error, "-"); /* of infinities and NaN */
    }
    cli_table_row(&table,
                  (const char *[]){f->name, bits, max, normal, subnormal,
                                   f->has_infinity ? "yes" : "no", rounded, encoded, error});
  }
  cli_table_print(&table);
}

/* Infinities and NaN besides numbers: formats differ in what they make of them. */
static bool read_value(const char *text, float *value) {
  double number;
  if (mpt_number_read(text, strlen(text), &number))
    *value = (float)number;
  else if (strcmp(text, "nan") == 0)
    *value = NAN;
  else if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0)
    *value = *text == '-' ? -INFINITY : INFINITY;
  else
    return false;
  return true;
}

static int run(const cli_values *values) {
  float number = 0;
  const float *value = NULL;
  if (values->argument_count == 1) {
    if (!read_value(values->arguments[0], &number))
      return cli_mistake("'%s' is not a decimal number, inf or nan", values->arguments[0]);
    value = &number;
  }
  if (values->json)
    print_json(value);
  else
    print_table(value);
  return EXIT_DONE;
}

const cli_command command_formats = {
    .name = "formats",
    .arguments = "[VALUE]",
    .argument_low = 0,
    .argument_high = 1,
    .summary = "the formats, their ranges, and VALUE in each",
    .examples = "  mptune formats\n  mptune formats 0.1\n  mptune formats -- -3e5\n",
    .text = "VALUE is a decimal number, inf or nan. fp8 saturates: values beyond the largest "
            "finite one, infinities too, become it.\n",
    .run = run,
};
