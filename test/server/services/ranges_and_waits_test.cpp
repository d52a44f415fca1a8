// Calls of gRPC about ranges, about lifetimes as moments, and reads that wait.
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/server/services/calls.h"
#include "test/support/call_rig.h"

namespace kyro::test {

namespace {

// The start of a subscription, also where it is 0.
std::string from_offset(uint64_t offset) {
  std::string out;
  append_tag(out, 1, ProtoType::kVarint);
  append_varint(out, offset);
  return out;
}
// A range with both of its ends.
std::string key_range(uint64_t first, uint64_t end) {
  std::string out;
  append_tag(out, 1, ProtoType::kVarint);
  append_varint(out, first);
  append_tag(out, 2, ProtoType::kVarint);
  append_varint(out, end);
  return out;
}

FakeCall& begin_call(CallRig& rig, const std::string& method, std::string_view message) {
  FakeCall& call = rig.at.rounds->begin(kKvCalls + method);
  rig.at.rounds->finish_request(call, framed(message));
  return call;
}

}  // namespace

TEST_CASE("A lifetime is given as its end too, and every message with the record has that") {
  CallRig rig;
  constexpr uint64_t kExpires = 4'102'444'800;
  const std::string put = rig.at.put(7, "until 2100") + numbers({{5, kExpires}});
  const uint64_t offset = number_in(rig.only("Put", put), 1);
  rig.put(8, "for ever");
  // The clocks may tick between two looks at them.
  const auto is_right = [](uint64_t told) { return told + 2 >= kExpires && told <= kExpires + 2; };
  const std::string got = rig.only("Get", numbers({{1, 7}}));
  CHECK(is_right(number_in(got, 4)));
  CHECK(number_in(got, 3) > 1'000'000);
  CHECK(number_in(rig.only("Get", numbers({{1, 8}})), 4) == 0);
  CHECK(is_right(number_in(rig.only("Nearest", numbers({{1, 7}})), 4)));
  const auto records = rig.all("Scan", "");
  REQUIRE(records.size() == 2);
  CHECK(is_right(number_in(records[0], 4)));
  CHECK(number_in(records[1], 4) == 0);
  const auto items = all_bytes_in(rig.only("MultiGet", numbers({{1, 7}}) + numbers({{1, 8}})), 1);
  REQUIRE(items.size() == 2);
  CHECK(is_right(number_in(items[0], 4)));
  CHECK(number_in(items[1], 4) == 0);

  FakeCall& log = begin_call(rig, "Subscribe", from_offset(offset));
  rig.at.rounds->wait([&] { return messages_of(log.body).size() == 2; });
  CHECK(is_right(number_in(messages_of(log.body)[0], 5)));
  CHECK(number_in(messages_of(log.body)[1], 5) == 0);

  rig.only("Write", operation(1, rig.at.put(9, "batch") + numbers({{5, kExpires}})));
  CHECK(is_right(number_in(rig.only("Get", numbers({{1, 9}})), 4)));
  FakeCall& stream = rig.at.rounds->begin(kKvCalls + "PutStream");
  stream.send(framed(rig.at.put(10, "s") + numbers({{5, kExpires}})), true);
  rig.at.rounds->finish(stream);
  CHECK(is_right(number_in(rig.only("Get", numbers({{1, 10}})), 4)));

  // What has passed makes a key absent; both forms exclude each other.
  rig.only("Put", rig.at.put(7, "gone") + numbers({{5, 1}}));
  CHECK(rig.failure("Get", numbers({{1, 7}})) == "5");
  CHECK(rig.failure("Put", rig.at.put(7, "x") + numbers({{3, 9}, {5, kExpires}})) == "3");
  CHECK(rig.failure("Put", rig.at.put(7, "x") + numbers({{5, kExpirySecsMax + 1}})) == "3");
}

TEST_CASE("A count is of the live keys of its range, with the offset of its moment") {
  CallRig rig;
  CHECK(number_in(rig.only("Count", ""), 1) == 0);
  for (uint64_t key = 10; key < 20; ++key) rig.put(key, "v");
  rig.put(~uint64_t{0}, "last");
  rig.only("Delete", numbers({{1, 15}}));
  const std::string all = rig.only("Count", "");
  CHECK(number_in(all, 1) == 10);
  CHECK(number_in(all, 2) == rig.at.engine->next_offset());
  CHECK(number_in(rig.only("Count", key_range(12, 16)), 1) == 3);
  CHECK(number_in(rig.only("Count", key_range(0, 0)), 1) == 0);
  CHECK(number_in(rig.only("Count", numbers({{1, 19}})), 1) == 2);
}

TEST_CASE("A range is deleted as far as its limit, and says where to go on") {
  CallRig rig;
  for (uint64_t key = 0; key < 100; ++key) rig.put(key, "v");
  CHECK(rig.failure("DeleteRange", "") == "3");  // nobody means that
  CHECK(rig.failure("DeleteRange", numbers({{2, 50}})) == "3");
  CHECK(number_in(rig.only("Count", ""), 1) == 100);
  const std::string some = rig.only("DeleteRange", key_range(10, 50) + numbers({{3, 15}}));
  CHECK(number_in(some, 1) == 15);
  CHECK(number_in(some, 2) == 0);
  CHECK(number_in(some, 3) == 25);
  const std::string rest = rig.only("DeleteRange", key_range(25, 50));
  CHECK(number_in(rest, 1) == 25);
  CHECK(number_in(rest, 2) == 1);
  CHECK(number_in(rest, 3) == 0);
  CHECK(number_in(rig.only("Count", ""), 1) == 60);
  CHECK(rig.get(9) == "v");
  CHECK(rig.get(50) == "v");
  std::string everything;  // a 0 that is there
  append_tag(everything, 1, ProtoType::kVarint);
  append_varint(everything, 0);
  CHECK(number_in(rig.only("DeleteRange", everything), 1) == 60);
  CHECK(number_in(rig.only("Count", ""), 1) == 0);
}

TEST_CASE("A range delete on a disk that fails says what it has done") {
  CallRig rig;
  for (uint64_t key = 0; key < 10; ++key) rig.put(key, "v");
  rig.fs.inject({.call = FsCall::kSync, .path = {}});
  const FakeCall& call = rig.ask("DeleteRange", key_range(0, 5));
  CHECK(CallRig::failure_of(call) == "14");
  CHECK(call.grpc_message().find("; 0 have been deleted, go on with 0") != std::string::npos);
}

TEST_CASE("A read that waits answers with news at once, or when they come") {
  CallRig rig;
  const uint64_t offset = rig.put(7, "first");
  const auto known = [](uint64_t version, uint64_t secs) {
    std::string out = numbers({{1, 7}});
    append_tag(out, 2, ProtoType::kVarint);
    append_varint(out, version);
    return out + numbers({{3, secs}});
  };
  // There is another version than the known one, or none was known.
  CHECK(bytes_in(rig.only("Wait", known(offset + 1, 300)), 1) == "first");
  CHECK(bytes_in(rig.only("Wait", numbers({{1, 7}, {3, 300}})), 1) == "first");
  // Nothing has happened.
  const std::string unchanged = rig.only("Wait", known(offset, 0));
  CHECK(bytes_in(unchanged, 1).empty());
  CHECK(number_in(unchanged, 2) == offset);
  CHECK(number_in(unchanged, 5) == 1);
  CHECK(rig.failure("Wait", numbers({{1, 8}})) == "5");
  CHECK(rig.failure("Wait", numbers({{1, 8}, {3, 301}})) == "3");

  FakeCall& waits = begin_call(rig, "Wait", known(offset, 300));
  FakeCall& for_other = begin_call(rig, "Wait", numbers({{1, 8}, {3, 300}}));
  CHECK_FALSE(waits.responded());
  const uint64_t second = rig.put(7, "second");
  rig.at.rounds->finish(waits);
  CHECK(waits.grpc_status() == "0");
  const std::string news = messages_of(waits.body).at(0);
  CHECK(bytes_in(news, 1) == "second");
  CHECK(number_in(news, 2) == second);
  CHECK(number_in(news, 5) == 0);
  CHECK_FALSE(for_other.responded());
  rig.put(8, "there");
  rig.at.rounds->finish(for_other);
  CHECK(bytes_in(messages_of(for_other.body).at(0), 1) == "there");

  FakeCall& until_deleted = begin_call(rig, "Wait", known(second, 300));
  rig.only("Delete", numbers({{1, 7}}));
  rig.at.rounds->finish(until_deleted);
  CHECK(CallRig::failure_of(until_deleted) == "5");
  // A stop of the server ends all of them.
  FakeCall& at_stop = begin_call(rig, "Wait", numbers({{1, 9}, {3, 300}}));
  CHECK_FALSE(at_stop.responded());
  rig.at.api.set_draining();
  rig.at.rounds->finish(at_stop);
  CHECK(CallRig::failure_of(at_stop) == "5");
}

TEST_CASE("A subscription of one key, or of a range, gets nothing else") {
  CallRig rig;
  for (uint64_t key = 0; key < 10; ++key) rig.put(key, "v");
  const auto keys_of = [&rig](const std::string& filter, size_t count) {
    FakeCall& call = begin_call(rig, "Subscribe", from_offset(0) + filter);
    rig.at.rounds->wait([&] { return messages_of(call.body).size() >= count; });
    std::vector<uint64_t> keys;
    for (const auto& message : messages_of(call.body)) keys.push_back(number_in(message, 3));
    return keys;
  };
  const auto range = [](const std::string& message) {
    std::string out;
    append_message_field(out, 3, message);
    return out;
  };
  CHECK(keys_of(numbers({{2, 7}}), 1) == std::vector<uint64_t>{7});
  CHECK(keys_of(range(key_range(3, 6)), 3) == std::vector<uint64_t>{3, 4, 5});
  CHECK(keys_of(range(numbers({{1, 8}})), 2) == std::vector<uint64_t>{8, 9});
  // Of the two the last one counts.
  CHECK(keys_of(range(key_range(3, 6)) + numbers({{2, 7}}), 1) == std::vector<uint64_t>{7});
  CHECK(keys_of(numbers({{2, 7}}) + range(key_range(3, 4)), 1) == std::vector<uint64_t>{3});
  CHECK(rig.failure("Subscribe", range(key_range(5, 5))) == "3");
  CHECK(rig.failure("Subscribe", range("\x08")) == "3");
}

TEST_CASE("A silent subscription that wants to know says how far it has come") {
  CallRig rig;
  rig.put(1, "a");
  rig.put(2, "b");
  FakeCall& call = rig.at.rounds->prepare(kKvCalls + "Subscribe", {});
  call.set_route(static_cast<uint16_t>(Route::kCallSubscribe));
  SubscribeStats stats;
  SharedPieces pieces;
  const auto next_message = [&](bool tells_progress, size_t turns) {
    auto reader = rig.at.engine->read_log(0);
    REQUIRE(reader.ok());
    SubscribeStream stream(*rig.at.engine, std::move(*reader), stats, pieces, {}, 1, {5, 5},
                           rpc::StreamEnd(call, nullptr), tells_progress);
    std::string out;
    const uint64_t end_ns = monotonic_ns() + 20'000'000'000;
    for (size_t turn = 0; out.empty() && turn < turns && monotonic_ns() < end_ns; ++turn) {
      const auto next = stream.produce(out, 16 * 1024);
      REQUIRE((next == BodyStream::Next::kWait || next == BodyStream::Next::kMore));
    }
    return messages_of(out);
  };
  const auto told = next_message(true, SIZE_MAX);
  REQUIRE(told.size() == 1);
  CHECK(number_in(told[0], 1) == 1);
  CHECK(number_in(told[0], 2) == 2);  // PROGRESS
  CHECK(next_message(false, 100'000).empty());
}

}  // namespace kyro::test
