/* The targets, each in a file of its own. Private to src/export/. */
#ifndef EXPORT_TARGETS_H
#define EXPORT_TARGETS_H

#include "export/export.h"

extern const export_target export_torchao, export_megatron, export_transformer_engine, export_qwix,
    export_keras;

#endif
