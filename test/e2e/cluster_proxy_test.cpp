// What scripts/deploy/cluster has for other programs, in them: HAProxy in front of replicas, TLS
// between a replica and etcd, systemd's drop-in, the demonstration.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "test/support/cluster/etcd_cluster.h"
#include "test/support/readme.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using std::chrono::steady_clock;

bool has_etcd_and(const char* program) {
  if (!has_etcd()) return false;
  if (access(program, X_OK) == 0) return true;
  WARN("skipped: " << program << " is not installed");
  return false;
}

// HAProxy with one of the configurations, in which some words are others.
class Proxy {
 public:
  Proxy(const TempDir& dir, const std::string& config,
        const std::vector<std::pair<std::string, std::string>>& words) {
    std::string text = read_file("scripts/deploy/cluster/" + config);
    text = replace_all(text, "log /dev/log local0", "log stdout format raw local0");
    for (const auto& [from, to] : words) {
      INFO(from);
      REQUIRE(contains(text, from));
      text = replace_all(text, from, to);
    }
    write_file(dir.file(config), text);
    process_.emplace(Args{"/usr/sbin/haproxy", "-db", "-f", dir.file(config)});
  }
  ~Proxy() {
    process_->signal(SIGTERM);
    process_->wait();
  }

 private:
  std::optional<Process> process_;
};

std::string loopback(uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

// Asks until the answer has that status; between two states there are others.
HttpResponse ask_until(const HttpEndpoint& endpoint, std::string_view method,
                       const std::string& target, std::string_view body, int status) {
  HttpClient client(endpoint);
  const auto until = steady_clock::now() + kProcessTimeout;
  HttpResponse response;
  do {
    response = {};
    if (client.request(method, target, body, &response).ok() && response.status == status) break;
  } while (steady_clock::now() < until);
  return response;
}

}  // namespace

TEST_CASE("HAProxy spreads reads over replicas, and writes go on at the next one", "[e2e]") {
  if (!has_etcd_and("/usr/sbin/haproxy")) return;
  TempDir dir;
  EtcdCluster members(1);
  std::vector<std::unique_ptr<ServerProcess>> replicas;
  std::vector<std::pair<std::string, std::string>> words;
  const uint16_t port = free_loopback_port();
  words.emplace_back("bind 127.0.0.1:3030", "bind " + loopback(port));
  for (size_t i = 0; i < 3; ++i) {
    replicas.push_back(std::make_unique<ServerProcess>(
        dir.file(std::to_string(i)), Args{"--log", members.log_url("proxy"), "--threads", "1"}));
    words.emplace_back("127.0.0.1:303" + std::to_string(i + 1), loopback(replicas[i]->port()));
  }
  const Proxy proxy(dir, "haproxy_replicas.cfg", words);
  const HttpEndpoint endpoint = parse_endpoint(loopback(port)).value();
  CHECK(ask_until(endpoint, "PUT", kv_path(1), "one", 201).status == 201);
  Client client(endpoint);
  const std::string tag(client.get(kv_path(1) + "?min_offset=0").header("etag"));
  CHECK(tag == "\"0\"");
  // Each request on a connection of its own: they are spread.
  for (int i = 0; i < 30; ++i) {
    Client fresh(endpoint);
    CHECK(fresh.get(kv_path(1) + "?min_offset=0", {{"Connection", "close"}}).body == "one");
  }
  size_t asked = 0;
  for (const auto& replica : replicas) {
    const std::string count =
        Client(*replica).metric("kyrodb_http_requests_total{route=\"kv\",code=\"200\"}");
    asked += count.empty() || count == "0" ? 0U : 1U;
  }
  CHECK(asked == 3);
  CHECK(client.call("POST", "/v1/mget", "{\"keys\":[1]}").status == 200);

  replicas[0]->kill_hard();
  CHECK(ask_until(endpoint, "PUT", kv_path(2), "two", 201).status == 201);
  for (int i = 0; i < 30; ++i) {
    CHECK(Client(endpoint).get(kv_path(2) + "?consistency=latest").body == "two");
  }
  // Without etcd nobody takes writes, and the readers stay.
  members.kill_hard(0);
  const HttpResponse refused = ask_until(endpoint, "PUT", kv_path(3), "three", 503);
  CHECK(refused.status == 503);
  CHECK_FALSE(refused.header("retry-after").empty());
  CHECK(ask_until(endpoint, "GET", kv_path(2), "", 200).body == "two");
}

TEST_CASE("Through HAProxy a replica speaks TLS to etcd, with a certificate of its own", "[e2e]") {
  if (!has_etcd_and("/usr/sbin/haproxy")) return;
  TempDir dir;
  const Outcome made = run_program(
      {"/bin/bash", "-ec",
       "cd " + dir.path() +
           "\nkey='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'"
           "\nopenssl req -x509 $key -subj /CN=ca -keyout ca.key -out ca.pem"
           "\nfor who in member client; do"
           "\n  openssl req $key -subj /CN=localhost -keyout $who.key -out $who.csr"
           "\n  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n"
           "extendedKeyUsage=serverAuth,clientAuth\\n' >ext"
           "\n  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
           "-extfile ext -out $who.pem"
           "\ndone\ncat client.pem client.key >both.pem"});
  INFO(made.err);
  REQUIRE(made.exit_code == 0);
  const std::string member = loopback(free_loopback_port());
  const std::string peer = "http://" + loopback(free_loopback_port());
  Process etcd({kEtcd,
                "--name",
                "m",
                "--data-dir",
                dir.file("m"),
                "--listen-client-urls",
                "https://" + member,
                "--advertise-client-urls",
                "https://" + member,
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                "m=" + peer,
                "--cert-file",
                dir.file("member.pem"),
                "--key-file",
                dir.file("member.key"),
                "--client-cert-auth",
                "--trusted-ca-file",
                dir.file("ca.pem")});
  const bool is_up = etcd.wait_for_err("ready to serve client requests");
  INFO(etcd.err());
  REQUIRE(is_up);
  const uint16_t port = free_loopback_port();
  const Proxy proxy(dir, "haproxy_etcd_tls.cfg",
                    {{"127.0.0.1:2381", loopback(port)},
                     {"127.0.0.1:2382", loopback(free_loopback_port())},
                     {"127.0.0.1:2383", loopback(free_loopback_port())},
                     {"etcd1.example.com:2379", member},
                     {"etcd2.example.com:2379", member},
                     {"etcd3.example.com:2379", member},
                     {"/etc/kyrodb/etcd-ca.pem", dir.file("ca.pem")},
                     {"/etc/kyrodb/etcd-client.pem", dir.file("both.pem")}});
  const std::string log = "http://" + loopback(port) + "/tls";
  ServerProcess a(dir.file("a"), {"--log", log});
  CHECK(ask_until(a.endpoint(), "PUT", kv_path(1), "over TLS", 201).status == 201);
  ServerProcess b(dir.file("b"), {"--log", log});
  CHECK(ask_until(b.endpoint(), "GET", kv_path(1) + "?consistency=latest", "", 200).body ==
        "over TLS");
  // Plain HTTP is not answered there.
  HttpResponse response;
  HttpClient plain(parse_endpoint(member).value());
  const Status status = plain.request("GET", "/version", {}, &response);
  CHECK((!status.ok() || response.status != 200));
}

TEST_CASE("The demonstration cluster does what it says to try", "[e2e]") {
  if (!has_etcd()) return;
  TempDir dir;
  Process demo({"/bin/bash", "scripts/deploy/cluster/demo.sh", server_binary(), dir.file("demo")},
               {}, {"BASE_PORT=" + std::to_string(getpid() % 10'000 + 20'000)});
  const bool is_up = demo.wait_for_out("Ctrl-C ends all of it.");
  INFO(demo.err());
  REQUIRE(is_up);
  std::istringstream text(demo.out());
  std::vector<std::string> outputs;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("  ")) continue;
    const Outcome outcome = run_program({"/bin/bash", "-c", line});
    INFO(line << "\n" << outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    outputs.push_back(outcome.out);
  }
  REQUIRE(outputs.size() == 11);
  CHECK(contains(outputs[0], "offset: 0"));
  CHECK(outputs[1] == "hello");
  CHECK(outputs[2] == "hello");
  CHECK(outputs[7] == "again");
  CHECK(outputs[9] == "again");
  CHECK(contains(outputs[10], "log_unreachable"));
  demo.signal(SIGINT);
  CHECK(demo.wait().exit_code == 0);
}

}  // namespace kyro::test
