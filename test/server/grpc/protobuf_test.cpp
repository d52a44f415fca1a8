#include "kyro/server/grpc/protobuf.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/messages.h"
#include "kyro/server/grpc/reflection.h"
#include "kyro/server/grpc/status.h"
#include "test/support/test_util.h"

namespace kyro::rpc {
namespace {

using std::string_literals::operator""s;

// Whether `bytes` are fields from end to end, read before a guard page.
bool is_valid(std::string_view bytes) {
  const test::GuardedBytes guarded(bytes);
  ProtoReader reader(guarded.view());
  ProtoField field;
  while (reader.next(&field)) {
  }
  return reader.ok();
}

TEST_CASE("numbers of every size survive the varint") {
  const uint64_t seed = test::test_seed(128);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    const uint64_t value = random() >> (random() % 64);
    const auto number = static_cast<uint32_t>(1 + random() % 536'870'911);
    std::string bytes;
    append_varint_field(bytes, number, value);
    if (value == 0) {
      REQUIRE(bytes.empty());
      continue;
    }
    const test::GuardedBytes guarded(bytes);
    ProtoReader reader(guarded.view());
    ProtoField field;
    REQUIRE(reader.next(&field));
    REQUIRE(field.is_varint(number));
    REQUIRE(field.value == value);
    REQUIRE_FALSE(reader.next(&field));
    REQUIRE(reader.ok());
    for (size_t n = 1; n < bytes.size(); ++n) REQUIRE_FALSE(is_valid(bytes.substr(0, n)));
  }
  CHECK(varint_bytes(0) == 1);
  CHECK(varint_bytes(127) == 1);
  CHECK(varint_bytes(128) == 2);
  CHECK(varint_bytes(UINT64_MAX) == 10);
}

TEST_CASE("bytes that are no message are refused") {
  for (const std::string& bytes : {
           "\x08"s,                                          // no value
           "\x00\x01"s,                                      // field 0
           "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"s,  // more than 64 bits
           "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"s,
           "\xFF\xFF\xFF\xFF\x7F\x01"s,  // a field number beyond 2^29
           "\x0A\x05"s + "abcd",         // shorter than it says
           "\x0A\xFF\xFF\xFF\xFF\x0F"s,
           "\x09\x01\x02\x03\x04\x05\x06\x07"s,  // seven bytes of fixed64
           "\x0D\x01\x02\x03"s,                  // three bytes of fixed32
           "\x0E\x01"s,
           "\x0F\x01"s,  // wire types 6 and 7
           "\x0C"s,      // the end of a group that did not begin
           "\x0B"s,      // a group that does not end
           "\x0B\x14"s,  // the end of another group
           std::string(33, '\x0B') + std::string(33, '\x0C'),
       }) {
    INFO("bytes " << bytes.size());
    CHECK_FALSE(is_valid(bytes));
  }
  CHECK(is_valid(""));
  CHECK(is_valid("\x0B\x08\x01\x0C\x08\x02"s));  // a group is skipped
  CHECK(is_valid(std::string(32, '\x0B') + std::string(32, '\x0C')));
}

TEST_CASE("no bytes whatever make a decoder read outside of them") {
  const uint64_t seed = test::test_seed(3);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 50'000; ++round) {
    std::string bytes;
    for (size_t n = random() % 40; n > 0; --n) {
      bytes += static_cast<char>(random() % 4 == 0 ? random() : random() % 30);
    }
    const test::GuardedBytes guarded(bytes);
    static_cast<void>(PutRequest().decode(guarded.view()));
    static_cast<void>(DeleteRequest().decode(guarded.view()));
    static_cast<void>(MultiGetRequest().decode(guarded.view(), 3));
    static_cast<void>(ScanRequest().decode(guarded.view()));
    static_cast<void>(Operation().decode(guarded.view()));
    std::string out;
    static_cast<void>(append_reflection(out, guarded.view()));
  }
}

TEST_CASE("the last of a field wins, unknown ones and other wire types are skipped") {
  PutRequest put;
  const std::string bytes =
      "\x08\x01\x12\x01"
      "a\x08\x02\x12\x02"
      "bc"
      "\x18\x05\x7A\x03xyz\x15\x01\x00\x00\x00"s;
  REQUIRE(put.decode(bytes));
  CHECK(put.key == 2);
  CHECK(put.value == "bc");
  CHECK(put.ttl_secs == 5);
  CHECK(put.condition.want == Condition::Want::kNothing);
  PutRequest conditional;
  REQUIRE(conditional.decode("\x22\x02\x08\x01\x22\x02\x18\x07"s));  // absent, then offset 7
  CHECK(conditional.condition.want == Condition::Want::kOffset);
  CHECK(conditional.condition.value == 7);
  Operation operation;
  REQUIRE(operation.decode("\x0A\x02\x08\x01\x12\x02\x08\x09"s));
  CHECK(operation.kind == Operation::Kind::kDelete);
  CHECK(operation.remove.key == 9);
  MultiGetRequest packed;
  REQUIRE(packed.decode("\x0A\x03\x01\x96\x01\x08\x03"s, 10));
  CHECK(packed.keys == std::vector<uint64_t>{1, 150, 3});
  MultiGetRequest many;
  REQUIRE(many.decode("\x0A\x05\x01\x02\x03\x04\x05"s, 2));
  CHECK(many.keys.size() == 3);  // one too many: enough to refuse it
}

TEST_CASE("messages are cut out of a body however it is split") {
  std::string body;
  std::vector<std::string> sent;
  for (size_t n : {size_t{0}, size_t{1}, size_t{300}, size_t{70'000}, size_t{5}}) {
    sent.emplace_back(n, static_cast<char>('a' + sent.size()));
    append_message_head(body, n);
    body += sent.back();
  }
  for (const size_t step : {size_t{1}, size_t{4}, size_t{5}, size_t{1000}, body.size()}) {
    MessageReader reader(70'000);
    std::vector<std::string> seen;
    for (size_t at = 0; at < body.size(); at += step) {
      REQUIRE(reader
                  .add(std::string_view(body).substr(at, step),
                       [&](std::string_view message) {
                         seen.emplace_back(message);
                         return Status();
                       })
                  .ok());
    }
    CHECK(seen == sent);
    CHECK(reader.end().ok());
  }
  const auto ignore = [](std::string_view) { return Status(); };
  CHECK(MessageReader(10).add("\x01\x00\x00\x00\x01x"s, ignore).code() == Code::kUnsupported);
  CHECK(MessageReader(10).add("\x00\x00\x00\x00\x0B"s, ignore).code() == Code::kTooLarge);
  MessageReader cut(10);
  REQUIRE(cut.add("\x00\x00\x00\x00\x02x"s, ignore).ok());
  CHECK(cut.end().code() == Code::kInvalid);
  CHECK(*only_message("\x00\x00\x00\x00\x01x"s) == "x");
  CHECK(only_message("\x00\x00\x00\x00\x01xy"s).status().code() == Code::kInvalid);
  CHECK(only_message("\x00\x00\x00"s).status().code() == Code::kInvalid);
  CHECK(only_message("\x01\x00\x00\x00\x01x"s).status().code() == Code::kUnsupported);
}

TEST_CASE("timeouts and messages are written as gRPC wants") {
  CHECK(parse_grpc_timeout_us("1H") == 3'600'000'000u);
  CHECK(parse_grpc_timeout_us("2M") == 120'000'000u);
  CHECK(parse_grpc_timeout_us("3S") == 3'000'000u);
  CHECK(parse_grpc_timeout_us("100m") == 100'000u);
  CHECK(parse_grpc_timeout_us("7u") == 7u);
  CHECK(parse_grpc_timeout_us("1n") == 1u);
  CHECK(parse_grpc_timeout_us("99999999H") == 99'999'999u * uint64_t{3'600'000'000});
  for (const char* bad : {"", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1 S"}) {
    INFO(bad);
    CHECK_FALSE(parse_grpc_timeout_us(bad).has_value());
  }
  std::string message;
  append_grpc_message(message, "100% \"ü\"\n");
  CHECK(message == "100%25 \"%C3%BC\"%0A");
}

TEST_CASE("reflection knows every service, message and method, and says what it does not know") {
  const auto ask = [](uint32_t field, std::string_view text) {
    std::string request;
    append_message_field(request, field, text);
    std::string response;
    REQUIRE(append_reflection(response, request));
    return response;
  };
  const std::string services = ask(7, "");
  for (const char* name :
       {"kyrodb.v1.KV", "kyrodb.v1.Admin", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}) {
    CHECK(services.find(name) != std::string::npos);
    CHECK(ask(4, name).find("proto3") != std::string::npos);
  }
  for (const char* symbol : {"kyrodb.v1.KV.Get", "kyrodb.v1.PutRequest", "kyrodb.v1.LogRecord.Op",
                             "kyrodb.v1.MultiGetResponse.Item", "grpc.health.v1.Health.Watch"}) {
    INFO(symbol);
    CHECK(ask(4, symbol).find("proto3") != std::string::npos);
  }
  for (const char* symbol : {"", "kyrodb", "kyrodb.v1", "kyrodb.v1.", "kyrodb.v1.K",
                             "kyrodb.v1.KV.Got", "kyrodb.v2.KV", "KV"}) {
    INFO(symbol);
    CHECK(ask(4, symbol).find("no such symbol") != std::string::npos);
  }
  CHECK(ask(3, "kyrodb.proto").find("proto3") != std::string::npos);
  CHECK(ask(3, "other.proto").find("no such file") != std::string::npos);
  CHECK(ask(6, "x").find("no extensions") != std::string::npos);
}

}  // namespace
}  // namespace kyro::rpc
