// Header blocks of HPACK to fields (RFC 7541 sections 5 and 6).
//
// A block is decoded to its end whatever its fields are, since the dynamic table must follow the
// encoder's; whoever has seen enough ignores the rest. An indexed field costs no copy, so a short
// block that repeats a long entry many times costs a visit each and no memory.
//
// Thread rule: one thread. Ownership: one decoder per connection; fields are valid during their
// visit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/net/http2/hpack_table.h"
#include "kyro/net/http2/huffman.h"

namespace kyro {

class HpackDecoder {
 public:
  // Calls visit(name, value) for every field of a whole block, in order. False if the block is not
  // valid: a connection error COMPRESSION_ERROR (RFC 9113 section 4.3), after which the decoder is
  // of no use.
  template <class Visit>
  [[nodiscard]] bool decode(std::string_view block, Visit visit) {
    at_ = block.data();
    end_ = at_ + block.size();
    has_changed_table_ = false;
    bool may_resize = true;  // section 4.2: only before the first field
    while (at_ != end_) {
      const auto first = static_cast<unsigned char>(*at_);
      if ((first & 0xE0u) == 0x20) {
        if (!may_resize || !resize()) return false;
        continue;
      }
      may_resize = false;
      HpackField field;
      if ((first & 0x80u) != 0) {
        uint64_t index = 0;
        if (!read_integer(7, &index) || !table_.get(index, &field)) return false;
      } else if (!read_literal(first, &field)) {
        return false;
      }
      visit(field.name, field.value);
      if ((first & 0xC0u) != 0x40) continue;
      table_.add(field.name, field.value);
      has_changed_table_ = true;
    }
    shrink();
    return true;
  }

  [[nodiscard]] const HpackTable& table() const { return table_; }
  // The last block had to do with the dynamic table but for reading it: said again, it might mean
  // something else.
  [[nodiscard]] bool has_changed_table() const { return has_changed_table_; }

 private:
  static constexpr uint64_t kIntegerMax = 1u << 24;  // more than any block could mean
  static constexpr size_t kKeptBytes = 256;

  // A dynamic table size update (section 6.3), within the size that we announced.
  bool resize() {
    uint64_t size = 0;
    if (!read_integer(5, &size) || size > HpackTable::kSizeMax) return false;
    table_.set_size_max(static_cast<uint32_t>(size));
    has_changed_table_ = true;
    return true;
  }

  // A literal field; its name is in the table or follows (section 6.2).
  bool read_literal(unsigned char first, HpackField* field) {
    const unsigned prefix = (first & 0xC0u) == 0x40 ? 6 : 4;
    uint64_t index = 0;
    if (!read_integer(prefix, &index)) return false;
    if (index != 0) {
      if (!table_.get(index, field)) return false;
    } else if (!read_string(name_, &field->name)) {
      return false;
    }
    return read_string(value_, &field->value);
  }

  // An integer whose first byte gives it `prefix` bits (section 5.1).
  bool read_integer(unsigned prefix, uint64_t* value) {
    if (at_ == end_) return false;
    const uint64_t mask = (1u << prefix) - 1;
    *value = static_cast<unsigned char>(*at_++) & mask;
    if (*value < mask) return true;
    for (unsigned shift = 0; at_ != end_ && shift <= 21; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      *value += uint64_t{byte & 0x7Fu} << shift;
      if (*value > kIntegerMax) return false;
      if ((byte & 0x80u) == 0) return true;
    }
    return false;
  }

  // A string (section 5.2): where it lies in the block, or decoded into `storage`.
  bool read_string(std::string& storage, std::string_view* text) {
    if (at_ == end_) return false;
    const bool is_huffman = (static_cast<unsigned char>(*at_) & 0x80u) != 0;
    uint64_t bytes = 0;
    if (!read_integer(7, &bytes) || bytes > static_cast<size_t>(end_ - at_)) return false;
    const std::string_view coded(at_, bytes);
    at_ += bytes;
    if (!is_huffman) {
      *text = coded;
      return true;
    }
    storage.clear();
    constexpr size_t kUnbounded = SIZE_MAX / 2;  // the shortest code word has five bits
    if (!append_huffman_decoded(storage, coded, kUnbounded)) return false;
    *text = storage;
    return true;
  }

  void shrink() {
    if (name_.capacity() > kKeptBytes) std::string().swap(name_);
    if (value_.capacity() > kKeptBytes) std::string().swap(value_);
  }

  HpackTable table_;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  bool has_changed_table_ = false;
  std::string name_;  // of Huffman strings
  std::string value_;
};

}  // namespace kyro
