# Benchmarks of the CUDA backend time with the runtime's events.
if(MPTUNE_CUDA)
  target_compile_definitions(bench_statistics PRIVATE MPTUNE_CUDA)
  target_include_directories(bench_statistics SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(bench_statistics PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS} rt)
endif()
set_target_properties(bench_statistics PROPERTIES LINKER_LANGUAGE C)

# The file of chosen algorithms is tested without a GPU, but needs cuBLASLt's header.
if(MPTUNE_CUDA)
  target_compile_definitions(test_gemm_choice PRIVATE MPTUNE_CUDA)
  target_include_directories(test_gemm_choice SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
endif()
