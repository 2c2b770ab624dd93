# The medium tier's own: searches that take a minute or more, whose answers are known.
add_test(NAME test_medium_planted COMMAND test_planted 10 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_medium_planted PROPERTIES LABELS medium TIMEOUT 600)
add_test(NAME test_medium_known_answers
         COMMAND sh -c "directory=$(mktemp -d) && trap 'rm -rf \"$directory\"' EXIT && \"$0\" \"$directory\""
                 $<TARGET_FILE:bench_known_answers> WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(test_medium_known_answers PROPERTIES LABELS medium TIMEOUT 1200)
