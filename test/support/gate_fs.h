// A file system whose runs, or log segments, cannot be begun while its gate is closed: a flush,
// merge or commit that takes as long as a test wants.
//
// Thread rule: any thread. Ownership: the file system behind it is the caller's.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kyro/storage/fs/fs.h"

namespace kyro::test {

class GateFs final : public FileSystem {
 public:
  // New files whose names end so wait at the gate.
  explicit GateFs(FileSystem& behind, const char* gated = ".data") : fs_(behind), gated_(gated) {}

  void close_gate() { set(false); }
  void open_gate() { set(true); }
  // Until somebody waits at the gate.
  void wait_for_visitor() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return visitors_ > 0; });
  }

  Result<std::unique_ptr<Directory>> open_dir(const std::string& path, DirMode mode) override {
    auto dir = fs_.open_dir(path, mode);
    KYRO_TRY(dir);
    return std::unique_ptr<Directory>(std::make_unique<GateDirectory>(*this, std::move(*dir)));
  }

 private:
  class GateDirectory final : public Directory {
   public:
    GateDirectory(GateFs& gate, std::unique_ptr<Directory> behind)
        : gate_(gate), dir_(std::move(behind)) {}

    [[nodiscard]] const std::string& path() const override { return dir_->path(); }
    Result<std::unique_ptr<File>> open(const std::string& name, OpenMode mode) override {
      if (mode == OpenMode::kCreate && name.ends_with(gate_.gated_)) gate_.pass();
      return dir_->open(name, mode);
    }
    Result<std::vector<std::string>> list() override { return dir_->list(); }
    Status rename(const std::string& from, const std::string& to) override {
      return dir_->rename(from, to);
    }
    Status link(const std::string& name, Directory& to) override {
      return dir_->link(name, *static_cast<GateDirectory&>(to).dir_);
    }
    Status remove(const std::string& name) override { return dir_->remove(name); }
    Status sync() override { return dir_->sync(); }
    Status sync_own_name() override { return dir_->sync_own_name(); }
    Status remove_itself() override { return dir_->remove_itself(); }
    Status lock(LockKind kind) override { return dir_->lock(kind); }
    Status check_place() override { return dir_->check_place(); }
    Result<uint64_t> free_bytes() override { return dir_->free_bytes(); }
    Result<uint64_t> total_bytes() override { return dir_->total_bytes(); }
    [[nodiscard]] bool is_open_to_others() override { return dir_->is_open_to_others(); }

   private:
    GateFs& gate_;
    const std::unique_ptr<Directory> dir_;
  };

  void pass() {
    std::unique_lock lock(mutex_);
    ++visitors_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return is_open_; });
    --visitors_;
  }

  void set(bool open) {
    const std::lock_guard lock(mutex_);
    is_open_ = open;
    changed_.notify_all();
  }

  FileSystem& fs_;
  const char* const gated_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = true;
  int visitors_ = 0;
};

}  // namespace kyro::test
