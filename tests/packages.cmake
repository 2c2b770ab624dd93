# The scripts at the top: packages and data, and for what they build.
foreach(name packages build_choice)
  add_test(NAME ${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/${name}.sh ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS short TIMEOUT 60)
endforeach()
