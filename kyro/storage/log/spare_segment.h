// The file that the next segment of the log will be, made ahead of need and filled with zeros, so
// that groups overwrite blocks that have been written before.
//
// Blocks that are only reserved (fallocate) have to be marked as written when they are: every sync
// of a group then waits for the file system's journal too. Zeros written beforehand take that out
// of the way of writes, and are cheaper for the disk where groups are small: the journal writes
// three or four blocks for each of them.
//
// A thread of its own fills the file at the pace of the log (allow()), so that a store that is not
// written to writes nothing here either, and a busy one is not crowded out. There is at most one
// such file, and it is given up whenever the disk is short. Where the file system does not
// overwrite in place (it copies on write, or lies in memory), none is made. All of it is for speed:
// whatever fails here is forgotten, and the next segment is reserved instead.
//
// Invariants: the file is called kSpareSegmentName, which the next opening removes, until whoever
// has taken it gives it its name; what was taken is filled and synced.
//
// Thread rule: any thread. Nobody waits here for the disk but in give_up() and stop(), for the end
// of one piece. Ownership: borrows the directory and the counter.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kyro/base/counters.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/storage/fs/directory.h"
#include "kyro/storage/log/wal_format.h"

namespace kyro {

class SpareSegment {
 public:
  static constexpr uint64_t kPieceBytes = 512 << 10;

  // Counts the zeros that are written.
  SpareSegment(Directory& dir, Counter& filled_bytes) : dir_(dir), filled_bytes_(filled_bytes) {}
  SpareSegment(const SpareSegment&) = delete;
  SpareSegment& operator=(const SpareSegment&) = delete;
  ~SpareSegment() { stop(); }

  // Begins with a file of `bytes`, unless there is one.
  void prepare(uint64_t bytes);
  // So many bytes more may be filled.
  void allow(uint64_t bytes);
  [[nodiscard]] bool is_ready() const { return stage_.load(std::memory_order_acquire) == kReady; }
  // The file, if it is ready and has `bytes`; else null, and one of another size is given up.
  [[nodiscard]] std::unique_ptr<File> take(uint64_t bytes);
  // Gives the room back, if any is taken.
  void give_up();
  // The same, and ends the thread. Nothing may be prepared any more.
  void stop();

 private:
  enum Stage : uint8_t {
    kNone,     // there is no file
    kFilling,  // the thread's
    kReady,
    kUseless,  // and there will be none: it would do no good
  };

  void run();
  void fill_one();
  // Makes and fills the file, as far as it is wanted; what the stage is then.
  [[nodiscard]] Stage fill(std::unique_ptr<File>* out, uint64_t bytes);
  Status fill_pieces(File& file, uint64_t bytes);
  // Sleeps until bytes up to `end` may be filled; false if none are wanted any more.
  [[nodiscard]] bool wait_for_leave(uint64_t end);

  Directory& dir_;
  Counter& filled_bytes_;
  Thread thread_;                    // of who prepares, and of stop()
  std::atomic<Stage> stage_{kNone};  // changed under the mutex
  std::atomic<uint64_t> allowed_{0};
  std::atomic<uint64_t> awaited_{~uint64_t{0}};  // the thread sleeps until so much is allowed
  std::atomic<bool> is_unwanted_{false};         // set under the mutex

  Mutex mutex_;
  CondVar changed_;
  bool is_stopping_ KYRO_GUARDED_BY(mutex_) = false;
  uint64_t wanted_bytes_ KYRO_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<File> file_ KYRO_GUARDED_BY(mutex_);  // once it is ready
};

// ---- from other threads ----

inline void SpareSegment::prepare(uint64_t bytes) {
  if (stage_.load(std::memory_order_relaxed) != kNone) return;
  const MutexLock lock(mutex_);
  if (is_stopping_ || stage_.load(std::memory_order_relaxed) != kNone) return;
  if (!thread_.joinable() && !thread_.start([this] { run(); }).ok()) return;
  wanted_bytes_ = bytes;
  allowed_.store(0, std::memory_order_relaxed);
  is_unwanted_.store(false, std::memory_order_relaxed);
  stage_.store(kFilling, std::memory_order_relaxed);
  changed_.notify_all();
}

inline void SpareSegment::allow(uint64_t bytes) {
  if (stage_.load(std::memory_order_relaxed) != kFilling) return;
  const uint64_t allowed = allowed_.fetch_add(bytes, std::memory_order_seq_cst) + bytes;
  if (allowed < awaited_.load(std::memory_order_seq_cst)) return;
  const MutexLock lock(mutex_);
  changed_.notify_all();
}

inline std::unique_ptr<File> SpareSegment::take(uint64_t bytes) {
  if (!is_ready()) return nullptr;
  bool is_of_that_size = false;
  std::unique_ptr<File> taken;
  {
    const MutexLock lock(mutex_);
    is_of_that_size = wanted_bytes_ == bytes;
    if (is_of_that_size && stage_.load(std::memory_order_relaxed) == kReady) {
      taken = std::move(file_);
      stage_.store(kNone, std::memory_order_release);
    }
  }
  if (!is_of_that_size) give_up();
  return taken;
}

inline void SpareSegment::give_up() {
  const Stage stage = stage_.load(std::memory_order_acquire);
  if (stage == kNone || stage == kUseless) return;
  const MutexLock lock(mutex_);
  is_unwanted_.store(true, std::memory_order_relaxed);
  changed_.notify_all();
  while (stage_.load(std::memory_order_relaxed) == kFilling) changed_.wait(mutex_);
  if (stage_.load(std::memory_order_relaxed) != kReady) return;
  file_.reset();
  static_cast<void>(dir_.remove(kSpareSegmentName));
  stage_.store(kNone, std::memory_order_release);
}

inline void SpareSegment::stop() {
  {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    changed_.notify_all();
  }
  give_up();
  if (thread_.joinable()) thread_.join();
}

// ---- the thread ----

inline void SpareSegment::run() {
  name_this_thread("kyro-fill");
  for (;;) {
    {
      const MutexLock lock(mutex_);
      while (!is_stopping_ && stage_.load(std::memory_order_relaxed) != kFilling) {
        changed_.wait(mutex_);
      }
      if (stage_.load(std::memory_order_relaxed) != kFilling) return;
    }
    fill_one();
  }
}

inline void SpareSegment::fill_one() {
  uint64_t bytes = 0;
  {
    const MutexLock lock(mutex_);
    bytes = wanted_bytes_;
  }
  std::unique_ptr<File> file;
  const Stage stage = fill(&file, bytes);
  if (stage != kReady && file != nullptr) {
    file.reset();
    static_cast<void>(dir_.remove(kSpareSegmentName));
  }
  const MutexLock lock(mutex_);
  file_ = std::move(file);
  stage_.store(stage, std::memory_order_release);
  changed_.notify_all();
}

inline SpareSegment::Stage SpareSegment::fill(std::unique_ptr<File>* out, uint64_t bytes) {
  auto file = dir_.open(kSpareSegmentName, OpenMode::kCreate);
  if (!file.ok()) return kNone;
  *out = std::move(*file);
  if (!(*out)->overwrites_in_place()) return kUseless;
  // Reserved first, so that it is of one piece, and a full disk is met before anything is written.
  if (!(*out)->allocate(bytes).ok() || !fill_pieces(**out, bytes).ok()) return kNone;
  if (!(*out)->sync().ok()) return kNone;
  (*out)->drop_cache();  // groups write whole blocks, which need not be in memory
  return kReady;
}

inline Status SpareSegment::fill_pieces(File& file, uint64_t bytes) {
  const std::string zeros(kPieceBytes, '\0');
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t end = std::min(at + kPieceBytes, bytes);
    if (!wait_for_leave(end)) return Status(Code::kBusy, "given up");
    KYRO_TRY(file.write_at(at, std::string_view(zeros).substr(0, end - at)));
    KYRO_TRY(file.write_back(at, end));
    filled_bytes_.add(end - at);
    at = end;
  }
  return Status();
}

inline bool SpareSegment::wait_for_leave(uint64_t end) {
  if (allowed_.load(std::memory_order_seq_cst) < end) {
    const MutexLock lock(mutex_);
    // Who allows more looks for it after that, and this looks once more after saying it.
    awaited_.store(end, std::memory_order_seq_cst);
    while (allowed_.load(std::memory_order_seq_cst) < end &&
           !is_unwanted_.load(std::memory_order_relaxed)) {
      changed_.wait(mutex_);
    }
    awaited_.store(~uint64_t{0}, std::memory_order_relaxed);
  }
  return !is_unwanted_.load(std::memory_order_relaxed);
}

}  // namespace kyro
