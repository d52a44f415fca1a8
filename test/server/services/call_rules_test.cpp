// Who is let in to call what, and how calls fail: every status of the table there is.
#include "kyro/server/services/calls.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/call_rig.h"

namespace kyro::test {

using std::string_literals::operator""s;

TEST_CASE("Requests that are no calls of gRPC are told so over HTTP") {
  CallRig rig;
  const auto plain = [&](const std::string& path, const Fields& fields,
                         Method method = Method::kPost,
                         HttpVersion version = HttpVersion::k2) -> FakeCall& {
    auto& call = rig.at.rounds->prepare(path, fields);
    call.mutable_request().method = method;
    call.mutable_request().version = version;
    rig.at.rounds->tell_headers(call);
    CHECK(call.grpc_status() == "-");
    CHECK(call.type == "application/json");
    return call;
  };
  const Fields grpc = {{"content-type", "application/grpc"}, {"te", "trailers"}};
  CHECK(plain(kKvCalls + "Get", grpc, Method::kPost, HttpVersion::k1).status == 505);
  CHECK(plain(kKvCalls + "Get", grpc, Method::kGet).status == 405);
  CHECK(plain(kKvCalls + "Get", {{"content-type", "application/json"}}).status == 415);
  CHECK(plain(kKvCalls + "Get", {}).status == 415);
  CHECK(plain(kKvCalls + "Get", {{"content-type", "application/grpc+json"}}).status == 415);
  CHECK(plain(kKvCalls + "Get", {{"content-type", "application/grpcx"}}).status == 415);
  CHECK(plain("/v1/mget", grpc).status == 411);
  CHECK(plain("/x", {}).status == 404);
}

TEST_CASE("Calls that cannot be answered say why in their status") {
  CallRig rig;
  rig.put(1, "x");
  const std::string get = numbers({{1, 1}});
  for (const char* type : {"application/grpc+proto", "application/grpc; x=y", "Application/GRPC"}) {
    FakeCall& call =
        rig.at.rounds->begin_plain(kKvCalls + "Get", {{"content-type", type}, {"te", "trailers"}});
    rig.at.rounds->finish_request(call, framed(get));
    CHECK(call.grpc_status() == "0");
  }
  CHECK(CallRig::failure_of(rig.at.rounds->begin_plain(
            kKvCalls + "Get", {{"content-type", "application/grpc"}})) == "3");  // no te
  for (const std::string& path :
       {kKvCalls + "Got", "/kyrodb.v2.KV/Get"s, "/x"s, kKvCalls + "Get?a=b"}) {
    INFO(path);
    FakeCall& call =
        rig.at.rounds->prepare(path, {{"content-type", "application/grpc"}, {"te", "trailers"}});
    if (path.ends_with("?a=b")) {
      call.mutable_request().path.remove_suffix(4);
      call.mutable_request().has_query = true;
    }
    rig.at.rounds->tell_headers(call);
    CHECK(CallRig::failure_of(call) == "12");
  }
  const FakeCall& coded = rig.ask("Get", get, {{"grpc-encoding", "gzip"}});
  CHECK(CallRig::failure_of(coded) == "12");
  CHECK(field_of(coded.headers, "grpc-accept-encoding") == "identity");
  CHECK(rig.ask("Get", get, {{"grpc-encoding", "identity"}, {"grpc-accept-encoding", "gzip"}})
            .grpc_status() == "0");

  const auto raw = [&](const std::string& body) {
    FakeCall& call = rig.at.rounds->begin(kKvCalls + "Get");
    rig.at.rounds->finish_request(call, body);
    return CallRig::failure_of(call);
  };
  CHECK(raw("") == "3");
  CHECK(raw("\0\0\0\0"s) == "3");
  CHECK(raw("\0\0\0\0\1"s) == "3");
  CHECK(raw(framed(get) + framed(get)) == "3");
  CHECK(raw("\1\0\0\0\0"s) == "12");  // compressed
  CHECK(raw(framed("\x0A\xFF"s)) == "3");
  for (const char* method : {"Put", "Delete", "MultiGet", "Scan", "Nearest", "Subscribe"}) {
    INFO(method);
    CHECK(rig.failure(method, "\x0A\xFF"s) == "3");
  }
  // What the server refuses itself.
  FakeCall& large = rig.at.rounds->begin(kKvCalls + "Get");
  rig.at.api.refuse(large, 413, "too_large", "too large");
  CHECK(CallRig::failure_of(large) == "8");
  FakeCall& early = rig.at.rounds->prepare(
      kKvCalls + "Get", {{"content-type", "application/grpc"}, {"te", "trailers"}});
  rig.at.api.refuse(early, 503, "overloaded", "100% full");
  CHECK(CallRig::failure_of(early) == "14");
  CHECK(early.grpc_message() == "100%25 full");
  FakeCall& http = rig.at.rounds->prepare("/v1/kv/1", {});
  rig.at.api.refuse(http, 413, "too_large", "too large");
  CHECK(http.status == 413);
}

TEST_CASE("Each limit of a body is its method's") {
  CallRig rig;
  rig.at.api.set_mget_limits(1000, 1000);
  const auto limit = [&](const std::string& path) {
    return rig.at.rounds->begin(path).body_limit();
  };
  CHECK(limit(kKvCalls + "Get") == 65536);
  CHECK(limit(kKvCalls + "Put") == 16 * kMiB + 65536);
  CHECK(limit(kKvCalls + "Write") == rig.at.engine->options().max_batch_bytes);
  CHECK(limit(kKvCalls + "MultiGet") == 11'000 + 65536);
  CHECK(limit(kAdminCalls + "Compact") == 65536);
}

TEST_CASE("Deadlines end calls that wait and streams, and wrong ones are refused") {
  CallRig rig;
  const std::string get = numbers({{1, 1}});
  rig.put(1, "x");
  CHECK(rig.failure("Get", get, {{"grpc-timeout", "0m"}}) == "4");
  for (const char* timeout : {"", "5", "m", "123456789S", "1s", "-1S", "1.5S"}) {
    INFO(timeout);
    CHECK(rig.failure("Get", get, {{"grpc-timeout", timeout}}) == "3");
  }
  CHECK(rig.ask("Get", get, {{"grpc-timeout", "30S"}}).deadline_ms == 30'000);
  CHECK(rig.ask("Get", get, {{"grpc-timeout", "1u"}}).deadline_ms == 1);
  CHECK(rig.ask("Get", get, {{"grpc-timeout", "99999999H"}}).deadline_ms == 365ull * 86'400'000);

  FakeCall& waiting = rig.at.rounds->begin(kKvCalls + "Put", {{"grpc-timeout", "5S"}});
  rig.at.api.on_deadline(waiting);
  CHECK(CallRig::failure_of(waiting) == "4");

  FakeCall& stream = rig.at.rounds->begin(kKvCalls + "Subscribe", {{"grpc-timeout", "1n"}});
  rig.at.rounds->finish_request(stream, framed(""));
  rig.at.rounds->finish(stream);
  CHECK(stream.grpc_status() == "4");
  std::string message;
  for (uint64_t key = 1000; key < 21'000; ++key) message += operation(1, rig.at.put(key, "v"));
  rig.only("Write", message);
  FakeCall& scan = rig.at.rounds->begin(kKvCalls + "Scan", {{"grpc-timeout", "1n"}});
  rig.at.rounds->finish_request(scan, framed(""));
  rig.at.rounds->finish(scan);
  CHECK(scan.grpc_status() == "4");
  FakeCall& puts = rig.at.rounds->begin(kKvCalls + "PutStream", {{"grpc-timeout", "1n"}});
  puts.send(framed(rig.at.put(1, "x")));
  rig.at.rounds->finish(puts);
  CHECK(puts.grpc_status() == "4");
  FakeCall& watch = rig.at.rounds->begin(kHealthCalls + "Watch", {{"grpc-timeout", "1n"}});
  rig.at.rounds->finish_request(watch, framed(""));
  rig.at.rounds->finish(watch);
  CHECK(watch.grpc_status() == "4");
}

TEST_CASE("Tokens and their scopes decide about calls as about requests") {
  CallRig rig({"full", "reader"});
  const auto with = [](const std::string& token) -> Fields {
    if (token.empty()) return {};
    return {{"authorization", "Bearer " + token}};
  };
  const std::string put = rig.at.put(1, "x");
  CHECK(rig.ask("Put", put, with("full")).grpc_status() == "0");
  for (const RouteInfo& info : kCallRoutes) {
    INFO(info.path);
    const std::string path(info.path);
    const bool is_read = is_read_call(info.route);
    const auto status = [&](const std::string& token) {
      const FakeCall& call = rig.at.rounds->begin(path, with(token));
      return call.responded() ? call.grpc_status() : "let in";
    };
    CHECK(status("") == (info.is_probe ? "let in" : "16"));
    CHECK(status("wrong") == (info.is_probe ? "let in" : "16"));
    CHECK(status("reader") == (info.is_probe || is_read ? "let in" : "7"));
    CHECK(status("full") == "let in");
  }
  CHECK(CallRig::failure_of(rig.at.rounds->begin(kKvCalls + "Got")) == "16");
  CHECK(CallRig::failure_of(rig.at.rounds->begin(kKvCalls + "Got", with("reader"))) == "12");
}

TEST_CASE("Without a token calls of web pages are refused") {
  CallRig rig({}, {}, {.guard_against_pages = true});
  CHECK(rig.failure("Get", "", {{"origin", "http://example.com"}}) == "7");
  CHECK(rig.failure("Get", "", {{"sec-fetch-site", "cross-site"}}) == "7");
  CHECK(rig.failure("Get", numbers({{1, 1}})) == "5");
}

TEST_CASE("Calls over the rate are refused, those of administration by their own") {
  CallRig rig({}, {.data = {.per_second = 1, .burst = 2}, .admin = {.per_second = 1, .burst = 1}});
  CHECK(rig.failure("Get", numbers({{1, 1}})) == "5");
  CHECK(rig.failure("Get", numbers({{1, 1}})) == "5");
  const FakeCall& over = rig.ask("Get", numbers({{1, 1}}));
  CHECK(CallRig::failure_of(over) == "8");
  CHECK(field_of(over.headers, "Retry-After") != "-");
  CHECK(rig.at.rounds->ask(kAdminCalls + "Snapshot", "").grpc_status() == "0");
  CHECK(rig.at.rounds->ask(kAdminCalls + "Snapshot", "").grpc_status() == "8");
  CHECK(rig.at.rounds->ask(kHealthCalls + "Check", "").grpc_status() == "0");
}

TEST_CASE("Health says whether the store serves, once or whenever that changes") {
  CallRig rig;
  const auto check = [&](std::string_view service) -> FakeCall& {
    std::string message;
    append_bytes_field(message, 1, service);
    return rig.at.rounds->ask(kHealthCalls + "Check", message);
  };
  const auto serving = [](const FakeCall& call) {
    return number_in(messages_of(call.body).at(0), 1);
  };
  CHECK(serving(check("")) == 1);
  CHECK(serving(check("kyrodb.v1.KV")) == 1);
  CHECK(check("other").grpc_status() == "5");

  FakeCall& watch = rig.at.rounds->begin(kHealthCalls + "Watch");
  rig.at.rounds->finish_request(watch, framed(""));
  rig.at.rounds->wait([&] { return !watch.body.empty(); });
  CHECK(messages_of(watch.body) == std::vector<std::string>{"\x08\x01"});
  std::string other;
  append_bytes_field(other, 1, "other");
  FakeCall& unknown = rig.at.rounds->begin(kHealthCalls + "Watch");
  rig.at.rounds->finish_request(unknown, framed(other));
  rig.at.rounds->wait([&] { return !unknown.body.empty(); });
  CHECK(messages_of(unknown.body) == std::vector<std::string>{"\x08\x03"});

  rig.at.api.set_draining();
  CHECK(serving(check("")) == 2);
  watch.drain();
  CHECK(watch.grpc_status() == "14");
  CHECK(messages_of(watch.body) == std::vector<std::string>{"\x08\x01", "\x08\x02"});
}

TEST_CASE("While the log is replayed calls are told so, and Health says when it is over") {
  const QuietLog quiet;
  FaultFs fs;
  AccessControl access({});
  Api api(access, large_options(fs), {}, 1);
  const auto engine = must_open(large_options(fs));
  CallRounds rounds(api);
  CHECK(CallRig::failure_of(rounds.ask(kKvCalls + "Get", numbers({{1, 1}}))) == "14");
  CHECK(CallRig::failure_of(rounds.begin(kKvCalls + "PutStream")) == "14");
  const FakeCall& check = rounds.ask(kHealthCalls + "Check", "");
  CHECK(messages_of(check.body) == std::vector<std::string>{"\x08\x02"});
  FakeCall& watch = rounds.begin(kHealthCalls + "Watch");
  rounds.finish_request(watch, framed(""));
  rounds.wait([&] { return !watch.body.empty(); });
  api.set_engine(engine.get());
  rounds.wait([&] { return messages_of(watch.body).size() == 2; });
  CHECK(messages_of(watch.body) == std::vector<std::string>{"\x08\x02", "\x08\x01"});
  CHECK(CallRig::failure_of(rounds.ask(kKvCalls + "Get", numbers({{1, 1}}))) == "5");
}

TEST_CASE("Failures of the store are statuses of their own") {
  CallRig rig;
  rig.put(5, "five");
  SECTION("a full disk") {
    rig.fs.inject({.call = FsCall::kWrite, .code = Code::kNoSpace, .path = {}});
    CHECK(rig.failure("Put", rig.at.put(6, "x")) == "8");
    rig.fs.heal();
    CHECK(rig.get(5) == "five");
  }
  SECTION("a failed sync") {
    rig.fs.inject({.call = FsCall::kSync, .path = {}});
    CHECK(rig.failure("Put", rig.at.put(6, "x")) == "14");
    rig.fs.heal();
    CHECK(rig.failure("Put", rig.at.put(6, "x")) == "14");
    const FakeCall& health = rig.at.rounds->ask(kHealthCalls + "Check", "");
    CHECK(number_in(messages_of(health.body).at(0), 1) == 2);
    CHECK(rig.get(5) == "five");
  }
  SECTION("a damaged record") {
    REQUIRE(rig.at.engine->snapshot().ok());
    rig.at.engine.reset();
    for (const std::string& path : rig.fs.paths()) {
      if (!path.ends_with(".data")) continue;
      std::string bytes = rig.fs.contents(path);
      const size_t at = bytes.find("five");
      REQUIRE(at != std::string::npos);
      bytes[at] = 'F';
      rig.fs.put_file(path, bytes);
    }
    rig.at.engine = must_open(large_options(rig.fs));
    rig.at.api.set_engine(rig.at.engine.get());
    CHECK(rig.failure("Get", numbers({{1, 5}})) == "15");
    CHECK(rig.failure("MultiGet", numbers({{1, 5}})) == "15");
    CHECK(rig.failure("Scan", "") == "15");
  }
}

TEST_CASE("Calls that fail are counted by method and status, and the metrics say so") {
  CallRig rig;
  rig.failure("Get", numbers({{1, 1}}));
  rig.failure("Get", numbers({{1, 2}}));
  rig.at.rounds->begin(kKvCalls + "Got");
  rig.put(1, "x");
  FakeCall& stream = rig.at.rounds->begin(kKvCalls + "Subscribe", {{"grpc-timeout", "1n"}});
  rig.at.rounds->finish_request(stream, framed(""));
  rig.at.rounds->finish(stream);
  FakeCall& metrics = rig.at.rounds->prepare("/metrics", {});
  metrics.mutable_request().method = Method::kGet;
  rig.at.rounds->tell_headers(metrics);
  rig.at.rounds->finish_request(metrics, "");
  const auto has = [&](const std::string& line) {
    INFO(line);
    CHECK(metrics.body.find(line + "\n") != std::string::npos);
  };
  has("kyrodb_grpc_failures_total{route=\"grpc_get\",code=\"NOT_FOUND\"} 2");
  has("kyrodb_grpc_failures_total{route=\"grpc_unknown\",code=\"UNIMPLEMENTED\"} 1");
  has("kyrodb_grpc_failures_total{route=\"grpc_subscribe\",code=\"DEADLINE_EXCEEDED\"} 1");
  has("kyrodb_grpc_failures_total{route=\"grpc_put\",code=\"INTERNAL\"} 0");
  has("kyrodb_http_requests_total{route=\"grpc_get\",code=\"200\"} 2");
}

TEST_CASE("Gets that come together are fetched ahead together, whatever stands beside them") {
  CallRig rig;
  for (uint64_t key = 0; key < 10; ++key) rig.put(key, "v" + std::to_string(key));
  std::vector<FakeCall*> calls;
  std::vector<Exchange*> ahead;
  std::vector<std::string> bodies;
  for (uint64_t key = 0; key < 10; ++key) bodies.push_back(framed(numbers({{1, key}})));
  bodies[3] = "\0\0\0\0\5x"s;
  for (std::string& body : bodies) {
    calls.push_back(&rig.at.rounds->prepare(
        kKvCalls + "Get", {{"content-type", "application/grpc"}, {"te", "trailers"}}));
    calls.back()->mutable_request().body = body;
    ahead.push_back(calls.back());
  }
  rig.at.rounds->in_round([&] { rig.at.api.on_ahead(ahead); });
  for (size_t i = 0; i < calls.size(); ++i) {
    rig.at.rounds->tell_headers(*calls[i]);
    rig.at.rounds->finish_request(*calls[i], bodies[i]);
    CHECK(calls[i]->grpc_status() == (i == 3 ? "3" : "0"));
    if (i != 3) CHECK(bytes_in(messages_of(calls[i]->body).at(0), 1) == "v" + std::to_string(i));
  }
}

TEST_CASE("Reflection answers as the client takes, however the requests are split") {
  CallRig rig;
  std::string list;
  append_bytes_field(list, 7, "*");
  std::string file;
  append_bytes_field(file, 4, "kyrodb.v1.KV.Get");
  std::string none;
  append_bytes_field(none, 3, "none.proto");
  const std::string requests = framed(list) + framed(file) + framed(none);
  std::string whole;
  for (const size_t step : {requests.size(), size_t{1}, size_t{7}}) {
    FakeCall& call = rig.at.rounds->begin(kReflection);
    for (size_t at = 0; at < requests.size(); at += step) {
      call.send(std::string_view(requests).substr(at, step), at + step >= requests.size());
    }
    rig.at.rounds->finish(call);
    CHECK(call.grpc_status() == "0");
    const auto answers = messages_of(call.body);
    REQUIRE(answers.size() == 3);
    CHECK(answers[0].find("kyrodb.v1.Admin") != std::string::npos);
    CHECK(bytes_in(bytes_in(answers[1], 4), 1) == rpc::kDescriptors[0].bytes);
    CHECK(number_in(bytes_in(answers[2], 7), 1) == 5);
    if (whole.empty()) whole = call.body;
    CHECK(call.body == whole);
  }
  // Ten thousand requests: their answers, thirty megabytes, are made as they are taken.
  FakeCall& call = rig.at.rounds->begin(kReflection);
  rig.at.rounds->takes_all = false;
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += framed(file);
  call.send(many);
  for (int i = 0; i < 10; ++i) static_cast<void>(call.pump());
  CHECK(call.slice_bytes_max < 20'000);
  CHECK(call.returned_window < many.size() / 50);
  call.cancel();

  FakeCall& bad = rig.at.rounds->begin(kReflection);
  bad.send(framed("\x0A\xFF"s));
  while (bad.pump()) {
  }
  CHECK(bad.grpc_status() == "3");
  FakeCall& cut = rig.at.rounds->begin(kReflection);
  cut.send("\0\0"s, true);
  while (cut.pump()) {
  }
  CHECK(cut.grpc_status() == "3");
}

}  // namespace kyro::test
