// A server that has data becomes the first replica on a log, by the programs that a user has.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/cluster/etcd_cluster.h"
#include "test/support/server_process.h"

namespace kyro::test {

using Catch::Matchers::Contains;

TEST_CASE("A store with data begins a log in etcd, and its backup becomes the second replica",
          "[e2e]") {
  if (!has_etcd()) return;
  EtcdCluster etcd(1);
  const std::string url = etcd.log_url("orders");
  TempDir dir;
  ServerProcess first(dir.file("data"), {"--backup-dir", dir.file("backups")});
  CHECK(Client(first).call("PUT", "/v1/kv/1", "one").status == 201);
  const Outcome in_use = run_kyrodb({"log", "init", url, first.data_dir()});
  CHECK(in_use.exit_code == 1);
  CHECK_THAT(in_use.err, Contains("in use by process"));
  CHECK(first.stop().exit_code == 0);

  CHECK(run_kyrodb({"log", "drop", url, first.data_dir()}).exit_code == 2);
  CHECK(run_kyrodb({"log", "init", "orders", first.data_dir()}).exit_code == 2);
  CHECK(run_kyrodb({"log", "init", "--log-user", "u", url, first.data_dir()}).exit_code == 2);
  const Outcome begun = run_kyrodb({"log", "init", url, first.data_dir()});
  INFO(begun.err);
  CHECK(begun.exit_code == 0);
  CHECK_THAT(begun.out, Contains("log orders: database ") && Contains(", from offset 1 on"));
  const Outcome again = run_kyrodb({"log", "init", url, first.data_dir()});
  CHECK(again.exit_code == 1);
  CHECK_THAT(again.err, Contains("ends at offset 1") && Contains("which is this store's"));

  ServerProcess served(first.data_dir(), {"--backup-dir", dir.file("backups"), "--log", url});
  Client client(served);
  CHECK(client.call("POST", "/v1/backup?name=first").status == 200);
  CHECK(client.call("PUT", "/v1/kv/2", "two").status == 201);
  const Outcome restored =
      run_kyrodb({"restore", "--replica", dir.file("backups") + "/first", dir.file("second")});
  CHECK(restored.exit_code == 0);
  CHECK_THAT(restored.out, Contains("offsets below 1, the next one is 1, "));
  ServerProcess second(dir.file("second"), {"--log", url});
  Client other(second);
  CHECK(other.call("GET", "/v1/kv/1?consistency=latest").body == "one");
  CHECK(other.call("GET", "/v1/kv/2?consistency=latest").body == "two");
  const HttpResponse changed = other.call("PUT", "/v1/kv/1", "two", {{"If-Match", "\"0\""}});
  CHECK(changed.status == 204);
}

}  // namespace kyro::test
