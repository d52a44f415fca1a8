// Reads that ask for how fresh their answer is: min_offset=N (the record with that offset is here),
// or consistency=latest (all is here that was in the shared log when the read came). Calls of gRPC
// say so in their metadata: min-offset, consistency.
//
// Such a read is kept whole until the store has come so far, or the time of --log-timeout-ms is up:
// then it is 503 as `behind`, or as `log_unreachable` where nobody knows how far that would be. It
// is over when its client goes and when the server drains; if its token is gone by then it is 401.
//
// A subscription that goes on where another replica was left may be ahead of this one; it waits in
// the same way, unasked.
//
// Without a shared log this store is all there is, so `latest` is what it has.
//
// Thread rule: on the exchange's reactor. Ownership: a FreshRead is made with new and disposes of
// itself in run().
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/net/http/handler.h"
#include "kyro/net/http/kept_request.h"
#include "kyro/replica/replica.h"
#include "kyro/server/access.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/route_table.h"
#include "kyro/server/routes/offset_waits.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

// What a read asks for; neither, most of the time.
struct Freshness {
  std::optional<uint64_t> min_offset;
  bool latest = false;
};

namespace fresh_detail {

[[nodiscard]] inline Result<Freshness> freshness_of(std::optional<std::string_view> min_offset,
                                                    std::optional<std::string_view> consistency) {
  Freshness wanted;
  if (min_offset && consistency) {
    return Status(Code::kInvalid, "min_offset and consistency exclude each other");
  }
  if (min_offset) {
    wanted.min_offset = parse_u64(*min_offset);
    if (!wanted.min_offset) {
      return Status(Code::kInvalid, "min_offset must be a decimal number from 0 to 2^64-1");
    }
  }
  wanted.latest = consistency == "latest";
  if (consistency && !wanted.latest) {
    return Status(Code::kInvalid, "consistency must be latest");
  }
  return wanted;
}

}  // namespace fresh_detail

// Of a request of HTTP.
[[nodiscard]] inline Result<Freshness> find_freshness(std::string_view query) {
  const auto min_offset = find_param(query, "min_offset");
  KYRO_TRY(min_offset);
  const auto consistency = find_param(query, "consistency");
  KYRO_TRY(consistency);
  return fresh_detail::freshness_of(*min_offset, *consistency);
}

// Of a call.
[[nodiscard]] inline Result<Freshness> find_call_freshness(const HttpRequest& request) {
  std::optional<std::string_view> min_offset;
  std::optional<std::string_view> consistency;
  for (const HeaderField& field : request.fields) {
    if (field.is("min-offset")) min_offset = field.value;
    if (field.is("consistency")) consistency = field.value;
  }
  return fresh_detail::freshness_of(min_offset, consistency);
}

// What all of them have to do with.
struct FreshReadRules {
  OffsetWaits& waits;
  const AccessControl& access;
  void (*answer)(void* context, Exchange& x);  // as if there was nothing to wait for
  void* context;
};

class FreshRead final : public OffsetWaits::Waiter {
 public:
  // Whether the exchange is answered later, or has been refused. `replica` is null where no log is
  // shared.
  [[nodiscard]] static bool takes(Exchange& x, const Freshness& wanted, Engine& engine,
                                  const Replica* replica, const FreshReadRules& rules) {
    const bool asks = wanted.latest && replica != nullptr;
    const bool waits = wanted.min_offset && engine.next_offset() <= *wanted.min_offset;
    if (!asks && !waits) return false;
    auto read = std::unique_ptr<FreshRead>(new FreshRead(x, engine, replica, rules));
    read->asks = asks;
    // The largest offset there could be never comes.
    if (waits) read->next_offset = std::max(*wanted.min_offset, *wanted.min_offset + 1);
    read.release()->wait(x);
    return true;
  }

  void run(Exchange* x) override {
    const std::unique_ptr<FreshRead> self(this);
    if (x == nullptr) return;
    const Exchange::SecondLook look(*x, kept_);
    if (!permit_.is_valid()) {
      x->add_header("WWW-Authenticate", "Bearer realm=\"kyrodb\"");
      return respond_refusal(*x, 401, "unauthorized", kWithdrawn);
    }
    if (is_refused_) {
      return respond_refusal(*x, 503, "overloaded", "too many reads are waiting");
    }
    if (!asks && engine_.next_offset() >= next_offset) return rules_.answer(rules_.context, *x);
    refuse(*x);
  }

  void on_abandoned() override {
    if (rules_.waits.remove(this)) post();
  }

 private:
  FreshRead(Exchange& x, Engine& engine, const Replica* replica, const FreshReadRules& rules)
      : engine_(engine),
        replica_(replica),
        rules_(rules),
        permit_(rules.access.permit(x.request())),
        kept_(x.request()) {
    held_bytes = sizeof *this + KeptRequest::bytes_of(x.request());
  }

  void wait(Exchange& x) {
    const bool must_ask = asks;  // as soon as it is added, the table may change that
    x.defer(this);
    if (!rules_.waits.add(this)) {
      is_refused_ = true;
      return post();
    }
    if (must_ask) return replica_->ask_for_head();
    if (engine_.next_offset() >= next_offset && rules_.waits.remove(this)) post();
  }

  void refuse(Exchange& x) const {
    if (asks) {
      return respond_refusal(x, 503, "log_unreachable",
                             replica_->health().is_stopped()
                                 ? replica_->health().reason()
                                 : "the shared log does not say in time where it ends");
    }
    std::string message = "this server has not come so far: the next offset here is ";
    append_decimal(message, engine_.next_offset());
    respond_refusal(x, 503, "behind", message);
  }

  Engine& engine_;
  const Replica* const replica_;
  const FreshReadRules& rules_;
  const Permit permit_;
  const KeptRequest kept_;
  bool is_refused_ = false;
};

// The offset before the one with which a subscription is to begin; nothing where that is not said.
// What is malformed says the route.
[[nodiscard]] inline std::optional<uint64_t> last_seen_offset(const HttpRequest& request,
                                                              Route route) {
  std::optional<uint64_t> from;
  if (route == Route::kCallSubscribe) {
    const auto message = rpc::only_message(request.body);
    rpc::SubscribeRequest subscribe;
    if (message.ok() && subscribe.decode(*message)) from = subscribe.from_offset;
  } else if (const auto last = request.header("last-event-id")) {
    return parse_u64(*last);
  } else if (const auto given = find_number(request.query, "from"); given.ok()) {
    from = *given;
  }
  if (!from || *from == 0) return std::nullopt;
  return *from - 1;
}

// Whether a read is answered later, or has been refused.
[[nodiscard]] inline bool must_be_fresher(Exchange& x, Route route, Engine& engine,
                                          const Replica* replica, const FreshReadRules& rules) {
  const HttpRequest& request = x.request();
  auto wanted = is_call_route(route) ? find_call_freshness(request) : find_freshness(request.query);
  if (!wanted.ok()) {
    respond_status(x, wanted.status());
    return true;
  }
  const bool subscribes = route == Route::kSubscribe || route == Route::kCallSubscribe;
  if (subscribes && replica != nullptr && !wanted->latest) {
    wanted->min_offset = std::max(wanted->min_offset, last_seen_offset(request, route));
  }
  return FreshRead::takes(x, *wanted, engine, replica, rules);
}

}  // namespace kyro
