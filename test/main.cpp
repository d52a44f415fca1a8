// The one translation unit with Catch2's main; tests are compiled without it.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
