// What the HTTP side counts: requests by route and status, latency by route, refusals by reason.
//
// Thread rule: any reactor counts; counting writes no shared cache line.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "kyro/base/counters.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/call_stats.h"
#include "kyro/server/route_table.h"
#include "kyro/server/routes/backup.h"
#include "kyro/server/routes/offset_waits.h"
#include "kyro/server/routes/stream.h"
#include "kyro/server/routes/waiting_reads.h"

namespace kyro {

// Every status the server sends; anything else would be counted as the last.
inline constexpr std::array<int, 28> kStatusCodes = {
    200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 408, 410, 411, 412,
    413, 414, 415, 416, 417, 421, 429, 431, 500, 501, 503, 505, 507, 599};

// Bounds for request durations in nanoseconds: 10 µs to 10 s.
inline constexpr auto kRequestBoundsNanos = std::to_array<uint64_t>(
    {10'000, 25'000, 50'000, 100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000,
     25'000'000, 50'000'000, 100'000'000, 250'000'000, 1'000'000'000, 10'000'000'000});

class HttpStats {
 public:
  HttpStats() {
    for (size_t i = 0; i < kRouteCount + 1; ++i) {
      durations_ns_.push_back(std::make_unique<HotHistogram>(kRequestBoundsNanos));
    }
  }

  void count(const Answered& answered) {
    const Route route = route_of(answered.route);
    const size_t row = route < Route::kEnd ? static_cast<size_t>(route) : 0;
    calls.count(route, static_cast<rpc::GrpcCode>(call_status_of(answered.route)), answered.count);
    requests_[row][code_index(answered.status)].add(answered.count);
    if (answered.version == HttpVersion::k2) http2_requests_.add(answered.count);
    const bool is_write = answered.method == Method::kPut || answered.method == Method::kDelete;
    const bool is_kv_write = is_write && row == static_cast<size_t>(Route::kKv);
    durations_ns_[is_kv_write ? kKvWrites : row]->observe(answered.duration_ns, answered.count);
  }
  void count_rejected(RejectReason reason) { rejected_[static_cast<size_t>(reason)].add(); }
  void count_unauthorized() { unauthorized_.add(); }
  void count_forbidden() { forbidden_.add(); }

  [[nodiscard]] uint64_t requests(size_t route, size_t code) const {
    return requests_[route][code].value();
  }
  // Those of all routes that came over HTTP/2.
  [[nodiscard]] uint64_t http2_requests() const { return http2_requests_.value(); }
  [[nodiscard]] HistogramSnapshot duration(size_t route) const {
    HistogramSnapshot durations = durations_ns_[route]->snapshot();
    if (route == static_cast<size_t>(Route::kKv))
      durations.add(durations_ns_[kKvWrites]->snapshot());
    return durations;
  }
  // Of all routes of a kind together.
  [[nodiscard]] HistogramSnapshot duration(RouteClass wanted) const {
    HistogramSnapshot durations;
    for (size_t row = 0; row < durations_ns_.size(); ++row) {
      const bool is_kv_write = row == kKvWrites;
      const auto route = is_kv_write ? Route::kKv : static_cast<Route>(row);
      if (class_of(route, is_kv_write) == wanted) durations.add(durations_ns_[row]->snapshot());
    }
    return durations;
  }
  // Calls visit(reason, count) for every reason there is.
  template <class Visit>
  void for_each_rejection(Visit visit) const {
    for (size_t i = 0; i < rejected_.size(); ++i) {
      visit(std::string_view(reject_reason_name(static_cast<RejectReason>(i))),
            rejected_[i].value());
    }
    visit(std::string_view("unauthorized"), unauthorized_.value());
    visit(std::string_view("forbidden"), forbidden_.value());
    visit(std::string_view("rate_data"), over_rate_data.value());
    visit(std::string_view("rate_admin"), over_rate_admin.value());
    visit(std::string_view("stale_reader"), stale_readers.value());
    visit(std::string_view("waiting_reads"), waits.refused.value());
    visit(std::string_view("offset_waits"), offset_waits.refused.value());
  }

  SubscribeStats subscribe;
  WaitStats waits;
  OffsetWaitStats offset_waits;
  rpc::CallStats calls;
  BackupStats backups;
  Counter stale_readers;
  Counter over_rate_data;
  Counter over_rate_admin;

 private:
  static constexpr size_t kKvWrites = kRouteCount;  // the row of PUT and DELETE of one key

  static size_t code_index(int status) {
    for (size_t i = 0; i + 1 < kStatusCodes.size(); ++i) {
      if (kStatusCodes[i] == status) return i;
    }
    return kStatusCodes.size() - 1;
  }

  std::array<std::array<HotCounter, kStatusCodes.size()>, kRouteCount> requests_;
  std::vector<std::unique_ptr<HotHistogram>> durations_ns_;
  HotCounter http2_requests_;
  std::array<Counter, static_cast<size_t>(RejectReason::kCount)> rejected_;
  Counter unauthorized_;
  Counter forbidden_;
};

}  // namespace kyro
