// JsonFields: commas and brackets where they belong.
#include "kyro/base/text/json_fields.h"

#include <catch2/catch.hpp>
#include <string>

#include "kyro/json/json_reader.h"

namespace kyro::test {

TEST_CASE("Fields, elements and nested containers make one valid document") {
  std::string out;
  JsonFields json(out);
  json.open('{');
  json.field("n", uint64_t{18446744073709551615u});
  json.field("flag", true);
  json.field("text", "ends with {");
  json.exact_field("key", 18446744073709551615u);
  json.open("empty", '[');
  json.close(']');
  json.open("rows", '[');
  for (uint64_t row = 0; row < 2; ++row) {
    json.open('[');
    json.element(row);
    json.exact_element(row);
    json.element("[");
    json.element("a\"b");
    json.close(']');
  }
  json.close(']');
  json.open("inner", '{');
  json.field("small", 7u);
  json.close('}');
  json.close('}');
  CHECK(
      out ==
      "{\"n\":18446744073709551615,\"flag\":true,\"text\":\"ends with {\","
      "\"key\":\"18446744073709551615\",\"empty\":[],"
      "\"rows\":[[0,\"0\",\"[\",\"a\\\"b\"],[1,\"1\",\"[\",\"a\\\"b\"]],\"inner\":{\"small\":7}}");
  JsonReader reader(out);
  CHECK(reader.skip_value());
  CHECK(reader.finish().ok());
}

}  // namespace kyro::test
