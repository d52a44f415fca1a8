// What long work asks now and then: is it to be given up?
//
//   const Cancel cancel([&] { return stopping.load(); });
//   for (…) KYRO_TRY(cancel.check());
//
// Thread rule: asked on the thread that does the work. Ownership: a value; what its question looks
// at outlives the work.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include "kyro/base/status.h"

namespace kyro {

class Cancel {
 public:
  Cancel() = default;  // never
  template <class F, class = std::enable_if_t<std::is_invocable_r_v<bool, F>>>
  Cancel(F question) : is_requested_(std::move(question)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool is_requested() const { return is_requested_ && is_requested_(); }
  [[nodiscard]] Status check() const {
    return is_requested() ? Status(Code::kBusy, "the engine is shutting down") : Status();
  }

 private:
  std::function<bool()> is_requested_;
};

}  // namespace kyro
