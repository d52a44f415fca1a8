// The face that embedding programs see. The library behind it, and programs that link with it, are
// tested by scripts/check_install.sh.
#define KYRO_HEADER_ONLY
#include "kyro/embed/store.h"

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kyro/kyro.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

namespace fs = std::filesystem;

Store open_store(const std::string& directory) {
  auto store =
      Store::open({.data_dir = directory, .fsync = FsyncPolicy::kNever, .reserve_bytes = 0});
  INFO(store.status().to_string());
  REQUIRE(store.ok());
  return std::move(*store);
}

std::map<uint64_t, std::string> all_of(Iterator records) {
  std::map<uint64_t, std::string> out;
  while (const Entry* entry = records.next()) {
    CHECK(entry->is_found);
    CHECK(out.emplace(entry->key, entry->value).second);
  }
  CHECK(records.status().ok());
  return out;
}

// Random writes and deletes of few keys, to the store and to a map, the newest of them in memory.
void write_some(Store& store, std::map<uint64_t, std::string>* model, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 4000; ++i) {
    const uint64_t key = random() % 1500 * 0x0001'0000'0000'0001u;
    if (random() % 5 == 0) {
      const Code expected = model->erase(key) != 0 ? Code::kOk : Code::kNotFound;
      CHECK(store.remove(key).status().code() == expected);
    } else {
      const std::string value = std::to_string(i) + std::string(random() % 200, 'v');
      CHECK(store.put(key, value).ok());
      (*model)[key] = value;
    }
    if (i % 1500 == 1499) CHECK(store.snapshot().ok());
  }
}

}  // namespace

TEST_CASE("What is put is read back with its version, and a condition decides by that version") {
  const TempDir dir;
  Store store = open_store(dir.file("data"));
  const auto first = store.put_if_absent(7, "seven");
  REQUIRE(first.ok());
  CHECK(store.put_if_absent(7, "other").status().code() == Code::kPreconditionFailed);
  const auto second = store.put_if_version(7, *first, "SEVEN", 4'000'000'000);
  REQUIRE(second.ok());
  CHECK(store.put_if_version(7, *first, "late").status().code() == Code::kPreconditionFailed);
  Record record;
  REQUIRE(store.get(7, &record).ok());
  CHECK(record.value == "SEVEN");
  CHECK(record.offset == *second);
  CHECK(record.expiry_secs >= 3'999'999'999);
  CHECK(record.expiry_secs <= 4'000'000'001);
  CHECK(store.remove_if_version(7, *first).status().code() == Code::kPreconditionFailed);
  CHECK(store.remove_if_version(7, *second).ok());
  CHECK(store.remove(7).status().code() == Code::kNotFound);
  std::string value;
  CHECK(store.get(7, &value).code() == Code::kNotFound);
}

TEST_CASE("A value is copied into a buffer where it fits, else its size is told") {
  const TempDir dir;
  Store store = open_store(dir.file("data"));
  REQUIRE(store.put(1, "hello").ok());
  std::array<char, 8> buffer{};
  Entry entry;
  REQUIRE(store.get(1, buffer.data(), 5, &entry).ok());
  CHECK(entry.value == "hello");
  CHECK(entry.value.data() == buffer.data());
  buffer.fill('x');
  CHECK(store.get(1, buffer.data(), 4, &entry).code() == Code::kTooLarge);
  CHECK(entry.value.size() == 5);
  CHECK(buffer[0] == 'x');
  CHECK(store.get(2, buffer.data(), 8, &entry).code() == Code::kNotFound);
}

TEST_CASE("A batch is written whole if its conditions hold, and again after it was cleared") {
  const TempDir dir;
  Store store = open_store(dir.file("data"));
  Batch batch;
  CHECK(store.write(batch).status().code() == Code::kInvalid);
  std::string changing = "one";
  batch.require_absent(1).put(1, changing).put(2, std::string(100'000, '2')).put(3, "");
  changing = "two";  // a batch has copies
  CHECK(batch.writes() == 3);
  const auto last = store.write(batch);
  REQUIRE(last.ok());
  CHECK(store.write(batch).status().code() == Code::kPreconditionFailed);
  batch.clear();
  batch.require_exists(2).require_version(3, *last).remove(2).remove(99).put(3, "three");
  CHECK(store.write(batch).ok());
  CHECK(store.write(batch).status().code() == Code::kPreconditionFailed);
  CHECK(all_of(store.iterate()) == std::map<uint64_t, std::string>{{1, "one"}, {3, "three"}});
}

TEST_CASE("Readers and iterators see the moment at which they were made, whatever comes after") {
  const TempDir dir;
  Store store = open_store(dir.file("data"));
  const uint64_t seed = test_seed(19);
  INFO("seed " << seed);
  std::map<uint64_t, std::string> before;
  write_some(store, &before, seed);
  const Reader reader = store.reader();
  Iterator early = store.iterate();
  std::map<uint64_t, std::string> after = before;
  write_some(store, &after, seed + 1);
  REQUIRE(store.compact().ok());
  CHECK(all_of(store.iterate()) == after);
  CHECK(all_of(std::move(early)) == before);
  CHECK(all_of(reader.iterate()) == before);

  std::vector<uint64_t> keys;
  for (uint64_t i = 0; i < 1500; ++i) keys.push_back(i * 0x0001'0000'0000'0001u);
  std::vector<Entry> entries(keys.size());
  REQUIRE(reader.get(keys, entries).ok());
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto expected = before.find(keys[i]);
    CHECK(entries[i].is_found == (expected != before.end()));
    if (entries[i].is_found) CHECK(entries[i].value == expected->second);
    Entry one;
    CHECK(reader.get(keys[i], &one).ok() == entries[i].is_found);
  }
}

TEST_CASE("An iterator goes down as it goes up, and floor and ceil find the nearest key") {
  const TempDir dir;
  Store store = open_store(dir.file("data"));
  std::map<uint64_t, std::string> model;
  write_some(store, &model, 1);
  const uint64_t first = 100 * 0x0001'0000'0000'0001u + 1;
  const uint64_t last = 900 * 0x0001'0000'0000'0001u;
  auto expected = model.upper_bound(last);
  Iterator down = store.iterate({first, last, Direction::kDown});
  while (const Entry* entry = down.next()) {
    REQUIRE(expected != model.begin());
    --expected;
    CHECK(entry->key == expected->first);
    CHECK(entry->value == expected->second);
  }
  CHECK(expected == model.lower_bound(first));
  Record record;
  REQUIRE(store.ceil(first, &record).ok());
  CHECK(record.key == model.lower_bound(first)->first);
  REQUIRE(store.floor(last, &record).ok());
  CHECK(record.value == std::prev(model.upper_bound(last))->second);
  CHECK(store.ceil(model.rbegin()->first + 1, &record).code() == Code::kNotFound);
  CHECK(store.iterate({2, 1}).next() == nullptr);

  size_t visited = 0;
  CHECK(store.scan(0, last, [&](uint64_t, std::string_view, uint64_t) { return ++visited < 5; })
            .ok());
  CHECK(visited == 5);
}

TEST_CASE("An iteration that meets damage hands out what came before, then says so") {
  const TempDir dir;
  constexpr uint64_t kKeys = 3000;
  {
    Store store = open_store(dir.file("data"));
    for (uint64_t key = 0; key < kKeys; ++key) REQUIRE(store.put(key, std::string(60, 'v')).ok());
    REQUIRE(store.snapshot().ok());
  }
  for (const auto& file : fs::directory_iterator(dir.file("data"))) {
    if (file.path().extension() != ".data") continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(fs::file_size(file.path()) / 2));
    bytes.write("damage", 6);
  }
  Store store = open_store(dir.file("data"));
  Iterator records = store.iterate();
  uint64_t next = 0;
  while (const Entry* entry = records.next()) {
    CHECK(entry->key == next++);
    CHECK(entry->value == std::string(60, 'v'));
  }
  CHECK(next > 0);
  CHECK(next < kKeys);
  CHECK(records.status().code() == Code::kCorruption);
  CHECK(records.next() == nullptr);
  CHECK(store.statistics().corruptions == 1);
}

TEST_CASE("A store is loaded out of records in any order, backed up, and counted") {
  const TempDir dir;
  {
    auto loader = BulkLoader::begin(dir.file("data"));
    REQUIRE(loader.ok());
    for (uint64_t key = 1000; key-- > 0;) REQUIRE(loader->put(key, std::to_string(key)).ok());
    REQUIRE(loader->remove(5).ok());
    const auto keys = loader->finish();
    REQUIRE(keys.ok());
    CHECK(*keys == 999);
  }
  CHECK(BulkLoader::begin(dir.file("data")).status().code() == Code::kExists);
  Store store = open_store(dir.file("data"));
  CHECK(Store::open({.data_dir = dir.file("data")}).status().code() == Code::kBusy);
  CHECK(store.backup(dir.file("copy")).ok());
  CHECK(store.backup(dir.file("copy")).code() == Code::kExists);
  const Store copy = open_store(dir.file("copy"));
  CHECK(all_of(copy.iterate()) == all_of(store.iterate()));
  CHECK(store.statistics().keys_estimate == 999);
  CHECK(store.statistics().runs == 1);
  CHECK(store.id().size() == 32);
  CHECK(store.options().data_dir == dir.file("data"));
}

}  // namespace kyro::test
