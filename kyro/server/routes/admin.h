// Long work on behalf of a request: the background threads do it, the reactor only waits for word.
//
// Ownership: an AdminTask is made with new and disposes of itself in run().
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kyro/net/http/handler.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/reply.h"
#include "kyro/storage/engine.h"

namespace kyro {

class AdminTask final : public Task {
 public:
  enum class Kind : uint8_t { kSnapshot, kCompact, kRmiBuild, kWarmup, kBackup };

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

  // Makes the backup `name` below `backup_dir` (empty: backups are not allowed).
  static void start_backup(Engine& engine, Exchange& exchange, const std::string& backup_dir) {
    if (backup_dir.empty()) {
      return exchange.respond_error(403, "forbidden",
                                    "this server makes no backups: start it with --backup-dir");
    }
    const auto name = find_param(exchange.request().query, "name");
    if (!name.ok()) return respond_status(exchange, name.status());
    if (!name->has_value() || !is_backup_name(**name)) {
      return exchange.respond_error(
          400, "bad_name",
          "parameter \"name\" must be 1 to 128 of A-Z a-z 0-9 . _ - and not begin with a dot");
    }
    auto* task = new AdminTask(engine, Kind::kBackup);
    task->name_ = **name;
    exchange.defer(task);
    engine.backup_async(backup_dir + "/" + task->name_,
                        [task](const Status& status, const CopyStats& copied) {
                          task->status_ = status;
                          task->copied_ = copied;
                          task->post();
                        });
  }

  void run(Exchange* exchange) override {
    const std::unique_ptr<AdminTask> self(this);
    if (exchange == nullptr) return;
    if (!status_.ok()) return respond_status(*exchange, status_);
    exchange->respond(200, kJsonType, body());
  }

 private:
  AdminTask(Engine& engine, Kind kind) : engine_(engine), kind_(kind) {}

  // Nothing that could lead out of the directory, or hide in it.
  static bool is_backup_name(std::string_view name) {
    const auto is_allowed = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
             c == '.' || c == '_' || c == '-';
    };
    return !name.empty() && name.size() <= 128 && name[0] != '.' &&
           std::all_of(name.begin(), name.end(), is_allowed);
  }

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
      case Kind::kBackup:
        out = "{\"backup\":\"ok\",\"name\":\"" + name_ + "\"";
        field("next_offset", copied_.next_offset);
        field("files", copied_.files);
        field("linked_bytes", copied_.linked_bytes);
        field("copied_bytes", copied_.copied_bytes);
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
  std::string name_;  // of a backup
  CopyStats copied_;
};

}  // namespace kyro
