// A simulated file system behind the storage engine's seam that loses, tears and fails on demand.
//
// Every file has a live image (what the process sees) and a durable one (what a disk is bound to
// keep), with the unsynced changes between them in order; names and directories likewise. A power
// cut makes every later call fail; restart() then turns the live image into one that a disk might
// have kept, by one of the policies of Loss, and files go on from there.
//
// It is as unkind as the contract in kyro/storage/fs.h allows: data, size and names are made
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

#include "kyro/storage/fs.h"
#include "test/fault_image.h"

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

class FaultFs::SimulatedMapping final : public Mapping {
 public:
  explicit SimulatedMapping(std::string bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return std::as_bytes(std::span(bytes_.data(), bytes_.size()));
  }
  void advise(Access) override {}

 private:
  const std::string bytes_;
};

class FaultFs::SimulatedLock final : public FileLock {
 public:
  SimulatedLock(FaultFs& fs, std::string path)
      : fs_(fs), path_(std::move(path)), generation_(fs.generation_) {}
  ~SimulatedLock() override {
    const std::lock_guard lock(fs_.mutex_);
    if (generation_ == fs_.generation_) fs_.locked_.erase(path_);
  }

 private:
  FaultFs& fs_;
  const std::string path_;
  const uint64_t generation_;
};

class FaultFs::SimulatedFile final : public File {
 public:
  SimulatedFile(FaultFs& fs, std::string path, std::shared_ptr<Inode> inode)
      : fs_(fs), path_(std::move(path)), inode_(std::move(inode)), generation_(fs.generation_) {
    fs_.open_files_max_ = std::max(fs_.open_files_max_, ++fs_.open_files_);
  }
  ~SimulatedFile() override {
    const std::lock_guard lock(fs_.mutex_);
    --fs_.open_files_;
  }

  Result<size_t> read_at(uint64_t position, void* to, size_t n) override {
    return perform(FsCall::kRead, [&]() -> Result<size_t> {
      const std::string& bytes = inode_->live;
      if (position >= bytes.size()) return size_t{0};
      const size_t got = std::min<size_t>(n, bytes.size() - position);
      if (got > 0) std::memcpy(to, bytes.data() + position, got);
      return got;
    });
  }
  Status write_at(uint64_t position, std::string_view bytes) override {
    return perform(FsCall::kWrite, [&]() -> Status {
      const uint64_t end = position + bytes.size();
      const uint64_t old_size = inode_->live.size();
      const uint64_t room = fs_.room();
      if (end <= old_size || end - old_size <= room) {
        inode_->change({true, position, std::string(bytes)});
        return Status();
      }
      // As much as fits arrives, as on a real disk.
      const uint64_t fits = old_size + room > position ? old_size + room - position : 0;
      if (fits > 0) inode_->change({true, position, std::string(bytes.substr(0, fits))});
      return Status(Code::kNoSpace, path_ + ": the disk is full");
    });
  }
  Status sync() override {
    Status status = perform(FsCall::kSync, [&]() -> Status {
      if (std::none_of(inode_->pending.begin(), inode_->pending.end(),
                       [](const Change& c) { return c.lost; })) {
        inode_->durable = inode_->live;
      } else {
        for (const Change& c : inode_->pending) {
          if (!c.lost) c.apply_to(&inode_->durable);
        }
      }
      inode_->pending.clear();
      return Status();
    });
    const std::lock_guard lock(fs_.mutex_);
    if (!status.ok() && !fs_.dead_) {
      for (Change& c : inode_->pending) c.lost = true;
    }
    return status;
  }
  Status truncate(uint64_t size) override {
    return perform(FsCall::kTruncate, [&]() -> Status {
      inode_->change({false, size, {}});
      return Status();
    });
  }
  Status allocate(uint64_t size) override {
    return perform(FsCall::kAllocate, [&]() -> Status {
      if (size <= inode_->live.size()) return Status();
      if (size - inode_->live.size() > fs_.room()) {
        return Status(Code::kNoSpace, path_ + ": the disk is full");
      }
      inode_->change({false, size, {}});
      return Status();
    });
  }
  Result<uint64_t> size() override {
    return perform(FsCall::kSize,
                   [&]() -> Result<uint64_t> { return uint64_t{inode_->live.size()}; });
  }
  Result<std::unique_ptr<Mapping>> map() override {
    return perform(FsCall::kMap, [&]() -> Result<std::unique_ptr<Mapping>> {
      return std::unique_ptr<Mapping>(std::make_unique<SimulatedMapping>(inode_->live));
    });
  }
  void drop_cache() override {}

 private:
  template <class Action>
  auto perform(FsCall call, Action action) -> decltype(action()) {
    const std::lock_guard lock(fs_.mutex_);
    if (generation_ != fs_.generation_) return Status(Code::kIoError, path_ + ": from before");
    return fs_.perform_locked(call, path_, action);
  }

  FaultFs& fs_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  const uint64_t generation_;
};

inline Result<std::unique_ptr<File>> FaultFs::open(const std::string& path, OpenMode mode) {
  return perform(FsCall::kOpen, path, [&]() -> Result<std::unique_ptr<File>> {
    auto found = live_.find(path);
    if (found == live_.end()) {
      if (mode != OpenMode::kCreate || !dirs_.contains(dir_of(path))) {
        return Status(Code::kNotFound, "open " + path + ": no such file");
      }
      found = live_.emplace(path, std::make_shared<Inode>()).first;
      pending_.push_back({"", path, found->second});
    } else if (mode == OpenMode::kCreate && !found->second->live.empty()) {
      found->second->change({false, 0, {}});
    }
    return std::unique_ptr<File>(std::make_unique<SimulatedFile>(*this, path, found->second));
  });
}

inline Result<std::vector<std::string>> FaultFs::list(const std::string& dir) {
  return perform(FsCall::kList, dir, [&]() -> Result<std::vector<std::string>> {
    if (!dirs_.contains(dir)) return Status(Code::kNotFound, dir + ": no such directory");
    std::vector<std::string> names;
    for (const auto& entry : live_) {
      if (dir_of(entry.first) == dir) names.push_back(entry.first.substr(dir.size() + 1));
    }
    return names;
  });
}

inline Status FaultFs::make_dir(const std::string& dir) {
  return perform(FsCall::kMakeDir, dir, [&]() -> Status {
    dirs_.emplace(dir, false);
    return Status();
  });
}

inline Status FaultFs::rename(const std::string& from, const std::string& to) {
  return perform(FsCall::kRename, from, [&]() -> Status {
    const auto found = live_.find(from);
    if (found == live_.end()) return Status(Code::kNotFound, from + ": no such file");
    const std::shared_ptr<Inode> inode = found->second;
    live_.erase(found);
    live_[to] = inode;
    pending_.push_back({from, to, inode});
    return Status();
  });
}

inline Status FaultFs::remove(const std::string& path) {
  return perform(FsCall::kRemove, path, [&]() -> Status {
    const auto found = live_.find(path);
    if (found == live_.end()) return Status(Code::kNotFound, path + ": no such file");
    pending_.push_back({path, "", found->second});
    live_.erase(found);
    return Status();
  });
}

// One level of directories is all the engine has; syncing "." (or a parent) keeps directories'
// names.
inline Status FaultFs::sync_dir(const std::string& dir) {
  return perform(FsCall::kSyncDir, dir, [&]() -> Status {
    for (auto& [name, durable] : dirs_) {
      if (dir_of(name) == dir) durable = true;
    }
    if (!dirs_.contains(dir)) return Status();
    durable_ = live_;
    pending_.clear();
    return Status();
  });
}

inline Result<std::unique_ptr<FileLock>> FaultFs::lock(const std::string& path) {
  return perform(FsCall::kLock, path, [&]() -> Result<std::unique_ptr<FileLock>> {
    if (!locked_.insert(path).second) return Status(Code::kBusy, path + ": in use by process 1");
    return std::unique_ptr<FileLock>(std::make_unique<SimulatedLock>(*this, path));
  });
}

inline Result<uint64_t> FaultFs::free_bytes(const std::string& dir) {
  return perform(FsCall::kFreeBytes, dir, [&]() -> Result<uint64_t> { return room(); });
}

}  // namespace kyro::test
