// What the encoders of answers and the decoders of bodies move in a second: base64, JSON text, the
// judgement whether bytes are UTF-8, one value of 16 MiB in pieces of 64 KiB. Beside them memcpy of
// the same pieces as the limit, and EVP_EncodeBlock where OpenSSL is installed (Debian:
// libssl-dev).
//
//   build/bench/text_bench [MiB of the value]
//
// Prints CSV: what, of what, GB of the value per second (the best and the median of nine passes).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/settings.h"
#include "bench/slices.h"
#include "kyro/base/text/utf8.h"
#include "kyro/json/record_encoder.h"
#include "kyro/json/record_json.h"

#if __has_include(<openssl/evp.h>) && defined(KYRO_BENCH_OPENSSL)
#include <openssl/evp.h>
#define KYRO_HAS_OPENSSL 1
#else
#define KYRO_HAS_OPENSSL 0
#endif

namespace kyro::bench {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;
volatile size_t sink;

template <class Run>
void measure(const char* what, const char* of, size_t bytes, const Run& run) {
  constexpr int kPasses = 9;
  std::vector<double> rates;
  run();
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    rates.push_back(static_cast<double>(bytes) / took.count() / 1e9);
  }
  std::printf("%s,%s,%.2f,%.2f\n", what, of, quantile(rates, 1), quantile(rates, 0.5));
}

// The value as an answer has it, a piece after the other in the same memory.
void encode_in_pieces(std::string_view value) {
  RecordEncoder record;
  std::string piece;
  record.begin_item(1, value, 2, false);
  size_t total = 0;
  for (bool is_done = false; !is_done;) {
    piece.clear();
    is_done = record.advance(piece, kPieceBytes);
    total += piece.size();
  }
  sink = total;
}

void measure_value(const char* of, const std::string& value) {
  std::string copy(kPieceBytes, '\0');
  measure("memcpy", of, value.size(), [&] {
    for (size_t at = 0; at < value.size(); at += kPieceBytes) {
      std::memcpy(copy.data(), value.data() + at, std::min(kPieceBytes, value.size() - at));
      asm volatile("" : : "r"(copy.data()) : "memory");
    }
  });
  measure("is_valid_utf8", of, value.size(), [&] { sink = is_valid_utf8(value) ? 1 : 0; });
  measure("utf8_portable", of, value.size(),
          [&] { sink = utf8_detail::is_valid_portable(value) ? 1 : 0; });
  measure("answer_in_pieces", of, value.size(), [&] { encode_in_pieces(value); });
  std::string text;
  append_item(text, 1, value, 2, false);
  JsonWrite write;
  measure("decode_put", of, value.size(),
          [&] { sink = decode_json_put(text, &write).ok() ? write.value->size() : 0; });
}

void measure_base64(const std::string& value) {
  constexpr size_t kGroups = kPieceBytes / 4;
  const size_t groups = value.size() / 3;
  std::string text(4 * kGroups + 1, '\0');
  const auto in_pieces = [&](const auto& encode) {
    for (size_t at = 0; at < groups; at += kGroups) {
      encode(value.data() + 3 * at, std::min(kGroups, groups - at));
    }
  };
  measure("base64_encode", "random", value.size(), [&] {
    in_pieces([&](const char* from, size_t n) { encode_base64_groups(from, n, text.data()); });
  });
  measure("base64_encode_portable", "random", value.size(), [&] {
    in_pieces(
        [&](const char* from, size_t n) { base64_detail::encode_portable(from, n, text.data()); });
  });
#if KYRO_HAS_OPENSSL
  measure("EVP_EncodeBlock", "random", value.size(), [&] {
    in_pieces([&](const char* from, size_t n) {
      sink = static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                 reinterpret_cast<const unsigned char*>(from),
                                                 static_cast<int>(3 * n)));
    });
  });
#endif
  std::string whole;
  append_base64(whole, value);
  std::string bytes(whole.size(), '\0');
  measure("base64_decode", "random", value.size(), [&] {
    sink = decode_base64_groups(whole.data(), whole.size() / 4 - 1, bytes.data()) ? 1 : 0;
  });
}

std::string repeated(std::string_view text, size_t bytes) {
  std::string value;
  while (value.size() < bytes) value += text;
  return value;
}

void run(size_t bytes) {
  std::printf("# commit %s, %zu MiB values, pieces of %zu KiB\n", KYRO_COMMIT, bytes >> 20,
              kPieceBytes >> 10);
  std::printf("what,of,best_gb_per_s,median_gb_per_s\n");
  std::mt19937_64 random(1);
  std::string noise(bytes, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  measure_base64(noise);
  measure_value("random", noise);
  measure_value("ascii", repeated("The quick brown fox jumps over the lazy dog. ", bytes));
  measure_value("json", repeated(R"({"name":"a value","text":"in quotes"},)", bytes));
  measure_value("cyrillic", repeated("Съешь ещё этих мягких французских булок. ", bytes));
  measure_value("controls", repeated("\x01\x02\n", bytes));
}

}  // namespace
}  // namespace kyro::bench

int main(int argc, char** argv) {
  const long mib = argc > 1 ? std::atol(argv[1]) : 16;
  if (mib <= 0) {
    std::fprintf(stderr, "usage: text_bench [MiB of the value]\n");
    return 64;
  }
  kyro::bench::run(static_cast<size_t>(mib) << 20);
  return 0;
}
