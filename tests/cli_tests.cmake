# The command line, as files: script, expected exit code, expected output. And kill -9: four times in
# the short tier, fifty times in one search in the long one.
if(TARGET mptune-command)
  add_executable(cli_tool ${CMAKE_CURRENT_LIST_DIR}/cli/tool.c)
  target_link_libraries(cli_tool PRIVATE mptune_command)
  set(programs $<TARGET_FILE:mptune-command> $<TARGET_FILE:cli_tool>)
  add_test(NAME command_line COMMAND ${CMAKE_CURRENT_LIST_DIR}/cli/run.sh ${programs})
  add_test(NAME kill COMMAND ${CMAKE_CURRENT_LIST_DIR}/kill.sh ${programs} 4)
  set_tests_properties(command_line kill PROPERTIES LABELS short TIMEOUT 240)
  add_test(NAME test_long_kill COMMAND ${CMAKE_CURRENT_LIST_DIR}/kill.sh ${programs} 50
           ${CMAKE_SOURCE_DIR}/profiles/workloads/text-gpt.yaml 1 --steps 30)
  set_tests_properties(test_long_kill PROPERTIES LABELS long TIMEOUT 600)
endif()
