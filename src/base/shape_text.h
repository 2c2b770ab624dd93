/* A tensor's shape in messages. */
#ifndef MPT_BASE_SHAPE_TEXT_H
#define MPT_BASE_SHAPE_TEXT_H

#include <stdint.h>

typedef struct mpt_shape_text {
  char text[96]; /* four numbers of 20 characters fit */
} mpt_shape_text;

/* "[64, 3, 28, 28]", or "[batch, 3, 28, 28]" where the first dimension has a name; what does not
 * fit is left out. */
mpt_shape_text mpt_shape_print(const char *first, int rank, const int64_t *shape);

#endif
