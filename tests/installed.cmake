# The installed command works alone, wherever its prefix is moved.
if(TARGET mptune-command)
  add_test(NAME installed COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/installed.sh ${CMAKE_BINARY_DIR}
                                  ${CMAKE_SOURCE_DIR} ${CMAKE_INSTALL_FULL_DATADIR})
  set_tests_properties(installed PROPERTIES LABELS short TIMEOUT 120)
endif()
