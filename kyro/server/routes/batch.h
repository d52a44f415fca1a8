// POST /v1/batch and the call Write: many writes that become one commit group, or nothing.
//
// A BatchWrite decodes its lines or operations in slices, between which its reactor serves others,
// resolves the conditions as it meets them, then is one WriteRequest. When a flush has passed a
// base version it comes back, and the conditions are resolved again, in slices too.
//
// Order: until it is submitted, and until it is done if it can come back, the batch counts as open
// (OpenWrites): later writes of its connection wait. A batch of one slice without conditions is
// submitted at once.
//
// Memory: the body, in which values are decoded, 48 bytes a line and about 130 bytes a
// condition; the body is at most --max-batch-bytes long.
//
// Thread rule and ownership: as PendingWrite; made with new, disposes of itself in run().
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/net/http/handler.h"
#include "kyro/server/grpc/answers.h"
#include "kyro/server/reply/reply.h"
#include "kyro/server/routes/batch_lines.h"
#include "kyro/server/routes/call_writes.h"
#include "kyro/server/routes/write.h"
#include "kyro/storage/engine.h"

namespace kyro {

class BatchWrite final : public Task, public WriteRequest {
 public:
  static void start(Engine& engine, OpenWrites& open, Exchange& exchange) {
    const HttpRequest& request = exchange.request();
    if (request.header("if-match") || request.header("if-none-match")) {
      return exchange.respond_error(400, "invalid", "the conditions of a batch stand in its lines");
    }
    if (request.body.empty()) return exchange.respond_error(400, "invalid", "an empty batch");
    if (open.batch_must_wait(exchange)) return;
    auto* batch = new BatchWrite(engine, open, exchange.take_body());
    batch->source_ =
        std::make_unique<BatchReader>(batch->body_.body(), [batch](const JsonWrite& write) {
          return expiry_of(batch->engine_, {write.ttl_secs, write.expires_secs});
        });
    batch->begin(exchange);
  }

  // The call Write; the last `message_bytes` of the body are its request.
  static void start_call(Engine& engine, OpenWrites& open, Exchange& x, size_t message_bytes) {
    auto* batch = new BatchWrite(engine, open, x.take_body());
    const std::span<char> message = batch->body_.body().last(message_bytes);
    batch->source_ = std::make_unique<OperationReader>(
        std::string_view(message.data(), message.size()),
        [&engine](const Lifetime& lifetime) { return expiry_of(engine, lifetime); },
        engine.options().max_batch_bytes);
    batch->begin(x);
  }

  void done() override { post(); }

  // A slice is due, or the committer is done.
  void run(Exchange* exchange) override {
    if (exchange == nullptr) return dispose();  // nobody is left to hear it
    if (phase_ != Phase::kCommitting) return advance(*exchange);
    if (is_stale) {
      phase_ = Phase::kResolving;
      resolved_ = 0;
      return advance(*exchange);
    }
    if (status.ok()) {
      respond(*exchange);
    } else if (status.code() == Code::kPreconditionFailed) {
      respond_status(*exchange, source_->with_number(status, lines_[failed_condition]));
    } else {
      respond_status(*exchange, status);
    }
    dispose();
  }

 private:
  enum class Phase : uint8_t { kDecoding, kResolving, kCommitting };

  // What a slice does at most before others get their turn.
  static constexpr size_t kSliceBytes = 128 * 1024;
  static constexpr size_t kSliceConditions = 256;
  static constexpr size_t kWriteBytesMin = 32;  // what a short one costs

  BatchWrite(Engine& engine, OpenWrites& open, OwnedBody body)
      : engine_(engine), open_(open), body_(std::move(body)) {}

  void begin(Exchange& exchange) {
    open_.add_batch();
    advance(exchange);
  }

  void dispose() {
    if (is_open_) open_.remove_batch();
    delete this;
  }
  void refuse(Exchange& exchange, const Status& why) {
    if (why.code() == Code::kInvalid && !rpc::is_call(exchange)) {
      exchange.respond_error(400, "bad_json", why.message());
    } else {
      respond_status(exchange, why);
    }
    dispose();
  }

  // One slice of work; then the next one is due, or the batch is on its way.
  void advance(Exchange& exchange) {
    const Status status_now = phase_ == Phase::kDecoding ? decode_slice() : resolve_slice();
    if (!status_now.ok()) return refuse(exchange, status_now);
    exchange.defer(this);
    if (!source_->at_end() || resolved_ < judged_.size()) return post();
    if (phase_ == Phase::kDecoding && judged_.empty()) {
      open_.remove_batch();  // nothing can overtake it any more
      is_open_ = false;
    }
    phase_ = Phase::kCommitting;
    mutations = list_;
    conditions = judged_;
    engine_.enqueue(this);
  }

  Status decode_slice() {
    size_t left = kSliceBytes;
    const size_t resolved_before = resolved_;
    while (!source_->at_end() && left > 0 && resolved_ - resolved_before < kSliceConditions) {
      Mutation mutation;
      Condition condition;
      bool is_conditional = false;
      const size_t before = source_->position();
      const auto is_whole = source_->next(left, &mutation, &condition, &is_conditional);
      KYRO_TRY(is_whole);
      if (!*is_whole) break;
      left -= std::min(left, std::max(source_->position() - before, kWriteBytesMin));
      Status fits = engine_.check({&mutation, 1});
      if (is_conditional && fits.ok()) {
        judged_.push_back(condition);
        lines_.push_back(source_->line());
        fits = engine_.resolve_base(&judged_.back());
        ++resolved_;
      }
      if (!fits.ok()) return source_->with_number(fits, source_->line());
      list_.push_back(mutation);
    }
    return source_->at_end() ? engine_.check(list_) : Status();
  }

  Status resolve_slice() {
    const size_t end = std::min(judged_.size(), resolved_ + kSliceConditions);
    for (; resolved_ < end; ++resolved_) KYRO_TRY(engine_.resolve_base(&judged_[resolved_]));
    return Status();
  }

  void respond(Exchange& exchange) const {
    if (rpc::is_call(exchange)) {
      return rpc::respond_message(exchange, rpc::numbers_message({offset, list_.size()}));
    }
    add_etag(exchange, offset);
    std::string answer = "{\"offset\":";
    append_decimal(answer, offset);
    answer += ",\"count\":";
    append_decimal(answer, list_.size());
    answer += '}';
    exchange.respond(200, kJsonType, answer);
  }

  Engine& engine_;
  OpenWrites& open_;
  OwnedBody body_;
  std::unique_ptr<BatchSource> source_;  // in body_
  std::vector<Mutation> list_;
  std::vector<Condition> judged_;
  std::vector<uint64_t> lines_;  // of the conditions
  size_t resolved_ = 0;          // of them
  Phase phase_ = Phase::kDecoding;
  bool is_open_ = true;
};

}  // namespace kyro
