// The memory of the last header block that an answer was given, so that one that says the same is
// not coded again: servers repeat themselves as much as their clients do.
//
// What a block is coded to depends on the dynamic table of its connection and on the date; a block
// is known until one of them changes. What is different in each answer (content-length) stands
// after it.
//
// Thread rule: one thread. Ownership: owns copies; nothing is allocated.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kyro {

class AnswerMemory {
 public:
  static constexpr size_t kKeyBytesMax = 64;
  static constexpr size_t kBlockBytesMax = 32;

  // What a block depends on.
  struct Key {
    std::string_view type = {};    // Content-Type
    std::string_view fields = {};  // all the others, as the exchange has them
    uint64_t date_version = 0;
    uint64_t coder_version = 0;
    uint16_t status = 0;
    uint8_t kind = 0;  // whatever else makes a difference

    [[nodiscard]] size_t text_bytes() const { return type.size() + fields.size(); }
  };

  // The block; empty if it is not known.
  [[nodiscard]] std::string_view find(const Key& key) const {
    const std::string_view text(text_.data(), size_t{type_bytes_} + fields_bytes_);
    const bool is_known = block_bytes_ != 0 && key.coder_version == coder_version_ &&
                          key.date_version == date_version_ && key.status == status_ &&
                          key.kind == kind_ && key.type == text.substr(0, type_bytes_) &&
                          key.fields == text.substr(type_bytes_);
    return is_known ? std::string_view(block_.data(), block_bytes_) : std::string_view();
  }
  // `block` was made with the versions of `key`, and left them as they were.
  void learn(const Key& key, std::string_view block) {
    block_bytes_ = 0;
    if (key.text_bytes() > kKeyBytesMax || block.size() > kBlockBytesMax) return;
    coder_version_ = key.coder_version;
    date_version_ = key.date_version;
    status_ = key.status;
    kind_ = key.kind;
    type_bytes_ = static_cast<uint8_t>(key.type.size());
    fields_bytes_ = static_cast<uint8_t>(key.fields.size());
    block_bytes_ = static_cast<uint8_t>(block.size());
    copy(text_.data(), key.type);
    copy(text_.data() + type_bytes_, key.fields);
    copy(block_.data(), block);
  }

 private:
  static void copy(char* to, std::string_view from) {
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }

  uint64_t coder_version_ = 0;
  uint64_t date_version_ = 0;
  uint16_t status_ = 0;
  uint8_t kind_ = 0;
  uint8_t type_bytes_ = 0;
  uint8_t fields_bytes_ = 0;
  uint8_t block_bytes_ = 0;  // 0: nothing is known
  std::array<char, kKeyBytesMax> text_;
  std::array<char, kBlockBytesMax> block_;
};

}  // namespace kyro
