// Fields to header blocks of HPACK (RFC 7541 section 6).
//
// What an answer says again and again (its type, the second it was made in, its status) becomes an
// entry of the dynamic table and then one byte; what is different each time is sent as a literal
// that is not indexed. The table is kept small, since it is searched from end to end (some twelve
// entries) and every connection has one.
//
// Thread rule: one thread. Ownership: one encoder per connection; blocks must be sent in the order
// in which they were made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/net/http2/hpack_table.h"
#include "kyro/net/http2/huffman.h"

namespace kyro {

class HpackEncoder {
 public:
  static constexpr uint32_t kTableBytes = 512;

  enum class Repeats : uint8_t {
    kYes,  // worth an entry of the table
    kNo,
  };

  // The peer's SETTINGS_HEADER_TABLE_SIZE; the next block announces what becomes of it.
  void set_peer_table_size(uint32_t bytes) {
    const uint32_t size = std::min(bytes, kTableBytes);
    if (size == table_.size_max() && !must_announce_) return;
    ++version_;
    smallest_ = must_announce_ ? std::min(smallest_, size) : size;
    table_.set_size_max(size);
    must_announce_ = true;
  }

  // Begins a block: fields follow.
  void begin(std::string& out) {
    if (!must_announce_) return;
    must_announce_ = false;
    if (smallest_ < table_.size_max()) append_integer(out, 0x20, 5, smallest_);
    append_integer(out, 0x20, 5, table_.size_max());
  }

  // REQUIRES: the name in lower case.
  void append(std::string& out, std::string_view name, std::string_view value, Repeats repeats) {
    uint64_t name_index = 0;
    if (const uint64_t index = find(name, value, &name_index)) {
      append_integer(out, 0x80, 7, index);
      return;
    }
    const bool is_added =
        repeats == Repeats::kYes &&
        name.size() + value.size() + HpackTable::kEntryOverhead <= table_.size_max();
    append_integer(out, is_added ? 0x40 : 0x00, is_added ? 6 : 4, name_index);
    if (name_index == 0) append_string(out, name);
    append_string(out, value);
    if (!is_added) return;
    table_.add(name, value);
    ++version_;
  }

  // Fields are coded alike as long as this stays the same.
  [[nodiscard]] uint64_t version() const { return version_; }

 private:
  // The index of the whole field, or 0; then *name_index is that of a field of this name, or 0.
  [[nodiscard]] uint64_t find(std::string_view name, std::string_view value,
                              uint64_t* name_index) const {
    if (const uint64_t index = table_.find(name, value, name_index)) return index;
    for (const uint8_t index : kHpackStaticNames.of_length(name.size())) {
      const HpackField& known = kHpackStatic[index - 1];
      if (known.name != name) continue;
      if (known.value == value) return index;
      *name_index = index;
    }
    return 0;
  }

  static void append_integer(std::string& out, unsigned pattern, unsigned prefix, uint64_t value) {
    const uint64_t mask = (1u << prefix) - 1;
    if (value < mask) {
      out += static_cast<char>(pattern | value);
      return;
    }
    out += static_cast<char>(pattern | mask);
    for (value -= mask; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
    out += static_cast<char>(value);
  }

  static void append_string(std::string& out, std::string_view text) {
    const size_t coded_bytes = huffman_bytes(text);
    if (coded_bytes < text.size()) {
      append_integer(out, 0x80, 7, coded_bytes);
      append_huffman(out, text);
    } else {
      append_integer(out, 0, 7, text.size());
      out.append(text);
    }
  }

  HpackTable table_{kTableBytes};
  uint64_t version_ = 0;
  // The peer takes the table to be of 4096 bytes until told.
  bool must_announce_ = true;
  uint32_t smallest_ = kTableBytes;
};

}  // namespace kyro
