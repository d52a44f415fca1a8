// A signal that ends the server before it serves.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/server_process.h"

namespace kyro::test {

// The signal is pending before the program starts: it is there whenever recovery looks.
TEST_CASE("SIGTERM during recovery ends it with 0, and the next start has everything", "[e2e]") {
  for (const char* signal : {"TERM", "INT"}) {
    TempDir dir;
    {
      ServerProcess server(dir.file("data"));
      Client client(server);
      REQUIRE(client.call("PUT", "/v1/kv/1", "kept").status == 201);
      server.kill_hard();
    }
    const std::string block = std::string("--block-signal=") + signal;
    const std::string script = std::string("kill -") + signal + " $$; exec \"$0\" \"$@\"";
    Args argv{"/usr/bin/env", block, "sh", "-c", script};
    const Args serve = ServerProcess::command(dir.file("data"), {"--warm-on-start"});
    argv.insert(argv.end(), serve.begin(), serve.end());
    const Outcome outcome = run_program(argv);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.err.find(" stopped during=recovery") != std::string::npos);
    CHECK(outcome.err.find(" serving ") == std::string::npos);
    ServerProcess server(dir.file("data"));
    CHECK(Client(server).get("/v1/kv/1").body == "kept");
  }
}

}  // namespace kyro::test
