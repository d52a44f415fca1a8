// What may be chosen about a learned index, and what is said about one that was built.
#pragma once

#include <cstdint>

#include "kyro/base/result.h"

namespace kyro {

// How a build trades model size, slots examined per lookup, and build time.
struct RmiOptions {
  static constexpr uint32_t kTargetLeafMin = 4;
  static constexpr uint32_t kTargetLeafMax = 65536;
  static constexpr double kEpsMultMin = 1.0;
  static constexpr double kEpsMultMax = 64.0;

  uint32_t target_leaf = 512;  // keys per bucket that the root aims for
  double eps_mult = 1.0;       // multiplies the bound on a key's distance from its prediction

  [[nodiscard]] Status validate() const {
    if (target_leaf < kTargetLeafMin || target_leaf > kTargetLeafMax) {
      return Status(Code::kInvalid, "the target leaf size must be 4 to 65536 keys");
    }
    if (!(eps_mult >= kEpsMultMin && eps_mult <= kEpsMultMax)) {
      return Status(Code::kInvalid, "the epsilon multiplier must be 1.0 to 64.0");
    }
    return Status();
  }
};

struct RmiBuildStats {
  uint64_t entries = 0;
  uint64_t slots = 0;
  uint64_t leaves = 0;
  uint64_t nodes = 0;
  uint64_t model_bytes = 0;
  uint64_t file_bytes = 0;
  uint32_t depth = 0;        // levels from the root to the deepest leaf, 1 = the root alone
  uint32_t epsilon_max = 0;  // slots a key lies after its prediction at most
};

}  // namespace kyro
