// Streams of log records: replay (finite, NDJSON) and subscribe (endless, server-sent events).
//
// Both pull from the log in bounded slices as the client reads, so a slow client costs no memory:
// its place in the log is its buffer. A subscriber that falls behind what the log retains is told
// so and closed. Past and live records come from the same place, so there is no seam between them.
//
// Thread rule: produce() on the reactor. Ownership: the server owns the stream.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/counters.h"
#include "kyro/json/record_encoder.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/reply.h"
#include "kyro/storage/engine.h"

namespace kyro {

class ReplayStream final : public BodyStream {
 public:
  // Records in [reader's place, end), at most `limit`.
  ReplayStream(std::unique_ptr<LogReader> reader, uint64_t end, uint64_t limit)
      : reader_(std::move(reader)), end_(end), left_(limit) {}

  Next produce(std::string& out, size_t budget_bytes) override {
    bool caught_up = false;
    const Status status =
        reader_->read(end_, budget_bytes, &caught_up, [&](const RecordView& record) {
          if (left_ == 0) return;
          --left_;
          append_log_record(out, record.header.offset, record.header.key, record.stored_value());
          out += '\n';
        });
    if (!status.ok()) {
      log_event(LogLevel::kWarn, "replay_broken_off", {{"reason", status.to_string()}});
      return Next::kAbort;
    }
    return caught_up || left_ == 0 ? Next::kEnd : Next::kMore;
  }

 private:
  std::unique_ptr<LogReader> reader_;
  const uint64_t end_;
  uint64_t left_;
};

struct SubscribeStats {
  Gauge subscribers;
  Counter lagged;
};

class SubscribeStream final : public BodyStream {
 public:
  static constexpr uint64_t kHeartbeatMs = 15'000;

  SubscribeStream(Engine& engine, std::unique_ptr<LogReader> reader, SubscribeStats& stats,
                  uint64_t heartbeat_interval_ms = kHeartbeatMs)
      : engine_(engine),
        reader_(std::move(reader)),
        stats_(stats),
        heartbeat_ms_(heartbeat_interval_ms) {
    stats_.subscribers.add(1);
  }
  ~SubscribeStream() override { stats_.subscribers.sub(1); }

  Next produce(std::string& out, size_t budget_bytes) override {
    const size_t before = out.size();
    if (!is_greeted_) out += ": subscribed\n\n";
    is_greeted_ = true;
    bool caught_up = false;
    constexpr uint64_t kNoEnd = ~uint64_t{0};
    const Status status =
        reader_->read(kNoEnd, budget_bytes, &caught_up, [&](const RecordView& record) {
          out += "id: ";
          append_decimal(out, record.header.offset);
          out += "\ndata: ";
          append_log_record(out, record.header.offset, record.header.key, record.stored_value());
          out += "\n\n";
        });
    const uint64_t now = monotonic_ns();
    if (!status.ok()) return finish(out, status);
    // The timer may be early by a little, and comes again only after another interval.
    const bool is_due = now - last_output_ns_ >= heartbeat_ms_ * (1'000'000 / 2);
    if (out.size() == before && is_due) out += ": heartbeat\n\n";
    if (out.size() != before) last_output_ns_ = now;
    return caught_up ? Next::kWait : Next::kMore;
  }

  [[nodiscard]] uint64_t heartbeat_ms() const override { return heartbeat_ms_; }

  bool on_drain(std::string& out) override {
    out += "event: end\ndata: {\"reason\":\"the server is stopping\"}\n\n";
    return true;
  }

 private:
  Next finish(std::string& out, const Status& status) {
    if (status.code() != Code::kGone) {
      log_event(LogLevel::kWarn, "subscription_broken_off", {{"reason", status.to_string()}});
      return Next::kAbort;
    }
    const LogRange range = engine_.log_range();
    stats_.lagged.add();
    out += "event: lagged\ndata: {\"oldest\":";
    append_decimal(out, range.oldest);
    out += ",\"next\":";
    append_decimal(out, range.next);
    out += "}\n\n";
    return Next::kEnd;
  }

  Engine& engine_;
  std::unique_ptr<LogReader> reader_;
  SubscribeStats& stats_;
  const uint64_t heartbeat_ms_;
  uint64_t last_output_ns_ = monotonic_ns();
  bool is_greeted_ = false;
};

inline void respond_replay(Engine& engine, Exchange& x) {
  const std::string_view query = x.request().query;
  const auto start = find_number(query, "start");
  const auto end = find_number(query, "end");
  const auto limit = find_number(query, "limit");
  for (const auto* param : {&start, &end, &limit}) {
    if (!param->ok()) return respond_status(x, param->status());
  }
  if (limit->has_value() && **limit == 0) {
    return x.respond_error(400, "invalid", "parameter \"limit\" must be at least 1");
  }
  const LogRange range = engine.log_range();
  auto reader = engine.read_log(start->value_or(range.oldest));
  if (!reader.ok()) return respond_gone(x, reader.status(), range);
  const uint64_t last = std::min(end->value_or(range.next), range.next);
  x.respond_stream(
      200, "application/x-ndjson",
      std::make_unique<ReplayStream>(std::move(*reader), last, limit->value_or(~uint64_t{0})));
}

inline void respond_subscribe(Engine& engine, Exchange& x, SubscribeStats& stats) {
  const auto from = find_number(x.request().query, "from");
  if (!from.ok()) return respond_status(x, from.status());
  const LogRange range = engine.log_range();
  uint64_t start = from->value_or(range.next);
  if (const auto last = x.request().header("last-event-id")) {
    const auto offset = parse_u64(*last);
    if (!offset || *offset == ~uint64_t{0}) {
      return x.respond_error(400, "invalid", "Last-Event-ID is not an offset");
    }
    start = *offset + 1;
  }
  auto reader = engine.read_log(start);
  if (!reader.ok()) return respond_gone(x, reader.status(), range);
  x.add_header("Cache-Control", "no-store");
  x.respond_stream(200, "text/event-stream",
                   std::make_unique<SubscribeStream>(engine, std::move(*reader), stats));
}

}  // namespace kyro
