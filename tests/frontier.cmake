# GLPK is an independent oracle for the solver. It is wanted by this test alone.
find_library(GLPK_LIBRARY glpk)
if(GLPK_LIBRARY)
  add_executable(test_frontier_oracle frontier_oracle.c)
  target_include_directories(test_frontier_oracle PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(test_frontier_oracle PRIVATE mptune_command ${CMOCKA_LIBRARY}
                        ${GLPK_LIBRARY})
  add_test(NAME test_frontier_oracle COMMAND test_frontier_oracle)
  set_tests_properties(test_frontier_oracle PROPERTIES LABELS short TIMEOUT 240)
else()
  message(STATUS "GLPK not found: the solver is not compared with it (Debian: libglpk-dev)")
endif()
