// Which way something is walked.
#pragma once

#include <cstdint>

namespace kyro {

enum class Direction : uint8_t { kUp, kDown };

}  // namespace kyro
