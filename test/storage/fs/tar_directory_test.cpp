// Archives from anywhere: what is whole and plain is read as it is, everything else is refused.
#include "kyro/storage/fs/tar_directory.h"

#include <catch2/catch.hpp>

#include "kyro/storage/fs/posix_fs.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

std::string tar_file(std::string_view name, std::string_view bytes) {
  std::string out = encode_tar_head(name, bytes.size(), 1'700'000'000);
  out += bytes;
  return out.append(tar_padded(bytes.size()) - bytes.size(), '\0');
}
const std::string kTarEnd(kTarEndBytes, '\0');

// The head of an empty file, changed; its sum is right.
std::string tar_head(const std::function<void(std::string&)>& change) {
  std::string head = encode_tar_head("wal-0.log", 0, 0);
  change(head);
  char sum[8];
  std::snprintf(sum, sizeof sum, "%06o", static_cast<unsigned>(tar_detail::sum_of(head)));
  return head.replace(tar_detail::kSumAt, 6, sum);
}

Result<std::unique_ptr<Directory>> open_tar(const TempDir& temp, std::string_view bytes) {
  auto dir = PosixFileSystem().open_dir(temp.path(), DirMode::kExisting);
  REQUIRE(dir.ok());
  auto file = (*dir)->open("a.tar", OpenMode::kCreate);
  REQUIRE(file.ok());
  REQUIRE((*file)->write_at(0, bytes).ok());
  return TarDirectory::open(std::move(*file), "a.tar");
}

std::string text_of(Directory& dir, const std::string& name) {
  const auto text = read_small_file(dir, name, kMiB);
  REQUIRE(text.ok());
  const auto file = dir.open(name, OpenMode::kRead);
  REQUIRE(file.ok());
  const auto mapping = (*file)->map();
  REQUIRE(mapping.ok());
  const auto bytes = (*mapping)->bytes();
  REQUIRE(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == *text);
  return *text;
}

}  // namespace

TEST_CASE("Files of an archive are read where they lie, and nothing is written") {
  TempDir temp;
  const std::string large(5000, 'x');
  const auto opened = open_tar(
      temp, tar_file("one", "1") + tar_file("./two", large) + tar_file("empty", "") + kTarEnd);
  INFO(opened.status().to_string());
  REQUIRE(opened.ok());
  Directory& dir = **opened;
  CHECK(text_of(dir, "one") == "1");
  CHECK(text_of(dir, "two") == large);
  CHECK(text_of(dir, "empty").empty());
  CHECK(dir.list()->size() == 3);
  CHECK(dir.open("three", OpenMode::kRead).status().code() == Code::kNotFound);
  char byte = 0;
  CHECK(*(*dir.open("one", OpenMode::kRead))->read_at(1, &byte, 1) == 0);
  CHECK(dir.open("one", OpenMode::kCreate).status().code() == Code::kUnsupported);
  CHECK(dir.remove("one").code() == Code::kUnsupported);
  CHECK(dir.lock(LockKind::kReader).ok());
  CHECK(dir.lock(LockKind::kOwner).code() == Code::kUnsupported);
}

TEST_CASE("An archive that is cut off anywhere is refused") {
  TempDir temp;
  const std::string whole = tar_file("one", "1") + tar_file("two", std::string(600, 'x')) + kTarEnd;
  REQUIRE(open_tar(temp, whole).ok());
  for (size_t bytes = 0; bytes < whole.size(); bytes += 128) {
    const auto cut = open_tar(temp, std::string_view(whole).substr(0, bytes));
    INFO(bytes);
    CHECK(cut.status().code() == Code::kCorruption);
    CHECK_THAT(std::string(cut.status().message()), Contains("cut off"));
  }
}

TEST_CASE("What no backup has is refused with the place where it stands") {
  TempDir temp;
  const auto refused = [&](const std::string& bytes, std::string_view why) {
    const auto opened = open_tar(temp, tar_file("one", "1") + bytes + kTarEnd);
    const std::string message(opened.status().message());
    INFO(message);
    CHECK(!opened.ok());
    CHECK_THAT(message, Contains(std::string(why)));
    CHECK_THAT(message, Contains("a.tar at "));
  };
  for (const char* name : {"../evil", "/etc/passwd", "a/b", "..", ".", ".hidden", "", "./", ".//a",
                           "a b", "a\nb", "a\\b", "\xC3\xA4", "././a", "./../a"}) {
    INFO(name);
    refused(tar_head([&](std::string& head) {
              head.replace(0, 9, 9, '\0').replace(0, std::strlen(name), name);
            }),
            "a name that no file of a backup has");
  }
  for (const char type : {'1', '2', '3', '4', '5', '6', 'x', 'g', 'L', 'S'}) {
    refused(tar_head([&](std::string& head) { head[156] = type; }), "is no regular file");
  }
  refused(tar_head([](std::string& head) { head[345] = 'd'; }), "a name that no file");
  refused(tar_file("one", "again"), "one is there twice");
  refused(tar_head([](std::string& head) { head.replace(124, 11, "77777777777"); }), "cut off");
  refused(tar_head([](std::string& head) { head.replace(124, 11, "00000000009"); }), "no size");
  refused(tar_head([](std::string& head) { head.replace(124, 11, "-0000000001"); }), "no size");
  refused(tar_head([](std::string& head) { head.replace(124, 12, 12, '\xFF'); }), "no size");
  refused(tar_head([](std::string& head) { head.replace(124, 12, 12, '\xFF')[124] = '\x80'; }),
          "no size");
  refused(std::string(kTarBlockBytes, 'x'), "not the head of a file");
  std::string damaged = tar_file("two", "2");
  damaged[100] ^= 1;
  refused(damaged, "not the head of a file");
  refused(kTarEnd + "more", "there is more after the end");
  refused(kTarEnd + std::string(2 * kMiB, '\0'), "there is more after the end");
}

TEST_CASE("A file of 8 GiB and more has its size in the head as GNU tar writes it") {
  for (const uint64_t bytes : {(uint64_t{1} << 33) - 1, uint64_t{1} << 33, kTarFileBytesMax}) {
    const auto entry = decode_tar_head(encode_tar_head("run-1.data", bytes, 0));
    REQUIRE(entry.ok());
    CHECK(entry->bytes == bytes);
    CHECK(entry->name == "run-1.data");
  }
  CHECK(!decode_tar_head(encode_tar_head("a", kTarFileBytesMax + 1, 0)).ok());
}

}  // namespace kyro::test
