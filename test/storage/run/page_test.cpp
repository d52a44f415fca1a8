// Pages: what one is built of it leads to, and whatever its bytes are, nothing outside is read and
// damage is never a miss.
#include "kyro/storage/run/page.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kyro/storage/read/lookup.h"
#include "test/support/run_util.h"

namespace kyro::test {
namespace {

constexpr uint64_t kSomeKey = 0x0123456789ABCDEFu;

std::string record_of(uint64_t key, size_t value_bytes) {
  return encode_version(key, {true, std::string(value_bytes, static_cast<char>(key)), 1, 0});
}

// Fills a page with records of the sizes that next_bytes() gives; returns them by key, and the
// stubs' places.
struct Filled {
  std::string page;
  std::map<uint64_t, std::string> records;
  std::map<uint64_t, uint64_t> large;
};

template <class Next>
Filled fill(uint64_t first_key, uint64_t step, uint32_t seed, Next next_bytes) {
  PageBuilder builder;
  Filled out;
  uint64_t large_place = 0;
  for (uint64_t key = first_key;; key += step) {
    const std::string record = record_of(key, next_bytes());
    if (!builder.add(key, record, large_place)) break;
    CHECK(builder.last_key() == key);
    out.records[key] = record;
    if (!PageFill::is_large(record.size())) continue;
    out.large[key] = large_place;
    large_place += record.size();
  }
  out.page = builder.finish(seed);
  CHECK(builder.is_empty());
  return out;
}

// The entries that have the key's fingerprint, by looking at each.
std::vector<size_t> slow_matches(PageView page, uint8_t fingerprint) {
  std::vector<size_t> out;
  for (size_t entry = 0; entry < page.count(); ++entry) {
    if (page.fingerprint(entry) == fingerprint) out.push_back(entry);
  }
  return out;
}

void check_matches(PageView page, uint8_t fingerprint) {
  const std::vector<size_t> expected = slow_matches(page, fingerprint);
  std::vector<size_t> found;
  for (size_t first = 0; first < page.count(); first += 64) {
    for (uint64_t bits = page.matches(fingerprint, first); bits != 0; bits &= bits - 1) {
      found.push_back(first + static_cast<size_t>(std::countr_zero(bits)));
    }
  }
  REQUIRE(found == expected);
  const size_t first = page.first_match(fingerprint);
  REQUIRE((expected.empty() ? first >= page.count() : first == expected[0]));
}

}  // namespace

TEST_CASE("a page leads to every record it was built of, whatever their sizes") {
  for (uint64_t round = 0; round < 200; ++round) {
    const uint64_t seed = test_seed(300) + round;
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const size_t kind = random() % 4;
    const uint32_t page_seed = static_cast<uint32_t>(random());
    const size_t one_size = random() % 1024;
    const Filled filled = fill(random() % 1000, 1 + random() % (uint64_t{1} << 50), page_seed, [&] {
      if (kind == 0) return one_size;
      if (kind == 1) return size_t{2000};
      return static_cast<size_t>(random() % (kind == 2 ? 60 : 1500));
    });
    GuardedBytes guarded(filled.page);
    const PageView page(guarded.data());
    REQUIRE(page.is_sound(page_seed));
    REQUIRE(!page.is_sound(page_seed + 1));
    REQUIRE(page.count() == filled.records.size());
    REQUIRE(page.large_count() == filled.large.size());
    REQUIRE((page.stride() != 0) == (kind == 0));
    size_t entry = 0;
    uint64_t next = page.begin();
    for (const auto& [key, record] : filled.records) {
      REQUIRE(page.key_of(entry) == key);
      REQUIRE(page.fingerprint(entry) == page.fingerprint_of(key));
      const uint32_t place = page.place_of(entry++);
      if (const auto large = filled.large.find(key); large != filled.large.end()) {
        REQUIRE(PageView::is_stub(place));
        REQUIRE(page.stub_at(place).place == large->second);
        continue;
      }
      REQUIRE(place == next);
      REQUIRE(page.check_at(place) == RecordCheck::kOk);
      REQUIRE(filled.page.substr(place, record.size()) == record);
      next += record.size();
    }
    REQUIRE(next == kPageBytes);  // no byte is covered by nothing
    for (unsigned fingerprint = 0; fingerprint < 256; ++fingerprint) {
      check_matches(page, static_cast<uint8_t>(fingerprint));
    }
  }
}

TEST_CASE("forty-two records of 96 bytes share a page and have their directory in one cache line") {
  const Filled filled = fill(kSomeKey, 77, 0, [] { return size_t{64}; });
  const PageView page(filled.page.data());
  CHECK(page.count() == 42);
  CHECK(page.directory_bytes() <= 64);
}

TEST_CASE("a page that is full by its sizes is full to the builder") {
  std::mt19937_64 random(test_seed(4));
  for (int round = 0; round < 100; ++round) {
    PageFill fill;
    PageBuilder builder;
    const size_t range = round % 3 == 0 ? 1 : round % 3 == 1 ? 100 : 3000;
    for (uint64_t key = 0;; ++key) {
      const std::string record = record_of(key, random() % range);
      const bool is_taken = fill.take(record.size());
      REQUIRE(builder.add(key, record, 0) == is_taken);
      if (!is_taken) break;
    }
    REQUIRE(fill.count() > 2);
  }
}

TEST_CASE("a page of any bytes is read inside its bounds, with a right checksum too") {
  const uint64_t seed = test_seed(60);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const Filled whole = fill(5, 1000, 9, [&] { return static_cast<size_t>(random() % 1500); });
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole.page;
    if (round % 2 == 0) {
      for (char& byte : bytes) byte = static_cast<char>(random());
    }
    for (int i = 0; i < 6; ++i) bytes[random() % 40] = static_cast<char>(random());
    const size_t begin = PageView(bytes.data()).begin();
    if (round % 4 < 2 && begin >= 4 && begin <= kPageBytes) {
      store_u32(bytes.data(), crc32c(bytes.data() + 4, begin - 4, 9));
    }
    GuardedBytes guarded(
        bytes, round % 8 < 4 ? GuardedBytes::Guard::kBehind : GuardedBytes::Guard::kBefore);
    const PageView page(guarded.data());
    static_cast<void>(page.is_sound(9));
    check_matches(page, static_cast<uint8_t>(random()));
    for (size_t entry = 0; entry < page.count(); ++entry) {
      static_cast<void>(page.key_of(entry));
      const uint32_t place = page.place_of(entry);
      if (PageView::is_record(place)) static_cast<void>(page.check_at(place));
      if (PageView::is_stub(place)) static_cast<void>(page.stub_at(place));
    }
  }
}

TEST_CASE("a flipped bit of a page harms the keys it belongs to and makes none of them absent") {
  const uint64_t seed = test_seed(61);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  Versions versions;
  for (uint64_t i = 0; i < 200; ++i) {
    versions[i * 31] = {true, std::string(i == 7 || i == 90 ? 1500 : i % 60, 'v'), i, 0};
  }
  const RunMeta meta = store.write(versions, 0, 200)->meta();
  const std::string path = "data/" + run_data_name(meta.id);
  const std::string good = store.fs.contents(path);
  const RunBody body = store.open(meta)->body();
  REQUIRE(body.pages > 2);
  for (size_t at = kPageBytes; at < body.end; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    store.fs.put_file(path, bad);
    bool rebuilt = false;
    const auto run = Run::open(*store.dir, meta, {}, &rebuilt);
    REQUIRE(run.ok());
    REQUIRE(!verify_records(**run).ok());
    size_t lost = 0;
    std::vector<uint64_t> keys;
    for (const auto& [key, version] : versions) {
      const Lookup found = find_in_run(*run, key);
      REQUIRE(found.source() != Source::kNone);
      if (found.source() == Source::kDamaged) ++lost;
      if (found.source() == Source::kRun) REQUIRE(found.value() == version.value);
      keys.push_back(key);
    }
    // A damaged record costs itself; a directory costs what it does not lead to any more.
    const bool is_record = at >= body.large_begin() ||
                           at % kPageBytes >= PageView(good.data() + at - at % kPageBytes).begin();
    REQUIRE(lost <= (is_record ? 1 : 200 / body.pages * 2));
    std::vector<RunFound> batch(keys.size());
    (*run)->find_batch(keys.data(), keys.size(), batch.data());
    for (size_t i = 0; i < keys.size(); ++i) {
      REQUIRE(batch[i].code != FindCode::kMiss);
      if (batch[i].code != FindCode::kHit || !(*run)->is_valid(batch[i].record, keys[i])) continue;
      REQUIRE(batch[i].record.value() == versions.at(keys[i]).value);
    }
  }
}

TEST_CASE("a page in the place of another, or of another run, is damage to those who miss in it") {
  Store store;
  Versions versions;
  for (uint64_t i = 0; i < 200; ++i) versions[i * 2] = {true, std::string(64, 'v'), i, 0};
  const RunMeta meta = store.write(versions, 0, 200)->meta();
  const RunMeta other = store.write(versions, 0, 200)->meta();
  const std::string path = "data/" + run_data_name(meta.id);
  std::string bytes = store.fs.contents(path);
  const bool is_other_run = GENERATE(false, true);
  const std::string from =
      is_other_run ? store.fs.contents("data/" + run_data_name(other.id)) : bytes;
  const size_t from_at = is_other_run ? kPageBytes : 2 * kPageBytes;
  bytes.replace(kPageBytes, kPageBytes, from.substr(from_at, kPageBytes));
  store.fs.put_file(path, bytes);
  bool rebuilt = false;
  const auto run = Run::open(*store.dir, meta, {}, &rebuilt);
  REQUIRE(run.ok());
  for (uint64_t key = 0; key < 40; ++key) {
    // A record is what it says it is, wherever it lies; what is missed is missed for a reason.
    const Source expected = key % 2 == 1   ? Source::kNone
                            : is_other_run ? Source::kRun
                                           : Source::kDamaged;
    const Source source = find_in_run(*run, key).source();
    CHECK((source == expected || (key % 2 == 1 && source == Source::kDamaged)));
  }
  CHECK(find_in_run(*run, 398).source() == Source::kRun);
  CHECK(verify_records(**run).code() == Code::kCorruption);
}

}  // namespace kyro::test
