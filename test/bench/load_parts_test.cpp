// The parts of the load generator: flags, values, and the three protocols at every split of their
// answers.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bench/http_bench_options.h"
#include "bench/protocol.h"
#include "bench/protocol_cluster.h"
#include "bench/protocol_http2.h"
#include "bench/workload.h"

namespace kyro::bench {
namespace {

TEST_CASE("values follow from their keys, differ between keys, and are letters") {
  std::set<std::string> seen;
  for (uint64_t i = 0; i < 2000; ++i) {
    std::string value;
    append_value(value, key_of(i), 13);
    CHECK(is_value_of(key_of(i), value, 13));
    CHECK_FALSE(is_value_of(key_of(i + 1), value, 13));
    CHECK_FALSE(is_value_of(key_of(i), value, 12));
    CHECK(std::all_of(value.begin(), value.end(), [](char c) { return c >= 'A' && c <= 'P'; }));
    CHECK(seen.insert(value).second);
  }
  std::string large;
  append_value(large, 5, 1000);
  CHECK(is_value_of(5, large, 1000));
  large[999] = 'Q';
  CHECK_FALSE(is_value_of(5, large, 1000));
}

TEST_CASE("the same seed draws the same operations, and a multi-get its keys again") {
  WorkloadOptions options;
  options.keys = 1000;
  options.endpoint = Endpoint::kMixed;
  options.zipf_theta = 0.9;
  Workload a(options, 42), b(options, 42);
  int puts = 0;
  for (int i = 0; i < 10000; ++i) {
    const Operation x = a.next(), y = b.next();
    CHECK((x.op == y.op && x.key == y.key));
    puts += x.op == Op::kPut ? 1 : 0;
  }
  CHECK(puts > 350);
  CHECK(puts < 650);
  std::vector<uint64_t> first, second;
  const Operation mget{Op::kMget, 5, 99};
  a.for_each_key(mget, [&](uint64_t key) { first.push_back(key); });
  b.for_each_key(mget, [&](uint64_t key) { second.push_back(key); });
  CHECK(first.size() == 5);
  CHECK(first == second);
}

struct Found {
  Answer::Kind kind;
  std::string body;
};

// The bytes are one answer only when all of them are there, also with more behind.
Found parse_at_every_split(Protocol& protocol, const Operation& operation,
                           const std::string& bytes) {
  for (size_t n = 1; n < bytes.size(); ++n) {
    INFO(n << " bytes of " << bytes);
    CHECK(protocol.parse(std::string_view(bytes).substr(0, n), operation).kind ==
          Answer::Kind::kIncomplete);
  }
  const std::string twice = bytes + bytes;
  const Answer answer = protocol.parse(twice, operation);
  CHECK(answer.bytes == bytes.size());
  return {answer.kind, std::string(answer.body)};
}

WorkloadOptions eight_byte_values() {
  WorkloadOptions options;
  options.keys = 10;
  options.value_bytes = 8;
  return options;
}

TEST_CASE("HTTP answers are found at every split, checked against their key, and told apart") {
  Workload workload(eight_byte_values(), 1);
  HttpProtocol http(workload, "h:1", "");
  std::string value;
  append_value(value, 77, 8);
  const Operation get{Op::kGetFast, 1, 77};
  const std::string head = "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 8\r\n\r\n";
  for (int round = 0; round < 2; ++round) {  // the second with a head that is known
    const std::string bytes = head + value;
    const Found answer = parse_at_every_split(http, get, bytes);
    CHECK(answer.kind == Answer::Kind::kOk);
    CHECK(http.is_right(get, answer.body));
    CHECK_FALSE(http.is_right({Op::kGetFast, 1, 78}, answer.body));
  }
  CHECK(parse_at_every_split(http, get, "HTTP/1.1 204 No Content\r\n\r\n").kind ==
        Answer::Kind::kOk);
  CHECK(parse_at_every_split(http, get, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
            .kind == Answer::Kind::kMissing);
  CHECK(parse_at_every_split(http, get, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").kind ==
        Answer::Kind::kFailed);
  for (const char* bad :
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "+OK, all is well\r\n\r\n"}) {
    CHECK(http.parse(bad, get).kind == Answer::Kind::kMalformed);
  }
  const Operation lookup{Op::kLookup, 1, 77};
  CHECK(http.is_right(lookup, "{\"key\":77,\"value\":\"" + value + "\",\"offset\":5}"));
  CHECK_FALSE(http.is_right(lookup, "{\"key\":78,\"value\":\"" + value + "\",\"offset\":5}"));
}

TEST_CASE("a multi-get answer must hold every value, in order, and nothing else") {
  Workload workload(eight_byte_values(), 1);
  HttpProtocol http(workload, "h:1", "");
  const Operation mget{Op::kMget, 3, 12345};
  std::string body;
  workload.for_each_key(mget, [&](uint64_t key) {
    append_u32(body, 8);
    append_value(body, key, 8);
  });
  CHECK(http.is_right(mget, body));
  CHECK_FALSE(http.is_right(mget, body + "x"));
  CHECK_FALSE(http.is_right(mget, body.substr(0, body.size() - 1)));
  body[4 + 8 + 4] ^= 1;  // a byte of the second value
  CHECK_FALSE(http.is_right(mget, body));
}

TEST_CASE("Redis and memcached answers are found at every split and checked against their key") {
  Workload workload(eight_byte_values(), 1);
  RespProtocol resp(workload);
  MemcacheProtocol memcache(workload);
  const Operation get{Op::kGetFast, 1, 77}, put{Op::kPut, 1, 77};
  std::string value, request;
  append_value(value, 77, 8);

  const std::string bulk = "$8\r\n" + value + "\r\n";
  const Found of_resp = parse_at_every_split(resp, get, bulk);
  CHECK((of_resp.kind == Answer::Kind::kOk && resp.is_right(get, of_resp.body)));
  CHECK(parse_at_every_split(resp, get, "$-1\r\n").kind == Answer::Kind::kMissing);
  CHECK(parse_at_every_split(resp, get, "-ERR no\r\n").kind == Answer::Kind::kFailed);
  const std::string ok = "+OK\r\n";
  CHECK(resp.is_right(put, parse_at_every_split(resp, put, ok).body));
  for (const char* bad : {":1\r\n", "$1\r\nabc", "$18446744073709551615\r\n"}) {
    CHECK(resp.parse(bad, get).kind == Answer::Kind::kMalformed);
  }
  resp.append_request(put, request);
  CHECK(request == "*3\r\n$3\r\nSET\r\n$2\r\n77\r\n$8\r\n" + value + "\r\n");

  const std::string found = "VALUE 77 0 8\r\n" + value + "\r\nEND\r\n";
  const Found of_memcache = parse_at_every_split(memcache, get, found);
  CHECK((of_memcache.kind == Answer::Kind::kOk && memcache.is_right(get, of_memcache.body)));
  CHECK(parse_at_every_split(memcache, get, "END\r\n").kind == Answer::Kind::kMissing);
  CHECK(parse_at_every_split(memcache, get, "SERVER_ERROR x\r\n").kind == Answer::Kind::kFailed);
  const std::string stored = "STORED\r\n";
  CHECK(memcache.is_right(put, parse_at_every_split(memcache, put, stored).body));
  request.clear();
  memcache.append_request(put, request);
  CHECK(request == "set 77 0 0 8\r\n" + value + "\r\n");
}

std::string parse_flags(const std::vector<const char*>& words, HttpBenchOptions* options) {
  std::vector<const char*> argv{"http_bench"};
  argv.insert(argv.end(), words.begin(), words.end());
  return parse_bench_flags(static_cast<int>(argv.size()), argv.data(), options);
}

TEST_CASE("etcd's answers, and Redis' with WAIT, are found at every split and checked") {
  Workload workload(eight_byte_values(), 1);
  const Operation get{Op::kGetFast, 1, 77}, put{Op::kPut, 1, 77};
  std::string value, coded, request;
  append_value(value, 77, 8);
  append_base64(coded, value);
  const auto http = [](const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  };

  EtcdProtocol etcd(workload, "host");
  const Found found = parse_at_every_split(
      etcd, get, http(R"({"kvs":[{"key":"YQ==","value":")" + coded + R"("}],"count":"1"})"));
  CHECK((found.kind == Answer::Kind::kOk && etcd.is_right(get, found.body)));
  CHECK(parse_at_every_split(etcd, get, http(R"({"header":{}})")).kind == Answer::Kind::kMissing);
  CHECK_FALSE(etcd.is_right(get, R"({"kvs":[{"value":"YQ=="}]})"));
  CHECK(etcd.is_right(put, R"({"header":{"revision":"7"}})"));
  etcd.append_request(put, request);
  CHECK(request.starts_with("POST /v3/kv/put HTTP/1.1\r\nHost: host\r\n"));
  CHECK(request.ends_with("\r\n\r\n{\"key\":\"YmVuY2gvNzc=\",\"value\":\"" + coded + "\"}"));

  WaitingRespProtocol waiting(workload);
  const Found waited = parse_at_every_split(waiting, put, "+OK\r\n:2\r\n");
  CHECK((waited.kind == Answer::Kind::kOk && waiting.is_right(put, waited.body)));
  CHECK(parse_at_every_split(waiting, put, "+OK\r\n:0\r\n").kind == Answer::Kind::kFailed);
  CHECK(parse_at_every_split(waiting, get, "$-1\r\n").kind == Answer::Kind::kMissing);
}

TEST_CASE("answers over HTTP/2 and gRPC are found at every split, in the order of their requests") {
  const Workload workload({.keys = 100, .value_bytes = 20}, 1);
  const Operation first{Op::kGetFast, 1, key_of(1)};
  const Operation second{Op::kGetFast, 1, key_of(2)};
  const auto value_of = [](const Operation& operation) {
    std::string value;
    append_value(value, operation.key, 20);
    return value;
  };
  const auto frame = [](FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
    std::string out;
    append_frame_header(out, {static_cast<uint32_t>(payload.size()), type, flags, stream});
    return out.append(payload);
  };
  const std::string settings = frame(FrameType::kSettings, 0, 0, {});
  const uint8_t ends = http2_flag::kEndStream;
  const std::string ok = "\x88";  // :status 200
  const auto plain = [&](uint32_t stream, const Operation& operation) {
    return frame(FrameType::kHeaders, http2_flag::kEndHeaders, stream, ok) +
           frame(FrameType::kData, ends, stream, value_of(operation));
  };
  const auto call = [&](uint32_t stream, const Operation& operation) {
    std::string message;
    const size_t begin = rpc::begin_message(message);
    append_bytes_field(message, 1, value_of(operation));
    rpc::end_message(message, begin);
    const std::string trailers(
        "\x00\x0bgrpc-status\x01"
        "0",
        15);
    return frame(FrameType::kHeaders, http2_flag::kEndHeaders, stream, ok) +
           frame(FrameType::kData, 0, stream, message) +
           frame(FrameType::kHeaders, http2_flag::kEndHeaders | ends, stream, trailers);
  };
  for (const auto kind : {Http2Protocol::Kind::kRoutes, Http2Protocol::Kind::kGrpc}) {
    const bool is_grpc = kind == Http2Protocol::Kind::kGrpc;
    const std::string bytes = settings + (is_grpc ? call(3, second) + call(1, first)
                                                  : plain(3, second) + plain(1, first));
    for (size_t step = 1; step <= bytes.size(); ++step) {
      Http2Protocol protocol(workload, kind, "h:1", "", 4);
      std::string sent;
      protocol.append_request(first, sent);
      protocol.append_request(second, sent);
      std::string left;
      std::vector<std::string> bodies;
      for (size_t at = 0; at < bytes.size(); at += step) {
        left.append(bytes, at, step);
        for (;;) {
          const Answer answer = protocol.parse(left, bodies.empty() ? first : second);
          left.erase(0, answer.bytes);
          if (answer.kind == Answer::Kind::kIncomplete) break;
          REQUIRE(answer.kind == Answer::Kind::kOk);
          bodies.emplace_back(answer.body);
        }
      }
      REQUIRE(bodies.size() == 2);
      CHECK(protocol.is_right(first, bodies[0]));
      CHECK(protocol.is_right(second, bodies[1]));
      CHECK_FALSE(protocol.is_right(first, bodies[1]));
      std::string control;
      protocol.append_control(control);
      CHECK(control == frame(FrameType::kSettings, http2_flag::kAck, 0, {}));
    }
  }
}

TEST_CASE("flags of the load generator take values both ways and refuse what makes no sense") {
  HttpBenchOptions options;
  CHECK(parse_flags({"--base", "http://h:1", "--load-n=5", "--rate", "12.5", "--skip-load",
                     "--endpoint=mget", "--dist", "zipf", "--zipf-theta", "1.2"},
                    &options)
            .empty());
  CHECK(options.base == "http://h:1");
  CHECK(options.load_n == 5);
  CHECK(options.rate == 12.5);
  CHECK(options.skip_load);
  CHECK(options.endpoint == "mget");
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{{"--nonsense", "1"},
                                             {"--load-n"},
                                             {"--load-n", "0"},
                                             {"--load-n", "1x"},
                                             {"--rate", "-1"},
                                             {"--rate", "fast"},
                                             {"--skip-load=1"},
                                             {"--endpoint", "get"},
                                             {"--endpoint", "get_fast|lookup"},
                                             {"--dist", "normal"},
                                             {"--protocol", "resp", "--endpoint", "mget"},
                                             {"--protocol", "h2", "--endpoint", "mget"},
                                             {"--protocol", "grpc", "--endpoint", "kv"},
                                             {"--dist", "zipf", "--zipf-theta", "0"},
                                             {"--read-seconds", "0"}}) {
    HttpBenchOptions fresh;
    INFO(words[0] << " " << (words.size() > 1 ? words[1] : ""));
    CHECK_FALSE(parse_flags(words, &fresh).empty());
  }
}

}  // namespace
}  // namespace kyro::bench
