// What hostile networks do to a server: too many connections, too few descriptors, clients that
// never finish, signals at bad moments. The built binary, watched from outside.
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// Everything the server says until it closes.
std::string read_to_end(HttpClient& client) {
  std::string all;
  char piece[4096];
  for (;;) {
    pollfd waiting{client.fd(), POLLIN, 0};
    if (poll(&waiting, 1, 30000) != 1) return all + "(time is up)";
    const ssize_t n = recv(client.fd(), piece, sizeof piece, 0);
    if (n <= 0) return all;
    all.append(piece, static_cast<size_t>(n));
  }
}

// User and system time of a process so far.
uint64_t cpu_ms(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  uint64_t user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
}

// A line of /proc/PID/status in KiB.
uint64_t status_kib(pid_t pid, std::string_view name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(line.find(':') + 1));
  }
  return 0;
}

// While in scope this process may have as many descriptors as it is ever allowed.
class ManyDescriptors {
 public:
  ManyDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit raised = before_;
    raised.rlim_cur = raised.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) now_ = raised.rlim_cur;
  }
  ManyDescriptors(const ManyDescriptors&) = delete;
  ManyDescriptors& operator=(const ManyDescriptors&) = delete;
  ~ManyDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  [[nodiscard]] uint64_t now() const { return now_; }

 private:
  rlimit before_{};
  uint64_t now_ = 0;
};

// A program whose first thread is held where it is about to open a file of that name, while its
// other threads go on. Only the thread that made it may let it go.
class HeldAtOpen {
 public:
  HeldAtOpen(const Args& command, std::string_view name) : process_(stopped(command)) {
    const long options = PTRACE_O_TRACESYSGOOD;
    is_held_ = ptrace(PTRACE_SEIZE, process_.pid(), nullptr, options) == 0;
    if (!is_held_) return;
    ptrace(PTRACE_INTERRUPT, process_.pid(), nullptr, nullptr);
    ::kill(process_.pid(), SIGCONT);
    int status = 0;
    for (int signal = 0; waitpid(process_.pid(), &status, __WALL) == process_.pid();) {
      REQUIRE(WIFSTOPPED(status));
      signal = WSTOPSIG(status);
      if (signal == (SIGTRAP | 0x80) && is_opening(name)) return;
      const bool is_of_the_program =
          status >> 16 == 0 && signal != (SIGTRAP | 0x80) && signal != SIGTRAP && signal != SIGSTOP;
      REQUIRE(ptrace(PTRACE_SYSCALL, process_.pid(), nullptr,
                     static_cast<long>(is_of_the_program ? signal : 0)) == 0);
    }
    FAIL("the program has gone");
  }
  [[nodiscard]] bool is_held() const { return is_held_; }
  void let_go() { REQUIRE(ptrace(PTRACE_DETACH, process_.pid(), nullptr, nullptr) == 0); }
  [[nodiscard]] Process& process() { return process_; }

 private:
  static Args stopped(const Args& command) {
    Args args{"/bin/sh", "-c", "kill -STOP $$; exec \"$0\" \"$@\""};
    args.insert(args.end(), command.begin(), command.end());
    return args;
  }
  [[nodiscard]] bool is_opening(std::string_view name) const {
    __ptrace_syscall_info call{};
    const auto size = reinterpret_cast<void*>(sizeof call);
    const bool is_known = ptrace(PTRACE_GET_SYSCALL_INFO, process_.pid(), size, &call) > 0 &&
                          call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == SYS_openat;
    if (!is_known) return false;
    std::ifstream memory("/proc/" + std::to_string(process_.pid()) + "/mem", std::ios::binary);
    memory.seekg(static_cast<std::streamoff>(call.entry.args[1]));
    std::string path(name.size() + 1, '\0');
    memory.read(path.data(), static_cast<std::streamsize>(path.size()));
    return path == std::string(name) + '\0';
  }

  Process process_;
  bool is_held_ = false;
};

}  // namespace

TEST_CASE("While it recovers, the server says so, answers probes and nothing else", "[e2e]") {
  TempDir dir;
  const std::string path = dir.file("socket");
  ServerProcess server(dir.file("data"), {"--unix-socket", path});
  {
    Client client(server);
    REQUIRE(client.call("PUT", "/v1/kv/1", "v").status == 201);
    REQUIRE(client.call("POST", "/v1/snapshot").status == 200);
  }
  REQUIRE(server.stop().exit_code == 0);
  HeldAtOpen held(ServerProcess::command(dir.file("data"), {"--unix-socket", path}), "run-1.rmi");
  if (!held.is_held()) {
    WARN("skipped: no program may be traced here");
    return;
  }
  Process& process = held.process();
  Client client(unix_endpoint(path));
  while (!client.connect().ok()) std::this_thread::yield();
  const HttpResponse ready = client.get("/ready");
  CHECK(ready.status == 503);
  CHECK(ready.body == "{\"status\":\"recovering\",\"replayed\":0}");
  CHECK(client.get("/health").status == 200);
  CHECK(client.get("/build_info").status == 200);
  CHECK(client.metric("kyrodb_ready") == "0");
  for (const char* target : {"/v1/kv/1", "/v1/get_fast/1", "/v1/offset", "/v1/replay"}) {
    INFO(target);
    const HttpResponse refused = client.get(target);
    check_error(refused, 503, "recovering");
    CHECK(refused.header("retry-after") == "1");
  }
  check_error(client.call("PUT", "/v1/kv/2", "v"), 503, "recovering");
  check_error(client.call("POST", "/v1/compact"), 503, "recovering");
  CHECK(client.get("/nothing").status == 404);
  CHECK(process.err().find("serving") == std::string::npos);
  held.let_go();
  REQUIRE(process.wait_for_err(" serving address="));
  CHECK(client.get("/ready").status == 200);
  CHECK(client.get("/v1/kv/1").body == "v");
  CHECK(client.get("/v1/kv/2").status == 404);
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("Slow heads and slow bodies are 408, at the deadlines that were asked for", "[e2e]") {
  Served s({"--header-timeout-ms", "50", "--body-timeout-ms", "50", "--idle-timeout-ms", "50"});
  for (const std::string bytes :
       {"GET /v1/kv/1", "GET /v1/kv/1 HTTP/1.1\r\n", "GET /v1/kv/1 HTTP/1.1\r\nHost: a\r\n",
        "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
        "PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha"}) {
    INFO(bytes);
    Client slow(s.server);
    slow.must_send(bytes);
    const std::string all = read_to_end(slow);
    CHECK(all.starts_with("HTTP/1.1 408 "));
    CHECK(all.find("\r\nConnection: close\r\n") != all.npos);
    CHECK(all.find("{\"error\":\"timeout\"") != all.npos);
  }
  Client idle(s.server);
  REQUIRE(idle.connect().ok());
  CHECK(read_to_end(idle).empty());
  Client fresh(s.server);
  CHECK(fresh.get("/v1/kv/1").status == 404);
  CHECK(fresh.metric("kyrodb_http_rejected_total{reason=\"header_timeout\"}") == "3");
  CHECK(fresh.metric("kyrodb_http_rejected_total{reason=\"body_timeout\"}") == "2");
}

TEST_CASE("Connections over the caps get 503, of one address 429, and a free place is given again",
          "[e2e]") {
  for (const auto& [flag, status, reason] :
       {std::tuple{"--max-connections", "HTTP/1.1 503 ", "connections"},
        std::tuple{"--max-connections-per-ip", "HTTP/1.1 429 ", "connections_per_ip"}}) {
    INFO(flag);
    Served s({flag, "2"});
    CHECK(s.client.get("/health").status == 200);
    {
      Client second(s.server);
      CHECK(second.get("/health").status == 200);
      Client third(s.server);
      REQUIRE(third.connect().ok());
      const std::string all = read_to_end(third);
      CHECK(all.starts_with(status));
      CHECK(all.find("\r\nRetry-After: 1\r\n") != all.npos);
      CHECK(all.find("\r\nConnection: close\r\n") != all.npos);
      CHECK(s.client.metric("kyrodb_http_rejected_total{reason=\"" + std::string(reason) + "\"}") ==
            "1");
    }
    while (s.client.metric("kyrodb_http_connections") != "1") std::this_thread::yield();
    CHECK(Client(s.server).get("/health").status == 200);
  }
}

TEST_CASE("Without descriptors it sheds connections, serves on, and does not spin", "[e2e]") {
  TempDir dir;
  std::string shell = "ulimit -n 64; exec";
  const std::string path = dir.file("socket");
  for (const std::string& word : ServerProcess::command(
           dir.file("data"), {"--unix-socket", path, "--header-timeout-ms", "500"})) {
    shell += " '" + word + "'";
  }
  Process process({"/bin/sh", "-c", shell});
  REQUIRE(process.wait_for_err(" serving address="));
  CHECK(process.err().find(" few_descriptors limit=64 ") != std::string::npos);
  Client kept(unix_endpoint(path));
  REQUIRE(kept.call("PUT", "/v1/kv/1", "v").status == 201);
  Client unfinished(unix_endpoint(path));
  REQUIRE(unfinished.connect().ok());
  std::vector<std::unique_ptr<Client>> crowd;
  size_t shed = 0;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Client>(unix_endpoint(path)));
    REQUIRE(crowd.back()->connect().ok());
  }
  while (kept.metric("kyrodb_http_rejected_total{reason=\"connections\"}") == "0") {
  }
  for (const auto& one : crowd) {
    pollfd state{one->fd(), POLLIN | POLLRDHUP, 0};
    if (poll(&state, 1, 0) == 1) ++shed;
  }
  CHECK(shed > 0);
  CHECK(kept.get("/v1/kv/1").body == "v");
  // Half a second of being full, by the server's own clock for a head that does not end, costs next
  // to nothing: a server that spins would use all of it.
  const uint64_t before = cpu_ms(process.pid());
  unfinished.must_send("GET");
  CHECK(unfinished.read_until("\r\n\r\n").starts_with("HTTP/1.1 408 "));
  CHECK(cpu_ms(process.pid()) - before < 200);
  crowd.clear();
  while (kept.metric("kyrodb_http_connections") != "1") std::this_thread::yield();
  CHECK(Client(unix_endpoint(path)).get("/v1/kv/1").body == "v");
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("Ten thousand idle connections cost under a KiB each, and requests go on", "[e2e]") {
  constexpr size_t kIdle = 10'000;
  const ManyDescriptors descriptors;
  if (descriptors.now() < kIdle + 1000) {
    WARN("skipped: at most " << descriptors.now() << " descriptors are allowed here");
    return;
  }
  Served s({"--max-connections", "10100", "--idle-timeout-ms", "600000"});
  REQUIRE(s.client.call("PUT", "/v1/kv/1", "v").status == 201);
  const pid_t pid = s.server.process().pid();
  const uint64_t before = status_kib(pid, "RssAnon");
  std::vector<int> idle;
  const SocketAddress address = s.server.endpoint().address;
  for (size_t i = 0; i < kIdle; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    idle.push_back(fd);
    REQUIRE(fd >= 0);
    REQUIRE(connect(fd, address.get(), address.size) == 0);
    // Each has been used once: what a request needs is given back.
    constexpr std::string_view kRequest = "GET /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    REQUIRE(::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(kRequest.size()));
  }
  char answer[512];
  for (const int fd : idle) REQUIRE(recv(fd, answer, sizeof answer, 0) > 100);
  CHECK(s.client.metric("kyrodb_http_connections") == std::to_string(kIdle + 1));
  const uint64_t after = status_kib(pid, "RssAnon");
  INFO((after - before) * 1024 / kIdle << " bytes a connection");
  CHECK((after - before) * 1024 <= kIdle * 1024 * (kSanitized ? 8 : 1));  // sanitizers pad
  for (int i = 0; i < 1000; ++i) REQUIRE(s.client.get("/v1/get_fast/1").body == "v");
  for (const int fd : idle) close(fd);
  while (s.client.metric("kyrodb_http_connections") != "1") std::this_thread::yield();
}

TEST_CASE("A request that is under way while the server stops hears that it is draining", "[e2e]") {
  Served s;
  Client asking(s.server);
  asking.must_send("GET /ready HTTP/1.1\r\nHost: localhost\r\n");
  Client writing(s.server);
  writing.must_send("PUT /v1/kv/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n");
  // Both heads have been begun: what comes later on the first connection is answered later.
  while (s.client.metric("kyrodb_http_connections") != "3") std::this_thread::yield();
  s.server.process().signal(SIGTERM);
  REQUIRE(s.client.wait_for_close());
  const HttpResponse ready = asking.raw("\r\n");
  CHECK(ready.status == 503);
  CHECK(ready.body == "{\"status\":\"draining\"}");
  CHECK(ready.header("connection") == "close");
  const HttpResponse written = writing.raw("\r\nx");
  CHECK(written.status == 201);
  CHECK(s.server.process().wait().exit_code == 0);
}

TEST_CASE("A second signal ends a drain at once, and nothing acknowledged is lost", "[e2e]") {
  TempDir dir;
  ServerProcess server(dir.file("data"), {"--drain-secs", "3600"});
  Client client(server), stuck(server);
  REQUIRE(client.call("PUT", "/v1/kv/1", "v").status == 201);
  stuck.must_send(
      "PUT /v1/kv/2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
      "Expect: 100-continue\r\n\r\n");
  stuck.read_until("100 Continue\r\n\r\n");
  server.process().signal(SIGTERM);
  REQUIRE(server.process().wait_for_err("stopping"));
  REQUIRE(client.wait_for_close());  // the drain has begun
  CHECK(server.stop(SIGINT).exit_code == 128 + SIGINT);
  require_verified(dir.file("data"));
  server.start();
  CHECK(Client(server).get("/v1/kv/1").body == "v");
  CHECK(Client(server).get("/v1/kv/2").status == 404);
}
