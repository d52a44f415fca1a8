// `kyrodbctl import`: a file of NDJSON records into a server, pipelined over one connection.
//
// Each line {"key":…,"value":…} (or "value_base64") is one POST /v1/put. Two batches of them are on
// their way at once, so that they share the server's commit groups. A line is checked before it is
// sent: the first bad one stops the import, everything before it is stored, and the message says
// which line to go on from. Memory is one line and two batches, whatever the size of the input.
#pragma once

#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/app/exit_codes.h"
#include "kyro/app/json.h"
#include "kyro/app/lines.h"
#include "kyro/base/clock.h"
#include "kyro/net/http_client.h"

namespace kyro {

class Importer {
 public:
  // Requests per batch; the next batch is sent before the answers of the last one are read.
  static constexpr size_t kBatchLines = 128;
  static constexpr size_t kBatchBytes = 1u << 20;

  // `head` is everything of a request but its last field and its body: request line, Host, token.
  Importer(HttpClient& client, std::string head, bool as_json)
      : client_(client),
        head_(std::move(head)),
        as_json_(as_json),
        shows_progress_(isatty(STDERR_FILENO) != 0) {}

  // Imports from `fd`, skipping the lines before `from_line` (counted from 1). The exit code.
  int run(int fd, uint64_t from_line) {
    began_ = now_seconds();
    FdSource input(fd);
    LineReader lines(input);
    bool is_at_end = false;
    std::vector<uint64_t> on_the_way;
    while (!is_at_end && failure_.ok()) {
      std::vector<uint64_t> batch;
      is_at_end = !fill_batch(lines, from_line, &batch);
      if (!batch.empty()) send_batch(batch.front());
      receive(on_the_way);
      on_the_way = std::move(batch);
    }
    receive(on_the_way);
    return report();
  }

 private:
  static double now_seconds() { return static_cast<double>(monotonic_ns()) / 1e9; }

  // Formats requests for the next lines; false when there are no more, or the next one is bad.
  bool fill_batch(LineReader& lines, uint64_t from_line, std::vector<uint64_t>* batch) {
    std::string_view line;
    while (batch->size() < kBatchLines && outgoing_.size() < kBatchBytes) {
      auto more = lines.next(&line);
      if (more.ok() && !*more) return false;
      ++line_;
      if (more.ok() && (line_ < from_line || line.empty())) continue;
      Status valid = more.ok() ? decode_json_put(line, &record_) : more.status();
      if (!valid.ok()) {
        fail(line_, std::move(valid));
        return false;
      }
      outgoing_.append(head_).append("Content-Length: ");
      append_decimal(outgoing_, line.size());
      outgoing_.append("\r\n\r\n").append(line);
      batch->push_back(line_);
    }
    return true;
  }

  void send_batch(uint64_t first_line) {
    if (Status sent = client_.send_raw(outgoing_); !sent.ok()) fail(first_line, std::move(sent));
    outgoing_.clear();
  }

  // Takes the answers to the requests of these lines.
  void receive(const std::vector<uint64_t>& lines) {
    for (const uint64_t line : lines) {
      if (is_broken_) return;
      HttpResponse response;
      if (Status got = client_.receive(&response); !got.ok()) {
        is_broken_ = true;
        fail(line, std::move(got));
      } else if (response.status != 200) {
        fail(line, Status(Code::kInvalid,
                          "refused with " + std::to_string(response.status) + " " + response.body));
      } else {
        ++stored_;
      }
    }
    show_progress();
  }

  // Remembers the earliest line that failed.
  void fail(uint64_t line, Status cause) {
    if (!failure_.ok() && line >= failed_line_) return;
    failed_line_ = line;
    failure_ = std::move(cause);
  }

  void show_progress() {
    const double now = now_seconds();
    if (!shows_progress_ || now - shown_ < 0.2) return;
    shown_ = now;
    std::fprintf(stderr, "\r%" PRIu64 " records, %.0f/s ", stored_,
                 static_cast<double>(stored_) / (now - began_));
  }

  int report() const {
    const double seconds = now_seconds() - began_;
    if (shows_progress_) std::fprintf(stderr, "\r\033[K");
    if (!failure_.ok()) {
      std::fprintf(stderr,
                   "kyrodbctl: line %" PRIu64
                   ": %s\nkyrodbctl: the lines before it are stored; "
                   "go on with --from-line %" PRIu64 "\n",
                   failed_line_, std::string(failure_.message()).c_str(), failed_line_);
    }
    if (as_json_) {
      std::printf("{\"imported\":%" PRIu64 ",\"seconds\":%.3f}\n", stored_, seconds);
    } else {
      std::fprintf(stderr, "imported %" PRIu64 " records in %.2f s (%.0f/s)\n", stored_, seconds,
                   seconds > 0 ? static_cast<double>(stored_) / seconds : 0);
    }
    if (failure_.ok()) return kExitOk;
    return client_.unreachable() ? kExitUnreachable : kExitError;
  }

  HttpClient& client_;
  const std::string head_;
  const bool as_json_;
  const bool shows_progress_;
  std::string outgoing_;
  JsonWrite record_;
  uint64_t line_ = 0;  // read so far
  uint64_t stored_ = 0;
  uint64_t failed_line_ = 0;
  Status failure_;
  bool is_broken_ = false;  // no more answers will come
  double began_ = 0;
  double shown_ = 0;
};

}  // namespace kyro
