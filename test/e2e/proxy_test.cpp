// TLS by a proxy: the configurations that scripts/deploy/README.md shows, in the proxies that are
// installed.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "test/support/grpc_clients.h"
#include "test/support/readme.h"
#include "test/support/server_process.h"

namespace kyro::test {
namespace {

bool has_tools(const Args& tools) {
  for (const std::string& tool : tools) {
    if (std::system(("command -v " + tool + " >/dev/null").c_str()) == 0) continue;
    WARN("skipped: " << tool << " is not installed");
    return false;
  }
  return true;
}

// A server with a token, a certificate, and a port on which a proxy shall listen.
struct ProxyCase {
  TempDir dir;
  std::string token_file = dir.file("token");
  ServerProcess server;
  std::string port;

  ProxyCase()
      : server(dir.file("data"),
               {"--auth-token-file", written_token(), "--max-value-bytes", "4MiB"}) {
    port = std::to_string(free_loopback_port());
    const Outcome made = run_program(
        {"/bin/bash", "-c",
         "cd " + dir.path() +
             " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
             " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key -out cert "
             "2>/dev/null && cat cert key >kyrodb.pem"});
    REQUIRE(made.exit_code == 0);
  }
  std::string written_token() {
    write_file(token_file, "a-token\n");
    return token_file;
  }
  // The README's configuration with our places in it.
  std::string configuration(const std::string& language) const {
    const std::string text = Readme("scripts/deploy/README.md").block(language);
    return replace_all(text, "127.0.0.1:3030", "127.0.0.1:" + std::to_string(server.port()));
  }
  // What curl prints for a request through the proxy; it waits until somebody listens.
  Outcome curl(const std::string& arguments, const std::string& token = "Bearer a-token") const {
    return run_program({"/bin/bash", "-c",
                        "curl -sS -k --resolve kyrodb.example.com:" + port +
                            ":127.0.0.1 --retry 100 --retry-delay 0 --retry-connrefused -m 20 "
                            "-H 'Authorization: " +
                            token + "' " +
                            replace_all(arguments, "URL", "https://kyrodb.example.com:" + port)});
  }
  // Whether a client that is still sending hears of a refusal: Caddy closes on one that speaks
  // HTTP/1.1, and the answer may go down with the connection; HAProxy that speaks HTTP/2 on both
  // sides cancels.
  enum class Refusal { kIsHeard, kMayBeLost };
  void check_through(Refusal over_http1, Refusal over_http2) const {
    check_version("1.1", over_http1);
    check_version("2", over_http2);
    CHECK(curl("-o /dev/null -w '%{http_code}' URL/metrics").out == "403");
    CHECK(curl("-o /dev/null -w '%{http_code}' URL/v1/kv/1", "Bearer x").out == "401");
    // The page may be loaded by anybody, and is what the server sent.
    const Outcome page = curl("-D - -H 'Accept: text/html' URL/");
    CHECK(contains(page.out, "<!doctype html>"));
    CHECK(contains(page.out, "script-src 'sha256-"));
  }
  // With the client speaking HTTP/1.1 or HTTP/2 to the proxy.
  void check_version(const std::string& version, Refusal refusal) const {
    const std::string flags = "--http" + version + " ";
    const std::string key = "URL/v1/kv/" + version.substr(0, 1);
    const Outcome put =
        curl(flags + "-X PUT -d hello -o /dev/null -w '%{http_code} %{http_version}' " + key);
    INFO(put.out << put.err);
    CHECK(put.out == "201 " + version);
    CHECK(curl(flags + key).out == "hello");
    // A large value arrives whole, one that is too large is told so, and a stream's events come at
    // once: this one never ends.
    const std::string file = dir.file("large");
    write_file(file, std::string(3'000'000, 'x'));
    CHECK(curl(flags + "-T " + file + " -o /dev/null -w '%{http_code}' " + key + "0").out == "201");
    CHECK(curl(flags + key + "0 | cmp - " + file).exit_code == 0);
    write_file(file, std::string(5'000'000, 'x'));
    const Outcome refused = curl(flags + "-T " + file + " -w '%{http_code}' " + key + "1");
    INFO(refused.out << refused.err);
    if (refusal == Refusal::kIsHeard) {
      CHECK(contains(refused.out, "\"too_large\""));
      CHECK(refused.out.ends_with("413"));
    }
    CHECK(curl(flags + "-o /dev/null -w '%{http_code}' " + key + "1").out == "404");
    const Outcome events = curl(flags + "-N 'URL/v1/subscribe?from=0' | head -n 4");
    INFO(events.out << events.err);
    CHECK(
        contains(events.out, "data: {\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"hello\"}"));
  }
};

// HAProxy with a configuration of the README, listening where the case wants it.
Args haproxy(const ProxyCase& at, std::string text) {
  text = replace_all(text, "bind :443", "bind 127.0.0.1:" + at.port);
  text = replace_all(text, "/etc/haproxy/kyrodb.pem", at.dir.file("kyrodb.pem"));
  REQUIRE(contains(text, "log /dev/log local0"));
  text = replace_all(text, "log /dev/log local0", "log stdout format raw local0");
  write_file(at.dir.file("haproxy.cfg"), text);
  return {"/usr/sbin/haproxy", "-db", "-f", at.dir.file("haproxy.cfg")};
}

}  // namespace

TEST_CASE("Through HAProxy as the README sets it up requests, values and streams pass", "[e2e]") {
  if (!has_tools({"haproxy", "openssl", "curl"})) return;
  const ProxyCase at;
  Process proxy(haproxy(at, at.configuration("haproxy")));
  at.check_through(ProxyCase::Refusal::kIsHeard, ProxyCase::Refusal::kIsHeard);
  // Its log has the address of the client, which the server's has not: to it, that is the proxy's.
  CHECK(proxy.wait_for_out("127.0.0.1:"));
  CHECK(proxy.wait_for_out("\"GET https://kyrodb.example.com:" + at.port + "/v1/kv/2 HTTP/2.0\""));
  proxy.signal(SIGTERM);
  INFO(proxy.err());
  proxy.wait();
}

TEST_CASE("Through HAProxy that speaks HTTP/2 to the server requests and calls of gRPC pass",
          "[e2e]") {
  if (!has_tools({"haproxy", "openssl", "curl"})) return;
  const ProxyCase at;
  std::string text = at.configuration("haproxy");
  text.resize(text.find("\nbackend kyrodb\n") + 1);
  Process proxy(haproxy(at, text + at.configuration("haproxy-h2")));
  at.check_through(ProxyCase::Refusal::kIsHeard, ProxyCase::Refusal::kMayBeLost);
  // Nothing of that came over HTTP/1, not even the proxy's looks at /ready.
  Client client(at.server);
  const std::string page = client.get("/metrics").body;
  uint64_t requests = 0;
  for (size_t at_line = 0;
       (at_line = page.find("\nkyrodb_http_requests_total{", at_line)) != page.npos;) {
    const size_t value = page.find(' ', at_line) + 1;
    at_line = page.find('\n', value);
    requests += parse_u64(std::string_view(page).substr(value, at_line - value)).value();
  }
  CHECK(client.metric("kyrodb_http2_requests_total") == std::to_string(requests));
  if (!has_python_client()) {
    WARN(kNoPythonClient);
  } else {
    const Outcome outcome =
        run_program({"/usr/bin/python3", "-B", "test/clients/proxy_test.py", "127.0.0.1:" + at.port,
                     at.dir.file("cert"), "a-token", "scripts/api"});
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.err, "\nOK\n"));
  }
  proxy.signal(SIGTERM);
  INFO(proxy.err());
  proxy.wait();
}

TEST_CASE("Through Caddy as the README sets it up requests, values and streams pass", "[e2e]") {
  if (!has_tools({"caddy", "openssl", "curl"})) return;
  const ProxyCase at;
  // Our certificate in place of one that Caddy would ask the world for.
  const std::string text =
      "{\n\tadmin off\n\tauto_https disable_redirects\n}\n" +
      replace_all(at.configuration("caddyfile"), "kyrodb.example.com {",
                  "kyrodb.example.com:" + at.port + " {\n\tbind 127.0.0.1\n\ttls " +
                      at.dir.file("cert") + " " + at.dir.file("key"));
  write_file(at.dir.file("Caddyfile"), text);
  Process proxy(
      {"/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", at.dir.file("Caddyfile")}, {},
      {"HOME=" + at.dir.path(), "XDG_DATA_HOME=" + at.dir.path()});
  at.check_through(ProxyCase::Refusal::kMayBeLost, ProxyCase::Refusal::kIsHeard);
  CHECK(proxy.wait_for_err("\"remote_ip\":\"127.0.0.1\""));
  proxy.signal(SIGTERM);
  INFO(proxy.err());
  proxy.wait();
}

}  // namespace kyro::test
