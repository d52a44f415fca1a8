// RFC 9110 and RFC 9112 against the built server, over TCP: every case of the tables in
// http_wire_*.h and every refusal of http_cases.h, whole and in pieces. What each case sends, and
// the form of what it expects, is said in http_wire_cases.h.
#include <poll.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/connection_harness.h"
#include "test/support/http/http_cases.h"
#include "test/support/http/http_wire_bodies.h"
#include "test/support/http/http_wire_messages.h"
#include "test/support/http/http_wire_streams.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

std::vector<WireCase> all_wire_cases() {
  std::vector<WireCase> all;
  for (const auto& cases :
       {wire_method_cases(), wire_target_cases(), wire_version_cases(), wire_field_cases(),
        wire_host_cases(), wire_length_cases(), wire_coding_cases(), wire_decoder_cases(),
        wire_chunk_cases(), wire_stream_cases(), wire_smuggling_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  for (const HttpCase& one : all_http_cases()) {
    if (one.status > 0) {
      all.push_back(
          {std::string("head: ") + one.name, one.bytes, std::to_string(one.status) + "!"});
    }
  }
  return all;
}

// What a case expects, taken apart.
struct Expected {
  explicit Expected(std::string_view text) {
    is_cut_off = text.starts_with("-");
    if (is_cut_off) text.remove_prefix(1);
    closes = text.ends_with("!");
    if (closes) text.remove_suffix(1);
    while (!text.empty()) {
      const std::string_view word = text.substr(0, text.find(' '));
      text.remove_prefix(std::min(text.size(), word.size() + 1));
      is_head.push_back(word.ends_with("h"));
      statuses.push_back(static_cast<int>(parse_u64(word.substr(0, 3)).value_or(0)));
    }
  }
  std::vector<int> statuses;
  std::vector<bool> is_head;
  bool closes = false;
  bool is_cut_off = false;
};

// A socket whose answers are taken apart here, so that every byte counts.
class Wire {
 public:
  explicit Wire(const ServerProcess& server) : client_(server.endpoint()) {
    REQUIRE(client_.connect().ok());
  }
  void send(std::string_view bytes, size_t piece_bytes) {
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, piece_bytes);
      // The server may have refused what came before and closed.
      if (!client_.connected() || !client_.send_raw(piece).ok()) return;
      bytes.remove_prefix(piece.size());
    }
  }
  void end() {
    if (client_.connected()) client_.shutdown_write();
  }
  // The head of the next answer; empty if the server has closed.
  std::string next_head() {
    size_t end = 0;
    while ((end = got_.find("\r\n\r\n")) == got_.npos) {
      if (!read_more()) return {};
    }
    std::string head = got_.substr(0, end + 4);
    got_.erase(0, end + 4);
    return head;
  }
  // `size` bytes; fewer if the server has closed.
  std::string body(size_t size) {
    while (got_.size() < size && read_more()) {
    }
    std::string bytes = got_.substr(0, size);
    got_.erase(0, size);
    return bytes;
  }
  // The server has closed, and nothing was left. A client that sends on although it asked for the
  // close may see a reset.
  bool is_at_end(bool may_be_reset) {
    while (read_more()) {
    }
    return got_.empty() && (!is_broken_ || may_be_reset);
  }

 private:
  bool read_more() {
    if (is_closed_) return false;
    pollfd waiting{client_.fd(), POLLIN, 0};
    if (poll(&waiting, 1, 20000) != 1) {
      is_broken_ = is_closed_ = true;
      return false;
    }
    char piece[16384];
    const ssize_t n = recv(client_.fd(), piece, sizeof piece, 0);
    if (n <= 0) {
      is_closed_ = true;
      is_broken_ = n < 0;
      return false;
    }
    got_.append(piece, static_cast<size_t>(n));
    return true;
  }

  HttpClient client_;
  std::string got_;
  bool is_closed_ = false;
  bool is_broken_ = false;
};

std::string field_of(const std::string& head, std::string_view name) {
  const size_t at = head.find("\r\n" + std::string(name) + ": ");
  if (at == head.npos) return {};
  const size_t begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

// One answer, held against everything that RFC 9110 asks of any.
void check_answer(Wire& wire, int status, bool is_head, bool is_last_and_closes) {
  std::string head = wire.next_head();
  // Whether a body that was announced with Expect has begun to arrive when its head is complete
  // depends on the pieces.
  if (status != 100 && head.starts_with("HTTP/1.1 100 ")) head = wire.next_head();
  INFO(head);
  REQUIRE(head.starts_with("HTTP/1.1 "));
  REQUIRE(head.substr(9, 3) == std::to_string(status));
  CHECK(field_of(head, "Date").size() == 29);
  CHECK((field_of(head, "Connection") == "close") == is_last_and_closes);
  if (status == 405) CHECK(!field_of(head, "Allow").empty());
  const std::string length = field_of(head, "Content-Length");
  const bool has_no_body = status == 204 || status == 304;
  CHECK(length.empty() == has_no_body);
  CHECK(field_of(head, "Transfer-Encoding").empty());
  if (has_no_body || is_head) return;
  const auto size = parse_u64(length);
  REQUIRE(size.has_value());
  const std::string body = wire.body(static_cast<size_t>(*size));
  CHECK(body.size() == *size);
  if (status >= 400) {
    CHECK(field_of(head, "Content-Type") == "application/json");
    CHECK(body.starts_with("{\"error\":\""));
  }
}

class Conformance {
 public:
  Conformance()
      : server_(dir_.file("data"), {"--no-auth", "--fsync", "never", "--threads", "1"}),
        client_(server_) {
    REQUIRE(client_.call("PUT", "/v1/kv/1", "kept").status == 201);
    REQUIRE(client_.call("PUT", "/v1/kv/5", "first").status == 201);
  }

  void run(const WireCase& one, size_t piece_bytes) {
    INFO(one.name << " in pieces of " << piece_bytes);
    INFO(one.bytes.substr(0, 400));
    const Expected expected(one.expect);
    const uint64_t canary = next_canary_++;
    Wire wire(server_);
    wire.send(one.bytes, piece_bytes);
    if (expected.is_cut_off) {
      wire.end();
    } else {
      wire.send("PUT " + kv_path(canary) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                piece_bytes);
    }
    for (size_t i = 0; i < expected.statuses.size(); ++i) {
      // A client that has shut down its side gets its last answer like any other.
      const bool closes = expected.closes && i + 1 == expected.statuses.size();
      check_answer(wire, expected.statuses[i], expected.is_head[i], closes);
    }
    const bool survives = !expected.is_cut_off && !expected.closes;
    if (survives) {
      check_answer(wire, 201, false, false);
    } else {
      const bool asked_for_it = one.bytes.find("Connection: close") != one.bytes.npos ||
                                one.bytes.find(" HTTP/1.0\r\n") != one.bytes.npos ||
                                (!expected.statuses.empty() && expected.statuses.back() < 400);
      CHECK(wire.is_at_end(asked_for_it));
    }
    canaries_[canary] = survives;
    if (one.stored != nullptr) CHECK(client_.get("/v1/kv/5").body == one.stored);
  }

  // Exactly the canaries of connections that survived were executed, and nothing hidden.
  void check_executed() {
    for (const auto& [key, is_executed] : canaries_) {
      INFO("canary " << key);
      CHECK(client_.get(kv_path(key)).status == (is_executed ? 200 : 404));
    }
    CHECK(client_.get("/v1/kv/66").status == 404);
    CHECK(client_.get("/v1/kv/1").body == "kept");
    CHECK(server_.stop().exit_code == 0);
  }

 private:
  TempDir dir_;
  ServerProcess server_;
  Client client_;
  uint64_t next_canary_ = 1'000'000;
  std::map<uint64_t, bool> canaries_;
};

TEST_CASE("The conformance tables hold more than five hundred cases, each with its own name",
          "[e2e]") {
  const std::vector<WireCase> all = all_wire_cases();
  CHECK(all.size() >= 500);
  std::set<std::string> contents;
  for (const WireCase& one : all) contents.insert(one.bytes + "\n" + one.expect);
  CHECK(contents.size() >= 500);
}

TEST_CASE("Every message is answered or refused as RFC 9112 says, and nothing after it executed",
          "[e2e]") {
  Conformance conformance;
  for (const WireCase& one : all_wire_cases()) conformance.run(one, SIZE_MAX);
  conformance.check_executed();
}

TEST_CASE("The same holds for messages that come in pieces", "[e2e]") {
  Conformance conformance;
  size_t number = 0;
  for (const WireCase& one : all_wire_cases()) {
    if (one.bytes.size() > 2000) continue;
    conformance.run(one, 1 + number++ % 40);
  }
  conformance.check_executed();
}

// In one process, where no kernel joins the pieces again: all bytes one by one, and two pieces at
// some bytes, other ones in each case. (The parsers' own tests split at every byte.)
TEST_CASE("A connection answers the same however its bytes are split") {
  size_t number = 0;
  for (const WireCase& one : all_wire_cases()) {
    const std::string& bytes = one.bytes;
    // Whether 100 Continue is sent depends on what has arrived: for once not of interest.
    if (bytes.size() > 400 || bytes.find("100-") != bytes.npos ||
        bytes.find("100-C") != bytes.npos) {
      continue;
    }
    INFO(one.name);
    INFO(bytes);
    const std::string whole = serve_pieces(bytes, {bytes.size()});
    std::vector<size_t> each;
    for (size_t cut = 1; cut <= bytes.size(); ++cut) each.push_back(cut);
    CHECK(serve_pieces(bytes, each) == whole);
    const size_t stride = 1 + bytes.size() / 6;
    for (size_t cut = 1 + number++ % stride; cut < bytes.size(); cut += stride) {
      INFO("split at " << cut);
      const bool is_same = serve_pieces(bytes, {cut, bytes.size()}) == whole;
      CHECK(is_same);
      if (!is_same) break;
    }
  }
}

}  // namespace
}  // namespace kyro::test
