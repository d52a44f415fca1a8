// Where a shared log lies in etcd: its entries at kyro/NAME/log/<first offset, 20 digits>, so that
// the order of the keys is the order of the log, and its head at kyro/NAME/head.
//
// Thread rule: immutable. Ownership: values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/base/text/decimal.h"

namespace kyro {

class EtcdKeys {
 public:
  explicit EtcdKeys(const std::string& name)
      : head_("kyro/" + name + "/head"), log_("kyro/" + name + "/log/") {}

  [[nodiscard]] const std::string& head() const { return head_; }
  [[nodiscard]] std::string entry(uint64_t offset) const {
    const std::string digits = std::to_string(offset);
    return log_ + std::string(kDecimalDigitsMax - digits.size(), '0') + digits;
  }
  // The first key after those of all entries.
  [[nodiscard]] std::string end() const {
    std::string end = log_;
    ++end.back();  // '/' becomes '0'
    return end;
  }
  // Nothing for a key that entry() does not make.
  [[nodiscard]] std::optional<uint64_t> offset_of(std::string_view key) const {
    if (!key.starts_with(log_) || key.size() != log_.size() + kDecimalDigitsMax) return {};
    key.remove_prefix(log_.size());
    key.remove_prefix(std::min(key.find_first_not_of('0'), key.size() - 1));
    return parse_u64(key);
  }

 private:
  const std::string head_;
  const std::string log_;  // what the keys of entries begin with
};

}  // namespace kyro
