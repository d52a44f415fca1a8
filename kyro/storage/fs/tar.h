// The head of a file in a tar archive (POSIX ustar), as far as a backup needs it.
//
//   at   bytes
//    0    100   name, ends with a zero unless it has all of them
//  100      8   mode, octal;  108: 8 user, 116: 8 group
//  124     12   size, octal, or from 8 GiB on big-endian with the top bit set (as GNU tar does)
//  136     12   Unix time, octal
//  148      8   sum of all bytes of the head, these eight taken as blanks, octal
//  156      1   type: '0' or zero a file, '5' a directory, others are not for us
//  257      8   "ustar", a zero, "00" (GNU: "ustar  ", a zero)
//  345    155   directories before the name; empty here
//
// Then the file's bytes, filled up with zeros to a block. Two blocks of zeros end an archive.
//
// Strict, because an archive comes from anywhere: a name is plain, links and devices are refused.
//
// Thread rule: pure functions over views.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/status.h"

namespace kyro {

inline constexpr uint64_t kTarBlockBytes = 512;
inline constexpr uint64_t kTarEndBytes = 2 * kTarBlockBytes;
inline constexpr uint64_t kTarFileBytesMax = uint64_t{1} << 62;

// What a file of so many bytes takes without its head.
[[nodiscard]] constexpr uint64_t tar_padded(uint64_t bytes) {
  return (bytes + kTarBlockBytes - 1) / kTarBlockBytes * kTarBlockBytes;
}

struct TarEntry {
  enum class Kind : uint8_t {
    kFile,
    kNothing,  // the directory itself, as `tar -C DIR .` puts it
    kEnd,      // a block of zeros
  };
  Kind kind = Kind::kEnd;
  std::string name;
  uint64_t bytes = 0;
};

namespace tar_detail {

constexpr size_t kSizeAt = 124;
constexpr size_t kSumAt = 148;

inline uint64_t sum_of(std::string_view head) {
  uint64_t sum = 0;
  for (size_t i = 0; i < head.size(); ++i) {
    const bool is_in_sum = i >= kSumAt && i < kSumAt + 8;
    sum += is_in_sum ? uint8_t{' '} : static_cast<uint8_t>(head[i]);
  }
  return sum;
}

// A number in octal; false if it is something else.
inline bool read_octal(std::string_view field, uint64_t* out) {
  field = field.substr(0, field.find('\0'));
  while (field.starts_with(' ')) field.remove_prefix(1);
  while (field.ends_with(' ')) field.remove_suffix(1);
  *out = 0;
  for (const char c : field) {
    if (c < '0' || c > '7') return false;
    *out = *out * 8 + static_cast<uint64_t>(c - '0');  // at most 12 digits
  }
  return !field.empty();
}

inline bool read_size(std::string_view field, uint64_t* out) {
  if (static_cast<uint8_t>(field[0]) != 0x80) return read_octal(field, out);
  *out = 0;
  for (const char c : field.substr(1)) {
    if (*out >> 56 != 0) return false;
    *out = *out << 8 | static_cast<uint8_t>(c);
  }
  return true;
}

inline bool is_plain_name(std::string_view name) {
  const auto is_odd = [](char c) { return c <= ' ' || c > '~' || c == '/' || c == '\\'; };
  return !name.empty() && name[0] != '.' && std::none_of(name.begin(), name.end(), is_odd);
}

}  // namespace tar_detail

// The head of a file. REQUIRES: a plain name of at most 100 bytes.
[[nodiscard]] inline std::string encode_tar_head(std::string_view name, uint64_t bytes,
                                                 uint64_t modified_secs) {
  using namespace tar_detail;
  std::string head(kTarBlockBytes, '\0');
  const auto put = [&](size_t at, std::string_view text) { head.replace(at, text.size(), text); };
  char text[32];
  const auto put_octal = [&](size_t at, int digits, uint64_t n) {
    std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(n));
    put(at, text);
  };
  put(0, name);
  put(100, "0000600");
  put(108, "0000000");
  put(116, "0000000");
  if (bytes < uint64_t{1} << 33) {
    put_octal(kSizeAt, 11, bytes);
  } else {
    head[kSizeAt] = static_cast<char>(0x80);
    for (size_t i = 0; i < 8; ++i) head[kSizeAt + 11 - i] = static_cast<char>(bytes >> 8 * i);
  }
  put_octal(136, 11, std::min(modified_secs, (uint64_t{1} << 33) - 1));
  head[156] = '0';
  put(257, std::string_view("ustar\0"
                            "00",
                            8));
  put_octal(kSumAt, 6, sum_of(head));
  head[kSumAt + 7] = ' ';
  return head;
}

// What a block of kTarBlockBytes says. kCorruption where it is no head, kUnsupported for what has
// no place in a backup.
[[nodiscard]] inline Result<TarEntry> decode_tar_head(std::string_view head) {
  using namespace tar_detail;
  TarEntry entry;
  if (head.find_first_not_of('\0') == head.npos) return entry;
  uint64_t sum = 0;
  if (head.substr(257, 5) != "ustar" || !read_octal(head.substr(kSumAt, 8), &sum) ||
      sum != sum_of(head)) {
    return Status(Code::kCorruption, "not the head of a file in a tar archive");
  }
  std::string_view name = head.substr(0, 100);
  name = name.substr(0, name.find('\0'));
  const char type = head[156];
  if (type == '5' && (name == "./" || name == ".")) {
    entry.kind = TarEntry::Kind::kNothing;
    return entry;
  }
  if (name.starts_with("./")) name.remove_prefix(2);
  if (!is_plain_name(name) || head[345] != '\0') {
    return Status(Code::kUnsupported, "a name that no file of a backup has");
  }
  if (type != '0' && type != '\0') {
    return Status(Code::kUnsupported, std::string(name) + " is no regular file");
  }
  if (!read_size(head.substr(kSizeAt, 12), &entry.bytes) || entry.bytes > kTarFileBytesMax) {
    return Status(Code::kCorruption, std::string(name) + " has no size that makes sense");
  }
  entry.kind = TarEntry::Kind::kFile;
  entry.name = name;
  return entry;
}

}  // namespace kyro
