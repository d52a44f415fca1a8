# find_package(kyrodb) gives three targets, each with C++20 and threads:
#
#   kyrodb::kyrodb       the shared library
#   kyrodb::static       the static one
#   kyrodb::header_only  no library: the engine is compiled with the program (KYRO_HEADER_ONLY)
include(CMakeFindDependencyMacro)
find_dependency(Threads)

if(NOT TARGET kyrodb::kyrodb)
  get_filename_component(kyrodb_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
  add_library(kyrodb::kyrodb SHARED IMPORTED)
  set_target_properties(kyrodb::kyrodb PROPERTIES
    IMPORTED_LOCATION "${kyrodb_prefix}/lib/libkyrodb.so.0"
    IMPORTED_SONAME libkyrodb.so.0)
  add_library(kyrodb::static STATIC IMPORTED)
  set_target_properties(kyrodb::static PROPERTIES
    IMPORTED_LOCATION "${kyrodb_prefix}/lib/libkyrodb.a"
    IMPORTED_LINK_INTERFACE_LANGUAGES CXX)
  add_library(kyrodb::header_only INTERFACE IMPORTED)
  set_target_properties(kyrodb::header_only PROPERTIES
    INTERFACE_COMPILE_DEFINITIONS KYRO_HEADER_ONLY)
  foreach(kyrodb_target kyrodb static header_only)
    set_target_properties(kyrodb::${kyrodb_target} PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${kyrodb_prefix}/include"
      INTERFACE_COMPILE_FEATURES cxx_std_20
      INTERFACE_LINK_LIBRARIES Threads::Threads)
  endforeach()
  unset(kyrodb_prefix)
endif()
