// Which ranges of a file a walk has fetched, and when.
#include <catch2/catch.hpp>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kyro/storage/fs/readahead.h"

namespace kyro::test {
namespace {

class NotingMapping final : public Mapping {
 public:
  [[nodiscard]] std::span<const std::byte> bytes() const override { return {}; }
  void advise(Access) override {}
  void fetch(uint64_t begin, uint64_t end) override { fetched.emplace_back(begin, end); }
  std::vector<std::pair<uint64_t, uint64_t>> fetched;
};

constexpr uint64_t kRecordBytes = 1000;
constexpr uint64_t kStart = 5'000'000;

}  // namespace

TEST_CASE("A short walk fetches nothing") {
  for (const Direction direction : {Direction::kUp, Direction::kDown}) {
    NotingMapping mapping;
    Readahead ahead(direction);
    for (uint64_t walked = 0; walked < Readahead::kShortWalkBytes; walked += kRecordBytes) {
      ahead.come_to(mapping, direction == Direction::kUp ? kStart + walked : kStart - walked);
    }
    CHECK(mapping.fetched.empty());
  }
}

TEST_CASE("A long walk up has every window fetched half a window before it comes there") {
  NotingMapping mapping;
  Readahead ahead;
  uint64_t end = kStart + Readahead::kShortWalkBytes + kRecordBytes;
  for (uint64_t at = kStart; at < kStart + 4'000'000; at += kRecordBytes) {
    const size_t before = mapping.fetched.size();
    ahead.come_to(mapping, at);
    if (mapping.fetched.size() == before) continue;
    const auto [from, to] = mapping.fetched.back();
    CHECK(from <= end);
    CHECK(to == from + Readahead::kWindowBytes);
    if (before > 0) {
      CHECK(from == end);
      CHECK(from - at > Readahead::kWindowBytes / 2 - kRecordBytes);
    }
    end = to;
  }
  CHECK(mapping.fetched.size() ==
        (4'000'000 - Readahead::kShortWalkBytes) / Readahead::kWindowBytes + 1);
}

TEST_CASE("A long walk down has every window fetched half a window before it comes there") {
  NotingMapping mapping;
  Readahead ahead(Direction::kDown);
  uint64_t begin = 0;
  for (uint64_t at = kStart; at < kStart + 1; at -= kRecordBytes) {
    const size_t before = mapping.fetched.size();
    ahead.come_to(mapping, at);
    if (mapping.fetched.size() == before) continue;
    const auto [from, to] = mapping.fetched.back();
    if (before > 0) {
      CHECK(to == begin);
      CHECK(at - to > Readahead::kWindowBytes / 2 - kRecordBytes);
    } else {
      CHECK(to == at + 1);
    }
    CHECK((from == 0 || from == to - Readahead::kWindowBytes));
    begin = from;
  }
  CHECK(begin == 0);
}

TEST_CASE("A walk over large records fetches from where it is") {
  NotingMapping mapping;
  Readahead ahead;
  for (uint64_t at = 0; at < 5'000'000; at += 1'000'000) ahead.come_to(mapping, at);
  REQUIRE(mapping.fetched.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(mapping.fetched[i].first == (i + 1) * 1'000'000);
    CHECK(mapping.fetched[i].second == (i + 1) * 1'000'000 + Readahead::kWindowBytes);
  }
}

}  // namespace kyro::test
