// The routes over the engine: what scripts/api/README.md says of HTTP happens here, and only here
// do engine and server meet.
//
// on_headers decides everything that needs no body (token, route, method, key, type), on_request
// does the work. A read after a write of the same connection waits for it. The engine appears when
// recovery is done; until then routes that need it answer 503. Calls of gRPC are let in here as
// requests of HTTP are, and handed on (services/calls.h).
//
// Thread rule: reactors call the Handler functions concurrently; what they share is atomic or
// immutable. Reads run under the epoch pin of their reactor's round. Ownership: borrows the engine,
// which outlives the server's threads.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/epoch.h"
#include "kyro/base/text/slots.h"
#include "kyro/cli/build_info.h"
#include "kyro/net/http/handler.h"
#include "kyro/net/io/rate_limiter.h"
#include "kyro/net/server/http_server.h"
#include "kyro/server/access.h"
#include "kyro/server/observe/history.h"
#include "kyro/server/observe/http_stats.h"
#include "kyro/server/observe/metrics.h"
#include "kyro/server/observe/request_log.h"
#include "kyro/server/observe/state_routes.h"
#include "kyro/server/observe/status.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/route_table.h"
#include "kyro/server/routes/admin.h"
#include "kyro/server/routes/backup.h"
#include "kyro/server/routes/batch.h"
#include "kyro/server/routes/body_check.h"
#include "kyro/server/routes/count.h"
#include "kyro/server/routes/delete_range.h"
#include "kyro/server/routes/fresh_reads.h"
#include "kyro/server/routes/key_reads.h"
#include "kyro/server/routes/mget.h"
#include "kyro/server/routes/offset_waits.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/root.h"
#include "kyro/server/routes/scan.h"
#include "kyro/server/routes/stream.h"
#include "kyro/server/routes/strict.h"
#include "kyro/server/routes/waiting_reads.h"
#include "kyro/server/routes/write.h"
#include "kyro/server/services/calls.h"
#include "kyro/server/services/health.h"
#include "kyro/storage/engine.h"

namespace kyro {

class Api final : public Handler {
 public:
  struct Rates {
    RateLimit data;
    RateLimit admin;
  };

  Api(AccessControl& access, const Options& limits, Rates rates, unsigned reactors)
      : access_(access),
        max_value_bytes_(limits.max_value_bytes),
        max_batch_bytes_(limits.max_batch_bytes),
        rate_data_(rates.data),
        rate_admin_(rates.admin),
        pins_(reactors) {}

  // Before the server starts; null for none.
  void set_request_log(RequestLog* log) { request_log_ = log; }
  // Before the engine; without it no log is shared.
  void set_replica(const Replica* replica) { replica_.store(replica, std::memory_order_release); }
  // How long a read may wait to be as fresh as it wants to be. Before the server serves.
  void set_log_timeout_ms(uint64_t ms) { offset_waits_.set_timeout_ms(ms); }
  // Recovery is done.
  void set_engine(Engine* engine) {
    engine->set_key_listener(&waiting_reads_);
    engine_.store(engine, std::memory_order_release);
  }
  // Before the server serves.
  void set_mget_limits(uint64_t keys_max, uint64_t held_bytes_max) {
    mget_limits_.keys_max = keys_max;
    mget_limits_.held_bytes_max = held_bytes_max;
    calls_.set_collected_bytes_max(held_bytes_max);
  }
  // Where backups go; none are made without. Before the server serves.
  void set_backup_dir(std::string dir) { backup_dir_ = std::move(dir); }
  // The page at /; there is none without. Before the server serves.
  void set_page(const Page& page) { page_ = page; }
  // Every second or so, by one thread: for the status page's charts.
  void take_history(uint64_t now_ns) {
    if (engine() != nullptr) history_.take(now_ns, http_stats_, *engine(), connections());
  }
  // For the number of connections in the metrics.
  void set_server(const HttpServer* server) { server_.store(server, std::memory_order_release); }
  void set_draining() {
    draining_.store(true, std::memory_order_release);
    waiting_reads_.end();
    offset_waits_.end();
  }
  // Every second, and when tokens have changed, and when the time of one is up.
  void look_after_waiting_reads() {
    waiting_reads_.sweep();
    offset_waits_.sweep();
  }
  [[nodiscard]] const OffsetWaits& offset_waits() const { return offset_waits_; }
  [[nodiscard]] OffsetWaits& offset_waits() { return offset_waits_; }
  [[nodiscard]] RecoveryProgress& recovery_progress() { return progress_; }

  void on_round_begin(unsigned reactor) override { pins_[reactor].pin.emplace(); }
  void on_round_gathered(unsigned) override { commit_enqueued(); }
  void on_round_end(unsigned reactor) override {
    commit_enqueued();  // of connections that had their turn late in the round
    pins_[reactor].pin.reset();
    if (request_log_ != nullptr) request_log_->end_round();
  }
  void on_ahead(std::span<Exchange* const> exchanges) override {
    std::array<uint64_t, kAheadMax> keys;
    size_t count = 0;
    for (Exchange* const x : exchanges) {
      if (!find_route(*x)) {
        x->set_route(kNoRoute);  // on_headers says so, in its turn
      } else if (count == keys.size()) {
        continue;
      } else if (reads_one_key(route_of(x->route()))) {
        keys[count++] = x->user();
      } else if (route_of(x->route()) == Route::kCallGet) {
        if (const auto key = Calls::key_of(*x)) keys[count++] = *key;
      }
    }
    if (count > 1 && engine() != nullptr) engine()->prefetch({keys.data(), count});
  }
  void on_response(const Answered& answered) override {
    http_stats_.count(answered);
    if (request_log_ != nullptr) request_log_->add(answered);
  }
  void on_rejected(RejectReason reason) override { http_stats_.count_rejected(reason); }
  void refuse(Exchange& x, int status, std::string_view code, std::string_view message) override {
    static_cast<void>(find_route(x));
    respond_refusal(x, status, code, message);
  }
  void on_deadline(Exchange& x) override {
    rpc::respond_failed(x, rpc::GrpcCode::kDeadlineExceeded, "the deadline has passed");
  }

  void on_headers(Exchange& x) override {
    const HttpRequest& request = x.request();
    x.set_max_body_bytes(kSmallBodyBytes);
    const bool has_key = find_route(x);
    const RouteInfo& info = route_info(route_of(x.route()));
    if (!check_rate(x, info) || !check_access(x, info)) return;
    if (is_call_route(info.route)) return calls_.begin(x, engine());
    if (!check_method(x, info)) return;
    if (const Status heard = check_heard(request, info); !heard.ok()) {
      return respond_status(x, heard);
    }
    if (!has_key) return respond_bad_key(x);
    if (info.needs_engine && engine() == nullptr) {
      return x.respond_error(503, "recovering", "the log is being replayed; try again soon");
    }
    const bool is_shard = reads_one_key(info.route) && engine()->options().slots.is_partial();
    if (is_shard && request.method != Method::kOptions) {
      const Status served = engine()->options().slots.check(x.user());
      if (!served.ok()) return respond_status(x, served);
    }
    const bool has_body = request.method == Method::kPost || request.method == Method::kPut;
    if (has_body && info.body != Body::kIgnored) {
      check_body(x, info, {max_value_bytes_, max_batch_bytes_, mget_limits_.keys_max});
    }
  }

  void on_request(Exchange& x) override {
    const HttpRequest& request = x.request();
    const Route route = route_of(x.route());
    if (is_call_route(route)) {
      if (is_read_call(route) && must_wait_for_offset(x, route)) return;
      return calls_.handle(x, engine());
    }
    if (request.method == Method::kOptions) {
      x.add_header("Allow", request.path == "*" ? kAllMethods : route_info(route).allow);
      return x.respond(204, {}, {});
    }
    if (route_info(route).body == Body::kIgnored && request.method == Method::kPost) {
      const Status heard = check_no_body(request.body);
      if (!heard.ok()) return respond_status(x, heard);
    }
    if (is_read(route, request.method)) {
      if (x.has_pending_before() && x.wait_for_earlier()) return;
      if (may_want_freshness(request, route) && must_wait_for_offset(x, route)) return;
    }
    dispatch(x, route);
  }

 private:
  static constexpr size_t kAheadMax = 64;  // keys fetched ahead together
  static constexpr std::string_view kAllMethods = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

  [[nodiscard]] Engine* engine() const { return engine_.load(std::memory_order_acquire); }
  [[nodiscard]] const Replica* replica() const { return replica_.load(std::memory_order_acquire); }
  void commit_enqueued() {
    if (engine() != nullptr) engine()->commit_enqueued();
  }

  // Most requests say nothing of the kind, and are not searched for it.
  static bool may_want_freshness(const HttpRequest& request, Route route) {
    return (request.has_query || route == Route::kSubscribe) && route_info(route).needs_engine;
  }
  bool must_wait_for_offset(Exchange& x, Route route) {
    return engine() != nullptr &&
           must_be_fresher(x, route, *engine(), replica(), fresh_read_rules_);
  }
  static void answer(void* context, Exchange& x) {
    Api& api = *static_cast<Api*>(context);
    const Route route = route_of(x.route());
    is_call_route(route) ? api.calls_.handle(x, api.engine()) : api.dispatch(x, route);
  }

  // ---- what is decided before the body ----

  // Finds route and key, if that is not done yet; false if the route takes a key and there is none.
  static bool find_route(Exchange& x) {
    if (x.route() != kNoRoute) return true;
    const HttpRequest& request = x.request();
    std::string_view key_text;
    const RouteInfo& info = match_route(request.path, &key_text);
    if ((info.route == Route::kNone || is_call_route(info.route)) && rpc::has_call_form(request)) {
      const bool is_known = is_call_route(info.route) && !request.has_query;
      x.set_route(static_cast<uint16_t>(is_known ? info.route : Route::kCallUnknown));
      return true;
    }
    // A path of gRPC without its form is no route of HTTP.
    x.set_route(static_cast<uint16_t>(is_call_route(info.route) ? Route::kNone : info.route));
    if (!info.takes_key) return true;
    uint64_t key = 0;
    if (key_text.empty() || read_u64(key_text, &key) != key_text.size()) return false;
    x.set_user(key);
    return true;
  }

  // Before the token is looked at, so that guessing it is limited too.
  bool check_rate(Exchange& x, const RouteInfo& info) {
    const bool is_admin = is_admin_route(info.route);
    RateLimiter& limiter = is_admin ? rate_admin_ : rate_data_;
    if (!limiter.is_on() || x.request().is_unix) return true;
    if (info.is_probe && access_.is_open(info.route == Route::kMetrics)) return true;
    const uint64_t wait_secs = limiter.take(x.request().peer, monotonic_ns());
    if (wait_secs == 0) return true;
    (is_admin ? http_stats_.over_rate_admin : http_stats_.over_rate_data).add();
    x.add_header("Retry-After", std::to_string(wait_secs));
    respond_refusal(x, 429, "too_many_requests",
                    is_admin ? "this address asks for too much maintenance"
                             : "this address makes too many requests");
    return false;
  }

  bool check_access(Exchange& x, const RouteInfo& info) {
    const AccessControl::Need need{.is_probe = info.is_probe,
                                   .is_metrics = info.route == Route::kMetrics,
                                   .is_read = is_read(info.route, x.request().method)};
    switch (access_.check(x.request(), need)) {
      case AccessControl::Verdict::kAllowed:
        return true;
      case AccessControl::Verdict::kForbidden:
        http_stats_.count_forbidden();
        respond_refusal(x, 403, "forbidden",
                        "without a token only programs on this machine may ask, not web pages "
                        "(see --auth-token-file and --no-auth)");
        return false;
      case AccessControl::Verdict::kMayOnlyRead:
        http_stats_.count_forbidden();
        respond_refusal(x, 403, "forbidden", "this token may only read");
        return false;
      case AccessControl::Verdict::kNeedsToken:
        http_stats_.count_unauthorized();
        x.add_header("WWW-Authenticate", "Bearer realm=\"kyrodb\"");
        respond_refusal(x, 401, "unauthorized", "a valid bearer token is needed");
        return false;
    }
    return false;
  }

  static bool check_method(Exchange& x, const RouteInfo& info) {
    const HttpRequest& request = x.request();
    if (request.method == Method::kOptions && (request.path == "*" || info.route != Route::kNone)) {
      return true;
    }
    if (info.route == Route::kNone) {
      refuse_path(x);
      return false;
    }
    if (allows(info, request.method)) return true;
    x.add_header("Allow", info.allow);
    x.respond_error(405, "method_not_allowed", "this route does not answer that method");
    return false;
  }

  // There is no such route, or it is one of gRPC that is asked for in another way.
  static void refuse_path(Exchange& x) {
    const HttpRequest& request = x.request();
    std::string_view key_text;
    if (!is_call_route(match_route(request.path, &key_text).route)) {
      return x.respond_error(404, "not_found", "no such route");
    }
    if (request.version != HttpVersion::k2) {
      return x.respond_error(505, "version_not_supported",
                             "gRPC needs HTTP/2, with prior knowledge; does a proxy speak HTTP/1?");
    }
    if (request.method != Method::kPost) {
      x.add_header("Allow", kCallMethods);
      return x.respond_error(405, "method_not_allowed", "calls of gRPC are POST");
    }
    x.respond_error(415, "unsupported_media_type",
                    "send application/grpc or application/grpc+proto");
  }

  // ---- the routes ----

  void dispatch(Exchange& x, Route route) {
    switch (route) {
      case Route::kGetFast:
        return respond_get_fast(*engine(), x, x.user(), held_moments_);
      case Route::kLookupFast:
        return respond_lookup_fast(*engine(), x, x.user());
      case Route::kKv:
        return kv(x);
      case Route::kPut:
        return PendingWrite::start_json(*engine(), open_writes_, x);
      case Route::kBatch:
        return BatchWrite::start(*engine(), open_writes_, x);
      case Route::kMget:
        return respond_mget(*engine(), x, mget_form(x.request()), mget_limits_, rules_);
      case Route::kScan:
        return scan(x);
      case Route::kCount:
        return respond_count(*engine(), x, rules_);
      case Route::kFloor:
        return NearestTask::start(*engine(), x, x.user(), Direction::kDown, rules_);
      case Route::kCeil:
        return NearestTask::start(*engine(), x, x.user(), Direction::kUp, rules_);
      case Route::kLookup:
        return respond_lookup(*engine(), x, rules_);
      case Route::kLookupRaw:
        return respond_lookup_raw(*engine(), x);
      case Route::kOffset:
        return respond_next_offset(x, *engine(), replica());
      case Route::kReplay:
        return respond_replay(*engine(), x, rules_);
      case Route::kSubscribe:
        return respond_subscribe(*engine(), x, http_stats_.subscribe, rules_);
      case Route::kSnapshot:
        return AdminTask::start(*engine(), x, Job::Kind::kSnapshot);
      case Route::kCompact:
        return AdminTask::start(*engine(), x, Job::Kind::kCompact);
      case Route::kRmiBuild:
        return AdminTask::start(*engine(), x, Job::Kind::kRebuildIndex);
      case Route::kWarmup:
        return AdminTask::start(*engine(), x, Job::Kind::kWarm);
      case Route::kBackup:
        return backup(x);
      case Route::kBackups:
        if (x.request().method == Method::kDelete) {
          return BackupTask::change(*engine(), x, backup_dir_, http_stats_.backups, rules_);
        }
        return BackupTask::list(*engine(), x, backup_dir_, http_stats_.backups, rules_);
      case Route::kHealth:
        return x.respond(200, kJsonType, "{\"status\":\"ok\"}");
      case Route::kReady:
        return ready(x);
      case Route::kMetrics:
        return metrics(x);
      case Route::kBuildInfo:
        return x.respond(200, kJsonType, build_info_json());
      case Route::kStatus:
        return status(x);
      case Route::kRoot:
        return respond_root(x, page_, kProductVersion);
      default:
        break;
    }
    x.respond_error(404, "not_found", "no such route");
  }

  void kv(Exchange& x) {
    const HttpRequest& request = x.request();
    const bool is_write = request.method == Method::kPut || request.method == Method::kDelete;
    if (is_write && open_writes_.must_wait(x, x.user())) return;
    if (request.method == Method::kPut) {
      const auto lifetime = find_lifetime(request.query);
      if (!lifetime.ok()) return respond_status(x, lifetime.status());
      return PendingWrite::start_value(*engine(), open_writes_, x, x.user(), *lifetime);
    }
    if (request.method == Method::kDelete) {
      return PendingWrite::start(*engine(), open_writes_, x, PendingWrite::Kind::kKvDelete,
                                 x.user(), {});
    }
    const auto wait_secs = find_number(request.query, "wait_secs");
    if (!wait_secs.ok()) return respond_status(x, wait_secs.status());
    if (!wait_secs->has_value()) return respond_get(*engine(), x, x.user(), held_moments_);
    if (**wait_secs > WaitingReads::kSecondsMax) {
      return x.respond_error(400, "invalid", "parameter \"wait_secs\" must be at most 300");
    }
    x.set_route(static_cast<uint16_t>(Route::kKvWait));
    KeyWait::start(*engine(), x, x.user(), **wait_secs, waiting_reads_, rules_);
  }

  void scan(Exchange& x) {
    if (x.request().method == Method::kDelete) {
      return RangeDelete::start(*engine(), open_writes_, x, rules_, draining_);
    }
    respond_scan(*engine(), x, rules_);
  }

  void backup(Exchange& x) {
    if (x.request().method == Method::kPost) {
      return BackupTask::change(*engine(), x, backup_dir_, http_stats_.backups, rules_);
    }
    BackupTask::send(*engine(), x, http_stats_.backups, rules_);
  }

  void ready(Exchange& x) {
    if (draining_.load(std::memory_order_acquire)) {
      x.close_after();  // on whichever reactor: not every one may have been told yet
      return x.respond(503, kJsonType, "{\"status\":\"draining\"}");
    }
    respond_ready(x, engine(), replica(), progress_.records.load(std::memory_order_relaxed));
  }

  void metrics(Exchange& x) {
    const bool is_draining = draining_.load(std::memory_order_acquire);
    x.respond(200, "text/plain; version=0.0.4; charset=utf-8",
              render_metrics(engine(), replica(), http_stats_, connections(), is_draining));
  }

  [[nodiscard]] uint64_t connections() const {
    const HttpServer* server = server_.load(std::memory_order_acquire);
    return server != nullptr ? server->connections() : 0;
  }

  void status(Exchange& x) {
    respond_server_status(x, {.engine = engine(),
                              .replica = replica(),
                              .progress = progress_,
                              .http = http_stats_,
                              .history = history_,
                              .connections = connections(),
                              .is_draining = draining_.load(std::memory_order_acquire)});
  }

  struct alignas(64) RoundPin {
    std::optional<EpochPin> pin;
  };

  AccessControl& access_;
  const uint64_t max_value_bytes_;
  const uint64_t max_batch_bytes_;
  MgetLimits mget_limits_;
  OpenWrites open_writes_;
  RequestLog* request_log_ = nullptr;
  RateLimiter rate_data_;
  RateLimiter rate_admin_;
  std::string backup_dir_;
  std::atomic<Engine*> engine_{nullptr};
  std::atomic<const Replica*> replica_{nullptr};
  std::atomic<const HttpServer*> server_{nullptr};
  std::atomic<bool> draining_{false};
  RecoveryProgress progress_;
  Page page_;
  HttpStats http_stats_;
  History history_;
  HeldMoments held_moments_{http_stats_.stale_readers};
  SharedPieces shared_pieces_;
  WaitingReads waiting_reads_{http_stats_.waits};
  OffsetWaits offset_waits_{http_stats_.offset_waits};
  const FreshReadRules fresh_read_rules_{offset_waits_, access_, answer, this};
  const StreamRules rules_{held_moments_, shared_pieces_, access_, {}, &http_stats_.calls};
  const Health health_{engine_, replica_, draining_};
  Calls calls_{
      {open_writes_, mget_limits_, http_stats_.subscribe, waiting_reads_, rules_, draining_},
      health_,
      max_value_bytes_,
      max_batch_bytes_};
  std::vector<RoundPin> pins_;
};

}  // namespace kyro
