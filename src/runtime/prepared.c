/* What mpt_session_prepare has prepared. */
#include "base/error.h"
#include "runtime/plan.h"

mpt_status mpt_session_check_prepared(const mpt_session *session, int layer, int64_t rows,
                                      mpt_error *error) {
  const session_layer *l = &session->layers[layer];
  if (!session->prepared)
    return MPT_OK;
  if (session->mode == MPT_RUN_PLAIN && !session->prepared_plain)
    return mpt_fail(error, MPT_ERROR_UNPREPARED,
                    "layer '%s': products of MPT_RUN_PLAIN were not prepared: set `plain` in the "
                    "options of mpt_session_prepare",
                    l->given.info.name);
  bool known = rows == l->rows;
  for (int i = 0; i < session->prepared_count && !known; i++)
    known = session->prepared_rows[i] == rows;
  if (known)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_UNPREPARED,
                  "layer '%s': products of %lld rows were not prepared, those of %lld were: name "
                  "others in the options of mpt_session_prepare",
                  l->given.info.name, (long long)rows, (long long)l->rows);
}
