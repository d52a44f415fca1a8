// GET / and GET /v1/status of the built binary, and kyrodbctl status.
#include <catch2/catch.hpp>
#include <string>

#include "test/support/ctl.h"
#include "test/support/json_tree.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

const HeaderList kBrowser = {{"Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}};

}  // namespace

TEST_CASE("A browser gets the page, a program one line of JSON", "[e2e]") {
  Served served;
  const HttpResponse page = served.client.get("/", kBrowser);
  CHECK(page.status == 200);
  CHECK(page.header("content-type") == "text/html; charset=utf-8");
  CHECK(page.header("vary") == "Accept");
  CHECK(page.body.starts_with("<!doctype html>"));
  CHECK(page.body.ends_with("</script>\n"));
  const std::string policy(page.header("content-security-policy"));
  CHECK(policy.starts_with("default-src 'none'; script-src 'sha256-"));
  CHECK_FALSE(contains(policy, "unsafe"));
  for (const char* accept : {"", "*/*", "application/json"}) {
    const HttpResponse line = served.client.get("/", {{"Accept", accept}});
    CHECK(is_json(line));
    CHECK(line.header("vary") == "Accept");
    CHECK_FALSE(contains(line.body, "\n"));
    CHECK(contains(line.body, "\"/v1/kv/{key}\""));
  }
}

TEST_CASE("The page loads nothing from elsewhere and fits into 40 KB", "[e2e]") {
  Served served;
  std::string page = served.client.get("/", kBrowser).body;
  CHECK(page.size() <= 40960);
  page = page.substr(0, page.find("http://www.w3.org")) +
         page.substr(page.find("http://www.w3.org") + 17);  // the icon's name space
  page = page.substr(0, page.find("http://www.w3.org")) +
         page.substr(page.find("http://www.w3.org") + 17);  // and the charts'
  for (const char* foreign : {"http:", "https:", "src=", "@import", "url(", "innerHTML", "eval("}) {
    INFO(foreign);
    CHECK_FALSE(contains(page, foreign));
  }
}

TEST_CASE("With --no-page a browser gets the line too", "[e2e]") {
  Served served({"--no-page"});
  const HttpResponse line = served.client.get("/", kBrowser);
  CHECK(line.status == 200);
  CHECK(is_json(line));
}

TEST_CASE("Anybody may load the page, but who asks for the status needs the token", "[e2e]") {
  Served served({"--auth-token", "t"});
  CHECK(served.client.get("/", kBrowser).status == 200);
  CHECK(served.client.get("/v1/status").status == 401);
  CHECK(served.client.get("/v1/status", bearer("t")).status == 200);
}

TEST_CASE("A web page may neither show ours nor ask for the status", "[e2e]") {
  Served served;
  for (const char* path : {"/", "/v1/status"}) {
    CHECK(served.client.get(path, {{"Sec-Fetch-Site", "cross-site"}}).status == 403);
    CHECK(served.client.get(path, {{"Origin", "http://example.org"}}).status == 403);
    CHECK(served.client.get(path, {{"Sec-Fetch-Site", "same-origin"}}).status == 200);
  }
}

TEST_CASE("The status says what is stored, and no more of it than is asked for", "[e2e]") {
  Served served;
  for (const char* key : {"1", "2", "18446744073709551615"}) {
    CHECK(served.client.call("PUT", std::string("/v1/kv/") + key, "v").status == 201);
  }
  CHECK(served.client.call("POST", "/v1/snapshot").status == 200);
  const HttpResponse answer = served.client.get("/v1/status?sample=2&history=0");
  REQUIRE(is_json(answer));
  CHECK(answer.header("cache-control") == "no-store");
  const JsonTree status = JsonTree::parse(answer.body);
  CHECK(status.at("state").text == "ready");
  CHECK(status.at("keys").text == "3");
  CHECK(status.at("next_offset").text == "3");
  REQUIRE(status.at("runs").elements.size() == 1);
  CHECK(status.at("runs").elements[0].at("key_max").text == "18446744073709551615");
  CHECK(status.at("index").at("sample").elements.size() <= 2);
  CHECK(status.at("history").at("rows").elements.empty());
  CHECK(status.at("history").at("columns").elements.size() == 20);
  check_error(served.client.get("/v1/status?samples=1"), 400, "invalid");
  const JsonTree most = JsonTree::parse(served.client.get("/v1/status?sample=999999999").body);
  CHECK(most.at("index").at("sample").elements.size() <= 512);
}

TEST_CASE("kyrodbctl prints the status as a table, or as it came", "[e2e]") {
  CtlSession at;
  CHECK(at.ctl({"put", "7", "seven"}).exit_code == 0);
  CHECK(at.ctl({"snapshot"}).exit_code == 0);
  const Outcome table = at.ctl({"status"});
  CHECK(table.exit_code == 0);
  for (const char* line : {"state   ready\n", "keys    1, 0 in memory", "next offset 1\n",
                           "log     1 segment, ", "\nrun  records  data"}) {
    INFO(table.out);
    CHECK(contains(table.out, line));
  }
  const Outcome json = at.ctl({"--json", "status"});
  CHECK(json.exit_code == 0);
  CHECK(is_json_line(json.out));
  CHECK(JsonTree::parse(json.out).at("keys").text == "1");
}

TEST_CASE("kyrodbctl status --watch goes on until the server is gone", "[e2e]") {
  CtlSession at;
  Process watch({client_binary(), "-e", at.server.url(), "--json", "status", "--watch"});
  REQUIRE(watch.wait_for_out("\"next_offset\":0,"));
  CHECK(at.ctl({"put", "7", "seven"}).exit_code == 0);
  REQUIRE(watch.wait_for_out("\"next_offset\":1,"));
  CHECK(at.server.stop().exit_code == 0);
  CHECK(watch.wait().exit_code != 0);
}

}  // namespace kyro::test
