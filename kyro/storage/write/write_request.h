// One write on its way through the committer: what is asked, under which conditions, what came out.
//
// A request carries one or more mutations that commit together, or none (a control request). Its
// conditions are judged together when it joins a commit group, against the state before it: all
// hold, or nothing of it is written and it takes no offset. The submitter resolves the base version
// of each condition's key (Engine::resolve_base()); the committer looks only at what is newer.
//
// Ownership and thread rule: the submitter owns the request and everything it points to, and leaves
// it alone until done(), which the committer's thread calls exactly once; after that call the
// committer does not touch it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kyro/base/status.h"
#include "kyro/storage/record.h"

namespace kyro {

struct SharedGroup;

// The newest version of a key as of some visible offset, as the submitter saw it.
struct BaseVersion {
  uint64_t bound = 0;  // versions below this offset were looked at
  bool found = false;  // a version exists (maybe a tombstone)
  uint64_t offset = 0;
  uint64_t meta = 0;  // record type and expiry

  [[nodiscard]] bool is_live(uint64_t now_secs) const {
    RecordView view;
    view.header.meta = meta;
    return found && view.is_live(now_secs);
  }
};

// What has to be true of the current version of a key. One that asks for nothing is of use too: it
// learns whether the key was there.
struct Condition {
  uint64_t key = 0;

  // Everything that is set has to hold, else kPreconditionFailed. Expired is absent.
  bool must_exist = false;
  bool must_be_absent = false;
  std::optional<uint64_t> must_be = {};                          // there, with this offset
  std::optional<std::span<const uint64_t>> must_be_one_of = {};  // there, with one of these
  std::span<const uint64_t> must_not_be = {};                    // not there with one of these
  // And then there has to be something to remove, else kNotFound.
  bool must_be_found = false;

  BaseVersion base = {};  // in: what the submitter resolved
  bool existed = false;   // out: a live version was there before

  [[nodiscard]] static Condition exists(uint64_t key) { return {.key = key, .must_exist = true}; }
  [[nodiscard]] static Condition absent(uint64_t key) {
    return {.key = key, .must_be_absent = true};
  }
  [[nodiscard]] static Condition version(uint64_t key, uint64_t offset) {
    return {.key = key, .must_be = offset};
  }

  // The verdict on the current version: its offset, if one is there.
  [[nodiscard]] Status judge(std::optional<uint64_t> current) const {
    const auto is_in = [&](std::span<const uint64_t> offsets) {
      return current && std::find(offsets.begin(), offsets.end(), *current) != offsets.end();
    };
    const bool holds = !(must_exist && !current) && !(must_be_absent && current) &&
                       !(must_be && must_be != current) &&
                       !(must_be_one_of && !is_in(*must_be_one_of)) && !is_in(must_not_be);
    if (!holds) {
      return Status(Code::kPreconditionFailed,
                    current ? "the current version of the key is " + std::to_string(*current)
                            : "the key is not there");
    }
    return must_be_found && !current ? Status(Code::kNotFound) : Status();
  }
};

class WriteRequest {
 public:
  enum class Control : uint8_t {
    kNone,
    kFreeze,  // close the active delta, so that it can be flushed; synced when done
    kTake,    // apply a group of the log that several stores share, unless it was applied
  };

  virtual ~WriteRequest() = default;
  virtual void done() = 0;

  std::span<const Mutation> mutations;
  std::span<Condition> conditions;
  Control control = Control::kNone;
  const SharedGroup* taken = nullptr;  // of kTake

  // Of a put, when room is short: whether it was looked at for it, and its records take less than
  // half of what they replace.
  bool room_is_judged = false;
  bool may_come_back = false;  // in any case: nothing that was submitted after it depends on it
  bool makes_room = false;

  // The outcome.
  Status status;
  // Of the last mutation; of kFreeze and kTake: everything below it is frozen, or here.
  uint64_t offset = 0;
  size_t failed_condition = 0;  // the one that did not hold
  // A flush has passed a base version, or room has become short: resolve again and resubmit.
  bool is_stale = false;

  WriteRequest* next_queued = nullptr;  // the committer's
};

}  // namespace kyro
