/* Tables: the file with a header and without, its last column as classes and as targets, by name
 * and by index. */
#include "fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file("table.csv", data, size);
  for (int header = 0; header < 2; header++)
    for (int classes = 0; classes < 2; classes++) {
      data_spec spec = data_spec_default(DATA_CSV);
      strcpy(spec.files[0], path);
      spec.header = header;
      spec.standardize = header != classes;
      spec.classes = classes ? 3 : 0;
      spec.held_out = 1;
      char *label = header ? "label" : "0", *columns = "1-2";
      spec.label = (mpt_word_list){.count = classes, .words = &label, .one_text = true};
      spec.columns =
          (mpt_word_list){.count = classes && !header, .words = &columns, .one_text = true};
      fuzz_data(&spec);
    }
  return 0;
}
