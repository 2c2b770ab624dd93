# Programs that are run: a thousand in a row leave no process, descriptor or file behind.
add_test(NAME test_long_process COMMAND test_process 1000 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_process PROPERTIES LABELS long TIMEOUT 240)
