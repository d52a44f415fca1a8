// Clients of replicas that write down what they were promised: counters that are incremented by
// their version, records that are put once, some of them deleted, and pairs in one batch; each of
// what was acknowledged is asked for on another replica, too.
//
//   ClusterLoad load(replicas, seed, 3);
//   load.wait_for(1000, seconds(10));
//   load.stop();
//   for (each replica) load.check(contents of it);
//   CHECK(load.violations().empty());
//
// What was not answered may have happened: a counter is between what was acknowledged and what was
// tried, a record may be there or not.
//
// Thread rule: one owner; the clients are its own threads. Ownership: the replicas outlive it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "test/support/cluster/replicas.h"

namespace kyro::test {

class ClusterLoad {
 public:
  using Contents = std::map<uint64_t, std::string>;

  ClusterLoad(const Replicas& replicas, uint64_t seed, size_t clients);
  ~ClusterLoad() { stop(); }

  // Until so many more writes are acknowledged; false when that takes longer.
  bool wait_for(uint64_t more, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    const uint64_t wanted = acknowledged_ + more;
    return changed_.wait_for(lock, limit, [&] { return acknowledged_ >= wanted; });
  }
  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  // After stop(): what a replica that has everything must hold.
  void check(const Contents& contents);

  struct Totals {
    uint64_t acknowledged = 0;
    uint64_t unanswered = 0;  // or refused, for want of the log
    uint64_t conflicts = 0;   // 412
    uint64_t reads = 0;       // that had to see a write, and did
  };
  [[nodiscard]] Totals totals() const {
    const std::lock_guard lock(mutex_);
    return {acknowledged_, unanswered_, conflicts_, reads_};
  }
  [[nodiscard]] std::vector<std::string> violations() const {
    const std::lock_guard lock(mutex_);
    return violations_;
  }

 private:
  static constexpr uint64_t kCounters = 50;
  static constexpr uint64_t kKeysOfClient =
      1'000'000'000;  // client i has those from (i + 1) times it

  enum class Fate : uint8_t { kThere, kGone, kUnknown };
  struct Pair {
    uint64_t first = 0;
    bool is_acknowledged = false;
  };
  struct Counter {
    uint64_t acknowledged = 0;
    uint64_t unanswered = 0;
  };

  class Caller;

  // What a client has seen, under the lock.
  template <class Note>
  void note(Note change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  void violate(std::string what) {
    note([&] {
      if (violations_.size() < 100) violations_.push_back(std::move(what));
    });
  }

  const Replicas& replicas_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Counter, kCounters> counters_{};
  std::map<uint64_t, Fate> records_;
  std::vector<Pair> pairs_;
  uint64_t acknowledged_ = 0;
  uint64_t unanswered_ = 0;
  uint64_t conflicts_ = 0;
  uint64_t reads_ = 0;
  std::vector<std::string> violations_;
  std::vector<std::thread> threads_;
};

// One client: it stays with a replica until that does not answer.
class ClusterLoad::Caller {
 public:
  Caller(ClusterLoad& load, uint64_t seed, size_t number)
      : load_(load),
        random_(seed),
        replica_(number % load.replicas_.size()),
        next_key_((number + 1) * kKeysOfClient) {}

  void run() {
    while (!load_.stopping_) {
      const uint64_t dice = random_() % 100;
      if (dice < 40) {
        increment(random_() % kCounters);
      } else if (dice < 75) {
        put();
      } else if (dice < 85) {
        put_pair();
      } else {
        remove();
      }
    }
  }

 private:
  struct Answer {
    int status = 0;  // 0: none
    std::string etag;
    std::string body;
  };

  Answer ask(size_t replica, std::string_view method, const std::string& target,
             std::string_view body = {}, const HeaderList& headers = {}) {
    HttpClient client(load_.replicas_.endpoint(replica), 10'000);
    HttpResponse response;
    if (!client.request(method, target, body, &response, headers).ok()) return {};
    return {response.status, std::string(response.header("etag")), response.body};
  }
  Answer ask(std::string_view method, const std::string& target, std::string_view body = {},
             const HeaderList& headers = {}) {
    Answer answer = ask(replica_, method, target, body, headers);
    if (answer.status == 0 || answer.status >= 500) {
      replica_ = random_() % load_.replicas_.size();
    }
    return answer;
  }
  static bool is_success(const Answer& answer) { return answer.status / 100 == 2; }

  // What became of a write: true if it is acknowledged.
  bool note_write(const Answer& answer) {
    const bool is_done = is_success(answer);
    const bool is_known = is_done || answer.status == 412 || answer.status == 404;
    load_.note([&] {
      load_.acknowledged_ += is_done ? 1 : 0;
      load_.unanswered_ += is_known ? 0 : 1;
      load_.conflicts_ += answer.status == 412 ? 1 : 0;
    });
    const bool is_expected = is_known || answer.status == 0 || answer.status == 503;
    if (!is_expected) load_.violate("a write was answered " + describe(answer));
    return is_done;
  }
  static std::string describe(const Answer& answer) {
    return std::to_string(answer.status) + " " + answer.body;
  }

  void increment(uint64_t counter) {
    const Answer now = ask("GET", kv_path(counter));
    if (now.status != 200 && now.status != 404) return;
    const bool is_there = now.status == 200;
    const uint64_t value = is_there ? parse_u64(now.body).value_or(0) : 0;
    const HeaderList condition{is_there
                                   ? std::pair<std::string, std::string>("If-Match", now.etag)
                                   : std::pair<std::string, std::string>("If-None-Match", "*")};
    const Answer put = ask("PUT", kv_path(counter), std::to_string(value + 1), condition);
    const bool is_done = note_write(put);
    load_.note([&] {
      load_.counters_[counter].acknowledged += is_done ? 1 : 0;
      load_.counters_[counter].unanswered += is_done || put.status == 412 ? 0 : 1;
    });
  }

  void put() {
    const uint64_t key = next_key_++;
    const std::string value = std::to_string(key) + std::string(random_() % 1000, '.');
    const Answer answer = ask("PUT", kv_path(key), value);
    const bool is_done = note_write(answer);
    load_.note([&] { load_.records_[key] = is_done ? Fate::kThere : Fate::kUnknown; });
    if (is_done && random_() % 4 == 0) look_elsewhere(key, value, answer.etag);
  }

  // Another replica, asked for a state that has the write, has it or says that it does not.
  void look_elsewhere(uint64_t key, const std::string& value, const std::string& etag) {
    const std::string offset = etag.substr(1, etag.size() - 2);
    const std::string how =
        random_() % 2 == 0 ? "?min_offset=" + offset : std::string("?consistency=latest");
    const Answer got = ask(random_() % load_.replicas_.size(), "GET", kv_path(key) + how);
    if (got.status == 200 && got.body == value && got.etag == etag) {
      load_.note([&] { ++load_.reads_; });
    } else if (got.status != 0 && got.status != 503) {
      load_.violate("read of " + std::to_string(key) + how + ": " + describe(got));
    }
  }

  void remove() {
    if (next_key_ % kKeysOfClient == 0) return;
    const uint64_t key =
        next_key_ - 1 - random_() % std::min<uint64_t>(next_key_ % kKeysOfClient, 100);
    bool is_there = false;
    load_.note([&] {
      const auto at = load_.records_.find(key);
      is_there = at != load_.records_.end() && at->second == Fate::kThere;
    });
    if (!is_there) return;  // or a half of a pair
    const Answer answer = ask("DELETE", kv_path(key));
    if (answer.status == 404)
      load_.violate(std::to_string(key) + " is to be deleted, and not there");
    const bool is_done = note_write(answer);
    load_.note([&] { load_.records_[key] = is_done ? Fate::kGone : Fate::kUnknown; });
  }

  void put_pair() {
    const uint64_t first = next_key_;
    next_key_ += 2;
    std::string lines;
    for (const uint64_t key : {first, first + 1}) {
      lines += "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"" +
               std::to_string(first) + "\"}\n";
    }
    const bool is_done = note_write(ask("POST", "/v1/batch", lines));
    load_.note([&] { load_.pairs_.push_back({first, is_done}); });
  }

  ClusterLoad& load_;
  std::mt19937_64 random_;
  size_t replica_;
  uint64_t next_key_;
};

inline ClusterLoad::ClusterLoad(const Replicas& replicas, uint64_t seed, size_t clients)
    : replicas_(replicas) {
  for (size_t i = 0; i < clients; ++i) {
    threads_.emplace_back([this, seed, i] { Caller(*this, seed + i, i).run(); });
  }
}

inline void ClusterLoad::check(const Contents& contents) {
  for (uint64_t i = 0; i < kCounters; ++i) {
    const auto at = contents.find(i);
    const uint64_t value = at == contents.end() ? 0 : parse_u64(at->second).value_or(0);
    const Counter& counter = counters_[i];
    if (value < counter.acknowledged || value > counter.acknowledged + counter.unanswered) {
      violate("counter " + std::to_string(i) + " is " + std::to_string(value) + " after " +
              std::to_string(counter.acknowledged) + " acknowledged and " +
              std::to_string(counter.unanswered) + " unanswered increments");
    }
  }
  for (const auto& [key, fate] : records_) {
    const bool is_there = contents.contains(key);
    if (fate != Fate::kUnknown && is_there != (fate == Fate::kThere)) {
      violate("record " + std::to_string(key) + (is_there ? " was deleted" : " was acknowledged"));
    }
  }
  for (const Pair& pair : pairs_) {
    const size_t there = contents.count(pair.first) + contents.count(pair.first + 1);
    if (there == 1 || (pair.is_acknowledged && there == 0)) {
      violate("of the pair " + std::to_string(pair.first) + " are there " + std::to_string(there));
    }
  }
}

}  // namespace kyro::test
