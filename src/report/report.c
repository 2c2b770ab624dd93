/* A report of any kind, as text or beside the store. */
#include "report/report.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "report/report_data.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mpt_status json_text(const report_data *data, char **text, mpt_error *error) {
  return mpt_json_dump(report_json(data), JSON_INDENT(1), "the report", text, error);
}

mpt_status report_text(const char *run, report_kind kind, char **text, mpt_error *error) {
  report_data data;
  MPT_RETURN_IF_FAILED(report_data_load(run, &data, error));
  mpt_text page = {0};
  mpt_status status = MPT_OK;
  if (kind == REPORT_JSON) {
    status = json_text(&data, text, error);
  } else {
    if (kind == REPORT_HTML)
      report_html(&data, &page);
    else
      report_markdown(&data, &page);
    if (page.failed) {
      mpt_text_free(&page);
      status = mpt_fail_memory(error, "the report", 0);
    } else {
      *text = page.data;
    }
  }
  report_data_clear(&data);
  return status;
}

mpt_status report_write(const char *run, report_kind kind, mpt_error *error) {
  static const char *const endings[] = {"html", "md", "json"};
  char *text = NULL;
  MPT_RETURN_IF_FAILED(report_text(run, kind, &text, error));
  assert(text != NULL);
  const size_t size = strlen(run) + 32;
  char *path = malloc(size);
  mpt_status status;
  if (path == NULL) {
    status = mpt_fail_memory(error, run, size);
  } else {
    snprintf(path, size, "%s/report.%s", run, endings[kind]);
    status = mpt_file_write(path, text, strlen(text), error);
  }
  free(path);
  free(text);
  return status;
}
