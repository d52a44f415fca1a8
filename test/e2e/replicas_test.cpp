// Servers that share a log in real etcd.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "kyro/base/clock.h"
#include "test/support/cluster/etcd_cluster.h"
#include "test/support/cluster/served_replicas.h"
#include "test/support/grpc_clients.h"
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

TEST_CASE("With the ETag of a write every replica reads it, and so it does with latest", "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2);
  for (uint64_t i = 0; i < 50; ++i) {
    Client& writer = replicas.client(i % 2);
    Client& reader = replicas.client(1 - i % 2);
    const std::string value = "value " + std::to_string(i);
    const HttpResponse written = writer.call("PUT", "/v1/kv/7", value);
    const uint64_t offset = offset_of(written);
    CHECK(offset == i);
    const std::string min_offset = "min_offset=" + std::to_string(offset);
    const std::string wanted = i % 3 == 0 ? min_offset : "consistency=latest";
    CHECK(reader.get("/v1/kv/7?" + wanted).body == value);
    CHECK(reader.get("/v1/kv/7").body == value);  // from then on
    // Whatever has come there already: the newest version is known, and no other.
    const HeaderList newest{{"If-Match", "\"" + std::to_string(offset) + "\""}};
    if (i % 10 == 9) {
      CHECK(reader.call("PUT", "/v1/kv/7", value, newest).status == 204);
      CHECK(writer.call("DELETE", "/v1/kv/7", "", newest).status == 412);
      CHECK(writer.call("PUT", "/v1/kv/7", value).status == 204);
      return;
    }
  }
}

TEST_CASE("A replica says how it stands to the log, in words, figures and a table", "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2);
  CHECK(replicas.client(0).call("PUT", "/v1/kv/7", "seven").status == 201);
  const std::string log = replicas.client(1).get("/v1/offset?consistency=latest").body;
  CHECK_THAT(log, Contains("{\"offset\":1,\"database\":\""));
  CHECK_THAT(log,
             Contains("\"shared_log\":{\"name\":\"test\",\"state\":\"following\",\"head\":1,"));
  CHECK_THAT(log, Contains("\"lag\":0,\"lag_ms\":"));
  CHECK_THAT(log, Contains("\"last_writer\":\"another\"}"));
  CHECK_THAT(replicas.client(0).get("/v1/offset").body, Contains("\"last_writer\":\"this\"}"));
  CHECK_THAT(replicas.client(1).get("/v1/status").body, Contains("\"shared_log\":{\"name\":"));
  CHECK(replicas.client(0).get("/ready?writes=1").body == "{\"status\":\"ready\"}");
  for (size_t i = 0; i < 2; ++i) {
    CHECK(replicas.client(i).metric("kyrodb_log_up") == "1");
    CHECK(replicas.client(i).metric("kyrodb_log_head_offset") == "1");
    CHECK(replicas.client(i).metric("kyrodb_log_lag_records") == "0");
    CHECK(replicas.client(i).metric("kyrodb_log_stopped{reason=\"log_trimmed\"}") == "0");
  }
  CHECK(replicas.client(0).metric("kyrodb_log_append_seconds_count") == "1");

  const std::string urls = replicas.server(0).url() + "," + replicas.server(1).url();
  const Outcome table = run_ctl({"cluster", "--endpoints", urls});
  CHECK(table.exit_code == 0);
  CHECK_THAT(table.out, Contains("server ") && Contains("last writer"));
  CHECK_THAT(table.out, Contains(replicas.server(1).url()) && Contains("following"));
  const Outcome lines = run_ctl({"--json", "cluster", "--endpoints", replicas.server(0).url(),
                                 "--endpoints", replicas.server(1).url()});
  CHECK_THAT(lines.out, Contains("\"ready\":true,\"writes\":\"available\",\"state\":\"ready\""));
  CHECK_THAT(lines.out, Contains("\"shared_log\":{\"state\":\"following\",\"head\":1,\"lag\":0,"));
  CHECK_THAT(run_ctl({"-e", replicas.server(0).url(), "status"}).out,
             Contains("shared log") && Contains("all of it is here, last written by this"));

  CHECK(replicas.server(1).stop().exit_code == 0);
  const Outcome one_is_away = run_ctl({"cluster", "--endpoints", urls});
  CHECK(one_is_away.exit_code == 5);
  CHECK_THAT(one_is_away.out, Contains("unreachable"));
  TempDir dir;
  ServerProcess stranger(dir.file("data"));
  const Outcome other =
      run_ctl({"cluster", "--endpoints", replicas.server(0).url() + "," + stranger.url()});
  CHECK(other.exit_code == 1);
  CHECK_THAT(other.err, Contains(stranger.url() + ": of database "));
  const Outcome both = run_ctl({"-e", urls, "cluster", "--endpoints", urls});
  CHECK(both.exit_code == 2);
}

TEST_CASE("While the log is away reads go on, and whoever asks is told what does not", "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2, {"--log-timeout-ms", "300"});
  CHECK(replicas.client(0).call("PUT", "/v1/kv/7", "seven").status == 201);
  CHECK(replicas.client(1).get("/v1/kv/7?min_offset=0").body == "seven");
  replicas.etcd().process(0).signal(SIGSTOP);
  for (size_t i = 0; i < 2; ++i) {
    Client& client = replicas.client(i);
    const HttpResponse refused = client.call("PUT", "/v1/kv/8", "eight");
    CHECK(refused.status == 503);
    CHECK_THAT(refused.body, Contains("\"error\":\"log_unreachable\""));
    CHECK(client.get("/v1/kv/7").body == "seven");
    CHECK(client.get("/v1/kv/7?min_offset=0").body == "seven");
    const HttpResponse unknown = client.get("/v1/kv/7?consistency=latest");
    CHECK(unknown.status == 503);
    CHECK(unknown.header("retry-after") == "1");
    CHECK_THAT(unknown.body, Contains("\"error\":\"log_unreachable\""));
    const HttpResponse ready = client.get("/ready");
    CHECK(ready.status == 200);
    CHECK(ready.body == "{\"status\":\"ready\",\"writes\":\"unavailable\"}");
    CHECK(client.get("/ready?writes=1").status == 503);
    CHECK(client.metric("kyrodb_log_up") == "0");
    CHECK(client.metric("kyrodb_ready") == "1");
    CHECK_THAT(client.get("/v1/status").body, Contains("the shared log does not answer"));
  }
  CHECK(replicas.server(1).process().wait_for_err("shared_log state=unreachable"));
  const std::string url = replicas.server(0).url();
  const Outcome line = run_ctl({"--json", "cluster", "--endpoints", url});
  CHECK(line.exit_code == 0);
  CHECK_THAT(line.out, Contains("\"ready\":true,\"writes\":\"unavailable\""));
  CHECK(replicas.server(1).stop().exit_code == 0);

  replicas.etcd().process(0).signal(SIGCONT);
  // The write that was refused may have happened. So the next one says.
  HttpResponse back;
  for (const uint64_t end_ns = monotonic_ns() + 30'000'000'000;
       back.status != 201 && back.status != 204 && monotonic_ns() < end_ns;) {
    back = replicas.client(0).call("PUT", "/v1/kv/8", "eight");
  }
  CHECK((back.status == 201 || back.status == 204));
  CHECK(replicas.client(0).get("/ready?writes=1").status == 200);
  CHECK(replicas.client(0).get("/v1/kv/8?consistency=latest").body == "eight");
  CHECK(replicas.server(0).process().wait_for_err("shared_log state=following"));
}

TEST_CASE("A replica on another database's log is not ready and says why, but serves reads",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2);
  CHECK(replicas.client(0).call("PUT", "/v1/kv/7", "seven").status == 201);
  CHECK(replicas.client(1).get("/v1/kv/7?min_offset=0").body == "seven");
  CHECK(replicas.server(1).stop().exit_code == 0);
  TempDir dir;
  ServerProcess begins_it(dir.file("data"), {"--log", replicas.etcd().log_url("other")});
  CHECK(Client(begins_it).call("PUT", "/v1/kv/1", "one").status == 201);
  replicas.server(1).start_with({"--log", replicas.etcd().log_url("other")});
  REQUIRE(replicas.server(1).process().wait_for_err("log_stopped reason=log_foreign"));
  Client client(replicas.server(1));
  const HttpResponse ready = client.get("/ready");
  CHECK(ready.status == 503);
  CHECK_THAT(ready.body, Contains("{\"status\":\"log_foreign\",\"reason\":\"this store has left"));
  CHECK_THAT(ready.body, Contains("the data directory, is the wrong one"));
  CHECK(client.get("/v1/kv/7").body == "seven");
  const HttpResponse refused = client.call("PUT", "/v1/kv/7", "x");
  CHECK(refused.status == 503);
  CHECK_THAT(refused.body, Contains("the data directory, is the wrong one"));
  CHECK(client.metric("kyrodb_log_stopped{reason=\"log_foreign\"}") == "1");
  CHECK(client.metric("kyrodb_log_up") == "0");
  CHECK(client.metric("kyrodb_ready") == "0");
  const Outcome line = run_ctl({"cluster", "--endpoints", replicas.server(1).url()});
  CHECK(line.exit_code == 1);
  CHECK_THAT(line.err, Contains("log_foreign: this store has left the shared log"));
}

TEST_CASE("A value that no entry of the log has room for is 413, and none of it is stored",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(1);
  Client& client = replicas.client(0);
  CHECK(client.call("PUT", "/v1/kv/1", std::string(1u << 20, 'x')).status == 201);
  const HttpResponse value = client.call("PUT", "/v1/kv/2", std::string((1u << 20) + 1, 'x'));
  CHECK(value.status == 413);
  CHECK_THAT(value.body,
             Contains("\"error\":\"too_large\"") && Contains("an entry of the shared log"));
  std::string lines;
  for (int key = 10; key < 20; ++key) {
    lines += "{\"op\":\"put\",\"key\":" + std::to_string(key) + ",\"value\":\"" +
             std::string(120'000, 'y') + "\"}\n";
  }
  CHECK(client.call("POST", "/v1/batch", lines).status == 413);
  CHECK(client.next_offset() == 1);
}

TEST_CASE("A full etcd refuses writes with 507 and what heals it; reads and probes go on",
          "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(1, {}, 1, {"--quota-backend-bytes", "6000000"});
  Client& client = replicas.client(0);
  HttpResponse answer;
  for (uint64_t key = 0; key < 40; ++key) {
    answer = client.call("PUT", kv_path(key), std::string(500'000, 'x'));
    if (answer.status != 201) break;
  }
  CHECK(answer.status == 507);
  CHECK_THAT(answer.body,
             Contains("\"error\":\"no_space\"") && Contains("database space exceeded"));
  CHECK_THAT(answer.body, Contains("defrag") && Contains("alarm disarm"));
  CHECK(client.get("/v1/kv/0").status == 200);
  CHECK(client.get("/v1/kv/0?consistency=latest").status == 200);
  // It asks now and then.
  for (const uint64_t end_ns = monotonic_ns() + 30'000'000'000;
       client.metric("kyrodb_log_store_full") != "1" && monotonic_ns() < end_ns;) {
  }
  const HttpResponse ready = client.get("/ready");
  CHECK(ready.status == 200);
  CHECK_THAT(ready.body, Contains("\"writes\":\"unavailable\""));
  CHECK(client.get("/ready?writes=1").status == 503);
}

TEST_CASE("A subscriber goes on at another replica with the last id that it has seen", "[e2e]") {
  if (!has_etcd()) return;
  ServedReplicas replicas(2, {"--log-timeout-ms", "60000"});
  const auto subscribe = [](Client& client, const std::string& last_id) {
    client.must_send("GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: " + last_id +
                     "\r\n\r\n");
  };
  const auto put = [&](size_t replica, uint64_t key) {
    CHECK(replicas.client(replica).call("PUT", kv_path(key), "v").status == 201);
  };
  for (uint64_t key = 0; key < 5; ++key) put(key % 2, key);
  Client at_first(replicas.server(0));
  at_first.must_send("GET /v1/subscribe?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK_THAT(at_first.read_until("\"key\":4,\"value\":\"v\"}\n\n"), Contains("id: 0\n"));
  at_first.close();
  put(0, 5);
  Client then(replicas.server(1));
  subscribe(then, "4");
  const std::string rest = then.read_until("\"key\":5,\"value\":\"v\"}\n\n");
  CHECK_THAT(rest, Contains("id: 5\n") && !Contains("id: 4\n"));
  put(1, 6);
  CHECK_THAT(then.read_until("id: 6\n"), !Contains("id: 5\n"));
  // What is ahead of a replica is not gone: it will come.
  Client ahead(replicas.server(1));
  subscribe(ahead, "8");
  for (uint64_t key = 7; key < 10; ++key) put(0, key);
  CHECK_THAT(ahead.read_until("\"key\":9,\"value\":\"v\"}\n\n"),
             Contains("200 OK") && Contains("id: 9\n") && !Contains("id: 8\n"));
  // A store that is alone has no other past.
  TempDir dir;
  ServerProcess alone(dir.file("data"));
  Client client(alone);
  CHECK(client.get("/v1/subscribe", {{"Last-Event-ID", "8"}}).status == 410);
}

TEST_CASE("A subscriber of gRPC goes on at another replica after the last offset it has seen",
          "[e2e]") {
  if (!has_etcd()) return;
  if (!has_python_client()) {
    WARN(kNoPythonClient);
    return;
  }
  ServedReplicas replicas(2, {"--log-timeout-ms", "60000"});
  const auto put = [&](size_t replica, uint64_t key) {
    CHECK(replicas.client(replica).call("PUT", kv_path(key), "v").status == 201);
  };
  const auto follow = [&](size_t replica, const std::string& from, const std::string& count) {
    Args argv{"/usr/bin/python3", "-B", "test/clients/follow_log.py", "scripts/api"};
    argv.insert(argv.end(), {replicas.server(replica).endpoint().name, from, count});
    const Outcome outcome = run_program(argv);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    return outcome.out;
  };
  for (uint64_t key = 0; key < 5; ++key) put(key % 2, key);
  CHECK(follow(0, "0", "5") == "0 1 2 3 4\n");
  put(0, 5);
  put(0, 6);
  CHECK(follow(1, "5", "2") == "5 6\n");
}

}  // namespace kyro::test
