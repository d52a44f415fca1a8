// What a user of a replicated store would take instead, asked for the same keys by the same client:
// etcd over its HTTP gateway (keys "bench/KEY", JSON, bytes in base64), and Redis whose writes wait
// until a replica has them (SET, then WAIT 1 0, as one request).
//
// Thread rule: one thread. Ownership: owns its strings, borrows the workload.
#pragma once

#include <string>
#include <string_view>

#include "bench/protocol.h"
#include "kyro/json/base64.h"

namespace kyro::bench {

class EtcdProtocol final : public Protocol {
 public:
  EtcdProtocol(const Workload& workload, const std::string& host)
      : Protocol(workload), http_(workload, host, {}), host_(host) {}

  void append_request(const Operation& operation, std::string& out) override {
    const bool is_put = operation.op == Op::kPut;
    body_.assign("{\"key\":\"");
    scratch_.assign("bench/");
    append_decimal(scratch_, operation.key);
    append_base64(body_, scratch_);
    if (is_put) {
      scratch_.clear();
      append_value(scratch_, operation.key, value_bytes());
      body_.append("\",\"value\":\"");
      append_base64(body_, scratch_);
    }
    body_.append("\"}");
    out.append(is_put ? "POST /v3/kv/put" : "POST /v3/kv/range");
    out.append(" HTTP/1.1\r\nHost: ").append(host_).append("\r\nContent-Length: ");
    append_decimal(out, body_.size());
    out.append("\r\n\r\n").append(body_);
  }

  Answer parse(std::string_view bytes, const Operation& operation) override {
    Answer answer = http_.parse(bytes, operation);
    const bool is_empty = answer.body.find("\"kvs\"") == answer.body.npos;
    if (answer.kind == Answer::Kind::kOk && operation.op != Op::kPut && is_empty) {
      answer.kind = Answer::Kind::kMissing;
    }
    return answer;
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    if (operation.op == Op::kPut) return body.find("\"revision\"") != body.npos;
    constexpr std::string_view kField = "\"value\":\"";
    const size_t at = body.find(kField);
    if (at == body.npos) return false;
    const size_t begin = at + kField.size();
    scratch_.clear();
    return decode_base64(body.substr(begin, body.find('"', begin) - begin), &scratch_) &&
           is_value(operation.key, scratch_);
  }

 private:
  HttpProtocol http_;
  const std::string host_;
  std::string body_;
  std::string scratch_;
};

class WaitingRespProtocol final : public Protocol {
 public:
  explicit WaitingRespProtocol(const Workload& workload) : Protocol(workload), resp_(workload) {}

  void append_request(const Operation& operation, std::string& out) override {
    resp_.append_request(operation, out);
    if (operation.op == Op::kPut) out.append("*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
  }

  Answer parse(std::string_view bytes, const Operation& operation) override {
    Answer answer = resp_.parse(bytes, operation);
    if (answer.kind == Answer::Kind::kIncomplete || answer.kind == Answer::Kind::kMalformed ||
        operation.op != Op::kPut) {
      return answer;
    }
    const std::string_view rest = bytes.substr(answer.bytes);
    const size_t end = rest.find("\r\n");
    if (end == rest.npos) return {};
    answer.bytes += end + 2;
    const auto replicas = parse_u64(rest.substr(1, end - 1));
    if (rest[0] != ':' || !replicas || *replicas == 0) answer.kind = Answer::Kind::kFailed;
    return answer;
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    return resp_.is_right(operation, body);
  }

 private:
  RespProtocol resp_;
};

}  // namespace kyro::bench
