// The calls of the simulated file system: what each does to the live image and leaves pending.
// Part of test/support/fault_fs.h, which includes it.
#pragma once

#include "test/support/fault_fs.h"

namespace kyro::test {

class FaultFs::SimulatedMapping final : public Mapping {
 public:
  explicit SimulatedMapping(std::string bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::span<const std::byte> bytes() const override {
    return std::as_bytes(std::span(bytes_.data(), bytes_.size()));
  }
  void advise(Access) override {}
  void fetch(uint64_t, uint64_t) override {}

 private:
  const std::string bytes_;
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
      const uint64_t old_size = inode_->used_bytes();
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
      if (size <= inode_->used_bytes()) return Status();
      if (size - inode_->used_bytes() > fs_.room()) {
        return Status(Code::kNoSpace, path_ + ": the disk is full");
      }
      inode_->allocate(size);
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
  [[nodiscard]] bool overwrites_in_place() override { return true; }
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

class FaultFs::SimulatedDirectory final : public Directory {
 public:
  SimulatedDirectory(FaultFs& fs, std::string path, std::shared_ptr<Dir> dir)
      : fs_(fs), path_(std::move(path)), dir_(std::move(dir)), generation_(fs.generation_) {}
  ~SimulatedDirectory() override {
    const std::lock_guard lock(fs_.mutex_);
    if (generation_ != fs_.generation_ || !is_locked_) return;
    for (const void* held :
         {static_cast<const void*>(dir_.get()), static_cast<const void*>(lock_.get())}) {
      const auto found = fs_.locks_.find(held);
      if (found != fs_.locks_.end() && --found->second <= 0) fs_.locks_.erase(found);
    }
  }

  [[nodiscard]] const std::string& path() const override { return path_; }

  Result<std::unique_ptr<File>> open(const std::string& name, OpenMode mode) override {
    return perform(FsCall::kOpen, name, [&]() -> Result<std::unique_ptr<File>> {
      auto found = dir_->live.find(name);
      if (mode == OpenMode::kCreate) {
        KYRO_TRY(check_ownership());
        if (found != dir_->live.end()) drop(found);
        found = add(name, std::make_shared<Inode>());
      }
      if (found == dir_->live.end()) {
        return Status(Code::kNotFound, "open " + path_of(name) + ": no such file");
      }
      return std::unique_ptr<File>(
          std::make_unique<SimulatedFile>(fs_, path_of(name), found->second));
    });
  }
  Result<std::vector<std::string>> list() override {
    return perform(FsCall::kList, "", [&]() -> Result<std::vector<std::string>> {
      std::vector<std::string> names;
      for (const auto& entry : dir_->live) names.push_back(entry.first);
      return names;
    });
  }
  Status rename(const std::string& from, const std::string& to) override {
    return perform(FsCall::kRename, from, [&]() -> Status {
      KYRO_TRY(check_ownership());
      const auto found = dir_->live.find(from);
      if (found == dir_->live.end()) return Status(Code::kNotFound, from + ": no such file");
      const std::shared_ptr<Inode> inode = found->second;
      dir_->live.erase(found);
      dir_->live[to] = inode;
      dir_->pending.push_back({from, to, inode});
      return Status();
    });
  }
  Status link(const std::string& name, Directory& to) override {
    auto& target = static_cast<SimulatedDirectory&>(to);
    return perform(FsCall::kLink, name, [&]() -> Status {
      KYRO_TRY(target.check_ownership());
      const auto found = dir_->live.find(name);
      if (found == dir_->live.end()) return Status(Code::kNotFound, name + ": no such file");
      if (target.dir_->live.contains(name)) return Status(Code::kExists, name + ": exists");
      target.add(name, found->second);
      return Status();
    });
  }
  Status remove(const std::string& name) override {
    return perform(FsCall::kRemove, name, [&]() -> Status {
      KYRO_TRY(check_ownership());
      const auto found = dir_->live.find(name);
      if (found == dir_->live.end()) return Status(Code::kNotFound, name + ": no such file");
      drop(found);
      return Status();
    });
  }
  Status sync() override {
    return perform(FsCall::kSyncDir, "", [&]() -> Status {
      dir_->durable = dir_->live;
      dir_->pending.clear();
      return Status();
    });
  }
  Status sync_own_name() override {
    return perform(FsCall::kSyncDir, "", [&]() -> Status {
      dir_->name_is_durable = true;
      return Status();
    });
  }
  Status remove_itself() override {
    return perform(FsCall::kRemove, "", [&]() -> Status {
      KYRO_TRY(check_place());
      if (!dir_->live.empty()) return Status(Code::kIoError, path_ + ": not empty");
      fs_.dirs_.erase(path_);
      return Status();
    });
  }
  Status lock(LockKind kind) override {
    return perform(FsCall::kLock, kLockName, [&]() -> Status {
      const bool is_owner = kind == LockKind::kOwner;
      auto found = dir_->live.find(kLockName);
      if (found == dir_->live.end() && is_owner) found = add(kLockName, std::make_shared<Inode>());
      lock_ = found == dir_->live.end() ? nullptr : found->second;
      for (const void* wanted :
           {static_cast<const void*>(dir_.get()), static_cast<const void*>(lock_.get())}) {
        const auto held = fs_.locks_.find(wanted);
        if (held == fs_.locks_.end() || wanted == nullptr) continue;
        if (is_owner || held->second < 0) {
          return Status(Code::kBusy, path_of(kLockName) + ": in use by process 1");
        }
      }
      for (const void* wanted :
           {static_cast<const void*>(dir_.get()), static_cast<const void*>(lock_.get())}) {
        if (wanted != nullptr) fs_.locks_[wanted] += is_owner ? -1 : 1;
      }
      is_locked_ = true;
      is_owner_ = is_owner;
      return Status();
    });
  }
  Status check_place() override {
    const std::lock_guard lock(fs_.mutex_);
    const auto at_place = fs_.dirs_.find(path_);
    if (at_place == fs_.dirs_.end() || at_place->second != dir_) {
      return Status(Code::kReadOnly, path_ + ": another directory is at its place, or none");
    }
    if (lock_ == nullptr) return Status();
    const auto found = dir_->live.find(kLockName);
    if (found != dir_->live.end() && found->second == lock_) return Status();
    return Status(Code::kReadOnly, path_ + ": its LOCK has been removed or replaced");
  }
  Result<uint64_t> free_bytes() override {
    return perform(FsCall::kFreeBytes, "", [&]() -> Result<uint64_t> { return fs_.room(); });
  }
  Result<uint64_t> total_bytes() override {
    if (!fs_.tells_size_) return Directory::total_bytes();
    return perform(FsCall::kFreeBytes, "", [&]() -> Result<uint64_t> { return fs_.capacity_; });
  }
  [[nodiscard]] bool is_open_to_others() override { return false; }

 private:
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

  template <class Action>
  auto perform(FsCall call, const std::string& name, Action action) -> decltype(action()) {
    const std::lock_guard lock(fs_.mutex_);
    if (generation_ != fs_.generation_) return Status(Code::kIoError, path_ + ": from before");
    return fs_.perform_locked(call, name.empty() ? path_ : path_of(name), action);
  }

  Status check_ownership() { return is_owner_ ? check_place() : Status(); }

  Names::iterator add(const std::string& name, std::shared_ptr<Inode> inode) {
    dir_->pending.push_back({"", name, inode});
    return dir_->live.emplace(name, std::move(inode)).first;
  }
  void drop(Names::iterator at) {
    dir_->pending.push_back({at->first, "", at->second});
    dir_->live.erase(at);
  }

  FaultFs& fs_;
  const std::string path_;
  const std::shared_ptr<Dir> dir_;
  const uint64_t generation_;
  std::shared_ptr<Inode> lock_;
  bool is_locked_ = false;
  bool is_owner_ = false;
};

inline std::unique_ptr<Directory> FaultFs::open_now(const std::string& path) {
  make_dir(path);
  const std::lock_guard lock(mutex_);
  return std::make_unique<SimulatedDirectory>(*this, path, dirs_.at(path));
}

// What is made has a durable name: two calls, so that power may go between them.
inline Result<std::unique_ptr<Directory>> FaultFs::open_dir(const std::string& path, DirMode mode) {
  bool is_there = false;
  KYRO_TRY(perform(FsCall::kOpenDir, path, [&]() -> Status {
    is_there = dirs_.contains(path);
    if (is_there || mode != DirMode::kExisting) return Status();
    return Status(Code::kNotFound, "open " + path + ": no such directory");
  }));
  if (!is_there) {
    KYRO_TRY(perform(FsCall::kMakeDir, path, [&]() -> Status {
      dirs_.emplace(path, std::make_shared<Dir>());
      return Status();
    }));
  }
  std::unique_ptr<Directory> dir;
  {
    const std::lock_guard lock(mutex_);
    const auto found = dirs_.find(path);
    if (found == dirs_.end()) return Status(Code::kNotFound, path + ": no such directory");
    dir = std::make_unique<SimulatedDirectory>(*this, path, found->second);
  }
  if (!is_there) KYRO_TRY(dir->sync_own_name());
  return dir;
}

}  // namespace kyro::test
