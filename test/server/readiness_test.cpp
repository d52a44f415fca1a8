#include "kyro/server/readiness.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "kyro/server/observe/replica_stats.h"
#include "test/support/engine_harness.h"

namespace kyro::test {

TEST_CASE("a replica that has not looked at its log yet catches up, and is not ready") {
  FaultFs fs;
  auto engine = must_open(small_options(fs));
  CHECK_FALSE(why_not_ready(engine.get(), nullptr));
  CHECK(ready_body(*engine, nullptr) == "{\"status\":\"ready\"}");
  const auto recovering = why_not_ready(nullptr, nullptr, 7);
  REQUIRE(recovering);
  CHECK(unready_body(*recovering) == "{\"status\":\"recovering\",\"replayed\":7}");

  const Replica replica({.url = LogUrl::parse("http://127.0.0.1:1/orders").value()});
  const auto why = why_not_ready(engine.get(), &replica);
  REQUIRE(why);
  CHECK(unready_body(*why) == "{\"status\":\"catching_up\",\"lag\":0}");
  CHECK(why->why == "0 records of the log are not here yet");
  // What the store itself has to say comes first.
  CHECK(why_not_ready(nullptr, &replica)->state == "recovering");

  must_put(*engine, 1, "one");
  std::string text;
  JsonFields json(text);
  json.open('{');
  render_shared_log(json, replica, engine.get());
  json.close('}');
  CHECK(text ==
        "{\"shared_log\":{\"name\":\"orders\",\"state\":\"catching_up\",\"head\":1,\"lag\":0,"
        "\"lag_ms\":0,\"endpoint\":\"127.0.0.1:1\",\"last_writer\":\"none\"}}");
}

TEST_CASE("what has made a store leave the log says how to go on") {
  const struct {
    Code code;
    std::string word;
    std::string advice;
  } stops[] = {
      {Code::kGone, "log_trimmed", "kyrodb restore --replica"},
      {Code::kNotFound, "log_missing", "kyrodb log init"},
      {Code::kInvalid, "log_foreign", "the name of the log in --log"},
      {Code::kExists, "log_behind", "decide which past counts"},
      {Code::kUnsupported, "log_newer", "upgrade this server"},
      {Code::kCorruption, "log_broken", "decide which past counts"},
  };
  const QuietLog quiet;
  for (const auto& stop : stops) {
    INFO(stop.word);
    LogHealth health;
    CHECK(health.reason().empty());
    CHECK(health.reason_word() == "none");
    const Status noted = health.note(Status(stop.code, "what happened"));
    CHECK(noted.code() == Code::kLogUnreachable);
    CHECK(health.reason_word() == stop.word);
    CHECK(health.reason().find("has left the shared log: what happened; ") != std::string::npos);
    CHECK(health.reason().find(stop.advice) != std::string::npos);
    CHECK(noted.message() == health.reason());
    CHECK(std::find(LogHealth::kStopWords.begin(), LogHealth::kStopWords.end(), stop.word) !=
          LogHealth::kStopWords.end());
  }
}

}  // namespace kyro::test
