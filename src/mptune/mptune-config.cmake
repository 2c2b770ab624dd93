include("${CMAKE_CURRENT_LIST_DIR}/mptune-targets.cmake")
