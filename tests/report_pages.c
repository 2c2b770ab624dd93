/* report_pages DIRECTORY: a run and its page for every case of report_fixture.h. */
#include "report_fixture.h"

int main(int count, char **words) {
  if (count != 2)
    return 2;
  fixture_clear(words[1]);
  for (int c = 0; c < FIXTURE_CASES; c++) {
    char run[512];
    mpt_error error = {0};
    snprintf(run, sizeof run, "%s/%s", words[1], fixture_names[c]);
    fixture_fill(run, (fixture_case)c);
    for (int kind = REPORT_HTML; kind <= REPORT_JSON; kind++) {
      if (report_write(run, (report_kind)kind, &error) != MPT_OK) {
        fprintf(stderr, "%s: %s\n", run, error.message);
        return 1;
      }
    }
  }
  return 0;
}
