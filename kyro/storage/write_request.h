// One write on its way through the committer: what is asked, under which condition, what came out.
//
// A request carries one or more mutations that commit together, or none (a control request).
// Whoever wants to know about the current version of the key (did it exist? is it still the one I
// read?) sets `wants_current` and the base version it resolved; see Engine::resolve_base().
//
// Ownership and thread rule: the submitter owns the request and everything it points to, and leaves
// it alone until done(), which the committer's thread calls exactly once; after that call the
// committer does not touch it.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "kyro/base/status.h"
#include "kyro/storage/record.h"

namespace kyro {

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

enum class WriteGuard : uint8_t {
  kNone,
  kMustExist,  // else kNotFound, and no offset is taken
};

class WriteRequest {
 public:
  enum class Control : uint8_t {
    kNone,
    kFreeze,  // close the active delta, so that it can be flushed; synced when done
  };

  virtual ~WriteRequest() = default;
  virtual void done() = 0;

  std::span<const Mutation> mutations;
  WriteGuard guard = WriteGuard::kNone;
  bool wants_current = false;  // a single mutation with `base` filled in
  BaseVersion base;
  Control control = Control::kNone;

  // The outcome.
  Status status;
  uint64_t offset = 0;    // of the last mutation; of kFreeze: everything below it is frozen
  bool existed = false;   // wants_current: a live version was there before
  bool is_stale = false;  // wants_current: a flush has passed `base`; resolve again and resubmit

  WriteRequest* next_queued = nullptr;  // the committer's
};

}  // namespace kyro
