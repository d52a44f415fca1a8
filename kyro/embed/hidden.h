// How the classes of kyro/kyro.h own what only the compiled library (or, with KYRO_HEADER_ONLY,
// implementation.h) can see into.
#pragma once

#include <utility>

// What the shared library shows.
#define KYRO_API __attribute__((visibility("default")))

namespace kyro {

// The only reference to an object of a type that is not complete here. Beside each such type stands
// `void destroy(T*)`, which is found by its argument.
template <class T>
class Hidden {
 public:
  explicit Hidden(T* object) : object_(object) {}
  Hidden(Hidden&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Hidden& operator=(Hidden other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Hidden() {
    if (object_ != nullptr) destroy(object_);
  }

  [[nodiscard]] T* operator->() const { return object_; }
  [[nodiscard]] T& operator*() const { return *object_; }

 private:
  T* object_;
};

}  // namespace kyro
