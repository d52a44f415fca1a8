// A file system whose runs cannot be begun while its gate is closed: a flush or merge that takes as
// long as a test wants.
//
// Thread rule: any thread. Ownership: the file system behind it is the caller's.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kyro/storage/fs/fs.h"

namespace kyro::test {

class GateFs final : public FileSystem {
 public:
  explicit GateFs(FileSystem& behind) : fs_(behind) {}

  void close_gate() { set(false); }
  void open_gate() { set(true); }
  // Until somebody waits at the gate.
  void wait_for_visitor() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return visitors_ > 0; });
  }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    if (mode == OpenMode::kCreate && path.ends_with(".data")) {
      std::unique_lock lock(mutex_);
      ++visitors_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return is_open_; });
      --visitors_;
    }
    return fs_.open(path, mode);
  }
  Result<std::vector<std::string>> list(const std::string& dir) override { return fs_.list(dir); }
  Status make_dir(const std::string& dir) override { return fs_.make_dir(dir); }
  Status rename(const std::string& from, const std::string& to) override {
    return fs_.rename(from, to);
  }
  Status link(const std::string& from, const std::string& to) override {
    return fs_.link(from, to);
  }
  Status remove(const std::string& path) override { return fs_.remove(path); }
  Status sync_dir(const std::string& dir) override { return fs_.sync_dir(dir); }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    return fs_.lock(path);
  }
  Result<uint64_t> free_bytes(const std::string& dir) override { return fs_.free_bytes(dir); }

 private:
  void set(bool open) {
    const std::lock_guard lock(mutex_);
    is_open_ = open;
    changed_.notify_all();
  }

  FileSystem& fs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = true;
  int visitors_ = 0;
};

}  // namespace kyro::test
