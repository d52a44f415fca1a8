// What this binary is. The build passes KYRO_VERSION and KYRO_COMMIT to the product's translation
// units; elsewhere they read "dev".
#pragma once

#include <string>
#include <string_view>

#ifndef KYRO_VERSION
#define KYRO_VERSION "dev"
#endif
#ifndef KYRO_COMMIT
#define KYRO_COMMIT "unknown"
#endif

namespace kyro {

inline constexpr std::string_view kProductVersion = KYRO_VERSION;
inline constexpr std::string_view kProductCommit = KYRO_COMMIT;
inline constexpr std::string_view kProductDate = "2026-11-28";  // of the version's manual
#if defined(__clang__)
inline constexpr std::string_view kProductCompiler = "clang " __clang_version__;
#else
inline constexpr std::string_view kProductCompiler = "gcc " __VERSION__;
#endif
#if defined(KYRO_NO_METRICS)
inline constexpr std::string_view kFeatures = "\"no_metrics\"";
#else
inline constexpr std::string_view kFeatures = "\"metrics\"";
#endif

[[nodiscard]] inline std::string build_info_json() {
  std::string out = "{\"version\":\"";
  out.append(kProductVersion).append("\",\"commit\":\"").append(kProductCommit);
  out.append("\",\"compiler\":\"").append(kProductCompiler).append("\",\"features\":[");
  return out.append(kFeatures).append("]}");
}

}  // namespace kyro
