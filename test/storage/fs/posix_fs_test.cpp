#include "kyro/storage/fs/posix_fs.h"

#include <signal.h>
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

std::unique_ptr<Directory> must_open_dir(const std::string& path,
                                         DirMode mode = DirMode::kExisting) {
  auto dir = PosixFileSystem().open_dir(path, mode);
  INFO(dir.status().to_string());
  REQUIRE(dir.ok());
  return std::move(*dir);
}

std::unique_ptr<File> must_open_file(Directory& dir, const std::string& name, OpenMode mode) {
  auto file = dir.open(name, mode);
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
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  CHECK(dir->open("f", OpenMode::kRead).status().code() == Code::kNotFound);
  CHECK(dir->open("f", OpenMode::kReadWrite).status().code() == Code::kNotFound);
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
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
  CHECK(read_all(*must_open_file(*dir, "f", OpenMode::kRead)).substr(0, 2) == "ab");
  CHECK(!must_open_file(*dir, "f", OpenMode::kRead)->write_at(0, "x").ok());
  CHECK(read_all(*must_open_file(*dir, "f", OpenMode::kCreate)).empty());
  CHECK(read_all(*file).substr(0, 2) == "ab");  // who had it open keeps it
}

TEST_CASE("skipping what was never written skips no byte that was") {
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
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
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
  auto empty = file->map();
  REQUIRE(empty.ok());
  CHECK((*empty)->bytes().empty());
  REQUIRE(file->write_at(0, "content").ok());
  auto mapping = file->map();
  REQUIRE(mapping.ok());
  file.reset();
  REQUIRE(dir->remove("f").ok());
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
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
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
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
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
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  auto file = must_open_file(*dir, "f", OpenMode::kCreate);
  REQUIRE(file->write_at(0, std::string(3'000'000, 'x')).ok());
  auto mapping = file->map();
  REQUIRE(mapping.ok());
  REQUIRE(file->truncate(5000).ok());
  (*mapping)->advise(Access::kResident);
  CHECK((*mapping)->bytes()[4999] == std::byte{'x'});
  CHECK(!(*mapping)->has_lost_pages());
}

TEST_CASE("names are listed, replaced, linked and removed; directories are made with those above") {
  const TempDir temp;
  const auto dir = must_open_dir(temp.file("no/such/parent/"), DirMode::kCreate);
  const auto again = must_open_dir(temp.file("no/such/parent"), DirMode::kCreate);
  CHECK(dir->path() == temp.file("no/such/parent"));
  REQUIRE(must_open_file(*dir, "a", OpenMode::kCreate)->write_at(0, "A").ok());
  REQUIRE(must_open_file(*dir, "b", OpenMode::kCreate)->write_at(0, "B").ok());
  REQUIRE(dir->rename("a", "b").ok());
  REQUIRE(dir->sync().ok());
  REQUIRE(dir->sync_own_name().ok());
  const auto names = again->list();
  REQUIRE(names.ok());
  CHECK(*names == std::vector<std::string>{"b"});
  CHECK(read_all(*must_open_file(*again, "b", OpenMode::kRead)) == "A");
  const auto other = must_open_dir(temp.file("other"), DirMode::kOwnName);
  REQUIRE(dir->link("b", *other).ok());
  CHECK(dir->link("b", *other).code() == Code::kExists);
  REQUIRE(dir->remove("b").ok());
  CHECK(read_all(*must_open_file(*other, "b", OpenMode::kRead)) == "A");
  CHECK(dir->remove("b").code() == Code::kNotFound);
  CHECK(dir->rename("x", "y").code() == Code::kNotFound);
  CHECK(!other->remove_itself().ok());
  REQUIRE(dir->remove_itself().ok());
  CHECK(access(temp.file("no/such/parent").c_str(), F_OK) != 0);
  PosixFileSystem fs;
  CHECK(fs.open_dir(temp.file("nowhere"), DirMode::kExisting).status().code() == Code::kNotFound);
  CHECK(fs.open_dir(temp.file("other/b"), DirMode::kCreate).status().code() == Code::kIoError);
  CHECK(fs.open_dir(temp.file("nowhere/b"), DirMode::kOwnName).status().code() == Code::kNotFound);
  const auto free_bytes = other->free_bytes();
  REQUIRE(free_bytes.ok());
  CHECK(*free_bytes > 0);
}

TEST_CASE("an owner is alone and named; readers share, and leave nothing behind") {
  const TempDir temp;
  auto owner = must_open_dir(temp.path());
  const auto other = must_open_dir(temp.path());
  REQUIRE(owner->lock(LockKind::kOwner).ok());
  for (const LockKind kind : {LockKind::kOwner, LockKind::kReader}) {
    const Status refused = other->lock(kind);
    CHECK(refused.code() == Code::kBusy);
    CHECK_THAT(std::string(refused.message()), Catch::Contains(std::to_string(getpid())));
  }
  owner.reset();
  const bool without_file = GENERATE(false, true);
  if (without_file) REQUIRE(other->remove(kLockName).ok());
  auto reader = must_open_dir(temp.path());
  REQUIRE(reader->lock(LockKind::kReader).ok());
  REQUIRE(must_open_dir(temp.path())->lock(LockKind::kReader).ok());
  CHECK(reader->list()->empty() == without_file);
  const Status refused = other->lock(LockKind::kOwner);
  CHECK(refused.code() == Code::kBusy);
  CHECK_THAT(std::string(refused.message()), Catch::Contains("another process"));
  reader.reset();
  CHECK(other->lock(LockKind::kOwner).ok());
}

TEST_CASE("what cannot be written to is locked all the same, by its owner if there is a LOCK") {
  const TempDir temp;
  const bool has_lock = GENERATE(true, false);
  if (has_lock) REQUIRE(must_open_dir(temp.path())->lock(LockKind::kOwner).ok());
  if (has_lock) REQUIRE(chmod(temp.file(kLockName).c_str(), 0444) == 0);
  REQUIRE(chmod(temp.path().c_str(), 0555) == 0);
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);  // root may write anywhere
    PosixFileSystem fs;
    auto reader = fs.open_dir(temp.path(), DirMode::kExisting);
    auto owner = fs.open_dir(temp.path(), DirMode::kExisting);
    if (!reader.ok() || !owner.ok() || !(*reader)->lock(LockKind::kReader).ok()) _exit(3);
    if ((*owner)->lock(LockKind::kOwner).code() != Code::kBusy) _exit(4);
    *reader = nullptr;
    _exit((*owner)->lock(LockKind::kOwner).ok() == has_lock ? 0 : 5);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(chmod(temp.path().c_str(), 0755) == 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("an owner whose directory or LOCK is another's makes, renames and removes nothing more") {
  const TempDir temp;
  const std::string path = temp.file("data");
  const auto dir = must_open_dir(path, DirMode::kCreate);
  REQUIRE(dir->lock(LockKind::kOwner).ok());
  const auto file = must_open_file(*dir, "f", OpenMode::kCreate);
  REQUIRE(dir->check_place().ok());
  const bool is_moved = GENERATE(true, false);
  const bool is_replaced = GENERATE(true, false);
  const std::string now = is_moved ? temp.file("moved") : path;
  if (is_moved) {
    REQUIRE(rename(path.c_str(), now.c_str()) == 0);
    if (is_replaced) REQUIRE(must_open_dir(path, DirMode::kCreate)->lock(LockKind::kOwner).ok());
  } else {
    REQUIRE(unlink((path + "/LOCK").c_str()) == 0);
    if (is_replaced) must_open_file(*must_open_dir(path), kLockName, OpenMode::kCreate);
  }
  const auto other = must_open_dir(temp.file("other"), DirMode::kCreate);
  must_open_file(*other, "g", OpenMode::kCreate);
  for (const Status& status : {dir->check_place(), dir->open("f", OpenMode::kCreate).status(),
                               dir->rename("f", "g"), dir->remove("f"), other->link("g", *dir),
                               is_moved ? dir->remove_itself() : Status(Code::kReadOnly)}) {
    CHECK(status.code() == Code::kReadOnly);
  }
  if (is_moved) CHECK_THAT(dir->check_place().to_string(), Catch::Contains(now));
  // What is open stays good, and reading goes on.
  REQUIRE(file->write_at(0, "still ours").ok());
  CHECK(read_all(*must_open_file(*dir, "f", OpenMode::kRead)) == "still ours");
  CHECK(must_open_dir(now)->list()->size() == (is_moved || is_replaced ? 2 : 1));
  if (!is_moved) return;
  if (is_replaced) CHECK(*must_open_dir(path)->list() == std::vector<std::string>{kLockName});
  // Back at its place it is its owner's again.
  if (is_replaced) REQUIRE(unlink((path + "/LOCK").c_str()) == 0);
  REQUIRE(rename(now.c_str(), path.c_str()) == 0);
  CHECK(dir->check_place().ok());
}

TEST_CASE("links, pipes and directories under a store's names are refused, not followed") {
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  must_open_file(*dir, "real", OpenMode::kCreate);
  REQUIRE(symlink("real", temp.file("link").c_str()) == 0);
  REQUIRE(mkfifo(temp.file("pipe").c_str(), 0600) == 0);
  REQUIRE(mkdir(temp.file("dir").c_str(), 0700) == 0);
  for (const char* name : {"link", "pipe", "dir"}) {
    for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
      const Status refused = dir->open(name, mode).status();
      CHECK(refused.code() == Code::kIoError);
      CHECK_THAT(refused.to_string(), Catch::Contains("not a regular file"));
    }
  }
  // What is made anew takes the place of a link, and leaves alone what it points to.
  REQUIRE(must_open_file(*dir, "link", OpenMode::kCreate)->write_at(0, "new").ok());
  CHECK(read_all(*must_open_file(*dir, "real", OpenMode::kRead)).empty());
  CHECK(read_all(*must_open_file(*dir, "link", OpenMode::kRead)) == "new");
  REQUIRE(symlink("real", temp.file("LOCK").c_str()) == 0);
  CHECK(dir->lock(LockKind::kOwner).code() == Code::kIoError);
  REQUIRE(symlink(temp.file("none").c_str(), temp.file("dangling").c_str()) == 0);
  PosixFileSystem fs;
  CHECK(fs.open_dir(temp.file("dangling"), DirMode::kCreate).status().code() == Code::kIoError);
  CHECK(fs.open_dir(temp.file("dangling"), DirMode::kOwnName).status().code() == Code::kExists);
}

TEST_CASE("a lock needs no room, and a name no right to open the directory above") {
  const TempDir temp;
  REQUIRE(chmod(temp.path().c_str(), 0733) == 0);
  const pid_t child = fork();
  if (child == 0) {
    log_config().level = LogLevel::kOff;
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);  // root may open everything
    signal(SIGXFSZ, SIG_IGN);
    const rlimit no_room{0, 0};
    setrlimit(RLIMIT_FSIZE, &no_room);
    PosixFileSystem fs;
    auto made = fs.open_dir(temp.file("data"), DirMode::kCreate);
    if (!made.ok() || !(*made)->sync_own_name().ok()) _exit(3);
    if (!(*made)->lock(LockKind::kOwner).ok()) _exit(4);
    const Status full = (*(*made)->open("f", OpenMode::kCreate))->write_at(0, "x");
    if (full.code() != Code::kNoSpace) _exit(5);
    _exit((*fs.open_dir(temp.file("data"), DirMode::kCreate))->lock(LockKind::kReader).code() ==
                  Code::kBusy
              ? 0
              : 6);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(chmod(temp.path().c_str(), 0700) == 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("calls that are interrupted or come short are taken up again") {
  const TempDir temp;
  const std::string written = "some bytes, more than one";
  const std::vector<int> calls = {SYS_openat,    SYS_pread64, SYS_pwrite64,
                                  SYS_fdatasync, SYS_fsync,   SYS_ftruncate,
                                  SYS_fallocate, SYS_flock,   SYS_sync_file_range};
  InterruptedCalls interrupted(calls);
  std::vector<Status> outcomes;
  std::string read(written.size(), '\0');
  const bool ran = interrupted.run([&] {
    const auto dir = PosixFileSystem().open_dir(temp.path(), DirMode::kExisting);
    outcomes.push_back(dir.status());
    if (!dir.ok()) return;
    auto file = (*dir)->open("f", OpenMode::kCreate);
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
    outcomes.push_back((*dir)->sync());
    outcomes.push_back((*dir)->lock(LockKind::kOwner));
    const auto other = PosixFileSystem().open_dir(temp.path(), DirMode::kExisting);
    outcomes.push_back(other.ok() ? (*other)->lock(LockKind::kOwner) : other.status());
  });
  if (!ran) {
    WARN("skipped: no seccomp filters here");
    return;
  }
  REQUIRE(outcomes.size() == 11);
  const Status refused = outcomes.back();
  outcomes.pop_back();
  for (const Status& status : outcomes) {
    INFO(status.to_string());
    CHECK(status.ok());
  }
  CHECK(refused.code() == Code::kBusy);
  CHECK_THAT(refused.to_string(), Catch::EndsWith("process " + std::to_string(getpid())));
  CHECK(read == written);
  CHECK(read_all(*must_open_file(*must_open_dir(temp.path()), "f", OpenMode::kRead)) == written);
  for (const int call : calls) {
    INFO("system call " << call);
    CHECK(interrupted.count(call) >= 2);
  }
}

TEST_CASE("running out of descriptors is busy, not an input/output error") {
  const TempDir temp;
  const pid_t child = fork();
  if (child == 0) {
    auto dir = PosixFileSystem().open_dir(temp.path(), DirMode::kExisting);
    if (!dir.ok() || !(*dir)->open("f", OpenMode::kCreate).ok()) _exit(2);
    const rlimit limit{3, 3};
    setrlimit(RLIMIT_NOFILE, &limit);
    const bool file = (*dir)->open("g", OpenMode::kCreate).status().code() == Code::kBusy;
    const bool list = (*dir)->list().status().code() == Code::kBusy;
    const bool lock = (*dir)->lock(LockKind::kOwner).code() == Code::kBusy;
    const auto other = PosixFileSystem().open_dir(temp.path(), DirMode::kExisting);
    const bool opened = other.status().code() == Code::kBusy;
    const bool needs_none = (*dir)->sync().ok() && (*dir)->rename("f", "h").ok();
    _exit(file && list && lock && opened && needs_none ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("a small file is read whole or refused, and replaced atomically") {
  const TempDir temp;
  const auto dir = must_open_dir(temp.path());
  bool renamed = false;
  REQUIRE(write_file_atomically(*dir, "small", "one", &renamed).ok());
  CHECK(renamed);
  REQUIRE(write_file_atomically(*dir, "small", "two", &renamed).ok());
  auto text = read_small_file(*dir, "small", 3);
  REQUIRE(text.ok());
  CHECK(*text == "two");
  CHECK(read_small_file(*dir, "small", 2).status().code() == Code::kTooLarge);
  CHECK(read_small_file(*dir, "none", 2).status().code() == Code::kNotFound);
  CHECK(dir->list()->size() == 1);
}

}  // namespace kyro::test
