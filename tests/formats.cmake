# All 2^32 inputs take a while.
set_tests_properties(test_long_formats PROPERTIES TIMEOUT 14400)

# The host functions of CUDA's headers are C++; they are compared with where both are there.
include(CheckLanguage)
check_language(CXX)
find_path(CUDA_HEADERS cuda_fp8.h HINTS $ENV{CUDA_PATH} $ENV{CUDA_HOME} /usr/local/cuda
          PATH_SUFFIXES include)
if(CMAKE_CXX_COMPILER AND CUDA_HEADERS)
  enable_language(CXX)
  add_executable(cuda_formats cuda_formats.cpp)
  # Not the project's options, which are for C and not meant for somebody else's headers.
  set_target_properties(cuda_formats PROPERTIES COMPILE_OPTIONS "-O2;-ffp-contract=off;-Wall;-Werror")
  target_include_directories(cuda_formats SYSTEM PRIVATE ${CUDA_HEADERS})
  target_link_libraries(cuda_formats PRIVATE mptune)
  add_test(NAME test_cuda_formats COMMAND cuda_formats 2000000)
  set_tests_properties(test_cuda_formats PROPERTIES LABELS short TIMEOUT 240)
  add_test(NAME test_long_cuda_formats COMMAND cuda_formats 4294967296)
  set_tests_properties(test_long_cuda_formats PROPERTIES LABELS long TIMEOUT 14400)
else()
  message(STATUS "CUDA's headers not found: conversions are not compared with them")
endif()
