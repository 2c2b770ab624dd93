/* idx files: the input as images with good labels, and as labels of good images. */
#include "fuzz_data.h"

static const char images[] = "\0\0\10\3\0\0\0\4\0\0\0\2\0\0\0\2abcdefghijklmnop";
static const char labels[] = "\0\0\10\1\0\0\0\4\0\1\2\0";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  data_spec spec = data_spec_default(DATA_IDX);
  spec.classes = 3;
  spec.held_out = 1;
  strcpy(spec.files[0], fuzz_file("images", data, size));
  strcpy(spec.files[1], fuzz_file("labels", labels, sizeof labels - 1));
  fuzz_data(&spec);
  strcpy(spec.files[0], fuzz_file("images", images, sizeof images - 1));
  strcpy(spec.files[1], fuzz_file("labels", data, size));
  fuzz_data(&spec);
  return 0;
}
