#include "kyro/replica/etcd_watch.h"

#include <poll.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kyro/replica/etcd_store.h"
#include "test/support/canned_server.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

// As etcd 3.4.23 writes them.
const std::string kWatchCreated = R"({"result":{"header":{"revision":"7"},"created":true}})";
const std::string kWatchRefused =
    R"({"result":{"header":{},"created":true,"canceled":true,"cancel_reason":"permission denied"}})";

std::string event_line(const std::string& value) {
  std::string line = R"({"result":{"header":{"revision":"8"},"events":[{"kv":{"key":"aw==",)";
  line += R"("create_revision":"2","mod_revision":"8","version":"3","value":")";
  append_base64(line, value);
  return line + "\"}}]}}";
}

std::string watch_chunk(const std::string& bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}
// The head of an answer without an end, and the pieces of it.
std::string watch_stream(const std::vector<std::string>& pieces) {
  std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& piece : pieces) answer += watch_chunk(piece);
  return answer;
}

HttpEndpoint watched_endpoint(const CannedServer& server) {
  return parse_endpoint(server.url()).value();
}
// Waits until there is something.
Result<std::optional<std::string>> next_told(EtcdWatch& watch) {
  for (;;) {
    auto taken = watch.take();
    if (!taken.ok() || *taken) return taken;
    pollfd readable{watch.fd(), POLLIN, 0};
    REQUIRE(poll(&readable, 1, 30'000) == 1);
  }
}

EtcdOptions options_for(const std::vector<std::string>& urls) {
  EtcdOptions options;
  for (const std::string& url : urls) options.endpoints.push_back(parse_endpoint(url).value());
  options.name = "test";
  options.timeout_ms = 10'000;
  return options;
}
std::string looked_at(const std::string& head) {
  std::string body = R"({"responses":[{"response_range":{}},{"response_range":{"kvs":[{"key":")";
  append_base64(body, "kyro/test/head");
  body += R"(","value":")";
  append_base64(body, head);
  body += R"("}],"count":"1"}}]})";
  return CannedServer::answer("200 OK", body, "Connection: close\r\n");
}

}  // namespace

TEST_CASE("a message of a watch says what has changed, or that it is over") {
  CHECK_FALSE(decode_etcd_watch(kWatchCreated)->value);
  CHECK_FALSE(decode_etcd_watch(kWatchCreated)->is_over);
  CHECK(decode_etcd_watch(kWatchRefused)->is_over);
  CHECK(decode_etcd_watch(event_line("one"))->value == "one");
  CHECK(decode_etcd_watch(R"({"error":{"grpc_code":14,"message":"closing"}})")->is_over);
  const std::string two =
      R"({"result":{"events":[{"kv":{"value":"YQ=="}},{"kv":{"value":"Yg=="}}]}})";
  CHECK(decode_etcd_watch(two)->value == "b");
  const std::string removed = R"({"result":{"events":[{"type":"DELETE","kv":{"key":"aw=="}}]}})";
  CHECK(decode_etcd_watch(removed)->value == "");
  for (const char* wrong : {"", "x", "[]", R"({"result":1})", R"({"result":{"events":{}}})",
                            R"({"result":{"events":[{"kv":{"value":"*"}}]}})"}) {
    INFO(wrong);
    CHECK(decode_etcd_watch(wrong).status().code() == Code::kCorruption);
  }
}

TEST_CASE("a watch tells of every change, however the stream is cut into pieces") {
  const std::string lines =
      kWatchCreated + "\n" + event_line("one") + "\n" + event_line("two") + "\n";
  const auto piece_bytes = GENERATE(size_t{1}, size_t{7}, size_t{1000});
  std::vector<std::string> pieces;
  for (size_t at = 0; at < lines.size(); at += piece_bytes) {
    pieces.push_back(lines.substr(at, piece_bytes));
  }
  CannedServer server({watch_stream(pieces)});
  EtcdWatch watch(watched_endpoint(server));
  REQUIRE(watch.begin("k", "a token", 10'000).ok());
  std::string value;
  while (value != "two") {
    const auto told = next_told(watch);
    REQUIRE(told.ok());
    value = **told;
  }
  CHECK(server.bodies().at(0) == R"({"create_request":{"key":"aw=="}})");
  CHECK_THAT(server.heads().at(0),
             Contains("POST /v3/watch ") && Contains("Authorization: a token"));
}

TEST_CASE("a watch that is refused, ended or nonsense is over, and says so") {
  const auto begun = [](const std::string& answer) {
    CannedServer server({answer});
    EtcdWatch watch(watched_endpoint(server));
    const Status status = watch.begin("k", "", 10'000);
    return status.ok() && watch.has_begun();
  };
  CHECK(begun(watch_stream({kWatchCreated + "\n"})));
  CHECK_FALSE(begun(watch_stream({kWatchRefused + "\n"})));
  CHECK_FALSE(begun(CannedServer::answer("404 Not Found", "")));
  CHECK_FALSE(begun(CannedServer::answer("200 OK", "{}")));
  CHECK_FALSE(begun(watch_stream({"<html>\n"})));
  CHECK_FALSE(begun(watch_stream({std::string(EtcdWatch::kMessageBytesMax + 1, ' ')})));

  const std::string over =
      GENERATE(as<std::string>(), watch_chunk(kWatchRefused + "\n"),
               watch_chunk("{\"error\":{}}\n"), watch_chunk("oops\n"), "0\r\n\r\n", "zz");
  CannedServer server({watch_stream({kWatchCreated + "\n" + event_line("one") + "\n"}) + over});
  EtcdWatch watch(watched_endpoint(server));
  Status status = watch.begin("k", "", 10'000);  // has perhaps seen the end already
  while (status.ok()) status = next_told(watch).status();
  CHECK(status.code() == Code::kIoError);
  CHECK_FALSE(watch.has_begun());
}

TEST_CASE("who waits is told that nothing is known at first, and then of what is new") {
  CannedServer server({looked_at("1"), watch_stream({kWatchCreated + "\n", event_line("2") + "\n"}),
                       looked_at("1")});
  EtcdStore store(options_for({server.url()}));
  CHECK(store.look(0)->head == "1");
  CHECK_FALSE(store.wait(60'000));
  CHECK(store.wait(60'000) == "2");
  std::thread other([&] { store.wake(); });
  CHECK_FALSE(store.wait(60'000));
  other.join();
  store.wake();
  CHECK_FALSE(store.wait(60'000));  // a wake-up before it is not lost
  CHECK_FALSE(store.wait(1));
}

TEST_CASE("a watch that does not tell of what a look has shown is begun anew") {
  const std::string silent = watch_stream({kWatchCreated + "\n"});
  CannedServer server({looked_at("1"), silent, looked_at("1"), looked_at("2"), silent});
  EtcdStore store(options_for({server.url()}));
  REQUIRE(store.look(0).ok());
  CHECK_FALSE(store.wait(1));  // begun
  REQUIRE(store.look(0).ok());
  CHECK_FALSE(store.wait(1));
  CHECK_FALSE(store.wait(1));  // nothing is new, and nothing is wrong with that
  CHECK(server.bodies().size() == 3);
  REQUIRE(store.look(0)->head == "2");
  CHECK_FALSE(store.wait(1));
  CHECK_FALSE(store.wait(60'000));
  REQUIRE(server.bodies().size() == 5);
  CHECK(server.bodies()[1] == server.bodies()[4]);
}

}  // namespace kyro::test
