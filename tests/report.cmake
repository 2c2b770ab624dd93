# Reports in a browser: every page drawn without an error, and nothing asked of a network.
add_executable(report_pages report_pages.c)
target_include_directories(report_pages PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(report_pages PRIVATE mptune_command ${CMOCKA_LIBRARY})
add_test(NAME report_in_browser
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/report.sh $<TARGET_FILE:report_pages>
                 ${CMAKE_CURRENT_BINARY_DIR}/report_in_browser)
set_tests_properties(report_in_browser PROPERTIES LABELS short TIMEOUT 240 SKIP_RETURN_CODE 77)
