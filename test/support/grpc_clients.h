// Which libraries of gRPC that people use are installed (scripts/install-grpc-clients.sh).
//
// Thread rule: one thread.
#pragma once

#include <filesystem>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {

inline bool succeeds(const std::string& command) {
  return run_program({"/bin/sh", "-c", command + " >/dev/null 2>&1"}).exit_code == 0;
}

inline bool has_python_client() {
  return succeeds("command -v protoc && /usr/bin/python3 -c 'import grpc, google.protobuf'");
}

inline constexpr const char* kNodeModules = "build/clients/node_modules";

inline bool has_node_client() {
  return succeeds("command -v node") &&
         std::filesystem::exists(std::string(kNodeModules) + "/@grpc/grpc-js");
}
inline Args node_environment() {
  return {"NODE_PATH=" + std::filesystem::absolute(kNodeModules).string()};
}

inline const char* const kNoPythonClient =
    "skipped: gRPC for Python is not installed (scripts/install-grpc-clients.sh)";
inline const char* const kNoNodeClient =
    "skipped: grpc-js is not installed (scripts/install-grpc-clients.sh)";

}  // namespace kyro::test
