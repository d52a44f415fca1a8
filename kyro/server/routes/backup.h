// Backups: POST /v1/backup?name=N makes one in --backup-dir, GET /v1/backup sends one as a tar
// archive while writes go on, GET and DELETE /v1/backups list those in --backup-dir and remove one.
//
// The engine's merger opens, copies and lists files, the reactor only waits for word. What is sent
// is read from open files in slices, as fast as the client takes it: it costs no memory, but room
// on the disk for what is merged away meanwhile, which is bounded (held_moments.h): who makes it
// too much is broken off. At most kStreamsMax are sent at one time, for their descriptors.
//
// Thread rule: on the exchange's reactor. Ownership: a task disposes of itself in run(); an answer
// owns its stream; the statistics outlive both.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/counters.h"
#include "kyro/base/text/backup_name.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/query.h"
#include "kyro/storage/engine.h"

namespace kyro {

inline constexpr std::string_view kTarType = "application/x-tar";

struct BackupStats {
  Gauge sending;
  Counter failures;  // not made, though the name was free; not sent whole
};

// A place among those that are sent at one time. Whoever leaves it early has failed.
class BackupPlace {
 public:
  static constexpr uint64_t kStreamsMax = 4;

  explicit BackupPlace(BackupStats& stats) : stats_(stats) { stats_.sending.add(1); }
  BackupPlace(const BackupPlace&) = delete;
  BackupPlace& operator=(const BackupPlace&) = delete;
  ~BackupPlace() {
    if (!is_whole_) stats_.failures.add();
    stats_.sending.sub(1);
  }

  void set_whole() { is_whole_ = true; }

 private:
  BackupStats& stats_;
  bool is_whole_ = false;
};

class BackupBody final : public SlicedBody {
 public:
  BackupBody(std::shared_ptr<StoreStream> stream, std::unique_ptr<BackupPlace> place)
      : stream_(std::move(stream)), place_(std::move(place)) {}

  const View* hold() override { return &stream_->view(); }
  Result<bool> write_slice(std::string& out, size_t budget_bytes) override {
    Result<bool> ended = stream_->write(out, budget_bytes);
    if (ended.ok() && *ended) place_->set_whole();
    return ended;
  }

 private:
  const std::shared_ptr<StoreStream> stream_;
  const std::unique_ptr<BackupPlace> place_;
};

class BackupTask final : public Task {
 public:
  // Makes the backup that the query names below `shelf`, or removes it.
  static void change(Engine& engine, Exchange& x, const std::string& shelf, BackupStats& stats,
                     const StreamRules& rules) {
    if (refuse_without(shelf, x)) return;
    const auto name = find_param(x.request().query, "name");
    if (!name.ok()) return respond_status(x, name.status());
    if (!name->has_value() || !is_backup_name(**name)) {
      return x.respond_error(
          400, "bad_name",
          "parameter \"name\" must be 1 to 128 of A-Z a-z 0-9 . _ - and not begin with a dot");
    }
    const std::string plain(**name);
    const bool is_removal = x.request().method == Method::kDelete;
    const auto kind = is_removal ? Job::Kind::kRemoveBackup : Job::Kind::kBackup;
    auto* task = new BackupTask(kind, stats, rules);
    task->name_ = plain;
    task->start(engine, x, is_removal ? shelf : shelf + "/" + plain);
  }

  static void list(Engine& engine, Exchange& x, const std::string& shelf, BackupStats& stats,
                   const StreamRules& rules) {
    if (refuse_without(shelf, x)) return;
    (new BackupTask(Job::Kind::kListBackups, stats, rules))->start(engine, x, shelf);
  }

  static void send(Engine& engine, Exchange& x, BackupStats& stats, const StreamRules& rules) {
    if (stats.sending.value() >= BackupPlace::kStreamsMax) {
      return respond_status(x, Status(Code::kBusy, "enough backups are being sent already"));
    }
    auto* task = new BackupTask(Job::Kind::kStream, stats, rules);
    task->place_ = std::make_unique<BackupPlace>(stats);
    if (x.request().method == Method::kHead) task->place_->set_whole();  // nothing is sent
    task->rules_.permit = rules.access.permit(x.request());              // which is gone later
    task->start(engine, x, {});
  }

  void run(Exchange* x) override {
    const std::unique_ptr<BackupTask> self(this);
    Status status = outcome_.status;
    if (kind_ == Job::Kind::kBackup && !status.ok() && status.code() != Code::kExists) {
      stats_.failures.add();
    }
    if (x == nullptr) return;
    if (status.code() == Code::kNotFound) {
      if (kind_ == Job::Kind::kRemoveBackup) {
        return x->respond_error(404, "not_found", status.message());
      }
      status = Status(Code::kIoError, std::string(status.message()));  // which is no missing key
    }
    if (!status.ok()) return respond_status(*x, status);
    if (kind_ == Job::Kind::kStream) return send_stream(*x);
    if (kind_ == Job::Kind::kRemoveBackup) return x->respond(204, {}, {});
    x->respond(200, kJsonType, kind_ == Job::Kind::kBackup ? made_body() : list_body());
  }

 private:
  BackupTask(Job::Kind kind, BackupStats& stats, const StreamRules& rules)
      : kind_(kind), stats_(stats), rules_(rules) {}

  static bool refuse_without(const std::string& shelf, Exchange& x) {
    if (!shelf.empty()) return false;
    x.respond_error(403, "forbidden", "this server makes no backups: start it with --backup-dir");
    return true;
  }

  void start(Engine& engine, Exchange& x, std::string to) {
    x.defer(this);
    engine.start({.kind = kind_, .to = std::move(to), .name = name_},
                 [this](const JobOutcome& outcome) {
                   outcome_ = outcome;
                   post();
                 });
  }

  void send_stream(Exchange& x) {
    std::shared_ptr<StoreStream> stream = std::move(outcome_.stream);
    std::string number;
    append_decimal(number, stream->bytes());
    x.add_header("Kyro-Backup-Bytes", number);
    number.clear();
    append_decimal(number, stream->next_offset());
    x.add_header("Kyro-Next-Offset", number);
    respond_sliced(x, kTarType, std::make_unique<BackupBody>(std::move(stream), std::move(place_)),
                   rules_);
  }

  static void add_field(std::string& out, std::string_view name, uint64_t value) {
    out.append(",\"").append(name).append("\":");
    append_decimal(out, value);
  }
  [[nodiscard]] std::string made_body() const {
    std::string out = "{\"backup\":\"ok\",\"name\":\"" + name_ + "\"";
    add_field(out, "next_offset", outcome_.copied.next_offset);
    add_field(out, "files", outcome_.copied.files);
    add_field(out, "linked_bytes", outcome_.copied.linked_bytes);
    add_field(out, "copied_bytes", outcome_.copied.copied_bytes);
    return out + "}";
  }
  [[nodiscard]] std::string list_body() const {
    std::string out = "{\"backups\":[";
    for (const BackupInfo& backup : outcome_.backups) {
      out.append(out.ends_with('[') ? "" : ",").append("{\"name\":\"").append(backup.name);
      out.append(backup.is_whole ? "\",\"whole\":true" : "\",\"whole\":false");
      if (backup.is_whole) {
        add_field(out, "next_offset", backup.next_offset);
        add_field(out, "made", backup.made_secs);
      }
      add_field(out, "files", backup.files);
      add_field(out, "bytes", backup.bytes);
      out += '}';
    }
    const bool is_all = outcome_.backups.size() < kListedBackupsMax;
    return out + (is_all ? "],\"complete\":true}" : "],\"complete\":false}");
  }

  const Job::Kind kind_;
  BackupStats& stats_;
  StreamRules rules_;
  std::string name_;
  std::unique_ptr<BackupPlace> place_;
  JobOutcome outcome_;
};

}  // namespace kyro
