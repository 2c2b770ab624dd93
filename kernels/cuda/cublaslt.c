#include "kernels/cuda/cublaslt.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING_OF(x)  #x
#define STRING(x)     STRING_OF(x)
#define LIBRARY_NAME  "libcublasLt.so." STRING(CUBLAS_VER_MAJOR)
#define USUAL_LIBRARY "/usr/local/cuda/lib64/" LIBRARY_NAME

static void *open_library(void) {
  void *library = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);
  const char *home = getenv("CUDA_HOME");
  if (library == NULL && home != NULL) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/lib64/%s", home, LIBRARY_NAME) < (int)sizeof path)
      library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  return library != NULL ? library : dlopen(USUAL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

mpt_status mpt_cublaslt_load(cublaslt *lt, mpt_error *error) {
  lt->library = open_library();
  if (lt->library == NULL)
    return mpt_fail(
        error, MPT_ERROR_UNSUPPORTED,
        "the cuda backend needs " LIBRARY_NAME
        " of the CUDA toolkit, which is not in the library path, in CUDA_HOME or "
        "in /usr/local/cuda; set LD_LIBRARY_PATH to its folder, or use the cpu backend");
#define CUBLASLT_FIND(name)                                                                        \
  lt->name = (__typeof__(lt->name))dlsym(lt->library, "cublasLt" #name);                           \
  if (lt->name == NULL)                                                                            \
    return mpt_fail(error, MPT_ERROR_UNSUPPORTED,                                                  \
                    LIBRARY_NAME " has no cublasLt" #name                                          \
                                 ": it is not of CUDA " STRING(CUBLAS_VER_MAJOR));
  CUBLASLT_FUNCTIONS(CUBLASLT_FIND)
  return MPT_OK;
}

void mpt_cublaslt_unload(cublaslt *lt) {
  if (lt->library != NULL)
    dlclose(lt->library);
  lt->library = NULL;
}

mpt_status mpt_cublaslt_check(const cublaslt *lt, cublasStatus_t result, const char *what,
                              mpt_error *error) {
  if (result == CUBLAS_STATUS_SUCCESS)
    return MPT_OK;
  return mpt_fail(error, MPT_ERROR_DEVICE, "%s: cuBLASLt says %s", what,
                  lt->GetStatusString(result));
}
