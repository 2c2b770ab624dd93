# Which kernels the compiler may contract.
add_test(NAME contracted COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/contracted.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
set_tests_properties(contracted PROPERTIES LABELS short TIMEOUT 60)
