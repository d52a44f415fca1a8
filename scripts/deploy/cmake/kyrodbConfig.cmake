# find_package(kyrodb) gives the target kyrodb::kyrodb: headers only, C++20 or later, threads.
include(CMakeFindDependencyMacro)
find_dependency(Threads)

if(NOT TARGET kyrodb::kyrodb)
  get_filename_component(kyrodb_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
  add_library(kyrodb::kyrodb INTERFACE IMPORTED)
  set_target_properties(kyrodb::kyrodb PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${kyrodb_prefix}/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_LINK_LIBRARIES Threads::Threads)
  unset(kyrodb_prefix)
endif()
