#include "kyro/storage/delta/delta.h"

#include <catch2/catch.hpp>
#include <map>
#include <thread>

#include "kyro/storage/write/key_table.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

std::string record_of(uint64_t key, uint64_t offset, std::string_view value) {
  const Mutation mutation = Mutation::put(key, value);
  std::string bytes(mutation.record_bytes(), '\0');
  encode_record(mutation, offset, bytes.data());
  return bytes;
}

void insert(Delta& delta, uint64_t key, uint64_t offset, std::string_view value) {
  const std::string bytes = record_of(key, offset, value);
  delta.insert(load<RecordHeader>(bytes.data()), bytes);
}

uint64_t shaped_key(std::mt19937_64& random, int shape, uint64_t i) {
  switch (shape) {
    case 0:
      return i;  // ascending
    case 1:
      return ~i;  // descending
    case 2:
      return random() % 500;  // many versions
    case 3:
      return random() % 2 == 0 ? 0 : ~uint64_t{0};
    default:
      return random();
  }
}

}  // namespace

TEST_CASE("a delta agrees with a map of versions under every bound") {
  const int shape = GENERATE(range(0, 5));
  // How many records are replayed; the rest is inserted.
  const uint64_t replayed = GENERATE(0u, 1u, 1700u, 3000u);
  const uint64_t seed = test_seed(10) + static_cast<uint64_t>(shape);
  INFO("seed " << seed << " shape " << shape << " replayed " << replayed);
  std::mt19937_64 random(seed);
  Delta delta(1000);
  CHECK(delta.empty());
  CHECK(delta.end_offset() == 1000);
  std::map<uint64_t, std::map<uint64_t, std::string>> model;
  for (uint64_t i = 0; i < 3000; ++i) {
    const uint64_t key = shaped_key(random, shape, i);
    const std::string value = std::to_string(i) + std::string(random() % 50, 'v');
    if (i < replayed) {
      const std::string bytes = record_of(key, 1000 + i, value);
      delta.replay(load<RecordHeader>(bytes.data()), bytes);
    } else {
      delta.finish_replay();
      insert(delta, key, 1000 + i, value);
    }
    model[key][1000 + i] = value;
  }
  delta.finish_replay();
  CHECK(delta.keys() == model.size());
  CHECK(delta.end_offset() == 4000);
  for (const uint64_t bound : {uint64_t{0}, uint64_t{1001}, uint64_t{2500}, ~uint64_t{0}}) {
    Delta::Iterator at(delta);
    at.seek_first();
    for (const auto& [key, versions] : model) {
      const auto above = versions.lower_bound(bound);
      const char* record = delta.find(key, bound);
      REQUIRE((record == nullptr) == (above == versions.begin()));
      if (record != nullptr) REQUIRE(RecordRef(record).view().value == std::prev(above)->second);
      REQUIRE(at.valid());
      REQUIRE(at.key() == key);
      REQUIRE(at.record(bound) == record);
      at.next();
    }
    REQUIRE(!at.valid());
  }
  for (int i = 0; i < 2000; ++i) {
    const uint64_t key = i < 1000 ? shaped_key(random, shape, random() % 4000) : random();
    Delta::Iterator at(delta);
    at.seek(key);
    const auto from = model.lower_bound(key);
    REQUIRE(at.valid() == (from != model.end()));
    if (at.valid()) REQUIRE(at.key() == from->first);
    at.seek_below(key);
    REQUIRE(at.valid() == (from != model.begin()));
    if (at.valid()) REQUIRE(at.key() == std::prev(from)->first);
    REQUIRE((delta.find(key, ~uint64_t{0}) != nullptr) == model.contains(key));
  }
}

TEST_CASE("a delta that is being replayed knows about how large it will be") {
  Delta delta(0);
  const uint64_t empty = delta.bytes();
  for (uint64_t i = 0; i < 20'000; ++i) {
    const std::string bytes = record_of(i * 0x9E3779B97F4A7C15u, i, "a value");
    delta.replay(load<RecordHeader>(bytes.data()), bytes);
  }
  const uint64_t estimate = delta.bytes();
  delta.finish_replay();
  CHECK(delta.bytes() - empty <= estimate - empty);
  CHECK(delta.bytes() - empty >= (estimate - empty) / 2);
}

TEST_CASE("readers of a delta see everything below the offset they were told of") {
  Delta delta(0);
  std::atomic<uint64_t> visible{0};
  std::atomic<bool> sound{true};
  constexpr uint64_t kRecords = 30'000;
  const auto key_of = [](uint64_t offset) { return (offset % 5000) * 0x9E3779B97F4A7C15u; };
  std::vector<std::thread> readers;
  for (uint64_t r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937_64 random(r);
      for (uint64_t bound = 0; bound < kRecords;) {
        bound = visible.load(std::memory_order_acquire);
        if (bound == 0) continue;
        const uint64_t offset = random() % bound;
        const char* record = delta.find(key_of(offset), bound);
        const bool found = record != nullptr && RecordRef(record).view().header.offset >= offset &&
                           RecordRef(record).view().header.offset < bound;
        Delta::Iterator at(delta);
        at.seek(key_of(offset));
        const bool walked = at.valid() && at.key() == key_of(offset) && at.record(bound) == record;
        if (!found || !walked) sound = false;
      }
    });
  }
  for (uint64_t offset = 0; offset < kRecords; ++offset) {
    insert(delta, key_of(offset), offset, "value");
    visible.store(offset + 1, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(sound);
}

TEST_CASE("a delta's estimate of a record covers what it adds on the whole") {
  Delta delta(0);
  uint64_t estimate = delta.bytes();
  for (uint64_t i = 0; i < 50'000; ++i) {
    insert(delta, i * 977, i, "12345678");
    estimate += Delta::cost_bytes(kRecordHeaderBytes + 8);
  }
  CHECK(delta.bytes() <= estimate + (1u << 20));
}

TEST_CASE("a key table forgets everything at once and nothing before") {
  const uint64_t seed = test_seed(3);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  KeyTable table;
  for (int round = 0; round < 50; ++round) {
    std::map<uint64_t, uint64_t> model;
    const uint64_t keys = 1 + random() % 2000;
    for (int i = 0; i < 500; ++i) {
      const uint64_t key = random() % keys;
      table.put(key, random() % 100);
      model[key] = *table.find(key);
    }
    for (uint64_t key = 0; key < keys; ++key) {
      const uint64_t* word = table.find(key);
      REQUIRE((word != nullptr) == model.contains(key));
      if (word != nullptr) REQUIRE(*word == model[key]);
    }
    table.clear();
    for (const auto& entry : model) REQUIRE(table.find(entry.first) == nullptr);
  }
}

TEST_CASE("an arena's pieces are aligned, apart, and stay where they are") {
  std::mt19937_64 random(4);
  Arena arena;
  std::vector<std::pair<char*, size_t>> pieces;
  for (int i = 0; i < 2000; ++i) {
    const size_t n = random() % 50 == 0 ? random() % 300'000 : random() % 200;
    char* piece = arena.allocate(n);
    REQUIRE(reinterpret_cast<uintptr_t>(piece) % 8 == 0);
    std::memset(piece, i & 0xFF, n);
    pieces.emplace_back(piece, n);
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto [piece, n] = pieces[i];
    REQUIRE(
        std::all_of(piece, piece + n, [&](char c) { return c == static_cast<char>(i & 0xFF); }));
  }
}

}  // namespace kyro::test
