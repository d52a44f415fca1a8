// DELETE /v1/scan, and the call DeleteRange: removes the live keys of a range, in slices.
//
// A slice looks for up to kKeysPerCommit keys as of the moment in which it begins, and commits
// their tombstones together: all of them or none. So nothing waits long for another, and the answer
// {"deleted":n,"complete":…} says what has been done. A request works for kSecondsMax, or until the
// server drains, the token is withdrawn, or the client has gone or ended its side; then "next" says
// where to go on, as after a failure between two slices. What is written into a part of the range
// that has been passed stays.
//
// Order: it counts as an open batch (open_writes.h): later writes of its connection wait.
//
// Thread rule and ownership: as PendingWrite; made with new, disposes of itself in run().
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/reply/sliced_body.h"
#include "kyro/server/routes/open_writes.h"
#include "kyro/server/routes/query.h"
#include "kyro/server/routes/scan.h"
#include "kyro/storage/engine.h"

namespace kyro {

class RangeDelete final : public WaitingTask, public WriteRequest {
 public:
  static constexpr size_t kKeysPerCommit = 4096;
  static constexpr uint64_t kSecondsMax = 10;

  static void start(Engine& engine, OpenWrites& open, Exchange& x, const StreamRules& rules,
                    const std::atomic<bool>& draining) {
    const std::string_view query = x.request().query;
    const auto range = find_range(query);
    const auto limit = find_limit(query);
    const auto string_keys = find_string_keys(query);
    if (!range.ok()) return respond_status(x, range.status());
    if (!limit.ok()) return respond_status(x, limit.status());
    if (!string_keys.ok()) return respond_status(x, string_keys.status());
    if (!find_param(query, "start")->has_value()) {
      return x.respond_error(400, "invalid",
                             "a range to delete needs its first key: start=0 for all there is");
    }
    if (open.batch_must_wait(x)) return;
    auto* self = new RangeDelete(engine, open, x, rules, draining, *range);
    self->left_ = limit->value_or(~uint64_t{0});
    self->string_keys_ = *string_keys;
    self->step(x);
  }

  static void start_call(Engine& engine, OpenWrites& open, Exchange& x, const StreamRules& rules,
                         const std::atomic<bool>& draining, const ScanRange& range,
                         uint64_t keys_max) {
    auto* self = new RangeDelete(engine, open, x, rules, draining, range);
    self->left_ = keys_max;
    self->step(x);
  }

  void done() override { post(); }
  void on_abandoned() override { is_abandoned_ = true; }  // it is posted after its slice

  void run(Exchange* x) override {
    if (x == nullptr) return dispose();  // nobody is left to hear it
    if (!is_committing_) return step(*x);
    is_committing_ = false;
    if (!status.ok()) return fail(*x, status);
    deleted_ += keys_.size();
    left_ -= keys_.size();
    next_ = keys_.back() + 1;
    is_complete_ = is_complete_ || keys_.back() == range_.last;
    keys_.clear();
    end_scan();
    const bool is_late = monotonic_ns() - began_ns_ >= kSecondsMax * 1'000'000'000;
    if (is_complete_ || is_late || must_end()) return answer(*x);
    step(*x);
  }

 private:
  // Keys that lie far apart are committed before there are enough: a slice holds its moment.
  static constexpr int kSlicesPerCommit = 64;

  RangeDelete(Engine& engine, OpenWrites& open, const Exchange& x, const StreamRules& rules,
              const std::atomic<bool>& draining, const ScanRange& range)
      : engine_(engine),
        open_(open),
        moments_(rules.moments),
        draining_(draining),
        range_(range),
        permit_(rules.access.permit(x.request())),
        next_(range.first) {
    open_.add_batch();
  }

  [[nodiscard]] bool must_end() const {
    return is_abandoned_ || draining_.load(std::memory_order_acquire) || !permit_.is_valid();
  }

  void dispose() {
    open_.remove_batch();
    delete this;
  }

  void begin_scan() {
    const Moment now = engine_.moment();
    scan_ = std::make_unique<Scan>(now, ScanRange{next_, range_.last});
    moments_.begin(*now.view, &held_.emplace());
    slices_ = 0;
  }
  void end_scan() {
    scan_.reset();
    held_.reset();
  }

  // A slice of the search; then another one is due, a commit, or the answer.
  void step(Exchange& x) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left_, kKeysPerCommit));
    if (scan_ == nullptr) begin_scan();
    if (held_->is_revoked() || (slices_ > 0 && must_end())) {
      if (!keys_.empty()) return commit(x);
      if (must_end()) return answer(x);
      return fail(x, Status(Code::kBusy, "too much was written meanwhile"));
    }
    std::optional<uint64_t> beyond;  // the key that comes after those that are wanted
    const auto state = engine_.advance(*scan_, kScanSliceBytes, [&](const RecordView& record) {
      if (keys_.size() == wanted) {
        beyond = record.header.key;
        return false;
      }
      keys_.push_back(record.header.key);
      return true;
    });
    if (!state.ok()) return fail(x, state.status());
    is_complete_ = *state == Scan::State::kEnd;
    const bool is_full = beyond.has_value() || ++slices_ >= kSlicesPerCommit;
    if (!keys_.empty() && (is_complete_ || is_full)) return commit(x);
    if (beyond) next_ = *beyond;  // nothing more is wanted
    if (is_complete_ || beyond) return answer(x);
    x.defer(this);
    post();
  }

  void commit(Exchange& x) {
    list_.clear();
    for (const uint64_t key : keys_) list_.push_back(Mutation::remove(key));
    mutations = list_;
    is_committing_ = true;
    x.defer(this);
    engine_.enqueue(this);
  }

  void answer(Exchange& x) {
    if (rpc::is_call(x)) {
      rpc::respond_message(
          x, rpc::numbers_message({deleted_, is_complete_ ? 1u : 0u, is_complete_ ? 0 : next_}));
    } else {
      std::string body = "{";
      append_progress(body);
      x.respond(200, kJsonType, body);
    }
    dispose();
  }

  // An error says what has been done before it.
  void fail(Exchange& x, const Status& why) {
    if (rpc::is_call(x)) {
      std::string message(why.message());
      message.append("; ")
          .append(std::to_string(deleted_))
          .append(" have been deleted, go on with ");
      message.append(std::to_string(next_));
      rpc::respond_failed(x, rpc::grpc_code_of(why.code()), message);
      return dispose();
    }
    std::string body;
    append_error_json(body, code_name(why.code()), why.message());
    body.back() = ',';
    is_complete_ = false;
    append_progress(body);
    x.respond(http_status_of(why.code()), kJsonType, body);
    dispose();
  }

  void append_progress(std::string& body) const {
    body += "\"deleted\":";
    append_decimal(body, deleted_);
    body += is_complete_ ? ",\"complete\":true" : ",\"complete\":false,\"next\":";
    if (!is_complete_) append_json_u64(body, next_, string_keys_);
    body += '}';
  }

  Engine& engine_;
  OpenWrites& open_;
  HeldMoments& moments_;
  const std::atomic<bool>& draining_;
  const ScanRange range_;
  const uint64_t began_ns_ = monotonic_ns();
  const Permit permit_;
  bool string_keys_ = false;
  std::unique_ptr<Scan> scan_;  // of the slice under way
  std::optional<HeldMoments::Hold> held_;
  std::vector<uint64_t> keys_;    // that it has found
  std::vector<Mutation> list_;    // their tombstones
  uint64_t next_;                 // what lies below it has been deleted
  uint64_t left_ = ~uint64_t{0};  // that may still be deleted
  uint64_t deleted_ = 0;
  int slices_ = 0;  // of the scan
  bool is_complete_ = false;
  bool is_committing_ = false;
  bool is_abandoned_ = false;
};

}  // namespace kyro
