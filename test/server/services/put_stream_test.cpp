// Many puts on one stream: answered in order, each by itself, with bounded memory.
#include "kyro/server/services/put_stream.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/call_rig.h"

namespace kyro::test {
namespace {

using std::string_literals::operator""s;

const std::string kPutStream = "/kyrodb.v1.KV/PutStream";

std::string put_message(uint64_t key, std::string_view value) {
  std::string message;
  append_varint_field(message, 1, key);
  append_bytes_field(message, 2, value);
  return framed(message);
}
// With a condition: 1 absent, 2 present, 3 this offset.
std::string put_if(uint64_t key, std::string_view value, uint32_t want, uint64_t wanted) {
  std::string condition;
  append_tag(condition, want, ProtoType::kVarint);
  append_varint(condition, wanted);
  std::string message;
  append_varint_field(message, 1, key);
  append_bytes_field(message, 2, value);
  append_message_field(message, 4, condition);
  return framed(message);
}

struct Answer {
  uint64_t code = 0;
  uint64_t offset = 0;
  friend bool operator==(const Answer&, const Answer&) = default;
};
std::vector<Answer> answers_of(const FakeCall& call) {
  std::vector<Answer> out;
  for (const std::string& message : messages_of(call.body)) {
    out.push_back({number_in(message, 1), number_in(message, 3)});
  }
  return out;
}

// The simulated disk copies a segment at every sync: small ones where there are many.
Options small_segments(FaultFs& fs) {
  Options options = large_options(fs);
  options.wal_segment_bytes = kMiB;
  return options;
}

struct PutRig {
  explicit PutRig(const Tokens& tokens = {}) : at(large_options(fs), tokens) {}
  explicit PutRig(Options (*options)(FaultFs&)) : at(options(fs)) {}

  FakeCall& begin(const Fields& more = {}) { return at.rounds->begin(kPutStream, more); }
  std::string value_of(uint64_t key) {
    std::string value;
    const Status status = at.engine->get(key, &value);
    return status.ok() ? value : status.to_string();
  }

  const QuietLog quiet;
  FaultFs fs;
  CallCase at;
};

}  // namespace

TEST_CASE("Puts of a stream are answered in their order, however the stream is split") {
  for (const size_t step : {size_t{1}, size_t{7}, size_t{1000}, size_t{1} << 30}) {
    INFO(step);
    PutRig rig;
    std::string body;
    for (uint64_t key = 0; key < 1500; ++key) {
      body += put_message(key, "s" + std::to_string(key));
    }
    FakeCall& call = rig.begin();
    CHECK_FALSE(call.responded());
    for (size_t from = 0; from < body.size(); from += step) {
      call.send(std::string_view(body).substr(from, step), from + step >= body.size());
      if (step > 1 || from % 100 == 0) rig.at.rounds->turn();
    }
    rig.at.rounds->finish(call);
    CHECK(call.grpc_status() == "0");
    CHECK(call.type == "application/grpc");
    const auto answers = answers_of(call);
    REQUIRE(answers.size() == 1500);
    for (uint64_t i = 0; i < answers.size(); ++i) REQUIRE(answers[i] == Answer{0, i});
    CHECK(rig.value_of(1499) == "s1499");
    CHECK(call.returned_window == body.size());
  }
}

TEST_CASE("A put that is refused is answered in its place, and the others are stored") {
  PutRig rig;
  FakeCall& call = rig.begin();
  call.send(put_message(1, "a") + put_if(1, "b", 1, 1) + put_if(1, "c", 2, 1) +
            framed("\x0A\xFF"s) + put_if(3, "x", 1, 0) + put_if(3, "y", 3, 77) +
            put_message(4, ""));
  std::string long_lived;
  append_varint_field(long_lived, 3, kTtlSecsMax + 1);
  call.send(framed(long_lived), true);
  rig.at.rounds->finish(call);
  CHECK(call.grpc_status() == "0");
  const std::vector<Answer> wanted = {{0, 0}, {10, 0}, {0, 1}, {3, 0},
                                      {3, 0}, {10, 0}, {0, 2}, {3, 0}};
  CHECK(answers_of(call) == wanted);
  CHECK(rig.value_of(1) == "c");
  CHECK(rig.value_of(4).empty());
  CHECK(bytes_in(messages_of(call.body)[1], 2) == "the current version of the key is 0");
}

TEST_CASE("Puts of one key happen in their order, conditional or not") {
  const uint64_t seed = test_seed(5);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  PutRig rig(small_segments);
  FakeCall& call = rig.begin();
  std::string last[4];
  std::vector<bool> there(4, false);
  std::vector<uint64_t> codes;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t key = random() % 4;
    const std::string value = std::to_string(i);
    switch (random() % 4) {
      case 0:
        call.send(put_if(key, value, 1, 1));
        codes.push_back(there[key] ? 10 : 0);
        break;
      case 1:
        call.send(put_if(key, value, 2, 1));
        codes.push_back(there[key] ? 0 : 10);
        break;
      default:
        call.send(put_message(key, value));
        codes.push_back(0);
    }
    if (codes.back() == 0) {
      last[key] = value;
      there[key] = true;
    }
    if (random() % 50 == 0) rig.at.rounds->turn();
    // Flushes pass versions on the way, which come back then.
    if (i % 500 == 99) REQUIRE(rig.at.engine->snapshot().ok());
  }
  call.send("", true);
  rig.at.rounds->finish(call);
  const auto answers = answers_of(call);
  REQUIRE(answers.size() == codes.size());
  uint64_t offset = 0;
  for (size_t i = 0; i < codes.size(); ++i) {
    REQUIRE(answers[i].code == codes[i]);
    if (codes[i] == 0) REQUIRE(answers[i].offset == offset++);
  }
  for (uint64_t key = 0; key < 4; ++key) CHECK(rig.value_of(key) == last[key]);
}

TEST_CASE("A put that is larger than a window is collected, one at a time, and counted") {
  PutRig rig;
  const std::string value(3 * kMiB, 'l');
  const std::string body = put_message(1, value) + put_message(2, "small") + put_message(3, value);
  FakeCall& call = rig.begin();
  constexpr size_t kWindow = 256 * 1024;
  size_t sent = 0;
  // As a client does, no more than its window lets it.
  rig.at.rounds->wait([&] {
    while (sent < body.size() && sent < call.returned_window + kWindow) {
      const size_t n = std::min({size_t{16'384}, body.size() - sent,
                                 static_cast<size_t>(call.returned_window) + kWindow - sent});
      call.send(std::string_view(body).substr(sent, n), sent + n == body.size());
      sent += n;
    }
    return call.is_over;
  });
  CHECK(call.grpc_status() == "0");
  CHECK(answers_of(call) == std::vector<Answer>{{0, 0}, {0, 1}, {0, 2}});
  CHECK(rig.value_of(1) == value);
  CHECK(rig.value_of(2) == "small");
  CHECK(rig.value_of(3) == value);

  // Where there is no memory for it the call says so; what a call held is given back with it.
  rig.at.api.set_mget_limits(1, value.size() + 100);
  for (int round = 0; round < 2; ++round) {
    FakeCall& first = rig.begin();
    first.send(std::string_view(body).substr(0, kWindow));
    CHECK(first.returned_window == kWindow);
    FakeCall& second = rig.begin();
    second.send(put_message(9, "before") + body.substr(0, kWindow));
    rig.at.rounds->finish(second);
    CHECK(second.grpc_status() == "14");
    CHECK(answers_of(second).size() == 1);
    first.cancel();
  }
}

TEST_CASE("Of a client that does not read its answers no more is taken than its window") {
  PutRig rig;
  FakeCall& call = rig.begin();
  rig.at.rounds->takes_all = false;
  std::string body;
  for (int i = 0; i < 1000; ++i) body += put_message(1, "x");
  call.send(body);
  rig.at.rounds->wait([&] { return rig.at.engine->next_offset() == 1000; });
  rig.at.rounds->turn();
  CHECK(call.returned_window == 0);
  REQUIRE(call.stream != nullptr);
  while (call.pump(100)) CHECK(call.slice_bytes_max <= 120);
  rig.at.rounds->wait([&] {
    static_cast<void>(call.pump(100));
    return call.returned_window == body.size();
  });
  CHECK(answers_of(call).size() == 1000);
}

TEST_CASE("A stream that is no stream of puts ends with its status, after what was before it") {
  PutRig rig;
  const auto outcome = [&](const std::string& body, bool ends) {
    FakeCall& call = rig.begin();
    call.send(body, ends);
    rig.at.rounds->finish(call);
    return call.grpc_status() + "/" + std::to_string(messages_of(call.body).size());
  };
  CHECK(outcome("", true) == "0/0");
  CHECK(outcome("\1\0\0\0\0"s, false) == "12/0");
  CHECK(outcome("\0\xFF\0\0\0"s, false) == "8/0");
  CHECK(outcome("\0\0\0"s, true) == "3/0");
  CHECK(outcome(put_message(1, "x") + put_message(2, "y") + "\1\0\0\0\0"s, false) == "12/2");
  CHECK(outcome(put_message(1, "x") + put_if(2, "y", 2, 1) + "\0\0\0\0\5ab"s, true) == "3/2");
}

TEST_CASE("A stream ends when its client gives up, its token is withdrawn, or the server stops") {
  PutRig rig({"full", ""});
  const Fields token = {{"authorization", "Bearer full"}};
  FakeCall& cancelled = rig.begin(token);
  cancelled.send(put_message(1, "a") + put_message(2, std::string(3 * kMiB, 'b')).substr(0, 9999));
  cancelled.cancel();

  FakeCall& drained = rig.begin(token);
  drained.send(put_message(3, "c"));
  drained.drain();
  drained.send(put_message(4, "d"));
  rig.at.rounds->finish(drained);
  CHECK(drained.grpc_status() == "14");
  CHECK(answers_of(drained).size() == 1);
  CHECK(rig.value_of(4) == "not_found");

  FakeCall& withdrawn = rig.begin(token);
  withdrawn.send(put_message(5, "e"));
  rig.at.access.set_tokens({"other", ""});
  withdrawn.send(put_message(6, "f"));
  rig.at.rounds->finish(withdrawn);
  CHECK(withdrawn.grpc_status() == "16");
  CHECK(rig.value_of(6) == "not_found");
}

TEST_CASE("A failed disk is told to each put of a stream") {
  PutRig rig;
  FakeCall& call = rig.begin();
  call.send(put_message(1, "a"));
  rig.at.rounds->wait([&] { return !call.body.empty(); });
  rig.fs.inject({.call = FsCall::kSync, .path = {}});
  call.send(put_message(2, "b") + put_message(3, "c"), true);
  rig.at.rounds->finish(call);
  CHECK(call.grpc_status() == "0");
  CHECK(answers_of(call) == std::vector<Answer>{{0, 0}, {14, 0}, {14, 0}});
}

}  // namespace kyro::test
