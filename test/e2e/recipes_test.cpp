// The page of recipes: its programs print what they should, and what its tables put beside the
// commands of other stores is there and works. (Its lines of shell are run by readme_test.cpp.)
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "test/support/readme.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

constexpr char kRecipes[] = "scripts/recipes/README.md";

// What each of the programs prints: made, read, replaced, refused.
constexpr char kSwapped[] = "201\n200 one\n204\n412\n";

bool can_run(const std::string& tool) {
  if (std::system(("command -v " + tool + " >/dev/null").c_str()) == 0) return true;
  WARN("skipped: " << tool << " is not installed");
  return false;
}

// The one program of a language, speaking to `served`, in a file of that name.
std::string saved_program(const std::string& language, const Served& served, const TempDir& dir,
                          const std::string& name) {
  const std::string text = Readme(kRecipes).block(language);
  REQUIRE(contains(text, "127.0.0.1:3030"));
  write_file(dir.file(name), replace_all(text, "127.0.0.1:3030",
                                         "127.0.0.1:" + std::to_string(served.server.port())));
  return dir.file(name);
}

// A command, a route, a parameter or a flag of the tables, and lines of bash that fail if it is not
// what the table says. `ctl` is kyrodbctl, $url the server, $dir a directory.
const std::map<std::string, std::string>& tried_spans() {
  static const std::map<std::string, std::string> spans{
      {"kyrodbctl put K V", "ctl put 10 v"},
      {"get K", "ctl put 11 v; [ $(ctl get 11) = v ]"},
      {"delete K", "ctl put 12 v; ctl delete 12; ! ctl get 12"},
      {"scan --start --end", "ctl put 20 v; ctl scan --start 20 --end 21 | grep '\"key\":20'"},
      {"delete-range --start --end",
       "ctl put 30 v; ctl put 31 v; ctl delete-range --start 30 --end 32 --yes; "
       "ctl --json count --start 30 --end 32 | grep '\"count\":0'"},
      {"ETag", "ctl put 40 v; curl -sI $url/v1/kv/40 | grep -i '^etag: \"[0-9]*\"'"},
      {"batch", "printf '%s\\n' '{\"op\":\"put\",\"key\":50,\"value\":\"v\"}' | ctl batch -"},
      {"if_match",
       "ctl put 51 v; printf '%s\\n' '{\"op\":\"delete\",\"key\":51,\"if_match\":\"*\"}' | "
       "ctl batch -; ! ctl get 51"},
      {"if_none_match",
       "ctl put 52 v; ! printf '%s\\n' "
       "'{\"op\":\"put\",\"key\":52,\"value\":\"w\",\"if_none_match\":\"*\"}' | ctl batch -"},
      {"watch K", "ctl put 60 v; ctl watch 60 --limit 1 | grep '\"key\":60'"},
      {"watch", "ctl put 61 v; ctl watch 61 --limit 1 | grep '\"key\":61'"},
      {"subscribe --start --end",
       "ctl put 62 v; ctl subscribe --from 0 --start 62 --end 63 --limit 1 | "
       "grep '\"key\":62'"},
      {"subscribe", "ctl subscribe --from 0 --limit 1 | grep '\"offset\":0'"},
      {"--from", "ctl subscribe --from 1 --limit 1 | grep '\"offset\":1'"},
      {"If-Match",
       "ctl put 70 v; curl -s -o $dir/out -w '%{http_code}' -X PUT -d w -H 'If-Match: \"0\"' "
       "$url/v1/kv/70 | grep 412"},
      {"If-None-Match: *",
       "ctl put 71 v; curl -s -o $dir/out -w '%{http_code}' -X PUT -d w -H 'If-None-Match: *' "
       "$url/v1/kv/71 | grep 412"},
      {"If-None-Match: \"N\"",
       "tag=$(ctl put 72 v | sed 's/.* //'); curl -s -o $dir/out -w '%{http_code}' "
       "-H \"If-None-Match: \\\"$tag\\\"\" $url/v1/kv/72 | grep 304"},
      {"?wait_secs=30",
       "tag=$(ctl put 73 v | sed 's/.* //'); curl -s -H \"If-None-Match: \\\"$tag\\\"\" "
       "\"$url/v1/kv/73?wait_secs=30\" >$dir/waited & ctl put 73 w; wait $!; "
       "[ $(cat $dir/waited) = w ]"},
      {"backup -o FILE", "ctl backup -o $dir/store.tar; [ -s $dir/store.tar ]"},
      {"POST /v1/backup?name=N", "curl -sf -X POST $url/v1/backup?name=n1 | grep '\"backup\"'"},
      {"backup", "ctl backup n2"},
      {"scan?start=&end=", "ctl put 80 v; curl -sf \"$url/v1/scan?start=80&end=81\" | grep ':80,'"},
      {"keys_only=1", "ctl put 81 v; ! curl -sf \"$url/v1/scan?keys_only=1\" | grep value"},
      {"POST /v1/batch",
       "printf '%s\\n' '{\"op\":\"put\",\"key\":82,\"value\":\"v\"}' | curl -sf --data-binary @- "
       "$url/v1/batch | grep '\"count\":1'"},
      {"put K V --ttl 60 --if-none-match",
       "ctl put 90 v --ttl 60 --if-none-match; ! ctl put 90 v --ttl 60 --if-none-match"},
      {"get", "ctl put 91 v; [ $(ctl get 91) = v ]"},
      {"mget", "ctl put 92 v; ctl mget 92 | grep '\"value\":\"v\"'"},
      {"delete", "ctl put 93 v; ctl delete 93"},
      {"lookup_raw",
       "ctl put 94 v; curl -sf \"$url/v1/lookup_raw?key=94\"; ! curl -sf "
       "\"$url/v1/lookup_raw?key=95\""},
      {"ttl", "ctl put 96 v --ttl 60; ctl ttl 96 | grep 'ttl: [56]'"},
      {"PUT ?expires=",
       "curl -sf -X PUT -d v \"$url/v1/kv/97?expires=$(($(date +%s) + 60))\"; "
       "ctl ttl 97 | grep 'ttl: [56]'"},
      {"incr K 5", "ctl incr 98 5 | grep 'value: 5'"},
      {"count", "ctl --json count | grep '\"count\":'"},
      {"delete-range --start 0", "ctl delete-range --start 0 --yes; ctl count | grep 'count: 0'"},
      {"scan", "ctl put 99 v; ctl scan --limit 1"},
      {"put", "ctl put 100 v"},
      {"floor", "ctl put 101 v; ctl floor 101 | grep 101"},
      {"ceil", "ctl put 102 v; ctl ceil 102 | grep 102"},
      {"snapshot", "ctl snapshot"},
      {"compact", "ctl compact"},
      {"/v1/replay",
       "curl -sf \"$url/v1/replay?start=$(ctl --json offset | tr -dc '0-9,' | "
       "cut -d, -f1)\""},
      {"DELETE /v1/scan",
       "ctl put 110 v; curl -sf -X DELETE \"$url/v1/scan?start=110&end=111\" | "
       "grep '\"deleted\":1'"},
      {"kyrodb load", "echo '{\"key\":1,\"value\":\"v\"}' | $kyrodb load $dir/loaded -"},
      {"--fsync interval:1000",
       "$kyrodb serve --print-config --fsync interval:1000 | "
       "grep 'interval:1000'"},
      {"--wal-max-segments",
       "$kyrodb serve --print-config --wal-max-segments 3 | "
       "grep 'wal-max-segments'"},
  };
  return spans;
}

// Of the store, as embedding programs see it: a function or a class of that name is in its headers.
bool is_of_store(const std::string& span) {
  static const std::string headers =
      read_file("kyro/embed/store.h") + read_file("kyro/embed/batch.h") +
      read_file("kyro/embed/reader.h") + read_file("kyro/embed/bulk_loader.h") +
      read_file("kyro/embed/kyrodb.h");
  std::string name = span.substr(0, span.find('('));
  if (const size_t scope = name.find("::"); scope != name.npos) {
    if (!contains(headers, "class KYRO_API " + name.substr(0, scope) + " ")) return false;
    name.erase(0, scope + 2);
  }
  return contains(headers, " " + name + "(") || contains(headers, "*" + name + "(") ||
         contains(headers, "class KYRO_API " + name + " ");
}

std::set<std::string> spans_of_tables(const std::vector<std::string>& sections) {
  std::set<std::string> spans;
  for (const std::string& title : sections) {
    const auto rows = table_rows(Readme(kRecipes).section("## " + title));
    REQUIRE(rows.size() > 5);
    for (size_t i = 1; i < rows.size(); ++i) {
      for (const std::string& span : code_spans(rows[i].at(1))) spans.insert(span);
    }
  }
  return spans;
}

}  // namespace

TEST_CASE("The client in Python stores, reads, replaces and is refused", "[e2e]") {
  if (!can_run("python3")) return;
  const TempDir dir;
  const Served served;
  const std::string program = saved_program("python", served, dir, "client.py");
  const Outcome outcome = run_program({"/usr/bin/env", "python3", "-B", program});
  INFO(outcome.err);
  CHECK(outcome.out == kSwapped);
}

TEST_CASE("The client in JavaScript keeps keys above 2^53, and is refused", "[e2e]") {
  if (!can_run("node")) return;
  if (std::system("node -e 'fetch' 2>/dev/null") != 0) {
    WARN("skipped: this node has no fetch");
    return;
  }
  const TempDir dir;
  const Served served;
  const Outcome outcome =
      run_program({"/usr/bin/env", "node", saved_program("javascript", served, dir, "client.js")});
  INFO(outcome.err);
  CHECK(outcome.out == "200\n200 one\n204\n412\n");
}

TEST_CASE("The client in Go stores, reads, replaces and is refused", "[e2e]") {
  if (!can_run("go")) return;
  const TempDir dir;
  const Served served;
  const std::string program = saved_program("go", served, dir, "client.go");
  const Args environment{
      "GO111MODULE=off",          "GOTOOLCHAIN=local", "GOFLAGS=", "GOCACHE=" + dir.file("cache"),
      "GOPATH=" + dir.file("go"), "CGO_ENABLED=0"};
  const Outcome built =
      Process({"/usr/bin/env", "go", "build", "-o", dir.file("client"), program}, {}, environment)
          .wait(std::chrono::seconds(300));
  INFO(built.err);
  REQUIRE(built.exit_code == 0);
  const Outcome outcome = run_program({dir.file("client")});
  INFO(outcome.err);
  CHECK(outcome.out == kSwapped);
}

TEST_CASE("What the tables put beside etcd, Consul, Redis, LMDB and RocksDB is there", "[e2e]") {
  if (!can_run("curl")) return;
  const TempDir dir;
  const ServerProcess server(dir.file("data"), {"--backup-dir", dir.file("backups")});
  const std::string head = "set -eu -o pipefail; url=" + server.url() + "; dir=" + dir.path() +
                           "; ctl=" + client_binary() + "; kyrodb=" + server_binary() +
                           "; ctl() { $ctl -e $url \"$@\"; }\n";
  const auto try_span = [&](const std::string& span, const std::string& script) {
    const Outcome outcome =
        run_program({"/usr/bin/timeout", "50", "/bin/bash", "-c", head + script});
    INFO(span << ": " << script << "\n" << outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
  };
  // Two records for those who read the log from there on.
  try_span("put", "ctl put 1 v; ctl put 2 v");
  std::set<std::string> untried;
  for (const auto& [span, script] : tried_spans()) untried.insert(span);
  for (const std::string& span : spans_of_tables({"etcd", "Consul", "Redis"})) {
    const auto known = tried_spans().find(span);
    INFO("a table names " << span << ", which no test tries");
    REQUIRE(known != tried_spans().end());
    try_span(span, known->second);
    untried.erase(span);
  }
  for (const std::string& span : spans_of_tables({"LMDB", "RocksDB"})) {
    const auto known = tried_spans().find(span);
    INFO("a table names " << span << ", which is not of the store and not tried");
    if (is_of_store(span)) {
      untried.erase(span);
      continue;
    }
    REQUIRE(known != tried_spans().end());
    try_span(span, known->second);
    untried.erase(span);
  }
  for (const std::string& span : untried) FAIL_CHECK("no table names " << span << " any more");
}

}  // namespace kyro::test
