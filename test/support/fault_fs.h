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
// Directories are opened once, as the contract wants it, and an outsider (a test's own hands) may
// move, replace or remove them and what is in them at any moment.
//
// Thread rule: any thread, one lock. Ownership: files and mappings outlive it only as dead objects.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
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
  kOpenDir,
  kMakeDir,
  kList,
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
  struct Dir {
    Names live;
    Names durable;
    std::vector<NameChange> pending;
    bool name_is_durable = false;  // its own
  };
  class SimulatedFile;
  class SimulatedMapping;
  class SimulatedDirectory;

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
  void cut_power() {
    const std::lock_guard lock(mutex_);
    dead_ = true;
  }
  // Somebody else acts just before call number `call` has its effect.
  void act_at(uint64_t call, std::function<void()> outsider) {
    const std::lock_guard lock(mutex_);
    outsider_at_ = call;
    outsider_ = std::move(outsider);
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
  // The same, and whoever asks is told how large the volume is.
  void set_volume(uint64_t bytes) {
    set_capacity(bytes);
    const std::lock_guard lock(mutex_);
    tells_size_ = true;
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
    for (const auto& [path, dir] : dirs_) {
      auto made = std::make_shared<Dir>();
      for (const auto& [name, inode] : dir->live) made->live[name] = copy_of(inode);
      for (const auto& [name, inode] : dir->durable) made->durable[name] = copy_of(inode);
      for (const NameChange& change : dir->pending) {
        made->pending.push_back({change.from, change.to, copy_of(change.inode)});
      }
      made->name_is_durable = dir->name_is_durable;
      copy->dirs_[path] = std::move(made);
    }
    copy->capacity_ = capacity_;
    copy->tells_size_ = tells_size_;
    return copy;
  }

  // After a power cut (or a crash at any moment): what the disk kept becomes the file system.
  void restart(Loss loss, uint64_t seed) {
    const std::lock_guard lock(mutex_);
    std::mt19937_64 random(seed);
    std::map<const Inode*, std::shared_ptr<Inode>> kept;
    std::map<std::string, std::shared_ptr<Dir>> dirs;
    for (const auto& [path, dir] : dirs_) {
      if (loss == Loss::kEverything && !dir->name_is_durable) continue;
      auto fresh_dir = std::make_shared<Dir>();
      for (auto& [name, inode] : surviving_names(*dir, loss, random)) {
        auto& fresh = kept[inode.get()];
        if (fresh == nullptr) {
          fresh = std::make_shared<Inode>();
          fresh->live = fresh->durable = inode->surviving_bytes(loss, random);
        }
        fresh_dir->live[name] = fresh_dir->durable[name] = fresh;
      }
      fresh_dir->name_is_durable = true;
      dirs[path] = std::move(fresh_dir);
    }
    dirs_ = std::move(dirs);
    locks_.clear();
    faults_.clear();
    ++generation_;
    dead_ = false;
    cut_at_ = 0;
    outsider_at_ = 0;
    calls_ = 0;
  }

  // ---- a test's own hands on the files; all of it durable at once, no call counted ----

  [[nodiscard]] bool exists(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    return find(path) != nullptr;
  }
  [[nodiscard]] bool dir_exists(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    return dirs_.contains(path);
  }
  [[nodiscard]] std::string contents(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    const auto inode = find(path);
    return inode == nullptr ? std::string() : inode->live;
  }
  // A file of that name that is not the one that may have been there.
  void put_file(const std::string& path, std::string bytes) {
    const std::lock_guard lock(mutex_);
    auto inode = std::make_shared<Inode>();
    inode->live = inode->durable = std::move(bytes);
    auto& dir = dirs_[dir_of(path)];
    if (dir == nullptr) dir = std::make_shared<Dir>();
    dir->name_is_durable = true;
    dir->live[name_of(path)] = dir->durable[name_of(path)] = inode;
  }
  void erase_file(const std::string& path) {
    const std::lock_guard lock(mutex_);
    const auto dir = dirs_.find(dir_of(path));
    if (dir == dirs_.end()) return;
    dir->second->live.erase(name_of(path));
    dir->second->durable.erase(name_of(path));
  }
  void make_dir(const std::string& path) {
    const std::lock_guard lock(mutex_);
    auto& dir = dirs_[path];
    if (dir == nullptr) dir = std::make_shared<Dir>();
    dir->name_is_durable = true;
  }
  // Opened for a test; made if it is not there.
  [[nodiscard]] std::unique_ptr<Directory> open_now(const std::string& path);
  // What was at `to` is gone.
  void move_dir(const std::string& from, const std::string& to) {
    const std::lock_guard lock(mutex_);
    dirs_[to] = dirs_.at(from);
    dirs_.erase(from);
  }
  // With all that is in it; those who have it open go on with it.
  void erase_dir(const std::string& path) {
    const std::lock_guard lock(mutex_);
    dirs_.erase(path);
  }
  // Paths of all files, in order; the empty file LOCK, which every store has had, is left out.
  [[nodiscard]] std::vector<std::string> paths() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [path, dir] : dirs_) {
      for (const auto& entry : dir->live) {
        if (entry.first != kLockName) out.push_back(path + "/" + entry.first);
      }
    }
    return out;
  }

  // ---- FileSystem ----

  Result<std::unique_ptr<Directory>> open_dir(const std::string& path, DirMode mode) override;

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
    if (calls_ == outsider_at_) outsider_();
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
    for (const auto& [path, dir] : dirs_) {
      for (const auto& entry : dir->live) sum += entry.second->used_bytes();
    }
    return sum;
  }
  [[nodiscard]] uint64_t room() const {
    const uint64_t in_use = used();
    return in_use < capacity_ ? capacity_ - in_use : 0;
  }

  // The names in a directory that a disk kept.
  static Names surviving_names(const Dir& dir, Loss loss, std::mt19937_64& random) {
    if (loss == Loss::kEverything) return dir.durable;
    if (loss == Loss::kNothing || loss == Loss::kZeros) return dir.live;
    Names names = dir.durable;
    const bool in_order = random() % 2 == 0;
    const uint64_t end = random() % (dir.pending.size() + 1);
    for (size_t i = 0; i < dir.pending.size(); ++i) {
      const NameChange& change = dir.pending[i];
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
  static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }
  [[nodiscard]] std::shared_ptr<Inode> find(const std::string& path) const {
    const auto dir = dirs_.find(dir_of(path));
    if (dir == dirs_.end()) return nullptr;
    const auto found = dir->second->live.find(name_of(path));
    return found == dir->second->live.end() ? nullptr : found->second;
  }

  mutable std::recursive_mutex mutex_;                // a result that is thrown away may be a lock
  std::map<std::string, std::shared_ptr<Dir>> dirs_;  // by path
  std::map<const void*, int> locks_;  // of directories and files: readers, or -1 for an owner
  std::vector<Fault> faults_;
  uint64_t capacity_ = ~uint64_t{0};
  bool tells_size_ = false;
  uint64_t calls_ = 0;
  uint64_t outsider_at_ = 0;
  std::function<void()> outsider_;
  uint64_t cut_at_ = 0;
  bool cut_after_ = false;
  bool dead_ = false;
  uint64_t generation_ = 0;
  uint64_t open_files_ = 0;
  uint64_t open_files_max_ = 0;
};

}  // namespace kyro::test

#include "test/support/fault_fs_calls.h"
