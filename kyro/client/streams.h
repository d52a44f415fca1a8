// The commands of kyrodbctl whose answers are streams of lines: scan, replay, subscribe.
//
// All print NDJSON as it comes and hold one line in memory. A stream that breaks off is exit 1 with
// a message that says where to go on, so that a cut-off output is never taken for a whole one.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/client/lines.h"
#include "kyro/client/range_walk.h"
#include "kyro/client/session.h"

namespace kyro {
namespace ctl {

inline int run_scan(const CliCall& call) {
  return with_shards(call, kQuickTimeoutMs, [&](Shards& shards) {
    return ctl_finish_output(
        walk_range(shards, scan_flags(call), [](std::string_view line, const ScanLine&) {
          ctl_print(line);
          ctl_print("\n");
          return std::ferror(stdout) == 0;
        }));
  });
}

// The offset of a record of the log, as replay prints it.
inline std::optional<uint64_t> record_offset(std::string_view line) {
  std::optional<uint64_t> offset;
  JsonReader json(line);
  constexpr std::array<std::string_view, 1> kFields{"offset"};
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t) {
    uint64_t number = 0;
    if (!read_json_key(json, &number, "\"offset\"")) return false;
    offset = number;
    return true;
  });
  return offset;
}

inline int run_replay(const CliCall& call) {
  std::string target = "/v1/replay";
  for (const std::string_view name : {"start", "end", "limit"}) {
    if (const auto number = call.number(name)) add_parameter(target, name, *number);
  }
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    const int begun = begin_stream(client, target, "application/x-ndjson");
    if (begun != kExitOk) return begun;
    HttpBodySource body(client.http);
    LineReader lines(body);
    std::string_view line;
    std::optional<uint64_t> last;
    for (;;) {
      auto more = lines.next(&line);
      if (!more.ok()) {
        std::string message = "the log broke off: " + std::string(more.status().message());
        if (last) message += "; go on with --start " + std::to_string(*last + 1);
        return ctl_finish_output(ctl_fail(message));
      }
      if (!*more) return ctl_finish_output(kExitOk);
      last = record_offset(line);
      ctl_print(line);
      ctl_print("\n");
    }
  });
}

// Reads server-sent events, printing each record as a line; ends after `limit` records.
class Subscription {
 public:
  Subscription(ByteSource& body, uint64_t limit) : lines_(body), left_(limit) {}

  int run() {
    std::string_view line;
    while (left_ > 0) {
      auto more = lines_.next(&line);
      if (!more.ok()) return ended(more.status().message());
      if (!*more) return ended(reason_.empty() ? "the server closed it" : reason_);
      if (line.starts_with("id: ")) last_ = parse_u64(line.substr(4));
      if (line.starts_with("event: ")) event_ = line.substr(7);
      if (line.empty()) event_.clear();
      if (line.starts_with("data: ")) take(line.substr(6));
    }
    return ctl_finish_output(kExitOk);
  }

 private:
  void take(std::string_view data) {
    if (event_ == "lagged") {
      reason_ = "the log no longer has what comes next; it has " + std::string(data);
    } else if (!event_.empty()) {
      reason_ = json_string_field(data, "reason");
    } else {
      ctl_print(data);
      ctl_print("\n");
      std::fflush(stdout);  // whoever reads wants it now
      --left_;
    }
  }

  int ended(std::string_view why) const {
    std::string message = "the subscription ended: " + std::string(why);
    if (last_) message += "; go on with --from " + std::to_string(*last_ + 1);
    return ctl_finish_output(ctl_fail(message));
  }

  LineReader lines_;
  uint64_t left_;
  std::string event_;
  std::string reason_;
  std::optional<uint64_t> last_;
};

inline int run_subscribe(const CliCall& call) {
  std::string target = "/v1/subscribe";
  for (const std::string_view name : {"from", "key", "start", "end"}) {
    if (const auto number = call.number(name)) add_parameter(target, name, *number);
  }
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    const int begun = begin_stream(client, target, "text/event-stream");
    if (begun != kExitOk) return begun;
    HttpBodySource body(client.http);
    return Subscription(body, call.number("limit").value_or(UINT64_MAX)).run();
  });
}

// What a key is, and from the moment of that on the log of it.
inline int run_watch(const CliCall& call) {
  return with_key_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    const auto key = parse_key_word(call.words[0]);
    uint64_t left = call.number("limit").value_or(UINT64_MAX);
    ScanFlags range;
    range.start = *key;
    if (*key != UINT64_MAX) range.end = *key + 1;
    RangeWalk walk(client, range);
    while (walk.next()) {
      --left;
      ctl_print(walk.line());
      ctl_print("\n");
      if (std::fflush(stdout) != 0) return ctl_finish_output(kExitError);
    }
    if (walk.code() != kExitOk || left == 0) return ctl_finish_output(walk.code());
    const std::optional<uint64_t> as_of = walk.item().as_of;
    if (!as_of) return ctl_fail("the server's answer does not say of when it is");
    std::string target = "/v1/subscribe?key=" + call.words[0];
    add_parameter(target, "from", *as_of);
    const int begun = begin_stream(client, target, "text/event-stream");
    if (begun != kExitOk) return begun;
    HttpBodySource body(client.http);
    return Subscription(body, left).run();
  });
}

}  // namespace ctl
}  // namespace kyro
