// Every file of a small store, truncated at every byte, every bit flipped, swapped, deleted and
// duplicated: the store refuses to open, or every answer is right or an error. Never a wrong value,
// never "not found" for a key that is there.
//
// The ordinary run takes every bit of the manifest and of both ends of the other files, and a
// sample of what lies between; `make damage` (KYRO_DAMAGE=full) takes all of it.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

bool takes_all() {
  const char* text = std::getenv("KYRO_DAMAGE");
  return text != nullptr && std::string_view(text) == "full";
}

// What says where everything else is: the manifest, and in the other files as much of both ends as
// the header of a segment with its first group's, the ends of a run, those of an index and its
// seal.
bool is_vital(const std::string& path, size_t at, size_t size) {
  constexpr size_t kHead = kSegmentHeaderBytes + kGroupHeaderBytes;
  constexpr size_t kTail = sizeof(RmiTrailer) + sizeof(IndexSeal);
  static_assert(kHead >= kRunHeaderBytes && kHead >= sizeof(RmiHeader));
  static_assert(kTail >= kRunFooterBytes);
  if (path == path_of(kManifestName) || at < kHead) return true;
  return path.find("/run-") != path.npos && size - at <= kTail;
}

// Three runs, sealed segments, and records that only the log has; closed in good order.
struct SmallStore {
  FaultFs fs;
  Options options = small_options(fs);
  Contents contents;
  std::vector<std::string> paths;

  // One with runs of version 1, as an older binary has left it.
  explicit SmallStore(const std::string& golden_dir) {
    options.merge_fan_in = 100;
    for (const auto& entry : std::filesystem::directory_iterator(golden_dir)) {
      std::ifstream file(entry.path(), std::ios::binary);
      fs.put_file(path_of(entry.path().filename().string()),
                  std::string(std::istreambuf_iterator<char>(file), {}));
    }
    paths = fs.paths();
    Options copied = options;
    const auto copy = fs.clone();
    copied.fs = copy.get();
    auto engine = must_open(copied);
    REQUIRE(!engine->view().runs.at(0)->body().is_paged());
    contents = contents_of(*engine);
  }

  SmallStore() {
    options.wal_segment_bytes = 4 * kKiB;
    options.wal_segments_max = 1;
    options.merge_fan_in = 100;
    auto engine = must_open(options);
    for (uint64_t n = 0; n < 50; ++n) {
      const size_t bytes = n == 9 || n == 40 ? 1200 : n * 3;  // the longest lie outside their pages
      must_put(*engine, n * 0x0500000000000001u, std::to_string(n) + std::string(bytes, 'v'));
      if (n == 15 || n == 30) REQUIRE(engine->snapshot().ok());
    }
    must_put(*engine, 3 * 0x0500000000000001u, "newer");
    REQUIRE(engine->remove(4 * 0x0500000000000001u).ok());
    REQUIRE(engine->snapshot().ok());
    for (uint64_t n = 50; n < 62; ++n) must_put(*engine, n, std::string(900, 'w'));
    contents = contents_of(*engine);
    engine.reset();
    paths = fs.paths();
    REQUIRE(files(fs, "run-", ".data").size() == 3);
    REQUIRE(files(fs, "wal-", ".log").size() >= 3);
  }
};

// Whether the store opened.
bool check_answers(const SmallStore& store, FaultFs& image) {
  Options options = store.options;
  options.fs = &image;
  const auto opened = Engine::open(options);
  if (!opened.ok()) {
    INFO(opened.status().to_string());
    REQUIRE((opened.status().code() == Code::kCorruption ||
             opened.status().code() == Code::kUnsupported));
    return false;
  }
  Engine& engine = **opened;
  for (const auto& [key, stored] : store.contents) {
    std::string value;
    uint64_t offset = 0;
    const Status status = engine.get(key, &value, &offset);
    INFO("key " << key << ": " << status.to_string());
    if (status.ok()) {
      REQUIRE((value == stored.value && offset == stored.offset));
    } else {
      REQUIRE(status.code() == Code::kCorruption);
    }
  }
  std::string value;
  for (const uint64_t absent : {4 * uint64_t{0x0500000000000001}, uint64_t{1}, ~uint64_t{0}}) {
    if (store.contents.contains(absent)) continue;
    const Code code = engine.get(absent, &value).code();
    REQUIRE((code == Code::kNotFound || code == Code::kCorruption));
  }
  Contents found;
  const Status scanned =
      engine.scan(0, ~uint64_t{0}, [&](uint64_t key, std::string_view bytes, uint64_t offset) {
        found[key] = {std::string(bytes), offset};
        return true;
      });
  if (scanned.ok()) {
    REQUIRE(found == store.contents);
  } else {
    REQUIRE(scanned.code() == Code::kCorruption);
  }
  return true;
}

}  // namespace

TEST_CASE("a file truncated at any byte is an error or makes no difference", "[damage]") {
  const QuietLog quiet;
  const SmallStore store;
  uint64_t points = 0;
  for (const std::string& path : store.paths) {
    const std::string bytes = store.fs.contents(path);
    for (size_t size = 0; size < bytes.size(); ++size) {
      if (!takes_all() && size % 31 != 0 && !is_vital(path, size, bytes.size())) continue;
      INFO(path << " cut to " << size << " of " << bytes.size());
      auto image = store.fs.clone();
      image->put_file(path, bytes.substr(0, size));
      check_answers(store, *image);
      ++points;
    }
  }
  WARN(points << " truncations");
}

TEST_CASE("a flipped bit or byte of a run of version 1 is an error or makes no difference",
          "[damage]") {
  const QuietLog quiet;
  const std::string golden_dir = "test/data/store-v2";
  if (!std::filesystem::exists(golden_dir)) {
    WARN("no " << golden_dir << " here: run from the top of the repository");
    return;
  }
  const SmallStore store(golden_dir);
  uint64_t opened = 0;
  for (const std::string& path : store.paths) {
    if (path.find("/run-") == path.npos) continue;
    const std::string bytes = store.fs.contents(path);
    for (size_t at = 0; at < bytes.size(); ++at) {
      INFO(path << " at " << at);
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (at % 3 == 0 ? 0xFF : 1 << (at % 8)));
      auto image = store.fs.clone();
      image->put_file(path, at % 2 == 0 ? std::move(damaged) : bytes.substr(0, at));
      if (check_answers(store, *image)) ++opened;
    }
  }
  CHECK(opened > 0);
}

TEST_CASE("a flipped bit anywhere is an error or makes no difference", "[damage]") {
  const QuietLog quiet;
  const SmallStore store;
  uint64_t points = 0;
  uint64_t opened = 0;
  for (const std::string& path : store.paths) {
    const std::string bytes = store.fs.contents(path);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      // One bit of each byte where a sanitizer makes everything ten times as slow.
      const bool is_taken = bit % 67 == 0 || (is_vital(path, bit / 8, bytes.size()) &&
                                              (!kSanitized || bit % 8 == bit / 8 % 8));
      if (!takes_all() && !is_taken) continue;
      INFO(path << " bit " << bit % 8 << " of byte " << bit / 8);
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      auto image = store.fs.clone();
      image->put_file(path, std::move(damaged));
      if (check_answers(store, *image)) ++opened;
      ++points;
    }
  }
  WARN(points << " flipped bits, " << opened << " stores opened");
  CHECK(opened > 0);  // a bad record does not take the others with it
}

TEST_CASE("a file that is deleted, swapped or overwritten by another one is an error or rebuilt",
          "[damage]") {
  const QuietLog quiet;
  const SmallStore store;
  for (const std::string& a : store.paths) {
    {
      INFO(a << " deleted");
      auto image = store.fs.clone();
      image->erase_file(a);
      const bool opened = check_answers(store, *image);
      REQUIRE(opened == a.ends_with(".rmi"));
    }
    for (const std::string& b : store.paths) {
      if (a == b) continue;
      INFO(a << " and " << b);
      auto swapped = store.fs.clone();
      swapped->put_file(a, store.fs.contents(b));
      swapped->put_file(b, store.fs.contents(a));
      check_answers(store, *swapped);
      auto doubled = store.fs.clone();
      doubled->put_file(a, store.fs.contents(b));
      const bool opened = check_answers(store, *doubled);
      REQUIRE(opened == a.ends_with(".rmi"));
    }
  }
}

TEST_CASE("copies of files under other names are leftovers and make no difference", "[damage]") {
  const QuietLog quiet;
  const SmallStore store;
  for (const std::string& path : store.paths) {
    for (const char* name : {"run-99.data", "run-99.rmi", "wal-00000000000000009999.log",
                             "manifest.json.tmp", "run-1.data.bak", "wal-copy.log"}) {
      INFO(path << " copied to " << name);
      auto image = store.fs.clone();
      image->put_file(path_of(name), store.fs.contents(path));
      REQUIRE(check_answers(store, *image));
    }
  }
}

}  // namespace kyro::test
