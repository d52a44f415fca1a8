// The small parts that routes are made of: paths, queries, tags, access, the metrics text.
#include <string>

#include "kyro/client/lines.h"
#include "kyro/server/access.h"
#include "kyro/server/observe/exposition.h"
#include "kyro/server/route_table.h"
#include "kyro/server/routes/query.h"
#include "test/support/request_util.h"
#include "test/support/test_util.h"

namespace kyro::test {
namespace {

TEST_CASE("A path leads to its route and gives its key text") {
  std::string_view key;
  CHECK(match_route("/v1/get_fast/17", &key).route == Route::kGetFast);
  CHECK(key == "17");
  CHECK(match_route("/v1/kv/", &key).route == Route::kKv);
  CHECK(key.empty());
  CHECK(match_route("/v1/lookup", &key).route == Route::kLookup);
  CHECK(match_route("/v1/lookup_raw", &key).route == Route::kLookupRaw);
  for (const char* path : {"//", "", "/v1", "/v1/", "/v1/kv", "/v1/put/", "/V1/put", "/v1/batch/",
                           "/health/", "//health"}) {
    INFO(path);
    CHECK(match_route(path, &key).route == Route::kNone);
  }
  for (const RouteInfo& info : kHttpRoutes) {
    // A read that waits has a row of its own, but not a path.
    if (info.route == Route::kKvWait) continue;
    INFO(info.path);
    const std::string path = std::string(info.path) + (info.takes_key ? "5" : "");
    CHECK(match_route(path, &key).route == info.route);
    if (info.takes_key) CHECK(key == "5");
    const Route longer = match_route(path + "x", &key).route;
    CHECK(longer == (info.takes_key ? info.route : Route::kNone));
    CHECK(match_route(info.path.substr(0, info.path.size() - 1), &key).route != info.route);
  }
  for (const RouteInfo& info : kCallRoutes) {
    INFO(info.path);
    const std::string path(info.path);
    CHECK(match_route(path, &key).route == info.route);
    CHECK(match_route(path + "x", &key).route == Route::kNone);
    CHECK(match_route(path.substr(0, path.size() - 1), &key).route == Route::kNone);
  }
}

TEST_CASE("Every route allows what its Allow field says and nothing else") {
  const std::pair<Method, std::string_view> methods[] = {
      {Method::kGet, "GET"}, {Method::kHead, "HEAD"},     {Method::kPost, "POST"},
      {Method::kPut, "PUT"}, {Method::kDelete, "DELETE"}, {Method::kPatch, "PATCH"}};
  for (const RouteInfo& info : kHttpRoutes) {
    if (info.route == Route::kKvWait) continue;
    for (const auto& [method, name] : methods) {
      INFO(info.path << " " << name);
      CHECK(allows(info, method) == (info.allow.find(name) != info.allow.npos));
    }
  }
}

TEST_CASE("Query parameters are found, refused when doubled, and others passed over") {
  const auto value = [](std::string_view query) { return *find_param(query, "key"); };
  CHECK(value("key=1") == "1");
  CHECK(value("?") == std::nullopt);
  CHECK(value("&&a=b&key=1&&") == "1");
  CHECK(value("key=") == "");
  CHECK(value("key") == "");
  CHECK(value("key=a=b") == "a=b");
  CHECK(value("keys=1&ke=2&xkey=3") == std::nullopt);
  CHECK(find_param("key=1&key=1", "key").status().code() == Code::kInvalid);
  CHECK(*find_number("limit=18446744073709551615", "limit") == ~uint64_t{0});
  CHECK(*find_number("", "limit") == std::nullopt);
  for (const char* bad : {"limit=", "limit", "limit=-1", "limit=+1", "limit=01", "limit=1.0",
                          "limit=18446744073709551616", "limit=%31", "limit=1 ", "limit=0x1"}) {
    INFO(bad);
    CHECK_FALSE(find_number(bad, "limit").ok());
  }
}

TEST_CASE("A lifetime is a positive whole number of seconds") {
  CHECK(find_lifetime("")->ttl_secs == std::nullopt);
  CHECK(find_lifetime("")->expires_secs == std::nullopt);
  CHECK(find_lifetime("ttl=1")->ttl_secs == 1u);
  CHECK(find_lifetime("a=b&ttl=315360000")->ttl_secs == 315360000u);
  CHECK(find_lifetime("ttl_secs=7")->ttl_secs == 7u);
  CHECK(find_lifetime("ttl=" + std::to_string(kTtlSecsMax))->ttl_secs == kTtlSecsMax);
  CHECK(find_lifetime("expires=1")->expires_secs == 1u);
  CHECK(find_lifetime("expires=72057594037927935")->expires_secs == kExpirySecsMax);
  for (const char* bad :
       {"ttl", "ttl=", "ttl=0", "ttl=-1", "ttl=+1", "ttl=1.5", "ttl=1e3", "ttl=01", "ttl=1s",
        "ttl=18446744073709551615", "ttl=18446744073709551616", "ttl=1&ttl=1", "ttl=1&ttl_secs=1",
        "expires=0", "expires=72057594037927936", "ttl=1&expires=1"}) {
    INFO(bad);
    CHECK_FALSE(find_lifetime(bad).ok());
  }
  CHECK_FALSE(find_lifetime("ttl=" + std::to_string(kTtlSecsMax + 1)).ok());
}

TEST_CASE("A token is asked for everywhere but at the probes, and compared whole") {
  const EpochPin pin;
  AccessControl access({.guard_against_pages = false, .protect_metrics = false});
  access.set_tokens({"secret", ""});
  using Verdict = AccessControl::Verdict;
  const auto verdict = [&](const std::string& field) {
    return access.check(request_with(field, "example.com"), {});
  };
  CHECK(verdict("Authorization: Bearer secret\r\n") == Verdict::kAllowed);
  CHECK(verdict("authorization: bearer  secret\r\n") == Verdict::kAllowed);
  for (const char* bad :
       {"", "Authorization: Bearer secre\r\n", "Authorization: Bearer secretx\r\n",
        "Authorization: Bearer SECRET\r\n", "Authorization: Bearer\r\n",
        "Authorization: secret\r\n", "Authorization: Basic secret\r\n",
        "Authorization: Bearer \r\n", "Authorization: Bearer secretsecret\r\n",
        "Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n",
        "Authorization: Bearer secret\r\nHost: a\r\nauthorization: Basic other\r\n"}) {
    INFO(bad);
    CHECK(verdict(bad) == Verdict::kNeedsToken);
  }
  CHECK(access.check(request_with("", "x"), {.is_probe = true}) == Verdict::kAllowed);
  access.set_tokens({"other", ""});
  CHECK(verdict("Authorization: Bearer secret\r\n") == Verdict::kNeedsToken);
}

TEST_CASE("The read token reads, is refused everywhere else, and opens protected metrics") {
  const EpochPin pin;
  using Verdict = AccessControl::Verdict;
  using Need = AccessControl::Need;
  AccessControl access({.guard_against_pages = false, .protect_metrics = true});
  access.set_tokens({"full", "read-only"});
  const auto check = [&](const char* token, Need need) {
    return access.check(request_with("Authorization: Bearer " + std::string(token) + "\r\n", "x"),
                        need);
  };
  const Need metrics{.is_probe = true, .is_metrics = true, .is_read = true};
  for (const Need need : {Need{}, Need{.is_read = true}, metrics}) {
    CHECK(check("full", need) == Verdict::kAllowed);
    CHECK(check("read-only", need) == (need.is_read ? Verdict::kAllowed : Verdict::kMayOnlyRead));
    CHECK(check("", need) == Verdict::kNeedsToken);
  }
  access.set_tokens({"full", ""});
  CHECK(check("read-only", {.is_read = true}) == Verdict::kNeedsToken);
  CHECK(check("", {.is_read = true}) == Verdict::kNeedsToken);
}

TEST_CASE("A permit lasts as long as its token is one of the server's, in whichever role") {
  const EpochPin pin;
  AccessControl access({});
  const auto permit = [&](const char* token) {
    return access.permit(request_with("Authorization: Bearer " + std::string(token) + "\r\n", "x"));
  };
  const Permit of_none = permit("");
  CHECK(of_none.is_valid());
  CHECK(Permit().is_valid());
  access.set_tokens({"full", "read"});
  CHECK_FALSE(of_none.is_valid());
  const Permit full = permit("full");
  const Permit read = permit("read");
  CHECK((full.is_valid() && read.is_valid()));
  access.set_tokens({"full", "other"});
  CHECK((full.is_valid() && !read.is_valid()));
  access.set_tokens({"new", "full"});
  CHECK((full.is_valid() && !read.is_valid()));
  access.set_tokens({"new", ""});
  CHECK_FALSE(full.is_valid());
  access.set_tokens({"full", "read"});  // once withdrawn, always
  CHECK_FALSE((full.is_valid() || read.is_valid()));
}

TEST_CASE("What the read token may do are the methods that change nothing, on no admin route") {
  for (const RouteInfo& info : kHttpRoutes) {
    INFO(info.path);
    const bool is_admin = info.name == "snapshot" || info.name == "compact" ||
                          info.name == "rmi_build" || info.name == "warmup" ||
                          info.name == "backup" || info.name == "backups";
    CHECK(is_admin_route(info.route) == is_admin);
    for (const Method method : {Method::kGet, Method::kHead, Method::kOptions}) {
      CHECK(is_read(info.route, method) == !is_admin);
    }
    for (const Method method : {Method::kPut, Method::kDelete, Method::kPatch, Method::kOther}) {
      CHECK_FALSE(is_read(info.route, method));
    }
    CHECK(is_read(info.route, Method::kPost) == (info.name == "mget"));
  }
  for (const RouteInfo& info : kCallRoutes) {
    INFO(info.path);
    const bool is_admin = info.path.starts_with("/kyrodb.v1.Admin/");
    const bool is_write = info.name == "grpc_put" || info.name == "grpc_delete" ||
                          info.name == "grpc_write" || info.name == "grpc_put_stream" ||
                          info.name == "grpc_delete_range";
    CHECK(is_admin_route(info.route) == is_admin);
    CHECK(is_read(info.route, Method::kPost) == (!is_admin && !is_write && !info.is_probe));
  }
}

TEST_CASE("Without a token nothing that a web page can send is allowed") {
  const EpochPin pin;
  const AccessControl access({.guard_against_pages = true, .protect_metrics = false});
  using Verdict = AccessControl::Verdict;
  for (const char* host : {"localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:3030", "[::1]:1"}) {
    INFO(host);
    CHECK(access.check(request_with("", host), {.is_probe = true}) == Verdict::kAllowed);
    CHECK(access.check(request_with("Origin: http://localhost\r\n", host), {.is_probe = true}) ==
          Verdict::kForbidden);
    // A page's GET for an image or a script, which has no Origin.
    for (const char* site : {"cross-site", "same-site", "Cross-Site"}) {
      const std::string field = "Sec-Fetch-Site: " + std::string(site) + "\r\n";
      CHECK(access.check(request_with(field, host), {}) == Verdict::kForbidden);
    }
    CHECK(access.check(request_with("Sec-Fetch-Site: none\r\n", host), {}) == Verdict::kAllowed);
    CHECK(access.check(request_with("Sec-Fetch-Site: same-origin\r\n", host), {}) ==
          Verdict::kAllowed);
  }
  for (const char* host :
       {"example.com", "128.0.0.1", "localhost.evil.com", "127.0.0.1.nip.io", "[::2]", "0.0.0.0",
        "127.0.0", "evil.com:127", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80", "[127.0.0.1]",
        "[::1].evil.com", "[::1]evil", "[::1", "[localhost]"}) {
    INFO(host);
    CHECK(access.check(request_with("", host), {.is_probe = true}) == Verdict::kForbidden);
  }
  HttpRequest local = request_with("", "example.com");
  local.is_unix = true;
  CHECK(access.check(local, {}) == Verdict::kAllowed);
}

TEST_CASE("Metrics text has help, type, cumulative buckets, sum and count") {
  Histogram histogram(std::to_array<uint64_t>({1000, 1000000}));
  histogram.observe(500);
  histogram.observe(2000);
  histogram.observe(5000000000);
  MetricsText text;
  text.histogram("x_seconds", "How long.", histogram.snapshot(), 1e9);
  text.counter("y_total", "How many.", 18446744073709551615u);
  CHECK(text.take() ==
        "# HELP x_seconds How long.\n# TYPE x_seconds histogram\n"
        "x_seconds_bucket{le=\"1e-06\"} 1\nx_seconds_bucket{le=\"0.001\"} 2\n"
        "x_seconds_bucket{le=\"+Inf\"} 3\nx_seconds_sum 5.0000025\nx_seconds_count 3\n"
        "# HELP y_total How many.\n# TYPE y_total counter\ny_total 18446744073709551615\n");
}

TEST_CASE("Lines come whole from a pipe, whatever their ends") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const std::string text = "one\r\n\ntwo" + std::string(3000, 'x') + "\nlast";
  REQUIRE(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  close(ends[1]);
  FdSource source(ends[0]);
  LineReader lines(source);
  std::vector<std::string> got;
  std::string_view line;
  for (auto more = lines.next(&line); more.ok() && *more; more = lines.next(&line)) {
    got.emplace_back(line);
  }
  CHECK(got == std::vector<std::string>{"one", "", "two" + std::string(3000, 'x'), "last"});
  close(ends[0]);
}

}  // namespace
}  // namespace kyro::test
