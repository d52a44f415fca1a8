// The memory of the last plain field section, so that one that repeats it to the byte need not be
// parsed: clients send the same fields with every request.
//
// Bytes that were found valid once are valid again and mean the same, whatever the request line
// says. Sections that say anything about a body are never kept. One that bears credentials is kept
// only while the bytes that came with it are worked through: compared with what other connections
// send, it would leak in the time that takes.
//
// Thread rule: one for all parsers of a thread, which have the same limits. Ownership: owns copies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/net/http/request.h"

namespace kyro {

class FieldMemory {
 public:
  static constexpr size_t kBytesMax = 1024;  // a longer section is not kept
  static constexpr size_t kFieldsMax = 16;

  // What the fields say of the connection.
  struct Meaning {
    bool close = false;
    bool keep_alive = false;
  };

  // If [at, end) begins with the known section: gives `request` its fields, and its host if it has
  // none yet, and returns the size of the section with the empty line; else 0.
  [[nodiscard]] size_t take(const char* at, const char* end, HttpRequest* request,
                            Meaning* meaning) const {
    const size_t size = section_.size();
    if (size == 0 || static_cast<size_t>(end - at) < size) return 0;
    if (std::memcmp(at, section_.data(), size) != 0) return 0;
    for (size_t i = 0; i < count_; ++i) {
      const Place& place = places_[i];
      request->fields.push_back(
          {{at + place.name_from, place.name_bytes}, {at + place.value_from, place.value_bytes}});
    }
    request->name_lengths = name_lengths_;
    if (request->host.empty()) request->host = request->fields[host_].value;
    *meaning = meaning_;
    return size;
  }

  // Takes a section, with the empty line, in place of the last one: it was found to be valid
  // HTTP/1.1 without a body and to have the fields of `request`. is_followed: it is not the end of
  // the bytes that came at once.
  void learn(std::string_view section, const HttpRequest& request, Meaning meaning,
             bool is_followed) {
    section_.clear();
    bears_credentials_ = false;
    if (section.size() > kBytesMax || request.fields.size() > kFieldsMax) return;
    for (count_ = 0; count_ < request.fields.size(); ++count_) {
      const HeaderField& field = request.fields[count_];
      if (field.is("host")) host_ = count_;
      if (field.is("authorization") || field.is("cookie")) bears_credentials_ = true;
      places_[count_] = {static_cast<uint16_t>(field.name.data() - section.data()),
                         static_cast<uint16_t>(field.name.size()),
                         static_cast<uint16_t>(field.value.data() - section.data()),
                         static_cast<uint16_t>(field.value.size())};
    }
    if (bears_credentials_ && !is_followed) return;
    section_.assign(section);
    name_lengths_ = request.name_lengths;
    meaning_ = meaning;
  }

  // To be called after the last byte of those that came at once.
  void forget_credentials() {
    if (bears_credentials_) section_.clear();
  }

 private:
  // Of a field in the section.
  struct Place {
    uint16_t name_from, name_bytes, value_from, value_bytes;
  };

  std::string section_;  // empty: nothing is known
  std::array<Place, kFieldsMax> places_;
  size_t count_ = 0;
  size_t host_ = 0;  // which of them is Host
  NameLengths name_lengths_;
  Meaning meaning_;
  bool bears_credentials_ = false;
};

}  // namespace kyro
