// What tests share: seeds that are printed, temporary directories, buffers that end at a guard
// page.
#pragma once

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>

namespace kyro::test {

// Built with a sanitizer: everything is slow and reserves address space by the terabyte.
inline constexpr bool kSanitized =
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    true;
#else
    false;
#endif

// A seed for a property test: KYRO_TEST_SEED if set, else a fixed one per test, so that CI repeats.
// Use with INFO("seed " << seed) so that a failure prints it.
inline uint64_t test_seed(uint64_t fallback) {
  const char* text = std::getenv("KYRO_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

// A fresh directory below $TMPDIR or /tmp, removed with everything in it at the end of the scope.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kyro-test-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

// A copy of `bytes` whose last byte lies directly before (or first byte directly behind) an
// unmapped page: a read outside it is a crash.
class GuardedBytes {
 public:
  enum class Guard { kBehind, kBefore };
  explicit GuardedBytes(std::string_view bytes, Guard guard = Guard::kBehind)
      : size_(bytes.size()) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t data_pages = (bytes.size() + page - 1) / page + 1;
    total_ = (data_pages + 2) * page;
    base_ =
        static_cast<char*>(mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base_ != MAP_FAILED);
    REQUIRE(mprotect(base_ + page, data_pages * page, PROT_READ | PROT_WRITE) == 0);
    data_ =
        guard == Guard::kBehind ? base_ + page + data_pages * page - bytes.size() : base_ + page;
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(base_, total_); }
  [[nodiscard]] char* data() { return data_; }
  [[nodiscard]] std::string_view view() const { return {data_, size_}; }

 private:
  char* base_ = nullptr;
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t total_ = 0;
};

}  // namespace kyro::test
