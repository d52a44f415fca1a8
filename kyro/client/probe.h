// `kyrodbctl latency` and `kyrodbctl bench`: what a server is like from here.
//
//   latency   one request is due every so often, whatever the answers do, and its time counts from
//             when it was due: a server that stops answering is charged for all that waited (open
//             loop, no coordinated omission)
//   bench     some connections, each of which asks again when it has its answer: for a first
//             impression. It writes into a range of keys that is empty, and removes them again.
//
// Thread rule: one thread. Ownership: connections are owned by the run.
#pragma once

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/latency_histogram.h"
#include "kyro/client/requests.h"
#include "kyro/client/status.h"

namespace kyro {
namespace ctl {

inline constexpr double kShownShares[] = {0.5, 0.9, 0.99, 0.999, 1};
inline constexpr const char* kShownNames[] = {"p50", "p90", "p99", "p99.9", "max"};

// 12345678 ns as "12.3 ms".
inline std::string in_nanos(uint64_t nanos) {
  return in_unit(static_cast<double>(nanos), 1000, {"ns", "us", "ms", "s"});
}

inline std::string latencies_json(const LatencyHistogram& latencies) {
  std::string out;
  for (size_t i = 0; i < std::size(kShownShares); ++i) {
    out.append(i == 0 ? "\"" : ",\"").append(kShownNames[i]).append("_us\":");
    append_decimal(out, latencies.quantile(kShownShares[i]) / 1000);
  }
  return out;
}

// Waits until one of these has something to read, or until `due_ns`.
inline void wait_for_input(std::vector<pollfd>& waiting, uint64_t due_ns) {
  const uint64_t now = monotonic_ns();
  const uint64_t left = due_ns > now ? due_ns - now : 0;
  const timespec most{.tv_sec = static_cast<time_t>(left / 1'000'000'000),
                      .tv_nsec = static_cast<long>(left % 1'000'000'000)};
  static_cast<void>(ppoll(waiting.data(), waiting.size(), &most, nullptr));
}

class LatencyProbe {
 public:
  LatencyProbe(CtlClient& client, std::string target, uint64_t every_ns)
      : client_(client), target_(std::move(target)), every_ns_(every_ns) {}

  // Until `secs` are over and what was asked is answered; the exit code.
  int run(uint64_t secs) {
    const uint64_t begin = monotonic_ns();
    const uint64_t end = begin + secs * 1'000'000'000;
    uint64_t due = begin;
    while (due < end || !open_.empty()) {
      const uint64_t now = monotonic_ns();
      const bool is_due = due < end && now >= due;
      // What is due while too much is unanswered already goes out later, and is charged for it.
      if (is_due && open_.size() < kOpenMax) {
        const Status status = client_.http.send("GET", target_, {}, client_.headers);
        if (!status.ok()) return ctl_no_answer(client_, status);
        open_.push_back(due);
        due += every_ns_;
        continue;
      }
      std::vector<pollfd> waiting{{client_.http.fd(), POLLIN, 0}};
      const bool must_answer = due >= end || open_.size() >= kOpenMax;
      if (!client_.http.has_input()) {
        wait_for_input(waiting, must_answer ? now + uint64_t{kQuickTimeoutMs} * 1'000'000 : due);
      }
      const bool is_there = client_.http.has_input() || waiting[0].revents != 0;
      if (!is_there && !must_answer) continue;
      if (const int code = receive(); code != kExitOk) return code;
    }
    return kExitOk;
  }
  [[nodiscard]] const LatencyHistogram& latencies() const { return latencies_; }

 private:
  static constexpr size_t kOpenMax = 1000;

  int receive() {
    HttpResponse response;
    const Status status = client_.http.receive(&response);
    if (!status.ok()) return ctl_no_answer(client_, status);
    if (response.status != 200 && response.status != 404) return ctl_fail_answer(response);
    latencies_.record(monotonic_ns() - open_.front());
    open_.pop_front();
    return kExitOk;
  }

  CtlClient& client_;
  const std::string target_;
  const uint64_t every_ns_;
  std::deque<uint64_t> open_;  // when the unanswered ones were due
  LatencyHistogram latencies_;
};

inline int run_latency(const CliCall& call) {
  const uint64_t rate = call.number("rate").value_or(100);
  const uint64_t secs = call.number("secs").value_or(10);
  const std::string key = std::to_string(call.number("key").value_or(0));
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    LatencyProbe probe(client, "/v1/get_fast/" + key, 1'000'000'000 / rate);
    if (const int code = probe.run(secs); code != kExitOk) return code;
    const LatencyHistogram& latencies = probe.latencies();
    if (client.as_json) {
      ctl_print("{\"requests\":" + std::to_string(latencies.count()) +
                ",\"rate\":" + std::to_string(rate) + "," + latencies_json(latencies) + "}\n");
      return ctl_finish_output(kExitOk);
    }
    TextTable table;
    table.add({"requests", grouped(latencies.count()) + ", " + grouped(rate) + " a second"});
    for (size_t i = 0; i < std::size(kShownShares); ++i) {
      table.add({kShownNames[i], in_nanos(latencies.quantile(kShownShares[i]))});
    }
    ctl_print(table.text());
    return ctl_finish_output(kExitOk);
  });
}

// Closed loop over some connections.
class QuickBench {
 public:
  struct Part {
    const char* name;
    std::string method;
    std::string body;
    uint64_t done = 0;
    uint64_t took_ns = 0;
    LatencyHistogram latencies = {};
  };
  static constexpr uint64_t kKeys = 100'000;

  QuickBench(const HttpEndpoint& endpoint, const HeaderList& headers, uint64_t connections,
             uint64_t first)
      : headers_(headers), first_(first) {
    for (uint64_t i = 0; i < connections; ++i) {
      lines_.push_back({std::make_unique<HttpClient>(endpoint, kQuickTimeoutMs)});
    }
  }

  // Runs one part for `secs`; the exit code.
  int run(Part& part, uint64_t secs, CtlClient& client) {
    const uint64_t begin = monotonic_ns();
    const uint64_t end = begin + secs * 1'000'000'000;
    size_t open = 0;
    for (Line& line : lines_) {
      if (const Status sent = send(line, part); !sent.ok()) return ctl_no_answer(client, sent);
      ++open;
    }
    std::vector<pollfd> waiting(lines_.size());
    while (open > 0) {
      for (size_t i = 0; i < lines_.size(); ++i) {
        waiting[i] = {lines_[i].is_open ? lines_[i].http->fd() : -1, POLLIN, 0};
      }
      wait_for_input(waiting, monotonic_ns() + uint64_t{kQuickTimeoutMs} * 1'000'000);
      for (size_t i = 0; i < lines_.size(); ++i) {
        if (waiting[i].revents == 0) continue;
        Line& line = lines_[i];
        HttpResponse response;
        const Status status = line.http->receive(&response);
        if (!status.ok()) return ctl_no_answer(client, status);
        if (response.status >= 300 && response.status != 404) return ctl_fail_answer(response);
        const uint64_t now = monotonic_ns();
        part.latencies.record(now - line.sent_ns);
        ++part.done;
        line.is_open = now < end;
        if (!line.is_open) {
          --open;
        } else if (const Status sent = send(line, part); !sent.ok()) {
          return ctl_no_answer(client, sent);
        }
      }
    }
    part.took_ns = monotonic_ns() - begin;
    return kExitOk;
  }

 private:
  struct Line {
    std::unique_ptr<HttpClient> http;
    uint64_t sent_ns = 0;
    bool is_open = false;
  };

  Status send(Line& line, const Part& part) {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    const uint64_t key = first_ + (random_ >> 33) % kKeys;
    line.is_open = true;
    line.sent_ns = monotonic_ns();
    return line.http->send(part.method, "/v1/kv/" + std::to_string(key), part.body, headers_);
  }

  const HeaderList& headers_;
  const uint64_t first_;
  std::vector<Line> lines_;
  uint64_t random_ = 1;
};

// One request whose answer is needed to go on; the exit code.
inline int ask(CtlClient& client, std::string_view method, const std::string& target,
               std::string* body) {
  HttpResponse response;
  const Status status = client.http.request(method, target, {}, &response, client.headers);
  if (!status.ok()) return ctl_no_answer(client, status);
  if (response.status != 200) return ctl_fail_answer(response);
  *body = std::move(response.body);
  return kExitOk;
}

inline void print_bench(const CtlClient& client, std::span<const QuickBench::Part> parts) {
  std::string json = "{\"first_impression\":true";
  TextTable table;
  table.add({"", "a second", "p50", "p90", "p99", "p99.9", "max"});
  for (const QuickBench::Part& part : parts) {
    const uint64_t rate = part.done * 1'000'000'000 / std::max<uint64_t>(part.took_ns, 1);
    json.append(",\"").append(part.name).append("\":{\"per_second\":");
    json.append(std::to_string(rate)).append(",");
    json.append(latencies_json(part.latencies)).append("}");
    std::vector<std::string> row{part.name, grouped(rate)};
    for (const double share : kShownShares) row.push_back(in_nanos(part.latencies.quantile(share)));
    table.add(std::move(row));
  }
  ctl_print(client.as_json ? json + "}\n" : table.text());
}

inline int run_bench(const CliCall& call) {
  const uint64_t secs = call.number("secs").value_or(3);
  const uint64_t connections = call.number("connections").value_or(16);
  const uint64_t first =
      std::min(call.number("start").value_or(uint64_t{1} << 63), UINT64_MAX - QuickBench::kKeys);
  const std::string end = "&end=" + std::to_string(first + QuickBench::kKeys);
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    const auto endpoint = endpoint_of(call);
    if (!endpoint.ok()) return ctl_usage_error(endpoint.status().message());
    std::string body;
    const std::string range = "/v1/count?start=" + std::to_string(first) + end;
    if (const int counted = ask(client, "GET", range, &body); counted != kExitOk) return counted;
    if (json_number_field(body, "count") != 0) {
      return ctl_fail("there are keys already from " + std::to_string(first) +
                      " on, which would be lost: choose others with --start");
    }
    std::fprintf(stderr,
                 "For a first impression: one client on its machine, %s, 64 bytes a value.\n",
                 several(connections, "connection").c_str());
    QuickBench::Part parts[] = {{"put", "PUT", std::string(64, 'x')}, {"get", "GET", {}}};
    int code = kExitOk;
    {
      QuickBench bench(*endpoint, client.headers, connections, first);
      for (QuickBench::Part& part : parts) {
        if (code == kExitOk) code = bench.run(part, secs, client);
      }
    }
    client.http.close();
    for (std::optional<uint64_t> next = first; next; next = json_number_field(body, "next")) {
      const std::string rest = "/v1/scan?start=" + std::to_string(*next) + end;
      const int removed = ask(client, "DELETE", rest, &body);
      if (removed != kExitOk) return removed;
    }
    if (code == kExitOk) print_bench(client, parts);
    return ctl_finish_output(code);
  });
}

}  // namespace ctl
}  // namespace kyro
