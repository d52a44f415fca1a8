// Many keys looked up in the order in which they were asked for, as many at once as an answer has
// room for.
//
// Thread rule: one thread. Ownership: owns the keys.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kyro/storage/engine.h"

namespace kyro {

class KeyWalk {
 public:
  static constexpr size_t kAtOnceMax = 4096;

  explicit KeyWalk(std::vector<uint64_t> keys) : keys_(std::move(keys)) {}

  [[nodiscard]] size_t count() const { return keys_.size(); }
  [[nodiscard]] bool at_end() const { return next_ == keys_.size(); }
  [[nodiscard]] size_t position() const { return next_; }
  void go_to(size_t position) { next_ = position; }

  // Calls visit(lookup) for the next keys, at most kAtOnceMax of them, null where there is no
  // value, until it returns false: it has had that one. The moment is pinned or held.
  template <class Visit>
  Status advance(Engine& engine, const Moment& moment, Visit visit) {
    const size_t from = next_;
    const size_t count = std::min(at_once_, keys_.size() - from);
    bool is_full = false;
    KYRO_TRY(engine.multi_get(moment, std::span<const uint64_t>(keys_).subspan(from, count),
                              [&](size_t, const Lookup* found) {
                                ++next_;
                                is_full = !visit(found);
                                return !is_full;
                              }));
    const size_t answered = is_full ? next_ - from : count;
    at_once_ = std::clamp<size_t>(2 * answered, 1, kAtOnceMax);
    return Status();
  }

 private:
  const std::vector<uint64_t> keys_;
  size_t next_ = 0;
  // What has no room is looked up again the next time, so this follows what there was room for:
  // with large values it is small.
  size_t at_once_ = kAtOnceMax;
};

}  // namespace kyro
