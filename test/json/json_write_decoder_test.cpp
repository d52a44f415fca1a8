// The decoder of writes, slice by slice.
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>

#include "kyro/json/record_json.h"
#include "test/support/test_util.h"

namespace kyro {
namespace {

using test::GuardedBytes;

// Decodes a copy of `text` in slices; what came out, or the error.
std::string in_slices(std::string_view text, size_t slice_bytes, size_t* slices) {
  GuardedBytes guarded(text);
  JsonWrite write;
  JsonWriteDecoder decoder({guarded.data(), text.size()}, JsonWriteKind::kBatchLine, &write);
  for (*slices = 1; !decoder.advance(slice_bytes); ++*slices) continue;
  const Status status = decoder.finish();
  if (!status.ok()) return status.to_string();
  return std::to_string(write.key.value_or(0)) + ":" + std::string(write.value.value_or("none")) +
         ":" + write.op + ":" + std::to_string(write.ttl_secs.value_or(0));
}

TEST_CASE("a write decoded in slices is the write decoded at once, whatever the slices") {
  const uint64_t seed = test::test_seed(21);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kPieces[] = {"plain",
                                          "\xD1\x8A",
                                          "\xF0\x9F\x92\x96",
                                          R"(\n)",
                                          R"(\")",
                                          R"(\u20ac)",
                                          R"(\ud83d\ude00)",
                                          R"(\u0000)",
                                          "%",
                                          " ",
                                          R"(\\)",
                                          R"(\/)"};
  for (int round = 0; round < 5000; ++round) {
    std::string value;
    const bool is_base64 = round % 3 == 0;
    for (uint64_t i = random() % 60; i > 0; --i) value += kPieces[random() % 12];
    if (is_base64) {
      std::string bytes = value;
      value.clear();
      append_base64(value, bytes);
      if (random() % 4 == 0 && !value.empty()) value[random() % value.size()] = '=';
    }
    std::string text = std::string(R"({"op":"put",)") +
                       (is_base64 ? R"("value_base64":")" : R"("value":")") + value +
                       R"(","key":7,"ttl_secs":3} )";
    if (random() % 3 == 0) text[random() % text.size()] = static_cast<char>(random());
    size_t slices = 0;
    const std::string whole = in_slices(text, ~size_t{0}, &slices);
    REQUIRE(in_slices(text, 1 + random() % 40, &slices) == whole);
    JsonWrite write;
    const Status status = decode_json_write(text, JsonWriteKind::kBatchLine, &write);
    REQUIRE((status.ok() || status.to_string() == whole));
  }
}

TEST_CASE("no slice of a large value is more work than its budget, in every spelling") {
  constexpr size_t kValueBytes = 3'000'000;
  constexpr size_t kSliceBytes = 64 * 1024;
  std::string escaped;
  for (size_t i = 0; i < kValueBytes; ++i) escaped += R"(\u0041)";
  std::string base64;
  append_base64(base64, std::string(kValueBytes, 'x'));
  for (const std::string& text : {R"({"key":1,"value":")" + std::string(kValueBytes, 'v') + "\"}",
                                  R"({"key":1,"value":")" + escaped + "\"}",
                                  R"({"key":1,"value_base64":")" + base64 + "\"}"}) {
    size_t slices = 0;
    const std::string whole = in_slices(text, kSliceBytes, &slices);
    CHECK(whole.size() == std::string("1:::0").size() + kValueBytes);
    CHECK(slices >= text.size() / kSliceBytes);
    CHECK(slices <= 2 * text.size() / kSliceBytes + 4);
  }
}

}  // namespace
}  // namespace kyro
