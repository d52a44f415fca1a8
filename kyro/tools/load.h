// `kyrodb load`: a new data directory out of files.
//
// NDJSON and CSV are read as `kyrodbctl import` reads them (kyro/client/import_source.h). Binary is
// records one after the other, little-endian: u64 key, u32 length, so many bytes of value.
//
// Thread rule: one thread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kyro/base/coding.h"
#include "kyro/base/text/printable.h"
#include "kyro/cli/command_line.h"
#include "kyro/cli/docs.h"
#include "kyro/cli/exit_codes.h"
#include "kyro/client/import_source.h"
#include "kyro/client/progress.h"
#include "kyro/storage/fs/posix_fs.h"
#include "kyro/storage/offline/loader.h"

namespace kyro {
namespace tools_detail {

// Binary records out of a stream of bytes.
class BinarySource {
 public:
  explicit BinarySource(ByteSource& bytes) : bytes_(bytes) {}

  // False at the end. `value` is valid until the next call. kInvalid where the input ends within a
  // record or a length is beyond `bytes_max`.
  Result<bool> next(uint64_t bytes_max, uint64_t* key, std::string_view* value) {
    at_ += begin_ - counted_;
    counted_ = begin_;
    KYRO_TRY(need(kHeadBytes));
    if (begin_ == buffer_.size()) return false;
    if (buffer_.size() - begin_ < kHeadBytes) return ends_early();
    *key = load_u64(buffer_.data() + begin_);
    const uint64_t bytes = load_u32(buffer_.data() + begin_ + 8);
    if (bytes > bytes_max) {
      return Status(Code::kInvalid, "a value of " + std::to_string(bytes) +
                                        " bytes does not fit into the memory of this load");
    }
    KYRO_TRY(need(kHeadBytes + static_cast<size_t>(bytes)));
    if (buffer_.size() - begin_ < kHeadBytes + bytes) return ends_early();
    *value = std::string_view(buffer_).substr(begin_ + kHeadBytes, static_cast<size_t>(bytes));
    begin_ += kHeadBytes + static_cast<size_t>(bytes);
    return true;
  }
  // Where the last record begins.
  [[nodiscard]] uint64_t position() const { return at_; }

 private:
  static constexpr size_t kHeadBytes = 12;

  Status need(size_t bytes) {
    if (buffer_.size() - begin_ >= bytes) return Status();
    buffer_.erase(0, begin_);
    counted_ = begin_ = 0;
    while (buffer_.size() < bytes && !is_at_end_) KYRO_TRY(bytes_.read(&buffer_, &is_at_end_));
    return Status();
  }
  static Status ends_early() { return Status(Code::kInvalid, "the input ends within a record"); }

  ByteSource& bytes_;
  std::string buffer_;
  size_t begin_ = 0;    // of what was not given out
  size_t counted_ = 0;  // so much of the buffer is in at_
  uint64_t at_ = 0;
  bool is_at_end_ = false;
};

class LoadCommand {
 public:
  explicit LoadCommand(const CliCall& call)
      : call_(call),
        memory_bytes_(parse_size(call.flag("memory").value_or("")).value_or(kMemoryBytes)) {
    const auto ttl_secs = call.number("ttl");
    if (ttl_secs) expiry_secs_ = now_secs_ + *ttl_secs;
  }

  static constexpr uint64_t kMemoryBytes = 256 * kMiB;

  int run() {
    PosixFileSystem fs;
    auto loader = Loader::begin(fs, call_.words[0], {.memory_bytes = memory_bytes_});
    if (!loader.ok()) return give_up(loader.status());
    loader_ = std::move(*loader);
    for (size_t i = 1; i < call_.words.size(); ++i) count_bytes(call_.words[i]);
    for (size_t i = 1; i < call_.words.size(); ++i) {
      if (Status read = read_file(call_.words[i]); !read.ok()) {
        progress_.clear();
        loader_.reset();
        return give_up(read);
      }
    }
    const auto stats = loader_->finish([this](uint64_t records) { progress_.show(records); });
    progress_.clear();
    loader_.reset();
    if (!stats.ok()) return give_up(stats.status());
    std::printf("loaded %s: %llu records, %llu keys, offsets below %llu, in %.1f s\n",
                printable(call_.words[0]).c_str(), static_cast<unsigned long long>(stats->records),
                static_cast<unsigned long long>(stats->live_records),
                static_cast<unsigned long long>(stats->records), progress_.seconds());
    return kExitOk;
  }

 private:
  static int give_up(const Status& status) {
    cli_print_error("kyrodb", code_name(status.code()), status.message());
    return kExitError;
  }

  void count_bytes(const std::string& name) {
    struct stat info {};
    const bool is_known = name != "-" && stat(name.c_str(), &info) == 0 && S_ISREG(info.st_mode);
    if (is_known && total_bytes_) *total_bytes_ += static_cast<uint64_t>(info.st_size);
    if (!is_known) total_bytes_.reset();
  }

  Status read_file(const std::string& name) {
    const int fd = name == "-" ? dup(STDIN_FILENO) : ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return Status(errno == ENOENT ? Code::kNotFound : Code::kIoError,
                    name + ": " + strerrordesc_np(errno));
    }
    FdSource bytes(fd);
    const std::string format =
        call_.flag("format").value_or(name.ends_with(".bin") ? "binary" : "");
    const Status read =
        format == "binary" ? read_binary(name, bytes) : read_text(name, format, bytes);
    done_bytes_ += bytes.bytes_read();
    ::close(fd);
    return read;
  }

  Status read_binary(const std::string& name, FdSource& bytes) {
    BinarySource source(bytes);
    for (;;) {
      uint64_t key = 0;
      std::string_view value;
      const auto more = source.next(memory_bytes_ / 2, &key, &value);
      Status status = more.status();
      if (status.ok() && !*more) return Status();
      if (status.ok()) status = loader_->put(key, value, expiry_secs_);
      if (!status.ok()) {
        return Status(status.code(), name + " at byte " + std::to_string(source.position()) + ": " +
                                         std::string(status.message()));
      }
      note_record(bytes);
    }
  }

  Status read_text(const std::string& name, const std::string& format, FdSource& bytes) {
    const ImportFormat known = format == "csv"      ? ImportFormat::kCsv
                               : format == "ndjson" ? ImportFormat::kNdjson
                                                    : format_of_name(name);
    auto source = make_import_source(bytes, known);
    if (!source.ok()) {
      return Status(source.status().code(), name + ": " + std::string(source.status().message()));
    }
    for (;;) {
      ImportRecord record;
      const auto more = (*source)->next_record(&record);
      Status status = more.status();
      if (status.ok() && !*more) return Status();
      if (status.ok()) status = take(record);
      if (!status.ok()) {
        return Status(status.code(), name + " line " + std::to_string((*source)->line()) + ": " +
                                         std::string(status.message()));
      }
      note_record(bytes);
    }
  }

  Status take(const ImportRecord& record) {
    if (record.is_delete) return loader_->remove(record.key);
    uint64_t expiry_secs = record.expires_secs.value_or(expiry_secs_);
    if (record.ttl_secs) expiry_secs = now_secs_ + *record.ttl_secs;
    return loader_->put(record.key, record.value, expiry_secs);
  }

  void note_record(const FdSource& bytes) {
    if (++records_ % 4096 != 0) return;
    progress_.show(records_, done_bytes_ + bytes.bytes_read(), total_bytes_);
  }

  const CliCall& call_;
  const uint64_t memory_bytes_;
  const uint64_t now_secs_ = static_cast<uint64_t>(time(nullptr));
  uint64_t expiry_secs_ = 0;
  std::unique_ptr<Loader> loader_;
  Progress progress_;
  uint64_t records_ = 0;
  uint64_t done_bytes_ = 0;  // of the files before
  std::optional<uint64_t> total_bytes_ = 0;
};

inline int load(const CliCall& call) {
  return LoadCommand(call).run();
}

inline constexpr CliFlag kLoadFlags[] = {
    {"format", "ndjson|csv|binary", "what the files hold (default: by name, else by content)"},
    {"memory",
     "B",
     "for sorting; what is more goes through temporary files (default 256MiB)",
     {1 << 20, kCliNoBound}},
    {"ttl", "SECS", "lifetime of records that have none of their own", kCliFromOne},
};

}  // namespace tools_detail
}  // namespace kyro
