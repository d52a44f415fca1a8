// A store with its calls, and the messages that tests of them send.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/support/call_harness.h"

namespace kyro::test {

inline const std::string kKvCalls = "/kyrodb.v1.KV/";
inline const std::string kAdminCalls = "/kyrodb.v1.Admin/";
inline const std::string kHealthCalls = "/grpc.health.v1.Health/";
inline const std::string kReflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

inline std::string numbers(std::initializer_list<std::pair<uint32_t, uint64_t>> fields) {
  std::string out;
  for (const auto& [number, value] : fields) append_varint_field(out, number, value);
  return out;
}
// A message with a condition as field `number`: absent, present or an offset.
inline std::string with_condition(std::string message, uint32_t number, uint32_t want,
                                  uint64_t value) {
  std::string condition;
  append_tag(condition, want, ProtoType::kVarint);
  append_varint(condition, value);
  append_message_field(message, number, condition);
  return message;
}
inline std::string operation(uint32_t kind, std::string_view message) {
  std::string inner;
  append_message_field(inner, kind, message);
  std::string out;
  append_message_field(out, 1, inner);
  return out;
}

inline Options large_options(FaultFs& fs) {
  Options options = small_options(fs);
  options.delta_max_bytes = 64 * kMiB;
  options.wal_segment_bytes = 64 * kMiB;
  return options;
}

inline Options sharded_options(FaultFs& fs, const SlotSet& slots) {
  Options options = large_options(fs);
  options.slots = slots;
  return options;
}

struct CallRig {
  explicit CallRig(const SlotSet& slots) : at(sharded_options(fs, slots)) {}
  explicit CallRig(const Tokens& tokens = {}, Api::Rates rates = {},
                   AccessControl::Rules rules = {})
      : at(large_options(fs), tokens, rates, rules) {}

  FakeCall& ask(const std::string& method, std::string_view message, const Fields& more = {}) {
    return at.rounds->ask(kKvCalls + method, message, more);
  }
  // The only message of a call that must succeed.
  std::string only(const std::string& method, std::string_view message) {
    const FakeCall& call = ask(method, message);
    INFO(method << ": " << call.grpc_status() << " " << call.grpc_message());
    REQUIRE(call.grpc_status() == "0");
    CHECK(call.status == 200);
    CHECK(call.type == "application/grpc");
    const auto messages = messages_of(call.body);
    REQUIRE(messages.size() == 1);
    return messages[0];
  }
  std::vector<std::string> all(const std::string& method, std::string_view message) {
    const FakeCall& call = ask(method, message);
    INFO(method << ": " << call.grpc_status() << " " << call.grpc_message());
    REQUIRE(call.grpc_status() == "0");
    return messages_of(call.body);
  }
  // The status of a call that must have no message.
  std::string failure(const std::string& method, std::string_view message,
                      const Fields& more = {}) {
    return failure_of(ask(method, message, more));
  }
  static std::string failure_of(const FakeCall& call) {
    CHECK(call.status == 200);
    CHECK(call.type == "application/grpc");
    CHECK(call.body.empty());
    return call.grpc_status();
  }
  uint64_t put(uint64_t key, std::string_view value) {
    return number_in(only("Put", at.put(key, value)), 1);
  }
  std::string get(uint64_t key) { return bytes_in(only("Get", numbers({{1, key}})), 1); }

  const QuietLog quiet;
  FaultFs fs;
  CallCase at;
};

}  // namespace kyro::test
