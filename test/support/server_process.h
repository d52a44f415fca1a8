// What the end-to-end tests share: they drive the built binary ($KYRO_BINARY, else build/kyrodb) as
// processes, over real sockets.
//
//   TempDir dir;
//   ServerProcess server(dir.file("data"), {"--fsync", "interval:50"});
//   Client client(server.endpoint());
//   CHECK(client.call("GET", "/health").status == 200);
//   CHECK(server.stop().exit_code == 0);
//
// Nothing here sleeps: whoever needs a state of a process waits for its event (a line on stderr, an
// exit), at most kProcessTimeout. Children die with the thread that started them, so a crashed test
// run leaves nothing behind.
//
// Thread rule: processes are started, stopped and asked by one thread. Ownership: a Process ends
// its child when it goes out of scope.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kyro/base/text/decimal.h"
#include "kyro/json/json_reader.h"
#include "kyro/net/client/http_client.h"
#include "test/support/test_util.h"

namespace kyro::test {

using Args = std::vector<std::string>;

inline constexpr std::chrono::seconds kProcessTimeout{60};

inline std::string server_binary() {
  const char* path = std::getenv("KYRO_BINARY");
  return std::filesystem::absolute(path != nullptr ? path : "build/kyrodb").string();
}
inline std::string client_binary() {
  return server_binary() + "ctl";
}

struct Outcome {
  int exit_code = -1;  // 128 + the signal if one ended it
  std::string out;
  std::string err;
};

// A child with all it writes collected.
class Process {
 public:
  // `argv[0]` is the program. `input` becomes its standard input. Variables in `environment`
  // ("NAME=value") are added to ours, from which those of the product are removed.
  explicit Process(const Args& argv, std::string_view input = {}, const Args& environment = {}) {
    INFO("is there a built binary? " << argv[0]);
    REQUIRE(access(argv[0].c_str(), X_OK) == 0);
    int in[2], out[2], err[2];
    for (int* pair : {in, out, err}) REQUIRE(pipe2(pair, O_CLOEXEC) == 0);
    Args env = inherited_environment();
    env.insert(env.end(), environment.begin(), environment.end());
    const std::vector<char*> arg_pointers = pointers(argv);
    const std::vector<char*> env_pointers = pointers(env);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      execve(arg_pointers[0], arg_pointers.data(), env_pointers.data());
      _exit(127);
    }
    for (const int fd : {in[0], out[1], err[1]}) close(fd);
    readers_[0] = std::thread([this, fd = out[0]] { collect(fd, &out_); });
    readers_[1] = std::thread([this, fd = err[0]] { collect(fd, &err_); });
    feeder_ = std::thread([fd = in[1], bytes = std::string(input)] { feed(fd, bytes); });
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      reap();
    }
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  // After SIGSTOP it returns when the process has stopped.
  void signal(int number) const {
    ::kill(pid_, number);
    siginfo_t info;
    if (number == SIGSTOP) ::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED);
  }

  // Waits until stderr (or stdout) contains `text`; false if the process ends (or time is up)
  // before.
  [[nodiscard]] bool wait_for_err(std::string_view text) { return wait_for(err_, text); }
  [[nodiscard]] bool wait_for_out(std::string_view text) { return wait_for(out_, text); }
  [[nodiscard]] std::string err() {
    const std::lock_guard lock(mutex_);
    return err_;
  }
  [[nodiscard]] std::string out() {
    const std::lock_guard lock(mutex_);
    return out_;
  }

  // Waits for the end.
  Outcome wait(std::chrono::seconds limit = kProcessTimeout) {
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_for(lock, limit, [&] { return closed_ == 2; })) {
        ::kill(pid_, SIGKILL);
        FAIL_CHECK("the process did not end in time; stderr: " << err_);
      }
    }
    reap();
    return {exit_code_, out_, err_};
  }

 private:
  bool wait_for(const std::string& stream, std::string_view text) {
    std::unique_lock lock(mutex_);
    const auto is_there = [&] { return stream.find(text) != stream.npos; };
    return changed_.wait_for(lock, kProcessTimeout, [&] { return is_there() || closed_ == 2; }) &&
           is_there();
  }
  static Args inherited_environment() {
    Args env;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      if (!std::string_view(*variable).starts_with("KYRODB_")) env.emplace_back(*variable);
    }
    return env;
  }
  static std::vector<char*> pointers(const Args& words) {
    std::vector<char*> out;
    for (const std::string& word : words) out.push_back(const_cast<char*>(word.c_str()));
    out.push_back(nullptr);
    return out;
  }
  void collect(int fd, std::string* into) {
    char piece[16384];
    ssize_t got = 0;
    while ((got = read(fd, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR)) {
      if (got < 0) continue;
      const std::lock_guard lock(mutex_);
      into->append(piece, static_cast<size_t>(got));
      changed_.notify_all();
    }
    close(fd);
    const std::lock_guard lock(mutex_);
    ++closed_;
    changed_.notify_all();
  }
  // A child that does not read its input must not end us.
  static void feed(int fd, std::string_view bytes) {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
    while (!bytes.empty()) {
      const ssize_t n = write(fd, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) break;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    close(fd);
  }
  void reap() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = -1;
    for (std::thread& reader : readers_) reader.join();
    feeder_.join();
  }

  pid_t pid_ = -1;
  int exit_code_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string out_;
  std::string err_;
  int closed_ = 0;  // of stdout and stderr
  std::thread readers_[2];
  std::thread feeder_;
};

inline Outcome run_program(const Args& argv, std::string_view input = {},
                           const Args& environment = {}) {
  return Process(argv, input, environment).wait();
}

// `kyrodb …`, to its end.
inline Outcome run_kyrodb(Args words, const Args& environment = {}) {
  words.insert(words.begin(), server_binary());
  return run_program(words, {}, environment);
}

// `kyrodbctl …`, to its end.
inline Outcome run_ctl(Args words, std::string_view input = {}) {
  words.insert(words.begin(), client_binary());
  return run_program(words, input);
}

// A store that nobody serves must be sound.
inline void require_verified(const std::string& data_dir) {
  const Outcome outcome = run_kyrodb({"verify", data_dir});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
}

// `kyrodb serve` on a port that the kernel chooses. The constructor returns once it serves.
class ServerProcess {
 public:
  explicit ServerProcess(std::string data_dir, Args flags = {}, std::string host = "127.0.0.1",
                         const Args& environment = {})
      : data_dir_(std::move(data_dir)), flags_(std::move(flags)), host_(std::move(host)) {
    start(environment);
  }

  [[nodiscard]] static Args command(const std::string& data_dir, const Args& flags,
                                    const std::string& host = "127.0.0.1") {
    Args argv{server_binary(), "serve", host, "0", "--data-dir", data_dir};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return argv;
  }

  void start(const Args& environment = {}) {
    process_.emplace(command(data_dir_, flags_, host_), "", environment);
    const bool is_serving =
        process_->wait_for_err(" serving address=") && process_->wait_for_err(" version=");
    INFO(process_->err());
    REQUIRE(is_serving);
    const std::string err = process_->err();
    const size_t begin = err.find("serving address=") + 16;
    const std::string_view address =
        std::string_view(err).substr(begin, err.find(' ', begin) - begin);
    const auto port = parse_u64(address.substr(address.rfind(':') + 1));
    REQUIRE(port.has_value());
    port_ = static_cast<uint16_t>(*port);
  }
  void start_with(Args flags) {
    flags_ = std::move(flags);
    start();
  }
  // Ends it with a signal and waits.
  Outcome stop(int number = SIGTERM) {
    process_->signal(number);
    Outcome outcome = process_->wait();
    process_.reset();
    return outcome;
  }
  void kill_hard() { REQUIRE(stop(SIGKILL).exit_code == 128 + SIGKILL); }

  [[nodiscard]] Process& process() { return *process_; }
  [[nodiscard]] const std::string& data_dir() const { return data_dir_; }
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] HttpEndpoint endpoint() const { return parse_endpoint(url()).value(); }

 private:
  std::string data_dir_;
  Args flags_;
  std::string host_;
  uint16_t port_ = 0;
  std::optional<Process> process_;
};

// A port of 127.0.0.1 that nobody listens on, for programs that have to be told one.
inline uint16_t free_loopback_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

// A client whose failures fail the test. For the test's own thread only: threads of a load use
// HttpClient.
class Client : public HttpClient {
 public:
  explicit Client(HttpEndpoint endpoint) : HttpClient(std::move(endpoint)) {}
  explicit Client(const ServerProcess& server) : HttpClient(server.endpoint()) {}

  HttpResponse call(std::string_view method, std::string_view target, std::string_view body = {},
                    const HeaderList& headers = {}) {
    HttpResponse response;
    const Status status = request(method, target, body, &response, headers);
    INFO(method << " " << target << ": " << status.to_string());
    REQUIRE(status.ok());
    return response;
  }
  HttpResponse get(std::string_view target, const HeaderList& headers = {}) {
    return call("GET", target, {}, headers);
  }
  // Bytes as they are, then one answer.
  HttpResponse raw(std::string_view bytes) {
    must_send(bytes);
    return next();
  }
  void must_send(std::string_view bytes) {
    const Status status = send_raw(bytes);
    INFO(status.to_string());
    REQUIRE(status.ok());
  }
  HttpResponse next(bool to_head = false) {
    HttpResponse response;
    const Status status = receive(&response, to_head);
    INFO(status.to_string());
    REQUIRE(status.ok());
    return response;
  }
  // What the server says next: for answers that are not whole, like 100 or a stream.
  std::string read_until(std::string_view text) {
    std::string got;
    char piece[4096];
    while (got.find(text) == got.npos) {
      pollfd waiting{fd(), POLLIN, 0};
      const int ready = poll(&waiting, 1, 30000);
      INFO("waiting for " << text << ", got " << got);
      REQUIRE(ready == 1);
      const ssize_t n = recv(fd(), piece, sizeof piece, 0);
      REQUIRE(n > 0);
      got.append(piece, static_cast<size_t>(n));
    }
    return got;
  }
  uint64_t next_offset() {
    const std::string body = get("/v1/offset").body;
    REQUIRE(body.starts_with("{\"offset\":"));
    const auto number = parse_u64(std::string_view(body).substr(10, body.find(',') - 10));
    REQUIRE(number.has_value());
    return *number;
  }
  // The value of a series on the metrics page, as text; empty if there is none.
  std::string metric(std::string_view series) {
    const std::string page = "\n" + get("/metrics").body;
    const size_t at = page.find("\n" + std::string(series) + " ");
    if (at == page.npos) return {};
    const size_t begin = at + series.size() + 2;
    return page.substr(begin, page.find('\n', begin) - begin);
  }
};

// Asks again until it is so, for at most that long.
template <class IsSo>
bool becomes(IsSo is_so, std::chrono::seconds within) {
  const auto until = std::chrono::steady_clock::now() + within;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

inline HeaderList bearer(const std::string& token) {
  return {{"Authorization", "Bearer " + token}};
}

inline HttpEndpoint unix_endpoint(const std::string& path) {
  return parse_endpoint("unix:" + path).value();
}

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  REQUIRE(file.flush().good());
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  INFO(path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

inline std::string kv_path(uint64_t key) {
  return "/v1/kv/" + std::to_string(key);
}

// The offset that an ETag names.
inline uint64_t offset_of(const HttpResponse& response) {
  const std::string_view tag = response.header("etag");
  REQUIRE(tag.size() > 2);
  const auto offset = parse_u64(tag.substr(1, tag.size() - 2));
  REQUIRE(offset.has_value());
  return *offset;
}

// A server on a fresh directory and a client that talks to it.
struct Served {
  explicit Served(Args flags = {}) : server(dir.file("data"), std::move(flags)), client(server) {}
  TempDir dir;
  ServerProcess server;
  Client client;
};

inline bool is_json(const HttpResponse& response) {
  JsonReader json(response.body);
  return response.header("content-type") == "application/json" && json.skip_value() &&
         json.finish().ok();
}

// The form of every error: a code, a sentence, a status.
inline void check_error(const HttpResponse& response, int status, std::string_view code) {
  INFO(response.status << " " << response.body);
  CHECK(response.status == status);
  CHECK(is_json(response));
  CHECK(response.body.starts_with("{\"error\":\"" + std::string(code) + "\",\"message\":\""));
  CHECK(!response.header("date").empty());
}

inline std::string put_body(std::string_view key, std::string_view value) {
  return "{\"key\":" + std::string(key) + ",\"value\":\"" + std::string(value) + "\"}";
}

}  // namespace kyro::test
