# Ten million events of one program, in constant memory.
add_test(NAME test_long_event_reader COMMAND test_event_reader 10000000
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_event_reader PROPERTIES LABELS long TIMEOUT 240)
