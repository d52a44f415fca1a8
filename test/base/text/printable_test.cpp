#include "kyro/base/text/printable.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace kyro {
namespace {

using namespace std::literals;

TEST_CASE("foreign text is shown on one line, without anything that drives a terminal") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""},
      {"plain text, C:\\path \"quoted\"", "plain text, C:\\path \"quoted\""},
      {"a\nkey: 5", "a\\u000akey: 5"},
      {"\x1b[31mred\r\t\0"sv, "\\u001b[31mred\\u000d\\u0009\\u0000"},
      {"\x7f", "\\u007f"},
      {"\xC2\x9B"
       "2J",
       "\\u009b2J"},
      {"\xE2\x80\xAE"
       "abc\xE2\x80\xA8\xE2\x81\xA6",
       "\\u202eabc\\u2028\\u2066"},
      {"ключ € \xF0\x9F\x97\x9D \xC2\xA0", "ключ € \xF0\x9F\x97\x9D \xC2\xA0"},
      {"\xFF\xC0\xAF \xE2\x82", "\\xff\\xc0\\xaf \\xe2\\x82"},
  };
  for (const auto& [text, shown] : cases) CHECK(printable(text) == shown);
}

}  // namespace
}  // namespace kyro
