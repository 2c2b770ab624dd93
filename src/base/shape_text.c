#include "base/shape_text.h"
#include "base/text.h"

mpt_shape_text mpt_shape_print(const char *first, int rank, const int64_t *shape) {
  mpt_shape_text shown = {""};
  mpt_text text = mpt_text_over(shown.text, sizeof shown.text);
  mpt_text_add(&text, "[");
  for (int i = 0; i < rank; i++) {
    mpt_text_add(&text, i > 0 ? ", " : "");
    if (i == 0 && first != NULL)
      mpt_text_add(&text, first);
    else
      mpt_text_addf(&text, "%lld", (long long)shape[i]);
  }
  mpt_text_add(&text, "]");
  return shown;
}
