# The example of an evaluator in C, which test_transcript runs.
add_executable(example_evaluator ${CMAKE_SOURCE_DIR}/docs/examples/c_evaluator.c)
target_link_libraries(example_evaluator PRIVATE mptune)
add_dependencies(test_transcript example_evaluator)

# Ten million events of one program, in constant memory.
add_test(NAME test_long_event_reader COMMAND test_event_reader 10000000
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_event_reader PROPERTIES LABELS long TIMEOUT 240)
# A program that writes ten million of them, and a line of 100 MB.
add_test(NAME test_long_command COMMAND ${CMAKE_COMMAND} -E env FLOOD=10000000 LONG=100000000
         $<TARGET_FILE:test_command> WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_command PROPERTIES LABELS long TIMEOUT 240)
