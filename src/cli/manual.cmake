# The man page comes from the same tables as the help.
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/mptune.1
                   COMMAND mptune-command --manual > ${CMAKE_BINARY_DIR}/mptune.1
                   DEPENDS mptune-command VERBATIM)
add_custom_target(manual ALL DEPENDS ${CMAKE_BINARY_DIR}/mptune.1)
install(TARGETS mptune-command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
install(FILES ${CMAKE_BINARY_DIR}/mptune.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
