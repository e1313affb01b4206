# find_package(peernet): peernet::peernet is the shared library, peernet::static the static one.
#
# It lies in PREFIX/share/cmake/peernet, and finds the rest from there, so that the prefix may be moved.

get_filename_component(_peernet_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

foreach(_peernet_libdir "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib lib64)
  set(_peernet_library "${_peernet_prefix}/${_peernet_libdir}/libpeernet")

  set(_peernet_file "${_peernet_library}${CMAKE_SHARED_LIBRARY_SUFFIX}")
  if(NOT TARGET peernet::peernet AND EXISTS "${_peernet_file}")
    add_library(peernet::peernet SHARED IMPORTED)
    set_target_properties(peernet::peernet PROPERTIES
      IMPORTED_LOCATION "${_peernet_file}"
      INTERFACE_INCLUDE_DIRECTORIES "${_peernet_prefix}/include")
  endif()

  set(_peernet_file "${_peernet_library}${CMAKE_STATIC_LIBRARY_SUFFIX}")
  if(NOT TARGET peernet::static AND EXISTS "${_peernet_file}")
    include(CMakeFindDependencyMacro)
    find_dependency(Threads)
    add_library(peernet::static STATIC IMPORTED)
    set_target_properties(peernet::static PROPERTIES
      IMPORTED_LOCATION "${_peernet_file}"
      INTERFACE_INCLUDE_DIRECTORIES "${_peernet_prefix}/include"
      INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
  endif()
endforeach()

if(NOT TARGET peernet::peernet AND NOT TARGET peernet::static)
  set(peernet_FOUND FALSE)
  set(peernet_NOT_FOUND_MESSAGE "There is no libpeernet in ${_peernet_prefix}/lib.")
endif()

unset(_peernet_prefix)
unset(_peernet_libdir)
unset(_peernet_library)
unset(_peernet_file)
