// Entity tags: the lists of If-Match and If-None-Match, and the conditions made of them.
#include "kyro/server/routes/tags.h"

#include <catch2/catch.hpp>
#include <string>

#include "test/support/request_util.h"

namespace kyro::test {
namespace {

using Versions = std::vector<uint64_t>;

// Whether a PUT with these fields goes through where `current` is the version.
Code judged(const std::string& fields, std::optional<uint64_t> current) {
  auto tags = read_key_tags(request_with(fields));
  if (!tags.ok()) return tags.status().code();
  Condition condition;
  tags->apply_to(&condition);
  return condition.judge(current).code();
}

TEST_CASE("A list of tags names versions, weakly or strongly") {
  TagList tags;
  REQUIRE(tags.add("\"1\", W/\"2\" ,\"x\",, \"03\",\"\", \"18446744073709551615\""));
  CHECK(tags.strong == Versions{1, ~uint64_t{0}});
  CHECK(tags.weak == Versions{2});
  CHECK(tags.names(2));
  CHECK_FALSE(tags.names(3));
  REQUIRE(tags.add("\"3\""));  // a second field goes on with the list
  CHECK(tags.names(3));
  CHECK_FALSE(tags.add("*"));
}

TEST_CASE("If-None-Match takes lists, weak tags and a star, and knows what is malformed") {
  const auto names = [](const std::string& field) -> std::optional<bool> {
    const auto tags = read_tags(request_with("If-None-Match: " + field + "\r\n"), "if-none-match");
    if (!tags.ok()) return std::nullopt;
    return tags->names(7);
  };
  for (const char* yes : {"*", "\"7\"", "W/\"7\"", "\"1\", \"7\"", "\"1\",\"7\"", " \"7\" ",
                          ",\"7\",", "\"a,b\" , W/\"7\"", "\"\xC3\xA4\",\"7\""}) {
    INFO(yes);
    CHECK(names(yes) == true);
  }
  for (const char* no : {"\"8\"", "\"07\"", "\"\"", "W/\"77\"", "\"1\", \"2\""}) {
    INFO(no);
    CHECK(names(no) == false);
  }
  for (const char* bad : {"", ",", "7", "\"7", "w/\"7\"", "\"7\" \"8\"", "W/", "\"7\"x", "*,\"7\"",
                          "\"7\",*", "\"a b\"", "\"7\" ;", "**"}) {
    INFO(bad);
    CHECK(names(bad) == std::nullopt);
  }
  CHECK(read_tags(request_with("If-None-Match: \"1\"\r\nX: y\r\nif-none-match: \"7\"\r\n"),
                  "if-none-match")
            ->names(7));
  CHECK_FALSE(
      read_tags(request_with("If-None-Match: \"7\"\r\nIf-None-Match: *\r\n"), "if-none-match")
          .ok());
}

TEST_CASE("Both fields of a write have to hold, and a weak tag never matches strongly") {
  constexpr Code kOk = Code::kOk, kNo = Code::kPreconditionFailed, kBad = Code::kInvalid;
  struct Case {
    const char* fields;
    Code if_absent, if_seven;
  };
  const Case cases[] = {
      {"", kOk, kOk},
      {"If-Match: *\r\n", kNo, kOk},
      {"If-Match: \"7\"\r\n", kNo, kOk},
      {"If-Match: \"8\"\r\n", kNo, kNo},
      {"If-Match: \"8\", \"7\"\r\n", kNo, kOk},
      {"If-Match: \"8\"\r\nIf-Match: \"7\"\r\n", kNo, kOk},
      {"If-Match: W/\"7\"\r\n", kNo, kNo},
      {"If-Match: \"x\"\r\n", kNo, kNo},
      {"If-None-Match: *\r\n", kOk, kNo},
      {"If-None-Match: \"7\"\r\n", kOk, kNo},
      {"If-None-Match: W/\"7\"\r\n", kOk, kNo},
      {"If-None-Match: \"8\"\r\n", kOk, kOk},
      {"If-Match: *\r\nIf-None-Match: \"7\"\r\n", kNo, kNo},
      {"If-Match: *\r\nIf-None-Match: \"8\"\r\n", kNo, kOk},
      {"If-Match: *\r\nIf-None-Match: *\r\n", kNo, kNo},
      {"If-Match: 7\r\n", kBad, kBad},
      {"If-Match: \r\n", kBad, kBad},
      {"If-Match: \"7\"\r\nIf-None-Match: x\r\n", kBad, kBad},
  };
  for (const Case& c : cases) {
    INFO(c.fields);
    CHECK(judged(c.fields, std::nullopt) == c.if_absent);
    CHECK(judged(c.fields, 7) == c.if_seven);
  }
}

}  // namespace
}  // namespace kyro::test
