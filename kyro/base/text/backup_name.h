// What a backup may be called: the rule of the server's route and of the client's command.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <string_view>

namespace kyro {

inline constexpr size_t kBackupNameBytesMax = 128;

// Nothing that could lead out of the directory, hide in it, or need escaping in a URL.
[[nodiscard]] inline bool is_backup_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-";
  return !name.empty() && name.size() <= kBackupNameBytesMax && name[0] != '.' &&
         name.find_first_not_of(kAllowed) == name.npos;
}

}  // namespace kyro
