// A simulated file system behind the storage engine's seam that loses, tears and fails on demand.
//
// Every file has a live image (what the process sees) and a durable one (what a disk is bound to
// keep), with the unsynced changes between them in order; names and directories likewise. A power
// cut makes every later call fail; restart() then turns the live image into one that a disk might
// have kept, by one of the policies of Loss, and files go on from there.
//
// It is as unkind as the contract in kyro/storage/fs/fs.h allows: data, size and names are made
// durable separately, unsynced sectors arrive in any combination, a failed sync loses what it was
// to keep. Bytes that were synced and not rewritten are never harmed.
//
// Thread rule: any thread, one lock. Ownership: files and mappings outlive it only as dead objects.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/storage/fs/fs.h"
#include "test/support/fault_image.h"

namespace kyro::test {

enum class FsCall : uint8_t {
  kAny,
  kOpen,
  kRead,
  kWrite,
  kSync,
  kTruncate,
  kAllocate,
  kSize,
  kMap,
  kList,
  kMakeDir,
  kRename,
  kLink,
  kRemove,
  kSyncDir,
  kLock,
  kFreeBytes,
};

// Calls of a kind (on paths that contain `path`) fail: the first `skip` pass, the next `times`
// fail.
struct Fault {
  FsCall call = FsCall::kAny;
  Code code = Code::kIoError;
  uint64_t skip = 0;
  uint64_t times = ~uint64_t{0};
  std::string path;
};

class FaultFs final : public FileSystem {
  using Change = FileChange;
  using Inode = FileImage;
  struct NameChange {
    std::string from;  // empty: a file was made
    std::string to;    // empty: a file was removed
    std::shared_ptr<Inode> inode;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  class SimulatedFile;
  class SimulatedMapping;
  class SimulatedLock;

 public:
  FaultFs() = default;

  // ---- faults ----

  // The power goes at call number `call` (from 1, over all calls): before it has an effect or
  // after.
  void cut_power_at(uint64_t call, bool after) {
    const std::lock_guard lock(mutex_);
    cut_at_ = call;
    cut_after_ = after;
  }
  [[nodiscard]] bool power_is_cut() const {
    const std::lock_guard lock(mutex_);
    return dead_;
  }
  [[nodiscard]] uint64_t calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  void inject(Fault fault) {
    const std::lock_guard lock(mutex_);
    faults_.push_back(std::move(fault));
  }
  void heal() {
    const std::lock_guard lock(mutex_);
    faults_.clear();
  }
  void set_capacity(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    capacity_ = bytes;
  }
  // The most files that were open at once.
  [[nodiscard]] uint64_t open_files_max() const {
    const std::lock_guard lock(mutex_);
    return open_files_max_;
  }
  [[nodiscard]] uint64_t used_bytes() const {
    const std::lock_guard lock(mutex_);
    return used();
  }

  // The state of this file system, taken apart from it.
  [[nodiscard]] std::unique_ptr<FaultFs> clone() const {
    const std::lock_guard lock(mutex_);
    auto copy = std::make_unique<FaultFs>();
    std::map<const Inode*, std::shared_ptr<Inode>> copies;
    const auto copy_of = [&](const std::shared_ptr<Inode>& inode) {
      if (inode == nullptr) return inode;
      auto& made = copies[inode.get()];
      if (made == nullptr) made = std::make_shared<Inode>(*inode);
      return made;
    };
    for (const auto& [name, inode] : live_) copy->live_[name] = copy_of(inode);
    for (const auto& [name, inode] : durable_) copy->durable_[name] = copy_of(inode);
    for (const NameChange& change : pending_) {
      copy->pending_.push_back({change.from, change.to, copy_of(change.inode)});
    }
    copy->dirs_ = dirs_;
    copy->capacity_ = capacity_;
    return copy;
  }

  // After a power cut (or a crash at any moment): what the disk kept becomes the file system.
  void restart(Loss loss, uint64_t seed) {
    const std::lock_guard lock(mutex_);
    std::mt19937_64 random(seed);
    std::map<const Inode*, std::shared_ptr<Inode>> kept;
    Names names;
    for (auto& [name, inode] : surviving_names(loss, random)) {
      const size_t slash = name.rfind('/');
      const auto dir = dirs_.find(slash == name.npos ? "." : name.substr(0, slash));
      if (loss == Loss::kEverything && dir != dirs_.end() && !dir->second) continue;
      auto& fresh = kept[inode.get()];
      if (fresh == nullptr) {
        fresh = std::make_shared<Inode>();
        fresh->live = fresh->durable = inode->surviving_bytes(loss, random);
      }
      names[name] = fresh;
    }
    live_ = durable_ = std::move(names);
    pending_.clear();
    for (auto dir = dirs_.begin(); dir != dirs_.end();) {
      const bool gone = !dir->second && loss == Loss::kEverything;
      dir->second = true;
      dir = gone ? dirs_.erase(dir) : std::next(dir);
    }
    locked_.clear();
    faults_.clear();
    ++generation_;
    dead_ = false;
    cut_at_ = 0;
    calls_ = 0;
  }

  // ---- a test's own hands on the files; all of it durable at once, no call counted ----

  [[nodiscard]] bool exists(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    return live_.contains(path);
  }
  [[nodiscard]] std::string contents(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(path);
    return found == live_.end() ? std::string() : found->second->live;
  }
  void put_file(const std::string& path, std::string bytes) {
    const std::lock_guard lock(mutex_);
    auto inode = std::make_shared<Inode>();
    inode->live = inode->durable = std::move(bytes);
    live_[path] = durable_[path] = inode;
    const size_t slash = path.rfind('/');
    if (slash != path.npos) dirs_[path.substr(0, slash)] = true;
  }
  void erase_file(const std::string& path) {
    const std::lock_guard lock(mutex_);
    live_.erase(path);
    durable_.erase(path);
  }
  // Paths of all files, in order.
  [[nodiscard]] std::vector<std::string> paths() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& entry : live_) out.push_back(entry.first);
    return out;
  }

  // ---- FileSystem ----

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<std::vector<std::string>> list(const std::string& dir) override;
  Status make_dir(const std::string& dir) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status link(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status sync_dir(const std::string& dir) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;
  Result<uint64_t> free_bytes(const std::string& dir) override;

 private:
  // Counts a call and performs `action` unless it is to fail. Status or a Result, as `action`
  // gives.
  template <class Action>
  auto perform(FsCall call, const std::string& path, Action action) -> decltype(action()) {
    const std::lock_guard lock(mutex_);
    return perform_locked(call, path, action);
  }
  template <class Action>
  auto perform_locked(FsCall call, const std::string& path, Action action) -> decltype(action()) {
    if (dead_) return Status(Code::kIoError, path + ": the power is off");
    const bool cut = ++calls_ == cut_at_;
    if (cut) dead_ = true;
    if (cut && !cut_after_) return Status(Code::kIoError, path + ": the power is off");
    for (Fault& fault : faults_) {
      const bool matches = (fault.call == FsCall::kAny || fault.call == call) &&
                           path.find(fault.path) != path.npos && fault.times > 0;
      if (!matches) continue;
      if (fault.skip > 0) {
        --fault.skip;
        continue;
      }
      if (fault.times != ~uint64_t{0}) --fault.times;
      return Status(fault.code, path + ": injected");
    }
    auto result = action();
    if (cut) return Status(Code::kIoError, path + ": the power is off");
    return result;
  }

  [[nodiscard]] uint64_t used() const {
    uint64_t sum = 0;
    for (const auto& entry : live_) sum += entry.second->live.size();
    return sum;
  }
  [[nodiscard]] uint64_t room() const {
    const uint64_t in_use = used();
    return in_use < capacity_ ? capacity_ - in_use : 0;
  }

  // The names that a disk kept.
  Names surviving_names(Loss loss, std::mt19937_64& random) const {
    if (loss == Loss::kEverything) return durable_;
    if (loss == Loss::kNothing || loss == Loss::kZeros) return live_;
    Names names = durable_;
    const bool in_order = random() % 2 == 0;
    const uint64_t end = random() % (pending_.size() + 1);
    for (size_t i = 0; i < pending_.size(); ++i) {
      const NameChange& change = pending_[i];
      if (in_order ? i >= end : random() % 2 == 0) continue;
      if (change.from.empty()) {
        names[change.to] = change.inode;
      } else if (names.contains(change.from)) {
        names.erase(change.from);
        if (!change.to.empty()) names[change.to] = change.inode;
      }
    }
    return names;
  }

  static std::string dir_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == path.npos ? "." : path.substr(0, slash);
  }

  mutable std::recursive_mutex mutex_;  // a result that is thrown away may be a lock
  Names live_;
  Names durable_;
  std::vector<NameChange> pending_;
  std::map<std::string, bool> dirs_;  // whether its own name is durable
  std::set<std::string> locked_;
  std::vector<Fault> faults_;
  uint64_t capacity_ = ~uint64_t{0};
  uint64_t calls_ = 0;
  uint64_t cut_at_ = 0;
  bool cut_after_ = false;
  bool dead_ = false;
  uint64_t generation_ = 0;
  uint64_t open_files_ = 0;
  uint64_t open_files_max_ = 0;
};

}  // namespace kyro::test

#include "test/support/fault_fs_calls.h"
