// The HTTP server: listening sockets and N reactor threads in front of one Handler.
//
//   auto server = HttpServer::start(config, handler);   // listening and serving when it returns
//   server.value()->bound_port();
//   server.value()->drain(10000);                       // graceful; or stop()
//
// Shutting down: stop_accepting() closes the listening sockets (new connections are refused,
// existing ones go on). drain() lets requests that have begun finish (their answers say
// "Connection: close"), closes idle connections, ends streams through on_drain(), and after its
// deadline closes the rest. stop() closes everything at once. All of them, and the destructor,
// return only when every deferred task has been posted: whoever holds tasks must post them.
//
// Thread rule: wake_streams(), connections() and bound_port() from any thread; the others from one.
// Ownership: owns threads, sockets and connections; the handler must outlive it.
#pragma once

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/clock.h"
#include "kyro/base/mutex.h"
#include "kyro/base/thread.h"
#include "kyro/net/server/reactor.h"

namespace kyro {

class HttpServer {
 public:
  // Fails with the address and the reason: "127.0.0.1:3030: address in use".
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(const HttpServerConfig& config,
                                                                 Handler& handler) {
    auto server = std::unique_ptr<HttpServer>(new HttpServer(config, handler));
    KYRO_TRY(server->open());
    return server;
  }

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() { stop(); }

  // The TCP port; 0 if only a Unix socket is listened on.
  [[nodiscard]] uint16_t bound_port() const { return bound_port_; }
  // Those of HttpServerConfig::also.
  [[nodiscard]] const std::vector<uint16_t>& also_bound_ports() const { return also_ports_; }
  [[nodiscard]] uint32_t connections() const {
    return shared_.connections.load(std::memory_order_relaxed);
  }
  // Bytes of requests that are buffered or deferred.
  [[nodiscard]] uint64_t inflight_bytes() const {
    return shared_.inflight_bytes.load(std::memory_order_relaxed);
  }

  // Parked streams call produce() again soon. Cheap when there are none; calls coalesce. What the
  // streams are to find must have been stored before.
  void wake_streams() {
    for (const auto& reactor : reactors_) reactor->wake_streams();
  }

  // Storage is short of descriptors: of all connections that wait for their clients, those go that
  // have held most for longest.
  void shed_for_storage() {
    static_cast<void>(Reactor::make_room({.wanted = Shedding::kMost}, shedding_, reactors_,
                                         monotonic_ns() / 1'000'000));
  }

  // For a watchdog: whether every reactor has turned since the last call, which asks them to.
  [[nodiscard]] bool has_turned() {
    const bool all = std::all_of(reactors_.begin(), reactors_.end(),
                                 [](const auto& reactor) { return reactor->has_answered(); });
    for (const auto& reactor : reactors_) reactor->ask_alive();
    return all;
  }

  void stop_accepting() {
    if (threads_.empty()) return;
    for (const auto& reactor : reactors_) reactor->command(Reactor::Command::kStopAccepting);
    for (const auto& reactor : reactors_) reactor->wait_until_doors_closed();
    listeners_.clear();  // also removes the path of the Unix socket
  }

  // True if everything finished in time.
  bool drain(uint64_t deadline_ms) {
    stop_accepting();
    for (const auto& reactor : reactors_) reactor->command(Reactor::Command::kDrain);
    bool in_time = true;
    {
      const uint64_t began_ns = monotonic_ns();
      const uint64_t deadline_ns = deadline_ms * 1'000'000;
      const MutexLock lock(mutex_);
      for (uint64_t passed_ns = 0; running_ != 0 && passed_ns < deadline_ns;
           passed_ns = monotonic_ns() - began_ns) {
        left_.wait_for(mutex_, deadline_ns - passed_ns);
      }
      in_time = running_ == 0;
    }
    stop();
    return in_time;
  }

  void stop() {
    stop_accepting();
    for (const auto& reactor : reactors_) reactor->command(Reactor::Command::kStop);
    for (Thread& thread : threads_) thread.join();
    threads_.clear();
    listeners_.clear();
  }

 private:
  HttpServer(const HttpServerConfig& config, Handler& handler) : shared_(config, handler) {}

  [[nodiscard]] Status open() {
    const HttpServerConfig& config = shared_.config;
    if (config.listen_tcp) {
      Result<std::unique_ptr<Listener>> tcp = Listener::open_tcp(config.host, config.port);
      KYRO_TRY(tcp);
      bound_port_ = tcp.value()->port();
      listeners_.push_back(std::move(tcp).value());
    }
    for (const ListenAddress& address : config.also) {
      Result<std::unique_ptr<Listener>> tcp = Listener::open_tcp(address.host, address.port);
      KYRO_TRY(tcp);
      also_ports_.push_back(tcp.value()->port());
      listeners_.push_back(std::move(tcp).value());
    }
    if (!config.unix_path.empty()) {
      Result<std::unique_ptr<Listener>> local =
          Listener::open_unix(config.unix_path, config.unix_mode);
      KYRO_TRY(local);
      listeners_.push_back(std::move(local).value());
    }
    const unsigned count = config.threads == 0 ? 1 : config.threads;
    for (unsigned i = 0; i < count; ++i) reactors_.push_back(std::make_unique<Reactor>(shared_, i));
    for (const auto& reactor : reactors_) KYRO_TRY(reactor->open(listeners_, reactors_, shedding_));
    {
      const MutexLock lock(mutex_);
      running_ = count;
    }
    // Signals are for the thread that made the server, except those a thread causes itself.
    sigset_t blocked;
    sigset_t before;
    sigfillset(&blocked);
    for (const int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) {
      sigdelset(&blocked, own);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    Status started;
    for (const auto& reactor : reactors_) {
      Thread thread;
      started = thread.start([this, at = reactor.get()] {
        at->run();
        const MutexLock lock(mutex_);
        --running_;
        left_.notify_all();
      });
      if (!started.ok()) break;
      threads_.push_back(std::move(thread));
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started.ok()) abandon();
    return started;
  }

  // Ends the reactors that were started, where others could not be: those never answer.
  void abandon() {
    for (size_t i = 0; i < threads_.size(); ++i) {
      reactors_[i]->command(Reactor::Command::kStop);
      threads_[i].join();
    }
    threads_.clear();
  }

  ServerShared shared_;
  uint16_t bound_port_ = 0;
  std::vector<uint16_t> also_ports_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Shedding shedding_;
  Reactor::Reactors reactors_;
  std::vector<Thread> threads_;
  Mutex mutex_;
  CondVar left_;
  unsigned running_ KYRO_GUARDED_BY(mutex_) = 0;  // reactors that have not left
};

}  // namespace kyro
