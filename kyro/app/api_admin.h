// Long work on behalf of a request: the background threads do it, the reactor only waits for word.
//
// Ownership: an AdminTask is made with new and disposes of itself in run().
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kyro/app/reply.h"
#include "kyro/net/http_handler.h"
#include "kyro/storage/engine.h"

namespace kyro {

class AdminTask final : public Task {
 public:
  enum class Kind : uint8_t { kSnapshot, kCompact, kRmiBuild, kWarmup };

  static void start(Engine& engine, Exchange& exchange, Kind kind) {
    auto* task = new AdminTask(engine, kind);
    exchange.defer(task);
    const auto finish = [task](const Status& status) {
      task->status_ = status;
      task->post();
    };
    if (kind == Kind::kSnapshot) {
      engine.snapshot_async(finish);
    } else if (kind == Kind::kWarmup) {
      engine.warm_async(finish);
    } else {
      engine.compact_async(kind == Kind::kRmiBuild,
                           [task](const Status& status, const CompactStats& stats) {
                             task->status_ = status;
                             task->stats_ = stats;
                             task->post();
                           });
    }
  }

  void run(Exchange* exchange) override {
    const std::unique_ptr<AdminTask> self(this);
    if (exchange == nullptr) return;
    if (!status_.ok()) return respond_status(*exchange, status_);
    exchange->respond(200, kJsonType, body());
  }

 private:
  AdminTask(Engine& engine, Kind kind) : engine_(engine), kind_(kind) {}

  [[nodiscard]] std::string body() const {
    std::string out;
    const auto field = [&](std::string_view name, uint64_t value) {
      out.append(out.empty() || out.back() == '{' ? "\"" : ",\"").append(name).append("\":");
      append_decimal(out, value);
    };
    switch (kind_) {
      case Kind::kWarmup:
        return "{\"status\":\"ok\"}";
      case Kind::kSnapshot:
        out = "{\"snapshot\":\"ok\"";
        field("next_offset", engine_.next_offset());
        return out + "}";
      case Kind::kRmiBuild:
        out = "{\"ok\":true";
        field("count", stats_.keys_retained);
        return out + "}";
      case Kind::kCompact:
        out = "{\"compact\":\"ok\",\"stats\":{";
        field("before_bytes", stats_.before_bytes);
        field("after_bytes", stats_.after_bytes);
        field("segments_removed", stats_.segments_removed);
        field("segments_active", stats_.segments_active);
        field("keys_retained", stats_.keys_retained);
        return out + "}}";
    }
    return out;
  }

  Engine& engine_;
  const Kind kind_;
  Status status_;
  CompactStats stats_;
};

}  // namespace kyro
