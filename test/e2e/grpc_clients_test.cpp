// The server asked by the gRPC libraries that people use: Debian's for Python, and grpc-js. The
// tests themselves are in test/clients, in the languages of the libraries.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/grpc_clients.h"
#include "test/support/readme.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

// An example of the API's page, asking a server of its own.
std::string example(const std::string& language, const ServerProcess& server) {
  return replace_all(Readme("scripts/api/README.md").block(language), "127.0.0.1:3030",
                     "127.0.0.1:" + std::to_string(server.port()));
}

}  // namespace

TEST_CASE("gRPC for Python calls every method, streams both ways, and comes back after a restart",
          "[e2e]") {
  if (!has_python_client()) {
    WARN(kNoPythonClient);
    return;
  }
  const Outcome outcome = run_program(
      {"/usr/bin/python3", "-B", "test/clients/client_test.py", server_binary(), "scripts/api"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.err, "\nOK\n"));
}

TEST_CASE("Subscriptions of gRPC go on after a restart without gap or duplicate, or learn they lag",
          "[e2e]") {
  if (!has_python_client()) {
    WARN(kNoPythonClient);
    return;
  }
  const Outcome outcome =
      run_program({"/usr/bin/python3", "-B", "test/clients/subscription_test.py", server_binary(),
                   "scripts/api"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.err, "\nOK\n"));
}

TEST_CASE("grpc-js calls methods, streams both ways, gives up, and comes back after a restart",
          "[e2e]") {
  if (!has_node_client()) {
    WARN(kNoNodeClient);
    return;
  }
  const Outcome outcome = run_program(
      {"/usr/bin/env", "node", "test/clients/client_test.js", server_binary(), "scripts/api"}, {},
      node_environment());
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(contains(outcome.out, "all of it"));
}

TEST_CASE("The examples for gRPC print what their page says, or what they were written for",
          "[e2e]") {
  const TempDir dir;
  const ServerProcess server(dir.file("data"));
  if (has_python_client()) {
    // Each command is followed by what it prints.
    std::string command, wanted;
    const auto run = [&] {
      if (command.empty()) return;
      const Outcome outcome = run_program(
          {"/bin/bash", "-c",
           "grpcurl() { /usr/bin/python3 -B test/clients/grpcurl.py \"$@\"; }\n" + command});
      INFO(command << "\n" << outcome.out << outcome.err);
      CHECK(outcome.out == wanted);
      wanted.clear();
    };
    std::istringstream lines(example("grpcurl", server));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("# ")) {
        wanted += line.substr(2) + "\n";
      } else {
        run();
        command = line;
      }
    }
    run();
    write_file(dir.file("example.py"), example("python", server));
    const Outcome python =
        run_program({"/bin/bash", "-c",
                     "protoc -Iscripts/api --python_out=" + dir.path() +
                         " kyrodb.proto && PYTHONPATH=test/clients /usr/bin/python3 -B " +
                         dir.file("example.py")});
    INFO(python.out << python.err);
    CHECK(python.out == "b'seven'\nABORTED\n1 b'hello'\n7 b'seven'\n100\n");
  } else {
    WARN(kNoPythonClient);
  }
  if (!has_node_client()) {
    WARN(kNoNodeClient);
    return;
  }
  write_file(dir.file("example.js"), example("javascript", server));
  const Outcome node =
      run_program({"/bin/bash", "-c", "cd scripts/api && node " + dir.file("example.js")}, {},
                  node_environment());
  INFO(node.out << node.err);
  CHECK(node.out == "eight\n");
}

}  // namespace kyro::test
