# Benchmarks of the CUDA backend time with the runtime's events.
if(MPTUNE_CUDA)
  target_compile_definitions(bench_statistics PRIVATE MPTUNE_CUDA)
  target_include_directories(bench_statistics SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(bench_statistics PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS} rt)
endif()
set_target_properties(bench_statistics PROPERTIES LINKER_LANGUAGE C)

# Tests that call CUDA themselves, or look inside the matrix product; test_gemm_choice needs no GPU.
if(MPTUNE_CUDA)
  foreach(name test_gemm_choice test_gemm_kernels test_cuda_guest)
    target_compile_definitions(${name} PRIVATE MPTUNE_CUDA)
    target_include_directories(${name} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endforeach()
endif()

# A host of CUDA's own, which trains through libmptune in its graph.
if(MPTUNE_CUDA)
  add_executable(cuda_host ${CMAKE_SOURCE_DIR}/docs/examples/cuda_host.cu)
  target_compile_options(cuda_host PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${MPTUNE_CUDA_FLAGS}>)
  target_link_libraries(cuda_host PRIVATE mptune)
  add_test(NAME example_cuda_host COMMAND cuda_host)
  set_tests_properties(example_cuda_host PROPERTIES LABELS short TIMEOUT 240)
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
