// `kyrodbctl count` and `kyrodbctl delete-range`: ranges without their records.
//
// A deletion is a request after the other, each of which says where the next one goes on. On a
// terminal it asks first, and says how many keys it is about.
//
// Thread rule: one thread.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/client/progress.h"
#include "kyro/client/requests.h"
#include "kyro/client/streams.h"

namespace kyro {
namespace ctl {

inline std::string range_target(const char* path, const CliCall& call) {
  std::string target = path;
  for (const std::string_view name : {"start", "end"}) {
    if (const auto number = call.number(name)) add_parameter(target, name, *number);
  }
  return target;
}

// Of several servers the sum, of which each counts as of a moment of its own.
inline int run_count(const CliCall& call) {
  return with_shards(call, kMaintenanceTimeoutMs, [&](Shards& shards) {
    HttpResponse response;
    uint64_t count = 0;
    for (size_t i = 0; i < shards.size(); ++i) {
      CtlClient& client = shards[i];
      const Status status = client.http.request("GET", range_target("/v1/count", call), {},
                                                &response, client.headers);
      if (!status.ok()) return ctl_no_answer(client, status);
      if (response.status != 200) return ctl_fail_answer(response);
      count += json_number_field(response.body, "count").value_or(0);
    }
    if (shards.size() > 1) response.body = "{\"count\":" + std::to_string(count) + "}";
    return print_reply(shards[0], response, Reply::kFields);
  });
}

// Whether the user says yes to deleting what the range has; *code is the exit code if not.
inline bool may_delete(const CliCall& call, CtlClient& client, int* code) {
  HttpResponse response;
  client.http.set_timeout_ms(kMaintenanceTimeoutMs);
  const Status status =
      client.http.request("GET", range_target("/v1/count", call), {}, &response, client.headers);
  client.http.set_timeout_ms(kQuickTimeoutMs);
  if (!status.ok()) return *code = ctl_no_answer(client, status), false;
  if (response.status != 200) return *code = ctl_fail_answer(response), false;
  const auto end = call.number("end");
  std::fprintf(stderr, "delete %" PRIu64 " keys, from %" PRIu64 "%s%s? [y/N] ",
               json_number_field(response.body, "count").value_or(0), *call.number("start"),
               end ? " to before " : " on", end ? std::to_string(*end).c_str() : "");
  char answer[16] = {};
  const ssize_t got = read(STDIN_FILENO, answer, sizeof answer);
  if (got > 0 && (answer[0] == 'y' || answer[0] == 'Y')) return true;
  return *code = ctl_fail("nothing was deleted"), false;
}

class RangeDeletion {
 public:
  RangeDeletion(CtlClient& client, uint64_t start, std::optional<uint64_t> end,
                std::optional<uint64_t> limit)
      : client_(client), next_(start), end_(end), left_(limit) {}

  // The exit code.
  int run() {
    for (;;) {
      HttpResponse response;
      const Status status =
          client_.http.request("DELETE", target(), {}, &response, client_.headers);
      if (!status.ok()) return stop(ctl_no_answer(client_, status));
      const uint64_t deleted = json_number_field(response.body, "deleted").value_or(0);
      const auto next = json_number_field(response.body, "next");
      deleted_ += deleted;
      if (left_) *left_ -= std::min(*left_, deleted);
      if (next) next_ = *next;
      if (response.status != 200) return stop(ctl_fail_answer(response));
      if (!next || left_ == uint64_t{0}) return finish(!next);
      progress_.show(deleted_);
    }
  }

 private:
  [[nodiscard]] std::string target() const {
    std::string out = "/v1/scan";
    add_parameter(out, "start", next_);
    if (end_) add_parameter(out, "end", *end_);
    if (left_) add_parameter(out, "limit", *left_);
    return out;
  }

  int finish(bool is_complete) const {
    progress_.clear();
    std::string json = "{\"deleted\":" + std::to_string(deleted_);
    json += is_complete ? ",\"complete\":true}" : ",\"complete\":false,\"next\":";
    if (!is_complete) json += std::to_string(next_) + "}";
    if (client_.as_json) {
      ctl_print(json + "\n");
    } else {
      JsonReader fields(json);
      print_json_fields(fields, "");
    }
    return ctl_finish_output(kExitOk);
  }

  // Something went wrong, and has been told.
  int stop(int code) const {
    progress_.clear();
    ctl_fail(std::to_string(deleted_) + " keys were deleted; go on with --start " +
             std::to_string(next_));
    return code;
  }

  CtlClient& client_;
  uint64_t next_;
  const std::optional<uint64_t> end_;
  std::optional<uint64_t> left_;
  uint64_t deleted_ = 0;
  Progress progress_;
};

inline int run_delete_range(const CliCall& call) {
  const auto start = call.number("start");
  if (!start) return ctl_usage_error("--start says where the range begins; 0 for all there is");
  const bool asks = !call.has("yes");
  if (asks && isatty(STDIN_FILENO) == 0) {
    return ctl_usage_error("there is no terminal to ask on: give --yes");
  }
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    int code = kExitOk;
    if (asks && !may_delete(call, client, &code)) return code;
    return RangeDeletion(client, *start, call.number("end"), call.number("limit")).run();
  });
}

}  // namespace ctl
}  // namespace kyro
