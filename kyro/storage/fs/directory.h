// A directory of the file system, opened once and then used through what was opened, whatever
// becomes of its path: moved away, replaced or shadowed by another, it is never mixed up with what
// is at its place now.
//
// Names are plain: no slash in them. Files are regular files; a symbolic link, a pipe or a device
// under one of the names is refused. What is made is for its owner alone (0600, directories 0700).
//
// Who owns a directory: it is locked by lock(LockKind::kOwner). From then on every call that makes,
// renames or removes a name first sees to it that the directory is still the one that its path
// names, and that its LOCK is still the one that is held; if not, the call has no effect and is
// kReadOnly. Two processes that believe to own one directory would else remove each other's files.
//
// Thread rule: any thread; lock() before there are several. Ownership: whoever opened it; a File
// lives on without it. Locks are held until it is destroyed, or the process dies.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kyro/base/status.h"
#include "kyro/storage/fs/file.h"

namespace kyro {

inline constexpr char kLockName[] = "LOCK";

enum class LockKind : uint8_t {
  kOwner,   // will write: excludes everybody; leaves the pid in LOCK, as a courtesy
  kReader,  // will only read: excludes owners and writes nothing
};

class Directory {
 public:
  Directory() = default;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  virtual ~Directory() = default;

  // As it was opened; for messages.
  [[nodiscard]] virtual const std::string& path() const = 0;

  [[nodiscard]] virtual Result<std::unique_ptr<File>> open(const std::string& name,
                                                           OpenMode mode) = 0;
  // Names in it, in no order, without "." and "..".
  [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Gives the bytes of a file the same name in `to`, a directory of the same FileSystem.
  // kUnsupported where that cannot be (another file system, too many names): then a copy has to do.
  virtual Status link(const std::string& name, Directory& to) = 0;
  virtual Status remove(const std::string& name) = 0;
  // Makes names that were created, renamed or removed durable.
  virtual Status sync() = 0;
  // Makes its own name durable, as far as this process may: where the directory above cannot be
  // opened that is a warning.
  virtual Status sync_own_name() = 0;
  // Removes itself, if it is empty and still what its path names.
  virtual Status remove_itself() = 0;

  // kBusy with the holder's pid in the message when another process (or this one) has it.
  virtual Status lock(LockKind kind) = 0;
  // Ok while its path names it and, if it is locked, LOCK is what is locked; else kReadOnly and a
  // message that says what has become of it.
  virtual Status check_place() = 0;

  [[nodiscard]] virtual Result<uint64_t> free_bytes() = 0;
  // Of the whole volume; kUnsupported where nobody can tell.
  [[nodiscard]] virtual Result<uint64_t> total_bytes() {
    return Status(Code::kUnsupported, path() + ": a volume of unknown size");
  }
  // Whether others than its owner may look into it.
  [[nodiscard]] virtual bool is_open_to_others() = 0;
};

// Names that the system or a tool leaves in directories which count as empty.
[[nodiscard]] inline bool is_stray_name(std::string_view name) {
  return name == "lost+found" || name.starts_with('.') || name.ends_with(".sock");
}

// Reads a whole small file (manifests, not data): kTooLarge beyond `bytes_max`.
[[nodiscard]] inline Result<std::string> read_small_file(Directory& dir, const std::string& name,
                                                         uint64_t bytes_max) {
  auto file = dir.open(name, OpenMode::kRead);
  KYRO_TRY(file);
  auto size = (*file)->size();
  KYRO_TRY(size);
  if (*size > bytes_max) return Status(Code::kTooLarge, name + ": larger than any such file");
  std::string bytes(*size, '\0');
  auto got = (*file)->read_at(0, bytes.data(), bytes.size());
  KYRO_TRY(got);
  bytes.resize(*got);
  return bytes;
}

// Creates `name` with `bytes` so that after ok it is durably there, whole, and before it is not
// there (or the old one is): temporary file, sync, rename, sync of the directory.
// `*renamed` tells a caller that must know whether a failure came before or after the replacement.
inline Status write_file_atomically(Directory& dir, const std::string& name, std::string_view bytes,
                                    bool* renamed) {
  *renamed = false;
  const std::string temporary = name + ".tmp";
  {
    auto file = dir.open(temporary, OpenMode::kCreate);
    KYRO_TRY(file);
    KYRO_TRY((*file)->write_at(0, bytes));
    KYRO_TRY((*file)->sync());
  }
  *renamed = true;  // from here on the replacement may have happened, even if a call fails
  KYRO_TRY(dir.rename(temporary, name));
  return dir.sync();
}

}  // namespace kyro
