// Reading the log from the middle: the place is found without reading up to it, in bounded slices.
#include "kyro/storage/read/log_reader.h"

#include <algorithm>
#include <random>

#include "test/support/engine_harness.h"

namespace kyro::test {
namespace {

Options large_segments(FileSystem& fs) {
  Options options = small_options(fs);
  options.wal_segment_bytes = 4 * kMiB;
  options.delta_max_bytes = 16 * kMiB;
  options.wal_fill_after = 0;  // no segment is left early
  return options;
}

// Slices of `budget` bytes until the first record from `from` on has been seen; its offset.
uint64_t slices_to_first(Engine& engine, uint64_t from, size_t budget, int* slices) {
  auto reader = engine.read_log(from);
  REQUIRE(reader.ok());
  uint64_t first = ~uint64_t{0};
  bool caught_up = false;
  for (*slices = 0; first == ~uint64_t{0} && !caught_up; ++*slices) {
    const Status status = (*reader)->read(
        ~uint64_t{0}, budget, &caught_up,
        [&](const RecordView& record) { first = std::min(first, record.header.offset); });
    INFO(status.to_string());
    REQUIRE(status.ok());
  }
  return first;
}

void write_batch(Engine& engine, uint64_t first_key, size_t records, size_t value_bytes) {
  const std::string value(value_bytes, static_cast<char>('a' + first_key % 26));
  std::vector<Mutation> batch;
  for (size_t i = 0; i < records; ++i) batch.push_back(Mutation::put(first_key + i, value));
  REQUIRE(engine.write(batch).ok());
}

TEST_CASE("a reader finds any offset of a large segment in a few bounded slices") {
  const QuietLog quiet;
  FaultFs fs;
  const Options options = large_segments(fs);
  auto engine = must_open(options);
  for (uint64_t key = 0; key < 3000; ++key) write_batch(*engine, key, 1, 1000);
  const auto check = [&] {
    CHECK(engine->view().segments.size() == 1);
    for (uint64_t from = 0; from < 3000; from += 97) {
      int slices = 0;
      INFO("from " << from);
      REQUIRE(slices_to_first(*engine, from, 64 * 1024, &slices) == from);
      // Reading up to it would take up to 48.
      CHECK(slices <= 6);
    }
  };
  check();
  engine.reset();  // the same in a log of before a restart
  engine = must_open(options);
  check();
}

TEST_CASE("a group larger than a slice is handed out in slices") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(large_segments(fs));
  write_batch(*engine, 0, 1000, 1000);
  auto reader = engine->read_log(10);
  REQUIRE(reader.ok());
  uint64_t next = 10;
  bool caught_up = false;
  int slices = 0;
  for (; !caught_up; ++slices) {
    size_t bytes = 0;
    REQUIRE((*reader)
                ->read(~uint64_t{0}, 64 * 1024, &caught_up,
                       [&](const RecordView& record) {
                         REQUIRE(record.header.offset == next++);
                         bytes += record.value.size();
                       })
                .ok());
    CHECK(bytes <= 65 * 1024);
  }
  CHECK(next == 1000);
  CHECK(slices >= 15);
  CHECK((*reader)->next_offset() == 1000);
  write_batch(*engine, 1, 1, 10);
  REQUIRE((*reader)->read(~uint64_t{0}, 4096, &caught_up, [&](const RecordView&) { ++next; }).ok());
  CHECK(next == 1001);
}

TEST_CASE("from every offset the log reads the same, whatever the sizes of its groups") {
  const QuietLog quiet;
  const uint64_t seed = test_seed(77);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  FaultFs fs;
  Options options = large_segments(fs);
  options.wal_segment_bytes = 600 * kKiB;
  options.wal_segments_max = 100;
  auto engine = must_open(options);
  uint64_t key = 0;
  for (int round = 0; round < 150; ++round) {
    const uint64_t kind = random() % 10;
    if (kind < 6) {
      write_batch(*engine, key, 1, random() % 300);
    } else if (kind < 9) {
      write_batch(*engine, key, 1 + random() % 50, random() % 500);
    } else {
      write_batch(*engine, key, 1 + random() % 3, 100'000 + random() % 100'000);
    }
    key += 100;
  }
  const std::vector<LogRecord> all = read_whole_log(*engine, 0);
  REQUIRE(engine->view().segments.size() > 3);
  for (size_t from = 0; from < all.size(); from += 1 + random() % 40) {
    int slices = 0;
    INFO("from " << from);
    REQUIRE(slices_to_first(*engine, from, 4096, &slices) == all[from].offset);
    if (from % 8 != 0) continue;
    const std::vector<LogRecord> rest = read_whole_log(*engine, all[from].offset);
    REQUIRE((rest ==
             std::vector<LogRecord>(all.begin() + static_cast<std::ptrdiff_t>(from), all.end())));
  }
}

TEST_CASE("a value that looks like groups of its segment does not lead a reader astray") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(large_segments(fs));
  write_batch(*engine, 0, 1, 10);
  // What no client can know: the nonce.
  GroupHeader fake{};
  fake.nonce = engine->view().segments.back().nonce;
  fake.first_offset = 1;
  fake.records = 1;
  std::string value;
  for (int i = 0; i < 1000; ++i) {
    value.append(reinterpret_cast<const char*>(&fake), sizeof fake).append(500, '.');
  }
  REQUIRE(engine->put(1, value).ok());
  for (uint64_t key = 2; key < 50; ++key) write_batch(*engine, key, 1, 3000);
  REQUIRE(engine->put(50, value).ok());
  for (uint64_t from = 0; from < 51; ++from) {
    int slices = 0;
    CHECK(slices_to_first(*engine, from, 64 * 1024, &slices) == from);
  }
}

TEST_CASE("a large group is checked in slices before its first record is handed out") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(large_segments(fs));
  const std::string value(3 * kMiB, 'v');
  must_put(*engine, 1, value);
  constexpr size_t kBudget = 16 * 1024;
  for (int pass = 0; pass < 2; ++pass) {
    auto reader = engine->read_log(0);
    REQUIRE(reader.ok());
    bool caught_up = false;
    int slices = 0;
    std::string_view seen;
    for (; seen.empty(); ++slices) {
      REQUIRE_FALSE(caught_up);
      REQUIRE((*reader)
                  ->read(~uint64_t{0}, kBudget, &caught_up,
                         [&](const RecordView& record) {
                           seen = record.value;
                           return false;
                         })
                  .ok());
    }
    // It stays where it is until the next call.
    CHECK((seen == value));
    CHECK((*reader)->check_visited().ok());
    CHECK(slices >= static_cast<int>(value.size() / (8 * kBudget)));
    CHECK(slices <= static_cast<int>(value.size() / (8 * kBudget)) + 3);
  }
}

TEST_CASE("a group that others have checked is not checked again, and all see the same memory") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(large_segments(fs));
  must_put(*engine, 1, std::string(2 * kMiB, 'v'));
  std::vector<std::unique_ptr<LogReader>> readers;
  std::vector<const char*> places;
  for (int i = 0; i < 5; ++i) {
    auto opened = engine->read_log(0);
    REQUIRE(opened.ok());
    readers.push_back(std::move(*opened));
    bool caught_up = false;
    int slices = 0;
    for (const char* place = nullptr; place == nullptr; ++slices) {
      REQUIRE(readers.back()
                  ->read(~uint64_t{0}, 64 * 1024, &caught_up,
                         [&](const RecordView& record) {
                           place = record.value.data();
                           places.push_back(place);
                           return false;
                         })
                  .ok());
    }
    CHECK((i == 0 || slices == 1));
    CHECK(places.back() == places.front());
  }
}

TEST_CASE("large groups that are written while a reader follows are read, each once") {
  const QuietLog quiet;
  FaultFs fs;
  auto engine = must_open(large_segments(fs));
  auto reader = engine->read_log(0);
  REQUIRE(reader.ok());
  uint64_t next = 0;
  for (uint64_t key = 0; key < 12; ++key) {
    const std::string value(200'000 + 1000 * key, static_cast<char>('a' + key));
    must_put(*engine, key, value);
    for (bool caught_up = false; !caught_up;) {
      REQUIRE((*reader)
                  ->read(~uint64_t{0}, 64 * 1024, &caught_up,
                         [&](const RecordView& record) {
                           REQUIRE(record.header.offset == next++);
                           REQUIRE((record.value == value));
                         })
                  .ok());
    }
    REQUIRE(next == key + 1);
  }
}

}  // namespace
}  // namespace kyro::test
