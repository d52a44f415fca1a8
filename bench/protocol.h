// Operations as bytes on a connection, and answers back: HTTP/1.1, and enough of the Redis (RESP 2)
// and memcached (text) protocols to ask those servers for the same keys with the same client.
//
// A connection has a protocol object of its own; answers are views that live until its next call.
// HTTP/2 is in protocol_http2.h. Thread rule: one thread. Ownership: owns its strings, borrows the
// workload.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bench/workload.h"
#include "kyro/base/coding.h"
#include "kyro/base/text/ascii.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/http/request.h"

namespace kyro::bench {

struct Answer {
  enum class Kind : uint8_t {
    kIncomplete,  // more bytes are needed; those that `bytes` counts are dealt with
    kOk,
    kMissing,    // there is no such key
    kFailed,     // the server refuses; body says why
    kMalformed,  // not this protocol: the connection is of no more use
  };
  Kind kind = Kind::kIncomplete;
  size_t bytes = 0;  // of the answer, from the beginning of what was given
  std::string_view body;
};

class Protocol {
 public:
  explicit Protocol(const Workload& workload) : workload_(workload) {}
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  // What a connection begins with.
  virtual void append_greeting(std::string& out) { static_cast<void>(out); }
  virtual void append_request(const Operation& operation, std::string& out) = 0;
  // Bytes may come that are no answer.
  [[nodiscard]] virtual bool may_speak_unasked() const { return false; }
  // What the protocol itself has to say after answers.
  virtual void append_control(std::string& out) { static_cast<void>(out); }
  // The first answer in `bytes`, which belongs to `operation`. It may be there without more bytes.
  [[nodiscard]] virtual Answer parse(std::string_view bytes, const Operation& operation) = 0;
  // Whether the body of a kOk answer is what the keys of the operation were given.
  [[nodiscard]] virtual bool is_right(const Operation& operation, std::string_view body) = 0;

 protected:
  // An answer with a body of `length` bytes from `at` on, and `tail` after it.
  [[nodiscard]] static Answer with_body(std::string_view bytes, size_t at,
                                        std::optional<uint64_t> length, std::string_view tail) {
    if (!length || *length > UINT32_MAX) return {Answer::Kind::kMalformed, 0, {}};
    const size_t body_bytes = static_cast<size_t>(*length);
    const size_t total = at + body_bytes + tail.size();
    if (bytes.size() < total) return {};
    if (!bytes.substr(at + body_bytes).starts_with(tail)) {
      return {Answer::Kind::kMalformed, 0, {}};
    }
    return {Answer::Kind::kOk, total, bytes.substr(at, body_bytes)};
  }
  [[nodiscard]] bool is_value(uint64_t key, std::string_view value) const {
    return is_value_of(key, value, value_bytes());
  }
  [[nodiscard]] size_t value_bytes() const { return workload_.options().value_bytes; }

  const Workload& workload_;
};

class HttpProtocol final : public Protocol {
 public:
  // `fields`: further header lines, each with CRLF.
  HttpProtocol(const Workload& workload, const std::string& host, const std::string& fields)
      : Protocol(workload), tail_(" HTTP/1.1\r\nHost: " + host + "\r\n" + fields) {}

  void append_request(const Operation& operation, std::string& out) override {
    switch (operation.op) {
      case Op::kGetFast:
        return append_get(out, "GET /v1/get_fast/", operation.key);
      case Op::kLookupFast:
        return append_get(out, "GET /v1/lookup_fast/", operation.key);
      case Op::kLookup:
        return append_get(out, "GET /v1/lookup?key=", operation.key);
      case Op::kKv:
        return append_get(out, "GET /v1/kv/", operation.key);
      case Op::kPut:
        out.append("PUT /v1/kv/");
        append_decimal(out, operation.key);
        append_length(out, value_bytes());
        return append_value(out, operation.key, value_bytes());
      case Op::kMget:
        out.append("POST /v1/mget");
        append_length(out, operation.count * sizeof(uint64_t),
                      "Content-Type: application/octet-stream\r\n");
        return workload_.for_each_key(operation, [&](uint64_t key) { append_u64(out, key); });
      case Op::kBatch:
        return append_batch(operation, out);
    }
  }

  Answer parse(std::string_view bytes, const Operation& /*operation*/) override {
    // Most heads are byte for byte the one before.
    if (known_head_.empty() || !bytes.starts_with(known_head_)) {
      const size_t end = bytes.find("\r\n\r\n");
      if (end == bytes.npos) return {};
      if (!learn_head(bytes.substr(0, end + 4))) return {Answer::Kind::kMalformed, 0, {}};
    }
    if (bytes.size() - known_head_.size() < known_length_) return {};
    return {known_kind_, known_head_.size() + known_length_,
            bytes.substr(known_head_.size(), known_length_)};
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    switch (operation.op) {
      case Op::kGetFast:
      case Op::kKv:
        return is_value(operation.key, body);
      case Op::kLookupFast:
        return body.size() == sizeof(uint64_t);  // an offset does not follow from the key
      case Op::kLookup:
        scratch_.assign("{\"key\":");
        append_decimal(scratch_, operation.key);
        scratch_.append(",\"value\":\"");
        append_value(scratch_, operation.key, value_bytes());
        scratch_.append("\",\"offset\":");
        return body.starts_with(scratch_);
      case Op::kMget:
        return is_right_mget(operation, body);
      case Op::kPut:
      case Op::kBatch:
        return true;
    }
    return false;
  }

 private:
  void append_get(std::string& out, std::string_view start, uint64_t key) const {
    out.append(start);
    append_decimal(out, key);
    out.append(tail_).append("\r\n");
  }
  void append_length(std::string& out, size_t length, std::string_view fields = {}) const {
    out.append(tail_).append(fields).append("Content-Length: ");
    append_decimal(out, length);
    out.append("\r\n\r\n");
  }
  void append_batch(const Operation& operation, std::string& out) {
    scratch_.clear();
    for (uint64_t i = 0; i < operation.count; ++i) {
      const uint64_t key = key_of(operation.key + i);
      scratch_.append("{\"op\":\"put\",\"key\":");
      append_decimal(scratch_, key);
      scratch_.append(",\"value\":\"");
      append_value(scratch_, key, value_bytes());
      scratch_.append("\"}\n");
    }
    out.append("POST /v1/batch");
    append_length(out, scratch_.size(), "Content-Type: application/x-ndjson\r\n");
    out.append(scratch_);
  }

  bool is_right_mget(const Operation& operation, std::string_view body) const {
    bool right = true;
    workload_.for_each_key(operation, [&](uint64_t key) {
      if (!right || body.size() < sizeof(uint32_t) + value_bytes() ||
          load_u32(body.data()) != value_bytes()) {
        right = false;
        return;
      }
      right = is_value(key, body.substr(sizeof(uint32_t), value_bytes()));
      body.remove_prefix(sizeof(uint32_t) + value_bytes());
    });
    return right && body.empty();
  }

  bool learn_head(std::string_view head) {
    known_head_.clear();
    if (!head.starts_with("HTTP/1.") || head.size() < 16) return false;
    const auto status = parse_u64(head.substr(9, 3));
    if (!status || *status < 200) return false;
    known_length_ = 0;
    for (size_t at = head.find('\n') + 1; at < head.size();) {
      const size_t end = head.find("\r\n", at);
      const std::string_view line = head.substr(at, end - at);
      at = end + 2;
      const size_t colon = line.find(':');
      if (colon == line.npos) continue;
      const std::string_view name = line.substr(0, colon);
      if (iequals(name, "transfer-encoding")) return false;  // nothing asked for here is streamed
      if (!iequals(name, "content-length")) continue;
      std::string_view digits = line.substr(colon + 1);
      while (digits.starts_with(' ')) digits.remove_prefix(1);
      const auto length = parse_u64(digits);
      if (!length) return false;
      known_length_ = static_cast<size_t>(*length);
    }
    known_kind_ = *status < 300    ? Answer::Kind::kOk
                  : *status == 404 ? Answer::Kind::kMissing
                                   : Answer::Kind::kFailed;
    known_head_.assign(head);
    return true;
  }

  std::string tail_;
  std::string scratch_;
  std::string known_head_;
  size_t known_length_ = 0;
  Answer::Kind known_kind_ = Answer::Kind::kFailed;
};

// GET and SET only: https://redis.io/docs/latest/develop/reference/protocol-spec/
class RespProtocol final : public Protocol {
 public:
  using Protocol::Protocol;

  void append_request(const Operation& operation, std::string& out) override {
    const bool is_put = operation.op == Op::kPut;
    out.append(is_put ? "*3\r\n$3\r\nSET\r\n" : "*2\r\n$3\r\nGET\r\n");
    char digits[kDecimalDigitsMax];
    char* const end = digits + sizeof digits;
    const char* begin = write_decimal_before(end, operation.key);
    append_bulk(out, {begin, static_cast<size_t>(end - begin)});
    if (!is_put) return;
    out.append("$");
    append_decimal(out, value_bytes());
    out.append("\r\n");
    append_value(out, operation.key, value_bytes());
    out.append("\r\n");
  }

  Answer parse(std::string_view bytes, const Operation& /*operation*/) override {
    const size_t end = bytes.find("\r\n");
    if (end == bytes.npos || end == 0) return {};
    const std::string_view line = bytes.substr(1, end - 1);
    switch (bytes[0]) {
      case '+':
        return {Answer::Kind::kOk, end + 2, line};
      case '-':
        return {Answer::Kind::kFailed, end + 2, line};
      case '$':
        break;
      default:
        return {Answer::Kind::kMalformed, 0, {}};
    }
    if (line == "-1") return {Answer::Kind::kMissing, end + 2, {}};
    return with_body(bytes, end + 2, parse_u64(line), "\r\n");
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    return operation.op == Op::kPut ? body == "OK" : is_value(operation.key, body);
  }

 private:
  static void append_bulk(std::string& out, std::string_view bytes) {
    out.append("$");
    append_decimal(out, bytes.size());
    out.append("\r\n").append(bytes).append("\r\n");
  }
};

// get and set only: https://github.com/memcached/memcached/blob/master/doc/protocol.txt
class MemcacheProtocol final : public Protocol {
 public:
  using Protocol::Protocol;

  void append_request(const Operation& operation, std::string& out) override {
    out.append(operation.op == Op::kPut ? "set " : "get ");
    append_decimal(out, operation.key);
    if (operation.op == Op::kPut) {
      out.append(" 0 0 ");
      append_decimal(out, value_bytes());
      out.append("\r\n");
      append_value(out, operation.key, value_bytes());
    }
    out.append("\r\n");
  }

  Answer parse(std::string_view bytes, const Operation& /*operation*/) override {
    const size_t end = bytes.find("\r\n");
    if (end == bytes.npos) return {};
    const std::string_view line = bytes.substr(0, end);
    if (line == "STORED") return {Answer::Kind::kOk, end + 2, line};
    if (line == "END") return {Answer::Kind::kMissing, end + 2, {}};
    if (!line.starts_with("VALUE ")) return {Answer::Kind::kFailed, end + 2, line};
    return with_body(bytes, end + 2, parse_u64(line.substr(line.rfind(' ') + 1)), "\r\nEND\r\n");
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    return operation.op == Op::kPut ? body == "STORED" : is_value(operation.key, body);
  }
};

}  // namespace kyro::bench
