// Long work on behalf of a request or call: the background threads do it, the reactor only waits
// for word.
//
// Ownership: an AdminTask is made with new and disposes of itself in run().
#pragma once

#include <memory>
#include <string>

#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/reply.h"
#include "kyro/storage/engine.h"

namespace kyro {

class AdminTask final : public Task {
 public:
  static void start(Engine& engine, Exchange& exchange, Job::Kind kind) {
    auto* task = new AdminTask(engine, kind);
    exchange.defer(task);
    engine.start({kind}, [task](const JobOutcome& outcome) {
      task->outcome_ = outcome;
      task->post();
    });
  }

  void run(Exchange* exchange) override {
    const std::unique_ptr<AdminTask> self(this);
    if (exchange == nullptr) return;
    if (outcome_.status.code() ==
        Code::kNotFound) {  // a file or directory, which is no missing key
      return respond_status(*exchange,
                            Status(Code::kIoError, std::string(outcome_.status.message())));
    }
    if (!outcome_.status.ok()) return respond_status(*exchange, outcome_.status);
    if (rpc::is_call(*exchange)) return rpc::respond_message(*exchange, message());
    exchange->respond(200, kJsonType, body());
  }

 private:
  // SnapshotResponse, CompactResponse or BuildIndexResponse.
  [[nodiscard]] std::string message() const {
    const auto& compacted = outcome_.compacted;
    switch (kind_) {
      case Job::Kind::kSnapshot:
        return rpc::numbers_message({engine_.next_offset()});
      case Job::Kind::kCompact:
        return rpc::numbers_message(
            {compacted.before_bytes, compacted.after_bytes, compacted.keys_retained});
      default:
        return rpc::numbers_message({compacted.keys_retained});
    }
  }

  AdminTask(Engine& engine, Job::Kind kind) : engine_(engine), kind_(kind) {}

  [[nodiscard]] std::string body() const {
    std::string out;
    const auto field = [&](std::string_view name, uint64_t value) {
      out.append(out.empty() || out.back() == '{' ? "\"" : ",\"").append(name).append("\":");
      append_decimal(out, value);
    };
    switch (kind_) {
      case Job::Kind::kWarm:
      case Job::Kind::kScrub:
        return "{\"status\":\"ok\"}";
      case Job::Kind::kSnapshot:
        out = "{\"snapshot\":\"ok\"";
        field("next_offset", engine_.next_offset());
        return out + "}";
      case Job::Kind::kRebuildIndex:
        out = "{\"ok\":true";
        field("count", outcome_.compacted.keys_retained);
        return out + "}";
      case Job::Kind::kCompact:
        out = "{\"compact\":\"ok\",\"stats\":{";
        field("before_bytes", outcome_.compacted.before_bytes);
        field("after_bytes", outcome_.compacted.after_bytes);
        field("segments_removed", outcome_.compacted.segments_removed);
        field("segments_active", outcome_.compacted.segments_active);
        field("keys_retained", outcome_.compacted.keys_retained);
        return out + "}}";
      default:
        return out;
    }
  }

  Engine& engine_;
  const Job::Kind kind_;
  JobOutcome outcome_;
};

}  // namespace kyro
