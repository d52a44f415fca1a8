// The request log (--request-log): one line per answer, written by the log's thread.
//
//   2026-01-01T00:00:00.000Z info request method=GET route=get_fast status=200 bytes=64 micros=12
//   peer=127.0.0.1:5000
//
// It names the route, never the path, so no key and no value is in it; of a call of gRPC also its
// status (grpc=NOT_FOUND; of a stream the one it begins with). A reactor formats its lines
// into a buffer of its own and hands them to the log's writer once a round. Where stderr is slower
// than the requests, lines are dropped, never waited for; a line then says how many.
//
// Thread rule: add() and end_round() on reactors. Ownership: borrows the writer.
#pragma once

#include <cstdint>
#include <string>

#include "kyro/base/log/log.h"
#include "kyro/net/http/handler.h"
#include "kyro/net/io/address.h"
#include "kyro/server/grpc/status.h"
#include "kyro/server/route_table.h"

namespace kyro {

class RequestLog {
 public:
  explicit RequestLog(LogWriter& writer) : writer_(writer) {}

  void add(const Answered& answered) {
    const Route told = route_of(answered.route);
    const Route route = told < Route::kEnd ? told : Route::kNone;
    Round& round = this_round();
    for (uint64_t i = 0; i < answered.count; ++i) append_line(round.lines, answered, route);
    round.count += answered.count;
  }

  void end_round() {
    Round& round = this_round();
    if (round.count == 0) return;
    writer_.add(LogWriter::Kind::kRequests, round.lines, round.count);
    round.lines.clear();
    round.count = 0;
  }

 private:
  // The lines of the calling reactor that nobody has been told of.
  struct Round {
    std::string lines;
    uint64_t count = 0;
  };
  static void append_line(std::string& lines, const Answered& answered, Route route) {
    const auto append = [&](auto... more) {
      append_log_line(lines, LogLevel::kInfo, "request",
                      {{"method", method_name(answered.method)},
                       {"route", route_info(route).name},
                       {"status", answered.status},
                       {"bytes", answered.body_bytes},
                       {"micros", answered.duration_ns / 1000},
                       {"peer", answered.is_unix ? "unix" : format_peer(*answered.peer)},
                       more...});
    };
    if (!is_call_route(route)) return append();
    const auto status = static_cast<rpc::GrpcCode>(call_status_of(answered.route));
    append(LogField{"grpc", rpc::grpc_code_name(status)});
  }
  static Round& this_round() {
    static thread_local Round round;
    return round;
  }

  LogWriter& writer_;
};

}  // namespace kyro
