# The command line, as files: script, expected exit code, expected output.
if(TARGET mptune-command)
  add_executable(cli_tool ${CMAKE_CURRENT_LIST_DIR}/cli/tool.c)
  target_link_libraries(cli_tool PRIVATE mptune_command)
  add_test(NAME command_line COMMAND ${CMAKE_CURRENT_LIST_DIR}/cli/run.sh $<TARGET_FILE:mptune-command>
           $<TARGET_FILE:cli_tool>)
  set_tests_properties(command_line PROPERTIES LABELS short TIMEOUT 240)
endif()
