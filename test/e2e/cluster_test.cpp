// Three servers on one log in three members of real etcd, while members and servers are killed,
// stopped and cut off, and servers are begun anew from backups of others: nothing acknowledged is
// missing, nothing happened twice, and in the end all hold the same.
//
// `make cluster-torture SECS=3600` does it for as long as you like; KYRO_TEST_SEED repeats a
// sequence of faults (not the moments that the clients meet them in).
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kyro/json/json_reader.h"
#include "test/support/cluster/cluster_load.h"
#include "test/support/cluster/etcd_cluster.h"
#include "test/support/cluster/own_network.h"
#include "test/support/cluster/replicas.h"
#include "test/support/volume.h"

namespace kyro::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// What a replica holds, each line as it says it: key, value and offset.
std::string export_of(const HttpEndpoint& endpoint) {
  HttpClient client(endpoint, 120'000);
  HttpResponse response;
  const auto until = steady_clock::now() + seconds(120);
  // Until it has caught up; what it says meanwhile comes a second later at the earliest.
  for (;;) {
    const Status status = client.request("GET", "/v1/scan?consistency=latest", {}, &response,
                                         {{"Accept", "application/x-ndjson"}});
    if (status.ok() && response.status == 200) return response.body;
    INFO(status.to_string() << " " << response.status << " " << response.body);
    REQUIRE(steady_clock::now() < until);
  }
}

ClusterLoad::Contents contents_of(std::string_view lines) {
  ClusterLoad::Contents out;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 1);
    if (!line.starts_with("{\"key\":")) {
      REQUIRE(line.starts_with("{\"complete\":true"));
      continue;
    }
    const size_t comma = line.find(',');
    const size_t value = line.find("\"value\":\"") + 9;
    const auto key = parse_u64(line.substr(7, comma - 7));
    REQUIRE(key.has_value());
    out[*key] = line.substr(value, line.find('"', value) - value);
  }
  return out;
}

// Does things to members and replicas, one after the other, and puts each right again.
class Torture {
 public:
  Torture(EtcdCluster& members, Replicas& replicas, ClusterLoad& load, bool has_links,
          uint64_t seed)
      : members_(members), replicas_(replicas), load_(load), has_links_(has_links), random_(seed) {}

  void round() {
    const size_t member = random_() % members_.size();
    const size_t replica = random_() % replicas_.size();
    const auto pause = milliseconds(4000 + random_() % 3000);
    switch (random_() % 8) {
      case 0:
        note("kill -9 of a member");
        members_.kill_hard(member);
        load_.wait_for(200, pause);
        return members_.start_again(member);
      case 1:
        note("SIGSTOP of a member");
        return stop_for(members_.process(member), pause);
      case 2:
        if (!has_links_) return;
        note("partition of a member");
        OwnNetwork::cut(member);
        wait(pause * 2);
        return OwnNetwork::mend(member);
      case 3:
        note("kill -9 of a replica");
        replicas_.kill_hard(replica);
        load_.wait_for(random_() % 2000, pause);
        return replicas_.start(replica);
      case 4:
        note("SIGSTOP of a replica");
        return stop_for(replicas_[replica].process(), pause);
      case 5:
        note("kill -9 of all members");
        for (size_t i = 0; i < members_.size(); ++i) members_.kill_hard(i);
        wait(milliseconds(500));
        for (size_t i = 0; i < members_.size(); ++i) members_.start(i);
        for (size_t i = 0; i < members_.size(); ++i) members_.wait_until_up(i);
        return;
      case 6:
        note("kill -9 of all replicas");
        for (size_t i = 0; i < replicas_.size(); ++i) replicas_.kill_hard(i);
        for (size_t i = 0; i < replicas_.size(); ++i) replicas_.start(i);
        return;
      default:
        note("a replica begun anew from a backup");
        replicas_.kill_hard(replica);
        return replicas_.begin_anew(replica, (replica + 1) % replicas_.size());
    }
  }

  // Servers that were away for longer than the log goes back begin anew, as the manual says.
  void begin_anew_whoever_has_to() {
    for (size_t i = 0; i < replicas_.size(); ++i) {
      const HttpResponse ready = Client(replicas_[i]).get("/ready");
      if (!contains(ready.body, "log_trimmed")) continue;
      note("a replica behind the trim");
      REQUIRE(replicas_[i].stop().exit_code == 0);
      replicas_.begin_anew(i, (i + 1) % replicas_.size());
    }
  }

  [[nodiscard]] const std::map<std::string, int>& faults() const { return faults_; }

 private:
  void note(const std::string& fault) {
    ++faults_[fault];
    UNSCOPED_INFO(fault);
  }
  // For as long as a fault lasts, whatever is acknowledged meanwhile.
  void wait(milliseconds time) { load_.wait_for(~uint64_t{0} >> 1, time); }
  void stop_for(Process& process, milliseconds time) {
    process.signal(SIGSTOP);
    wait(time);
    process.signal(SIGCONT);
  }

  EtcdCluster& members_;
  Replicas& replicas_;
  ClusterLoad& load_;
  const bool has_links_;
  std::mt19937_64 random_;
  std::map<std::string, int> faults_;
};

void torture(seconds time, uint64_t seed) {
  INFO("seed " << seed);
  const OwnNetwork network;
  if (!network.is_ok()) WARN("no partitions: network namespaces need root and iproute2");
  EtcdCluster members(3,
                      {"--auto-compaction-mode", "revision", "--auto-compaction-retention", "1000"},
                      network.is_ok() ? &network : nullptr);
  Replicas replicas(
      members, 3,
      {"--log-keep-bytes", "1MiB", "--delta-max-bytes", "256KiB", "--wal-segment-bytes", "256KiB"});
  ClusterLoad load(replicas, seed, 3);
  Torture torturer(members, replicas, load, network.is_ok(), seed);
  const auto begin = steady_clock::now();
  int rounds = 0;
  while (steady_clock::now() < begin + time && load.violations().empty()) {
    torturer.round();
    ++rounds;
    // A quiet moment: writes go on within it.
    CHECK(load.wait_for(100, seconds(60)));
    if (rounds % 50 == 0) {
      std::printf("%d rounds, %llu acknowledged\n", rounds,
                  static_cast<unsigned long long>(load.totals().acknowledged));
      std::fflush(stdout);
    }
    torturer.begin_anew_whoever_has_to();
  }
  load.stop();
  std::optional<std::string> first;
  for (size_t i = 0; i < replicas.size(); ++i) {
    const std::string lines = export_of(replicas.endpoint(i));
    if (!first) {
      load.check(contents_of(lines));
      first = lines;
    }
    CHECK(lines == *first);
  }
  for (size_t i = 0; i < replicas.size(); ++i) {
    CHECK(replicas[i].stop().exit_code == 0);
    require_verified(replicas[i].data_dir());
  }
  const ClusterLoad::Totals totals = load.totals();
  std::printf(
      "cluster torture: seed %llu, %d rounds, %llu acknowledged, %llu unanswered, "
      "%llu conflicts, %llu reads of fresh writes elsewhere, %zu violations\n",
      static_cast<unsigned long long>(seed), rounds,
      static_cast<unsigned long long>(totals.acknowledged),
      static_cast<unsigned long long>(totals.unanswered),
      static_cast<unsigned long long>(totals.conflicts),
      static_cast<unsigned long long>(totals.reads), load.violations().size());
  for (const auto& [fault, times] : torturer.faults())
    std::printf("  %4d %s\n", times, fault.c_str());
  for (const std::string& violation : load.violations()) UNSCOPED_INFO(violation);
  CHECK(load.violations().empty());
  CHECK(totals.acknowledged > 0);
  CHECK(totals.reads > 0);
}

}  // namespace

TEST_CASE("Three replicas on three members of etcd lose nothing whatever is killed", "[e2e]") {
  if (!has_etcd()) return;
  on_own_thread([] { torture(seconds(kSanitized ? 60 : 90), test_seed(20261129)); });
}

TEST_CASE("replicas on etcd are tortured for as long as KYRO_TORTURE_SECS says",
          "[.cluster-torture]") {
  if (!has_etcd()) return;
  const char* text = std::getenv("KYRO_TORTURE_SECS");
  const uint64_t secs = text != nullptr ? parse_u64(text).value_or(600) : 600;
  on_own_thread([&] { torture(seconds(secs), test_seed(std::random_device{}())); });
}

}  // namespace kyro::test
