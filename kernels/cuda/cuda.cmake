# The CUDA backend of libmptune: kernels for the architectures asked for; `all` has PTX for later GPUs.
# cuBLASLt is loaded when a queue opens, so that the same binary starts where there is no CUDA.
file(GLOB MPTUNE_CUDA_SOURCES CONFIGURE_DEPENDS kernels/cuda/*.cu kernels/cuda/*.c)
add_library(mptune_cuda OBJECT ${MPTUNE_CUDA_SOURCES})
target_include_directories(mptune_cuda PRIVATE . src ${CMAKE_BINARY_DIR}/include)
target_include_directories(mptune_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_definitions(mptune_cuda PRIVATE MPTUNE_CUDA)
target_compile_definitions(mptune_objects PRIVATE MPTUNE_CUDA)

# Nothing of C++ but templates, so that C programs link without its library.
# Lines are for profilers: in release builds they would be two thirds of the binary. The driver takes
# compressed code apart when a kernel of the file is first launched.
set(MPTUNE_CUDA_FLAGS --std=c++17 --compress-mode=size $<$<CONFIG:RelWithDebInfo>:-lineinfo>
    -Xcompiler=-fno-threadsafe-statics,-fno-exceptions,-fno-rtti,-fvisibility=hidden)
if(MPTUNE_WERROR)
  list(APPEND MPTUNE_CUDA_FLAGS --Werror=all-warnings)
endif()
set(MPTUNE_ARCHITECTURES ${MPTUNE_CUDA_ARCHITECTURES})
if(MPTUNE_CUDA_ARCHITECTURES STREQUAL "all")
  set(MPTUNE_ARCHITECTURES 80 89 90a 100)
  list(APPEND MPTUNE_CUDA_FLAGS --generate-code=arch=compute_100,code=compute_100)
endif()
foreach(architecture IN LISTS MPTUNE_ARCHITECTURES)
  list(APPEND MPTUNE_CUDA_FLAGS
       --generate-code=arch=compute_${architecture},code=sm_${architecture})
endforeach()
target_compile_options(mptune_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${MPTUNE_CUDA_FLAGS}>)

# The compiler does not choose which products and sums to contract: results must be the CPU's bit for
# bit, or those of the same kernel when it collects statistics or makes copies as well. But for those
# listed.
include(kernels/cuda/contracted.cmake)
foreach(source ${MPTUNE_CUDA_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  if(source MATCHES "[.]cu$" AND NOT name IN_LIST MPTUNE_CONTRACTED)
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS --fmad=false)
  endif()
endforeach()

target_sources(mptune PRIVATE $<TARGET_OBJECTS:mptune_cuda>)
list(APPEND MPTUNE_LIBRARY_LIBS CUDA::cudart_static ${CMAKE_DL_LIBS} rt)
