# What `./run-tests tsan` builds and runs: what threads share, and operations that a team shares.
add_custom_target(thread_tests)
foreach(name guest threads queue session linear trainer contract_elementwise contract_gemm contract_images
        contract_statistics contract_training)
  set_property(TEST test_${name} APPEND PROPERTY LABELS threads)
  add_dependencies(thread_tests test_${name})
endforeach()
