# The planted network under ten seeds; two are in the short tier.
add_test(NAME test_long_planted COMMAND test_planted 10 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_planted PROPERTIES LABELS long TIMEOUT 240)
