// `kyrodbctl import` and `kyrodbctl export`: whole stores in and out of files.
//
// An export is one stream over the key range: NDJSON lines {"key":…,"value":…} (`value_base64`
// where the bytes are not UTF-8), or CSV whose values are the bytes themselves, in quotes where
// they need them, or base64. A file is written under the name FILE.partial and renamed when it is
// whole and synced, so that a broken export is never taken for a good one.
//
// Thread rule: one thread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/client/csv.h"
#include "kyro/client/import.h"
#include "kyro/client/streams.h"

namespace kyro {
namespace ctl_detail {

inline ImportFormat format_of(const CliCall& call, std::string_view file) {
  const auto name = call.flag("format");
  return name ? format_of_name("." + *name) : format_of_name(file);
}

// What is left to read of a regular file.
inline std::optional<uint64_t> bytes_to_read(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  const off_t at = lseek(fd, 0, SEEK_CUR);
  return static_cast<uint64_t>(info.st_size - (at > 0 ? at : 0));
}

inline int run_import(const CliCall& call) {
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    const InputFile file(call.words[0]);
    if (file.fd() < 0) return ctl_fail(call.words[0] + ": " + strerrordesc_np(errno));
    FdSource input(file.fd());
    const std::optional<uint64_t> total_bytes = bytes_to_read(file.fd());
    auto source = make_import_source(input, format_of(call, call.words[0]));
    if (!source.ok()) {
      return ctl_fail(call.words[0] + ": " + std::string(source.status().message()));
    }
    return Importer(client, **source, input, total_bytes).run(call.number("skip").value_or(0));
  });
}

// Where an export goes. Ownership: closes the file, and removes it if finish() was not reached.
class ExportFile {
 public:
  explicit ExportFile(const std::string& path) : path_(path) {
    struct stat info {};
    if (path == "-") {
      file_ = stdout;
    } else if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
      file_ = std::fopen(path.c_str(), "we");  // a device or a pipe
    } else {
      // A name of its own and a new file: what is there already is nobody's to overwrite. Through a
      // link the file it leads to is replaced, and whoever could not read it cannot afterwards.
      const bool exists = stat(path.c_str(), &info) == 0;
      if (char* real = exists ? realpath(path.c_str(), nullptr) : nullptr; real != nullptr) {
        path_ = real;
        std::free(real);
      }
      partial_ = path_ + "." + std::to_string(getpid()) + ".partial";
      const int fd = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd < 0) {
        partial_.clear();  // not ours to remove
        return;
      }
      if (exists) static_cast<void>(fchmod(fd, info.st_mode & 07777));
      file_ = fdopen(fd, "w");
    }
  }
  ExportFile(const ExportFile&) = delete;
  ExportFile& operator=(const ExportFile&) = delete;
  ~ExportFile() {
    if (file_ != nullptr && file_ != stdout) std::fclose(file_);
    if (!partial_.empty()) unlink(partial_.c_str());
  }

  [[nodiscard]] bool write(std::string_view bytes) {
    return file_ != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size();
  }

  // Everything has arrived; false with errno if not.
  [[nodiscard]] bool finish() {
    if (file_ == nullptr || std::fflush(file_) != 0) return false;
    if (partial_.empty()) return true;
    if (fsync(fileno(file_)) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0)
      return false;
    partial_.clear();
    return true;
  }
  [[nodiscard]] bool is_open() const { return file_ != nullptr; }

 private:
  std::string path_;
  std::string partial_;  // to be renamed or removed
  FILE* file_ = nullptr;
};

class Exporter {
 public:
  Exporter(ExportFile& out, bool is_csv, bool is_base64)
      : out_(out), is_csv_(is_csv), is_base64_(is_base64) {
    if (is_csv) buffer_ = is_base64 ? "key,value_base64\r\n" : "key,value\r\n";
  }

  // The exit code.
  int run(CtlClient& client, const ScanRange& range, const std::string& path) {
    const int code = walk_range(client, range,
                                [&](std::string_view, const ScanLine& item) { return add(item); });
    progress_.clear();
    if (!damage_.ok()) return ctl_fail(std::string(damage_.message()));
    if (code == kExitOk) has_failed_ = has_failed_ || !flush() || !out_.finish();
    if (has_failed_) return ctl_fail(path + ": " + strerrordesc_np(errno));
    if (code != kExitOk) return code;
    if (path != "-") {
      std::fprintf(stderr, "exported %" PRIu64 " records in %.2f s\n", records_,
                   progress_.seconds());
    }
    return kExitOk;
  }

 private:
  static constexpr size_t kBufferBytes = 256 * 1024;

  bool add(const ScanLine& item) {
    if (!is_csv_) buffer_ += "{\"key\":";
    append_decimal(buffer_, *item.key);
    if (!is_csv_) {
      // The value's JSON text goes over as it is.
      buffer_.append(item.is_base64 ? ",\"value_base64\":" : ",\"value\":").append(item.value);
      buffer_ += "}\n";
    } else {
      damage_ = decode_scan_value(item, &value_);
      if (!damage_.ok()) return false;
      buffer_ += ',';
      if (is_base64_) {
        append_base64(buffer_, value_);
      } else {
        append_csv_field(buffer_, value_);
      }
      buffer_ += "\r\n";
    }
    ++records_;
    if (buffer_.size() < kBufferBytes) return true;
    progress_.show(records_);
    has_failed_ = !flush();
    return !has_failed_;
  }

  bool flush() {
    const bool written = out_.write(buffer_);
    buffer_.clear();
    return written;
  }

  ExportFile& out_;
  const bool is_csv_;
  const bool is_base64_;
  std::string buffer_;
  std::string value_;
  Status damage_;  // of the server's answer
  bool has_failed_ = false;
  uint64_t records_ = 0;
  Progress progress_;
};

inline int run_export(const CliCall& call) {
  const std::string path = call.words.empty() ? "-" : call.words[0];
  const bool is_csv = format_of(call, path) == ImportFormat::kCsv;
  const bool is_base64 = call.has("base64");
  if (is_base64 && !is_csv) {
    return ctl_usage_error("--base64 is for CSV; NDJSON has it where it is needed");
  }
  return with_ctl_client(call, kQuickTimeoutMs, [&](CtlClient& client) {
    ExportFile out(path);
    if (!out.is_open()) return ctl_fail(path + ": " + strerrordesc_np(errno));
    return Exporter(out, is_csv, is_base64).run(client, range_of(call), path);
  });
}

}  // namespace ctl_detail
}  // namespace kyro
