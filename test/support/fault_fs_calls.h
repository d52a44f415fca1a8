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

inline Status FaultFs::link(const std::string& from, const std::string& to) {
  return perform(FsCall::kLink, from, [&]() -> Status {
    const auto found = live_.find(from);
    if (found == live_.end()) return Status(Code::kNotFound, from + ": no such file");
    if (!dirs_.contains(dir_of(to))) return Status(Code::kNotFound, to + ": no such directory");
    if (!live_.emplace(to, found->second).second) return Status(Code::kExists, to + ": exists");
    pending_.push_back({"", to, found->second});
    return Status();
  });
}

inline Status FaultFs::remove(const std::string& path) {
  return perform(FsCall::kRemove, path, [&]() -> Status {
    if (const auto dir = dirs_.find(path); dir != dirs_.end()) {
      const bool is_empty = std::none_of(live_.begin(), live_.end(), [&](const auto& entry) {
        return dir_of(entry.first) == path;
      });
      if (!is_empty) return Status(Code::kIoError, path + ": not empty");
      dirs_.erase(dir);
      return Status();
    }
    const auto found = live_.find(path);
    if (found == live_.end()) return Status(Code::kNotFound, path + ": no such file");
    pending_.push_back({path, "", found->second});
    live_.erase(found);
    return Status();
  });
}

// Makes the names in `dir` durable, directories among them.
inline Status FaultFs::sync_dir(const std::string& dir) {
  return perform(FsCall::kSyncDir, dir, [&]() -> Status {
    for (auto& [name, durable] : dirs_) {
      if (dir_of(name) == dir) durable = true;
    }
    const auto is_there = [&](const std::string& name) { return dir_of(name) == dir; };
    std::erase_if(durable_, [&](const auto& entry) { return is_there(entry.first); });
    for (const auto& entry : live_) {
      if (is_there(entry.first)) durable_.insert(entry);
    }
    std::erase_if(pending_, [&](const NameChange& change) {
      return is_there(change.from.empty() ? change.to : change.from);
    });
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
