// Streams of log records: replay (finite, NDJSON) and subscribe (endless, server-sent events or the
// messages of a call).
//
// A subscriber that falls behind what the log retains is told so and closed; a caller is told
// whatever ends its stream by the status. Events need a heartbeat; a caller, whose HTTP/2 has
// pings, gets one where it has asked for it. Past and live records come from the same place, so
// there is no seam between them. The first piece is read before the head goes out, so an error in
// it has a proper status.
//
// Thread rule: produce() on the reactor. Ownership: the server owns the stream.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/counters.h"
#include "kyro/base/text/slots.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/reply/log_pieces.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

class ReplayBody final : public SlicedBody {
 public:
  // Records in [reader's place, end), at most `limit`.
  ReplayBody(const Engine& engine, std::unique_ptr<LogReader> reader, uint64_t end, uint64_t limit)
      : pieces_(engine, std::move(reader), LogForm::kLines, end, limit, nullptr) {}

  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    bool at_end = false;
    KYRO_TRY(pieces_.write(out, budget_bytes, &at_end));
    return at_end;
  }
  bool write_early_end(std::string& out, size_t budget_bytes) override {
    if (!pieces_.finish_record(out, budget_bytes)) return false;
    append_error_json(out, "unauthorized", kWithdrawn);
    out += '\n';
    return true;
  }

 private:
  LogPieces pieces_;
};

struct SubscribeStats {
  Gauge subscribers;
  Counter lagged;
};

class SubscribeStream final : public BodyStream {
 public:
  static constexpr uint64_t kHeartbeatMs = 15'000;

  SubscribeStream(Engine& engine, std::unique_ptr<LogReader> reader, SubscribeStats& stats,
                  SharedPieces& shared, const Permit& permit = {},
                  uint64_t heartbeat_interval_ms = kHeartbeatMs, const KeyFilter& filter = {},
                  const rpc::StreamEnd& call_end = {}, bool tells_progress = false)
      : engine_(engine),
        end_(call_end),
        pieces_(engine, std::move(reader), end_.is_call() ? LogForm::kMessages : LogForm::kEvents,
                ~uint64_t{0}, ~uint64_t{0}, end_.is_call() ? nullptr : &shared, filter),
        stats_(stats),
        shared_(shared),
        permit_(permit),
        heartbeat_ms_(heartbeat_interval_ms),
        is_silent_(end_.is_call() && !tells_progress) {
    stats_.subscribers.add(1);
  }
  ~SubscribeStream() override {
    stats_.subscribers.sub(1);
    if (stats_.subscribers.value() == 0) shared_.clear();
  }

  // A slice of the first piece, before the head is out: true when the stream may begin, because
  // there is something to send, or nothing for now.
  [[nodiscard]] Result<bool> prepare() {
    bool caught_up = false;
    KYRO_TRY(pieces_.write(first_piece_, kFirstBytesMax, &caught_up));
    return caught_up || !first_piece_.empty();
  }

  Next produce(std::string& out, size_t budget_bytes) override {
    const size_t before = out.size();
    if (!permit_.is_valid()) {
      if (end_.is_call()) return end(out, kWithdrawn);
      return pieces_.finish_record(out, budget_bytes) ? end(out, kWithdrawn) : Next::kAbort;
    }
    if (end_.is_late()) return Next::kEnd;
    if (!is_greeted_) {
      is_greeted_ = true;
      if (!end_.is_call()) out += ": subscribed\n\n";
      out += first_piece_;
      std::string().swap(first_piece_);
      last_output_ns_ = monotonic_ns();
      return Next::kMore;
    }
    bool caught_up = false;
    const Status status = pieces_.write(out, budget_bytes, &caught_up);
    const uint64_t now = monotonic_ns();
    if (!status.ok()) return finish(out, status);
    if (is_draining_ && pieces_.is_between_records()) return end(out, kStopping);
    // The timer may be early by a little, and comes again only after another interval.
    const bool is_due = now - last_output_ns_ >= heartbeat_ms_ * (1'000'000 / 2);
    const bool has_nothing = out.size() == before && caught_up;
    if (has_nothing && is_due && !is_silent_) append_heartbeat(out);
    if (out.size() != before) last_output_ns_ = now;
    return caught_up ? Next::kWait : Next::kMore;
  }

  [[nodiscard]] uint64_t heartbeat_ms() const override { return end_.heartbeat_ms(heartbeat_ms_); }
  [[nodiscard]] bool is_revoked() const override { return !permit_.is_valid(); }

  // In the middle of a record it is told that later.
  bool on_drain(std::string& out) override {
    is_draining_ = true;
    if (!pieces_.is_between_records()) return false;
    static_cast<void>(end(out, kStopping));
    return true;
  }
  void on_end(Exchange& exchange) override { end_.add_to(exchange); }

 private:
  static constexpr size_t kFirstBytesMax = 32 * 1024;
  static constexpr std::string_view kStopping = "the server is stopping";

  // Where only some keys are wanted it says up to where there was nothing, so that whoever comes
  // back later goes on from there, and not from where the log has long been trimmed. An id without
  // data is no event.
  void append_heartbeat(std::string& out) const {
    const uint64_t next = pieces_.next_offset();
    if (end_.is_call()) {
      rpc::ValueMessage progress = rpc::progress_message(next - 1);
      if (next > 0) out += progress.framed(rpc::kLogRecordValue, 0);
      return;
    }
    out += ": heartbeat\n";
    if (!pieces_.filter().wants_all() && next > 0) {
      out += "id: ";
      append_decimal(out, next - 1);
      out += '\n';
    }
    out += '\n';
  }

  // Ends the stream before its time, between two records.
  Next end(std::string& out, std::string_view reason) {
    const bool is_withdrawn = reason == kWithdrawn;
    end_.set(is_withdrawn ? rpc::GrpcCode::kUnauthenticated : rpc::GrpcCode::kUnavailable, reason);
    if (end_.is_call()) return Next::kEnd;
    out.append("event: end\ndata: {\"reason\":\"").append(reason).append("\"}\n\n");
    return Next::kEnd;
  }

  Next finish(std::string& out, const Status& status) {
    if (status.code() != Code::kGone) {
      log_event(LogLevel::kWarn, "subscription_broken_off", {{"reason", status.to_string()}});
      end_.set(status);
      return end_.is_call() ? Next::kEnd : Next::kAbort;
    }
    const LogRange range = engine_.log_range();
    stats_.lagged.add();
    if (end_.is_call()) {
      end_.set(rpc::GrpcCode::kOutOfRange, describe_range(status.message(), range));
      return Next::kEnd;
    }
    out += "event: lagged\ndata: {\"oldest\":";
    append_decimal(out, range.oldest);
    out += ",\"next\":";
    append_decimal(out, range.next);
    out += "}\n\n";
    return Next::kEnd;
  }

  Engine& engine_;
  rpc::StreamEnd end_;
  LogPieces pieces_;
  SubscribeStats& stats_;
  SharedPieces& shared_;
  const Permit permit_;
  const uint64_t heartbeat_ms_;
  const bool is_silent_;  // where there is nothing new
  uint64_t last_output_ns_ = monotonic_ns();
  std::string first_piece_;
  bool is_greeted_ = false;
  bool is_draining_ = false;
};

// Reads the first piece of a subscription, in slices, and then answers.
class SubscribeTask final : public Task {
 public:
  static void start(Engine& engine, Exchange& x, std::unique_ptr<SubscribeStream> stream) {
    std::unique_ptr<SubscribeTask> task(new SubscribeTask(engine, std::move(stream)));
    if (!task->answer(x)) task.release()->go_on(x);
  }

  void run(Exchange* x) override {
    std::unique_ptr<SubscribeTask> self(this);
    if (x != nullptr && !answer(*x)) self.release()->go_on(*x);
  }

 private:
  SubscribeTask(Engine& engine, std::unique_ptr<SubscribeStream> stream)
      : engine_(engine), stream_(std::move(stream)) {}

  void go_on(Exchange& x) {
    x.defer(this);
    post();
  }

  // One slice; false if there must be another.
  bool answer(Exchange& x) {
    const Result<bool> prepared = stream_->prepare();
    if (prepared.ok() && !*prepared) return false;
    if (prepared.status().code() == Code::kGone) {
      respond_gone(x, prepared.status(), engine_.log_range());
    } else if (!prepared.ok()) {
      respond_status(x, prepared.status());
    } else {
      const bool is_call = rpc::is_call(x);
      x.respond_stream(200, is_call ? rpc::kCallType : "text/event-stream", std::move(stream_));
    }
    return true;
  }

  Engine& engine_;
  std::unique_ptr<SubscribeStream> stream_;
};

inline void respond_replay(Engine& engine, Exchange& x, const StreamRules& rules) {
  const std::string_view query = x.request().query;
  const auto start = find_number(query, "start");
  const auto end = find_number(query, "end");
  const auto limit = find_limit(query);
  for (const auto* param : {&start, &end, &limit}) {
    if (!param->ok()) return respond_status(x, param->status());
  }
  const LogRange range = engine.log_range();
  auto reader = engine.read_log(start->value_or(range.oldest));
  if (!reader.ok()) return respond_gone(x, reader.status(), range);
  const uint64_t last = std::min(end->value_or(range.next), range.next);
  respond_sliced(
      x, "application/x-ndjson",
      std::make_unique<ReplayBody>(engine, std::move(*reader), last, limit->value_or(~uint64_t{0})),
      rules);
}

// The keys in [first, end); kInvalid if there is none.
[[nodiscard]] inline Result<KeyFilter> filter_of(uint64_t first, std::optional<uint64_t> end) {
  if (end && *end <= first) return Status(Code::kInvalid, "there is no key in that range");
  return KeyFilter{first, end ? *end - 1 : ~uint64_t{0}};
}

// What parameters "key", or "start" and "end", select; everything without them.
[[nodiscard]] inline Result<KeyFilter> find_filter(std::string_view query, const SlotSet& slots) {
  const auto key = find_number(query, "key");
  KYRO_TRY(key);
  const auto start = find_number(query, "start");
  KYRO_TRY(start);
  const auto end = find_number(query, "end");
  KYRO_TRY(end);
  if (key->has_value() && (start->has_value() || end->has_value())) {
    return Status(Code::kInvalid, "one key, or a range of them: not both");
  }
  if (key->has_value()) KYRO_TRY(slots.check(**key));
  if (key->has_value()) return KeyFilter{**key, **key};
  return filter_of(start->value_or(0), *end);
}

// Events, or the messages of a call.
inline void subscribe_from(Engine& engine, Exchange& x, uint64_t start, const KeyFilter& filter,
                           SubscribeStats& stats, const StreamRules& rules,
                           bool tells_progress = false) {
  const LogRange range = engine.log_range();
  auto reader = engine.read_log(start);
  if (!reader.ok()) return respond_gone(x, reader.status(), range);
  SubscribeTask::start(
      engine, x,
      std::make_unique<SubscribeStream>(
          engine, std::move(*reader), stats, rules.pieces, rules.access.permit(x.request()),
          SubscribeStream::kHeartbeatMs, filter, rpc::StreamEnd(x, rules.calls), tells_progress));
}

inline void respond_subscribe(Engine& engine, Exchange& x, SubscribeStats& stats,
                              const StreamRules& rules) {
  const auto from = find_number(x.request().query, "from");
  if (!from.ok()) return respond_status(x, from.status());
  const auto filter = find_filter(x.request().query, engine.options().slots);
  if (!filter.ok()) return respond_status(x, filter.status());
  uint64_t start = from->value_or(engine.log_range().next);
  if (const auto last = x.request().header("last-event-id")) {
    const auto offset = parse_u64(*last);
    if (!offset || *offset == ~uint64_t{0}) {
      return x.respond_error(400, "invalid", "Last-Event-ID is not an offset");
    }
    start = *offset + 1;
  }
  subscribe_from(engine, x, start, *filter, stats, rules);
}

}  // namespace kyro
