// Servers on one shared log, which are killed, stopped and begun anew while a load asks them.
//
// Thread rule: one thread does things to them; endpoint() from any. Ownership: their processes and
// data; the members of etcd outlive them.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "test/support/cluster/etcd_cluster.h"
#include "test/support/server_process.h"

namespace kyro::test {

class Replicas {
 public:
  Replicas(const EtcdCluster& cluster, size_t count, const Args& flags = {}) : endpoints_(count) {
    for (size_t i = 0; i < count; ++i) {
      Args all{"--log",        cluster.log_url("torture"),
               "--backup-dir", dir_.file("backups"),
               "--threads",    "1"};
      all.insert(all.end(), flags.begin(), flags.end());
      servers_.push_back(std::make_unique<ServerProcess>(data_dir(i), all));
      note_endpoint(i);
    }
  }

  [[nodiscard]] size_t size() const { return servers_.size(); }
  [[nodiscard]] ServerProcess& operator[](size_t i) { return *servers_[i]; }
  // Where it is, or was before it was killed.
  [[nodiscard]] HttpEndpoint endpoint(size_t i) const {
    const std::lock_guard lock(mutex_);
    return endpoints_[i];
  }

  void kill_hard(size_t i) { servers_[i]->kill_hard(); }
  void start(size_t i) {
    servers_[i]->start();
    note_endpoint(i);
  }

  // Replaces a replica, whose process has ended, by one that begins as a backup of another.
  void begin_anew(size_t i, size_t from) {
    const std::string name = "backup" + std::to_string(++backups_);
    const HttpResponse made = Client(*servers_[from]).call("POST", "/v1/backup?name=" + name);
    INFO(made.body);
    REQUIRE(made.status == 200);
    std::filesystem::remove_all(data_dir(i));
    const std::string backup = dir_.file("backups") + "/" + name;
    const Outcome restored = run_kyrodb({"restore", "--replica", backup, data_dir(i)});
    INFO(restored.out << restored.err);
    REQUIRE(restored.exit_code == 0);
    std::filesystem::remove_all(backup);
    start(i);
  }

 private:
  [[nodiscard]] std::string data_dir(size_t i) const {
    return dir_.file("data" + std::to_string(i));
  }
  void note_endpoint(size_t i) {
    const std::lock_guard lock(mutex_);
    endpoints_[i] = servers_[i]->endpoint();
  }

  const TempDir dir_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
  uint64_t backups_ = 0;
  mutable std::mutex mutex_;
  std::vector<HttpEndpoint> endpoints_;
};

}  // namespace kyro::test
