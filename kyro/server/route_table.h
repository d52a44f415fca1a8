// The routes: one table of paths, methods and kinds, which dispatch, 405, OPTIONS and metrics read.
//
// A path is matched byte for byte, percent-encoding untouched. A route that takes a key owns what
// follows its last slash.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "kyro/base/text/ascii.h"
#include "kyro/net/http/request.h"

namespace kyro {

enum class Route : uint16_t {
  kNone,  // nothing that exists
  kGetFast,
  kLookupFast,
  kKv,
  kKvWait,  // a read that waits, which the statistics keep apart
  kPut,
  kBatch,
  kMget,
  kScan,
  kCount,
  kFloor,
  kCeil,
  kLookup,
  kLookupRaw,
  kOffset,
  kReplay,
  kSubscribe,
  kSnapshot,
  kCompact,
  kRmiBuild,
  kWarmup,
  kBackup,
  kBackups,
  kHealth,
  kReady,
  kMetrics,
  kBuildInfo,
  kStatus,
  kRoot,
  // Calls of gRPC.
  kCallUnknown,  // of a service or method that does not exist
  kCallGet,
  kCallPut,
  kCallDelete,
  kCallMultiGet,
  kCallWrite,
  kCallPutStream,
  kCallScan,
  kCallWait,
  kCallCount,
  kCallDeleteRange,
  kCallNearest,
  kCallSubscribe,
  kCallOffset,
  kCallSnapshot,
  kCallCompact,
  kCallBuildIndex,
  kCallHealthCheck,
  kCallHealthWatch,
  kCallReflection,
  kCallReflectionAlpha,
  kEnd,  // none of them
};
inline constexpr size_t kRouteCount = static_cast<size_t>(Route::kEnd);

// Whether the answer is one of gRPC.
[[nodiscard]] constexpr bool is_call_route(Route route) {
  return route >= Route::kCallUnknown && route < Route::kEnd;
}

enum class Body : uint8_t {
  kIgnored,  // none is needed; a short one is read and dropped
  kJson,
  kLines,  // NDJSON
  kKeys,   // JSON or binary, by its type
  kRaw,
};

struct RouteInfo {
  Route route = Route::kNone;
  std::string_view path;   // with a final slash where a key follows
  std::string_view name;   // the metrics label
  std::string_view allow;  // the Allow field
  bool takes_key = false;
  bool is_probe = false;       // answered without a token
  bool needs_engine = true;    // 503 while recovering
  Body body = Body::kIgnored;  // of the method that has one (POST or PUT)
};

inline constexpr std::string_view kReadMethods = "GET, HEAD, OPTIONS";
inline constexpr std::string_view kPostMethods = "POST, OPTIONS";
inline constexpr std::string_view kBackupMethods = "GET, HEAD, POST, OPTIONS";
inline constexpr std::string_view kRangeMethods = "GET, HEAD, DELETE, OPTIONS";
inline constexpr std::string_view kKvMethods = "GET, HEAD, PUT, DELETE, OPTIONS";
inline constexpr std::string_view kCallMethods = "POST";

// Indexed by Route.
inline constexpr std::array<RouteInfo, kRouteCount> kRoutes = {{
    {Route::kNone, "", "none", ""},
    {Route::kGetFast, "/v1/get_fast/", "get_fast", kReadMethods, true},
    {Route::kLookupFast, "/v1/lookup_fast/", "lookup_fast", kReadMethods, true},
    {Route::kKv, "/v1/kv/", "kv", kKvMethods, true, false, true, Body::kRaw},
    {Route::kKvWait, "/v1/kv/", "kv_wait", kKvMethods, true, false, true, Body::kRaw},
    {Route::kPut, "/v1/put", "put", kPostMethods, false, false, true, Body::kJson},
    {Route::kBatch, "/v1/batch", "batch", kPostMethods, false, false, true, Body::kLines},
    {Route::kMget, "/v1/mget", "mget", kPostMethods, false, false, true, Body::kKeys},
    {Route::kScan, "/v1/scan", "scan", kRangeMethods},
    {Route::kCount, "/v1/count", "count", kReadMethods},
    {Route::kFloor, "/v1/floor/", "floor", kReadMethods, true},
    {Route::kCeil, "/v1/ceil/", "ceil", kReadMethods, true},
    {Route::kLookup, "/v1/lookup", "lookup", kReadMethods},
    {Route::kLookupRaw, "/v1/lookup_raw", "lookup_raw", kReadMethods},
    {Route::kOffset, "/v1/offset", "offset", kReadMethods},
    {Route::kReplay, "/v1/replay", "replay", kReadMethods},
    {Route::kSubscribe, "/v1/subscribe", "subscribe", kReadMethods},
    {Route::kSnapshot, "/v1/snapshot", "snapshot", kPostMethods},
    {Route::kCompact, "/v1/compact", "compact", kPostMethods},
    {Route::kRmiBuild, "/v1/rmi/build", "rmi_build", kPostMethods},
    {Route::kWarmup, "/v1/warmup", "warmup", kPostMethods},
    {Route::kBackup, "/v1/backup", "backup", kBackupMethods},
    {Route::kBackups, "/v1/backups", "backups", kRangeMethods},
    {Route::kHealth, "/health", "health", kReadMethods, false, true, false},
    {Route::kReady, "/ready", "ready", kReadMethods, false, true, false},
    {Route::kMetrics, "/metrics", "metrics", kReadMethods, false, true, false},
    {Route::kBuildInfo, "/build_info", "build_info", kReadMethods, false, false, false},
    {Route::kStatus, "/v1/status", "status", kReadMethods, false, false, false},
    {Route::kRoot, "/", "root", kReadMethods, false, true, false},
    {Route::kCallUnknown, "", "grpc_unknown", kCallMethods, false, false, false},
    {Route::kCallGet, "/kyrodb.v1.KV/Get", "grpc_get", kCallMethods},
    {Route::kCallPut, "/kyrodb.v1.KV/Put", "grpc_put", kCallMethods},
    {Route::kCallDelete, "/kyrodb.v1.KV/Delete", "grpc_delete", kCallMethods},
    {Route::kCallMultiGet, "/kyrodb.v1.KV/MultiGet", "grpc_multi_get", kCallMethods},
    {Route::kCallWrite, "/kyrodb.v1.KV/Write", "grpc_write", kCallMethods},
    {Route::kCallPutStream, "/kyrodb.v1.KV/PutStream", "grpc_put_stream", kCallMethods},
    {Route::kCallScan, "/kyrodb.v1.KV/Scan", "grpc_scan", kCallMethods},
    {Route::kCallWait, "/kyrodb.v1.KV/Wait", "grpc_wait", kCallMethods},
    {Route::kCallCount, "/kyrodb.v1.KV/Count", "grpc_count", kCallMethods},
    {Route::kCallDeleteRange, "/kyrodb.v1.KV/DeleteRange", "grpc_delete_range", kCallMethods},
    {Route::kCallNearest, "/kyrodb.v1.KV/Nearest", "grpc_nearest", kCallMethods},
    {Route::kCallSubscribe, "/kyrodb.v1.KV/Subscribe", "grpc_subscribe", kCallMethods},
    {Route::kCallOffset, "/kyrodb.v1.KV/Offset", "grpc_offset", kCallMethods},
    {Route::kCallSnapshot, "/kyrodb.v1.Admin/Snapshot", "grpc_snapshot", kCallMethods},
    {Route::kCallCompact, "/kyrodb.v1.Admin/Compact", "grpc_compact", kCallMethods},
    {Route::kCallBuildIndex, "/kyrodb.v1.Admin/BuildIndex", "grpc_build_index", kCallMethods},
    {Route::kCallHealthCheck, "/grpc.health.v1.Health/Check", "grpc_health_check", kCallMethods,
     false, true, false},
    {Route::kCallHealthWatch, "/grpc.health.v1.Health/Watch", "grpc_health_watch", kCallMethods,
     false, true, false},
    {Route::kCallReflection, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     "grpc_reflection", kCallMethods, false, true, false},
    {Route::kCallReflectionAlpha, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     "grpc_reflection_v1alpha", kCallMethods, false, true, false},
}};

// Those of HTTP, and those of gRPC without the unknown one.
inline constexpr std::span<const RouteInfo> kHttpRoutes{
    kRoutes.begin() + 1, kRoutes.begin() + static_cast<size_t>(Route::kCallUnknown)};
inline constexpr std::span<const RouteInfo> kCallRoutes{
    kRoutes.begin() + static_cast<size_t>(Route::kCallUnknown) + 1, kRoutes.end()};

[[nodiscard]] constexpr const RouteInfo& route_info(Route route) {
  return kRoutes[static_cast<size_t>(route)];
}

static_assert([] {
  for (size_t i = 0; i < kRouteCount; ++i) {
    if (static_cast<size_t>(kRoutes[i].route) != i) return false;
  }
  return true;
}());

template <Route... kRoutes>
struct Of {};

// The route of `path`; *key_text receives what follows it where it takes a key. Its first letter
// leaves at most four to compare with.
[[nodiscard]] inline const RouteInfo& match_route(std::string_view path,
                                                  std::string_view* key_text) {
  const auto is = [path, key_text]<Route kRoute>() {
    constexpr RouteInfo kInfo = route_info(kRoute);  // a length that the compiler knows: no call
    constexpr size_t kBytes = kInfo.path.size();
    if (kInfo.takes_key ? path.size() < kBytes : path.size() != kBytes) return false;
    if (std::memcmp(path.data(), kInfo.path.data(), kBytes) != 0) return false;
    if (kInfo.takes_key) *key_text = {path.data() + kBytes, path.size() - kBytes};
    return true;
  };
  const auto first_of = [&is]<Route... kOf>(Of<kOf...>)->const RouteInfo& {
    Route found = Route::kNone;
    static_cast<void>(((is.template operator()<kOf>() && (found = kOf, true)) || ...));
    return route_info(found);
  };
  if (path.size() > 1 && (path[1] == 'k' || path[1] == 'g')) {
    return first_of(
        Of<Route::kCallGet, Route::kCallPut, Route::kCallDelete, Route::kCallMultiGet,
           Route::kCallWrite, Route::kCallPutStream, Route::kCallScan, Route::kCallWait,
           Route::kCallCount, Route::kCallDeleteRange, Route::kCallNearest, Route::kCallSubscribe,
           Route::kCallOffset, Route::kCallSnapshot, Route::kCallCompact, Route::kCallBuildIndex,
           Route::kCallHealthCheck, Route::kCallHealthWatch, Route::kCallReflection,
           Route::kCallReflectionAlpha>());
  }
  if (!begins_with(path, "/v1/")) {
    return first_of(
        Of<Route::kHealth, Route::kReady, Route::kMetrics, Route::kBuildInfo, Route::kRoot>());
  }
  switch (path.size() > 4 ? path[4] : '\0') {
    case 'b':
      return first_of(Of<Route::kBatch, Route::kBackup, Route::kBackups>());
    case 'c':
      return first_of(Of<Route::kCeil, Route::kCompact, Route::kCount>());
    case 'f':
      return first_of(Of<Route::kFloor>());
    case 'g':
      return first_of(Of<Route::kGetFast>());
    case 'k':
      return first_of(Of<Route::kKv>());
    case 'l':
      return first_of(Of<Route::kLookupFast, Route::kLookup, Route::kLookupRaw>());
    case 'm':
      return first_of(Of<Route::kMget>());
    case 'o':
      return first_of(Of<Route::kOffset>());
    case 'p':
      return first_of(Of<Route::kPut>());
    case 'r':
      return first_of(Of<Route::kReplay, Route::kRmiBuild>());
    case 's':
      return first_of(Of<Route::kScan, Route::kSubscribe, Route::kSnapshot, Route::kStatus>());
    case 'w':
      return first_of(Of<Route::kWarmup>());
    default:
      return route_info(Route::kNone);
  }
}

// Looks up the one key that its path names, whatever the method.
[[nodiscard]] constexpr bool reads_one_key(Route route) {
  return route == Route::kGetFast || route == Route::kLookupFast || route == Route::kKv;
}

// Work on the whole store, on request: limited by --rate-admin, and not for the read token.
[[nodiscard]] constexpr bool is_admin_route(Route route) {
  switch (route) {
    case Route::kSnapshot:
    case Route::kCompact:
    case Route::kRmiBuild:
    case Route::kBackup:
    case Route::kBackups:
    case Route::kWarmup:
    case Route::kCallSnapshot:
    case Route::kCallCompact:
    case Route::kCallBuildIndex:
      return true;
    default:
      return false;
  }
}

[[nodiscard]] constexpr bool is_read_call(Route route) {
  switch (route) {
    case Route::kCallGet:
    case Route::kCallMultiGet:
    case Route::kCallScan:
    case Route::kCallWait:
    case Route::kCallCount:
    case Route::kCallNearest:
    case Route::kCallSubscribe:
    case Route::kCallOffset:
    case Route::kCallUnknown:  // which says so
      return true;
    default:
      return false;
  }
}

// What requests are for, where their times are compared: those of a kind cost alike.
enum class RouteClass : uint8_t { kRead, kWrite, kScan, kOther, kCount };
inline constexpr size_t kRouteClassCount = static_cast<size_t>(RouteClass::kCount);

[[nodiscard]] constexpr RouteClass class_of(Route route, bool is_kv_write) {
  if (is_kv_write) return RouteClass::kWrite;
  if (is_admin_route(route) || !route_info(route).needs_engine) return RouteClass::kOther;
  switch (route) {
    case Route::kNone:
    case Route::kOffset:
    case Route::kKvWait:  // its time is the client's wish
    case Route::kCallWait:
    case Route::kCallOffset:
    case Route::kCallPutStream:  // as long as its client likes
      return RouteClass::kOther;
    case Route::kScan:
    case Route::kCount:
    case Route::kReplay:
    case Route::kSubscribe:
    case Route::kCallScan:
    case Route::kCallCount:
    case Route::kCallDeleteRange:
    case Route::kCallSubscribe:
      return RouteClass::kScan;
    case Route::kMget:
    case Route::kCallGet:
    case Route::kCallMultiGet:
    case Route::kCallNearest:
      return RouteClass::kRead;
    default:
      return route_info(route).allow.starts_with('P') ? RouteClass::kWrite : RouteClass::kRead;
  }
}

// Whether the request changes nothing and costs no more than its answer: the read token will do.
[[nodiscard]] inline bool is_read(Route route, Method method) {
  if (is_call_route(route)) return is_read_call(route);
  if (is_admin_route(route)) return false;
  if (route == Route::kMget && method == Method::kPost) return true;
  return method == Method::kGet || method == Method::kHead || method == Method::kOptions;
}

// ---- what on_response() is told: a route and, of a call, its gRPC status ----

static_assert(kRouteCount <= 256);
[[nodiscard]] constexpr uint16_t with_call_status(uint16_t route, uint8_t status) {
  return static_cast<uint16_t>((route & 0xFFu) | unsigned{status} << 8);
}
[[nodiscard]] constexpr Route route_of(uint16_t told) {
  return static_cast<Route>(told & 0xFFu);
}
[[nodiscard]] constexpr uint8_t call_status_of(uint16_t told) {
  return static_cast<uint8_t>(told >> 8);
}

// Whether the route answers this method (OPTIONS apart, which every route answers).
[[nodiscard]] inline bool allows(const RouteInfo& info, Method method) {
  switch (method) {
    case Method::kGet:
    case Method::kHead:
      return info.allow.starts_with('G');
    case Method::kPost:
      return info.allow.starts_with('P') || info.route == Route::kBackup;
    case Method::kPut:
      return info.route == Route::kKv;
    case Method::kDelete:
      return info.route == Route::kKv || info.route == Route::kScan ||
             info.route == Route::kBackups;
    default:
      return false;
  }
}

}  // namespace kyro
