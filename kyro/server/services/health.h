// grpc.health.v1.Health: whether the store serves, asked once (Check) or told whenever that changes
// (Watch). It does where GET /ready says so.
//
// Thread rule: any reactor. Ownership: borrows what it looks at.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kyro/base/clock.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/grpc/call.h"
#include "kyro/server/readiness.h"
#include "kyro/storage/engine.h"

namespace kyro {

class Health {
 public:
  enum class Serving : uint8_t { kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

  // `engine` is null while its log is replayed, `replica` where no log is shared.
  Health(const std::atomic<Engine*>& engine, const std::atomic<const Replica*>& replica,
         const std::atomic<bool>& draining)
      : engine_(engine), replica_(replica), draining_(draining) {}

  [[nodiscard]] static bool is_known(std::string_view service) {
    return service.empty() || service == "kyrodb.v1.KV";
  }
  [[nodiscard]] Serving now() const {
    const bool serves = !draining_.load(std::memory_order_acquire) &&
                        !why_not_ready(engine_.load(std::memory_order_acquire),
                                       replica_.load(std::memory_order_acquire));
    return serves ? Serving::kServing : Serving::kNotServing;
  }

  void check(Exchange& x, std::string_view service) const {
    if (!is_known(service)) {
      return rpc::respond_failed(x, rpc::GrpcCode::kNotFound, "no such service");
    }
    std::string out;
    append_response(out, now());
    rpc::respond_message(x, out);
  }
  void watch(Exchange& x, std::string_view service, rpc::CallStats* stats) const {
    x.respond_stream(200, rpc::kCallType,
                     std::make_unique<Watch>(*this, is_known(service), rpc::StreamEnd(x, stats)));
  }

 private:
  class Watch final : public BodyStream {
   public:
    Watch(const Health& health, bool is_known, const rpc::StreamEnd& end)
        : health_(health), is_known_(is_known), end_(end) {}

    Next produce(std::string& out, size_t) override {
      if (end_.is_late()) return Next::kEnd;
      // Commits wake streams too, which is no reason to look at threads again.
      const uint64_t now_ns = monotonic_ns();
      if (said_ && now_ns - looked_ns_ < kLookNs) return Next::kWait;
      looked_ns_ = now_ns;
      say(out, is_known_ ? health_.now() : Serving::kServiceUnknown);
      return Next::kWait;
    }
    [[nodiscard]] uint64_t heartbeat_ms() const override { return end_.heartbeat_ms(1000); }
    bool on_drain(std::string& out) override {
      if (is_known_) say(out, Serving::kNotServing);
      end_.set(rpc::GrpcCode::kUnavailable, "the server is stopping");
      return true;
    }
    void on_end(Exchange& x) override { end_.add_to(x); }

   private:
    static constexpr uint64_t kLookNs = 500'000'000;

    void say(std::string& out, Serving serving) {
      if (said_ && serving == last_) return;
      said_ = true;
      last_ = serving;
      append_response(out, serving);
    }

    const Health& health_;
    const bool is_known_;
    rpc::StreamEnd end_;
    uint64_t looked_ns_ = 0;
    bool said_ = false;
    Serving last_ = Serving::kServiceUnknown;
  };

  static void append_response(std::string& out, Serving serving) {
    out.append(rpc::numbers_message({static_cast<uint64_t>(serving)}));
  }

  const std::atomic<Engine*>& engine_;
  const std::atomic<const Replica*>& replica_;
  const std::atomic<bool>& draining_;
};

}  // namespace kyro
