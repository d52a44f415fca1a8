// What the connections of one reactor share, and what all reactors share, whatever they speak.
//
// ReactorContext holds the scratch buffers of the hot path: input is read into `in`, answers are
// formatted into `out`; both are empty between two connections, so a connection that waits owns no
// buffer at all.
//
// Thread rule: ReactorContext by its reactor only; ServerShared by all.
// Ownership: the context owns the buffers.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kyro/base/limits.h"
#include "kyro/base/mutex.h"
#include "kyro/net/http/date.h"
#include "kyro/net/http/handler.h"
#include "kyro/net/io/event_loop.h"

namespace kyro {

// An IP literal or "localhost"; port 0 lets the kernel choose.
struct ListenAddress {
  std::string host;
  uint16_t port = 0;
};

// Where to listen and every bound. Times are absolute deadlines.
struct HttpServerConfig {
  bool listen_tcp = true;
  std::string host = "127.0.0.1";   // an IP literal or "localhost"
  uint16_t port = 0;                // 0: the kernel chooses, see HttpServer::bound_port()
  std::vector<ListenAddress> also;  // listened on too
  std::string unix_path;            // empty: none
  uint32_t unix_mode = 0600;
  unsigned threads = 1;

  HttpLimits limits;
  uint32_t connections_max = 10000;
  uint32_t connections_per_ip_max = 0;  // 0: no such bound
  uint32_t turned_away_max = 64;        // beyond connections_max, until it is known what they speak
  // All buffered requests, and all answers that wait.
  uint64_t inflight_bytes_max = kDefaultInflightBytesMax;
  uint64_t body_bytes_max = kDefaultValueBytesMax;  // unless the handler says otherwise

  uint64_t header_timeout_ms = 10000;  // first byte of a request to the end of its head
  uint64_t body_timeout_ms = 30000;    // end of the head to the end of the body
  uint64_t idle_timeout_ms = 60000;    // last answer to the first byte of the next request
  uint64_t write_timeout_ms = 30000;   // one answer blocked; of a stream: below the least rate
  uint64_t stream_bytes_per_ms_min = 1;
  uint64_t linger_timeout_ms = 3000;  // for the client to read the answer before the close
  uint64_t inflight_wait_ms = 1000;   // paused reading before 503
  uint64_t shed_after_ms = 2000;      // who has not moved for so long may go for others
  uint64_t drain_grace_ms = 500;      // for the end of an endless stream to be taken
};

// How many of `wanted` connections may be admitted where a process may have `limit` descriptors:
// 1024 of them, or half where there are few, are for storage (runs, indexes, log segments).
[[nodiscard]] inline uint32_t connections_within(uint64_t limit, uint32_t wanted) {
  const uint64_t for_files = std::min<uint64_t>(1024, limit / 2);
  return static_cast<uint32_t>(std::clamp<uint64_t>(limit - for_files, 1, wanted));
}

// Counts of connections and bytes over all reactors.
class ServerShared {
 public:
  ServerShared(const HttpServerConfig& server_config, Handler& server_handler)
      : config(server_config), handler(server_handler) {}

  // Nobody would be admitted.
  [[nodiscard]] bool is_full() const {
    return connections.load(std::memory_order_relaxed) >= config.connections_max;
  }

  enum class Admission : uint8_t { kAdmitted, kTooMany, kTooManyOfIp };

  // Counts a connection in, if the bounds allow it.
  [[nodiscard]] Admission admit(const PeerAddress& peer, bool is_unix) {
    if (connections.fetch_add(1, std::memory_order_relaxed) >= config.connections_max) {
      connections.fetch_sub(1, std::memory_order_relaxed);
      return Admission::kTooMany;
    }
    if (config.connections_per_ip_max == 0 || is_unix) return Admission::kAdmitted;
    const MutexLock lock(mutex_);
    uint32_t& count = per_ip_[peer.bytes];
    if (count < config.connections_per_ip_max) {
      ++count;
      return Admission::kAdmitted;
    }
    connections.fetch_sub(1, std::memory_order_relaxed);
    return Admission::kTooManyOfIp;
  }

  void leave(const PeerAddress& peer, bool is_unix) {
    connections.fetch_sub(1, std::memory_order_relaxed);
    if (config.connections_per_ip_max == 0 || is_unix) return;
    const MutexLock lock(mutex_);
    const auto found = per_ip_.find(peer.bytes);
    if (found != per_ip_.end() && --found->second == 0) per_ip_.erase(found);
  }

  const HttpServerConfig config;
  Handler& handler;
  alignas(64) std::atomic<uint64_t> inflight_bytes{0};  // of requests
  alignas(64) std::atomic<uint64_t> output_bytes{0};    // of answers that wait for their readers
  alignas(64) std::atomic<uint32_t> connections{0};

 private:
  Mutex mutex_;
  std::map<std::array<uint8_t, 16>, uint32_t> per_ip_
      KYRO_GUARDED_BY(mutex_);  // bounded by connections_max
};

// What every protocol has of its reactor.
struct ReactorContext {
  static constexpr size_t kInputBytes = 64 * 1024;

  explicit ReactorContext(ServerShared& server_shared)
      : shared(server_shared),
        config(server_shared.config),
        handler(server_shared.handler),
        in(new char[kInputBytes]) {}
  ReactorContext(const ReactorContext&) = delete;
  ReactorContext& operator=(const ReactorContext&) = delete;
  ~ReactorContext() = default;

  // An answer for on_response().
  struct Finished {
    uint64_t start_ns;
    uint64_t body_bytes;
    uint16_t route;
    uint16_t status;
    Method method;
    HttpVersion version = HttpVersion::k1;
    bool operator==(const Finished&) const = default;
  };
  struct FinishedAlike {
    Finished answer;
    uint64_t count;
  };

  void add_finished(const Finished& answer) {
    if (!finished.empty() && finished.back().answer == answer) {
      ++finished.back().count;
    } else {
      finished.push_back({answer, 1});
    }
  }

  // So many more bytes of answers may have to wait for their readers.
  [[nodiscard]] bool has_output_room(uint64_t bytes) const {
    return shared.output_bytes.load(std::memory_order_relaxed) + bytes <= config.inflight_bytes_max;
  }
  // Answers have begun to wait: room is made before it is needed.
  void look_at_output_room() {
    wants_answer_room |= !has_output_room(config.inflight_bytes_max / 4);
  }

  ServerShared& shared;
  const HttpServerConfig& config;
  Handler& handler;
  EventLoop loop;
  HttpDate date;
  bool draining = false;

  std::unique_ptr<char[]> in;           // kInputBytes
  std::string out;                      // answers of the connection at work, in order
  std::vector<FinishedAlike> finished;  // those answers, for on_response()

  // Whose body is read on although inflight bytes are short: until it has given its bytes back.
  const Exchange* favoured = nullptr;
  bool wants_answer_room = false;  // bytes are short, so whoever has held many for long goes
  bool wants_request_room = false;
  uint64_t tasks_outstanding = 0;    // deferred and not run yet
  std::atomic<uint32_t> streams{0};  // connections with streams, for other threads
};

}  // namespace kyro
