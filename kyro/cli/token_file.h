// The token in a file, as server and client read it; any secret in a file.
//
// Thread rule: any thread. It does not block: what is not a regular file is refused, so that a pipe
// or a device in its place cannot hold up whoever reads it again.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "kyro/base/status.h"

namespace kyro {

inline constexpr size_t kTokenFileBytesMax = 64 * 1024;

// What can stand in an Authorization field.
[[nodiscard]] inline Status check_token(std::string_view token) {
  if (std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7F; })) {
    return Status();
  }
  return Status(Code::kInvalid, "a token must be printable ASCII without spaces");
}

// The secret in the file at `path`, without the white space after it. A file that is missing, too
// large or empty, or not a regular one, is kInvalid.
[[nodiscard]] inline Result<std::string> read_secret_file(const std::string& path) {
  const auto refuse = [&](std::string_view why) {
    return Status(Code::kInvalid, path + " " + std::string(why));
  };
  const auto refuse_errno = [&] {
    return Status(Code::kInvalid, path + ": " + strerrordesc_np(errno));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return refuse_errno();
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } const closer{fd};
  struct stat info {};
  if (::fstat(fd, &info) != 0) return refuse_errno();
  if (!S_ISREG(info.st_mode)) return refuse("is not a regular file");
  std::string text(kTokenFileBytesMax + 1, '\0');
  size_t size = 0;
  for (ssize_t got = 1; got != 0 && size < text.size();) {
    got = ::read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno != EINTR) return refuse_errno();
    if (got > 0) size += static_cast<size_t>(got);
  }
  if (size == text.size()) return refuse("is larger than such a file may be (64 KiB)");
  text.resize(size);
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  if (text.empty()) return refuse("is empty");
  if (text.find('\n') != text.npos) return refuse("has several lines: one file holds one secret");
  return text;
}

// The same for a token.
[[nodiscard]] inline Result<std::string> read_token_file(const std::string& path) {
  auto token = read_secret_file(path);
  KYRO_TRY(token);
  if (const Status bad = check_token(*token); !bad.ok()) {
    return Status(Code::kInvalid, path + ": " + std::string(bad.message()));
  }
  return token;
}

}  // namespace kyro
