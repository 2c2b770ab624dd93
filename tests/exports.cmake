add_test(NAME exports COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/test_exports.sh
  $<TARGET_FILE:mptune_shared> $<TARGET_FILE:mptune> ${MPTUNE_PUBLIC_HEADERS}
  ${CMAKE_BINARY_DIR}/include/mptune/version.h)
set_tests_properties(exports PROPERTIES LABELS short TIMEOUT 60)
