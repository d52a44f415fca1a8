#include "kyro/storage/manifest.h"

#include <catch2/catch.hpp>

#include "test/support/test_util.h"

namespace kyro::test {
namespace {

Manifest sample() {
  Manifest manifest;
  manifest.database_id = "0123456789abcdef0123456789abcdef";
  manifest.generation = 7;
  manifest.next_offset = ~uint64_t{0};
  manifest.flushed_offset = 500;
  manifest.next_run = 10;
  manifest.runs.push_back({9, 3, 1, 1, 0, ~uint64_t{0}, 300, 500, 1234, 0xFFFFFFFF});
  manifest.runs.push_back({4, 1, 0, 0, 5, 5, 0, 300, 33, 1});
  manifest.segments.push_back({100, 1, 100, 0});
  manifest.segments.push_back({5000, ~uint64_t{0}, 600, 0});
  manifest.clock = {"00112233445566778899aabbccddeeff", 1, 2, ~uint64_t{0}};
  return manifest;
}

Manifest must_decode(const std::string& text) {
  auto manifest = decode_manifest(text);
  INFO(manifest.status().to_string());
  REQUIRE(manifest.ok());
  return std::move(*manifest);
}

// `text` with a checksum that fits.
std::string resealed(std::string text) {
  text.resize(text.rfind(",\"crc\":\""));
  char crc[24];
  std::snprintf(crc, sizeof crc, ",\"crc\":\"%08x\"}\n", crc32c(text));
  return text + crc;
}

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return resealed(text.replace(at, from.size(), to));
}

}  // namespace

TEST_CASE("a manifest comes back as it was written") {
  const Manifest manifest = sample();
  const std::string text = encode_manifest(manifest);
  CHECK(text.find('\n') == text.size() - 1);
  const Manifest back = must_decode(text);
  CHECK(back.database_id == manifest.database_id);
  CHECK(back.generation == 7);
  CHECK(back.next_offset == ~uint64_t{0});
  CHECK(back.flushed_offset == 500);
  CHECK(back.next_run == 10);
  CHECK(back.runs == manifest.runs);
  REQUIRE(back.segments.size() == 2);
  CHECK(back.segments[1].first_offset == 5000);
  CHECK(back.segments[1].nonce == ~uint64_t{0});
  CHECK(back.segments[1].previous_end == 600);
  CHECK(back.clock == manifest.clock);
  CHECK(encode_manifest(back) == text);
}

TEST_CASE("a manifest of format 1, and one without a clock, can be read") {
  Manifest manifest = sample();
  manifest.clock.reset();
  const std::string text = encode_manifest(manifest);
  CHECK(!must_decode(text).clock);
  CHECK(must_decode(with(text, "{\"format\":2", "{\"format\":1")).runs == manifest.runs);
}

TEST_CASE("a manifest that is changed, cut or extended anywhere is refused") {
  const std::string text = encode_manifest(sample());
  for (size_t at = 0; at < text.size(); ++at) {
    INFO("at " << at);
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    REQUIRE(!decode_manifest(damaged).ok());
    REQUIRE(decode_manifest(text.substr(0, at)).status().code() == Code::kCorruption);
  }
  CHECK(decode_manifest(text + " ").status().code() == Code::kCorruption);
}

TEST_CASE("a manifest of a newer format is refused by name, whatever else it says") {
  for (const char* text :
       {"{\"format\":3,\"crc\":\"\"}\n", "{\"format\":99,\"x\":[],\"crc\":\"\"}\n"}) {
    INFO(text);
    CHECK(decode_manifest(resealed(text)).status().code() == Code::kUnsupported);
    CHECK(decode_manifest(text).status().code() == Code::kCorruption);  // damaged, who knows
  }
  const std::string absurd = resealed("{\"format\":18446744073709551616,\"crc\":\"\"}\n");
  CHECK(decode_manifest(absurd).status().code() == Code::kCorruption);
}

TEST_CASE("a manifest that contradicts itself is refused even with a right checksum") {
  const std::string text = encode_manifest(sample());
  REQUIRE(decode_manifest(resealed(text)).ok());
  const std::pair<const char*, const char*> changes[] = {
      {"\"flushed_offset\":500", "\"flushed_offset\":499"},      // a run ends after it
      {"\"end_offset\":300", "\"end_offset\":301"},              // runs overlap
      {"\"id\":9", "\"id\":10"},                                 // not below next_run
      {"\"records\":3", "\"records\":0"},                        //
      {"\"key_min\":5", "\"key_min\":6"},                        // above key_max
      {"\"first_offset\":5000", "\"first_offset\":100"},         // segments do not ascend
      {"\"previous_end\":600", "\"previous_end\":6000"},         // behind its own start
      {"\"previous_end\":600", "\"previous_end\":99"},           // before the one before it begins
      {"\"first_offset\":100,\"nonce\":1,\"previous_end\":100",  // the log begins behind the runs
       "\"first_offset\":501,\"nonce\":1,\"previous_end\":501"},
      {"\"nonce\":1", "\"nonce\":0"},                     //
      {"\"record_crc\":1", "\"record_crc\":4294967296"},  // beyond its type
      {"\"record_crc\":1", "\"record_crc\":-1"},          //
      {"\"generation\":7", "\"generation\":7.0"},         //
      {"\"tombstones\":1,", ""},                          // a field is missing
      {"\"tombstones\":1,", "\"tombstones\":1,\"tombstones\":1,"},
      {"\"tombstones\":1,", "\"tombstones\":1,\"more\":1,"},
      {"\"generation\":7", "\"generation\":7,\"more\":1"},
      {"0123456789abcdef0", ""},
      {",\"store_ns\":2", ""},
      {",\"store_ns\":2", ",\"store_ns\":2,\"store_ns\":2"},
      {"\"boot_ns\":1,\"store_ns\":2", "\"store_ns\":2,\"boot_ns\":1"},
  };
  for (const auto& [from, to] : changes) {
    INFO(from << " -> " << to);
    CHECK(decode_manifest(with(text, from, to)).status().code() == Code::kCorruption);
  }
}

}  // namespace kyro::test
