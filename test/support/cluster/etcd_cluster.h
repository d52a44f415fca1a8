// Real etcd: Debian's etcd-server, members on loopback, or on machines of their own whose links can
// be cut.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kyro/replica/etcd_store.h"
#include "test/support/cluster/own_network.h"
#include "test/support/server_process.h"

namespace kyro::test {

inline constexpr const char* kEtcd = "/usr/bin/etcd";

inline bool has_etcd() {
  if (access(kEtcd, X_OK) == 0) return true;
  WARN("skipped: etcd (Debian: etcd-server) is not installed");
  return false;
}

// Members of one cluster, on ports that the kernel chose.
class EtcdCluster {
 public:
  explicit EtcdCluster(size_t size, Args flags = {}, const OwnNetwork* network = nullptr)
      : processes_(size), flags_(std::move(flags)), has_machines_(network != nullptr) {
    // Whoever is given such a port meanwhile keeps it: then the cluster begins anew on others.
    for (int tries = 1; !begin(); ++tries) REQUIRE(tries < 5);
  }

  [[nodiscard]] EtcdOptions options(const std::string& name) const {
    EtcdOptions options;
    for (const std::string& url : client_urls_) {
      options.endpoints.push_back(parse_endpoint(url).value());
    }
    options.name = name;
    return options;
  }
  [[nodiscard]] HttpEndpoint endpoint(size_t member) const {
    return parse_endpoint(client_urls_[member]).value();
  }
  // The one that a store asks.
  [[nodiscard]] size_t member_of(const EtcdStore& store) const {
    size_t member = 0;
    while (endpoint(member).name != store.endpoint()) ++member;
    return member;
  }
  [[nodiscard]] size_t size() const { return processes_.size(); }
  // As `--log` has them.
  [[nodiscard]] std::string log_url(const std::string& name) const {
    std::string out;
    for (const std::string& url : client_urls_) out += (out.empty() ? "" : ",") + url;
    return out + "/" + name;
  }
  [[nodiscard]] Process& process(size_t member) { return *processes_[member]; }
  void kill_hard(size_t member) {
    processes_[member]->signal(SIGKILL);
    CHECK(processes_[member]->wait().exit_code == 128 + SIGKILL);
    processes_[member].reset();
  }
  void start(size_t member) {
    std::string cluster;
    for (size_t i = 0; i < peer_urls_.size(); ++i) {
      cluster += (i == 0 ? "" : ",") + std::to_string(i) + "=" + peer_urls_[i];
    }
    const std::string name = std::to_string(member);
    Args argv{kEtcd, "--name", name, "--data-dir", dir_->file(name)};
    for (const char* what : {"listen", "advertise"}) {
      argv.insert(argv.end(), {std::string("--") + what + "-client-urls", client_urls_[member]});
    }
    for (const char* what : {"listen", "initial-advertise"}) {
      argv.insert(argv.end(), {std::string("--") + what + "-peer-urls", peer_urls_[member]});
    }
    argv.insert(argv.end(), {"--initial-cluster", cluster});
    argv.insert(argv.end(), flags_.begin(), flags_.end());
    if (has_machines_) argv = OwnNetwork::on_machine(member, argv);
    processes_[member] = std::make_unique<Process>(argv);
  }
  // What is on its disk now, for later; it has ended.
  void keep_data(size_t member) { copy_data(member, "", "-kept"); }
  void bring_back_data(size_t member) { copy_data(member, "-kept", ""); }
  void start_again(size_t member) {
    start(member);
    wait_until_up(member);
  }
  // Without a majority none is.
  void wait_until_up(size_t member) {
    bool is_up = false;
    // One that has much to read, on a busy machine, takes minutes.
    for (int tries = 0; tries < 3 && !is_up; ++tries) {
      is_up = processes_[member]->wait_for_err(kIsUp);
    }
    INFO(processes_[member]->err());
    REQUIRE(is_up);
  }

 private:
  void copy_data(size_t member, const std::string& from, const std::string& to) const {
    const std::string data = dir_->file(std::to_string(member));
    std::filesystem::remove_all(data + to);
    std::filesystem::copy(data + from, data + to, std::filesystem::copy_options::recursive);
  }

  static constexpr std::string_view kIsUp = "ready to serve client requests";

  bool begin() {
    dir_ = std::make_unique<TempDir>();
    client_urls_.clear();
    peer_urls_.clear();
    for (size_t i = 0; i < processes_.size(); ++i) {
      for (auto* urls : {&client_urls_, &peer_urls_}) {
        urls->push_back("http://" + (has_machines_ ? OwnNetwork::address(i) : "127.0.0.1") + ":" +
                        std::to_string(free_loopback_port()));
      }
    }
    for (size_t i = 0; i < processes_.size(); ++i) start(i);
    bool is_up = true;
    for (const auto& process : processes_) is_up = is_up && process->wait_for_err(kIsUp);
    return is_up;
  }
  std::vector<std::unique_ptr<Process>> processes_;
  const Args flags_;
  const bool has_machines_;
  std::unique_ptr<TempDir> dir_;
  std::vector<std::string> client_urls_;
  std::vector<std::string> peer_urls_;
};

}  // namespace kyro::test
