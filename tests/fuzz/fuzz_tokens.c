/* Token files with and without a header of their own, and text as bytes. */
#include "fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const data_kind kinds[] = {DATA_TOKENS, DATA_BYTES};
  static const char *const names[] = {"tokens.bin", "tokens.npy"};
  for (int kind = 0; kind < 2; kind++)
    for (int name = 0; name < 2; name++) {
      data_spec spec = data_spec_default(kinds[kind]);
      strcpy(spec.files[0], fuzz_file(names[name], data, size));
      spec.sequence = 4;
      spec.held_out = 1;
      spec.vocabulary = kind > 0 ? 0 : name == 0 ? 50257 : 128256; /* in 16 bits, and past them */
      spec.dtype = name == 0 ? ID_NOT_GIVEN : (id_type)(size % (ID_INT64 + 1));
      fuzz_data(&spec);
    }
  return 0;
}
