// A file that only takes room, so that a full disk can still be emptied: it is given up for
// deletes, flushes and small merges, and while it is gone nothing else may be written. Whoever
// flushes takes it back, but not while a merge has the loan of the room.
//
// Where the file system cannot tell how much room it has, or cannot set blocks aside, there is no
// reserve: that is said once, and writes go on without.
//
// Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "kyro/base/log/log.h"
#include "kyro/base/mutex.h"
#include "kyro/storage/fs/directory.h"

namespace kyro {

class DiskReserve {
 public:
  static constexpr char kName[] = "RESERVE";

  // Claims `bytes` in `dir`; without room for them the reserve counts as released.
  void claim(Directory& dir, uint64_t bytes) {
    if (bytes == 0) return;
    const MutexLock lock(mutex_);
    bytes_ = bytes;
    if (is_lent_) return;
    // Asks instead of trying, which would take the last bytes from others for a moment.
    const auto room = dir.free_bytes();
    if (!room.ok()) return give_up(room.status());
    if (*room < bytes) {
      released_.store(true, std::memory_order_release);
      return;
    }
    const Status held = make_file(dir, bytes);
    if (held.ok()) {
      released_.store(false, std::memory_order_release);
      is_missing_.store(false, std::memory_order_release);
      return;
    }
    static_cast<void>(dir.remove(kName));
    if (held.code() != Code::kNoSpace) return give_up(held);
    released_.store(true, std::memory_order_release);
  }
  // Gives the room back; false if it was gone already (or there never was any).
  [[nodiscard]] bool release(Directory& dir) {
    const MutexLock lock(mutex_);
    return release_locked(dir);
  }
  // For a merge that lacks `lacking_bytes` of room: true if it has them until end_loan().
  [[nodiscard]] bool lend(Directory& dir, uint64_t lacking_bytes) {
    const MutexLock lock(mutex_);
    if (lacking_bytes > 0 && (is_released() || lacking_bytes > bytes_ || !release_locked(dir))) {
      return false;
    }
    is_lent_ = is_released();
    return true;
  }
  void end_loan() {
    const MutexLock lock(mutex_);
    is_lent_ = false;
  }
  [[nodiscard]] bool is_released() const { return released_.load(std::memory_order_acquire); }
  // Wanted, but the file system cannot have it.
  [[nodiscard]] bool is_missing() const { return is_missing_.load(std::memory_order_acquire); }

 private:
  Status make_file(Directory& dir, uint64_t bytes) {
    auto file = dir.open(kName, OpenMode::kCreate);
    KYRO_TRY(file);
    KYRO_TRY((*file)->allocate(bytes));
    auto size = (*file)->size();
    KYRO_TRY(size);
    if (*size >= bytes) return Status();
    return Status(Code::kUnsupported, "the file system cannot set blocks aside");
  }

  void give_up(const Status& why) {
    released_.store(false, std::memory_order_release);
    if (is_missing_.exchange(true, std::memory_order_acq_rel)) return;
    log_event(LogLevel::kWarn, "disk_reserve_missing", {{"reason", why.to_string()}});
  }

  bool release_locked(Directory& dir) KYRO_REQUIRES(mutex_) {
    if (bytes_ == 0 || is_released() || is_missing()) return false;
    released_.store(true, std::memory_order_release);
    log_event(LogLevel::kWarn, "disk_reserve_released");
    return dir.remove(kName).ok();
  }

  Mutex mutex_;
  uint64_t bytes_ KYRO_GUARDED_BY(mutex_) = 0;
  bool is_lent_ KYRO_GUARDED_BY(mutex_) = false;
  std::atomic<bool> released_{false};
  std::atomic<bool> is_missing_{false};
};

}  // namespace kyro
