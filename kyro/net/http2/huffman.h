// The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//
// The code is canonical: sorted by length, then by symbol, code words count upwards. So the lengths
// are the whole table; everything else is computed from them by the compiler. Decoding looks nine
// bits up at once, which covers most text; a longer code word is found by comparing with the first
// code word of each length (Moffat and Turpin, 1997).
//
// Thread rule: pure functions. Ownership: nothing is owned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kyro {

namespace huffman_detail {

inline constexpr unsigned kSymbols = 257;  // 256 is EOS, which never stands in a string
inline constexpr unsigned kEos = 256;
inline constexpr unsigned kLongest = 30;
inline constexpr unsigned kLookupBits = 9;

// clang-format off
inline constexpr std::array<uint8_t, kSymbols> kLengths = {
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30};
// clang-format on

struct Tables {
  std::array<uint32_t, kSymbols> codes{};   // right-aligned
  std::array<uint16_t, kSymbols> sorted{};  // symbols in the order of their code words
  // For each length: its first code word, left-aligned in 32 bits, and that word's place in sorted.
  std::array<uint32_t, kLongest + 2> first{};
  std::array<uint16_t, kLongest + 2> rank{};
  struct Short {
    uint8_t symbol = 0;
    uint8_t length = 0;  // 0: the code word is longer than the lookup
  };
  std::array<Short, 1u << kLookupBits> lookup{};
};

constexpr Tables make_tables() {
  Tables tables;
  uint32_t code = 0;
  uint16_t rank = 0;
  for (unsigned length = 1; length <= kLongest; ++length) {
    code <<= 1;
    tables.first[length] = code << (32 - length);
    tables.rank[length] = rank;
    for (unsigned symbol = 0; symbol < kSymbols; ++symbol) {
      if (kLengths[symbol] != length) continue;
      tables.codes[symbol] = code;
      tables.sorted[rank++] = static_cast<uint16_t>(symbol);
      if (length <= kLookupBits) {
        const uint32_t from = code << (kLookupBits - length);
        for (uint32_t i = 0; i < 1u << (kLookupBits - length); ++i) {
          tables.lookup[from + i] = {static_cast<uint8_t>(symbol), static_cast<uint8_t>(length)};
        }
      }
      ++code;
    }
  }
  return tables;
}

inline constexpr Tables kTables = make_tables();

}  // namespace huffman_detail

// The bytes that `text` takes as a Huffman string.
[[nodiscard]] inline size_t huffman_bytes(std::string_view text) {
  size_t bits = 0;
  for (const char c : text) bits += huffman_detail::kLengths[static_cast<unsigned char>(c)];
  return (bits + 7) / 8;
}

inline void append_huffman(std::string& out, std::string_view text) {
  uint64_t pending = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const auto symbol = static_cast<unsigned char>(c);
    const unsigned length = huffman_detail::kLengths[symbol];
    pending = pending << length | huffman_detail::kTables.codes[symbol];
    bits += length;
    for (; bits >= 8; bits -= 8) out += static_cast<char>(pending >> (bits - 8) & 0xFF);
  }
  if (bits > 0) {  // filled up with the first bits of EOS, which are ones
    out += static_cast<char>((pending << (8 - bits) | 0xFFu >> bits) & 0xFF);
  }
}

// Appends the text of the Huffman string `coded`, at most `bytes_max` of it. False for what no
// encoder writes: EOS, padding of eight bits or more, padding that is not ones; and for more text.
[[nodiscard]] inline bool append_huffman_decoded(std::string& out, std::string_view coded,
                                                 size_t bytes_max) {
  using namespace huffman_detail;
  const size_t end = out.size() + bytes_max;
  uint64_t window = 0;  // the next `bits` bits, left-aligned, then zeros
  unsigned bits = 0;
  size_t at = 0;
  for (;;) {
    for (; bits <= 56 && at < coded.size(); bits += 8) {
      window |= uint64_t{static_cast<unsigned char>(coded[at++])} << (56 - bits);
    }
    if (bits == 0) return true;
    unsigned symbol = kEos;
    unsigned length = kTables.lookup[window >> (64 - kLookupBits)].length;
    if (length != 0) {
      symbol = kTables.lookup[window >> (64 - kLookupBits)].symbol;
    } else {
      const auto head = static_cast<uint32_t>(window >> 32);
      length = kLookupBits + 1;
      while (length < kLongest && head >= kTables.first[length + 1]) ++length;
      symbol =
          kTables.sorted[kTables.rank[length] + ((head - kTables.first[length]) >> (32 - length))];
    }
    if (length > bits) {  // the rest is padding
      const uint64_t ones = ~uint64_t{0} << (64 - bits);
      return bits < 8 && window == ones;
    }
    if (symbol == kEos || out.size() == end) return false;
    out += static_cast<char>(symbol);
    window <<= length;
    bits -= length;
  }
}

}  // namespace kyro
