// The group that is being gathered: requests that get their outcome together, and the records of
// those among them that are written, encoded as they will lie in the log.
//
// Invariants:
//   - a request whose conditions do not hold, or that failed before, is answered with the group but
//     takes no offset;
//   - conditions are judged against the state before the request: the requests before it in the
//     group count as written;
//   - what was decided in a group that fails never happened, a "no" included.
//
// Where stores share a log it also takes the group of another store on its way into this one.
//
// Thread rule: one thread at a time, the holder of the writer's role. Memory is kept from group to
// group.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/storage/engine_stats.h"
#include "kyro/storage/log/wal_format.h"
#include "kyro/storage/record.h"
#include "kyro/storage/view.h"
#include "kyro/storage/write/key_table.h"
#include "kyro/storage/write/write_request.h"

namespace kyro {

class CommitGroup {
 public:
  // Bytes of records that one group gathers at most; one larger request is a group of its own.
  static constexpr uint64_t kBytesMax = 1 * kMiB;

  // Whether all conditions hold; if not, the outcome is set. `view` is pinned.
  [[nodiscard]] bool decide(WriteRequest* request, const View& view, uint64_t now_secs) const;

  // Adds a request that takes no offset: it has failed, or its conditions do not hold.
  void add(WriteRequest* request) { members_.push_back(request); }
  // Adds a request and its records, numbered from `first_offset` of the group on.
  void add_records(WriteRequest* request, uint64_t first_offset);
  // Makes it a group of these valid records, which another store has numbered. REQUIRES: empty().
  void adopt(std::string_view body);
  // Empties it without an outcome; returns whoever waits for one, in order.
  [[nodiscard]] std::vector<WriteRequest*> take_back();

  [[nodiscard]] bool empty() const { return members_.empty(); }
  [[nodiscard]] uint32_t records() const { return records_; }
  [[nodiscard]] uint32_t deletes() const { return deletes_; }
  [[nodiscard]] bool has_only_deletes() const { return deletes_ == records_; }
  [[nodiscard]] bool has_lifetimes() const { return has_lifetimes_; }
  [[nodiscard]] uint64_t delta_bytes() const { return delta_bytes_; }  // as the delta counts them
  [[nodiscard]] uint64_t log_bytes() const { return bytes_.size(); }   // with the group's header
  // The group as the log takes it: room for its header, then the records.
  [[nodiscard]] std::string* bytes() { return &bytes_; }
  [[nodiscard]] std::string_view body() const {
    return bytes_.empty() ? std::string_view() : std::string_view(bytes_).substr(kGroupHeaderBytes);
  }
  // Whether a member's answer depends on what the store holds.
  [[nodiscard]] bool has_decided() const {
    return std::any_of(members_.begin(), members_.end(),
                       [](const WriteRequest* member) { return was_decided(*member); });
  }
  // Written, or turned down by a condition: not failed before, and not handed back.
  [[nodiscard]] static bool was_decided(const WriteRequest& request);

  // Calls visit(header, encoded record) for each record.
  template <class Visit>
  void for_each_record(Visit visit) const;

  // Ends the group with this outcome: it is empty again, and done() of every member is called, in
  // order. Deletes that shared a group with puts are tried without them where the disk is full:
  // those are not done, but returned. Counts what is refused.
  [[nodiscard]] std::vector<WriteRequest*> finish(const Status& outcome, EngineStats& stats);

  // Whether a request asks for nothing that takes room on a full disk.
  [[nodiscard]] static bool only_deletes(const WriteRequest& request) {
    return std::all_of(request.mutations.begin(), request.mutations.end(),
                       [](const Mutation& m) { return m.type == RecordType::kTombstone; });
  }
  // What its records add to the log and to a delta.
  struct Cost {
    uint64_t log_bytes = 0;
    uint64_t delta_bytes = 0;
  };
  [[nodiscard]] static Cost cost_of(const WriteRequest& request);
  [[nodiscard]] static Cost cost_of(std::string_view body);  // of valid records
  [[nodiscard]] static bool only_deletes(std::string_view body);

 private:
  [[nodiscard]] std::optional<RecordHeader> find_in_memory(const View& view, uint64_t key) const;
  void clear();
  template <class Visit>
  static void for_each_header(std::string_view body, Visit visit);
  static void count_if_refused(const WriteRequest& request, EngineStats& stats);

  std::string bytes_;
  std::vector<WriteRequest*> members_;
  KeyTable newest_;  // key → where in bytes_ its newest record lies
  uint32_t records_ = 0;
  uint32_t deletes_ = 0;
  bool has_lifetimes_ = false;
  uint64_t delta_bytes_ = 0;
};

inline bool CommitGroup::decide(WriteRequest* request, const View& view, uint64_t now_secs) const {
  const std::span<Condition> conditions = request->conditions;
  for (size_t i = 0; i < conditions.size(); ++i) {
    BaseVersion current = conditions[i].base;
    if (const auto newer = find_in_memory(view, conditions[i].key)) {
      current = {0, true, newer->offset, newer->meta};
    } else if (view.contained_offset > current.bound) {
      request->is_stale = true;
      return false;
    }
    const bool is_live = current.is_live(now_secs);
    conditions[i].existed = is_live;
    request->status = conditions[i].judge(is_live ? std::optional(current.offset) : std::nullopt);
    request->failed_condition = i;
    if (!request->status.ok()) return false;
  }
  return true;
}

// The newest version of `key` in the group and the deltas.
inline std::optional<RecordHeader> CommitGroup::find_in_memory(const View& view,
                                                               uint64_t key) const {
  constexpr uint64_t kAll = ~uint64_t{0};
  if (const uint64_t* at = newest_.find(key)) return load<RecordHeader>(bytes_.data() + *at);
  const char* record = view.active->find(key, kAll);
  for (size_t i = 0; record == nullptr && i < view.frozen.size(); ++i) {
    record = view.frozen[i]->find(key, kAll);
  }
  if (record == nullptr) return std::nullopt;
  return load<RecordHeader>(record);
}

inline CommitGroup::Cost CommitGroup::cost_of(const WriteRequest& request) {
  Cost cost;
  for (const Mutation& mutation : request.mutations) {
    cost.log_bytes += mutation.record_bytes();
    cost.delta_bytes += Delta::cost_bytes(mutation.record_bytes());
  }
  return cost;
}

inline CommitGroup::Cost CommitGroup::cost_of(std::string_view body) {
  Cost cost{body.size(), 0};
  for_each_header(body, [&](const RecordHeader& header, std::string_view) {
    cost.delta_bytes += Delta::cost_bytes(header.record_bytes());
  });
  return cost;
}

inline bool CommitGroup::only_deletes(std::string_view body) {
  bool only = true;
  for_each_header(body, [&](const RecordHeader& header, std::string_view) {
    only = only && header.type() == RecordType::kTombstone;
  });
  return only;
}

inline void CommitGroup::add_records(WriteRequest* request, uint64_t first_offset) {
  if (bytes_.empty()) bytes_.resize(kGroupHeaderBytes);
  for (const Mutation& mutation : request->mutations) {
    const uint64_t offset = first_offset + records_;
    const size_t at = bytes_.size();
    bytes_.resize(at + static_cast<size_t>(mutation.record_bytes()));
    encode_record(mutation, offset, bytes_.data() + at);
    newest_.put(mutation.key, at);
    ++records_;
    has_lifetimes_ |= mutation.expiry_secs != 0;
    deletes_ += mutation.type == RecordType::kTombstone ? 1 : 0;
    delta_bytes_ += Delta::cost_bytes(mutation.record_bytes());
    request->offset = offset;
  }
  members_.push_back(request);
}

inline void CommitGroup::adopt(std::string_view body) {
  bytes_.assign(kGroupHeaderBytes, '\0');
  bytes_.append(body);
  for_each_header(body, [&](const RecordHeader& header, std::string_view) {
    ++records_;
    has_lifetimes_ |= header.expiry_secs() != 0;
    deletes_ += header.type() == RecordType::kTombstone ? 1U : 0U;
    delta_bytes_ += Delta::cost_bytes(header.record_bytes());
  });
}

inline std::vector<WriteRequest*> CommitGroup::take_back() {
  std::vector<WriteRequest*> members;
  members.swap(members_);
  clear();
  return members;
}

template <class Visit>
void CommitGroup::for_each_record(Visit visit) const {
  for_each_header(body(), visit);
}

template <class Visit>
void CommitGroup::for_each_header(std::string_view body, Visit visit) {
  for (size_t at = 0; at < body.size();) {
    const auto record = load<RecordHeader>(body.data() + at);
    const auto size = static_cast<size_t>(record.record_bytes());
    visit(record, body.substr(at, size));
    at += size;
  }
}

inline bool CommitGroup::was_decided(const WriteRequest& request) {
  if (request.is_stale) return false;
  const Code code = request.status.code();
  return code == Code::kOk || code == Code::kNotFound || code == Code::kPreconditionFailed;
}

inline void CommitGroup::count_if_refused(const WriteRequest& request, EngineStats& stats) {
  if (request.is_stale || request.control != WriteRequest::Control::kNone) return;
  if (request.status.code() == Code::kNoSpace) stats.refused_no_space.add();
  if (request.status.code() == Code::kReadOnly) stats.refused_read_only.add();
}

inline std::vector<WriteRequest*> CommitGroup::finish(const Status& outcome, EngineStats& stats) {
  const bool may_retry = outcome.code() == Code::kNoSpace && !has_only_deletes();
  std::vector<WriteRequest*> again;
  for (WriteRequest* request : members_) {
    if (!outcome.ok() && was_decided(*request)) {
      if (may_retry && only_deletes(*request)) {
        again.push_back(request);
        continue;
      }
      request->status = outcome;
    }
    count_if_refused(*request, stats);
    request->done();
  }
  clear();
  return again;
}

inline void CommitGroup::clear() {
  members_.clear();
  bytes_.clear();
  if (bytes_.capacity() > 4 * kBytesMax) bytes_.shrink_to_fit();
  newest_.clear();
  records_ = 0;
  deletes_ = 0;
  has_lifetimes_ = false;
  delta_bytes_ = 0;
}

}  // namespace kyro
