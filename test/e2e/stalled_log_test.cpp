// A log collector that stands still: stderr is a full pipe that nobody reads.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "test/support/manager_socket.h"
#include "test/support/server_process.h"

using namespace kyro;
using namespace kyro::test;

namespace {

// A server whose stderr is a full FIFO.
struct StalledServer {
  StalledServer() : pipe_path(dir.file("stderr")) {
    REQUIRE(mkfifo(pipe_path.c_str(), 0600) == 0);
    pipe = open(pipe_path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    REQUIRE(pipe >= 0);
    const std::string block(4096, '.');
    while (::write(pipe, block.data(), block.size()) > 0) {
    }
  }
  ~StalledServer() { ::close(pipe); }

  [[nodiscard]] Args command() const {
    std::string line = "exec";
    for (const std::string& word : ServerProcess::command(
             dir.file("data"),
             {"--log-level", "debug", "--request-log", "--unix-socket", dir.file("socket")})) {
      line += " '" + word + "'";
    }
    return {"/bin/sh", "-c", line + " 2>" + pipe_path};
  }
  [[nodiscard]] Args environment() const { return {"NOTIFY_SOCKET=" + dir.file("manager")}; }
  // Once the server says that it is ready. To ask it would be a line of its log each time.
  [[nodiscard]] std::unique_ptr<Client> client() {
    while (!manager.next().starts_with("READY=1")) {
    }
    auto made = std::make_unique<Client>(parse_endpoint("unix:" + dir.file("socket")).value());
    REQUIRE(made->get("/ready").status == 200);
    return made;
  }

  TempDir dir;
  ManagerSocket manager{dir.file("manager")};
  std::string pipe_path;
  int pipe = -1;
};

}  // namespace

TEST_CASE("While nobody reads its log a server writes, flushes, and stops", "[e2e]") {
  StalledServer stalled;
  Process process(stalled.command(), {}, stalled.environment());
  {
    const auto made = stalled.client();
    Client& client = *made;
    CHECK(client.call("PUT", "/v1/kv/1", "a").status == 201);
    CHECK(client.call("POST", "/v1/snapshot").status == 200);
    CHECK(client.call("POST", "/v1/compact").status == 200);
    CHECK(client.call("PUT", "/v1/kv/2", std::string(1 << 20, 'b')).status == 201);
    CHECK(client.get("/v1/kv/1").body == "a");
    CHECK(client.metric("kyrodb_log_lines_dropped_total") == "0");
  }
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("When its log is read again, a server's lines come in order", "[e2e]") {
  StalledServer stalled;
  Process process(stalled.command(), {}, stalled.environment());
  {
    const auto made = stalled.client();
    Client& client = *made;
    CHECK(client.call("PUT", "/v1/kv/1", "a").status == 201);
  }
  std::string text;
  REQUIRE(fcntl(stalled.pipe, F_SETFL, O_RDWR) == 0);
  char buffer[4096];
  while (text.find("route=kv status=201") == text.npos) {
    const ssize_t n = ::read(stalled.pipe, buffer, sizeof buffer);
    REQUIRE(n > 0);
    text.append(buffer, static_cast<size_t>(n));
  }
  CHECK(text.find("route=ready status=200") < text.find("route=kv status=201"));
  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}
