// The log's segments: what a writer leaves, a reader finds; what neither wrote, it refuses.
#include <catch2/catch.hpp>

#include "kyro/storage/log/segment_end.h"
#include "kyro/storage/log/wal_reader.h"
#include "kyro/storage/log/wal_writer.h"
#include "test/support/fault_fs.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

struct Log {
  explicit Log(FsyncPolicy policy = FsyncPolicy::kAlways) : writer(*dir, policy, 8192) { start(0); }
  void start(uint64_t first_offset) {
    const Status status = writer.start_segment(first_offset, [&](const SegmentRef& segment) {
      segments.push_back(segment);
      return Status();
    });
    INFO(status.to_string());
    REQUIRE(status.ok());
  }
  static std::string group_of(uint64_t first_offset, uint32_t records, size_t value_bytes) {
    std::string group(kGroupHeaderBytes, '\0');
    const std::string value(value_bytes, 'v');
    for (uint32_t i = 0; i < records; ++i) {
      const Mutation mutation = Mutation::put(first_offset + i, value);
      const size_t at = group.size();
      group.resize(at + mutation.record_bytes());
      encode_record(mutation, first_offset + i, group.data() + at);
    }
    return group;
  }
  Status try_append(uint32_t records, size_t value_bytes) {
    std::string group = group_of(writer.next_offset(), records, value_bytes);
    return writer.append(&group, records);
  }
  void append(uint32_t records, size_t value_bytes) {
    REQUIRE(try_append(records, value_bytes).ok());
  }
  std::unique_ptr<SegmentReader> reader(size_t at) {
    auto opened = SegmentReader::open(*fs.open_now("data"), segments[at]);
    INFO(opened.status().to_string());
    REQUIRE(opened.ok());
    return std::move(*opened);
  }
  std::string path(size_t at) { return "data/" + segment_name(segments[at].first_offset); }

  FaultFs fs;
  std::unique_ptr<Directory> dir = fs.open_now("data");
  WalWriter writer;
  std::vector<SegmentRef> segments;
};

SegmentEnd must_judge(SegmentReader& reader, const SegmentSequel& sequel) {
  const auto end = judge_segment_end(reader, sequel);
  REQUIRE(end.ok());
  return *end;
}

size_t count_groups(SegmentReader& reader) {
  size_t groups = 0;
  for (;; ++groups) {
    const auto step = reader.next();
    REQUIRE(step.ok());
    if (*step == SegmentReader::Step::kStop) return groups;
  }
}

}  // namespace

TEST_CASE("a reader finds the groups, marks and offsets that a writer left") {
  Log log;
  log.append(3, 10);
  REQUIRE(log.writer.sync().ok());
  log.append(1, 0);
  REQUIRE(log.writer.sync().ok());
  log.start(4);
  log.append(2, 100);
  REQUIRE(log.writer.seal().ok());
  auto first = log.reader(0);
  CHECK(count_groups(*first) == 3);  // with the seal
  CHECK(first->next_offset() == 4);
  CHECK(first->group().kind() == GroupKind::kSealed);
  auto second = log.reader(1);
  const SegmentEnd end = must_judge(*first, SegmentSequel::segment(second->header()));
  CHECK(end.damage.ok());
  CHECK(end.torn_bytes == 0);
  CHECK(second->header().previous_end == 4);
  CHECK(second->header().previous_crc == first->chain_crc());
  CHECK(count_groups(*second) == 2);
  CHECK(second->next_offset() == 6);
}

TEST_CASE("a reader at the end of a live log finds what is appended later, of any size") {
  Log log;
  auto reader = log.reader(0);
  REQUIRE(count_groups(*reader) == 0);
  for (const size_t value_bytes : {0u, 10u, 3000u, 5000u, 70'000u, 1u, 300'000u, 20u}) {
    const uint32_t records = value_bytes < 100 ? 50 : 1;
    log.append(records, value_bytes);
    log.append(1, 5);
    CHECK(count_groups(*reader) == 2);
    CHECK(reader->position() == log.writer.position());
    CHECK(reader->next_offset() == log.writer.next_offset());
    CHECK(reader->group().body_bytes == kRecordHeaderBytes + 5);
  }
}

TEST_CASE("a jump of the numbering abandons the segment before it") {
  Log log;
  log.append(3, 10);
  log.start(1000);
  auto before = log.reader(0);
  CHECK(count_groups(*before) == 2);
  CHECK(before->group().kind() == GroupKind::kAbandoned);
  CHECK(log.reader(1)->header().previous_end == 3);
  CHECK(log.writer.next_offset() == 1000);
}

TEST_CASE("segments are preallocated, given back when sealed, and rotate at their size") {
  Log log;
  CHECK(log.fs.contents(log.path(0)).size() == 8192);
  CHECK(!log.writer.wants_rotation(1'000'000));  // an empty one takes anything
  log.append(1, 4000);
  CHECK(!log.writer.wants_rotation(3000));
  CHECK(log.writer.wants_rotation(5000));
  REQUIRE(log.writer.seal().ok());
  CHECK(log.fs.contents(log.path(0)).size() == log.writer.position());
}

TEST_CASE("after a failed append and a cut nothing of it can come back") {
  const Loss loss = GENERATE(from_range(std::begin(kLosses), std::end(kLosses)));
  Log log;
  log.append(1, 100);
  REQUIRE(log.writer.sync().ok());
  log.fs.set_capacity(log.fs.used_bytes() + 500);
  CHECK(log.try_append(1, 20'000).code() == Code::kNoSpace);
  REQUIRE(log.writer.cut_back().ok());
  CHECK(log.writer.next_offset() == 1);
  log.append(1, 100);
  REQUIRE(log.writer.sync().ok());
  log.fs.restart(loss, 5);
  auto reader = log.reader(0);
  CHECK(count_groups(*reader) == 2);
  CHECK(reader->next_offset() == 2);
}

TEST_CASE("under weaker policies a seal that a failed rotation left is not the last word") {
  Log log(FsyncPolicy::kNever);
  log.append(1, 100);
  log.fs.inject({FsCall::kOpen, Code::kNoSpace, 0, 1, ""});
  const auto list = [](const SegmentRef&) { return Status(); };
  CHECK(log.writer.start_segment(1, list).code() == Code::kNoSpace);
  REQUIRE(log.writer.cut_back().ok());
  log.append(1, 100);  // never synced
  log.fs.restart(Loss::kEverything, 1);
  auto reader = log.reader(0);
  CHECK(count_groups(*reader) == 3);
  CHECK(reader->group().kind() == GroupKind::kOpened);
}

TEST_CASE("damage is told from a torn tail by what lies after it") {
  const FsyncPolicy policy = GENERATE(FsyncPolicy::kAlways, FsyncPolicy::kNever);
  Log log(policy);
  const uint64_t first = log.writer.position();
  log.append(1, 100);
  if (policy == FsyncPolicy::kAlways) REQUIRE(log.writer.sync().ok());
  log.append(1, 100);
  const std::string bytes = log.fs.contents(log.path(0));
  for (uint64_t at = first; at < first + kGroupHeaderBytes + 132; ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    log.fs.put_file(log.path(0), damaged);
    auto reader = log.reader(0);
    REQUIRE(count_groups(*reader) == 0);
    REQUIRE(reader->position() == first);
    const SegmentEnd end = must_judge(*reader, SegmentSequel::none(0));
    INFO("byte " << at);
    // Unsynced groups may arrive in any order; synced ones are proof.
    REQUIRE(end.damage.ok() == (policy != FsyncPolicy::kAlways));
    REQUIRE((end.torn_bytes > 0) == end.damage.ok());
  }
}

TEST_CASE("a group inside a client's value is never taken for one") {
  Log log;
  log.append(1, 50);
  REQUIRE(log.writer.sync().ok());
  // The bytes of the log so far, stored as a value, then torn so that only the value remains whole.
  const std::string stolen = log.fs.contents(log.path(0)).substr(0, log.writer.position());
  Log other;
  std::string group(kGroupHeaderBytes, '\0');
  const Mutation mutation = Mutation::put(1, stolen);
  group.resize(kGroupHeaderBytes + mutation.record_bytes());
  encode_record(mutation, 0, group.data() + kGroupHeaderBytes);
  const uint64_t at = other.writer.position();
  REQUIRE(other.writer.append(&group, 1).ok());
  std::string bytes = other.fs.contents(other.path(0));
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  other.fs.put_file(other.path(0), bytes);
  auto reader = other.reader(0);
  CHECK(count_groups(*reader) == 0);
  CHECK(must_judge(*reader, SegmentSequel::none(0)).damage.ok());
}

TEST_CASE("an error while reading a segment is an error, never an end") {
  Log log;
  log.append(1, 5000);  // more than is read ahead at first
  log.append(1, 50'000);
  auto reader = log.reader(0);
  log.fs.inject({FsCall::kRead, Code::kIoError, 2, 1, ""});
  REQUIRE(reader->next().ok());
  CHECK(reader->next().status().code() == Code::kIoError);
  log.fs.inject({FsCall::kRead, Code::kIoError, 0, 1, ""});
  CHECK(judge_segment_end(*reader, SegmentSequel::none(0)).status().code() == Code::kIoError);
}

}  // namespace kyro::test
