find_program(MPTUNE_CXX NAMES c++ g++ clang++)
add_test(NAME headers COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/test_headers.sh ${CMAKE_C_COMPILER}
  "$<$<BOOL:${MPTUNE_CXX}>:${MPTUNE_CXX}>" ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/include --
  ${MPTUNE_PUBLIC_HEADERS} ${CMAKE_BINARY_DIR}/include/mptune/version.h)
set_tests_properties(headers PROPERTIES LABELS short TIMEOUT 60)
