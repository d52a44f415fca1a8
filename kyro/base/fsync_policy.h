// When an acknowledged write is on the disk.
#pragma once

#include <cstdint>

namespace kyro {

// At once; within an interval; when the system likes. The numbers stand in the log (wal_format.h).
enum class FsyncPolicy : uint8_t { kAlways = 0, kInterval = 1, kNever = 2 };

}  // namespace kyro
