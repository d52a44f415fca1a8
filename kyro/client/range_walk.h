// A range of one server, or of several merged in key order, as NDJSON scans send it.
//
// Without a limit the whole range is one stream, with one pages follow each other. A line in memory
// for each server. What a server has beyond its slots is left out. Of several servers each answers
// as of a moment of its own.
//
// Thread rule: one thread. Ownership: borrows the clients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/client/lines.h"
#include "kyro/client/scan_line.h"
#include "kyro/client/session.h"
#include "kyro/client/shards.h"

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

// Of one server.
class RangeWalk {
 public:
  RangeWalk(CtlClient& client, const ScanFlags& range)
      : client_(client), range_(range), body_(client.http) {}

  // Goes to the next item; false at the end of the range, or when it broke off: that has been told.
  bool next() {
    for (;;) {
      if (!lines_) {
        std::optional<uint64_t> page = range_.limit;
        if (page) page = std::min(*page, kPageItemsMax);
        code_ = begin_stream(client_, range_.target(page), "application/x-ndjson");
        if (code_ != kExitOk) return false;
        lines_.emplace(body_);
        has_trailer_ = false;
      }
      auto more = lines_->next(&line_);
      if (!more.ok()) return broken(more.status().message());
      if (*more) {
        if (const Status valid = parse_scan_line(line_, &item_); !valid.ok()) {
          return broken(valid.message());
        }
        has_trailer_ = !item_.key;
        if (has_trailer_) continue;
        last_ = item_.key;
        if (range_.limit) *range_.limit -= std::min<uint64_t>(*range_.limit, 1);
        return true;
      }
      if (!has_trailer_) return broken("the answer has no trailer");
      lines_.reset();
      if (item_.is_complete || !item_.next || range_.limit == 0u) return false;
      (range_.reverse ? range_.end : range_.start) = item_.next;
    }
  }

  // The item, valid until the next call; after the last one the trailer.
  [[nodiscard]] std::string_view line() const { return line_; }
  [[nodiscard]] const ScanLine& item() const { return item_; }
  // The exit code.
  [[nodiscard]] int code() const { return code_; }

 private:
  static constexpr uint64_t kPageItemsMax = 10000;

  bool broken(std::string_view why) {
    code_ = ctl_fail(
        "the scan broke off " +
        (last_ ? "after key " + std::to_string(*last_) : std::string("before the first key")) +
        ": " + std::string(why) + "; the output is not complete");
    return false;
  }

  CtlClient& client_;
  ScanFlags range_;
  HttpBodySource body_;
  std::optional<LineReader> lines_;  // of the page under way
  std::string_view line_;
  ScanLine item_;
  bool has_trailer_ = false;
  std::optional<uint64_t> last_;
  int code_ = kExitOk;
};

// Walks over a range of all servers, calling on_item(line, parsed) for each item, which returns
// whether to go on. The exit code; what went wrong has been told.
template <class OnItem>
int walk_range(Shards& shards, const ScanFlags& range, const OnItem& on_item) {
  std::vector<std::unique_ptr<RangeWalk>> walks;
  std::vector<size_t> heap;  // of those that have an item, the one whose turn it is first
  const auto key_of = [&walks](size_t i) { return *walks[i]->item().key; };
  const auto is_later = [&](size_t a, size_t b) {
    return range.reverse ? key_of(a) < key_of(b) : key_of(a) > key_of(b);
  };
  // Its next item that is not beyond its slots; false where there is none.
  const auto advance = [&](size_t i) {
    while (walks[i]->next()) {
      if (shards.place_of(key_of(i)) == i) return true;
    }
    return false;
  };
  for (size_t i = 0; i < shards.size(); ++i) {
    walks.push_back(std::make_unique<RangeWalk>(shards[i], range));
    if (advance(i)) heap.push_back(i);
    if (walks[i]->code() != kExitOk) return walks[i]->code();
  }
  std::make_heap(heap.begin(), heap.end(), is_later);
  for (uint64_t left = range.limit.value_or(UINT64_MAX); left > 0 && !heap.empty(); --left) {
    std::pop_heap(heap.begin(), heap.end(), is_later);
    const size_t i = heap.back();
    if (!on_item(walks[i]->line(), walks[i]->item())) return kExitError;
    if (left > 1 && advance(i)) {
      std::push_heap(heap.begin(), heap.end(), is_later);
    } else {
      heap.pop_back();
    }
    if (walks[i]->code() != kExitOk) return walks[i]->code();
  }
  return kExitOk;
}

}  // namespace ctl
}  // namespace kyro
