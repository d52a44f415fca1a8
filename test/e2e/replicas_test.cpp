// Servers that share a log in real etcd.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "test/support/cluster/etcd_cluster.h"
#include "test/support/cluster/served_replicas.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("What one replica has acknowledged the others have under the same offset", "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2);
  Client& a = replicas.client(0);
  Client& b = replicas.client(1);
  const HttpResponse made = a.call("PUT", "/v1/kv/7", "seven");
  CHECK(made.status == 201);
  CHECK(offset_of(made) == 0);
  // The other one has not seen it, or has: either way it may not say that there is no such version.
  const HttpResponse changed = b.call("PUT", "/v1/kv/7", "eight", {{"If-Match", "\"0\""}});
  CHECK(changed.status == 204);
  CHECK(offset_of(changed) == 1);
  CHECK(a.call("PUT", "/v1/kv/7", "late", {{"If-Match", "\"0\""}}).status == 412);
  CHECK(a.get("/v1/kv/7").body == "eight");
  CHECK(a.call("DELETE", "/v1/kv/7").status == 204);
  CHECK(b.call("DELETE", "/v1/kv/7").status == 404);
  CHECK(b.next_offset() == 3);
  for (size_t i = 0; i < 2; ++i) CHECK(replicas.server(i).stop().exit_code == 0);
  for (size_t i = 0; i < 2; ++i) require_verified(replicas.server(i).data_dir());
}

TEST_CASE("A replica that starts again has what was written meanwhile, and a new one all",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2);
  CHECK(replicas.client(0).call("PUT", "/v1/kv/1", "one").status == 201);
  CHECK(replicas.client(1).call("PUT", "/v1/kv/2", "two").status == 201);
  CHECK(replicas.server(1).stop().exit_code == 0);
  CHECK(replicas.client(0).call("PUT", "/v1/kv/3", "three").status == 201);
  replicas.start_again(1);
  replicas.add();
  for (size_t i = 1; i < 3; ++i) {
    // A "no" of a replica is one of the log: so after this everything is here.
    CHECK(replicas.client(i).call("DELETE", "/v1/kv/99").status == 404);
    CHECK(replicas.client(i).next_offset() == 3);
    CHECK(replicas.client(i).get("/v1/kv/3").body == "three");
  }
}

TEST_CASE("Without etcd a store with data starts, serves reads and stops; a new one says why not",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(1, {"--log-timeout-ms", "500"});
  CHECK(replicas.client(0).call("PUT", "/v1/kv/1", "one").status == 201);
  CHECK(replicas.server(0).stop().exit_code == 0);
  replicas.etcd().kill_hard(0);
  replicas.start_again(0);
  CHECK(replicas.client(0).get("/v1/kv/1").body == "one");
  const HttpResponse refused = replicas.client(0).call("PUT", "/v1/kv/2", "two");
  CHECK(refused.status == 503);
  CHECK(refused.header("retry-after") == "1");
  CHECK_THAT(refused.body, Contains("\"error\":\"log_unreachable\""));
  CHECK_THAT(refused.body, Contains("a write may have happened, or still happen"));
  CHECK(replicas.server(0).stop().exit_code == 0);

  TempDir dir;
  Args command = ServerProcess::command(dir.file("new"), replicas.flags());
  const Outcome outcome = run_program(command);
  CHECK(outcome.exit_code == 1);
  CHECK_THAT(outcome.err, Contains("the shared log does not answer"));
}

TEST_CASE("The password of etcd's user is read from a file like that of a token", "[e2e]") {
  TempDir dir;
  const std::string file = dir.file("password");
  const Args flags{"--log", "http://127.0.0.1:1/x", "--log-user", "kyro", "--log-password-file",
                   file,    "--log-timeout-ms",     "100"};
  const Args command = ServerProcess::command(dir.file("data"), flags);
  CHECK_THAT(run_program(command).err, Contains("--log-password-file: " + file + ": No such file"));
  write_file(file, "\n");
  CHECK_THAT(run_program(command).err, Contains("--log-password-file: " + file + " is empty"));
  write_file(file, "pass word\n");
  CHECK_THAT(run_program(command).err, Contains("the shared log does not answer"));
}

}  // namespace kyro::test
