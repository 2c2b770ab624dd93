/* libmptune: number formats, precision policies, and training steps that follow them. */
#ifndef MPTUNE_MPTUNE_H
#define MPTUNE_MPTUNE_H

#include "mptune/device.h"
#include "mptune/format.h"
#include "mptune/ops.h"
#include "mptune/policy.h"
#include "mptune/session.h"
#include "mptune/statistics.h"
#include "mptune/status.h"
#include "mptune/tensor.h"
#include "mptune/version.h"

#endif
