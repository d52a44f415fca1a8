#include "kyro/replica/log_url.h"

#include <catch2/catch.hpp>
#include <string>

namespace kyro {
namespace {

using Catch::Matchers::Contains;

std::string refusal(const std::string& text) {
  const auto url = LogUrl::parse(text);
  CHECK_FALSE(url.ok());
  return std::string(url.status().message());
}

TEST_CASE("the address of a shared log is its members and its name") {
  const auto one = LogUrl::parse("http://127.0.0.1:2379/orders");
  REQUIRE(one.ok());
  CHECK(one->is_given());
  CHECK(one->name == "orders");
  CHECK(one->text == "http://127.0.0.1:2379/orders");
  REQUIRE(one->members.size() == 1);
  CHECK(one->members[0].name == "127.0.0.1:2379");

  const auto three =
      LogUrl::parse("http://10.0.0.1:2379, http://10.0.0.2:2379,http://[::1]:80/eu-1.a_B");
  REQUIRE(three.ok());
  CHECK(three->name == "eu-1.a_B");
  REQUIRE(three->members.size() == 3);
  CHECK(three->members[1].name == "10.0.0.2:2379");
  CHECK(three->members[2].host == "[::1]:80");
  CHECK_FALSE(LogUrl().is_given());
}

TEST_CASE("an address that names no log or no member is refused with what it should be") {
  for (const char* text :
       {"", "orders", "/", "http://", "http://127.0.0.1:2379", "http://x", "127.0.0.1:2379/orders",
        "http://127.0.0.1/orders", "http://127.0.0.1:2379,/orders", "http://127.0.0.1:2379/a/b",
        "unix:/run/etcd/orders"}) {
    INFO(text);
    CHECK_THAT(refusal(text), Contains("must be http://HOST:PORT[,http://HOST:PORT"));
  }
  for (const char* text : {"http://127.0.0.1:2379/", "http://127.0.0.1:2379/a b",
                           "http://127.0.0.1:2379/a%2Fb", "http://127.0.0.1:2379/\xc3\xa4"}) {
    INFO(text);
    CHECK_THAT(refusal(text), Contains("has a name of 1 to 64 letters"));
  }
  CHECK_THAT(refusal("http://127.0.0.1:2379/" + std::string(65, 'n')), Contains("1 to 64"));
  CHECK(LogUrl::parse("http://127.0.0.1:2379/" + std::string(64, 'n')).ok());
  CHECK_THAT(refusal("https://127.0.0.1:2379/orders"), Contains("put a proxy on this machine"));
  for (const char* text : {"http://etcd.example:2379/orders", "http://127.0.0.1:0/orders",
                           "http://127.0.0.1:70000/orders", "http://127.0.0.1:x/orders"}) {
    INFO(text);
    CHECK_THAT(refusal(text), Contains("takes members as addresses"));
  }
  CHECK(refusal("http://me:secret@127.0.0.1:2379/orders") ==
        "has no place for a user: --log-user and --log-password-file say who asks");
  std::string many;
  for (int i = 0; i < 17; ++i) many += (i == 0 ? "" : ",") + std::string("http://127.0.0.1:1");
  CHECK_THAT(refusal(many + "/n"), Contains("16 members at most"));
}

}  // namespace
}  // namespace kyro
