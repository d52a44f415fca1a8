// The calls of gRPC: what scripts/api/README.md says of them happens here, over the same engine and
// by the same means as the routes of HTTP.
//
// begin() decides, once the caller has been let in, what needs no message; handle() does what a
// request of one message asks for. Streams of requests are given to a reader in begin().
//
// Thread rule: reactors call these functions concurrently, each under the epoch pin of its round.
// Ownership: borrows everything.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/slots.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/reply/record_body.h"
#include "kyro/server/routes/admin.h"
#include "kyro/server/routes/batch.h"
#include "kyro/server/routes/call_writes.h"
#include "kyro/server/routes/count.h"
#include "kyro/server/routes/delete_range.h"
#include "kyro/server/routes/mget.h"
#include "kyro/server/routes/scan.h"
#include "kyro/server/routes/stream.h"
#include "kyro/server/routes/strict.h"
#include "kyro/server/routes/waiting_reads.h"
#include "kyro/server/routes/write.h"
#include "kyro/server/services/health.h"
#include "kyro/server/services/multi_get.h"
#include "kyro/server/services/put_stream.h"
#include "kyro/server/services/reflection_stream.h"
#include "kyro/storage/engine.h"

namespace kyro {

class Calls {
 public:
  // What they share with the routes of HTTP.
  struct Shared {
    OpenWrites& open_writes;
    MgetLimits& mget_limits;
    SubscribeStats& subscribe_stats;
    WaitingReads& waiting_reads;
    const StreamRules& rules;
    const std::atomic<bool>& draining;
  };

  Calls(const Shared& shared, const Health& health, uint64_t max_value_bytes,
        uint64_t max_batch_bytes)
      : shared_(shared),
        health_(health),
        max_value_bytes_(max_value_bytes),
        max_batch_bytes_(max_batch_bytes) {}

  // Memory of large puts of streams together. Before the server serves.
  void set_collected_bytes_max(uint64_t bytes) { collected_.bytes_max = bytes; }

  // The key of a Get whose message is there; for what is fetched ahead.
  [[nodiscard]] static std::optional<uint64_t> key_of(const Exchange& x) {
    const auto message = rpc::only_message(x.request().body);
    rpc::GetRequest get;
    if (!message.ok() || !get.decode(*message)) return std::nullopt;
    return get.key;
  }

  // In on_headers. `engine` is null while its log is replayed.
  void begin(Exchange& x, Engine* engine) {
    const Route route = route_of(x.route());
    x.set_user(0);
    if (!check_fields(x)) return;
    if (route == Route::kCallUnknown) {
      return rpc::respond_failed(x, rpc::GrpcCode::kUnimplemented, "no such service or method");
    }
    if (route_info(route).needs_engine && engine == nullptr) {
      return rpc::respond_failed(x, rpc::GrpcCode::kUnavailable,
                                 "the log is being replayed; try again soon");
    }
    switch (route) {
      case Route::kCallPut:
        return x.set_max_body_bytes(max_value_bytes_ + kSmallBytes, "--max-value-bytes");
      case Route::kCallWrite:
        return x.set_max_body_bytes(max_batch_bytes_, "--max-batch-bytes");
      case Route::kCallMultiGet:
        return x.set_max_body_bytes(shared_.mget_limits.keys_max * kKeyBytesMax + kSmallBytes,
                                    "--max-mget-keys");
      case Route::kCallPutStream:
        return PutStream::start(*engine, x, collected_, shared_.rules);
      case Route::kCallReflection:
      case Route::kCallReflectionAlpha:
        return ReflectionStream::start(x, shared_.rules.calls);
      default:
        return x.set_max_body_bytes(kSmallBytes);
    }
  }

  // In on_request. `engine` is null only where begin() let that pass.
  void handle(Exchange& x, Engine* engine) {
    const auto message = rpc::only_message(x.request().body);
    if (!message.ok()) return rpc::respond_failed(x, message.status());
    switch (route_of(x.route())) {
      case Route::kCallGet:
        return get(x, *engine, *message);
      case Route::kCallPut:
        return put(x, *engine, *message);
      case Route::kCallDelete:
        return remove(x, *engine, *message);
      case Route::kCallMultiGet:
        return multi_get(x, *engine, *message);
      case Route::kCallWrite:
        return BatchWrite::start_call(*engine, shared_.open_writes, x, message->size());
      case Route::kCallScan:
        return scan(x, *engine, *message);
      case Route::kCallWait:
        return wait(x, *engine, *message);
      case Route::kCallCount:
        return count(x, *engine, *message);
      case Route::kCallDeleteRange:
        return delete_range(x, *engine, *message);
      case Route::kCallNearest:
        return nearest(x, *engine, *message);
      case Route::kCallSubscribe:
        return subscribe(x, *engine, *message);
      case Route::kCallOffset:
        return offset(x, *engine, *message);
      case Route::kCallSnapshot:
        return admin(x, *engine, *message, Job::Kind::kSnapshot);
      case Route::kCallCompact:
        return admin(x, *engine, *message, Job::Kind::kCompact);
      case Route::kCallBuildIndex:
        return admin(x, *engine, *message, Job::Kind::kRebuildIndex);
      case Route::kCallHealthCheck:
      case Route::kCallHealthWatch:
        return health(x, *message);
      default:
        return rpc::respond_failed(x, rpc::GrpcCode::kUnimplemented, "no such service or method");
    }
  }

 private:
  static constexpr uint64_t kSmallBytes = 64 * 1024;
  static constexpr uint64_t kKeyBytesMax = 11;  // a tag and a varint
  static constexpr uint64_t kTimeoutUsMax = uint64_t{365} * 86400 * 1'000'000;

  // What the head says of the call itself; answers if that is not possible.
  static bool check_fields(Exchange& x) {
    bool takes_trailers = false;
    bool is_coded = false;
    std::optional<std::string_view> timeout;
    for (const HeaderField& field : x.request().fields) {
      if (field.is("te")) takes_trailers = takes_trailers || iequals(field.value, "trailers");
      if (field.is("grpc-encoding")) is_coded = is_coded || field.value != "identity";
      if (field.is("grpc-timeout")) timeout = field.value;
    }
    if (conditions_of(x.request()).any()) {
      rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument,
                          "what a call asks for stands in its message, not in its metadata");
      return false;
    }
    if (!takes_trailers) {
      rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument,
                          "te: trailers is missing; does a proxy not speak gRPC?");
      return false;
    }
    if (is_coded) {
      x.add_header("grpc-accept-encoding", "identity");
      rpc::respond_failed(x, rpc::GrpcCode::kUnimplemented, "messages must not be compressed");
      return false;
    }
    return !timeout || set_deadline(x, *timeout);
  }

  static bool set_deadline(Exchange& x, std::string_view timeout) {
    const auto us = rpc::parse_grpc_timeout_us(timeout);
    if (!us) {
      rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument,
                          "grpc-timeout is at most eight digits and one of H M S m u n");
      return false;
    }
    if (*us == 0) {
      rpc::respond_failed(x, rpc::GrpcCode::kDeadlineExceeded, "the deadline has passed");
      return false;
    }
    const uint64_t bounded_us = std::min(*us, kTimeoutUsMax);
    x.set_user(monotonic_ns() + bounded_us * 1000);
    x.set_deadline((bounded_us + 999) / 1000);
    return true;
  }

  // Answers where the message is not what its method takes.
  static void refuse_message(Exchange& x) {
    rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument,
                        "the message is not what this method takes");
  }
  template <class Request>
  static bool decode(Exchange& x, std::string_view message, Request* request) {
    if (request->decode(message)) return true;
    refuse_message(x);
    return false;
  }

  // Answers where the key is in a slot of another shard.
  static bool is_served(Exchange& x, const Engine& engine, uint64_t key) {
    const Status served = engine.options().slots.check(key);
    if (!served.ok()) rpc::respond_failed(x, served);
    return served.ok();
  }

  void get(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::GetRequest request;
    if (!decode(x, message, &request)) return;
    if (!is_served(x, engine, request.key)) return;
    Lookup found;
    const Status status = engine.lookup(request.key, &found);
    if (!status.ok()) return rpc::respond_failed(x, status);
    respond_get_message(x, found, request.offset_only, engine, shared_.rules.moments);
  }

  void wait(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::WaitRequest request;
    if (!decode(x, message, &request)) return;
    if (request.wait_secs > WaitingReads::kSecondsMax) {
      return rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument, "wait_secs is at most 300");
    }
    if (!is_served(x, engine, request.key)) return;
    KeyWait::start_call(engine, x, request.key, request.known_offset, request.wait_secs,
                        shared_.waiting_reads, shared_.rules);
  }

  void put(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::PutRequest request;
    if (!decode(x, message, &request)) return;
    const auto mutation = mutation_of(
        request, [&engine](const Lifetime& lifetime) { return expiry_of(engine, lifetime); });
    if (!mutation.ok()) return rpc::respond_failed(x, mutation.status());
    PendingWrite::start_call(engine, shared_.open_writes, x, PendingWrite::Kind::kCallPut,
                             request.key, request.value, mutation->expiry_secs,
                             tags_of(request.condition));
  }

  void remove(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::DeleteRequest request;
    if (!decode(x, message, &request)) return;
    const Status valid = check_condition(request.condition);
    if (!valid.ok()) return rpc::respond_failed(x, valid);
    PendingWrite::start_call(engine, shared_.open_writes, x, PendingWrite::Kind::kCallDelete,
                             request.key, {}, 0, tags_of(request.condition));
  }

  void multi_get(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::MultiGetRequest request;
    const uint64_t keys_max = shared_.mget_limits.keys_max;
    if (!request.decode(message, keys_max)) return refuse_message(x);
    if (request.keys.size() > keys_max) {
      return rpc::respond_failed(
          x, rpc::GrpcCode::kResourceExhausted,
          "at most " + std::to_string(keys_max) + " keys at once (--max-mget-keys)");
    }
    respond_multi_get(engine, x, std::move(request.keys), shared_.mget_limits, shared_.rules);
  }

  void scan(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::ScanRequest request;
    if (!decode(x, message, &request)) return;
    ScanQuery query;
    query.range = scan_range(request.first, request.end, request.reverse);
    if (request.limit != 0) query.limit = request.limit;
    query.keys_only = request.keys_only;
    query.form = ScanForm::kMessages;
    respond_sliced(x, rpc::kCallType, std::make_unique<ScanBody>(engine, query), shared_.rules);
  }

  void count(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::RangeRequest request;
    if (!decode(x, message, &request)) return;
    const ScanRange range = scan_range(request.first.value_or(0), request.end, false);
    respond_count_call(engine, x, range, shared_.rules);
  }

  void delete_range(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::RangeRequest request;
    if (!decode(x, message, &request)) return;
    if (!request.first) {
      return rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument,
                                 "a range to delete needs its first key: 0 for all there is");
    }
    const uint64_t keys_max = request.limit != 0 ? request.limit : ~uint64_t{0};
    RangeDelete::start_call(engine, shared_.open_writes, x, shared_.rules, shared_.draining,
                            scan_range(*request.first, request.end, false), keys_max);
  }

  void nearest(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::NearestRequest request;
    if (!decode(x, message, &request)) return;
    if (request.direction > 1) {
      return rpc::respond_failed(x, rpc::GrpcCode::kInvalidArgument, "no such direction");
    }
    const Direction direction = request.direction == 0 ? Direction::kDown : Direction::kUp;
    NearestTask::start(engine, x, request.key, direction, shared_.rules);
  }

  void subscribe(Exchange& x, Engine& engine, std::string_view message) const {
    rpc::SubscribeRequest request;
    if (!decode(x, message, &request)) return;
    const uint64_t start = request.from_offset ? *request.from_offset : engine.log_range().next;
    Result<KeyFilter> filter = KeyFilter{};
    if (request.key && !is_served(x, engine, *request.key)) return;
    if (request.key) filter = KeyFilter{*request.key, *request.key};
    if (request.range) filter = filter_of(request.range->first.value_or(0), request.range->end);
    if (!filter.ok()) return rpc::respond_failed(x, filter.status());
    subscribe_from(engine, x, start, *filter, shared_.subscribe_stats, shared_.rules,
                   request.progress);
  }

  static void offset(Exchange& x, const Engine& engine, std::string_view message) {
    rpc::EmptyRequest request;
    if (!decode(x, message, &request)) return;
    std::string out;
    const size_t begin = rpc::begin_message(out);
    append_varint_field(out, 1, engine.next_offset());
    append_bytes_field(out, 2, engine.database_id());
    rpc::end_message(out, begin);
    rpc::respond_message(x, out);
  }

  static void admin(Exchange& x, Engine& engine, std::string_view message, Job::Kind kind) {
    rpc::EmptyRequest request;
    if (decode(x, message, &request)) AdminTask::start(engine, x, kind);
  }

  void health(Exchange& x, std::string_view message) const {
    rpc::HealthCheckRequest request;
    if (!decode(x, message, &request)) return;
    const bool watches = route_of(x.route()) == Route::kCallHealthWatch;
    if (watches) return health_.watch(x, request.service, shared_.rules.calls);
    health_.check(x, request.service);
  }

  const Shared shared_;
  const Health& health_;
  const uint64_t max_value_bytes_;
  const uint64_t max_batch_bytes_;
  CollectedPuts collected_;
};

}  // namespace kyro
