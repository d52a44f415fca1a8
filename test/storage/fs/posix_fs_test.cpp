#include "kyro/storage/fs/posix_fs.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "test/support/interrupted_calls.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::unique_ptr<File> must_open_file(FileSystem& fs, const std::string& path, OpenMode mode) {
  auto file = fs.open(path, mode);
  INFO(file.status().to_string());
  REQUIRE(file.ok());
  return std::move(*file);
}

std::string read_all(File& file) {
  const auto size = file.size();
  REQUIRE(size.ok());
  std::string bytes(*size, '\0');
  const auto got = file.read_at(0, bytes.data(), bytes.size());
  REQUIRE(got.ok());
  REQUIRE(*got == bytes.size());
  return bytes;
}

}  // namespace

TEST_CASE("a posix file keeps what is written, where it is written") {
  const TempDir dir;
  PosixFileSystem fs;
  const std::string path = dir.file("f");
  CHECK(fs.open(path, OpenMode::kRead).status().code() == Code::kNotFound);
  CHECK(fs.open(path, OpenMode::kReadWrite).status().code() == Code::kNotFound);
  auto file = must_open_file(fs, path, OpenMode::kCreate);
  REQUIRE(file->write_at(3, "def").ok());
  REQUIRE(file->write_at(0, "abc").ok());
  REQUIRE(file->write_at(0, "").ok());
  REQUIRE(file->sync().ok());
  CHECK(read_all(*file) == "abcdef");
  char buffer[10];
  auto got = file->read_at(4, buffer, sizeof buffer);
  REQUIRE(got.ok());
  CHECK(*got == 2);
  got = file->read_at(100, buffer, sizeof buffer);
  REQUIRE(got.ok());
  CHECK(*got == 0);
  REQUIRE(file->truncate(2).ok());
  REQUIRE(file->allocate(5).ok());
  CHECK(read_all(*file).substr(0, 2) == "ab");
  REQUIRE(file->allocate(0).ok());
  file->drop_cache();
  CHECK(read_all(*must_open_file(fs, path, OpenMode::kRead)).substr(0, 2) == "ab");
  CHECK(!must_open_file(fs, path, OpenMode::kRead)->write_at(0, "x").ok());
  must_open_file(fs, path, OpenMode::kCreate);
  CHECK(read_all(*file).empty());
}

TEST_CASE("skipping what was never written skips no byte that was") {
  const TempDir dir;
  PosixFileSystem fs;
  auto file = must_open_file(fs, dir.file("f"), OpenMode::kCreate);
  constexpr uint64_t kSize = uint64_t{4} << 20;
  REQUIRE(file->allocate(kSize).ok());
  const std::vector<uint64_t> written = {5, 70'000, 1'048'576, 3'000'001};
  for (const uint64_t at : written) REQUIRE(file->write_at(at, "x").ok());
  const bool synced = GENERATE(false, true);
  if (synced) REQUIRE(file->sync().ok());
  for (uint64_t at = 0; at < kSize; at += 4096 - 7) {
    const auto next = file->next_data(at);
    REQUIRE(next.ok());
    REQUIRE(*next >= at);
    for (const uint64_t place : written) CHECK((place < at || place >= *next));
  }
  const auto end = file->next_data(kSize);
  REQUIRE(end.ok());
  CHECK(*end == kSize);
}

TEST_CASE("a mapping outlives its file's name, and an empty file maps to nothing") {
  const TempDir dir;
  PosixFileSystem fs;
  auto file = must_open_file(fs, dir.file("f"), OpenMode::kCreate);
  auto empty = file->map();
  REQUIRE(empty.ok());
  CHECK((*empty)->bytes().empty());
  REQUIRE(file->write_at(0, "content").ok());
  auto mapping = file->map();
  REQUIRE(mapping.ok());
  file.reset();
  REQUIRE(fs.remove(dir.file("f")).ok());
  (*mapping)->advise(Access::kRandom);
  (*mapping)->advise(Access::kResident);
  (*empty)->advise(Access::kResident);
  (*mapping)->fetch(0, 1'000'000);
  (*mapping)->fetch(1'000'000, 2'000'000);
  (*empty)->fetch(0, 1);
  const auto bytes = (*mapping)->bytes();
  CHECK(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == "content");
}

TEST_CASE("writing back what was written changes nothing of it, whatever the range") {
  const TempDir dir;
  PosixFileSystem fs;
  auto file = must_open_file(fs, dir.file("f"), OpenMode::kCreate);
  std::string expected;
  for (size_t at = 0; at < 100'000; at += 10'000) {
    expected.append(10'000, static_cast<char>('a' + at / 10'000));
    REQUIRE(file->write_at(at, expected.substr(at)).ok());
    REQUIRE(file->write_back(at, expected.size()).ok());
  }
  REQUIRE(file->write_back(0, 0).ok());
  REQUIRE(file->write_back(100'000, 100'000).ok());
  REQUIRE(file->write_back(90'000, 1'000'000).ok());
  REQUIRE(file->sync().ok());
  CHECK(read_all(*file) == expected);
}

TEST_CASE("what is fetched comes into memory without anyone touching it") {
  const TempDir dir;
  PosixFileSystem fs;
  auto file = must_open_file(fs, dir.file("f"), OpenMode::kCreate);
  constexpr size_t kPages = 1000, kFirst = 300, kEnd = 700;
  REQUIRE(file->write_at(0, std::string(kPages * 4096, 'x')).ok());
  REQUIRE(file->sync().ok());
  auto mapping = file->map();
  REQUIRE(mapping.ok());
  (*mapping)->advise(Access::kRandom);
  file->drop_cache();
  const auto pages_in_memory = [&](size_t begin, size_t end) {
    unsigned char in_memory[kPages];
    auto* address = const_cast<std::byte*>((*mapping)->bytes().data());
    REQUIRE(mincore(address, kPages * 4096, in_memory) == 0);
    return std::count_if(in_memory + begin, in_memory + end, [](auto page) { return page & 1; });
  };
  if (pages_in_memory(0, kPages) > 0) {
    WARN("skipped: the temporary directory is in memory");
    return;
  }
  (*mapping)->fetch(kFirst * 4096 + 1, kEnd * 4096 - 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (pages_in_memory(kFirst, kEnd) < long{kEnd - kFirst}) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    std::this_thread::yield();
  }
  CHECK(pages_in_memory(0, kFirst) == 0);
  CHECK(pages_in_memory(kEnd, kPages) == 0);
}

TEST_CASE("what is not there any more is no danger to a mapping that is to be resident") {
  const TempDir dir;
  PosixFileSystem fs;
  auto file = must_open_file(fs, dir.file("f"), OpenMode::kCreate);
  REQUIRE(file->write_at(0, std::string(3'000'000, 'x')).ok());
  auto mapping = file->map();
  REQUIRE(mapping.ok());
  REQUIRE(file->truncate(5000).ok());
  (*mapping)->advise(Access::kResident);
  CHECK((*mapping)->bytes()[4999] == std::byte{'x'});
  CHECK(!(*mapping)->has_lost_pages());
}

TEST_CASE("names are listed, replaced and removed; directories are made once") {
  const TempDir dir;
  PosixFileSystem fs;
  const std::string sub = dir.file("sub");
  REQUIRE(fs.make_dir(sub).ok());
  REQUIRE(fs.make_dir(sub).ok());
  REQUIRE(fs.make_dir(sub + "/").ok());
  REQUIRE(must_open_file(fs, sub + "/a", OpenMode::kCreate)->write_at(0, "A").ok());
  REQUIRE(must_open_file(fs, sub + "/b", OpenMode::kCreate)->write_at(0, "B").ok());
  REQUIRE(fs.rename(sub + "/a", sub + "/b").ok());
  REQUIRE(fs.sync_dir(sub).ok());
  const auto names = fs.list(sub);
  REQUIRE(names.ok());
  CHECK(*names == std::vector<std::string>{"b"});
  CHECK(read_all(*must_open_file(fs, sub + "/b", OpenMode::kRead)) == "A");
  REQUIRE(fs.remove(sub + "/b").ok());
  CHECK(fs.remove(sub + "/b").code() == Code::kNotFound);
  CHECK(fs.rename(sub + "/x", sub + "/y").code() == Code::kNotFound);
  CHECK(fs.list(dir.file("nowhere")).status().code() == Code::kNotFound);
  must_open_file(fs, dir.file("file"), OpenMode::kCreate);
  CHECK(fs.make_dir(dir.file("file")).code() == Code::kIoError);
  CHECK(!fs.make_dir(dir.file("no/such/parent")).ok());
  const auto free_bytes = fs.free_bytes(dir.path());
  REQUIRE(free_bytes.ok());
  CHECK(*free_bytes > 0);
}

TEST_CASE("a lock is exclusive, names its holder, and ends with its owner") {
  const TempDir dir;
  PosixFileSystem fs;
  const std::string path = dir.file("LOCK");
  auto held = fs.lock(path);
  REQUIRE(held.ok());
  const Status refused = fs.lock(path).status();
  CHECK(refused.code() == Code::kBusy);
  CHECK_THAT(std::string(refused.message()), Catch::Contains(std::to_string(getpid())));
  held = Status(Code::kBusy);
  REQUIRE(fs.lock(path).ok());
}

TEST_CASE("a lock that cannot be written to is taken all the same; one that is not there is not") {
  const TempDir dir;
  PosixFileSystem fs;
  REQUIRE(fs.lock(dir.file("LOCK")).ok());  // makes the file
  REQUIRE(chmod(dir.file("LOCK").c_str(), 0444) == 0);
  REQUIRE(chmod(dir.path().c_str(), 0555) == 0);
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);  // root may write anywhere
    const auto held = fs.lock(dir.file("LOCK"));
    const bool is_exclusive = fs.lock(dir.file("LOCK")).status().code() == Code::kBusy;
    const Status missing = fs.lock(dir.file("OTHER")).status();
    const bool is_clear = missing.message().find("cannot be taken") != std::string_view::npos;
    _exit(held.ok() && is_exclusive && is_clear ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("calls that are interrupted or come short are taken up again") {
  const TempDir dir;
  const std::string path = dir.file("f");
  const std::string written = "some bytes, more than one";
  const std::vector<int> calls = {SYS_openat,    SYS_pread64, SYS_pwrite64,
                                  SYS_fdatasync, SYS_fsync,   SYS_ftruncate,
                                  SYS_fallocate, SYS_flock,   SYS_sync_file_range};
  InterruptedCalls interrupted(calls);
  std::vector<Status> outcomes;
  std::string read(written.size(), '\0');
  const bool ran = interrupted.run([&] {
    PosixFileSystem fs;
    auto file = fs.open(path, OpenMode::kCreate);
    outcomes.push_back(file.status());
    if (!file.ok()) return;
    outcomes.push_back((*file)->allocate(100));
    outcomes.push_back((*file)->truncate(0));
    outcomes.push_back((*file)->write_at(0, written));
    outcomes.push_back((*file)->write_back(0, written.size()));
    outcomes.push_back((*file)->sync());
    const auto got = (*file)->read_at(0, read.data(), read.size());
    outcomes.push_back(got.status());
    if (got.ok()) read.resize(*got);
    outcomes.push_back(fs.sync_dir(dir.path()));
    const auto held = fs.lock(dir.file("LOCK"));
    outcomes.push_back(held.status());
    outcomes.push_back(fs.lock(dir.file("LOCK")).status());
  });
  if (!ran) {
    WARN("skipped: no seccomp filters here");
    return;
  }
  REQUIRE(outcomes.size() == 10);
  const Status refused = outcomes.back();
  outcomes.pop_back();
  for (const Status& status : outcomes) {
    INFO(status.to_string());
    CHECK(status.ok());
  }
  CHECK(refused.code() == Code::kBusy);
  CHECK_THAT(refused.to_string(), Catch::EndsWith("process " + std::to_string(getpid())));
  CHECK(read == written);
  PosixFileSystem fs;
  CHECK(read_all(*must_open_file(fs, path, OpenMode::kRead)) == written);
  for (const int call : calls) {
    INFO("system call " << call);
    CHECK(interrupted.count(call) >= 2);
  }
}

TEST_CASE("running out of descriptors is busy, not an input/output error") {
  const TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{3, 3};
    setrlimit(RLIMIT_NOFILE, &limit);
    PosixFileSystem fs;
    const bool file = fs.open(dir.file("f"), OpenMode::kCreate).status().code() == Code::kBusy;
    const bool list = fs.list(dir.path()).status().code() == Code::kBusy;
    const bool sync = fs.sync_dir(dir.path()).code() == Code::kBusy;
    const bool lock = fs.lock(dir.file("LOCK")).status().code() == Code::kBusy;
    _exit(file && list && sync && lock ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("a small file is read whole or refused, and replaced atomically") {
  const TempDir dir;
  PosixFileSystem fs;
  const std::string path = dir.file("small");
  bool renamed = false;
  REQUIRE(write_file_atomically(fs, dir.path(), path, "one", &renamed).ok());
  CHECK(renamed);
  REQUIRE(write_file_atomically(fs, dir.path(), path, "two", &renamed).ok());
  auto text = read_small_file(fs, path, 3);
  REQUIRE(text.ok());
  CHECK(*text == "two");
  CHECK(read_small_file(fs, path, 2).status().code() == Code::kTooLarge);
  CHECK(read_small_file(fs, dir.file("none"), 2).status().code() == Code::kNotFound);
  CHECK(fs.list(dir.path())->size() == 1);
}

}  // namespace kyro::test
