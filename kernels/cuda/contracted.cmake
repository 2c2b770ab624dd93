# Kernels, by file, whose products and sums the compiler may contract: no other kernel must equal them
# bit for bit, and without it their machine code, whose times were measured, would be another.
set(MPTUNE_CONTRACTED
  attention attention_backward attention_forward attention_plain # scores, and sums over keys
  binary_cross_entropy mean_squared_error nll softmax # sums over rows
  compare gradient_check # sums of squares
  gemm_kernels) # what is around products, and checks of them
foreach(name IN LISTS MPTUNE_CONTRACTED)
  if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${name}.cu)
    message(FATAL_ERROR "${CMAKE_CURRENT_LIST_FILE} names ${name}, and there is no ${name}.cu")
  endif()
endforeach()
