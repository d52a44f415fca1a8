// Operations over HTTP/2: plain routes, or calls of the gRPC service. One object is the protocol of
// one connection: it has the header tables, the windows and what has arrived of each stream.
//
// Answers are handed on in the order of their requests. One that overtakes others waits for them; a
// round of a closed loop is over when all are there, so only single latencies of a server that
// answers out of order look longer than they are.
//
// Thread rule: one thread. Ownership: owns its tables, borrows the workload.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/protocol.h"
#include "kyro/base/text/decimal.h"
#include "kyro/net/http2/frame.h"
#include "kyro/net/http2/hpack_decoder.h"
#include "kyro/net/http2/hpack_encoder.h"
#include "kyro/server/grpc/framing.h"
#include "kyro/server/grpc/messages.h"

namespace kyro::bench {

class Http2Protocol final : public Protocol {
 public:
  enum class Kind : uint8_t { kRoutes, kGrpc };

  // `token`: a bearer token, or empty. `pipeline`: how many requests are under way at most.
  Http2Protocol(const Workload& workload, Kind kind, std::string host, const std::string& token,
                uint32_t pipeline)
      : Protocol(workload), kind_(kind), host_(std::move(host)), answers_(pipeline) {
    if (!token.empty()) authorization_ = "Bearer " + token;
  }

  // What a connection begins with: as much room for answers as there can be.
  void append_greeting(std::string& out) override {
    out.append(kHttp2Preface);
    append_frame_header(out, {.length = 6, .type = FrameType::kSettings});
    append_setting(out, http2_setting::kInitialWindowSize, kWindowMax);
    append_window_update(out, 0, kWindowMax - kDefaultWindow);
  }

  void append_request(const Operation& operation, std::string& out) override {
    out.append(std::exchange(control_, std::string()));
    const uint32_t stream = std::exchange(next_stream_, next_stream_ + 2);
    answer_of(stream) = {};
    body_.clear();
    kind_ == Kind::kGrpc ? append_message(operation) : append_body(operation);
    block_.clear();
    encoder_.begin(block_);
    append_fields(operation);
    const bool has_body = kind_ == Kind::kGrpc || !body_.empty();
    const uint8_t ends = has_body ? uint8_t{0} : http2_flag::kEndStream;
    append_frame_header(out, {.length = static_cast<uint32_t>(block_.size()),
                              .type = FrameType::kHeaders,
                              .flags = static_cast<uint8_t>(http2_flag::kEndHeaders | ends),
                              .stream = stream});
    out.append(block_);
    if (has_body) append_data(out, stream);
  }

  Answer parse(std::string_view bytes, const Operation& /*operation*/) override {
    size_t taken = 0;
    for (;;) {
      StreamAnswer& next = answer_of(next_answer_);
      if (next.has_ended) {
        next_answer_ += 2;
        ready_.swap(next.body);
        return {next.kind, taken, ready_};
      }
      const std::string_view rest = bytes.substr(taken);
      if (rest.size() < kFrameHeaderBytes) break;
      const FrameHeader frame = parse_frame_header(rest.data());
      if (rest.size() < kFrameHeaderBytes + frame.length) break;
      if (!on_frame(frame, rest.substr(kFrameHeaderBytes, frame.length))) {
        return {Answer::Kind::kMalformed, 0, {}};
      }
      taken += kFrameHeaderBytes + frame.length;
    }
    return {Answer::Kind::kIncomplete, taken, {}};
  }

  bool is_right(const Operation& operation, std::string_view body) override {
    if (kind_ == Kind::kGrpc) return is_right_message(operation, body);
    if (operation.op == Op::kLookupFast) return body.size() == sizeof(uint64_t);
    return operation.op == Op::kPut || is_value(operation.key, body);
  }

  [[nodiscard]] bool may_speak_unasked() const override { return true; }
  void append_control(std::string& out) override {
    out.append(std::exchange(control_, std::string()));
  }

 private:
  struct StreamAnswer {
    Answer::Kind kind = Answer::Kind::kFailed;
    bool has_ended = false;
    std::string body;
  };
  using Repeats = HpackEncoder::Repeats;

  [[nodiscard]] StreamAnswer& answer_of(uint32_t stream) {
    return answers_[stream / 2 % answers_.size()];
  }

  void append_fields(const Operation& operation) {
    const bool is_put = operation.op == Op::kPut;
    const std::string_view method = kind_ == Kind::kGrpc ? "POST" : is_put ? "PUT" : "GET";
    field(":method", method, Repeats::kYes);
    field(":scheme", "http", Repeats::kYes);
    if (kind_ == Kind::kGrpc) {
      field(":path",
            is_put                      ? "/kyrodb.v1.KV/Put"
            : operation.op == Op::kMget ? "/kyrodb.v1.KV/MultiGet"
                                        : "/kyrodb.v1.KV/Get",
            Repeats::kYes);
    } else {
      path_ = operation.op == Op::kGetFast      ? "/v1/get_fast/"
              : operation.op == Op::kLookupFast ? "/v1/lookup_fast/"
                                                : "/v1/kv/";
      append_decimal(path_, operation.key);
      field(":path", path_, Repeats::kNo);
    }
    field(":authority", host_, Repeats::kYes);
    if (!authorization_.empty()) field("authorization", authorization_, Repeats::kYes);
    if (kind_ != Kind::kGrpc) return;
    field("content-type", "application/grpc", Repeats::kYes);
    field("te", "trailers", Repeats::kYes);
  }
  void field(std::string_view name, std::string_view value, Repeats repeats) {
    encoder_.append(block_, name, value, repeats);
  }

  void append_body(const Operation& operation) {
    if (operation.op == Op::kPut) append_value(body_, operation.key, value_bytes());
  }
  void append_message(const Operation& operation) {
    const size_t begin = rpc::begin_message(body_);
    if (operation.op == Op::kMget) {
      packed_.clear();
      workload_.for_each_key(operation, [this](uint64_t key) { append_varint(packed_, key); });
      append_bytes_field(body_, 1, packed_);
    } else {
      append_varint_field(body_, 1, operation.key);
      if (operation.op == Op::kPut) {
        append_bytes_head(body_, 2, value_bytes());
        append_value(body_, operation.key, value_bytes());
      }
    }
    rpc::end_message(body_, begin);
  }
  void append_data(std::string& out, uint32_t stream) const {
    std::string_view rest = body_;
    do {
      const std::string_view piece = rest.substr(0, kFrameBytesMax);
      rest.remove_prefix(piece.size());
      append_frame_header(out, {.length = static_cast<uint32_t>(piece.size()),
                                .type = FrameType::kData,
                                .flags = rest.empty() ? http2_flag::kEndStream : uint8_t{0},
                                .stream = stream});
      out.append(piece);
    } while (!rest.empty());
  }

  // False for what no server may send here.
  bool on_frame(const FrameHeader& frame, std::string_view payload) {
    switch (frame.type) {
      case FrameType::kHeaders:
        return frame.has(http2_flag::kEndHeaders) && on_head(frame, payload);
      case FrameType::kData: {
        std::string_view data;
        if (!parse_data(frame, payload, &data).ok()) return false;
        answer_of(frame.stream).body.append(data);
        return_window(frame.length);
        break;
      }
      case FrameType::kSettings:
        if (!frame.has(http2_flag::kAck)) append_settings_ack(control_);
        return true;
      case FrameType::kPing:
        if (!frame.has(http2_flag::kAck)) append_ping_ack(control_, payload);
        return true;
      case FrameType::kRstStream:
        answer_of(frame.stream) = {Answer::Kind::kFailed, true, "the stream was reset"};
        return true;
      case FrameType::kGoaway:
        return false;
      default:
        return true;
    }
    if (frame.has(http2_flag::kEndStream)) answer_of(frame.stream).has_ended = true;
    return true;
  }

  bool on_head(const FrameHeader& frame, std::string_view payload) {
    std::string_view block;
    if (!parse_headers(frame, payload, &block).ok()) return false;
    StreamAnswer& answer = answer_of(frame.stream);
    const bool is_valid =
        decoder_.decode(block, [&](std::string_view name, std::string_view value) {
          if (name == ":status") {
            answer.kind = value == "404"           ? Answer::Kind::kMissing
                          : value.starts_with("2") ? Answer::Kind::kOk
                                                   : Answer::Kind::kFailed;
          } else if (name == "grpc-status") {
            answer.kind = value == "0"   ? Answer::Kind::kOk
                          : value == "5" ? Answer::Kind::kMissing
                                         : Answer::Kind::kFailed;
          } else if (name == "grpc-message") {
            answer.body.assign(value);
          }
        });
    if (frame.has(http2_flag::kEndStream)) answer.has_ended = true;
    return is_valid;
  }

  void return_window(uint32_t bytes) {
    unreturned_ += bytes;
    if (unreturned_ < 1u << 20) return;
    append_window_update(control_, 0, std::exchange(unreturned_, 0u));
  }

  [[nodiscard]] bool is_right_message(const Operation& operation, std::string_view body) const {
    const auto message = rpc::only_message(body);
    if (!message.ok()) return false;
    if (operation.op == Op::kPut) return true;
    if (operation.op == Op::kMget) return is_right_mget(operation, *message);
    std::string_view value;
    const bool is_valid = rpc::decode_fields(*message, [&](const ProtoField& part) {
      if (part.is_bytes(1)) value = part.bytes;
      return true;
    });
    return is_valid && is_value(operation.key, value);
  }
  [[nodiscard]] bool is_right_mget(const Operation& operation, std::string_view message) const {
    std::vector<std::string_view> values;
    const bool is_valid = rpc::decode_fields(message, [&](const ProtoField& item) {
      values.emplace_back();
      return rpc::decode_fields(item.bytes, [&](const ProtoField& part) {
        if (part.is_bytes(2)) values.back() = part.bytes;
        return true;
      });
    });
    size_t at = 0;
    bool right = is_valid && values.size() == operation.count;
    workload_.for_each_key(operation,
                           [&](uint64_t key) { right = right && is_value(key, values[at++]); });
    return right;
  }

  const Kind kind_;
  const std::string host_;
  std::string authorization_;
  HpackEncoder encoder_;
  HpackDecoder decoder_;
  std::vector<StreamAnswer> answers_;  // a ring, by stream
  uint32_t next_stream_ = 1;
  uint32_t next_answer_ = 1;
  uint32_t unreturned_ = 0;  // of the connection's window
  std::string control_;      // to be sent with the next requests
  std::string block_, body_, packed_, path_, ready_;
};

}  // namespace kyro::bench
