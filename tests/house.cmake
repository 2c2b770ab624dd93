# Arrows point down: which folder includes from which.
add_test(NAME house COMMAND ${CMAKE_CURRENT_LIST_DIR}/house.sh ${CMAKE_SOURCE_DIR})
add_test(NAME house_self_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/house.sh --self-test)
set_tests_properties(house house_self_test PROPERTIES LABELS short TIMEOUT 60)
