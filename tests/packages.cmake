add_test(NAME packages COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/packages.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(packages PROPERTIES LABELS short TIMEOUT 60)
