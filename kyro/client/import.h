// `kyrodbctl import`: records of a file or pipe into a server, in batches over one connection.
//
// A batch is one POST /v1/batch: it is stored as a whole or not at all, so the unit in which an
// import proceeds is the batch. Two are on their way at once, one being stored while the next is
// read. Memory is those two and one record, whatever the size of the input.
//
// What goes wrong:
//   a bad record       everything before it is stored, then the import stops and names its line
//   a refused batch    (400, 413) is halved and sent again, until the record at fault is alone: it
//                      is named, and what stands before it is stored
//   503, 429           with Retry-After, and a connection that breaks: sent again, in order,
//                      together with what followed it, at most kAttemptsMax times without progress
//   anything else      stops; what was acknowledged stays
// The message says which record to go on from (--skip). Records after it may be stored already:
// storing them once more changes nothing, because all are sent again in their order.
//
// Thread rule: one thread. Ownership: borrows client and source.
#pragma once

#include <time.h>

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/import_source.h"
#include "kyro/client/progress.h"
#include "kyro/client/session.h"

namespace kyro {

class Importer {
 public:
  static constexpr size_t kBatchRecords = 1000;
  static constexpr size_t kBatchBytes = 256 * 1024;
  static constexpr size_t kBatchBytesMin = 4096;
  static constexpr size_t kInFlightMax = 2;
  static constexpr int kAttemptsMax = 30;
  static constexpr uint64_t kRetryAfterSecsMax = 10;

  Importer(CtlClient& client, ImportSource& source, const FdSource& input,
           std::optional<uint64_t> input_bytes)
      : client_(client), source_(source), input_(input), input_bytes_(input_bytes) {
    headers_ = client.headers;
    headers_.emplace_back("Content-Type", "application/x-ndjson");
  }

  // Imports everything after the first `skip` records. The exit code.
  int run(uint64_t skip) {
    while (records_read_ < skip && !is_at_end_) {
      auto more = source_.skip();
      if (!more.ok()) fail(records_read_, source_.line(), more.status());
      is_at_end_ = !more.ok() || !*more;
      if (!is_at_end_) ++records_read_;
    }
    while (failure_.ok() && (!is_at_end_ || !in_flight_.empty())) {
      if (!is_at_end_ && in_flight_.size() < kInFlightMax) {
        read_batch();
      } else {
        settle_oldest();
      }
      if (stored_ > 0) progress_.show(stored_, input_.bytes_read(), input_bytes_);
    }
    // What was read before a bad record is stored.
    while (is_source_bad_ && !in_flight_.empty()) settle_oldest();
    return report();
  }

 private:
  struct Batch {
    std::string body = {};
    uint64_t first_record = 0;         // counted from 0
    std::vector<uint64_t> lines = {};  // of each record in the input
  };

  void read_batch() {
    Batch batch{.first_record = records_read_};
    while (batch.lines.size() < kBatchRecords && batch.body.size() < batch_bytes_) {
      auto more = source_.next(&batch.body);
      is_at_end_ = !more.ok() || !*more;
      if (!more.ok()) {
        is_source_bad_ = true;
        fail(records_read_, source_.line(), more.status());
      }
      if (is_at_end_) break;
      ++records_read_;
      batch.lines.push_back(source_.line());
    }
    if (batch.lines.empty()) return;
    in_flight_.push_back(std::move(batch));
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
      stored_ += batch.lines.size();
      attempts_ = 0;
      in_flight_.pop_front();
      if (is_broken_) send_again();  // a server that closes has not taken what follows
      return;
    }
    const bool is_refused = status.ok() && (response.status == 400 || response.status == 413);
    if (is_refused && batch.lines.size() > 1) {
      drop_answers();
      split_oldest();
      send_again();
      return;
    }
    if (may_try_again(status, response)) {
      drop_answers();
      send_again();
    } else {
      stop(batch.first_record, batch.lines[0], status, response);
    }
  }

  // Takes the answers to everything after the oldest batch, whatever they say.
  void drop_answers() {
    HttpResponse ignored;
    for (size_t i = 1; i < in_flight_.size() && !is_broken_; ++i) {
      static_cast<void>(receive(&ignored));
    }
    is_broken_ = false;
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
    const size_t half = first.lines.size() / 2;
    size_t at = 0;
    for (size_t i = 0; i < half; ++i) at = first.body.find('\n', at) + 1;
    const auto middle = first.lines.begin() + static_cast<ptrdiff_t>(half);
    Batch second{first.body.substr(at), first.first_record + half, {middle, first.lines.end()}};
    first.lines.erase(middle, first.lines.end());
    first.body.resize(at);
    in_flight_.insert(in_flight_.begin() + 1, std::move(second));
    batch_bytes_ = std::max(batch_bytes_ / 2, kBatchBytesMin);
  }

  void stop(uint64_t record, uint64_t line, const Status& status, const HttpResponse& response) {
    if (!status.ok()) {
      fail(record, line, status);
    } else {
      std::string why = error_message(response);
      constexpr std::string_view kItsOwnLine = "line 1: ";  // of a batch of one
      if (why.starts_with(kItsOwnLine)) why.erase(0, kItsOwnLine.size());
      fail(record, line,
           Status(Code::kInvalid, "refused with " + std::to_string(response.status) + ": " + why));
      exit_code_ = response.status == 412 ? kExitPrecondition : kExitError;
    }
    in_flight_.clear();
    is_source_bad_ = false;
  }

  // The earliest record that failed counts.
  void fail(uint64_t record, uint64_t line, Status cause) {
    if (!failure_.ok() && record >= failed_record_) return;
    failed_record_ = record;
    failed_line_ = line;
    failure_ = std::move(cause);
    exit_code_ = client_.http.unreachable() ? kExitUnreachable : kExitError;
  }

  int report() const {
    progress_.clear();
    if (!failure_.ok()) {
      const std::string records = std::to_string(failed_record_);
      ctl_fail("line " + std::to_string(failed_line_) + " (record " +
               std::to_string(failed_record_ + 1) + "): " + std::string(failure_.message()));
      if (failed_record_ > 0) {
        ctl_fail("the records before it are stored; go on with --skip " + records);
      }
    }
    const double seconds = progress_.seconds();
    if (client_.as_json) {
      std::printf("{\"imported\":%" PRIu64 ",\"seconds\":%.3f}\n", stored_, seconds);
    } else {
      std::fprintf(stderr, "imported %" PRIu64 " records in %.2f s (%.0f/s)\n", stored_, seconds,
                   seconds > 0 ? static_cast<double>(stored_) / seconds : 0);
    }
    return ctl_finish_output(failure_.ok() ? kExitOk : exit_code_);
  }

  CtlClient& client_;
  HeaderList headers_;
  ImportSource& source_;
  const FdSource& input_;
  const std::optional<uint64_t> input_bytes_;
  Progress progress_;
  std::deque<Batch> in_flight_;  // oldest first
  size_t batch_bytes_ = kBatchBytes;
  bool is_at_end_ = false;
  bool is_source_bad_ = false;  // failed_record_ is the source's: the batches before it are good
  bool is_broken_ = false;      // no answer will come on this connection
  Status last_error_;
  int attempts_ = 0;  // without progress
  uint64_t records_read_ = 0;
  uint64_t stored_ = 0;
  uint64_t failed_record_ = 0;
  uint64_t failed_line_ = 0;
  Status failure_;
  int exit_code_ = kExitError;
};

}  // namespace kyro
