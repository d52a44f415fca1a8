// Runs: what a writer is given, a run answers; merging keeps the newest of each key and no more
// tombstones than it must.
#include "kyro/storage/run/run.h"

#include <catch2/catch.hpp>

#include "kyro/storage/background/merge.h"
#include "kyro/storage/read/lookup.h"
#include "test/support/run_util.h"

namespace kyro::test {
namespace {

Versions versions_of(const std::shared_ptr<Run>& run) {
  Versions out;
  const auto cursor = open_cursor(run);
  for (cursor->seek(0); cursor->valid(); cursor->next()) {
    const RecordView& r = cursor->record();
    out[r.header.key] = {!r.is_tombstone(), std::string(r.value), r.header.offset,
                         r.header.expiry_secs()};
  }
  REQUIRE(cursor->status().ok());
  return out;
}

Versions random_versions(std::mt19937_64& random, size_t n, uint64_t key_range, uint64_t* offset) {
  Versions out;
  for (size_t i = 0; i < n; ++i) {
    Version version;
    version.is_put = random() % 4 != 0;
    if (version.is_put) version.value = random_value(random);
    if (version.is_put && random() % 3 == 0) version.expiry_secs = 1 + random() % 100;
    version.offset = (*offset)++;
    out[random() % key_range] = version;
  }
  return out;
}

// Takes everything, keeps nothing but what it was asked to write back.
class CountingFile final : public File {
 public:
  explicit CountingFile(std::vector<std::pair<uint64_t, uint64_t>>* ranges) : ranges_(*ranges) {}
  Result<size_t> read_at(uint64_t, void*, size_t) override { return size_t{0}; }
  Status write_at(uint64_t position, std::string_view bytes) override {
    end_ = position + bytes.size();
    return Status();
  }
  Status sync() override { return Status(); }
  Status truncate(uint64_t) override { return Status(); }
  Status allocate(uint64_t) override { return Status(); }
  Result<uint64_t> size() override { return end_; }
  Result<std::unique_ptr<Mapping>> map() override { return Status(Code::kUnsupported); }
  Status write_back(uint64_t begin, uint64_t end) override {
    CHECK(end <= end_);
    ranges_.emplace_back(begin, end);
    return ranges_.size() < 5 ? Status() : Status(Code::kIoError, "written back");
  }
  void drop_cache() override {}

 private:
  std::vector<std::pair<uint64_t, uint64_t>>& ranges_;
  uint64_t end_ = 0;
};

}  // namespace

TEST_CASE("a file that is kept goes to the disk piece by piece, a temporary one not at all") {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  const std::string bytes(100'000, 'x');
  FileSink temporary(std::make_unique<CountingFile>(&ranges), FileSink::Use::kTemporary);
  for (int i = 0; i < 300; ++i) REQUIRE(temporary.append(bytes.data(), bytes.size()).ok());
  CHECK(ranges.empty());
  FileSink kept(std::make_unique<CountingFile>(&ranges), FileSink::Use::kKept);
  Status status;
  while (status.ok()) status = kept.append(bytes.data(), bytes.size());
  CHECK(status.message() == "written back");  // a failure there is one of the write
  REQUIRE(ranges.size() == 5);
  uint64_t end = 0;
  for (const auto& range : ranges) {
    CHECK(range.first == end);
    CHECK(range.second - range.first >= 4 * kMiB);
    CHECK(range.second - range.first < 5 * kMiB);
    end = range.second;
  }
}

TEST_CASE("a run answers for exactly the records it was written with") {
  const uint64_t seed = test_seed(7);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Store store;
  for (const size_t size : {size_t{1}, size_t{2}, size_t{100}, size_t{5000}}) {
    uint64_t offset = 0;
    Versions versions = random_versions(random, size, size * 3, &offset);
    if (size > 1) versions[0] = versions[~uint64_t{0}] = {true, "edge", offset++, 0};
    const auto run = store.write(versions, 0, offset);
    CHECK(versions_of(run) == versions);
    CHECK(run->data_bytes() + run->index_bytes() <=
          run_bytes_max(run->meta().records, run->meta().record_bytes, run->body().large_bytes));
    CHECK(run->meta().key_min == versions.begin()->first);
    CHECK(run->meta().key_max == versions.rbegin()->first);
    for (uint64_t key = 0; key < size * 3; ++key) {
      const auto found = versions.find(key);
      const Lookup lookup = find_in_run(run, key);
      REQUIRE(lookup.source() == (found == versions.end() ? Source::kNone : Source::kRun));
      if (found != versions.end()) REQUIRE(lookup.value() == found->second.value);
      const auto cursor = open_cursor(run);
      cursor->seek(key);
      const auto from = versions.lower_bound(key);
      REQUIRE(cursor->valid() == (from != versions.end()));
      if (cursor->valid()) REQUIRE(cursor->record().header.key == from->first);
    }
  }
}

TEST_CASE("a merge keeps the newest version of each key and only the tombstones that shadow") {
  for (uint64_t round = 0; round < 30; ++round) {
    const uint64_t seed = test_seed(100) + round;
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    Store store;
    uint64_t offset = 0;
    std::vector<std::shared_ptr<Run>> newest_first;
    std::vector<Versions> contents;
    for (int i = 0; i < 4; ++i) {
      const uint64_t first = offset;
      contents.insert(contents.begin(), random_versions(random, 60, 100, &offset));
      newest_first.insert(newest_first.begin(), store.write(contents.front(), first, offset));
    }
    const size_t begin = random() % 3;
    const size_t end = begin + 1 + random() % (4 - begin);
    MergeInput input;
    input.now_secs = 50;
    Versions expected;
    for (size_t i = 0; i < 4; ++i) {
      if (i >= end) input.older.push_back(newest_first[i]);
      if (i < begin || i >= end) continue;
      input.runs.push_back(newest_first[i]);
      for (const auto& entry : contents[i]) expected.insert(entry);  // the newest was first
    }
    for (auto at = expected.begin(); at != expected.end();) {
      Version& version = at->second;
      const bool expired = version.expiry_secs != 0 && version.expiry_secs <= 50;
      if (expired) version = {false, "", version.offset, 0};
      const bool shadows =
          std::any_of(input.older.begin(), input.older.end(),
                      [&](const auto& run) { return run->meta().may_hold(at->first); });
      at = version.is_put || shadows ? std::next(at) : expected.erase(at);
    }
    input.first_offset = input.runs.back()->meta().first_offset;
    input.end_offset = input.runs.front()->meta().end_offset;
    MergeOutput output;
    const Status merged = store.merge(input, &output);
    INFO(merged.to_string());
    REQUIRE(merged.ok());
    REQUIRE(output.empty == expected.empty());
    if (!output.empty) REQUIRE(versions_of(store.open(output.meta)) == expected);
  }
}

TEST_CASE("a merge that fails or keeps nothing leaves no files") {
  Store store;
  const auto run = store.write({{1, {false, "", 0, 0}}, {2, {true, "x", 1, 5}}}, 0, 2);
  const size_t files = store.fs.paths().size();
  MergeInput input;
  input.runs = {run};
  input.end_offset = 2;
  MergeOutput output;
  SECTION("nothing is left of it") {
    input.now_secs = 100;
    REQUIRE(store.merge(input, &output).ok());
    CHECK(output.empty);
  }
  SECTION("no space at any call") {
    for (uint64_t skip = 0; skip < 12; ++skip) {
      for (const FsCall call : {FsCall::kWrite, FsCall::kOpen, FsCall::kSync, FsCall::kMap,
                                FsCall::kRename, FsCall::kSyncDir}) {
        store.fs.inject({call, Code::kNoSpace, skip, 1, ""});
        MergeOutput fresh;
        const Status status = store.merge(input, &fresh);
        store.fs.heal();
        if (status.ok()) {
          REQUIRE(!fresh.empty);
          for (const std::string& name :
               {run_data_name(fresh.meta.id), run_index_name(fresh.meta.id)}) {
            REQUIRE(store.dir->remove(name).ok());
          }
        }
        REQUIRE(store.fs.paths().size() == files);
      }
    }
  }
  CHECK(store.fs.paths().size() == files);
}

TEST_CASE("like-sized neighbours are merged, a small run is not merged into a large one alone") {
  Store store;
  uint64_t offset = 0;
  const auto make = [&](size_t records) {
    Versions versions;
    const uint64_t first = offset;
    for (size_t i = 0; i < records; ++i) versions[i] = {true, "0123456789", offset++, 0};
    return store.write(versions, first, offset);
  };
  const auto big = make(3000);
  const auto a = make(10);
  const auto b = make(10);
  const auto c = make(10);
  const auto d = make(10);
  using Runs = std::vector<std::shared_ptr<Run>>;
  CHECK(choose_merge(Runs{}, 4).empty());
  CHECK(choose_merge(Runs{c, b, a, big}, 4).empty());
  CHECK(choose_merge(Runs{d, c, b, a, big}, 4) == MergeChoice{0, 4});
  b->quarantine();
  CHECK(choose_merge(Runs{d, c, b, a, big}, 4).empty());
  CHECK(choose_merge(Runs{d, c, b, a, big}, 2) == MergeChoice{0, 2});
}

TEST_CASE("runs that share no keys wait for their merge until there are four times as many") {
  Store store;
  uint64_t offset = 0;
  // Ten keys from `first` on, newest first in `runs`.
  using Runs = std::vector<std::shared_ptr<Run>>;
  Runs runs;
  const auto add = [&](uint64_t first) {
    Versions versions;
    const uint64_t begin = offset;
    for (uint64_t i = 0; i < 10; ++i) versions[first + i] = {true, "0123456789", offset++, 0};
    runs.insert(runs.begin(), store.write(versions, begin, offset));
  };
  CHECK(overlap_depth(runs) == 0);
  // In any order of the keys.
  for (const unsigned place : {3U, 7U, 1U, 0U, 9U, 4U, 2U, 14U, 8U, 6U, 5U, 11U, 10U, 13U, 12U}) {
    add(place * 10);
    CHECK(overlap_depth(runs) == 1);
    CHECK(choose_merge(runs, 4).empty());
  }
  add(1000);
  CHECK(choose_merge(runs, 4) == MergeChoice{0, 16});
  CHECK(merge_weight(runs) == 4);

  // Each of these shares keys with its neighbours only.
  runs.clear();
  for (uint64_t place = 0; place < 15; ++place) add(place * 9);
  CHECK(overlap_depth(runs) == 2);
  CHECK(choose_tier(runs, 4, ~uint64_t{0}).empty());
  CHECK(choose_tier(runs, 2, ~uint64_t{0}) == MergeChoice{0, 15});
  // Three more in the same place, and a key may be in four.
  for (int i = 0; i < 3; ++i) add(70);
  CHECK(choose_tier(runs, 5, ~uint64_t{0}) == MergeChoice{0, 18});
}

}  // namespace kyro::test
