# Benchmarks of the CUDA backend time with the runtime's events.
if(MPTUNE_CUDA)
  target_compile_definitions(bench_statistics PRIVATE MPTUNE_CUDA)
  target_include_directories(bench_statistics SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(bench_statistics PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS} rt)
endif()
set_target_properties(bench_statistics PROPERTIES LINKER_LANGUAGE C)

# Tests of what is inside the matrix product need cuBLASLt's header; the first needs no GPU.
if(MPTUNE_CUDA)
  foreach(name test_gemm_choice test_gemm_kernels)
    target_compile_definitions(${name} PRIVATE MPTUNE_CUDA)
    target_include_directories(${name} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endforeach()
endif()

# What pytorch_gemm.py loads.
if(MPTUNE_CUDA)
  add_library(gemm_module MODULE bench/gemm_module.c)
  target_link_libraries(gemm_module PRIVATE mptune)
endif()

# The binaries for machines without the libraries: the other tests build for one architecture, this
# for all of them. 43 MB with static libraries; it was 217 (docs/benchmarks/binary-size.md).
add_test(NAME test_long_portable
         COMMAND sh -c "cmake --preset portable && cmake --build --preset portable && test $(stat -c %s build/portable/mptune) -le 50000000"
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_portable PROPERTIES LABELS long TIMEOUT 3600)
