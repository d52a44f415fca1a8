// TLS by a proxy: the configurations that scripts/deploy/README.md shows, in the proxies that are
// installed.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

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

  ProxyCase() : server(dir.file("data"), {"--auth-token-file", written_token()}) {
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
  void check_through() const {
    const Outcome put = curl("-X PUT -d hello -o /dev/null -w '%{http_code}' URL/v1/kv/1");
    INFO(put.out << put.err);
    CHECK(put.out == "201");
    CHECK(curl("URL/v1/kv/1").out == "hello");
    CHECK(curl("-o /dev/null -w '%{http_code}' URL/metrics").out == "403");
    CHECK(curl("-o /dev/null -w '%{http_code}' URL/v1/kv/1", "Bearer x").out == "401");
    // A large value arrives whole, and a stream's events at once: this one never ends.
    const std::string file = dir.file("large");
    write_file(file, std::string(3'000'000, 'x'));
    CHECK(curl("-T " + file + " -o /dev/null -w '%{http_code}' URL/v1/kv/2").out == "201");
    CHECK(curl("URL/v1/kv/2 | cmp - " + file).exit_code == 0);
    const Outcome events = curl("-N 'URL/v1/subscribe?from=0' | head -n 4");
    INFO(events.out << events.err);
    CHECK(
        contains(events.out, "data: {\"offset\":0,\"op\":\"put\",\"key\":1,\"value\":\"hello\"}"));
  }
};

}  // namespace

TEST_CASE("Through HAProxy as the README sets it up requests, values and streams pass", "[e2e]") {
  if (!has_tools({"haproxy", "openssl", "curl"})) return;
  const ProxyCase at;
  std::string text =
      replace_all(at.configuration("haproxy"), "bind :443", "bind 127.0.0.1:" + at.port);
  text = replace_all(text, "/etc/haproxy/kyrodb.pem", at.dir.file("kyrodb.pem"));
  write_file(at.dir.file("haproxy.cfg"), text);
  Process proxy({"/usr/sbin/haproxy", "-db", "-f", at.dir.file("haproxy.cfg")});
  at.check_through();
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
  at.check_through();
  proxy.signal(SIGTERM);
  INFO(proxy.err());
  proxy.wait();
}

}  // namespace kyro::test
