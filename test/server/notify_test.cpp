// What a service manager hears: the tests play its socket.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/net/server/http_server.h"
#include "kyro/server/api.h"
#include "kyro/server/life_signs.h"
#include "kyro/server/notify.h"
#include "test/support/cluster/served_replicas.h"
#include "test/support/engine_harness.h"
#include "test/support/gate_fs.h"
#include "test/support/http/http_test_util.h"
#include "test/support/manager_socket.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

std::string abstract_name() {
  static int count = 0;
  return "@kyro-test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

TEST_CASE("A manager is reached by the path of its socket and by a name without one") {
  TempDir dir;
  for (const std::string& address : {dir.file("notify"), abstract_name()}) {
    INFO(address);
    ManagerSocket socket(address);
    ServiceManager manager(address, 5'000'000);
    manager.tell("READY=1\nSTATUS=x");
    CHECK(socket.next() == "READY=1\nSTATUS=x");
    manager.tell_reloading();
    CHECK(socket.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    CHECK(manager.watchdog_interval_ns() == 2'500'000'000);
    CHECK_FALSE(socket.has_message());
  }
}

TEST_CASE("Without a manager, or with one that is not there, nothing happens") {
  TempDir dir;
  log_config().level = LogLevel::kOff;
  ServiceManager().tell("READY=1");
  CHECK(ServiceManager("", 1000).watchdog_interval_ns() == 0);
  for (const std::string& address :
       {std::string("relative"), std::string("vsock:2:1"), "/" + std::string(200, 'x'),
        dir.file("absent"), "@" + std::string(200, 'x')}) {
    ServiceManager manager(address, 0);
    manager.tell("READY=1");
    manager.tell_reloading();
  }
  log_config().level = LogLevel::kInfo;
}

TEST_CASE("A watchdog meant for another process is not fed") {
  const std::string address = abstract_name();
  ManagerSocket socket(address);
  setenv("NOTIFY_SOCKET", address.c_str(), 1);
  setenv("WATCHDOG_USEC", "3000000", 1);
  CHECK(ServiceManager::from_environment().watchdog_interval_ns() == 1'500'000'000);
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  CHECK(ServiceManager::from_environment().watchdog_interval_ns() == 1'500'000'000);
  setenv("WATCHDOG_PID", "1", 1);
  CHECK(ServiceManager::from_environment().watchdog_interval_ns() == 0);
  setenv("WATCHDOG_USEC", "soon", 1);
  unsetenv("WATCHDOG_PID");
  CHECK(ServiceManager::from_environment().watchdog_interval_ns() == 0);
  unsetenv("WATCHDOG_USEC");
  unsetenv("NOTIFY_SOCKET");
}

// Holds the reactor that asks it until it is let go.
class HoldingHandler final : public Handler {
 public:
  void on_headers(Exchange& x) override { x.set_max_body_bytes(0); }
  void on_request(Exchange& x) override {
    std::unique_lock lock(mutex_);
    is_held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return is_released_; });
    x.respond(200, "text/plain", "ok");
  }
  void wait_until_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_held_; });
  }
  void release() {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_held_ = false;
  bool is_released_ = false;
};

TEST_CASE("A server with a reactor that hangs has not turned") {
  HoldingHandler handler;
  HttpServerConfig config;
  config.host = "127.0.0.1";
  config.threads = 2;
  auto server = HttpServer::start(config, handler);
  REQUIRE(server.ok());
  HttpServer& running = **server;
  const auto turns = [&] {
    while (!running.has_turned()) std::this_thread::yield();
  };
  for (int i = 0; i < 5; ++i) turns();

  HttpClient client(parse_endpoint("127.0.0.1:" + std::to_string(running.bound_port())).value());
  REQUIRE(client.send("GET", "/", {}).ok());
  handler.wait_until_held();
  static_cast<void>(running.has_turned());
  for (int i = 0; i < 100; ++i) CHECK_FALSE(running.has_turned());
  handler.release();
  HttpResponse response;
  REQUIRE(client.receive(&response).ok());
  for (int i = 0; i < 5; ++i) turns();
}

TEST_CASE("A flush that hangs is neither ready nor fed to the watchdog until it goes on") {
  const QuietLog quiet;
  FaultFs fs;
  GateFs gate(fs);
  Options options = small_options(gate);
  options.stall_ms = 1;
  auto engine = must_open(options);
  AccessControl access({});
  Api api(access, options, {}, 1);
  api.set_engine(engine.get());
  HttpServerConfig config;
  config.host = "127.0.0.1";
  config.threads = 1;
  auto server = HttpServer::start(config, api);
  REQUIRE(server.ok());
  HttpClient client(parse_endpoint("127.0.0.1:" + std::to_string((*server)->bound_port())).value());
  const auto body_of = [&](const char* path, int status) {
    HttpResponse response;
    REQUIRE(client.send("GET", path, {}).ok());
    REQUIRE(client.receive(&response).ok());
    CHECK(response.status == status);
    return response.body;
  };
  const std::string address = abstract_name();
  ManagerSocket socket(address);
  ServiceManager manager(address, 20'000);
  LifeSigns life(**server, *engine, nullptr, manager, "here");
  const auto is_fed = [&] {
    while (socket.has_message()) socket.next();
    life.look();
    return socket.has_message();
  };
  while (!is_fed()) std::this_thread::yield();
  CHECK(body_of("/ready", 200) == "{\"status\":\"ready\"}");

  must_put(*engine, 1, "one");
  gate.close_gate();
  Status flushed;
  std::thread snapshot([&] { flushed = engine->snapshot(); });
  gate.wait_for_visitor();
  const auto flush_stalls = [&] {
    const Stalls stalls = engine->stalls();
    const Stall* stall = find_stall(stalls);
    return stall != nullptr && stall->role == std::string_view("flush");
  };
  while (!flush_stalls()) std::this_thread::yield();
  CHECK(body_of("/ready", 503) == "{\"status\":\"stalled\",\"role\":\"flush\",\"seconds\":0}");
  CHECK(body_of("/metrics", 200).find("\nkyrodb_ready 0\n") != std::string::npos);
  for (int i = 0; i < 100; ++i) CHECK_FALSE(is_fed());

  gate.open_gate();
  snapshot.join();
  CHECK(flushed.ok());
  CHECK(body_of("/ready", 200) == "{\"status\":\"ready\"}");
  while (!is_fed()) std::this_thread::yield();
  (*server)->stop();
}

TEST_CASE("A service manager hears of start, reload, heartbeats and stop, in that order", "[e2e]") {
  TempDir dir;
  const std::string address = abstract_name();
  ManagerSocket socket(address);
  ServerProcess server(dir.file("data"), {"--auth-token", "t"}, "127.0.0.1",
                       {"NOTIFY_SOCKET=" + address, "WATCHDOG_USEC=20000"});
  CHECK(socket.next() == "STATUS=replaying the log");
  CHECK(socket.next() == "READY=1\nSTATUS=serving 127.0.0.1:" + std::to_string(server.port()));
  for (int i = 0; i < 3; ++i) CHECK(socket.next() == "WATCHDOG=1");
  server.process().signal(SIGHUP);
  CHECK(socket.next_event().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(socket.next_event() == "READY=1");
  CHECK(server.stop().exit_code == 0);
  CHECK(socket.next_event().starts_with("STOPPING=1\nSTATUS="));
  CHECK_FALSE(socket.has_message());
}

TEST_CASE("A replica asks its manager for time until it has caught up, or knows that it cannot",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(1);
  CHECK(replicas.client(0).call("PUT", "/v1/kv/1", "one").status == 201);
  CHECK(replicas.server(0).stop().exit_code == 0);
  replicas.etcd().process(0).signal(SIGSTOP);  // nobody knows yet that it does not answer
  const std::string address = abstract_name();
  ManagerSocket socket(address);
  replicas.server(0).start({"NOTIFY_SOCKET=" + address});
  CHECK(socket.next() == "STATUS=replaying the log");
  std::string last = socket.next();
  CHECK(last == "EXTEND_TIMEOUT_USEC=10000000\nSTATUS=catching up with the shared log");
  while (last.starts_with("EXTEND_TIMEOUT_USEC=")) last = socket.next();
  CHECK(last.starts_with("READY=1\nSTATUS=serving "));
  CHECK(Client(replicas.server(0)).get("/v1/kv/1").body == "one");
  CHECK(replicas.server(0).stop().exit_code == 0);
}

TEST_CASE("A server that cannot open its store never says that it is ready", "[e2e]") {
  TempDir dir;
  const std::string address = dir.file("notify");
  ManagerSocket socket(address);
  const ServerProcess holder(dir.file("data"));
  const Outcome outcome =
      run_program(ServerProcess::command(dir.file("data"), {}), {}, {"NOTIFY_SOCKET=" + address});
  CHECK(outcome.exit_code == 1);
  CHECK(socket.next() == "STATUS=replaying the log");
  CHECK_FALSE(socket.has_message());
}

}  // namespace
}  // namespace kyro::test
