// Servers on one log in real etcd.
//
// Thread rule: the test's. Ownership: owns etcd and the servers, and their directories.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/support/cluster/etcd_cluster.h"
#include "test/support/server_process.h"

namespace kyro::test {

class ServedReplicas {
 public:
  // So many servers on so many members of etcd, with these flags beside the log's; and etcd's.
  explicit ServedReplicas(size_t count, Args flags = {}, size_t members = 1,
                          const Args& etcd_flags = {})
      : etcd_(members, etcd_flags), flags_(std::move(flags)) {
    for (size_t i = 0; i < count; ++i) add();
  }

  // One more server, on a new directory.
  void add() {
    const std::string data = dir_.file("data" + std::to_string(replicas_.size()));
    replicas_.push_back(std::make_unique<Replica>(data, flags()));
  }
  void start_again(size_t i) {
    replicas_[i]->server.start();
    replicas_[i]->client = std::make_unique<Client>(replicas_[i]->server);
  }

  [[nodiscard]] EtcdCluster& etcd() { return etcd_; }
  [[nodiscard]] ServerProcess& server(size_t i) { return replicas_[i]->server; }
  [[nodiscard]] Client& client(size_t i) { return *replicas_[i]->client; }
  // Of a server.
  [[nodiscard]] Args flags() const {
    Args flags{"--log", etcd_.log_url("test")};
    flags.insert(flags.end(), flags_.begin(), flags_.end());
    return flags;
  }

 private:
  struct Replica {
    Replica(const std::string& data, const Args& flags)
        : server(data, flags), client(std::make_unique<Client>(server)) {}
    ServerProcess server;
    std::unique_ptr<Client> client;
  };

  TempDir dir_;
  EtcdCluster etcd_;
  const Args flags_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

}  // namespace kyro::test
