/* cuBLASLt, loaded when a queue opens: the binary starts where there is none. */
#ifndef MPT_KERNELS_CUBLASLT_H
#define MPT_KERNELS_CUBLASLT_H

#include "base/error.h"
#include <cublasLt.h>

/* ENTRY(name): the functions that are used of it, cublasLtName. */
#define CUBLASLT_FUNCTIONS(ENTRY)                                                                  \
  ENTRY(GetVersion)                                                                                \
  ENTRY(GetStatusString)                                                                           \
  ENTRY(Create)                                                                                    \
  ENTRY(Destroy)                                                                                   \
  ENTRY(MatmulDescCreate)                                                                          \
  ENTRY(MatmulDescDestroy)                                                                         \
  ENTRY(MatmulDescSetAttribute)                                                                    \
  ENTRY(MatrixLayoutCreate)                                                                        \
  ENTRY(MatrixLayoutDestroy)                                                                       \
  ENTRY(MatmulPreferenceCreate)                                                                    \
  ENTRY(MatmulPreferenceDestroy)                                                                   \
  ENTRY(MatmulPreferenceSetAttribute)                                                              \
  ENTRY(MatmulAlgoGetHeuristic)                                                                    \
  ENTRY(MatmulAlgoCheck)                                                                           \
  ENTRY(Matmul)

typedef struct cublaslt {
  void *library;
#define CUBLASLT_POINTER(name) __typeof__(cublasLt##name) *name;
  CUBLASLT_FUNCTIONS(CUBLASLT_POINTER)
#undef CUBLASLT_POINTER
} cublaslt;

/* MPT_ERROR_UNSUPPORTED says where it was looked for. */
mpt_status mpt_cublaslt_load(cublaslt *lt, mpt_error *error);
void mpt_cublaslt_unload(cublaslt *lt);

/* MPT_OK, or MPT_ERROR_DEVICE with "what: the library's words". */
mpt_status mpt_cublaslt_check(const cublaslt *lt, cublasStatus_t result, const char *what,
                              mpt_error *error);

#endif
