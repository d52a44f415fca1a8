// What a misspelt name was meant to be: for flags, commands, query parameters and JSON fields.
//
// A suggestion is a name that begins with the word (of three characters at least), or the nearest
// one that differs by at most kStepsMax single characters. A name further away than that is another
// word, and suggesting it would do harm.
//
// Thread rule: values. Ownership: borrows the names.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace kyro {

// Steps of one character (insert, delete, replace) between two names; Wagner and Fischer's table,
// one row at a time. Only the first 64 characters count.
[[nodiscard]] inline size_t edit_distance(std::string_view a, std::string_view b) {
  a = a.substr(0, 64);
  b = b.substr(0, 64);
  std::array<size_t, 65> row{};
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// Offer every known name; name() is then the one to suggest, if there is one.
class Suggestion {
 public:
  static constexpr size_t kStepsMax = 2;

  explicit Suggestion(std::string_view word)
      // A word of one or two characters has nothing in common with one that is as many steps away.
      : word_(word), steps_(std::min(kStepsMax + 1, word.size())) {}

  void offer(std::string_view name) {
    const bool begins_so = word_.size() >= 3 && name.starts_with(word_);
    const size_t steps = begins_so ? 0 : edit_distance(word_, name);
    if (steps >= steps_) return;
    steps_ = steps;
    name_ = name;
  }
  [[nodiscard]] bool found() const { return !name_.empty(); }
  [[nodiscard]] std::string_view name() const { return name_; }

 private:
  const std::string_view word_;
  size_t steps_;  // a name must be nearer than this
  std::string_view name_;
};

// The name of the row in `rows` that `word` was meant to be; empty if none is near.
template <class Rows, class NameOf>
[[nodiscard]] std::string_view suggest(std::string_view word, const Rows& rows, NameOf name_of) {
  Suggestion suggestion(word);
  for (const auto& row : rows) suggestion.offer(name_of(row));
  return suggestion.name();
}

}  // namespace kyro
