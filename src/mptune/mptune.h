/* libmptune: number formats, precision policies, and training steps that follow them.
 *
 * A program that was compiled against these headers runs with every later library of the same
 * soname. Structs that begin with struct_size grow at their end: a smaller one, of an older header,
 * is taken, and what it lacks has its default; a larger one, of a newer header, is refused
 * (MPT_ERROR_VERSION). Structs without it stay as they are, and enumerators keep their numbers. The
 * operations of mptune/ops.h are not promised so. */
#ifndef MPTUNE_MPTUNE_H
#define MPTUNE_MPTUNE_H

#include "mptune/device.h"
#include "mptune/events.h"
#include "mptune/format.h"
#include "mptune/policy.h"
#include "mptune/session.h"
#include "mptune/statistics.h"
#include "mptune/status.h"
#include "mptune/step_state.h"
#include "mptune/tensor.h"
#include "mptune/version.h"

#endif
