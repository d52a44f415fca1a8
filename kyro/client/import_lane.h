// The way of an import into one server: batches over one connection, answered in their order.
//
// A batch is one POST /v1/batch: it is stored as a whole or not at all. Two are on their way at
// once, one being stored while the next is gathered.
//
// What goes wrong:
//   a refused batch    (400, 413) is halved and sent again, until the record at fault is alone: it
//                      is named, and what stands before it is stored
//   503, 429           with Retry-After, and a connection that breaks: sent again, in order,
//                      together with what followed it, at most kAttemptsMax times without progress
//   anything else      stops the lane; what was acknowledged stays
//
// Thread rule: one thread. Ownership: borrows the client and the progress.
#pragma once

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/progress.h"
#include "kyro/client/session.h"

namespace kyro {

// Why an import went no further.
struct ImportFailure {
  uint64_t record = 0;  // counted from 0
  uint64_t line = 0;    // of the input
  std::string why;
  int exit_code = kExitError;
};

class ImportLane {
 public:
  static constexpr size_t kBatchRecords = 1000;
  static constexpr size_t kBatchBytesMin = 4096;
  static constexpr size_t kInFlightMax = 2;
  static constexpr int kAttemptsMax = 30;
  static constexpr uint64_t kRetryAfterSecsMax = 10;

  ImportLane(CtlClient& client, Progress& progress, size_t batch_bytes)
      : client_(client), progress_(progress), batch_bytes_(batch_bytes) {
    headers_ = client.headers;
    headers_.emplace_back("Content-Type", "application/x-ndjson");
  }

  // Takes a record, which is a line of a batch; sends what has been gathered once that is enough.
  void add(std::string_view batch_line, uint64_t record, uint64_t line) {
    gathered_.body += batch_line;
    gathered_.records.push_back({record, line});
    if (gathered_.records.size() < kBatchRecords && gathered_.body.size() < batch_bytes_) return;
    send_gathered();
  }

  // Sends what there is and takes all answers, or fails.
  void finish() {
    if (!gathered_.records.empty()) send_gathered();
    while (!failure_ && !in_flight_.empty()) settle_oldest();
  }

  [[nodiscard]] const std::optional<ImportFailure>& failure() const { return failure_; }
  [[nodiscard]] uint64_t stored() const { return stored_; }

 private:
  struct Record {
    uint64_t number = 0;
    uint64_t line = 0;
  };
  struct Batch {
    std::string body = {};
    std::vector<Record> records = {};
  };

  void send_gathered() {
    while (!failure_ && in_flight_.size() >= kInFlightMax) settle_oldest();
    if (failure_) return;
    in_flight_.push_back(std::exchange(gathered_, Batch{}));
    send(in_flight_.back().body);
  }

  // A failure to send shows when the answer is asked for.
  void send(std::string_view body) {
    if (is_broken_) return;
    last_error_ = client_.http.send("POST", "/v1/batch", body, headers_);
    is_broken_ = !last_error_.ok();
  }

  Status receive(HttpResponse* response) {
    if (is_broken_) return last_error_;
    last_error_ = client_.http.receive(response);
    is_broken_ = !last_error_.ok() || !response->keep_alive;
    return last_error_;
  }

  void settle_oldest() {
    Batch& batch = in_flight_.front();
    HttpResponse response;
    const Status status = receive(&response);
    if (status.ok() && response.status == 200) {
      stored_ += batch.records.size();
      attempts_ = 0;
      in_flight_.pop_front();
      if (is_broken_) send_again();  // a server that closes has not taken what follows
      return;
    }
    const bool is_refused = status.ok() && (response.status == 400 || response.status == 413);
    if (is_refused && batch.records.size() > 1) {
      drop_answers();
      split_oldest();
      send_again();
      return;
    }
    if (may_try_again(status, response)) {
      drop_answers();
      send_again();
    } else {
      stop(batch.records[0], status, response);
    }
  }

  // Takes the answers to everything after the oldest batch, whatever they say.
  void drop_answers() {
    HttpResponse ignored;
    for (size_t i = 1; i < in_flight_.size() && !is_broken_; ++i) {
      static_cast<void>(receive(&ignored));
    }
  }

  void send_again() {
    is_broken_ = false;
    for (const Batch& batch : in_flight_) send(batch.body);
  }

  // Waits as long as the answer asks for; false when it is no use, or has been no use too often.
  bool may_try_again(const Status& status, const HttpResponse& response) {
    if (client_.http.unreachable() || ++attempts_ > kAttemptsMax) return false;
    if (!status.ok()) return attempts_ < 3;  // the connection; a fresh one may do
    const std::string_view wait = response.header("retry-after");
    const auto secs = parse_u64(wait);
    if (!secs || (response.status != 503 && response.status != 429)) return false;
    if (json_string_field(response.body, "error") == "read_only") return false;
    if (attempts_ == 1) {
      progress_.clear();
      ctl_fail(error_message(response) + ": trying again");
    }
    timespec pause{static_cast<time_t>(std::min(*secs, kRetryAfterSecsMax)), 0};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
    return true;
  }

  // Makes two batches of the oldest one, to find the record at fault; or perhaps all are fine, and
  // only their sum is too large for this server.
  void split_oldest() {
    Batch& first = in_flight_.front();
    const size_t half = first.records.size() / 2;
    size_t at = 0;
    for (size_t i = 0; i < half; ++i) at = first.body.find('\n', at) + 1;
    const auto middle = first.records.begin() + static_cast<ptrdiff_t>(half);
    Batch second{first.body.substr(at), {middle, first.records.end()}};
    first.records.erase(middle, first.records.end());
    first.body.resize(at);
    in_flight_.insert(in_flight_.begin() + 1, std::move(second));
    batch_bytes_ = std::max(batch_bytes_ / 2, kBatchBytesMin);
  }

  void stop(const Record& at, const Status& status, const HttpResponse& response) {
    failure_ = {.record = at.number, .line = at.line, .why = std::string(status.message())};
    if (!status.ok()) {
      if (client_.http.unreachable()) failure_->exit_code = kExitUnreachable;
    } else {
      std::string why = error_message(response);
      constexpr std::string_view kItsOwnLine = "line 1: ";  // of a batch of one
      if (why.starts_with(kItsOwnLine)) why.erase(0, kItsOwnLine.size());
      failure_->why = "refused with " + std::to_string(response.status) + ": " + why;
      if (response.status == 412) failure_->exit_code = kExitPrecondition;
    }
    in_flight_.clear();
  }

  CtlClient& client_;
  Progress& progress_;
  HeaderList headers_;
  size_t batch_bytes_;
  Batch gathered_;
  std::deque<Batch> in_flight_;  // oldest first
  bool is_broken_ = false;       // no answer will come on this connection
  Status last_error_;
  int attempts_ = 0;  // without progress
  uint64_t stored_ = 0;
  std::optional<ImportFailure> failure_;
};

}  // namespace kyro
