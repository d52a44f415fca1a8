// JSON out, for documents of many fields: what knows where a comma and a bracket belong.
//
//   JsonFields json(out);
//   json.open('{');
//   json.field("keys", 3);
//   json.open("runs", '[');
//   json.element(7);
//   json.close(']');
//   json.close('}');
//
// Thread rule: one thread. Ownership: borrows the text that it appends to.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "kyro/base/text/decimal.h"
#include "kyro/base/text/json_text.h"

namespace kyro {

class JsonFields {
 public:
  explicit JsonFields(std::string& out) : out_(out) {}

  // An object or array as a document or element, and as a field.
  void open(char bracket) {
    separate();
    out_ += bracket;
  }
  void open(std::string_view name, char bracket) {
    begin_field(name);
    out_ += bracket;
  }
  void close(char bracket) { out_ += bracket; }

  void field(std::string_view name, std::unsigned_integral auto value) {
    begin_field(name);
    if constexpr (std::same_as<decltype(value), bool>) {
      out_ += value ? "true" : "false";
    } else {
      append_decimal(out_, value);
    }
  }
  // REQUIRES: valid UTF-8.
  void field(std::string_view name, std::string_view text) {
    begin_field(name);
    append_json_string(out_, text);
  }
  // value / 1000.
  void thousandths_field(std::string_view name, uint64_t value) {
    field(name, value / 1000);
    const std::string digits = std::to_string(value % 1000);
    out_.append(1, '.').append(3 - digits.size(), '0').append(digits);
  }
  // A number that JavaScript would round, as a string.
  void exact_field(std::string_view name, uint64_t value) {
    begin_field(name);
    append_json_u64(out_, value, true);
  }
  // REQUIRES: valid UTF-8.
  void element(std::string_view text) {
    separate();
    append_json_string(out_, text);
  }
  void element(uint64_t value) {
    separate();
    append_decimal(out_, value);
  }
  void exact_element(uint64_t value) {
    separate();
    append_json_u64(out_, value, true);
  }

 private:
  void separate() {
    if (!out_.empty() && out_.back() != '{' && out_.back() != '[' && out_.back() != ':') {
      out_ += ',';
    }
  }
  void begin_field(std::string_view name) {
    separate();
    out_.append(1, '"').append(name).append("\":");
  }

  std::string& out_;
};

}  // namespace kyro
