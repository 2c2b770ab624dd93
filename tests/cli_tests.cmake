# The command line, as files: script, expected exit code, expected output.
if(TARGET mptune-command)
  add_test(NAME command_line COMMAND ${CMAKE_CURRENT_LIST_DIR}/cli/run.sh $<TARGET_FILE:mptune-command>)
  set_tests_properties(command_line PROPERTIES LABELS short TIMEOUT 240)
endif()
