// Fuzzes the index file: opens arbitrary bytes, and valid files with patches under valid checksums,
// and looks everything up in what passes. Any read outside the bytes is a crash, any loop a hang.
//
//   clang++ -std=c++20 -I. -O1 -g -fsanitize=fuzzer,address,undefined \
//           test/fuzz/rmi_file_fuzz.cpp -o rmi_file_fuzz && ./rmi_file_fuzz
//
// Input: the first byte chooses. 255: the rest is a file. Else: a file over one of a few key sets,
// changed by patches of 11 bytes (place: 2 bytes, how: 1, value: 8).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kyro/base/byte_sink.h"
#include "kyro/index/rmi.h"
#include "kyro/index/rmi_builder.h"
#include "test/support/rmi_reseal.h"

namespace {

// Key set `which`: from evenly spread to gaps of wildly different sizes.
std::vector<kyro::IndexEntry> entries_of(uint8_t which) {
  std::vector<kyro::IndexEntry> entries;
  uint64_t key = which;
  uint64_t state = which * 0x9E3779B97F4A7C15ull + 1;
  const size_t count = which % 8 == 0 ? which / 8 : 60 + which;
  for (size_t i = 0; i < count; ++i) {
    entries.push_back({key, i * 16});
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const uint64_t bits = which % 4 == 0 ? 20 : 1 + (state >> 58) % (which % 4 * 15);
    key += 1 + (state & ((uint64_t{1} << bits) - 1));
  }
  return entries;
}

void patch(std::vector<std::byte>& file, const uint8_t* data, size_t size) {
  const kyro::RmiTrailer sane = kyro::test::trailer_of(file);
  const uint64_t trailer = file.size() - sizeof(kyro::RmiTrailer);
  for (; size >= 11; data += 11, size -= 11) {
    const uint64_t place = kyro::load<uint16_t>(data);
    const uint64_t value = kyro::load_u64(data + 3);
    const bool model = (data[2] & 1) != 0;
    const uint64_t from = model ? sane.words_offset : 0;
    const uint64_t to = (data[2] & 2) != 0 ? file.size() : trailer;
    if (to - from < 8) continue;
    std::byte* at = file.data() + from + place % ((to - from) / 8) * 8;
    kyro::store_u64(at, (data[2] & 4) != 0 ? kyro::load_u64(at) ^ value : value);
  }
  kyro::test::reseal_rmi_file(file, sane);
}

void look(std::span<const std::byte> bytes, const std::vector<kyro::IndexEntry>& entries) {
  if (bytes.size() < sizeof(kyro::RmiTrailer)) return;
  const uint64_t count = kyro::test::trailer_of(bytes).entry_count;
  const auto index = kyro::RmiIndex::open(bytes, count, ~uint64_t{0});
  if (!index.ok()) return;
  uint64_t sum = index->verify().ok() ? 1 : 0;
  for (const kyro::IndexEntry& entry : entries) {
    sum += kyro::test::look_everywhere(*index, entry.key);
    sum += kyro::test::look_everywhere(*index, entry.key + 1);
  }
  for (int bit = 0; bit < 64; ++bit) {
    sum += kyro::test::look_everywhere(*index, uint64_t{1} << bit);
    sum += kyro::test::look_everywhere(*index, (uint64_t{1} << bit) - 1);
  }
  volatile uint64_t sink = sum;
  static_cast<void>(sink);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> file;
  std::vector<kyro::IndexEntry> entries;
  if (data[0] == 255) {
    file.resize(size - 1);
    if (size > 1) std::memcpy(file.data(), data + 1, size - 1);
  } else {
    entries = entries_of(data[0]);
    kyro::VectorSink sink;
    if (!kyro::build_rmi(entries, kyro::RmiOptions{.target_leaf = 64, .eps_mult = 1.0}, sink)
             .ok()) {
      __builtin_trap();
    }
    file = sink.take();
    patch(file, data + 1, size - 1);
  }
  // An exact allocation, so that the address sanitizer sees one byte too far.
  const auto exact = std::make_unique<std::byte[]>(file.size());
  if (!file.empty()) std::memcpy(exact.get(), file.data(), file.size());
  look({exact.get(), file.size()}, entries);
  return 0;
}
