// Long work on behalf of a request or call: the background threads do it, the reactor only waits
// for word.
//
// Ownership: an AdminTask is made with new and disposes of itself in run().
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/backup_name.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/reply.h"
#include "kyro/storage/engine.h"

namespace kyro {

class AdminTask final : public Task {
 public:
  static void start(Engine& engine, Exchange& exchange, Job::Kind kind) {
    start(engine, exchange, {kind}, {});
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
    start(engine, exchange, {Job::Kind::kBackup, backup_dir + "/" + std::string(**name)},
          std::string(**name));
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

  AdminTask(Engine& engine, Job::Kind kind, std::string name)
      : engine_(engine), kind_(kind), name_(std::move(name)) {}

  static void start(Engine& engine, Exchange& exchange, Job job, std::string name) {
    auto* task = new AdminTask(engine, job.kind, std::move(name));
    exchange.defer(task);
    engine.start(std::move(job), [task](const JobOutcome& outcome) {
      task->outcome_ = outcome;
      task->post();
    });
  }

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
      case Job::Kind::kBackup:
        out = "{\"backup\":\"ok\",\"name\":\"" + name_ + "\"";
        field("next_offset", outcome_.copied.next_offset);
        field("files", outcome_.copied.files);
        field("linked_bytes", outcome_.copied.linked_bytes);
        field("copied_bytes", outcome_.copied.copied_bytes);
        return out + "}";
      case Job::Kind::kCompact:
        out = "{\"compact\":\"ok\",\"stats\":{";
        field("before_bytes", outcome_.compacted.before_bytes);
        field("after_bytes", outcome_.compacted.after_bytes);
        field("segments_removed", outcome_.compacted.segments_removed);
        field("segments_active", outcome_.compacted.segments_active);
        field("keys_retained", outcome_.compacted.keys_retained);
        return out + "}}";
    }
    return out;
  }

  Engine& engine_;
  const Job::Kind kind_;
  const std::string name_;  // of a backup
  JobOutcome outcome_;
};

}  // namespace kyro
