// `kyrodbctl import` and `kyrodbctl export`: whole stores in and out of files.
//
// An export is one stream over the key range: NDJSON lines {"key":…,"value":…} (`value_base64`
// where the bytes are not UTF-8, `expires` where they do), or CSV whose values are the bytes
// themselves, in quotes where they need them, or base64, with a column `expires` if wanted. A file
// appears under its name when it is whole (output_file.h).
//
// Thread rule: one thread.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kyro/client/csv.h"
#include "kyro/client/import.h"
#include "kyro/client/output_file.h"
#include "kyro/client/streams.h"

namespace kyro {
namespace ctl {

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
  return with_shards(call, kQuickTimeoutMs, [&](Shards& shards) {
    const InputFile file(call.words[0]);
    if (file.fd() < 0) return ctl_fail(call.words[0] + ": " + strerrordesc_np(errno));
    FdSource input(file.fd());
    const std::optional<uint64_t> total_bytes = bytes_to_read(file.fd());
    auto source = make_import_source(input, format_of(call, call.words[0]));
    if (!source.ok()) {
      return ctl_fail(call.words[0] + ": " + std::string(source.status().message()));
    }
    return Importer(shards, **source, input, total_bytes).run(call.number("skip").value_or(0));
  });
}

class Exporter {
 public:
  // What the lines are; base64 and the column are of CSV.
  struct Form {
    bool is_csv = false;
    bool is_base64 = false;
    bool has_expires = false;
  };

  Exporter(OutputFile& out, const Form& form) : out_(out), form_(form) {
    if (!form.is_csv) return;
    buffer_ = form.is_base64 ? "key,value_base64" : "key,value";
    buffer_ += form.has_expires ? ",expires\r\n" : "\r\n";
  }

  // The exit code.
  int run(Shards& shards, const ScanFlags& range, const std::string& path) {
    const int code = walk_range(shards, range,
                                [&](std::string_view, const ScanLine& item) { return add(item); });
    progress_.clear();
    if (!damage_.ok()) return ctl_fail(std::string(damage_.message()));
    if (code == kExitOk) has_failed_ = has_failed_ || !flush() || !out_.finish();
    if (has_failed_) return ctl_fail(path + ": " + strerrordesc_np(errno));
    if (code != kExitOk) return code;
    if (form_.is_csv && !form_.has_expires && lifetimes_ > 0) {
      std::fprintf(
          stderr, "%" PRIu64 " of the records have a lifetime, which is lost: --expires keeps it\n",
          lifetimes_);
    }
    if (path != "-") {
      std::fprintf(stderr, "exported %" PRIu64 " records in %.2f s\n", records_,
                   progress_.seconds());
    }
    return kExitOk;
  }

 private:
  static constexpr size_t kBufferBytes = 256 * 1024;

  bool add(const ScanLine& item) {
    damage_ = form_.is_csv ? add_csv(item) : add_ndjson(item);
    if (!damage_.ok()) return false;
    ++records_;
    if (item.expires) ++lifetimes_;
    if (buffer_.size() < kBufferBytes) return true;
    progress_.show(records_);
    has_failed_ = !flush();
    return !has_failed_;
  }

  Status add_ndjson(const ScanLine& item) {
    buffer_ += "{\"key\":";
    append_decimal(buffer_, *item.key);
    // The value's JSON text goes over as it is.
    buffer_.append(item.is_base64 ? ",\"value_base64\":" : ",\"value\":").append(item.value);
    if (item.expires) {
      buffer_ += ",\"expires\":";
      append_decimal(buffer_, *item.expires);
    }
    buffer_ += "}\n";
    return {};
  }

  Status add_csv(const ScanLine& item) {
    KYRO_TRY(decode_scan_value(item, &value_));
    append_decimal(buffer_, *item.key);
    buffer_ += ',';
    if (form_.is_base64) {
      append_base64(buffer_, value_);
    } else {
      append_csv_field(buffer_, value_);
    }
    if (form_.has_expires) buffer_ += ',';
    if (form_.has_expires && item.expires) append_decimal(buffer_, *item.expires);
    buffer_ += "\r\n";
    return {};
  }

  bool flush() {
    const bool written = out_.write(buffer_);
    buffer_.clear();
    return written;
  }

  OutputFile& out_;
  const Form form_;
  std::string buffer_;
  std::string value_;
  Status damage_;  // of the server's answer
  bool has_failed_ = false;
  uint64_t records_ = 0;
  uint64_t lifetimes_ = 0;  // of them
  Progress progress_;
};

inline int run_export(const CliCall& call) {
  const std::string path = call.words.empty() ? "-" : call.words[0];
  const Exporter::Form form{.is_csv = format_of(call, path) == ImportFormat::kCsv,
                            .is_base64 = call.has("base64"),
                            .has_expires = call.has("expires")};
  if (form.is_base64 && !form.is_csv) {
    return ctl_usage_error("--base64 is for CSV; NDJSON has it where it is needed");
  }
  if (form.has_expires && !form.is_csv) {
    return ctl_usage_error("--expires is for CSV; NDJSON has it anyway");
  }
  return with_shards(call, kQuickTimeoutMs, [&](Shards& shards) {
    OutputFile out(path);
    if (!out.is_open()) return ctl_fail(path + ": " + strerrordesc_np(errno));
    return Exporter(out, form).run(shards, scan_flags(call), path);
  });
}

}  // namespace ctl
}  // namespace kyro
