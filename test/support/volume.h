// A volume of a given size: a tmpfs in a mount namespace of its own, seen by the thread that made
// it and those that it starts, gone with them.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <string>
#include <thread>

#include "test/support/test_util.h"

namespace kyro::test {

class Volume {
 public:
  // REQUIRES: mounts are permitted (is_ok()), and the thread that calls ends soon.
  explicit Volume(uint64_t bytes) {
    is_ok_ = unshare(CLONE_NEWNS) == 0 &&
             mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
             mount("kyro-test", path().c_str(), "tmpfs", 0, size_of(bytes).c_str()) == 0;
  }
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;
  ~Volume() {
    if (is_ok_) umount2(path().c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool is_ok() const { return is_ok_; }
  [[nodiscard]] std::string path() const { return dir_.file(""); }
  [[nodiscard]] std::string store() const { return dir_.file("store"); }
  [[nodiscard]] bool resize(uint64_t bytes) {
    return mount("kyro-test", path().c_str(), "tmpfs", MS_REMOUNT, size_of(bytes).c_str()) == 0;
  }

 private:
  static std::string size_of(uint64_t bytes) { return "size=" + std::to_string(bytes); }
  const TempDir dir_;
  bool is_ok_ = false;
};

// Runs a test on a thread of its own; what it throws goes on here.
template <class Body>
void on_own_thread(Body body) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace kyro::test
