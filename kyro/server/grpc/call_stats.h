// How many calls ended with another status than OK, by method and status.
//
// Thread rule: any reactor counts.
#pragma once

#include <array>
#include <cstdint>

#include "kyro/base/counters.h"
#include "kyro/server/grpc/status.h"
#include "kyro/server/route_table.h"

namespace kyro::rpc {

class CallStats {
 public:
  void count(Route route, GrpcCode code, uint64_t n = 1) {
    if (is_call_route(route) && code != GrpcCode::kOk) failures_[row(route)][column(code)].add(n);
  }
  // REQUIRES: a call's route, another code than OK.
  [[nodiscard]] uint64_t failures(Route route, GrpcCode code) const {
    return failures_[row(route)][column(code)].value();
  }

 private:
  static constexpr size_t kFirst = static_cast<size_t>(Route::kCallUnknown);
  static size_t row(Route route) { return static_cast<size_t>(route) - kFirst; }
  static size_t column(GrpcCode code) { return static_cast<size_t>(code) - 1; }

  std::array<std::array<Counter, kGrpcCodeCount - 1>, kRouteCount - kFirst> failures_;
};

}  // namespace kyro::rpc
