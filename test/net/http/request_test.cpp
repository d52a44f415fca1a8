#include "kyro/net/http/request.h"

#include <catch2/catch.hpp>
#include <string>

namespace kyro {
namespace {

TEST_CASE("a field is found whether its lengths have been counted or not") {
  HttpRequest request;
  const std::string long_name(40, 'n');
  request.fields = {{"Host", "a"}, {"X-Other", "b"}, {long_name, "c"}};
  const auto finds_all = [&] {
    return request.header("host") == "a" && request.header("x-other") == "b" &&
           request.header(long_name) == "c" && !request.header("hosts") &&
           !request.header(std::string(50, 'n'));
  };
  CHECK(finds_all());
  request.name_lengths.clear();
  for (const HeaderField& field : request.fields) request.name_lengths.add(field.name.size());
  CHECK(finds_all());
  CHECK(request.name_lengths.may_be_any(NameLengths::of("origin", "host")));
  CHECK_FALSE(request.name_lengths.may_be_any(NameLengths::of("origin", "te")));
  CHECK(request.name_lengths.may_be(31));  // as all that are longer
  request.clear();
  CHECK_FALSE(request.header("host"));
  CHECK(request.name_lengths.may_be(6));
}

}  // namespace
}  // namespace kyro
