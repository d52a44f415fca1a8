// The index file under truncation, bit flips and lies: refused, corrupt, or exactly right.
#include "kyro/index/rmi_file.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "kyro/index/rmi.h"
#include "kyro/index/rmi_builder.h"
#include "test/support/rmi_reseal.h"
#include "test/support/rmi_test_util.h"
#include "test/support/test_util.h"

using kyro::Code;
using kyro::FindCode;
using kyro::FindResult;
using kyro::IndexEntry;
using kyro::RmiIndex;
using kyro::RmiOptions;
using kyro::RmiTrailer;
using kyro::test::as_bytes;
using kyro::test::build_bytes;
using kyro::test::entries_of;
using kyro::test::GuardedBytes;
using kyro::test::Keys;

namespace {

constexpr uint64_t kAnyPosition = ~uint64_t{0};

std::span<std::byte> writable(std::string& text) {
  return {reinterpret_cast<std::byte*>(text.data()), text.size()};
}

// A small file with every kind of word but search: leaves, inner nodes, zooms.
Keys varied_keys() {
  Keys keys = kyro::test::cascade_keys(300, 8);
  const Keys tail = kyro::test::power_keys(2);
  keys.insert(keys.end(), tail.begin(), tail.end());
  return kyro::test::sorted_unique(keys);
}

// Looks up around many keys; true if every hit is the truth and every miss of a present key is
// reported as corrupt.
bool only_truth_or_corruption(const RmiIndex& index, const std::vector<IndexEntry>& entries) {
  for (const IndexEntry& entry : entries) {
    const FindResult found = index.find(entry.key);
    if (found.code == FindCode::kMiss) return false;
    if (found.code == FindCode::kHit && found.position != entry.position) return false;
    const RmiIndex::Cursor cursor = index.lower_bound(entry.key);
    if (!cursor.valid() && !cursor.corrupt()) return false;
    if (cursor.valid() && cursor.key() != entry.key) return false;
  }
  return true;
}

void look_at_everything(const RmiIndex& index, const Keys& keys, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys probes = {0, 1, ~uint64_t{0}, index.min_key(), index.max_key()};
  for (size_t i = 0; i < keys.size(); i += 1 + random() % 8) {
    probes.insert(probes.end(), {keys[i], keys[i] + 1, random()});
  }
  uint64_t sum = 0;
  for (const uint64_t key : probes) sum += kyro::test::look_everywhere(index, key);
  std::vector<FindResult> results(probes.size());
  index.find_batch(probes.data(), probes.size(), results.data());
  for (const FindResult& result : results) sum += result.position;
  if (!index.verify().ok()) ++sum;
  volatile uint64_t sink = sum;
  static_cast<void>(sink);
}

}  // namespace

TEST_CASE("an intact file opens and knows its numbers") {
  const Keys keys = varied_keys();
  kyro::RmiBuildStats stats;
  const std::string file = build_bytes(entries_of(keys), RmiOptions{}, &stats);
  CHECK(stats.file_bytes == file.size());
  const GuardedBytes guarded(file);
  const auto index = RmiIndex::open(as_bytes(guarded.view()), keys.size(), kAnyPosition);
  REQUIRE(index.ok());
  CHECK(index->entries() == keys.size());
  CHECK(index->min_key() == keys.front());
  CHECK(index->max_key() == keys.back());
  CHECK(index->leaves() == stats.leaves);
  CHECK(index->nodes() == stats.nodes);
  CHECK(index->epsilon_max() == stats.epsilon_max);
  CHECK(index->verify().ok());
  CHECK(only_truth_or_corruption(*index, entries_of(keys)));
}

TEST_CASE("a build of the same entries gives the same bytes") {
  const auto entries = entries_of(varied_keys());
  CHECK(build_bytes(entries, RmiOptions{}) == build_bytes(entries, RmiOptions{}));
}

TEST_CASE("a file that does not belong to the run is refused") {
  const Keys keys = varied_keys();
  const std::string file = build_bytes(entries_of(keys), RmiOptions{});
  const uint64_t last = (keys.size() - 1) * 8;
  CHECK(RmiIndex::open(as_bytes(file), keys.size(), last + 1).ok());
  CHECK(RmiIndex::open(as_bytes(file), keys.size(), last).status().code() == Code::kCorruption);
  CHECK(RmiIndex::open(as_bytes(file), keys.size() + 1, kAnyPosition).status().code() ==
        Code::kCorruption);
}

TEST_CASE("a newer format version is refused by name") {
  std::string file = build_bytes(entries_of(varied_keys()), RmiOptions{});
  const RmiTrailer sane = kyro::test::trailer_of(as_bytes(file));
  kyro::store_u32(file.data() + offsetof(kyro::RmiHeader, version), kyro::kRmiVersion + 1);
  kyro::test::reseal_rmi_file(writable(file), sane);
  const auto result = RmiIndex::open(as_bytes(file), sane.entry_count, kAnyPosition);
  CHECK(result.status().code() == Code::kUnsupported);
  CHECK(result.status().message().find("newer KyroDB (index format " +
                                       std::to_string(kyro::kRmiVersion + 1)) !=
        std::string_view::npos);
}

TEST_CASE("a file truncated at any byte is refused") {
  const Keys keys = varied_keys();
  const std::string file = build_bytes(entries_of(keys), RmiOptions{});
  size_t opened = 0;
  for (size_t size = 0; size < file.size(); ++size) {
    const GuardedBytes guarded(
        std::string_view(file).substr(0, size),
        size % 8 == 0 ? GuardedBytes::Guard::kBehind : GuardedBytes::Guard::kBefore);
    opened += RmiIndex::open(as_bytes(guarded.view()), keys.size(), kAnyPosition).ok();
  }
  CHECK(opened == 0);
}

TEST_CASE("any flipped bit is refused or found before a wrong answer") {
  const Keys keys = varied_keys();
  const std::vector<IndexEntry> entries = entries_of(keys);
  std::string file = build_bytes(entries, RmiOptions{});
  GuardedBytes guarded(file);
  const RmiTrailer sane = kyro::test::trailer_of(as_bytes(file));
  size_t wrong = 0;
  size_t accepted = 0;
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    // Slots are under one checksum, so there one bit of each byte stands for all.
    const bool slot = bit / 8 >= sane.slots_offset && bit / 8 < sane.words_offset;
    if (slot && bit % 8 != bit / 8 % 7) continue;
    guarded.data()[bit / 8] = static_cast<char>(guarded.data()[bit / 8] ^ (1 << (bit % 8)));
    const auto index = RmiIndex::open(as_bytes(guarded.view()), keys.size(), kAnyPosition);
    if (index.ok()) {
      ++accepted;
      wrong += !only_truth_or_corruption(*index, entries);
      wrong += index->verify().ok();
      wrong += bit / 8 < sane.slots_offset || bit / 8 >= sane.words_offset;
    }
    guarded.data()[bit / 8] = file[bit / 8];
  }
  CHECK(wrong == 0);
  CHECK(accepted > 0);
}

TEST_CASE("damage in one block leaves lookups in the others right") {
  const Keys keys = kyro::test::uniform_keys(30000, 4);
  const std::vector<IndexEntry> entries = entries_of(keys);
  std::string file = build_bytes(entries, RmiOptions{});
  const RmiTrailer t = kyro::test::trailer_of(as_bytes(file));
  REQUIRE(t.block_count >= 6);
  file[t.slots_offset + 4 * kyro::kRmiBlockBytes + 1234] ^= 1;
  const auto index = RmiIndex::open(as_bytes(file), keys.size(), kAnyPosition);
  REQUIRE(index.ok());
  size_t corrupt = 0;
  size_t hits = 0;
  for (const IndexEntry& entry : entries) {
    const FindResult found = index->find(entry.key);
    CHECK(found.code != FindCode::kMiss);
    hits += found.code == FindCode::kHit && found.position == entry.position;
    corrupt += found.code == FindCode::kCorrupt;
  }
  CHECK(hits + corrupt == keys.size());
  CHECK(hits > keys.size() / 2);
  CHECK(corrupt > 0);
  CHECK(index->verify().code() == Code::kCorruption);
  size_t steps = 0;
  RmiIndex::Cursor cursor = index->first();
  for (; cursor.valid(); cursor.next()) ++steps;
  CHECK(cursor.corrupt());
  CHECK(steps < keys.size());
}

TEST_CASE("checking all slots finds a damaged block, and spares lookups the check of sound ones") {
  const Keys keys = kyro::test::uniform_keys(30000, 4);
  std::string file = build_bytes(entries_of(keys), RmiOptions{});
  const RmiTrailer t = kyro::test::trailer_of(as_bytes(file));
  auto index = RmiIndex::open(as_bytes(file), keys.size(), kAnyPosition);
  REQUIRE(index.ok());
  CHECK(index->check_slots().ok());
  // What was found good is not read again: damage that comes later is for the record's checksum.
  kyro::store_u64(file.data() + t.block_crcs_offset, 0);
  for (const uint64_t key : keys) CHECK(index->find(key).code == FindCode::kHit);
  file = build_bytes(entries_of(keys), RmiOptions{});
  file[t.slots_offset + 2 * kyro::kRmiBlockBytes] ^= 1;
  index = RmiIndex::open(as_bytes(file), keys.size(), kAnyPosition);
  REQUIRE(index.ok());
  CHECK(index->check_slots().code() == Code::kCorruption);
}

TEST_CASE("a model that loses pages after it was validated never leads outside or into a loop") {
  const uint64_t seed = kyro::test::test_seed(2718);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (const Keys& keys : {varied_keys(), kyro::test::doubly_exponential_keys(20000, 3)}) {
    const std::string file = build_bytes(entries_of(keys), RmiOptions{});
    const RmiTrailer t = kyro::test::trailer_of(as_bytes(file));
    for (int round = 0; round < 200; ++round) {
      std::string damaged = file;
      const auto index = RmiIndex::open(as_bytes(damaged), keys.size(), kAnyPosition);
      REQUIRE(index.ok());
      if (round % 2 == 0) REQUIRE(index->check_slots().ok());
      const uint64_t words = (t.block_crcs_offset - t.words_offset) / 8;  // pages tear no word
      const uint64_t from = t.words_offset + random() % words * 8;
      const uint64_t bytes = std::min(8 * (1 + random() % 512), t.block_crcs_offset - from);
      std::fill_n(damaged.begin() + static_cast<ptrdiff_t>(from), bytes, '\0');
      look_at_everything(*index, keys, random());
    }
  }
}

TEST_CASE("a lying file with valid checksums never leads a lookup outside or into a loop") {
  const uint64_t seed = kyro::test::test_seed(31337);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<Keys> sets = {varied_keys(),
                                  kyro::test::uniform_keys(3000, 1),
                                  kyro::test::nested_keys(2000, 2),
                                  {1, 2, 3},
                                  {}};
  size_t accepted = 0;
  for (int round = 0; round < 6000; ++round) {
    const Keys& keys = sets[random() % sets.size()];
    std::string file = build_bytes(entries_of(keys), RmiOptions{});
    const RmiTrailer sane = kyro::test::trailer_of(as_bytes(file));
    const uint64_t trailer_offset = file.size() - sizeof(RmiTrailer);
    // Aim at the model or the trailer mostly; the slots are the larger part of the file.
    const uint64_t starts[] = {sane.slots_offset, sane.words_offset, sane.zooms_offset,
                               trailer_offset};
    const uint64_t ends[] = {sane.words_offset, sane.zooms_offset, sane.block_crcs_offset,
                             trailer_offset + offsetof(RmiTrailer, version)};
    for (uint64_t change = 0; change < 1 + random() % 3; ++change) {
      const size_t section = random() % 4;
      const uint64_t room = (ends[section] - starts[section]) / 8;
      if (room == 0) continue;
      char* at = file.data() + starts[section] + random() % room * 8;
      switch (random() % 5) {
        case 0:
          kyro::store_u64(at, random());
          break;
        case 1:
          kyro::store_u64(at, random() % 64);
          break;
        case 2:
          kyro::store_u64(at, kyro::load_u64(at) ^ (uint64_t{1} << (random() % 64)));
          break;
        case 3:
          kyro::store_u64(at, kyro::load_u64(at) + (random() % 9 - 4) * 4);
          break;
        default:
          kyro::store_u64(at, kyro::load_u64(file.data() + 64 + random() % room * 8));
          break;
      }
    }
    kyro::test::reseal_rmi_file(writable(file), sane);
    const GuardedBytes guarded(file, GuardedBytes::Guard::kBehind);
    const RmiTrailer lie = kyro::test::trailer_of(as_bytes(file));
    const auto index = RmiIndex::open(as_bytes(guarded.view()), lie.entry_count, kAnyPosition);
    if (!index.ok()) continue;
    ++accepted;
    look_at_everything(*index, keys, random());
  }
  CHECK(accepted > 100);
}

TEST_CASE("a whole random section with valid checksums is harmless") {
  const uint64_t seed = kyro::test::test_seed(99);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const Keys keys = kyro::test::cascade_keys(3000, 6);
  const std::string file = build_bytes(entries_of(keys), RmiOptions{});
  const RmiTrailer sane = kyro::test::trailer_of(as_bytes(file));
  size_t accepted = 0;
  for (int round = 0; round < 300; ++round) {
    std::string changed = file;
    const bool slots = round % 2 == 0;
    const uint64_t from = slots ? sane.slots_offset : sane.words_offset;
    const uint64_t to = slots ? sane.words_offset : sane.zooms_offset;
    for (uint64_t at = from; at < to; at += 8) {
      // Random words all over would never pass; random words of the right shape may.
      const uint64_t index = (at - from) / 8;
      const uint64_t word =
          slots ? random()
                : kyro::make_rmi_word(static_cast<kyro::RmiWordType>(random() % 4 & ~uint64_t{2}),
                                      random() % 2 == 0
                                          ? std::min(index + 1 + random() % 40, sane.word_count - 1)
                                          : random() % (sane.slots_used / 2),
                                      1 + random() % 2);
      kyro::store_u64(changed.data() + at, word);
    }
    kyro::test::reseal_rmi_file(writable(changed), sane);
    const GuardedBytes guarded(changed);
    const auto index = RmiIndex::open(as_bytes(guarded.view()), keys.size(), kAnyPosition);
    if (!index.ok()) continue;
    ++accepted;
    look_at_everything(*index, keys, random());
  }
  CHECK(accepted >= 150);
}

TEST_CASE("a search leaf is found by binary search") {
  // The builder makes one only 32 levels deep, so this file's one bucket is turned into one.
  const Keys keys = {10, 20, 30, 40, 50, 60, 70};
  std::string file = build_bytes(entries_of(keys), RmiOptions{});
  const RmiTrailer sane = kyro::test::trailer_of(as_bytes(file));
  REQUIRE(sane.root_fanout == 1);
  kyro::store_u64(file.data() + sane.words_offset,
                  kyro::make_rmi_word(kyro::RmiWordType::kSearch, 0, keys.size()));
  kyro::test::reseal_rmi_file(writable(file), sane);
  const GuardedBytes guarded(file);
  const auto index = RmiIndex::open(as_bytes(guarded.view()), keys.size(), kAnyPosition);
  REQUIRE(index.ok());
  for (uint64_t key = 0; key <= 80; ++key) {
    const bool present = key % 10 == 0 && key >= 10 && key <= 70;
    CHECK((index->find(key).code == FindCode::kHit) == present);
    if (key <= 70)
      CHECK(index->lower_bound(key).key() == std::max<uint64_t>(10, (key + 9) / 10 * 10));
    if (key >= 10) CHECK(index->floor(key).key() == std::min<uint64_t>(70, key / 10 * 10));
  }
  CHECK(index->verify().ok());
}
