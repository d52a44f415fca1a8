// Being told of every change of one key of etcd: the stream of /v3/watch.
//
// The answer to the one request has no end: a message each line, in pieces. The first says that the
// watch has begun, and from then on every change of the key comes. Nothing older does: whoever
// looks at the key after begin() and then waits for what is told misses nothing.
//
// etcd ends a watch by a message (the history that it needed was compacted, the user may not read
// the key), or the stream breaks with the member. Then it is begun anew, and looked at the key.
//
// Bounds: a message has kMessageBytesMax; begin() ends with the time that it is given.
//
// Thread rule: one thread at a time. Ownership: owns its connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/clock.h"
#include "kyro/base/limits.h"
#include "kyro/base/status.h"
#include "kyro/json/base64.h"
#include "kyro/json/json_reader.h"
#include "kyro/net/client/http_client.h"
#include "kyro/replica/etcd_answer.h"

namespace kyro {

// A message of the stream.
struct EtcdWatchMessage {
  bool is_over = false;              // there will be no more
  std::optional<std::string> value;  // of the newest change in it
};

// kCorruption: not as etcd writes it. A deletion of the key is a change to the empty value.
[[nodiscard]] inline Result<EtcdWatchMessage> decode_etcd_watch(std::string_view line);

class EtcdWatch {
 public:
  static constexpr size_t kMessageBytesMax = 64 * kKiB;

  explicit EtcdWatch(HttpEndpoint endpoint) : http_(std::move(endpoint)) {}

  // Begins anew. kIoError: it has not begun.
  [[nodiscard]] Status begin(std::string_view key, const std::string& token, uint32_t timeout_ms);
  // The newest value that has come since, without waiting. Not ok: it is over.
  [[nodiscard]] Result<std::optional<std::string>> take();

  // Readable when there may be something to take.
  [[nodiscard]] int fd() const { return http_.fd(); }
  [[nodiscard]] bool has_begun() const { return has_begun_ && http_.connected(); }
  void close() {
    http_.close();
    has_begun_ = false;
  }

 private:
  // The first message that is whole, taken from what has come.
  [[nodiscard]] Result<std::optional<EtcdWatchMessage>> next_message();
  Status fail(std::string_view why) {
    close();
    return Status(Code::kIoError, "the watch of etcd is over: " + std::string(why));
  }

  HttpClient http_;
  std::string input_;  // not taken yet
  bool has_begun_ = false;
};

namespace etcd_detail {

inline bool read_event(JsonReader& json, std::optional<std::string>* value) {
  constexpr std::array<std::string_view, 1> kFields{"kv"};
  constexpr std::array<std::string_view, 1> kOfPair{"value"};
  return walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t) {
    value->emplace();  // a deletion has none
    return walk_json_object(json, kOfPair, UnknownFields::kSkipped,
                            [&](size_t) { return read_bytes(json, &**value); });
  });
}

inline bool read_watch_result(JsonReader& json, EtcdWatchMessage* message) {
  constexpr std::array<std::string_view, 2> kFields{"canceled", "events"};
  return walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    if (field == 0) return json.read_bool(&message->is_over);
    if (!json.enter_array()) return false;
    while (json.next_element()) {
      if (!read_event(json, &message->value)) return false;
    }
    return json.ok();
  });
}

}  // namespace etcd_detail

inline Result<EtcdWatchMessage> decode_etcd_watch(std::string_view line) {
  constexpr std::array<std::string_view, 2> kFields{"result", "error"};
  EtcdWatchMessage message;
  JsonReader json(line);
  walk_json_object(json, kFields, UnknownFields::kSkipped, [&](size_t field) {
    if (field == 0) return etcd_detail::read_watch_result(json, &message);
    message.is_over = true;
    return json.skip_value();
  });
  const Status whole = json.finish();
  if (!whole.ok()) return etcd_detail::not_understood(whole.message());
  return message;
}

inline Status EtcdWatch::begin(std::string_view key, const std::string& token,
                               uint32_t timeout_ms) {
  close();
  input_.clear();
  const uint64_t deadline_ns = monotonic_ns() + uint64_t{timeout_ms} * 1'000'000;
  const auto set_time = [&] {
    const uint64_t now_ns = monotonic_ns();
    if (now_ns >= deadline_ns) return fail("timed out");
    http_.set_timeout_ms(static_cast<int>((deadline_ns - now_ns + 999'999) / 1'000'000));
    return Status();
  };
  HeaderList headers{{"Content-Type", "application/json"}};
  if (!token.empty()) headers.emplace_back("Authorization", token);
  std::string body = "{\"create_request\":{\"key\":\"";
  append_base64(body, key);
  body += "\"}}";
  HttpResponse response;
  KYRO_TRY(set_time());
  KYRO_TRY(http_.send("POST", "/v3/watch", body, headers));
  KYRO_TRY(set_time());
  KYRO_TRY(http_.receive_head(&response));
  if (response.status != 200) return fail("HTTP status " + std::to_string(response.status));
  for (bool is_at_end = false; !is_at_end;) {
    auto message = next_message();
    KYRO_TRY(message);
    if (*message) {
      if ((*message)->is_over) return fail("etcd has refused it");
      has_begun_ = true;
      return Status();
    }
    KYRO_TRY(set_time());
    KYRO_TRY(http_.receive_body(&input_, &is_at_end));
  }
  return fail("the stream has ended");
}

inline Result<std::optional<std::string>> EtcdWatch::take() {
  std::optional<std::string> newest;
  bool is_at_end = false;
  if (const Status status = http_.receive_arrived(&input_, &is_at_end); !status.ok()) {
    return fail(status.message());
  }
  for (;;) {
    auto message = next_message();
    KYRO_TRY(message);
    if (!*message) break;
    if ((*message)->is_over) return fail("etcd has ended it");
    if ((*message)->value) newest = std::move((*message)->value);
  }
  if (is_at_end) return fail("the stream has ended");
  return newest;
}

inline Result<std::optional<EtcdWatchMessage>> EtcdWatch::next_message() {
  const size_t end = input_.find('\n');
  if (end == input_.npos) {
    if (input_.size() > kMessageBytesMax) return fail("a message is too large");
    return std::optional<EtcdWatchMessage>();
  }
  auto message = decode_etcd_watch(std::string_view(input_).substr(0, end));
  if (!message.ok()) return fail(message.status().message());
  input_.erase(0, end + 1);
  return std::optional(std::move(*message));
}

}  // namespace kyro
