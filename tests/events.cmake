# Ten million events of one program, in constant memory.
add_test(NAME test_long_event_reader COMMAND test_event_reader 10000000
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_event_reader PROPERTIES LABELS long TIMEOUT 240)
# A program that writes ten million of them, and a line of 100 MB.
add_test(NAME test_long_command COMMAND ${CMAKE_COMMAND} -E env FLOOD=10000000 LONG=100000000
         $<TARGET_FILE:test_command> WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_long_command PROPERTIES LABELS long TIMEOUT 240)
