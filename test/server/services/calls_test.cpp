// What each call of gRPC answers, without a connection.
#include "kyro/server/services/calls.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/call_rig.h"

namespace kyro::test {

using std::string_literals::operator""s;

TEST_CASE("A value that was put is got with its offset, its lifetime, or only its offset") {
  CallRig rig;
  const std::string first = rig.only("Put", rig.at.put(7, "seven"));
  CHECK(number_in(first, 2) == 1);
  const std::string again = rig.only("Put", rig.at.put(7, "eight") + numbers({{3, 100}}));
  CHECK(number_in(again, 2) == 0);
  CHECK(number_in(again, 1) == number_in(first, 1) + 1);
  const std::string got = rig.only("Get", numbers({{1, 7}}));
  CHECK(bytes_in(got, 1) == "eight");
  CHECK(number_in(got, 2) == number_in(again, 1));
  CHECK(number_in(got, 3) >= 99);
  CHECK(number_in(got, 3) <= 100);
  const std::string offset = rig.only("Get", numbers({{1, 7}, {2, 1}}));
  CHECK(bytes_in(offset, 1).empty());
  CHECK(number_in(offset, 2) == number_in(again, 1));
  // Any number is a key, and a value may be empty.
  rig.put(~uint64_t{0}, "");
  CHECK(rig.get(~uint64_t{0}).empty());
  rig.put(0, "zero");
  CHECK(rig.get(0) == "zero");
}

TEST_CASE("Large values are taken and given without being copied whole, from deltas and runs") {
  CallRig rig;
  for (const size_t size : {size_t{32 * 1024 - 1}, size_t{32 * 1024}, size_t{64 * 1024 + 1},
                            size_t{16 * 1024 * 1024}}) {
    INFO(size);
    const std::string value(size, 'v');
    rig.put(size, value);
    for (const bool in_run : {false, true}) {
      if (in_run) REQUIRE(rig.at.engine->snapshot().ok());
      const FakeCall& call = rig.ask("Get", numbers({{1, size}}));
      REQUIRE(call.grpc_status() == "0");
      CHECK(call.shared_bytes == (size >= kSharedBodyBytesMin ? size : 0));
      CHECK(bytes_in(messages_of(call.body).at(0), 1) == value);
    }
  }
  CHECK(rig.failure("Put", rig.at.put(1, std::string(16 * kMiB + 1, 'x'))) == "8");
}

TEST_CASE("Conditions of calls decide, and a delete says whether there was something") {
  CallRig rig;
  const std::string put = rig.at.put(20, "a");
  const uint64_t offset = number_in(rig.only("Put", with_condition(put, 4, 1, 1)), 1);
  CHECK(rig.failure("Put", with_condition(put, 4, 1, 1)) == "10");
  CHECK(rig.failure("Put", with_condition(put, 4, 3, offset + 1)) == "10");
  rig.only("Put", with_condition(put, 4, 3, offset));
  rig.only("Put", with_condition(put, 4, 2, 1));
  CHECK(rig.failure("Put", with_condition(rig.at.put(21, "x"), 4, 2, 1)) == "10");
  CHECK(rig.failure("Put", with_condition(put, 4, 1, 0)) == "3");  // absent: false
  CHECK(rig.failure("Put", with_condition(put, 4, 2, 0)) == "3");
  CHECK(rig.failure("Put", put + numbers({{3, kTtlSecsMax + 1}})) == "3");
  CHECK(rig.failure("Delete", with_condition(numbers({{1, 20}}), 2, 3, offset)) == "10");
  CHECK(number_in(rig.only("Delete", numbers({{1, 20}})), 1) > offset);
  CHECK(rig.failure("Get", numbers({{1, 20}})) == "5");
  CHECK(rig.failure("Delete", numbers({{1, 20}})) == "5");
  CHECK(rig.ask("Delete", numbers({{1, 20}})).grpc_message() == "no such key");
}

TEST_CASE("The operations of Write are stored together or not at all") {
  CallRig rig;
  rig.put(52, "there");
  const std::string message = operation(1, rig.at.put(50, "a")) +
                              operation(1, rig.at.put(51, "b")) + operation(2, numbers({{1, 52}})) +
                              operation(2, numbers({{1, 99}})) + numbers({{15, 7}}) +
                              operation(1, rig.at.put(50, "c"));
  const std::string written = rig.only("Write", message);
  CHECK(number_in(written, 2) == 5);
  CHECK(rig.get(50) == "c");
  CHECK(number_in(rig.only("Get", numbers({{1, 50}})), 2) == number_in(written, 1));
  CHECK(rig.failure("Get", numbers({{1, 52}})) == "5");

  const FakeCall& refused =
      rig.ask("Write", operation(1, rig.at.put(54, "y")) +
                           operation(1, with_condition(rig.at.put(53, "x"), 4, 2, 1)));
  CHECK(CallRig::failure_of(refused) == "10");
  CHECK(refused.grpc_message().starts_with("operation 2: "));
  CHECK(rig.failure("Get", numbers({{1, 54}})) == "5");
  CHECK(rig.failure("Write", "") == "3");
  CHECK(rig.failure("Write", operation(1, "") + "\x0A\x00"s) == "3");  // neither put nor delete
  CHECK(rig.failure("Write", operation(1, "\x08") + operation(1, "")) == "3");
  CHECK(rig.failure("Write", operation(1, "") + "\x08") == "3");
  // As many as fit a batch, and large ones among them.
  std::string many;
  for (uint64_t key = 1000; key < 21'000; ++key) many += operation(1, rig.at.put(key, "v"));
  many += operation(1, rig.at.put(30'000, std::string(2 * kMiB, 'l')));
  CHECK(number_in(rig.only("Write", many), 2) == 20'001);
  CHECK(rig.get(30'000).size() == 2 * kMiB);
  CHECK(rig.get(20'999) == "v");
}

TEST_CASE("A Write of more operations than a batch has lines is refused") {
  FaultFs fs;
  const QuietLog quiet;
  Options options = large_options(fs);
  options.max_batch_bytes = 2400;
  const CallCase at(options);
  std::string message;
  for (int i = 0; i < 100; ++i) message += operation(2, "");
  CHECK(at.rounds->ask(kKvCalls + "Write", message).grpc_status() == "0");
  CHECK(at.rounds->ask(kKvCalls + "Write", message + operation(2, "")).grpc_status() == "8");
}

TEST_CASE("Many values come in one message in the order of their keys, however large they are") {
  CallRig rig;
  rig.put(1, "one");
  rig.put(2, std::string(100'000, '2'));
  rig.put(3, "");
  const auto ask = [&](const std::vector<uint64_t>& keys) {
    std::string message;
    for (const uint64_t key : keys) {
      append_tag(message, 1, ProtoType::kVarint);
      append_varint(message, key);
    }
    return all_bytes_in(rig.only("MultiGet", message), 1);
  };
  CHECK(ask({}).empty());
  const auto few = ask({3, 9, 1, 1});
  REQUIRE(few.size() == 4);
  CHECK((number_in(few[0], 1) == 1 && bytes_in(few[0], 2).empty()));
  CHECK(few[1].empty());
  CHECK(bytes_in(few[2], 2) == "one");
  CHECK(number_in(few[3], 3) == number_in(few[2], 3));
  // More than a slice: measured first, then sent in pieces.
  std::vector<uint64_t> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back(i % 100 == 7 ? 2 : i % 3 == 0 ? 1 : 9);
  const auto many = ask(keys);
  REQUIRE(many.size() == keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const size_t bytes = keys[i] == 2 ? 100'000 : keys[i] == 1 ? 3 : 0;
    REQUIRE(bytes_in(many[i], 2).size() == bytes);
    REQUIRE(number_in(many[i], 1) == (bytes != 0 ? 1 : 0));
  }
  // Packed, as clients send them; what was written meanwhile does not show.
  std::string packed;
  for (int i = 0; i < 2000; ++i) append_varint(packed, 2);
  std::string message;
  append_bytes_field(message, 1, packed);
  FakeCall& call = rig.at.rounds->begin(kKvCalls + "MultiGet");
  rig.at.rounds->takes_all = false;
  rig.at.rounds->finish_request(call, framed(message));
  rig.at.rounds->wait([&] { return call.responded(); });
  rig.at.rounds->takes_all = true;
  REQUIRE(rig.at.engine->put(2, "new").ok());
  rig.at.rounds->finish(call);
  CHECK(call.slice_bytes_max <= SlicedBody::kWholeBytesMax);
  const auto items = all_bytes_in(messages_of(call.body).at(0), 1);
  REQUIRE(items.size() == 2000);
  for (const std::string& item : items) REQUIRE(bytes_in(item, 2).size() == 100'000);
}

TEST_CASE("More keys or larger answers than are allowed are refused before anything is sent") {
  CallRig rig;
  rig.at.api.set_mget_limits(10, 1000);
  std::string keys;
  for (int i = 0; i < 10; ++i) append_varint(keys, 1);
  std::string message;
  append_bytes_field(message, 1, keys);
  CHECK(rig.ask("MultiGet", message).grpc_status() == "0");
  CHECK(rig.failure("MultiGet", message + "\x08\x01") == "8");
  CHECK(rig.failure("MultiGet", message + "\x0A\x02\x80\x80"s) == "3");
  rig.at.api.set_mget_limits(100'000, 79);
  CHECK(rig.failure("MultiGet", message) == "14");
  rig.at.api.set_mget_limits(100'000, 100'000'000);
  rig.put(1, std::string(16 * kMiB, 'v'));
  std::string many;
  for (int i = 0; i < 129; ++i) append_varint(many, 1);
  message.clear();
  append_bytes_field(message, 1, many);
  CHECK(rig.failure("MultiGet", message) == "8");
}

TEST_CASE("A scan sends a message for each record of its range, up or down") {
  CallRig rig;
  std::string message;
  for (uint64_t key = 1000; key < 1100; ++key) {
    message += operation(1, rig.at.put(key, "v" + std::to_string(key)));
  }
  rig.only("Write", message);
  const auto scan = [&](const std::string& request) {
    std::vector<uint64_t> keys;
    for (const std::string& record : rig.all("Scan", request)) {
      keys.push_back(number_in(record, 1));
      const std::string value = bytes_in(record, 2);
      CHECK((value.empty() || value == "v" + std::to_string(keys.back())));
      CHECK(number_in(record, 3) == keys.back() - 1000);
    }
    return keys;
  };
  std::vector<uint64_t> all;
  for (uint64_t key = 1000; key < 1100; ++key) all.push_back(key);
  CHECK(scan("") == all);
  CHECK(scan(numbers({{1, 1000}, {2, 1100}})) == all);
  CHECK(scan(numbers({{1, 1000}, {3, 7}})) == std::vector<uint64_t>(all.begin(), all.begin() + 7));
  CHECK(scan(numbers({{2, 1010}, {4, 1}, {3, 2}})) == std::vector<uint64_t>{1009, 1008});
  CHECK(scan(numbers({{1, 1100}})).empty());
  CHECK(scan("\x10\x00"s).empty());  // end: 0
  CHECK(scan(numbers({{1, 1050}, {2, 1050}})).empty());
  for (const std::string& record : rig.all("Scan", numbers({{1, 1098}, {5, 1}}))) {
    CHECK(bytes_in(record, 2).empty());
  }
  // Values that are larger than a slice, in pieces; as of one moment.
  for (uint64_t key = 0; key < 20; ++key) rig.put(key, std::string(200'000, 'l'));
  FakeCall& call = rig.at.rounds->begin(kKvCalls + "Scan");
  rig.at.rounds->finish_request(call, framed(numbers({{2, 1001}})));
  REQUIRE(call.responded());
  REQUIRE_FALSE(call.is_over);
  REQUIRE(rig.at.engine->remove(19).ok());
  rig.at.rounds->finish(call);
  CHECK(call.grpc_status() == "0");
  CHECK(call.slice_bytes_max <= SlicedBody::kWholeBytesMax);
  const auto records = messages_of(call.body);
  REQUIRE(records.size() == 21);
  CHECK(bytes_in(records[19], 2) == std::string(200'000, 'l'));
  CHECK(number_in(records[20], 1) == 1000);
}

TEST_CASE("The nearest record is found downwards and upwards") {
  CallRig rig;
  rig.put(2000, "a");
  rig.put(2010, std::string(100'000, 'b'));
  CHECK(number_in(rig.only("Nearest", numbers({{1, 2005}})), 1) == 2000);
  const std::string above = rig.only("Nearest", numbers({{1, 2005}, {2, 1}}));
  CHECK(number_in(above, 1) == 2010);
  CHECK(bytes_in(above, 2).size() == 100'000);
  CHECK(rig.failure("Nearest", numbers({{1, 1999}})) == "5");
  CHECK(rig.failure("Nearest", numbers({{1, 2011}, {2, 1}})) == "5");
  CHECK(rig.failure("Nearest", numbers({{1, 1}, {2, 7}})) == "3");
}

TEST_CASE("The offset that comes next is told with the database's name") {
  CallRig rig;
  const std::string before = rig.only("Offset", "");
  rig.put(1, "x");
  const std::string after = rig.only("Offset", numbers({{9, 1}}));
  CHECK(number_in(after, 1) == number_in(before, 1) + 1);
  CHECK(bytes_in(after, 2) == rig.at.engine->database_id());
  CHECK(rig.failure("Offset", "\x08") == "3");
}

TEST_CASE("A subscription sends what was, then what comes, until it is cancelled") {
  CallRig rig;
  rig.put(600, "a");
  REQUIRE(rig.at.engine->remove(600).ok());
  rig.put(601, std::string(300'000, 'l'));
  FakeCall& call = rig.at.rounds->begin(kKvCalls + "Subscribe");
  rig.at.rounds->finish_request(call, framed("\x08\x00"s));  // from_offset: 0
  std::string rest;
  rig.at.rounds->wait([&] { return messages_of(call.body, &rest).size() == 3; });
  REQUIRE(rest.empty());
  auto records = messages_of(call.body);
  CHECK((number_in(records[0], 1) == 0 && number_in(records[0], 2) == 0));
  CHECK((number_in(records[0], 3) == 600 && bytes_in(records[0], 4) == "a"));
  CHECK((number_in(records[1], 1) == 1 && number_in(records[1], 2) == 1));
  CHECK(bytes_in(records[1], 4).empty());
  CHECK(bytes_in(records[2], 4) == std::string(300'000, 'l'));
  rig.put(602, "live");
  rig.at.rounds->wait([&] { return messages_of(call.body, &rest).size() == 4; });
  CHECK(call.slice_bytes_max <= SlicedBody::kWholeBytesMax);
  call.cancel();

  FakeCall& only_new = rig.at.rounds->begin(kKvCalls + "Subscribe");
  rig.at.rounds->finish_request(only_new, framed(""));
  REQUIRE(only_new.responded());
  rig.put(603, "new");
  rig.at.rounds->wait([&] { return !only_new.body.empty(); });
  CHECK(number_in(messages_of(only_new.body).at(0), 3) == 603);
  only_new.drain();
  CHECK(only_new.grpc_status() == "14");

  const FakeCall& gone = rig.ask("Subscribe", numbers({{1, 1000}}));
  CHECK(CallRig::failure_of(gone) == "11");
  CHECK(gone.grpc_message().find("begins with offset 0, and the next one is 5") !=
        std::string::npos);
}

TEST_CASE("Administration answers when it is done") {
  CallRig rig;
  rig.put(70, "x");
  const auto ask = [&](const std::string& method) {
    const FakeCall& call = rig.at.rounds->ask(kAdminCalls + method, "");
    REQUIRE(call.grpc_status() == "0");
    return messages_of(call.body).at(0);
  };
  CHECK(number_in(ask("Snapshot"), 1) == 1);
  CHECK(number_in(ask("Compact"), 3) == 1);
  CHECK(number_in(ask("Compact"), 2) > 0);
  CHECK(number_in(ask("BuildIndex"), 1) == 1);
}

}  // namespace kyro::test
