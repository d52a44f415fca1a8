// Status and Result as values: copied, moved, assigned, and gone at the end.
#include "kyro/base/result.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

namespace kyro::test {

TEST_CASE("A status is copied with its message, and one that was moved from is ok") {
  Status first(Code::kNotFound, "here");
  Status second = first;
  CHECK(second.to_string() == "not_found: here");
  const Status third = std::move(first);
  CHECK(third.message() == "here");
  second = Status();
  CHECK(second.ok());
  CHECK(second.code() == Code::kOk);
  second = third;
  CHECK(second.code() == Code::kNotFound);
}

TEST_CASE("A result has a value or a reason, through copies, moves and assignments") {
  const auto counted = std::make_shared<int>(7);
  {
    Result<std::shared_ptr<int>> value(counted);
    Result<std::shared_ptr<int>> copy = value;
    CHECK(counted.use_count() == 3);
    Result<std::shared_ptr<int>> moved = std::move(copy);
    CHECK(counted.use_count() == 3);
    Result<std::shared_ptr<int>> failed(Status(Code::kGone, "away"));
    CHECK_FALSE(failed.ok());
    value = failed;
    CHECK(counted.use_count() == 2);
    CHECK(value.status().message() == "away");
    failed = moved;
    CHECK(failed.ok());
    CHECK(failed.status().ok());
    CHECK(**failed == 7);
    CHECK(counted.use_count() == 3);
    auto& same = failed;
    failed = same;
    CHECK(counted.use_count() == 3);
  }
  CHECK(counted.use_count() == 1);
}

TEST_CASE("A value that cannot be copied is taken out of its result") {
  Result<std::unique_ptr<std::string>> result(std::make_unique<std::string>("only one"));
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<decltype(result)>);
  REQUIRE(result.ok());
  const std::unique_ptr<std::string> taken = std::move(result).value();
  CHECK(*taken == "only one");
}

}  // namespace kyro::test
