#include "kyro/client/shard_map.h"

#include <catch2/catch.hpp>
#include <string>

#include "test/support/test_util.h"

namespace kyro::test {

TEST_CASE("A slot map says which shard has a key, and where it is") {
  const auto map = ShardMap::parse(
      "# a comment\r\n\n  10:16383   b \n#url a http://one:1\n#url b unix:/two\n0:8 a\n9 a\n");
  REQUIRE(map.ok());
  REQUIRE(map->shards().size() == 2);
  CHECK(map->shards()[0].name == "a");
  CHECK(map->shards()[1].url == "unix:/two");
  for (uint64_t key = 0; key < 20'000; ++key) {
    REQUIRE(map->shard_of(key) == (slot_of(key) < 10 ? 0u : 1u));
  }
}

TEST_CASE("A slot map that is not whole or says a thing twice is refused with its line") {
  const std::string urls = "#url a http://h:1\n#url b http://h:2\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "slot 0 has no shard"},
      {urls + "0:16382 a\n", "slot 16383 has no shard"},
      {urls + "0:16383 a\n7 b\n", "line 4: slot 7 has a shard already"},
      {urls + "0:16383 c\n", "line 3: shard \"c\" has no line #url"},
      {urls + "0:16384 a\n", "line 3: slots are numbers from 0 to 16383"},
      {urls + "0-16383 a\n", "line 3: slots are numbers from 0 to 16383"},
      {urls + "0:16383\n", "line 3: shard \"\" has no line #url"},
      {urls + "#url a http://h:3\n", "line 3: shard a has a URL already"},
      {"#url a\n", "line 1: #url needs a shard and a URL"},
  };
  for (const auto& [text, why] : cases) {
    INFO(text);
    const auto map = ShardMap::parse(text);
    CHECK(map.status().code() == Code::kInvalid);
    CHECK(map.status().message().find(why) == 0);
  }
}

}  // namespace kyro::test
