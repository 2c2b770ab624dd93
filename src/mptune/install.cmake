# libmptune as programs link it: shared, with mptune/*.h's functions and no others, and static; a
# CMake package (mptune::mptune, mptune::mptune_static) and a pkg-config file, both relocatable.
include(CMakePackageConfigHelpers)

add_library(mptune_shared SHARED $<TARGET_OBJECTS:mptune_objects>
            $<$<BOOL:${MPTUNE_CUDA}>:$<TARGET_OBJECTS:mptune_cuda>>)
target_link_libraries(mptune_shared PRIVATE ${MPTUNE_LIBRARY_LIBS})
target_include_directories(mptune_shared INTERFACE $<INSTALL_INTERFACE:include>)
target_link_options(mptune_shared PRIVATE
  LINKER:--version-script=${CMAKE_SOURCE_DIR}/src/mptune/exports.map)
set_target_properties(mptune_shared PROPERTIES LINK_DEPENDS
  ${CMAKE_SOURCE_DIR}/src/mptune/exports.map)
if(NOT MPTUNE_SANITIZE)
  target_link_options(mptune_shared PRIVATE LINKER:--no-undefined)
endif()
set_target_properties(mptune_shared PROPERTIES OUTPUT_NAME mptune EXPORT_NAME mptune
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# What an installed libmptune.a needs, by name: the paths of this machine are not another's.
set_target_properties(mptune PROPERTIES EXPORT_NAME mptune_static)
set_property(TARGET mptune PROPERTY INTERFACE_LINK_LIBRARIES
  "$<BUILD_INTERFACE:${MPTUNE_LIBRARY_LIBS}>"
  "$<INSTALL_INTERFACE:yaml>" "$<INSTALL_INTERFACE:openblas>"
  "$<INSTALL_INTERFACE:pthread>" "$<INSTALL_INTERFACE:m>"
  "$<INSTALL_INTERFACE:$<$<BOOL:${MPTUNE_CUDA}>:cudart_static>>"
  "$<INSTALL_INTERFACE:$<$<BOOL:${MPTUNE_CUDA}>:dl>>" "$<INSTALL_INTERFACE:$<$<BOOL:${MPTUNE_CUDA}>:rt>>")
if(MPTUNE_CUDA)
  set(MPTUNE_PC_CUDA "-lcudart_static -ldl -lrt")
endif()

install(TARGETS mptune mptune_shared EXPORT mptune-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
file(GLOB MPTUNE_PUBLIC_HEADERS CONFIGURE_DEPENDS src/mptune/*.h)
install(FILES ${MPTUNE_PUBLIC_HEADERS} ${CMAKE_BINARY_DIR}/include/mptune/version.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mptune)

set(MPTUNE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/mptune)
install(EXPORT mptune-targets NAMESPACE mptune:: DESTINATION ${MPTUNE_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mptune-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES src/mptune/mptune-config.cmake ${CMAKE_BINARY_DIR}/mptune-config-version.cmake
  DESTINATION ${MPTUNE_CMAKE_DIR})

file(RELATIVE_PATH MPTUNE_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(src/mptune/mptune.pc.in mptune.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/mptune.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The command is made after this file is read; on its way to another machine it says what it needs.
function(mptune_portable_command)
  if(NOT TARGET mptune-command)
    return()
  endif()
  target_link_options(mptune-command PRIVATE -static-libgcc)
  add_custom_command(TARGET mptune-command POST_BUILD VERBATIM
    COMMAND ${CMAKE_COMMAND} -D FILE=$<TARGET_FILE:mptune-command>
            -P ${CMAKE_SOURCE_DIR}/src/mptune/glibc.cmake)
endfunction()
if(MPTUNE_PORTABLE)
  cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL mptune_portable_command)
endif()
