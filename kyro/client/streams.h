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
#include "kyro/client/scan_line.h"
#include "kyro/client/session.h"

namespace kyro {
namespace ctl {

inline void add_parameter(std::string& target, std::string_view name, uint64_t value) {
  target.append(target.find('?') == target.npos ? "?" : "&").append(name).append("=");
  target += std::to_string(value);
}

// Sends a GET and receives the answer's head, into `head` if wanted; a failed status is
// received whole and told. 0 or the exit code.
inline int begin_stream(CtlClient& client, const std::string& target, std::string_view accept,
                        const HeaderList& more = {}, HttpResponse* head = nullptr) {
  HeaderList headers = client.headers;
  headers.emplace_back("Accept", accept);
  headers.insert(headers.end(), more.begin(), more.end());
  HttpResponse response;
  Status status = client.http.send("GET", target, {}, headers);
  if (status.ok()) status = client.http.receive_head(&response);
  bool is_at_end = response.status == 200;
  while (status.ok() && !is_at_end) {
    status = client.http.receive_body(&response.body, &is_at_end);
  }
  if (!status.ok()) return ctl_no_answer(client, status);
  if (response.status != 200) return ctl_fail_answer(response);
  if (head != nullptr) *head = std::move(response);
  return kExitOk;
}

// What part of the key space a scan is about, as its flags say.
struct ScanFlags {
  std::optional<uint64_t> start;
  std::optional<uint64_t> end;
  std::optional<uint64_t> limit;
  bool reverse = false;
  bool keys_only = false;

  // A page of at most `page` items, or without it everything.
  [[nodiscard]] std::string target(std::optional<uint64_t> page) const {
    std::string out = "/v1/scan";
    if (start) add_parameter(out, "start", *start);
    if (end) add_parameter(out, "end", *end);
    if (page) add_parameter(out, "limit", *page);
    if (reverse) add_parameter(out, "reverse", 1);
    if (keys_only) add_parameter(out, "keys_only", 1);
    return out;
  }
};

[[nodiscard]] inline ScanFlags scan_flags(const CliCall& call) {
  return {.start = call.number("start"),
          .end = call.number("end"),
          .limit = call.number("limit"),
          .reverse = call.has("reverse"),
          .keys_only = call.has("keys-only")};
}

// Walks over a range, calling on_item(line, parsed) for each item, which returns whether to go on.
// Without a limit the whole range is one stream; with one, pages follow each other. The exit code;
// what went wrong has been told.
// *as_of receives the moment of the last page.
template <class OnItem>
int walk_range(CtlClient& client, ScanFlags range, const OnItem& on_item,
               std::optional<uint64_t>* as_of = nullptr) {
  constexpr uint64_t kPageItemsMax = 10000;
  std::optional<uint64_t> last;
  const auto broken = [&](std::string_view why) {
    return ctl_fail(
        "the scan broke off " +
        (last ? "after key " + std::to_string(*last) : std::string("before the first key")) + ": " +
        std::string(why) + "; the output is not complete");
  };
  for (;;) {
    std::optional<uint64_t> page = range.limit;
    if (page) page = std::min(*page, kPageItemsMax);
    const int begun = begin_stream(client, range.target(page), "application/x-ndjson");
    if (begun != kExitOk) return begun;
    HttpBodySource body(client.http);
    LineReader lines(body);
    ScanLine item;
    std::string_view line;
    uint64_t taken = 0;
    bool has_trailer = false;
    for (;;) {
      auto more = lines.next(&line);
      if (!more.ok()) return broken(more.status().message());
      if (!*more) break;
      if (const Status valid = parse_scan_line(line, &item); !valid.ok()) {
        return broken(valid.message());
      }
      has_trailer = !item.key;
      if (has_trailer) continue;
      last = item.key;
      ++taken;
      if (!on_item(line, item)) return kExitError;
    }
    if (!has_trailer) return broken("the answer has no trailer");
    if (as_of != nullptr) *as_of = item.as_of;
    if (range.limit) *range.limit -= std::min(*range.limit, taken);
    if (item.is_complete || !item.next || range.limit == 0u) return kExitOk;
    (range.reverse ? range.end : range.start) = item.next;
  }
}

inline int run_scan(const CliCall& call) {
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    return ctl_finish_output(
        walk_range(client, scan_flags(call), [](std::string_view line, const ScanLine&) {
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
  const auto key = parse_key_word(call.words[0]);
  if (!key.ok()) return ctl_usage_error(key.status().message());
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    uint64_t left = call.number("limit").value_or(UINT64_MAX);
    ScanFlags range;
    range.start = *key;
    if (*key != UINT64_MAX) range.end = *key + 1;
    std::optional<uint64_t> as_of;
    const auto print = [&](std::string_view line, const ScanLine&) {
      --left;
      ctl_print(line);
      ctl_print("\n");
      return std::fflush(stdout) == 0;
    };
    const int walked = walk_range(client, range, print, &as_of);
    if (walked != kExitOk || left == 0) return ctl_finish_output(walked);
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
